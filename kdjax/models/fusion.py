"""Fusion of several encoders, one per modality, into one network."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.models import _encoded, _joins
from kdjax.types import Array, Outputs


class Model(nn.Module):
  """Joins encoders; an absent modality contributes nothing.

  A modality is absent where `has/<modality>` is False, and everywhere if the
  inputs lack its key. A network trained on two modalities runs on one or none.

  Outputs: each encoder's as `<encoder>/<output>`, embedding [B D], logits
  [B K]. The N encoders are in the order of their names. Where a modality is
  absent, its encoder reads zeros and its outputs are meaningless. Joins:

  "concatenate": concatenated projected embeddings.
  "average", late fusion: the mean of the present encoders' logits, and of
    their projected embeddings. An encoder without logits gets a classifier on
    its projected embedding, with the output `<encoder>/logits`.
  "gated": h = sum_n gates_n tanh(W_n x_n) over embeddings x_n, with
    gates = softmax_n of U [x_1 .. x_N] over the present encoders, for each of
    the D values. Output: gates [B N D]. Arevalo et al., "Gated Multimodal Units
    for Information Fusion", ICLR workshop 2017, arXiv:1702.01992, Section 3.2.
    For two encoders it equals the paper; for more, it normalizes the sigmoids.
  "cross_attention": attention of a learned query over all tokens. Output:
    attention00 [B heads T], over the tokens of all encoders.
  "bottleneck": layers of self-attention over one encoder's tokens and the
    bottleneck tokens; the latter become the mean over the present encoders'
    layers. Outputs after each layer: `<encoder>/fused00` .. [B T D] and
    bottleneck00 .. [B T D]. Nagrani et al., "Attention Bottlenecks for
    Multimodal Fusion", NeurIPS 2021, arXiv:2107.00135, Eqs. 8 and 9. Differs
    from it: the layers follow the encoders instead of being their last layers,
    and the mean of tokens is classified instead of class tokens.
  "graph": the encoders' projected embeddings h are nodes of a complete graph;
    a layer is h_n = ELU(sum_m a_nm W h_m) of several heads side by side, with
    a_nm = softmax_m LeakyReLU(u W h_n + v W h_m) over the present encoders m,
    n included. The mean of the present nodes is classified. Outputs: graph00 ..
    [B heads N N], a of each layer. Velickovic et al., "Graph Attention
    Networks", ICLR 2018, arXiv:1710.10903, Eqs. 3 to 5. Differs from it: no
    dropout of a, and the last layer has side by side heads too.

  Attributes:
    encoders: name -> network with the output `embedding`. Attention uses its
      `tokens`, if any, with its `mask/tokens` or else `mask/<modality>`.
    num_classes: K.
    width: D.
    join: one of the above.
    heads: number of attention heads; they divide the width.
    layers: number of layers of the joins "bottleneck" and "graph". With one
      layer of "bottleneck", encoders do not interact before they are averaged.
    bottlenecks: number of bottleneck tokens.
    modality_dropout: probability p, in training, that the join treats a
      modality of an example as absent; the encoders still read it. If all M
      present modalities would be dropped, one of them, drawn uniformly, is
      kept: the rate is p - p^M / M. After Neverova et al., "ModDrop", TPAMI
      2016, arXiv:1501.00102, which may drop all.
    dropout: rate; of each encoder's part, and before the logits.
    axis_name: unused; the encoders have their own.
    dtype: of the activations.
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
    """The keys of the inputs that the network may use."""
    keys = [key for name in self._names() for key in self.encoders[name].reads]
    needs = [m for name in self._names() for m in self.encoders[name].needs]
    return tuple(dict.fromkeys(keys + [f"has/{m}" for m in needs]))

  @property
  def needs(self) -> tuple[str, ...]:
    """No modality is required: the network works with any subset."""
    return ()

  def needs_of(self, output: str) -> tuple[str, ...]:
    """The modalities that an output requires: those of its encoder."""
    part = output.partition("/")[0]
    return self.encoders[part].needs if part in self.encoders else self.needs

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads the inputs of its encoders, and `has/<modality>`, bool [B]."""
    joins = _joins.JOINS
    if self.join not in joins:
      raise UserError(f"No join '{self.join}'.", exists=joins, near=self.join)
    if not 0 <= self.modality_dropout <= 1:
      raise UserError(
        f"modality_dropout={self.modality_dropout} is not a probability.",
        "Expected a number from 0 to 1.",
      )
    inputs = _encoded.zero_absent(inputs)
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
        "Expected at least one of the modalities.",
        exists=self.reads,
      )
    rows = next(iter(encoded.values()))["embedding"].shape[0]
    present = self._present(inputs, rows, train)
    parts = {
      name: _encoded.part(self.encoders[name], encoded[name], inputs, present)
      if name in encoded
      else None
      for name in self._names()
    }
    drop = nn.Dropout(self.dropout, deterministic=not train)
    embedding, logits = joins[self.join](self, parts, outputs, drop)
    return {**outputs, "embedding": embedding, "logits": logits}

  def _names(self) -> list[str]:
    """The encoders' names, sorted: independent of a config's order."""
    return sorted(self.encoders)

  def _present(
    self, inputs: dict[str, Array], rows: int, train: bool
  ) -> dict[str, Bool[Array, "B"]]:
    """Modality -> rows in which the join uses it."""
    needs = {m for name in self._names() for m in self.encoders[name].needs}
    names = sorted(needs & inputs.keys())
    all_rows = jnp.ones(rows, bool)
    present = [all_rows & inputs.get(f"has/{m}", True) for m in names]
    if train and self.modality_dropout and names:
      draws = jax.random.uniform(self.make_rng("dropout"), (rows, len(names)))
      kept = _drop(draws, jnp.stack(present, axis=1), self.modality_dropout)
      present = list(kept.T)
    return dict(zip(names, present, strict=True))


def _drop(
  draws: Float[Array, "B N"], present: Bool[Array, "B N"], rate: float
) -> Bool[Array, "B N"]:
  """Modality dropout; the present modality with the largest draw is kept."""
  draws = jnp.where(present, draws, -1.0)
  greatest = draws == jnp.max(draws, axis=1, keepdims=True)
  return present & ((draws >= rate) | greatest)
