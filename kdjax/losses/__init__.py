"""Losses, one per file: a pure function of arrays.

A term reads the positional arguments; keyword-only arguments are options. The
result has one value per example or position, or is a scalar for the whole
batch. A loss has no weight, parameter, random key or config, and takes no mean
over examples. It may import errors, types and numerics. Read `README.md` for
the contract; the shortest loss is `mse.py`.
"""
