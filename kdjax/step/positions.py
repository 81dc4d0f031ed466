"""Finds losses that count padding and can skip no positions."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from kdjax.errors import UserError
from kdjax.step import trial
from kdjax.step.addresses import DATA
from kdjax.step.terms import Term

# As many examples show whether padding counts.
ROWS = 4


def check(
  term: Term, arrays: Mapping[str, Any], argument: str, part: int | None
) -> None:
  """Checks that the last position of an argument does not change a loss.

  The loss is called with two sets of numbers of the shapes that the term reads.

  Args:
    term: whose loss takes no mask of positions.
    arrays: argument -> array, or tuple of arrays.
    argument: [B T D], of which some positions may be padding.
    part: which array of a tuple; None: it is no tuple.

  Raises:
    UserError: the loss differs.
  """
  made = _made(term, arrays)
  changed = dict(made)
  if part is None:
    changed[argument] = _with_other_end(made[argument])
  else:
    parts = list(made[argument])
    parts[part] = _with_other_end(parts[part])
    changed[argument] = tuple(parts)
  try:
    with jax.ensure_compile_time_eval():
      values = [
        np.asarray(term.loss(**given, **term.options))
        for given in (made, changed)
      ]
  except (TypeError, ValueError, UserError):
    return  # The loss says itself what does not fit.
  if np.allclose(*values, rtol=1e-5, atol=1e-6, equal_nan=True):
    return
  name = getattr(term.loss, "__name__", "")
  places = ", ".join(f"'{at}'" for at in term.addresses(argument))
  raise UserError(
    f"The term '{term.name}' reads positions at {places}, of which some are"
    f" padding, and the loss '{name}' cannot skip them.",
    "Use a loss of each position, such as 'hidden_mse', 'cosine' or 'kd', or an"
    ' output without positions; or let padding count: reads={"mask": ""}.',
  )


def _with_other_end(array):
  return np.concatenate([array[:, :-1], array[:, -1:] + 1.0], axis=1)


def _made(term: Term, arrays: Mapping[str, Any]) -> dict[str, Any]:
  """Numbers of the shapes of a loss's arguments, for a few examples."""
  random = np.random.default_rng(0)
  result = {}
  for name, value in arrays.items():
    places = term.addresses(name) if name in term.reads else ()
    whole = any(
      at.network == DATA or at.output.startswith("params/") for at in places
    )
    rows = None if whole else ROWS
    result[name] = trial.arrays_like(value, random, rows)
  return result
