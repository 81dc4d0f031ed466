"""A router: a learned mixture of several teachers."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.numerics import logsumexp, without_excluded
from kdjax.types import Array


class Head(nn.Module):
  """Mixes the logits of several teachers, with gates from a linear layer.

    g_i = softmax(W [softmax(z_1i) .. softmax(z_Mi), guides_i] + b)
    mixture_i = log sum_m g_im softmax(z_mi)       "probabilities"
    mixture_i = sum_m g_im z_mi                    "logits"

  A teacher that an example lacks has the gate 0 there, and is 0 among the
  inputs of the others' gates.

  The gates are differentiable, so a term on the mixture trains them. It is a
  soft form of MST-Distill's router (Li et al., 2025, arXiv:2507.07015), which
  selects the best teacher only and is not trained by the distillation loss.

  Attributes:
    guides: the number of last arrays of `x` that are not teachers' logits but
      further inputs of the gates, such as the student's embedding.
    mix: "probabilities" or "logits".
    dtype: of the activations; parameters are float32.
  """

  guides: int = 0
  mix: str = "probabilities"
  dtype: Any = jnp.float32

  def enough(self, present: Bool[Array, "B N"]) -> Bool[Array, "B"]:
    """Which examples have one of the teachers, and all guides."""
    count = present.shape[1] - self.guides
    some = jnp.any(present[:, :count], axis=1)
    return some & jnp.all(present[:, count:], axis=1)

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B _"], ...],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
    present: Bool[Array, "B N"] | None = None,
  ) -> Float[Array, "B K"]:
    """Logits of the mixture of the teachers' logits in `x`.

    Args:
      x: logits of the teachers, then the guides.
      like: not read.
      train: not read.
      present: which of the arrays an example has; None: all.
    """
    del like, train
    if self.mix not in ("probabilities", "logits"):
      raise UserError(
        f"No mix '{self.mix}'.", exists=("probabilities", "logits")
      )
    if not 0 <= self.guides < len(x):
      raise UserError(
        f"A head 'router' has {self.guides} guides among {len(x)} arrays.",
        "At least one array must be a teacher's logits.",
      )
    count = len(x) - self.guides
    teachers, guides = x[:count], x[count:]
    logits = jnp.stack([array.astype(jnp.float32) for array in teachers])
    if present is not None:
      there = present.T[:count, :, None]
      logits = jnp.where(there, logits, 0.0)
    log_p = jax.nn.log_softmax(logits)
    shares = jnp.exp(log_p)
    if present is not None:
      shares = jnp.where(there, shares, 0.0)
    inputs = [*shares, *(array.astype(jnp.float32) for array in guides)]
    gate = nn.Dense(count, dtype=self.dtype)(jnp.concatenate(inputs, axis=-1))
    gate = gate.astype(jnp.float32)
    if present is not None:
      # Without any teacher the example does not count, and must be finite.
      some = present[:, :count] | ~jnp.any(present[:, :count], 1, keepdims=True)
      gate = jnp.where(some, gate, -jnp.inf)
    log_gate = jax.nn.log_softmax(gate).T[:, :, None]
    if self.mix == "logits":
      excluded = jnp.any(jnp.isneginf(logits), axis=0)
      mixture = jnp.sum(jnp.exp(log_gate) * without_excluded(logits), axis=0)
      mixture = jnp.where(excluded, -jnp.inf, mixture)
    else:
      mixture = logsumexp(log_gate + log_p, axis=0)
    return mixture.astype(self.dtype)
