"""Losses, one a file: a pure function of arrays, without weight or mean.

Positional arguments are what a term reads, keyword-only ones are options; the
result is one number per example or position, or a scalar for a whole batch. No
parameter, no random key, no config. The shortest one is `mse.py`.
"""
