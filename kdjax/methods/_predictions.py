"""Metrics of what a student predicts through a head and a teacher's layer."""

from kdjax.config import head, metric
from kdjax.config.fields import ConfigDict


def through_classifier(
  stage: ConfigDict, feature: str, classifier: tuple[str, ...]
) -> None:
  """Measures a teacher's classifier on a feature, not the student's logits.

  Args:
    stage: whose metrics of `student/logits` are changed.
    feature: address of the student's feature, with the teacher's width.
    classifier: addresses of the teacher classifier's kernel and bias.
  """
  for name, family in stage.metrics.items():
    if family.reads.get("student") == "student/logits":
      stage.metrics[name] = _of_feature(family, (feature, *classifier))


def _of_feature(family: ConfigDict, addresses: tuple) -> ConfigDict:
  """The same metrics, of the predictions through the teacher's classifier."""
  keys = ("name", "reads", "heads")
  return metric(
    family.name,
    reads={**family.reads, "student": addresses},
    heads={**family.heads, "student": head("classifier")},
    **{key: value for key, value in family.items() if key not in keys},
  )
