"""All outputs of a cache as one flat dict of stored parts."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from kdjax.cache import codecs, pca
from kdjax.cache.manifest import Output
from kdjax.errors import ShapeError, UserError
from kdjax.types import Array, Spec

Outputs = Mapping[str, Output]


def parts(outputs: Outputs) -> Spec:
  """{"<output>.<part>": shape and dtype of a row} of all outputs."""
  return {
    f"{name}.{part}": row
    for name, output in outputs.items()
    for part, row in codecs.find(output.codec).parts(output.shape).items()
  }


def encode(
  outputs: Outputs,
  arrays: Mapping[str, np.ndarray],
  bases: Mapping[str, pca.Basis] | None = None,
) -> dict[str, np.ndarray]:
  """The stored parts of a teacher's outputs {name: [N ...]}.

  Args:
    outputs: of the cache.
    arrays: the outputs.
    bases: of those that are stored as pca<k>.

  Raises:
    UserError: an output has another shape, or a value that cannot be stored.
  """
  encoded = {}
  for name, output in outputs.items():
    array = np.asarray(arrays[name])
    if array.shape[1:] != output.shape:
      raise ShapeError(
        f"The output '{name}' of an example is {list(array.shape[1:])}.",
        f"The cache stores {list(output.shape)}.",
      )
    try:
      rows_of = _codec(name, output, bases).encode(array)
    except UserError as error:
      raise UserError(
        f"The output '{name}' cannot be stored.", str(error)
      ) from None
    encoded |= {f"{name}.{part}": rows for part, rows in rows_of.items()}
  return encoded


def decode(
  outputs: Outputs,
  stored: Mapping[str, Array],
  bases: Mapping[str, pca.Basis] | None = None,
  *,
  rest: str = "spread",
) -> dict[str, Array]:
  """The outputs {name: f32 [N ...]} of stored parts. Pure, may be jitted.

  Args:
    outputs: those to decode; the parts of other outputs are ignored.
    stored: parts [N ...].
    bases: of the outputs that are stored as pca<k>.
    rest: what top<k> gives the other classes: one of `codecs.RESTS`.
  """
  decoded = {}
  for name, output in outputs.items():
    codec = _codec(name, output, bases)
    names = codec.parts(output.shape)
    decoded[name] = codec.decode(
      {part: stored[f"{name}.{part}"] for part in names},
      output.shape,
      rest=rest,
    )
  return decoded


def _codec(
  name: str, output: Output, bases: Mapping[str, pca.Basis] | None
) -> codecs.Codec:
  """The codec of an output, with its basis if it has one."""
  codec = codecs.find(output.codec)
  if not isinstance(codec, pca.Pca):
    return codec
  return dataclasses.replace(codec, basis=(bases or {})[name])
