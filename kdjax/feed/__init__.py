"""Which examples a step sees, and how they reach the devices.

May import the devices and the layers below them, but no data set or network.
`index_stream.py` computes the indices of a step from (seed, step) alone, so
that a run resumes at any step; `loaders.py` gathers the examples from arrays on
the devices or from a stream. Read `index_stream.py` first.
"""
