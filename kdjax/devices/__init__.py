"""Placement of a step: on one device, on many by pmap, on a mesh by jit.

Knows the step's state and nothing of configs or data. Also what belongs to the
machine: the processes of a job, the compilation cache, huge pages of memory.
Read `placement.py` first.
"""
