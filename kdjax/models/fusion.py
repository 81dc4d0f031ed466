"""Several encoders, one a part of the input, joined to one network."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, UserError, same_shape
from kdjax.types import Array, Outputs


class Model(nn.Module):
  """Joins encoders; one whose modality is absent contributes nothing.

  A modality is absent where `has/<modality>` is False, and everywhere when the
  inputs lack its key: a network trained on both runs on one.

  Outputs: every encoder's as `<encoder>/<output>`, embedding [B D],
  logits [B K]; and where it joins by attention, attention00 [B heads T] over
  the tokens of all encoders, which are in the order of their names. Where a
  modality is absent, its encoder saw zeros and its outputs mean nothing.

  Attributes:
    encoders: name -> network. Each gives `embedding`, and for attention
      `tokens`, if it has them, with the padding of `mask/<modality>`.
    num_classes: K.
    width: D.
    join: "concatenate" puts projected embeddings side by side;
      "cross_attention" lets a learned query look at all tokens.
    heads: of the attention; they divide the width.
    dropout: of values: of each encoder's part, and before the logits.
    axis_name: unused here; the encoders have their own.
    dtype: of activations.
  """

  encoders: Any
  num_classes: int
  width: int = 64
  join: str = "concatenate"
  heads: int = 4
  dropout: float = 0.0
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @property
  def reads(self) -> tuple[str, ...]:
    """The keys of the inputs that it may use."""
    keys = [key for name in self._names() for key in self.encoders[name].reads]
    needs = [m for name in self._names() for m in self.encoders[name].needs]
    return tuple(dict.fromkeys(keys + [f"has/{m}" for m in needs]))

  @property
  def needs(self) -> tuple[str, ...]:
    """Nothing: it does with what is there."""
    return ()

  def needs_of(self, output: str) -> tuple[str, ...]:
    """What an output needs: an encoder's own, what that encoder does."""
    part = output.partition("/")[0]
    return self.encoders[part].needs if part in self.encoders else self.needs

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees what its encoders read, and `has/<modality>`, bool [B]."""
    joins = {
      "concatenate": self._concatenate,
      "cross_attention": self._cross_attend,
    }
    if self.join not in joins:
      raise UserError(f"No join '{self.join}'.", exists=joins, near=self.join)
    inputs = _blanked(inputs)
    outputs, parts = {}, {}
    for name in self._names():
      encoder = self.encoders[name]
      if any(modality not in inputs for modality in encoder.needs):
        continue
      encoded = encoder(inputs, train=train)
      outputs |= {f"{name}/{key}": value for key, value in encoded.items()}
      parts[name] = encoded
    if not parts:
      raise UserError(
        f"No encoder has its inputs among: {', '.join(inputs)}.",
        "One modality at least must be there.",
        exists=self.reads,
      )
    drop = nn.Dropout(self.dropout, deterministic=not train)
    hidden = joins[self.join](inputs, parts, outputs, drop)
    embedding = nn.Dense(self.width, dtype=self.dtype, name="hidden")(hidden)
    embedding = nn.relu(embedding).astype(jnp.float32)
    outputs["embedding"] = embedding
    outputs["logits"] = nn.Dense(self.num_classes, name="head")(drop(embedding))
    return outputs

  def _concatenate(self, inputs, parts, outputs, drop) -> Float[Array, "B D"]:
    """Embeddings side by side; an absent one is 0."""
    del outputs
    rows = next(iter(parts.values()))["embedding"].shape[0]
    joined = []
    for name in self._names():
      if name not in parts:
        joined.append(jnp.zeros((rows, self.width), self.dtype))
        continue
      x = parts[name]["embedding"].astype(self.dtype)
      x = nn.Dense(self.width, dtype=self.dtype, name=f"project_{name}")(x)
      present = self._present(inputs, name, rows)
      joined.append(jnp.where(present[:, None], drop(nn.relu(x)), 0))
    return jnp.concatenate(joined, axis=-1)

  def _cross_attend(self, inputs, parts, outputs, drop) -> Float[Array, "B D"]:
    """What a learned query finds among the tokens of all encoders."""
    tokens, masks = [], []
    for name, encoded in parts.items():
      x = encoded.get("tokens", encoded["embedding"][:, None])
      masks.append(self._mask(inputs, name, x, padded="tokens" in encoded))
      x = nn.LayerNorm(dtype=self.dtype, name=f"norm_{name}")(x)
      x = nn.Dense(self.width, dtype=self.dtype, name=f"project_{name}")(x)
      origin = self.param(
        f"modality_{name}", nn.initializers.normal(0.02), (self.width,)
      )
      tokens.append(drop(x + origin[None, None].astype(self.dtype)))
    tokens, mask = jnp.concatenate(tokens, 1), jnp.concatenate(masks, 1)
    if self.width % self.heads:
      raise ShapeError(
        f"{self.heads} heads and width {self.width}.",
        "The heads must divide the width.",
      )
    shape = (self.heads, self.width // self.heads)
    project = lambda name: nn.DenseGeneral(shape, dtype=self.dtype, name=name)
    query = self.param("query", nn.initializers.normal(0.02), shape)
    scores = jnp.einsum(
      "hd,bthd->bht", query.astype(self.dtype), project("key")(tokens)
    ).astype(jnp.float32)
    scores /= shape[-1] ** 0.5
    # A finite floor: with nothing present this is uniform here, and 0 below.
    seen = mask[:, None]
    attention = jax.nn.softmax(jnp.where(seen, scores, -1e30))
    attention = jnp.where(seen, attention, 0).astype(self.dtype)
    outputs["attention00"] = attention
    found = jnp.einsum("bht,bthd->bhd", attention, project("value")(tokens))
    return found.reshape(found.shape[0], -1)

  def _names(self) -> list[str]:
    """The encoders, in an order that no config changes."""
    return sorted(self.encoders)

  def _present(self, inputs, name: str, rows: int) -> Bool[Array, "B"]:
    """Which rows have all that an encoder needs."""
    present = jnp.ones(rows, bool)
    for modality in self.encoders[name].needs:
      present &= inputs.get(f"has/{modality}", True)
    return present

  def _mask(
    self, inputs, name: str, tokens: Float[Array, "B T D"], *, padded: bool
  ) -> Bool[Array, "B T"]:
    """Which tokens are there: of a present modality, and no padding."""
    present = self._present(inputs, name, tokens.shape[0])
    mask = jnp.broadcast_to(present[:, None], tokens.shape[:2])
    for modality in self.encoders[name].needs:
      if padded and f"mask/{modality}" in inputs:
        words = inputs[f"mask/{modality}"]
        same_shape(tokens=tokens[..., 0], mask=words)
        mask &= words
    return mask


def _blanked(inputs: dict[str, Array]) -> dict[str, Array]:
  """Zeros for what is absent: whatever lies there, no statistic sees it."""
  blanked = dict(inputs)
  for key, value in inputs.items():
    has = inputs.get(f"has/{key.removeprefix('mask/')}")
    if has is not None:
      rows = has.reshape(has.shape + (1,) * (value.ndim - 1))
      blanked[key] = jnp.where(rows, value, jnp.zeros_like(value))
  return blanked
