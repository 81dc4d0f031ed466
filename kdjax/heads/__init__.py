"""Learned adapters between a student and a teacher, one a file: `class Head`.

A head is trained with the student and dropped at export. It knows what a loss
knows: errors, types and `numerics`. The shortest one is `linear.py`.
"""
