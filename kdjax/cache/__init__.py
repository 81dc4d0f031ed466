"""Teacher outputs on disk: written once, read at random, checked.

Knows errors and types alone: no stage, no network, no device. A cache is a
folder or URL of Zarr chunks; its manifest states the teacher, the data and the
augmentation. Read `store.py` first; `imported.py` is for outputs that other
programs computed. README.md shows how a cache is used.
"""
