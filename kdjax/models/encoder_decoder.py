"""A network that writes a text about its inputs, token by token."""

import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool

from kdjax.errors import UserError
from kdjax.models import _decoding, _encoded, _pool
from kdjax.models._block import PADDING_SCORE
from kdjax.models._decoder import Decoder
from kdjax.types import Array, Outputs

# Outputs [B T D] and [B heads T .] of the decoder.
OF_TOKENS = ("embedded", "block", "query", "key", "value", "tokens")
OF_ATTENTION = ("attention", "cross")


class Model(nn.Module):
  """Encoders of any modalities, and a causal decoder that attends to them.

  The decoder reads a text token by token, after a learned start, and predicts
  the next token from those before it and from the encoders' positions: their
  `tokens`, else the positions of their last map, else their embedding. An
  absent modality has no positions. Id 0, which is padding in all data, is the
  end of a text.

  Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv:1706.03762,
  Section 3, with the norms before each branch and learned positions.

  Outputs: each encoder's as `<encoder>/<output>`, embedding [B D] (the mean of
  the encoders' positions). With the text in the inputs: logits [B T V] of each
  token and of the end, mask/logits [B T], which are those of a text and its
  end; embedded, block00 .. and tokens [B T D], query00 .., key00 .., value00 ..
  [B T D], attention00 .., scores00 .. [B heads T T], cross00 .. [B heads T S],
  mask/tokens [B T]. All are 0 where the mask is False, scores -10000.
  What it writes, whether or not there is a text: greedy, beam and sampled, i32
  [B length], with mask/greedy .. [B length], False from the end on, and
  greedy_score, beam_score [B], the log probability. They have no gradient, and
  cost nothing where nothing reads them. In training, `sampled` has draws of its
  own for each text; in evaluation they are the same for all.

  Attributes:
    encoders: name -> network.
    vocabulary: V, the number of token ids.
    num_classes: unused; logits are of tokens.
    width: D.
    depth: number of the decoder's blocks.
    heads: number of attention heads; they divide the width.
    length: the most tokens of a text, read or written.
    modality: the text's key.
    beams: texts that the beam search keeps.
    length_penalty: of its final scores, see `_decoding.beam`; 0 is none.
    temperature: of `sampled`.
    top_p: `sampled` draws from the fewest tokens of this probability.
    dropout: rate; of whole tokens at the input, and after every branch.
    remat: recomputes each block's activations in the backward pass.
    axis_name: unused; the encoders have their own.
    dtype: of the activations.
  """

  encoders: Any
  vocabulary: int
  num_classes: int | None = None
  width: int = 64
  depth: int = 2
  heads: int = 4
  length: int = 32
  modality: str = "text"
  beams: int = 4
  length_penalty: float = 0.0
  temperature: float = 1.0
  top_p: float = 1.0
  dropout: float = 0.0
  remat: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  # Outputs that draw at random in training.
  DRAWN = ("sampled",)

  LAYERS = (
    ("embedded", "words", 1),
    ("block{:02d}", "words", "depth"),
    ("tokens", "words", 1),
    ("scores{:02d}", "attention", "depth"),
  )

  @property
  def reads(self) -> tuple[str, ...]:
    """The keys of the inputs that the network may use."""
    keys = [key for name in self._names() for key in self.encoders[name].reads]
    keys += [f"has/{it}" for it in self._modalities()]
    return tuple(dict.fromkeys([*keys, self.modality, f"mask/{self.modality}"]))

  @property
  def writes(self) -> tuple[str, ...]:
    """What it reads only to be trained: a trained network writes it."""
    return (self.modality,)

  @property
  def needs(self) -> tuple[str, ...]:
    """No modality is required: the network writes about any subset."""
    return ()

  def needs_of(self, output: str) -> tuple[str, ...]:
    """The modalities that an output requires: its encoder's, or the text."""
    part = output.partition("/")[0]
    if part in self.encoders:
      return tuple(self.encoders[part].needs)
    name = output.removeprefix("mask/").rstrip("0123456789")
    of_text = (*OF_TOKENS, *OF_ATTENTION, "scores", "logits")
    return (self.modality,) if name in of_text else ()

  def setup(self):
    """The encoders' projections and the decoder."""
    self.project = {
      name: nn.Dense(self.width, dtype=self.dtype, name=f"project_{name}")
      for name in self._names()
    }
    self.decoder = Decoder(
      vocabulary=self.vocabulary,
      width=self.width,
      depth=self.depth,
      heads=self.heads,
      length=self.length,
      dropout=self.dropout,
      remat=self.remat,
      dtype=self.dtype,
    )

  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads the inputs of its encoders, and the text with its mask."""
    outputs = {}
    memory, mask = self._encode(inputs, outputs, train)
    outputs["embedding"] = _pool.mean(memory.astype(jnp.float32), mask)
    kept = self.decoder.remember(memory)
    text = inputs.get(self.modality)
    if text is None and self.is_initializing():
      text = jnp.zeros((mask.shape[0], self.length), jnp.int32)
    if text is not None:
      of_text = {}
      self.decoder(text, kept, mask, of_text, train=train)
      outputs |= _masked(of_text, _counted(text, inputs, self.modality))
    if not self.is_initializing():
      outputs |= self._written(inputs, kept, mask, train)
    return outputs

  def remember(self, inputs: dict[str, Array]):
    """What the decoder keeps of the encoders, and the mask of its positions."""
    memory, mask = self._encode(inputs, {}, False)
    return self.decoder.remember(memory), mask

  def logits(self, text, kept, mask: Bool[Array, "B S"]) -> Array:
    """Logits [B T V] of a whole text [B T], from what `remember` returns."""
    outputs = {}
    self.decoder(text, kept, mask, outputs, train=False)
    return outputs["logits"]

  def _names(self) -> list[str]:
    """The encoders' names, sorted: independent of a config's order."""
    return sorted(self.encoders)

  def _modalities(self) -> list[str]:
    """The modalities that the encoders read."""
    return sorted({m for it in self._names() for m in self.encoders[it].needs})

  def _encode(self, inputs, outputs: Outputs, train: bool):
    """The memory [B S D] and the mask of its positions."""
    inputs = _encoded.zero_absent(inputs)
    found = []
    for name in self._names():
      encoder = self.encoders[name]
      if any(modality not in inputs for modality in encoder.needs):
        continue
      encoded = encoder(inputs, train=train)
      outputs |= {f"{name}/{key}": x for key, x in encoded.items()}
      present = {
        modality: inputs.get(f"has/{modality}", jnp.ones((), bool))
        for modality in encoder.needs
      }
      part = _encoded.part(encoder, _with_tokens(encoded), inputs, present)
      found.append((self.project[name](part.tokens), part.mask))
    if not found:
      raise UserError(
        f"No encoder has its inputs among: {', '.join(inputs)}.",
        "Expected at least one of the modalities.",
        exists=self._modalities(),
      )
    memory, mask = (
      jnp.concatenate(part, axis=1) for part in zip(*found, strict=True)
    )
    return jnp.where(mask[..., None], memory, 0), mask

  def _written(self, inputs, kept, mask: Bool[Array, "B S"], train: bool):
    """The texts that the network writes, without gradient."""
    variables = jax.lax.stop_gradient(self.variables)
    bound = self.clone(parent=None)
    call = lambda method, *values: bound.apply(
      variables, *values, method=method
    )
    keys = jnp.broadcast_to(jax.random.key(0), mask.shape[:1])
    if train:
      # Texts are those of a network in evaluation mode.
      kept, mask = call(Model.remember, inputs)
      if self.has_rng("dropout"):
        keys = jax.random.split(self.make_rng("dropout"), mask.shape[0])
    state = call(Model._begin, jax.lax.stop_gradient(kept), mask)
    advance = lambda *step: call(Model._advance, *step)
    given = advance, state, mask.shape[0], self.length
    found = {
      "greedy": _decoding.greedy(*given),
      "beam": _decoding.beam(
        *given, beams=self.beams, penalty=self.length_penalty
      ),
      "sampled": _decoding.sampled(
        *given, keys, temperature=self.temperature, top_p=self.top_p
      ),
    }
    outputs = {}
    for name, text in found.items():
      outputs |= {name: text.ids, f"mask/{name}": text.mask}
      if name != "sampled":
        outputs[f"{name}_score"] = text.score
    return outputs

  def _begin(self, kept, mask):
    return self.decoder.begin(kept, mask, self.length)

  def _advance(self, state, before, position):
    return self.decoder.advance(state, before, position)


def _with_tokens(encoded: Outputs) -> Outputs:
  """An encoder's outputs with `tokens`: else the positions of its last map."""
  maps = [key for key in encoded if re.fullmatch(r"stage\d+", key)]
  if "tokens" in encoded or not maps:
    return encoded
  last = max(maps, key=lambda key: int(key.removeprefix("stage")))
  x = encoded[last]
  found = {**encoded, "tokens": x.reshape(x.shape[0], -1, x.shape[-1])}
  if f"mask/{last}" in encoded:
    found["mask/tokens"] = encoded[f"mask/{last}"]
  return found


def _counted(text, inputs, modality: str) -> Bool[Array, "B T"]:
  """The positions of a text's tokens, and the one of its end."""
  mask = inputs.get(f"mask/{modality}")
  mask = text != _decoding.END if mask is None else mask
  first = jnp.ones_like(mask[:, :1])
  # A text has an end also where it has no tokens.
  return jnp.concatenate([first, mask[:, :-1]], axis=1)


def _masked(outputs: Outputs, mask: Bool[Array, "B T"]) -> Outputs:
  """The decoder's outputs, 0 at positions that do not count."""
  found = {"mask/tokens": mask, "mask/logits": mask}
  for name, x in outputs.items():
    rows = mask[:, None, :, None] if x.ndim == 4 else mask[..., None]
    floor = PADDING_SCORE if name.startswith("scores") else 0
    found[name] = jnp.where(rows, x, floor)
  return found
