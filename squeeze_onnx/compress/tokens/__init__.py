"""Fewer tokens behind the layers of an encoder: where they may go, how many, and what that does to the answer.

axes     what each axis of each value runs over, found by running the graph at two sizes
choice   how much of the tokens goes on behind each layer
stage    these in order: refusals, the choice, the rewritten graph
"""
