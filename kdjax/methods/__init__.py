"""Published distillation methods, one a file: a stage in, stages out.

A method adds terms, heads and schedules to a config; it knows config alone and
imports no JAX. README.md says which method when. The shortest one is `kd.py`.
"""
