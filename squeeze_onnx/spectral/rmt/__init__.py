"""Random-matrix theory on the spectrum of one weight: arrays and scalars, no graph, no session, no configuration.

marchenko_pastur.py and tracy_widom.py are the laws, noise.py fits their scale, null_model.py simulates them, summary.py
puts a spectrum beside them, shrinkage.py says how much of a singular value is signal.
"""
