"""Which outputs of a network are its layers."""

import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp

# Outputs beside the layers: weights, and parts of a layer.
BESIDE = re.compile(
  r"^(attention|scores|query|key|value|preact|gates|graph|mask|scale)\d*$"
)


def of_outputs(shapes: Mapping[str, jax.ShapeDtypeStruct]) -> list[str]:
  """The names of outputs that are features of each example, in order.

  Args:
    shapes: of all outputs of a network, for a batch.
  """
  return [
    name
    for name, leaf in shapes.items()
    if leaf.ndim > 1
    and jnp.issubdtype(leaf.dtype, jnp.floating)
    and not any(BESIDE.match(part) for part in name.split("/"))
  ]
