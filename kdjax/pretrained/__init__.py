"""Networks with published weights, and students that start from them.

model, variables = pretrained.load("checkpoint", "bert")
outputs = model.apply(variables, {"text": ids}, train=False)
"""

from kdjax.pretrained.arrays import from_arrays
from kdjax.pretrained.inheritance import inherit, origins
from kdjax.pretrained.loading import (
  describe,
  fit,
  load,
  shapes,
  variables,
)

__all__ = [
  "describe",
  "fit",
  "from_arrays",
  "inherit",
  "load",
  "origins",
  "shapes",
  "variables",
]
