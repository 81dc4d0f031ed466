"""Placement of a step: on one device, on several by pmap, on a mesh by jit.

May import the step and the layers below it, but no feed, data set or model.
Also holds what concerns the machine: the processes of a job, the compilation
cache, huge pages of memory. Read `placement.py` first.
"""
