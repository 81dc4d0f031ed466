"""Builds the objects that train a stage from its config.

`build.py` is the only file that reads a config; it returns a `Stage` (see
`stage.py`) of networks, terms, optimizer and step. `trace.py` finds mistakes
before training; `once_sources.py` applies the pipelines of "once". Nothing here
reads or writes a file of the run or places arrays on a device. Read `build.py`
first.
"""
