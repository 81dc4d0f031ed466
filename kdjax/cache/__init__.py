"""Teacher outputs on disk: written once, read at random, checked.

Knows errors and types alone: no stage, no network, no device. A cache is a
folder or URL of Zarr chunks with a manifest that says what it was made from.
Read `store.py` first; `imported.py` is for outputs made by other programs.
"""
