"""Heads, one `class Head` per file: adapters between student and teacher.

A head is trained with the student. The exported student has no heads, except
those with `keep = True`. A head may import errors, types and numerics. The
contract is in `losses/README.md`; the shortest head is `linear.py`.
"""
