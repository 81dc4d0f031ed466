"""The mask of positions that a term has where it reads none.

It is that of the modality from which the read networks make their positions:
a network's own `mask/<output>` or `mask/tokens`, else the batch's
`mask/<modality>`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax

from kdjax.errors import ShapeError, UserError
from kdjax.step import arguments, positions
from kdjax.step.addresses import DATA, Address
from kdjax.step.masks import of_positions
from kdjax.step.terms import HEADS, Reader, Term
from kdjax.types import Array


def added(
  reader: Reader, term: Term, arrays: Mapping[str, Any]
) -> dict[str, Any]:
  """The arguments of a term's loss, with a default mask of positions.

  Nothing is added where the term reads a mask or says that it has none, and
  where no mask has the number of its positions.

  Args:
    reader: of the terms of a batch.
    term: whose arguments they are.
    arrays: argument -> array, or tuple of arrays, as the loss gets them.

  Raises:
    UserError: the loss counts padding, and can skip no positions.
  """
  arrays = dict(arrays)
  if not term.skips_padding or "mask" in arrays:
    return arrays
  plain = not arguments.has_annotations(term.loss)
  if plain and term.takes_mask:
    return arrays  # of examples or of positions: it is not known
  skips = arguments.can_skip_positions(term.loss)
  if not (skips or (plain and _returns_positions(term, arrays))):
    _check_padding(reader, term, arrays)
    return arrays
  masks = {}
  for argument in term.reads:
    if argument in term.bridges:
      continue  # Its positions are others, all valid.
    first = arrays.get(argument)
    first = first[0] if isinstance(first, tuple) and first else first
    axis = arguments.positions_axis(term.loss, argument, first)
    if plain and getattr(first, "ndim", 0) > 1:
      axis = 1
    if axis is not None:
      masks |= _masks_of(reader, term, argument, first.shape[axis])
  _check_equal(term, masks.values())
  for mask in masks.values():
    arrays["mask"] = arrays["mask"] & mask if "mask" in arrays else mask
  if "mask" in arrays and term.gathered and reader.axis_name:
    arrays["mask"] = jax.lax.all_gather(
      arrays["mask"], reader.axis_name, tiled=True
    )
  return arrays


def _returns_positions(term: Term, arrays: Mapping[str, Any]) -> bool:
  """Whether a loss returns [B T]."""
  call = lambda arrays: term.loss(**arrays, **term.options)
  try:
    result = jax.eval_shape(call, arrays)
  except (TypeError, ValueError, UserError):
    return False  # The loss says itself what does not fit.
  return getattr(result, "ndim", 0) == 2


def _check_equal(term: Term, masks: Iterable[Array]) -> None:
  """Raises `ShapeError` for outputs of different numbers of positions."""
  lengths = sorted({mask.shape[1] for mask in masks})
  if len(lengths) > 1:
    raise ShapeError(
      f"The term '{term.name}' compares outputs of"
      f" {' and '.join(map(str, lengths))} positions.",
      "Expected equally many; a head 'bridge' with by='line' in the term's"
      " `bridges` makes them so.",
    )


def _check_padding(
  reader: Reader, term: Term, arrays: Mapping[str, Any]
) -> None:
  """Raises `UserError` for a loss that counts padding."""
  for argument, value in arrays.items():
    several = isinstance(value, tuple)
    for part, array in enumerate(value if several else (value,)):
      # A map [B H W C] has two axes of positions, none of them of tokens.
      own = argument in term.reads and argument not in term.bridges
      rank = getattr(array, "ndim", 0) if own else 0
      if rank == 3 and _masks_of(reader, term, argument, array.shape[1]):
        positions.check(term, arrays, argument, part if several else None)


def _masks_of(
  reader: Reader, term: Term, argument: str, length: int
) -> dict[int, Array]:
  """The masks of as many positions as an argument has, by identity."""
  masks = {}
  for at in _outputs_of(reader, term, argument):
    mask = of_positions(reader.flow, at, length)
    if mask is not None:
      masks[id(mask)] = mask
  return masks


def _outputs_of(reader: Reader, term: Term, argument: str) -> Iterator[Address]:
  """The outputs of networks that an argument is made from."""
  for at in term.addresses(argument):
    if at.network == HEADS:
      owner, _, read = at.output.partition("/")
      yield from _outputs_of(reader, reader.terms[owner], read)
    elif at.network not in ("batch", DATA) and not _is_parameter(at):
      yield at


def _is_parameter(at: Address) -> bool:
  return at.output.startswith("params/")
