"""Precision, recall and F1 of classes, from their counts."""

import numpy as np


def scores(
  right: np.ndarray,
  predicted: np.ndarray,
  true: np.ndarray,
  averaged: np.ndarray,
) -> dict[str, float | np.ndarray]:
  """All three of them, of every class and averaged in three ways.

  As scikit-learn has them with `zero_division=0`: a precision without
  predictions, a recall without examples and an F1 with neither is 0.

  Args:
    right: [K], examples of a class that are predicted as such.
    predicted: [K], all examples predicted as of a class.
    true: [K], all examples of a class.
    averaged: bool [K], the classes of which "macro" is the mean. Where there
      is none, everything is nan.

  Returns:
    For each `name` of precision, recall, f1:
    <name>_macro: the mean over the averaged classes.
    <name>_weighted: the mean over classes, weighted by their examples.
    <name>_micro: of the counts summed over classes.
    <name>_per_class: [K].
  """
  right, predicted, true = (
    np.asarray(counts, np.float64) for counts in (right, predicted, true)
  )
  found = {}
  for name, over, under in (
    ("precision", right, predicted),
    ("recall", right, true),
    ("f1", 2.0 * right, predicted + true),
  ):
    each = ratio(over, under)
    # Where no class has an example, every score is 0, and so is this.
    weighted = ratio(np.sum(each * true), np.sum(true))
    micro = ratio(np.sum(over), np.sum(under))
    found[f"{name}_macro"] = mean_over(averaged, each)
    found[f"{name}_weighted"] = float(weighted)
    found[f"{name}_micro"] = float(micro)
    found[f"{name}_per_class"] = each
  if not np.any(averaged):
    return {name: value * float("nan") for name, value in found.items()}
  return found


def mean_over(classes: np.ndarray, values: np.ndarray) -> float:
  """The mean over some classes; nan where there is none."""
  chosen = np.asarray(values)[classes]
  return float(np.mean(chosen)) if chosen.size else float("nan")


def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
  """over / under in float64, 0 where `under` is 0."""
  over, under = np.asarray(over, np.float64), np.asarray(under, np.float64)
  return np.divide(over, under, out=np.zeros(under.shape), where=under > 0.0)
