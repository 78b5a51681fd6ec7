"""Whole jobs, from files to files: optimize, search, recipe, package, demo, doctor."""
