"""Published weights for networks, and students that inherit from a network.

model, variables = pretrained.load("path/to/checkpoint", "bert")
outputs = model.apply(variables, {"text": ids}, train=False)

The package imports the registry, to find networks, and nothing about training.
Read `loading.py` first; README.md lists the supported checkpoints.
"""

from kdjax.pretrained.arrays import from_arrays
from kdjax.pretrained.class_names import class_names
from kdjax.pretrained.inheritance import inherit, origins
from kdjax.pretrained.loading import (
  describe,
  fit,
  load,
  network_of,
  shapes,
  variables,
)

__all__ = [
  "class_names",
  "describe",
  "fit",
  "from_arrays",
  "inherit",
  "load",
  "network_of",
  "origins",
  "shapes",
  "variables",
]
