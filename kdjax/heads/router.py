"""Which teacher to ask about which example."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.types import Array


class Head(nn.Module):
  """A mixture of several teachers whose shares a linear layer gives.

    g_i = softmax(W [softmax(z_1i) .. softmax(z_Mi), guides_i] + b)
    mixture_i = log sum_m g_im softmax(z_mi)       "probabilities"
    mixture_i = sum_m g_im z_mi                    "logits"

  which are logits again. The share of a teacher has a gradient everywhere, so a
  term on the mixture trains it: a soft form of MST-Distill's router (Li et al.,
  2025, arXiv:2507.07015), which asks only the best teacher and whose choice its
  distillation does not train.

  Attributes:
    guides: how many of the last arrays of `x` are no teachers, but something
      that the shares go by too, such as the student's embedding.
    mix: "probabilities" or "logits".
    dtype: of its activations; its parameters are float32.
  """

  guides: int = 0
  mix: str = "probabilities"
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B _"], ...],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B K"]:
    """Logits of the mixture of `x`, all teachers' logits."""
    del like, train
    if self.mix not in ("probabilities", "logits"):
      raise UserError(
        f"No mix '{self.mix}'.", exists=("probabilities", "logits")
      )
    if not 0 <= self.guides < len(x):
      raise UserError(
        f"A head 'router' has {self.guides} guides among {len(x)} arrays.",
        "At least one must be a teacher's logits.",
      )
    count = len(x) - self.guides
    logits = jnp.stack([one.astype(jnp.float32) for one in x[:count]])
    log_p = jax.nn.log_softmax(logits)
    seen = [*jnp.exp(log_p), *(one.astype(jnp.float32) for one in x[count:])]
    gate = nn.Dense(count, dtype=self.dtype)(jnp.concatenate(seen, axis=-1))
    log_gate = jax.nn.log_softmax(gate.astype(jnp.float32)).T[:, :, None]
    if self.mix == "logits":
      mixture = jnp.sum(jnp.exp(log_gate) * logits, axis=0)
    else:
      mixture = jax.nn.logsumexp(log_gate + log_p, axis=0)
    return mixture.astype(self.dtype)
