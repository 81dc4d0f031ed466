"""Analyses of a trained stage: what its networks compute, and from what.

An analysis reads a `Subject`: student and teachers of a stage with their
variables, and validation examples. It returns named arrays and draws nothing;
`kdjax/report/figures/inspect_<analysis>.py` draws them. It may import all
layers up to `students`, and must not train or change a run.

  subject = kdjax.analysis.load("runs/digits", "distilled")
  found = kdjax.analysis.find()["cka"](subject)   # {"cka": [L M], ..}

To add an analysis, create `mine.py` here and its figure; no other file changes.
It defines:

  mine(subject)    returns {name: array}; raises `NotApplicableError`, with one
                   sentence, for a stage that lacks what it needs
  summary(found)   a sentence on what it returned

Files that start with an underscore are shared. Read `_subject.py` first.
"""

from kdjax.analysis._catalogue import find, names, summaries
from kdjax.analysis._inspection import default_stage, inspect
from kdjax.analysis._loading import load
from kdjax.analysis._subject import NotApplicableError, Subject

__all__ = [
  "NotApplicableError",
  "Subject",
  "default_stage",
  "find",
  "inspect",
  "load",
  "names",
  "summaries",
]
