"""Loss terms and metrics that fit a task: classes, several labels, numbers."""

from typing import Any

from kdjax.new.facts import Facts
from kdjax.new.source import Call

# The rarest class has fewer than one of so many of the commonest one's.
IMBALANCE = 10


def terms(facts: Facts) -> tuple[dict[str, Any], dict[str, Any], str]:
  """Terms of labels and of the teacher's outputs, and why."""
  if facts.task == "target":
    return (
      {"huber": Call("term", "huber")},
      {"mse": Call("term", "mse")},
      "Terms: huber on targets, which outliers do not dominate; mse on the"
      " teacher's predictions.",
    )
  if facts.task == "labels":
    return (
      {"binary_cross_entropy": Call("term", "binary_cross_entropy")},
      {"multilabel_kd": Call("term", "multilabel_kd", temperature=2.0)},
      "Terms: binary_cross_entropy and multilabel_kd, class by class.",
    )
  labels = {"cross_entropy": Call("term", "cross_entropy")}
  if len(facts.classes) == 2:
    return (
      labels,
      {"kd": Call("term", "kd", temperature=2.0)},
      "Terms: cross_entropy, and kd; dist compares more classes than two.",
    )
  return (
    labels,
    {"dist": Call("term", "dist", weight=2.0)},
    "Terms: cross_entropy, and dist, which validation chose on five of seven"
    " pairs of modalities (kdjax/methods/README.md, the board).",
  )


def metrics(facts: Facts) -> tuple[dict[str, Any], list[str]]:
  """Knobs of a stage that say what is measured and selected, and why."""
  if facts.task == "target":
    measured = {"regression": Call("metric", "regression")}
    return {"metrics": measured, "select": "mse", "select_mode": "min"}, []
  if facts.task == "labels":
    measured = {"multilabel": Call("metric", "multilabel")}
    return {"metrics": measured, "select": "f1_macro"}, []
  rare, common = min(facts.counts), max(facts.counts)
  if rare * IMBALANCE < common:
    names = dict(zip(facts.counts, facts.classes, strict=True))
    return {"select": "f1_macro"}, [
      f"Selection: by f1_macro, because '{names[common]}' has {common}"
      f" training examples and '{names[rare]}' {rare}; sampling=\"balanced\" of"
      " the data draws classes alike."
    ]
  return {}, []
