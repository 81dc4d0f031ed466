"""The call of a term's loss: its arguments, options and weight at a step."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from kdjax.step import token_masks
from kdjax.step.state import Fixed
from kdjax.step.terms import Reader, Term
from kdjax.types import Array


@dataclasses.dataclass(frozen=True)
class Call:
  """A loss with what it is called with.

  Attributes:
    loss: {argument: array} -> values.
    inputs: the arguments of the loss.
    arrays: the same, with the mask of positions where the loss takes none.
    mask: bool [B], which examples count.
    weight: of the term.
  """

  loss: Callable[[Mapping[str, Any]], Array]
  inputs: dict[str, Any]
  arrays: dict[str, Any]
  mask: Array
  weight: Array


def of(term: Term, reader: Reader, step: Array | int) -> Call:
  """The call of a term.

  Args:
    term: of the reader.
    reader: of a batch.
    step: i32 [].
  """
  arrays, mask = reader.arguments(term)
  arrays = token_masks.added(reader, term, arrays)
  options = numbers(term, reader.flow.fixed, step)
  weight = options.pop("weight")
  return Call(
    loss=lambda arrays: term.loss(**arrays, **options, **term.options),
    inputs={
      name: array
      for name, array in arrays.items()
      if name != "mask" or term.takes_mask
    },
    arrays=arrays,
    mask=mask,
    weight=weight,
  )


def numbers(term: Term, fixed: Fixed, step: Array | int) -> dict[str, Array]:
  """A term's weight and the options that are numbers, at a step."""
  scheduled = {
    name: schedule(step) for name, schedule in term.schedules.items()
  }
  return fixed.numbers[term.name] | scheduled


def with_mask(
  term: Term, inputs: Mapping[str, Any], mask: Array
) -> dict[str, Any]:
  """The arguments of a loss of the whole batch, with its mask if it takes it.

  Args:
    term: of the loss.
    inputs: its arguments.
    mask: bool [B], which examples count.
  """
  if not term.takes_mask:
    return dict(inputs)
  own = inputs.get("mask")
  return {**inputs, "mask": mask if own is None else own & mask}
