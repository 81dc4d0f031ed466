"""What networks of several encoders read, and an encoder's part in them."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool

from kdjax.errors import same_shape
from kdjax.models._joins import Part
from kdjax.types import Array, Outputs


def part(
  encoder: nn.Module,
  encoded: Outputs,
  inputs: dict[str, Array],
  present: dict[str, Bool[Array, "*B"]],
) -> Part:
  """An encoder's outputs, and the rows that have all its modalities.

  Args:
    encoder: the network.
    encoded: its outputs.
    inputs: that it read.
    present: modality -> rows in which it is there, or [] for all.
  """
  embedding = encoded["embedding"]
  tokens = encoded.get("tokens", embedding[:, None])
  all_of = jnp.ones(embedding.shape[0], bool)
  masks = [encoded["mask/tokens"]] if "mask/tokens" in encoded else []
  for modality in encoder.needs:
    all_of &= present[modality]
    key = f"mask/{modality}"
    if not masks and "tokens" in encoded and key in inputs:
      masks.append(inputs[key])
  mask = jnp.broadcast_to(all_of[:, None], tokens.shape[:2])
  for token_mask in masks:
    same_shape(tokens=tokens[..., 0], mask=token_mask)
    mask &= token_mask
  return Part(embedding, tokens, encoded.get("logits"), mask, all_of)


def zero_absent(inputs: dict[str, Array]) -> dict[str, Array]:
  """Zeros absent rows, so that their content affects no statistic."""
  zeroed = dict(inputs)
  for key, value in inputs.items():
    has = inputs.get(f"has/{key.removeprefix('mask/')}")
    if has is not None:
      rows = has.reshape(has.shape + (1,) * (value.ndim - 1))
      zeroed[key] = jnp.where(rows, value, jnp.zeros_like(value))
  return zeroed
