"""Which examples a step sees, and how they reach the devices.

Knows the devices; no data set, no network. `index_stream.py` gives the indices
of every step from (seed, step) alone, so that a run resumes at any step;
`loaders.py` gathers them from arrays on the devices or from a stream.
Read `index_stream.py` first.
"""
