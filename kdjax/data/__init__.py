"""Data sets, one a file: `spec()`, `load(split, seed)`, `class_names()`.

A data set gives examples as dicts of NumPy arrays. It knows the preprocessing
of files and the feed's sources; no network, no step. People's own files are
`manifest.py` (tables of files) and `arrays.py`. README.md lists all options and
what a data set must define. Files that begin with an underscore are shared by
several data sets.
"""
