"""The config of a stage as the objects that train it.

`build.py` is the only file that reads a config; it returns a `Stage` (see
`stage.py`) of networks, terms, optimizer and step. Nothing here touches a file
of the run or places anything on a device. Read `build.py` first.
"""
