"""The commands of `kdjax`, one per file: `define` its flags, `main` runs it.

A command parses flags, calls other layers and prints; it computes nothing. It
may import every layer, but JAX only inside of `main`, so that `--help` is
fast. Files that start with an underscore format output. Read `run.py` first.
"""
