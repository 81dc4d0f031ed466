"""What a discriminator's verdict costs, whichever form its output has."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.types import Array


def called_real(
  verdict: Float[Array, "B M"], label: Int[Array, "B"] | None, form: str
) -> Float[Array, "B"]:
  """The loss of a verdict that should be: real, and of this class."""
  verdict = _labelled(verdict, label)
  if form == "gan":
    return jnp.mean(jax.nn.softplus(-verdict), axis=1)
  if form == "least_squares":
    return jnp.mean((verdict - 1.0) ** 2, axis=1)
  log_p = jax.nn.log_softmax(verdict)
  first = 1 if form == "classes" else 0
  if label is None:
    real = log_p[:, first : first + verdict.shape[1] - 1]
    return -jax.nn.logsumexp(real, axis=1)
  own = jnp.where(label >= 0, label, 0) + first
  return -jnp.take_along_axis(log_p, own[:, None], axis=1)[:, 0]


def called_fake(
  verdict: Float[Array, "B M"], label: Int[Array, "B"] | None, form: str
) -> Float[Array, "B"]:
  """The loss of a verdict that should be: fake."""
  verdict = _labelled(verdict, label)
  if form == "gan":
    return jnp.mean(jax.nn.softplus(verdict), axis=1)
  if form == "least_squares":
    return jnp.mean(verdict**2, axis=1)
  fake = 0 if form == "classes" else -1
  return -jax.nn.log_softmax(verdict)[:, fake]


def counted(
  loss: Float[Array, "B"], label: Int[Array, "B"] | None
) -> Float[Array, "B"]:
  """The loss, and 0 where an example is unlabelled."""
  return loss if label is None else jnp.where(label >= 0, loss, 0.0)


def _labelled(verdict, label):
  """Verdicts in float32; those without a label replaced, gradient and all."""
  verdict = verdict.astype(jnp.float32)
  if label is None:
    return verdict
  return jnp.where((label >= 0)[:, None], verdict, 0.0)
