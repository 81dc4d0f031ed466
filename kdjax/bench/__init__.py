"""What steps, feeds and methods cost, measured.

Uses the stages, feeds and programs of a run, and trains nothing that is kept.
`stages.py` measures a stage's step, `pairs.py` teacher and student pairs beside
PyTorch, `methods.py` every method. Read `runner.py` and `timing.py` first.
"""
