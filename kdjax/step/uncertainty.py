"""Weights of terms that are learned: the uncertainty of each task.

Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh
Losses", CVPR 2018, arXiv:1705.07115, Section 3.2. With a learned log variance
s_i of each term i, in place of sum_i weight_i loss_i,

  objective = sum_i weight_i (exp(-s_i) loss_i + s_i / 2)

This is Eq. (10) for the cross-entropy of classes. That of a regression has
loss_i / 2, which is the same with s_i + log 2 as s_i, up to a constant; it
starts with twice the weight here. The best s_i is log(2 loss_i): a loss that
can be negative has none. A term counts, with its s_i / 2, in steps where an
example counts in it.

The log variances are f32 [] and start at 0. They are variables of heads, so
that they are trained, averaged and saved as these; weight decay leaves out
scalars.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from kdjax.step.reduction import Value
from kdjax.step.terms import Term
from kdjax.types import Array, Variables

# Values of a stage's `weighting`.
FIXED, UNCERTAINTY = "fixed", "uncertainty"
WEIGHTINGS = (FIXED, UNCERTAINTY)

_NAME = "log_variance"


def initial(terms: Sequence[Term]) -> dict[str, Variables]:
  """The variables of all terms' log variances, by names as those of heads."""
  return {
    _key(term.name): {"params": {_NAME: jnp.zeros((), jnp.float32)}}
    for term in terms
  }


def log_variances(heads: Mapping[str, Any]) -> dict[str, Array]:
  """term -> its log variance; {} where weights are fixed.

  Args:
    heads: name -> variables.
  """
  ending = _key("")
  return {
    key.removesuffix(ending): variables["params"][_NAME]
    for key, variables in heads.items()
    if key.endswith(ending)
  }


def weighted(
  values: Mapping[str, Value],
  learned: Mapping[str, Array],
  counts: Mapping[str, Array],
) -> dict[str, Value]:
  """The values of terms, with learned weights.

  Args:
    values: of all terms, with their fixed weights.
    learned: term -> log variance.
    counts: term -> the number of examples that count in all parts of the
      batch, if these are several.
  """
  result = {}
  for name, value in values.items():
    s = learned[name]
    counts_any = counts.get(name, value.count) > 0
    result[name] = value.replace(
      weight=value.weight * jnp.exp(-s),
      log_variance=s,
      penalty=jnp.where(counts_any, value.weight * s / 2, 0.0),
    )
  return result


def total(
  weights: Mapping[str, float],
  losses: Mapping[str, float],
  learned: Mapping[str, float],
) -> float:
  """The objective of a split, on the host.

  Args:
    weights: term -> its fixed weight.
    losses: "loss/<term>" -> the mean over the split.
    learned: term -> log variance; {} where weights are fixed.
  """
  result = 0.0
  for name, weight in weights.items():
    loss, s = losses[f"loss/{name}"], learned.get(name)
    result += weight * (loss if s is None else np.exp(-s) * loss + s / 2)
  return result


def _key(term: str) -> str:
  return f"{term}:{_NAME}"
