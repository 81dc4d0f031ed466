"""All outputs that a cache stores, as one flat dict of parts."""

from collections.abc import Mapping

import numpy as np

from kdjax.cache import codecs
from kdjax.cache.manifest import Output
from kdjax.errors import ShapeError, UserError
from kdjax.types import Array, Spec

Stored = Mapping[str, Output]


def parts(outputs: Stored) -> Spec:
  """{"<output>.<part>": the shape and dtype of a row} of all outputs."""
  return {
    f"{name}.{part}": row
    for name, one in outputs.items()
    for part, row in codecs.find(one.codec).parts(one.shape).items()
  }


def encode(
  outputs: Stored, arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """A teacher's outputs {name: [N ...]} as they are stored.

  Raises:
    UserError: an output has another shape, or a value that cannot be stored.
  """
  found = {}
  for name, one in outputs.items():
    array = np.asarray(arrays[name])
    if array.shape[1:] != one.shape:
      raise ShapeError(
        f"The output '{name}' of an example is {list(array.shape[1:])}.",
        f"The cache stores {list(one.shape)}.",
      )
    try:
      encoded = codecs.find(one.codec).encode(array)
    except UserError as wrong:
      raise UserError(
        f"The output '{name}' cannot be stored.", str(wrong)
      ) from (None)
    found |= {f"{name}.{part}": rows for part, rows in encoded.items()}
  return found


def decode(
  outputs: Stored, stored: Mapping[str, Array], *, rest: str = "spread"
) -> dict[str, Array]:
  """Outputs {name: f32 [N ...]} of stored parts. Pure, and may be jitted.

  Args:
    outputs: those to decode; others' parts are not looked at.
    stored: parts [N ...].
    rest: what top<k> gives the other classes: one of `codecs.RESTS`.
  """
  found = {}
  for name, one in outputs.items():
    codec = codecs.find(one.codec)
    its = {part: stored[f"{name}.{part}"] for part in codec.parts(one.shape)}
    found[name] = codec.decode(its, one.shape, rest=rest)
  return found
