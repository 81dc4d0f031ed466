"""The reads and the stage of methods for a tower of images and one of texts."""

from kdjax.config import extended
from kdjax.config.fields import ConfigDict

# Arguments of losses that come from the teacher.
TARGETS = ("teacher", "teacher_scale")


def one_network(addresses: tuple[str, str, str]) -> dict[str, str]:
  """The `reads` of CLIP's loss within one network.

  Args:
    addresses: of its image embedding, its text embedding and its scale.
  """
  return dict(zip(("image", "text", "scale"), addresses, strict=True))


def both_networks(
  student: tuple[str, str, str], teacher: tuple[str, str, str]
) -> dict[str, str | tuple[str, str]]:
  """The `reads` of a loss that compares similarities within two networks.

  Args:
    student: addresses of its image embedding, text embedding and scale.
    teacher: the same of the teacher.
  """
  return {
    "student": student[:2],
    "teacher": teacher[:2],
    "student_scale": student[2],
    "teacher_scale": teacher[2],
  }


def of_towers(
  stage: ConfigDict, terms: dict[str, ConfigDict], labels: float
) -> list[ConfigDict]:
  """One stage: `stage` with further terms, and cross-entropy where it is used.

  Networks with two towers may have no logits: without a weight of labels,
  cross-entropy is left out unless `stage` has it.

  Args:
    stage: of a method.
    terms: name -> from `term()`.
    labels: weight of cross-entropy.
  """
  result = extended(stage, terms, labels=labels)
  if not labels and "cross_entropy" not in stage.terms:
    del result.terms.cross_entropy
  return [result]
