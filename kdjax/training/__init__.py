"""One experiment, from its first step to its results.

`experiment.py` runs the stages in order, `loop.py` is the one training loop;
beside them are what a run checks first (`check.py`), where networks start from
(`initialization.py`), what it writes (`checkpoints.py`, `metrics_log.py`,
`results.py`) and what is read back (`restore.py`). Read `experiment.py` first.
"""
