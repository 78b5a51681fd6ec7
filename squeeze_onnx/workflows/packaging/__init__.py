"""Bundles: a model with all that it takes to run it elsewhere, in one folder or one archive that can be checked."""
