"""The names of a published classifier's classes, from its config.json."""

import re

from kdjax.pretrained import files

# What transformers writes where nobody named the classes.
UNNAMED = re.compile(r"(?i:label|class)?[_ ]?\d+")


def class_names(path: str) -> tuple[str, ...]:
  """The classes in the order of the logits; () where they have no names.

  Args:
    path: of a checkpoint, as in `pretrained.load`.
  """
  config = files.config(path)
  table = config.get("id2label") or config.get("label_names") or {}
  if isinstance(table, list):
    table = dict(enumerate(table))
  try:
    names = [str(table[key]) for key in sorted(table, key=int)]
  except (AttributeError, TypeError, ValueError):
    return ()
  return () if all(map(UNNAMED.fullmatch, names)) else tuple(names)
