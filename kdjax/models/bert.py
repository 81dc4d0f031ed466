"""BERT and its kin, which take published weights."""

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
  """Post-norm self-attention over token ids, blind to padding.

  BERT (Devlin et al., NAACL 2019, arXiv:1810.04805) and MiniLM, which is one;
  RoBERTa and XLM-R, whose positions start behind that of padding; DistilBERT,
  which knows no kinds of tokens.

  Outputs: block00 .. [B T D], attention00 .. [B heads T T], tokens [B T D]
  (those of the last block), embedding [B D], pooled [B D] where there is a
  pooler, logits [B K]; of what makes the attention, query00 .., key00 .. and
  value00 .. [B T D] (all heads side by side) and scores00 .. [B heads T T]
  (before the softmax); embedded [B T D], what enters the first block. All are 0
  at padding, but scores, which are -10000 there.

  Attributes:
    vocabulary: how many ids there are.
    num_classes: None leaves out the logits.
    width: D.
    depth: blocks.
    heads: of the attention; they divide the width.
    inner: the width between the two dense layers of a block.
    length: rows of the table of positions.
    kinds: of tokens, of which BERT knows two; 0 leaves out their table.
    separator: the id that ends a part of a text: a token's kind is how many of
      these are before it; with None it is 0.
    offset: the position of padding, behind which those of tokens start; None
      counts from 0.
    activation: of the first dense layer, by the name in config.json.
    epsilon: of the norms.
    pooling: what the embedding is: "mean" over tokens, the first of them,
      "cls", or "pooler", what `pooled` is.
    pooler: whether there is a dense layer on the first token.
    pooler_activation: what follows that layer.
    dropout: of values: at the input, after every branch, before the logits.
    modality: which key of the inputs it reads; its padding is where
      `mask/<modality>` is False.
    remat: whether the backward pass computes each block's inner values again,
      in place of keeping them.
    fused: whether attention is a fused kernel, where the device has one; its
      maps are then computed beside it, where a term reads them.
    axis_name: unused, it has no batch statistics.
    dtype: of activations.
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

  USES = ("mask",)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Sees `inputs[modality]`, int [B T], and its mask, bool [B T]."""
    if self.pooling not in POOLINGS[: 2 + self.pooler]:
      raise UserError(
        f"No pooling '{self.pooling}' with pooler={self.pooler}.",
        exists=POOLINGS,
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
    """Words, their places and their kinds, normed."""
    first = 0 if self.offset is None else self.offset + 1
    if ids.shape[1] + first > self.length:
      raise ShapeError(
        f"A text of {ids.shape[1]} positions.",
        f"This network has {self.length - first}.",
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
      # Of padding it is the offset, of a token how many are before it.
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
  """What the blocks of a network are."""
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
  """The fields of `Model` by a parsed config.json."""
  kind = config.get("model_type", "bert")
  classes = _encoder.classes(config)
  given = _distilbert(config) if kind == "distilbert" else _bert(config)
  if kind not in ("bert", "distilbert"):
    given["offset"] = config.get("pad_token_id", 1)
  if classes is not None:
    given |= {"num_classes": classes, "pooling": "pooler", "pooler": True}
  return given


def _bert(config) -> dict[str, Any]:
  """Of BERT's and RoBERTa's keys."""
  _encoder.built(
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
  """Of DistilBERT's keys; its classifier has a layer before it, with ReLU."""
  _encoder.built(config, activation=_encoder.ACTIVATIONS)
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
  """Leaf -> public tensor; one table for every way to name a classifier."""
  tables = ("words", "word"), ("places", "position"), ("kinds", "token_type")
  tables = tables if model.kinds else tables[:2]
  parts = {
    f"params/{ours}/embedding": f"embeddings.{theirs}_embeddings"
    for ours, theirs in tables
  }
  parts |= _layer("norm", "embeddings.LayerNorm", "scale")
  pattern, block = _PUBLIC["bert" if model.kinds else "distilbert"]
  blocks = _encoder.block_names(_blocks(model), pattern, block)
  found = []
  for pooler, head in _HEADS if model.kinds else _HEADS[:1]:
    ends = _layer("pooler", pooler) if model.pooler else {}
    if model.num_classes is not None:
      ends |= _layer("head", head)
    found.append(_encoder.leaf_names(parts | ends) | blocks)
  return found


def _layer(ours: str, theirs: str, weight: str = "kernel") -> dict[str, str]:
  """The two leaves of a layer."""
  return {f"params/{ours}/{leaf}": theirs for leaf in (weight, "bias")}


# The layer on the first token and the classifier: of DistilBERT, BERT, RoBERTa.
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
