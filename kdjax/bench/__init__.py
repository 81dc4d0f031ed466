"""Time and memory of training steps, feeds and methods.

May import every layer but `papers` and the commands. It builds stages, feeds
and programs as a run does, but stores no checkpoint. `stages.py` measures the
step of a stage, `pairs.py` teacher and student pairs next to PyTorch,
`method_steps.py` every method. Read `timing.py` and `runner.py` first;
README.md has the commands and the measured numbers.
"""
