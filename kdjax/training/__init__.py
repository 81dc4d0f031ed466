"""One experiment, from its first step to its results.

`experiment.py` runs the stages in order, `loop.py` is the one training loop;
in addition, `check.py` checks a run before it starts, `initialization.py` loads
what networks start from, `checkpoints.py`, `metrics_log.py` and `results.py`
write a run, and `restore.py` reads it back. README.md lists the files of a
workdir. Read `experiment.py` first.
"""
