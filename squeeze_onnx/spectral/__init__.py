"""Spectra, noise, decompositions, weightings and moments: arrays and scalars only, no graph and no session."""
