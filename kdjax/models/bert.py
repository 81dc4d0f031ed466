"""BERT, RoBERTa, XLM-R and DistilBERT; loads published weights."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import ShapeError, UserError
from kdjax.models import _encoder
from kdjax.models._modality import OneModality
from kdjax.types import Array, Outputs

POOLINGS = ("mean", "cls", "pooler")

TYPES = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert")
PREFIXES = ("", "bert.", "roberta.", "distilbert.")
UNREAD = (
  r"(.*\.)?position_ids",
  r"cls\..*",
  r"lm_head\..*",
  r"vocab_(transform|layer_norm|projector)\..*",
  r"qa_outputs\..*",
  r"pooler\..*",
  r"(pre_)?classifier\..*",
)
FRESH = ("head", "pooler")


class Model(OneModality, nn.Module):
  """BERT: a post-norm Transformer encoder over token ids, ignoring padding.

  BERT (Devlin et al., NAACL 2019, arXiv:1810.04805) and MiniLM, which has the
  same architecture; RoBERTa and XLM-R, where positions start after the padding
  id; DistilBERT, which has no token types.

  Outputs: embedded [B T D] (the first block's input), block00 .. [B T D],
  attention00 .. and scores00 .. [B heads T T] (after and before the softmax),
  query00 .., key00 .. and value00 .. [B T D] (all heads side by side), tokens
  [B T D] (the last block's output), embedding [B D], pooled [B D] (if there is
  a pooler), logits [B K]. All are 0 at padding, except scores, which are
  -10000.

  Attributes:
    vocabulary: number of token ids.
    num_classes: K; None omits the logits.
    width: D.
    depth: number of blocks.
    heads: number of attention heads; they divide the width.
    inner: hidden width of a block's MLP.
    length: number of position embeddings.
    kinds: number of token types, 2 in BERT; 0 omits their embedding.
    separator: id that ends a part of a text. A token's type is the number of
      separators before it; with None it is 0. In a stage, None is that of the
      tokenizer that the data names.
    offset: position of padding; the tokens' positions start after it. None
      counts from 0.
    activation: of a block's MLP, as named in config.json.
    epsilon: of the layer norms.
    pooling: to the embedding: "mean" over tokens, "cls" (the first token) or
      "pooler" (`pooled`).
    pooler: whether to add a dense layer on the first token.
    pooler_activation: activation after that layer.
    dropout: rate; at the input, after every branch and before the logits.
    modality: the input's key; padding is where `mask/<modality>` is False.
    remat: recomputes each block's activations in the backward pass instead of
      storing them.
    fused: uses a fused attention kernel where the device has one. Attention
      maps are computed separately if a term reads them.
    axis_name: unused; the network has no batch statistics.
    dtype: of the activations.
  """

  vocabulary: int
  num_classes: int | None = None
  width: int = 768
  depth: int = 12
  heads: int = 12
  inner: int = 3072
  length: int = 512
  kinds: int = 2
  separator: int | None = None
  offset: int | None = None
  activation: str = "gelu"
  epsilon: float = 1e-12
  pooling: str = "mean"
  pooler: bool = True
  pooler_activation: str = "tanh"
  dropout: float = 0.0
  modality: str = "text"
  remat: bool = False
  fused: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  LAYERS = (
    ("embedded", "words", 1),
    ("block{:02d}", "words", "depth"),
    ("tokens", "words", 1),
    ("scores{:02d}", "attention", "depth"),
  )

  USES = ("mask",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads `inputs[modality]`, int [B T], and its mask, bool [B T]."""
    if self.pooling not in POOLINGS[: 2 + self.pooler]:
      raise UserError(
        f"No pooling '{self.pooling}' with pooler={self.pooler}.",
        exists=POOLINGS[: 2 + self.pooler],
        near=self.pooling,
      )
    ids = inputs[self.modality]
    mask = inputs.get(f"mask/{self.modality}")
    mask = jnp.ones(ids.shape, bool) if mask is None else mask
    drop = lambda x: nn.Dropout(self.dropout)(x, deterministic=not train)
    outputs = {}
    x = jnp.where(mask[..., None], drop(self._embed(ids, mask)), 0)
    outputs["embedded"] = x
    x = _encoder.stack(self, _blocks(self), x, mask, outputs, drop)
    outputs["tokens"] = x
    x = x.astype(jnp.float32)
    if self.pooling == "mean":
      count = jnp.sum(mask, axis=1, keepdims=True, dtype=jnp.float32)
      embedding = jnp.sum(x, axis=1) / jnp.maximum(count, 1)
    else:
      embedding = x[:, 0]
    if self.pooler:
      pooler = _encoder.dense(self.width, jnp.float32, "pooler")
      activation = {"tanh": jnp.tanh, **_encoder.ACTIVATIONS}
      pooled = activation[self.pooler_activation](pooler(x[:, 0]))
      outputs["pooled"] = pooled
      embedding = pooled if self.pooling == "pooler" else embedding
    outputs["embedding"] = embedding
    if self.num_classes is not None:
      head = _encoder.dense(self.num_classes, jnp.float32, "head")
      outputs["logits"] = head(drop(embedding))
    return outputs

  def _embed(self, ids, mask):
    """The norm of token, position and type embeddings."""
    first = 0 if self.offset is None else self.offset + 1
    if ids.shape[1] + first > self.length:
      raise ShapeError(
        f"The text has {ids.shape[1]} positions, more than"
        f" {self.length - first}.",
        "Shorten the texts or use a larger `length`.",
      )
    table = lambda rows, name: nn.Embed(
      rows,
      self.width,
      dtype=self.dtype,
      embedding_init=_encoder.SMALL,
      name=name,
    )
    x = table(self.vocabulary, "words")(ids)
    if self.offset is None:
      places = jnp.arange(ids.shape[1])[None]
    else:
      # Padding has the position `offset`; tokens count on from it.
      places = jnp.cumsum(mask, axis=1) * mask + self.offset
    x += table(self.length, "places")(places)
    if self.kinds:
      kinds = jnp.zeros((1, 1), jnp.int32)
      if self.separator is not None:
        ends = ids == self.separator
        kinds = jnp.cumsum(ends, axis=1) - ends
      x += table(self.kinds, "kinds")(jnp.minimum(kinds, self.kinds - 1))
    return _encoder.norm(self.epsilon, self.dtype, "norm")(x)


def _blocks(model: Model) -> _encoder.Blocks:
  """The settings of the blocks."""
  return _encoder.Blocks(
    depth=model.depth,
    heads=model.heads,
    inner=model.inner,
    norm_first=False,
    epsilon=model.epsilon,
    activation=model.activation,
    dtype=model.dtype,
    remat=model.remat,
    fused=model.fused,
  )


def options(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `Model` from a parsed config.json."""
  kind = config.get("model_type", "bert")
  classes = _encoder.classes(config)
  fields = _distilbert(config) if kind == "distilbert" else _bert(config)
  if kind not in ("bert", "distilbert"):
    fields["offset"] = config.get("pad_token_id", 1)
  if classes is not None:
    fields |= {"num_classes": classes, "pooling": "pooler", "pooler": True}
  return fields


def _bert(config) -> dict[str, Any]:
  """Fields from the keys of BERT and RoBERTa."""
  _encoder.require(
    config,
    hidden_act=_encoder.ACTIVATIONS,
    position_embedding_type=("absolute",),
    is_decoder=(False,),
  )
  names = config.get("architectures") or ("Model",)
  return {
    "vocabulary": config.get("vocab_size", 30522),
    "width": config.get("hidden_size", 768),
    "depth": config.get("num_hidden_layers", 12),
    "heads": config.get("num_attention_heads", 12),
    "inner": config.get("intermediate_size", 3072),
    "length": config.get("max_position_embeddings", 512),
    "kinds": config.get("type_vocab_size", 2),
    "activation": config.get("hidden_act", "gelu"),
    "epsilon": config.get("layer_norm_eps", 1e-12),
    "pooler": any(n.endswith(("Model", "ForPreTraining")) for n in names),
  }


def _distilbert(config) -> dict[str, Any]:
  """Fields from DistilBERT's keys; a ReLU layer precedes its classifier."""
  _encoder.require(config, activation=_encoder.ACTIVATIONS)
  return {
    "vocabulary": config.get("vocab_size", 30522),
    "width": config.get("dim", 768),
    "depth": config.get("n_layers", 6),
    "heads": config.get("n_heads", 12),
    "inner": config.get("hidden_dim", 3072),
    "length": config.get("max_position_embeddings", 512),
    "kinds": 0,
    "activation": config.get("activation", "gelu"),
    "pooler": False,
    "pooler_activation": "relu",
  }


def names(model: Model) -> list[dict[str, str]]:
  """Maps leaves to public tensors; one table per naming of the classifier."""
  tables = ("words", "word"), ("places", "position"), ("kinds", "token_type")
  tables = tables if model.kinds else tables[:2]
  parts = {
    f"params/{ours}/embedding": f"embeddings.{theirs}_embeddings"
    for ours, theirs in tables
  }
  parts |= _layer("norm", "embeddings.LayerNorm", "scale")
  pattern, block = _PUBLIC["bert" if model.kinds else "distilbert"]
  blocks = _encoder.block_names(_blocks(model), pattern, block)
  result = []
  for pooler, head in _HEADS if model.kinds else _HEADS[:1]:
    ends = _layer("pooler", pooler) if model.pooler else {}
    if model.num_classes is not None:
      ends |= _layer("head", head)
    result.append(_encoder.leaf_names(parts | ends) | blocks)
  return result


def _layer(ours: str, theirs: str, weight: str = "kernel") -> dict[str, str]:
  """The names of a layer's weight and bias."""
  return {f"params/{ours}/{leaf}": theirs for leaf in (weight, "bias")}


# Pooler and classifier in DistilBERT, BERT and RoBERTa.
_HEADS = (
  ("pre_classifier", "classifier"),
  ("pooler.dense", "classifier"),
  ("classifier.dense", "classifier.out_proj"),
)

_PUBLIC = {
  "bert": (
    "encoder.layer.{}.",
    {
      "query": "attention.self.query",
      "key": "attention.self.key",
      "value": "attention.self.value",
      "out": "attention.output.dense",
      "norm0": "attention.output.LayerNorm",
      "dense0": "intermediate.dense",
      "dense1": "output.dense",
      "norm1": "output.LayerNorm",
    },
  ),
  "distilbert": (
    "transformer.layer.{}.",
    {
      "query": "attention.q_lin",
      "key": "attention.k_lin",
      "value": "attention.v_lin",
      "out": "attention.out_lin",
      "norm0": "sa_layer_norm",
      "dense0": "ffn.lin1",
      "dense1": "ffn.lin2",
      "norm1": "output_layer_norm",
    },
  ),
}
