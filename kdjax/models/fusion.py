"""Several encoders, one a part of the input, joined to one network."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError, same_shape
from kdjax.models import _joins
from kdjax.types import Array, Outputs


class Model(nn.Module):
  """Joins encoders; one whose modality is absent contributes nothing.

  A modality is absent where `has/<modality>` is False, and everywhere when the
  inputs lack its key: a network trained on both runs on one, and on none.

  Outputs: every encoder's as `<encoder>/<output>`, embedding [B D],
  logits [B K]. Encoders, N of them, are in the order of their names. Where a
  modality is absent, its encoder saw zeros and its outputs mean nothing. Joins:

  "concatenate": projected embeddings side by side.
  "average", late fusion: the mean of the logits of the encoders that are
    present, where an encoder has none those of a classifier on its projected
    embedding, which are then its output `<encoder>/logits`; the embedding is
    the mean of projected ones.
  "gated": h = sum_n gates_n tanh(W_n x_n) over embeddings x_n, and
    gates = softmax_n of U [x_1 .. x_N], of the present ones, for each of the D
    values; gates [B N D] are an output. Arevalo et al., "Gated Multimodal Units
    for Information Fusion", ICLR workshop 2017, arXiv:1702.01992, Section 3.2;
    of two encoders theirs, of more their sigmoids normalised.
  "cross_attention": a learned query looks at all tokens; attention00
    [B heads T] is an output, over the tokens of all encoders.
  "bottleneck": layers of self-attention, each of which sees one encoder's
    tokens and the bottleneck tokens; these become the mean of what the layers
    of present encoders make of them. Outputs are `<encoder>/fused00` .. [B T D]
    and bottleneck00 .. [B T D], after each layer. Nagrani et al., "Attention
    Bottlenecks for Multimodal Fusion", NeurIPS 2021, arXiv:2107.00135, Eqs. 8
    and 9. Differs from it: it follows the encoders rather than being their
    last layers, and classifies the mean of tokens, not class tokens.

  Attributes:
    encoders: name -> network. Each gives `embedding`, and for attention
      `tokens`, if it has them, with the padding of its `mask/tokens` or else of
      `mask/<modality>`.
    num_classes: K.
    width: D.
    join: one of the above.
    heads: of the attention; they divide the width.
    layers: of the join "bottleneck"; with one, encoders do not meet before
      they are averaged.
    bottlenecks: how many bottleneck tokens there are.
    modality_dropout: with which probability, in training, each modality of an
      example is hidden from the join, as if it were absent; encoders see it
      all the same. Where this would hide all M that are present, one of them,
      drawn evenly, is left: the rate is p - p^M / M. After Neverova et al.,
      "ModDrop", TPAMI 2016, arXiv:1501.00102, which may hide all.
    dropout: of values: of each encoder's part, and before the logits.
    axis_name: unused here; the encoders have their own.
    dtype: of activations.
  """

  encoders: Any
  num_classes: int
  width: int = 64
  join: str = "concatenate"
  heads: int = 4
  layers: int = 2
  bottlenecks: int = 4
  modality_dropout: float = 0.0
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
    joins = _joins.JOINS
    if self.join not in joins:
      raise UserError(f"No join '{self.join}'.", exists=joins, near=self.join)
    if not 0 <= self.modality_dropout <= 1:
      raise UserError(
        f"modality_dropout={self.modality_dropout}.", "It is a probability."
      )
    inputs = _blanked(inputs)
    outputs, encoded = {}, {}
    for name in self._names():
      encoder = self.encoders[name]
      if any(modality not in inputs for modality in encoder.needs):
        continue
      encoded[name] = encoder(inputs, train=train)
      outputs |= {f"{name}/{key}": x for key, x in encoded[name].items()}
    if not encoded:
      raise UserError(
        f"No encoder has its inputs among: {', '.join(inputs)}.",
        "One modality at least must be there.",
        exists=self.reads,
      )
    rows = next(iter(encoded.values()))["embedding"].shape[0]
    present = self._present(inputs, rows, train)
    parts = {
      name: self._part(name, encoded[name], inputs, present)
      if name in encoded
      else None
      for name in self._names()
    }
    drop = nn.Dropout(self.dropout, deterministic=not train)
    embedding, logits = joins[self.join](self, parts, outputs, drop)
    return {**outputs, "embedding": embedding, "logits": logits}

  def _names(self) -> list[str]:
    """The encoders, in an order that no config changes."""
    return sorted(self.encoders)

  def _present(
    self, inputs: dict[str, Array], rows: int, train: bool
  ) -> dict[str, Bool[Array, "B"]]:
    """In which rows the join has each modality."""
    needs = {m for name in self._names() for m in self.encoders[name].needs}
    there = sorted(needs & inputs.keys())
    always = jnp.ones(rows, bool)
    present = [always & inputs.get(f"has/{m}", True) for m in there]
    if train and self.modality_dropout and there:
      draws = jax.random.uniform(self.make_rng("dropout"), (rows, len(there)))
      kept = _kept(draws, jnp.stack(present, axis=1), self.modality_dropout)
      present = list(kept.T)
    return dict(zip(there, present, strict=True))

  def _part(self, name, encoded, inputs, present) -> _joins.Part:
    """What an encoder gives, and where it has all that it needs."""
    embedding = encoded["embedding"]
    tokens = encoded.get("tokens", embedding[:, None])
    all_of = jnp.ones(embedding.shape[0], bool)
    masks = [encoded["mask/tokens"]] if "mask/tokens" in encoded else []
    for modality in self.encoders[name].needs:
      all_of &= present[modality]
      key = f"mask/{modality}"
      if not masks and "tokens" in encoded and key in inputs:
        masks.append(inputs[key])
    mask = jnp.broadcast_to(all_of[:, None], tokens.shape[:2])
    for one in masks:
      same_shape(tokens=tokens[..., 0], mask=one)
      mask &= one
    return _joins.Part(embedding, tokens, encoded.get("logits"), mask, all_of)


def _kept(
  draws: Float[Array, "B N"], present: Bool[Array, "B N"], rate: float
) -> Bool[Array, "B N"]:
  """What stays of what is present: that of the greatest draw always does."""
  draws = jnp.where(present, draws, -1.0)
  greatest = draws == jnp.max(draws, axis=1, keepdims=True)
  return present & ((draws >= rate) | greatest)


def _blanked(inputs: dict[str, Array]) -> dict[str, Array]:
  """Zeros for what is absent: whatever lies there, no statistic sees it."""
  blanked = dict(inputs)
  for key, value in inputs.items():
    has = inputs.get(f"has/{key.removeprefix('mask/')}")
    if has is not None:
      rows = has.reshape(has.shape + (1,) * (value.ndim - 1))
      blanked[key] = jnp.where(rows, value, jnp.zeros_like(value))
  return blanked
