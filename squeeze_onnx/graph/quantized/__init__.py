"""Weights stored as integers: read as floats, written in few bits."""
