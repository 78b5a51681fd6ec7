"""The output of an embedder made to be stored: fewer dimensions, integers or bits, in the graph and in the files beside it.

maps      which numbers are kept: a rotation cut off, learned further on what is like what
grids     how they become integers or bits
choice    which of these is likest on text that is held back
nodes     all of it as nodes of the graph
files     the same for those who read the folder
stage     these in order
"""
