"""Finds losses that do not depend on the student: softmax over one class."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from kdjax.errors import UserError
from kdjax.step import arguments, trial
from kdjax.step.terms import Term


def check(term: Term, arrays: Mapping[str, Any]) -> None:
  """Checks that a loss over one class depends on the student.

  A softmax over one class is 1 whatever the logit. The loss is called with two
  sets of numbers of the shapes that the term reads.

  Args:
    term: whose loss is to be called.
    arrays: argument -> array, or tuple of arrays.

  Raises:
    UserError: an axis of classes has the size 1, and the loss is the same for
      both sets.
  """
  if "student" not in arrays or not arguments.has_one_class(term, arrays):
    return
  try:
    with jax.ensure_compile_time_eval():
      values = [np.asarray(_value(term, arrays, seed)) for seed in (1, 2)]
  except UserError:
    values = [0.0, 0.0]  # It refuses one class itself.
  except (TypeError, ValueError):
    return  # The arguments do not fit in another way.
  if np.allclose(*values, rtol=1e-5, atol=1e-6):
    name = getattr(term.loss, "__name__", "")
    places = ", ".join(f"'{at}'" for at in term.addresses("student"))
    raise UserError(
      f"The term '{term.name}' reads one class at {places}, and the loss"
      f" '{name}' over one class has no gradient: it is the same for every"
      " logit, or undefined.",
      "Use the loss 'binary_cross_entropy' for labels or 'multilabel_kd' for a"
      " teacher's logits, or set num_classes=2 of the network.",
    )


def _value(term: Term, arrays: Mapping[str, Any], seed: int):
  """The loss of made-up arrays, with the options' defaults."""
  # The arguments but the student are the same for every seed.
  draws = {"student": np.random.default_rng(seed)}
  others = np.random.default_rng(0)
  made = {
    name: trial.arrays_like(value, draws.get(name, others))
    for name, value in arrays.items()
  }
  return term.loss(**made, **term.options)
