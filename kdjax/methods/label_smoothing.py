"""Label smoothing, without a teacher."""

from kdjax.config import extended
from kdjax.config.fields import ConfigDict

# What a sweep searches, beside weights and temperatures.
SPACE = {"smoothing": (0.0, 0.5)}


def label_smoothing(
  stage: ConfigDict, *, smoothing: float = 0.1
) -> list[ConfigDict]:
  """Cross-entropy with smoothed labels.

    loss = -sum_k q_k log softmax(student)_k
    q_k = 1 - smoothing at the label, smoothing / (K - 1) at the others

  Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
  CVPR 2016, arXiv:1512.00567, in the form of Yuan et al., CVPR 2020,
  arXiv:1909.11723, a baseline for distillation without a teacher. Defaults:
  those of Yuan et al.
  Needs: labels, and no teacher.
  Costs: nothing.

  Args:
    stage: with a network `student`.
    smoothing: probability of all other classes together.

  Returns:
    One stage: `stage` with smoothed labels in `cross_entropy`.
  """
  result = extended(stage, {})
  result.terms.cross_entropy.label_smoothing = smoothing
  result.terms.cross_entropy.smoothing = "others"
  return [result]
