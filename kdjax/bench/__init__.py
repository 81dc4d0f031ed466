"""Time and memory of training steps, feeds, methods and decoding.

May import every layer but `papers` and the commands. It builds stages, feeds
and programs as a run does, but stores no checkpoint. `stages.py` measures the
step of a stage, `pairs.py` teacher and student pairs next to PyTorch,
`method_steps.py` every method, `text_decoding.py` ways to write texts. Read
`timing.py` and `runner.py` first; README.md has the commands and the measured
numbers.
"""
