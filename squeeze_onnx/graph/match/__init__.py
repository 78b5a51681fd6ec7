"""What a graph computes: constants, roles, weights that can be squeezed, attention and feed-forward blocks. Changes nothing."""
