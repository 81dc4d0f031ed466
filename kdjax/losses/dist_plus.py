"""DIST+: correlation of feature maps, over channels and over a batch."""

import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.losses._batch import pearson, valid_count, zero_masked
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
  """Matches the correlation of the student's and teacher's feature maps.

    loss = w_channel mean_bhw (1 - r(s_bhw., t_bhw.))
         + w_spatial mean_hw (1 - r(S_.hw, T_.hw))
    S_bhw = sum_c s_bhwc,  T_bhw = sum_c t_bhwc

  with r the Pearson correlation, over the channels of a position and over the
  examples at a position. DIST+ adds it to the loss `dist` on logits. A loss
  over the whole batch.

  Huang et al., "DIST+: Knowledge Distillation From a Stronger Adaptive
  Teacher", TPAMI 2025.
  Differs from the authors' code: it is not public. mode="code" is
  torchdistill's: the first part is + r instead of 1 - r, which decorrelates the
  channels, and the second part clamps each norm to at least epsilon.

  Args:
    student: feature maps.
    teacher: feature maps of the same shape.
    mask: True for valid examples; None is all.
    channel_weight: w_channel (the paper's iota).
    spatial_weight: w_spatial (the paper's kappa).
    epsilon: prevents a division by zero.
    mode: "paper" or "code".
  """
  if mode not in ("paper", "code"):
    raise UserError(f"No mode '{mode}'.", exists=("paper", "code"))
  same_shape(student=student, teacher=teacher)
  valid, student, teacher = zero_masked(mask, student, teacher)
  B, H, W, C = student.shape
  channels = pearson(
    student.reshape(B * H * W, C),
    teacher.reshape(B * H * W, C),
    None,
    epsilon=epsilon,
    clamp=False,
  ).reshape(B, H * W)
  # Masked rows are 0, and so is their correlation.
  channel = jnp.sum(jnp.mean(channels, axis=1)) / valid_count(valid)
  positions = lambda x: jnp.sum(x, axis=3).reshape(B, H * W).T
  spatial = pearson(
    positions(student),
    positions(teacher),
    valid,
    epsilon=epsilon,
    clamp=mode == "code",
  )
  if mode == "paper":
    channel = 1.0 - channel
  return channel_weight * channel + spatial_weight * jnp.mean(1.0 - spatial)
