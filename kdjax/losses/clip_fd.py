"""CLIP-KD's feature distillation: normalised embeddings of each tower."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import l2_normalize
from kdjax.types import Array


def clip_fd(
  student: tuple[Float[Array, "B D"], ...],
  teacher: tuple[Float[Array, "B D"], ...],
) -> Float[Array, "B"]:
  """Matches the directions of the student's embeddings with the teacher's.

    loss_i = sum_m mean_d (student_mid / |student_mi| - teacher_mid / |..|)^2

  over modalities m. With the student's embedding of a masked image and the
  teacher's of the whole image, it is masked feature distillation.

  Yang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation",
  CVPR 2024, arXiv:2307.12732, Section 3.
  Differs from the authors' code: not in the loss; there the features of the
  whole image overwrite the masked features before they are read.

  Args:
    student: embeddings, one array per modality.
    teacher: embeddings of the same shapes.
  """
  loss = 0.0
  for learned, target in zip(student, teacher, strict=True):
    same_shape(student=learned, teacher=target)
    difference = l2_normalize(learned) - l2_normalize(target)
    loss += jnp.mean(difference**2, axis=-1)
  return loss
