"""Precision, recall and F1 per class and averaged, from counts."""

import numpy as np


def precision_recall_f1(
  correct: np.ndarray,
  predicted: np.ndarray,
  true: np.ndarray,
  averaged: np.ndarray,
) -> dict[str, float | np.ndarray]:
  """Precision, recall and F1, per class and averaged in three ways.

  Equal to scikit-learn's with `zero_division=0`: a precision without
  predictions, a recall without examples and an F1 with neither is 0.

  Args:
    correct: [K], correctly predicted examples of each class.
    predicted: [K], examples predicted as each class.
    true: [K], examples of each class.
    averaged: bool [K], the classes in the "macro" mean. Without any, all
      metrics but the support are NaN.

  Returns:
    For each `name` of precision, recall, f1:
    <name>_macro: the mean over the averaged classes.
    <name>_weighted: the mean over classes, weighted by their examples.
    <name>_micro: from the counts summed over classes.
    <name>_per_class: [K].
    And support_per_class: [K], the examples of each class, `true`.
  """
  correct, predicted, true = (
    np.asarray(counts, np.float64) for counts in (correct, predicted, true)
  )
  metrics = {}
  for name, numerator, denominator in (
    ("precision", correct, predicted),
    ("recall", correct, true),
    ("f1", 2.0 * correct, predicted + true),
  ):
    per_class = ratio(numerator, denominator)
    # 0 if no class has an example, like each class's score.
    weighted = ratio(np.sum(per_class * true), np.sum(true))
    micro = ratio(np.sum(numerator), np.sum(denominator))
    metrics[f"{name}_macro"] = mean_over(averaged, per_class)
    metrics[f"{name}_weighted"] = float(weighted)
    metrics[f"{name}_micro"] = float(micro)
    metrics[f"{name}_per_class"] = per_class
  if not np.any(averaged):
    metrics = {name: value * float("nan") for name, value in metrics.items()}
  return {**metrics, "support_per_class": true}


def mean_over(classes: np.ndarray, values: np.ndarray) -> float:
  """The mean over selected classes; NaN without any."""
  selected = np.asarray(values)[classes]
  return float(np.mean(selected)) if selected.size else float("nan")


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
  """The ratio in float64; 0 where the denominator is 0."""
  numerator = np.asarray(numerator, np.float64)
  denominator = np.asarray(denominator, np.float64)
  zeros = np.zeros(denominator.shape)
  return np.divide(numerator, denominator, out=zeros, where=denominator > 0.0)
