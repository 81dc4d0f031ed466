"""A student as one function of arrays, its variables inside."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax

from kdjax.errors import UserError
from kdjax.students.function import Trained
from kdjax.students.inputs import leaves_of
from kdjax.students.signature import Signature

# Name of the batch's axis, where a format leaves its size open.
BATCH = "batch"


@dataclasses.dataclass(frozen=True)
class Program:
  """A student as formats export it: positional arrays in, a tuple out.

  Attributes:
    trained: the student.
  """

  trained: Trained

  @property
  def signature(self) -> Signature:
    """What it takes and returns."""
    return self.trained.signature

  @property
  def outputs(self) -> tuple[str, ...]:
    """The names of what it returns, in order."""
    return self.signature.outputs

  @property
  def names(self) -> tuple[str, ...]:
    """The names of its arguments: every array of every input, in order."""
    return self.signature.names

  def __call__(self, *arrays) -> tuple[jax.Array, ...]:
    """The outputs of a batch.

    Args:
      *arrays: in the order of `names`, each [B ...].
    """
    batch = dict(zip(self.names, arrays, strict=True))
    made = self.trained(self.trained.variables, batch)
    return tuple(made[name] for name in self.outputs)

  def shapes(self, batch: Any) -> list[jax.ShapeDtypeStruct]:
    """The arguments' shapes and dtypes.

    Args:
      batch: size of the batch; a number or a symbolic one of `jax.export`.
    """
    return [
      jax.ShapeDtypeStruct((batch, *shape), dtype)
      for it in self.trained.signature.inputs
      for shape, dtype in leaves_of(it).values()
    ]


def of(trained: Trained, outputs: Sequence[str] = ()) -> Program:
  """The program of a student.

  Args:
    trained: the student.
    outputs: what it returns; () is its results, or its embedding where it has
      none.

  Raises:
    UserError: it has no such output.
  """
  known = trained.signature.outputs
  chosen = tuple(outputs) or tuple(it.name for it in trained.signature.results)
  chosen = chosen or ("embedding",)
  for name in chosen:
    if name not in known:
      raise UserError(
        f"The student '{trained.signature.name}' has no output '{name}'.",
        exists=known,
        near=name,
      )
  results = tuple(it for it in trained.signature.results if it.name in chosen)
  signature = dataclasses.replace(
    trained.signature, results=results, outputs=chosen
  )
  return Program(dataclasses.replace(trained, signature=signature))
