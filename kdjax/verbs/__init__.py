"""The commands of `kdjax`, one a file: `define` its flags, `main` runs it.

A verb parses flags, calls a layer above it and prints; it computes nothing. It
imports JAX inside of `main` only, so that `--help` is quick.
"""
