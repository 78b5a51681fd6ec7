"""Scoring models on text: GLUE's splits and metrics, tokens and batches, heads, and what two models have in common."""
