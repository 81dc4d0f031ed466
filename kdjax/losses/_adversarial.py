"""Losses of a discriminator's output, in each of its forms."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.types import Array


def real_loss(
  output: Float[Array, "B M"], label: Int[Array, "B"] | None, form: str
) -> Float[Array, "B"]:
  """Loss of an output with the target "real, of the label's class"."""
  output = _mask_unlabelled(output, label)
  if form == "gan":
    return jnp.mean(jax.nn.softplus(-output), axis=1)
  if form == "least_squares":
    return jnp.mean((output - 1.0) ** 2, axis=1)
  log_p = jax.nn.log_softmax(output)
  first = 1 if form == "classes" else 0
  if label is None:
    real = log_p[:, first : first + output.shape[1] - 1]
    return -jax.nn.logsumexp(real, axis=1)
  target = jnp.where(label >= 0, label, 0) + first
  return -jnp.take_along_axis(log_p, target[:, None], axis=1)[:, 0]


def fake_loss(
  output: Float[Array, "B M"], label: Int[Array, "B"] | None, form: str
) -> Float[Array, "B"]:
  """Loss of an output with the target "fake"."""
  output = _mask_unlabelled(output, label)
  if form == "gan":
    return jnp.mean(jax.nn.softplus(output), axis=1)
  if form == "least_squares":
    return jnp.mean(output**2, axis=1)
  fake = 0 if form == "classes" else -1
  return -jax.nn.log_softmax(output)[:, fake]


def zero_unlabelled(
  loss: Float[Array, "B"], label: Int[Array, "B"] | None
) -> Float[Array, "B"]:
  """The loss; 0 for unlabelled examples."""
  return loss if label is None else jnp.where(label >= 0, loss, 0.0)


def _mask_unlabelled(output, label):
  """Outputs in float32; 0, with gradient 0, for unlabelled examples."""
  output = output.astype(jnp.float32)
  if label is None:
    return output
  return jnp.where((label >= 0)[:, None], output, 0.0)
