"""Correlation of feature maps, over channels and over a batch."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._batch import correlation, count, shown
from kdjax.types import Array


def dist_plus(
  student: Float[Array, "B H W C"],
  teacher: Float[Array, "B H W C"],
  mask: Bool[Array, "B"] | None = None,
  *,
  channel_weight: float = 1.0,
  spatial_weight: float = 1.0,
  epsilon: float = 1e-8,
  mode: str = "paper",
) -> Float[Array, ""]:
  """Matches the student's map with the teacher's up to a linear map.

    loss = w_channel mean_bhw (1 - r(s_bhw., t_bhw.))
         + w_spatial mean_hw (1 - r(S_.hw, T_.hw))
    S_bhw = sum_c s_bhwc,  T_bhw = sum_c t_bhwc

  with r Pearson's correlation: over the channels of a position, and over the
  examples at a position. What DIST+ has beside the loss `dist` on logits. A
  loss of the whole batch.

  Huang et al., "DIST+: Knowledge Distillation From a Stronger Adaptive
  Teacher", TPAMI 2025.
  Differs from the authors' code: there is none. Of torchdistill's, mode="code",
  the first part is + r where this has 1 - r: it drives the channels apart. Its
  second part guards each norm against 0 by itself.

  Args:
    student: a map.
    teacher: a map of the same shape.
    mask: the examples that count; None is all.
    channel_weight: w_channel (the paper's iota).
    spatial_weight: w_spatial (kappa).
    epsilon: against a division by zero.
    mode: the sign of the first part, "paper" or "code".
  """
  if mode not in ("paper", "code"):
    raise UserError(f"No mode '{mode}'.", exists=("paper", "code"))
  same_shape(student=student, teacher=teacher)
  counted, student, teacher = shown(mask, student, teacher)
  B, H, W, C = student.shape
  channels = correlation(
    student.reshape(B * H * W, C),
    teacher.reshape(B * H * W, C),
    None,
    epsilon=epsilon,
    clamp=False,
  ).reshape(B, H * W)
  # Hidden rows are 0, and so is their correlation.
  channel = jnp.sum(jnp.mean(channels, axis=1)) / count(counted)
  places = lambda x: jnp.sum(x, axis=3).reshape(B, H * W).T
  spatial = correlation(
    places(student),
    places(teacher),
    counted,
    epsilon=epsilon,
    clamp=mode == "code",
  )
  if mode == "paper":
    channel = 1.0 - channel
  return channel_weight * channel + spatial_weight * jnp.mean(1.0 - spatial)
