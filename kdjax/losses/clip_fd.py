"""Normalised embeddings of each tower."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import same_shape
from kdjax.numerics import unit
from kdjax.types import Array


def clip_fd(
  student: tuple[Float[Array, "B D"], ...],
  teacher: tuple[Float[Array, "B D"], ...],
) -> Float[Array, "B"]:
  """Matches the directions of the student's embeddings with the teacher's.

    loss_i = sum_m mean_d (student_mid / |student_mi| - teacher_mid / |..|)^2

  over modalities m. With what the student makes of a masked image, and what
  the teacher makes of the whole one, it is masked feature distillation.

  Yang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation",
  CVPR 2024, arXiv:2307.12732, Section 3.
  Differs from the authors' code: none in the loss; there the masked features
  are overwritten by those of the whole image before they are read.

  Args:
    student: embeddings, one array a modality.
    teacher: likewise, and as wide.
  """
  loss = 0.0
  for one, other in zip(student, teacher, strict=True):
    same_shape(student=one, teacher=other)
    loss += jnp.mean((unit(one) - unit(other)) ** 2, axis=-1)
  return loss
