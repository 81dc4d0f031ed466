"""Label smoothing, the plainest of all teachers."""

from kdjax.config import extended
from kdjax.config.fields import ConfigDict


def label_smoothing(
  stage: ConfigDict, *, smoothing: float = 0.1
) -> list[ConfigDict]:
  """Cross-entropy with a label that leaves something to the other classes.

    loss = -sum_k q_k log softmax(student)_k
    q_k = 1 - smoothing at the label, smoothing / (K - 1) at the others

  Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
  CVPR 2016, arXiv:1512.00567, as Yuan et al., CVPR 2020, arXiv:1909.11723, have
  it: the baseline of distillation without a teacher. Defaults: theirs.
  Needs: labels, and no teacher.
  Costs: nothing.

  Args:
    stage: with a network `student`.
    smoothing: the share of the label that the other classes have.

  Returns:
    One stage.
  """
  made = extended(stage, {})
  made.terms.cross_entropy.label_smoothing = smoothing
  made.terms.cross_entropy.smoothing = "others"
  return [made]
