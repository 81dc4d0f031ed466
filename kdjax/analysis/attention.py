"""Attention maps and attention rollout of the Transformers of a stage."""

import re
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from kdjax.analysis import _examples
from kdjax.analysis._subject import SHOWN, NotApplicableError, Subject
from kdjax.step import quantization
from kdjax.types import Array

OUTPUT = re.compile(r"^(?:(.*)/)?attention\d+$")


def rollout(
  attentions: Sequence[Float[Array, "B heads T T"]], residual: float = 0.5
) -> Float[Array, "B T T"]:
  """How much each token after the last layer is made of each input token.

    A_l = (1 - residual) W_l + residual I,   rollout = A_L .. A_2 A_1

  with W_l the mean over heads, and the rows of A_l normalized to sum to 1. The
  residual connection adds I. Abnar and Zuidema, "Quantifying Attention Flow in
  Transformers", ACL 2020, arXiv:2005.00928, Eq. (1) and Section 3.

  Args:
    attentions: of each layer, after the softmax; first the one next to the
      input. Rows of padding may be 0.
    residual: the share of the residual connection.

  Returns:
    f32; every row sums to 1. A token of padding is made of itself.
  """
  total = None
  for attention in attentions:
    weights = jnp.mean(attention.astype(jnp.float32), axis=1)
    one = jnp.eye(weights.shape[-1])[None]
    mixed = (1 - residual) * weights + residual * one
    mixed = mixed / jnp.sum(mixed, axis=-1, keepdims=True)
    total = mixed if total is None else jnp.matmul(mixed, total)
  return total


def entropy(
  attention: Float[Array, "B heads T T"], mask: Bool[Array, "B T"]
) -> Float[Array, "B heads"]:
  """The mean entropy of the rows of an attention map, from 0 to 1.

  1 is attention that is equal on all tokens, 0 on a single token: nats divided
  by the logarithm of the number of tokens.

  Args:
    attention: after the softmax.
    mask: True at tokens, False at padding.
  """
  a = attention.astype(jnp.float32)
  nats = -jnp.sum(
    jnp.where(a > 0, a * jnp.log(jnp.where(a > 0, a, 1.0)), 0.0), -1
  )
  rows = jnp.where(mask[:, None], nats, 0.0)
  count = jnp.sum(mask, axis=1).astype(jnp.float32)[:, None]
  scale = jnp.maximum(count, 1.0) * jnp.log(jnp.maximum(count, 2.0))
  return jnp.sum(rows, axis=2) / scale


def attention(subject: Subject) -> dict[str, np.ndarray]:
  """Attention maps, rollout and entropy of every encoder that has attention.

  "<place>" is a network, or a network and its encoder: "teacher/text".

  Returns:
    places: the places. And for each of them:
    <place>/entropy: f32 [depth heads], the mean over examples.
    <place>/maps: f32 [S depth T], what the output reads in each layer, the mean
      over heads, of S examples: the row of the class token where the network
      pools it, otherwise the mean over all tokens.
    <place>/rollout: f32 [S T], the same of all layers.
    <place>/mask: bool [S T], tokens; the class token is one.
    <place>/words: str [S T], of a text.
    <place>/grid: [rows, columns, first], patches of an image, and how many
      tokens precede them.

  Raises:
    NotApplicableError: no network has attention.
  """
  places = _places(subject)
  if not places:
    raise NotApplicableError(
      f"No network of the stage '{subject.name}' has attention maps."
    )

  def read(flow, viewed):
    found = {"viewed": {k: viewed[k] for k in _modalities(subject, viewed)}}
    for place, (network, outputs) in places.items():
      arrays = [subject.run(flow, network)[it] for it in outputs]
      found[place] = _of_place(arrays, _pools_first(subject, place))
    return found

  sums, first_batch, count = {}, None, 0
  for found, batch in subject.stream(read):
    first_batch = first_batch or found
    valid = batch["valid"]
    count += valid.sum()
    for place in places:
      value = found[place]["entropy"][valid].sum(0)
      sums[place] = sums.get(place, 0) + value
  result = {"places": np.array([*places])}
  for place, (network, _) in places.items():
    shown = first_batch[place]
    result |= {
      f"{place}/{name}": shown[name] for name in ("maps", "rollout", "mask")
    }
    result[f"{place}/entropy"] = sums[place] / count
    rows = {k: v[:SHOWN] for k, v in first_batch["viewed"].items()}
    result |= _positions(subject, place, network, rows, shown["mask"].shape[1])
  return result


def summary(found: dict[str, np.ndarray]) -> str:
  """How spread the attention of the first and the last layer is."""
  parts = []
  for place in found["places"]:
    layers = found[f"{place}/entropy"].mean(1)
    parts.append(
      f"{place}: {len(layers)} layer{'s' * (len(layers) > 1)}, entropy"
      f" {layers[0]:.2f} in the first and {layers[-1]:.2f} in the last"
    )
  return "; ".join(parts) + " (1 is equal attention)."


def _of_place(arrays: Sequence[Array], first: bool) -> dict[str, Array]:
  """Entropy of a batch's maps, and of a few examples what the output reads."""
  mask = jnp.any(arrays[0] > 0, axis=(1, 3))
  rows = [*(jnp.mean(it, axis=1) for it in arrays), rollout(arrays)]
  *maps, whole = (_read_by_output(it, mask, first)[:SHOWN] for it in rows)
  return {
    "entropy": jnp.stack([entropy(it, mask) for it in arrays], 1),
    "maps": jnp.stack(maps, 1),
    "rollout": whole,
    "mask": mask[:SHOWN],
  }


def _places(subject: Subject) -> dict[str, tuple[str, list[str]]]:
  """Place -> the network and its maps [B heads T T], first layer first."""
  places: dict[str, tuple[str, list[str]]] = {}
  for network in subject.networks:
    for output, leaf in subject.shapes(network).items():
      match = OUTPUT.match(output)
      if match and leaf.ndim == 4 and leaf.shape[2] == leaf.shape[3]:
        place = "/".join(filter(None, (network, match[1])))
        places.setdefault(place, (network, []))[1].append(output)
  return {
    place: (network, sorted(outputs))
    for place, (network, outputs) in places.items()
  }


def _encoder(subject: Subject, place: str):
  """The module of a place."""
  network, _, part = place.partition("/")
  module = quantization.plain(subject.module(network))
  for name in filter(None, part.split("/")):
    module = module.encoders[name]
  return module


def _pools_first(subject: Subject, place: str) -> bool:
  """Whether the network's embedding is that of its first token."""
  pooling = getattr(_encoder(subject, place), "pooling", "mean")
  return pooling in ("cls", "pooler")


def _read_by_output(rows, mask, first: bool):
  """[B T]: the first row, or the mean over the rows of tokens."""
  if first:
    return rows[:, 0]
  count = jnp.maximum(jnp.sum(mask, axis=1), 1)[:, None]
  return jnp.sum(jnp.where(mask[..., None], rows, 0.0), axis=1) / count


def _modalities(subject: Subject, viewed) -> list[str]:
  keys = {key for it in subject.networks for key in subject.module(it).reads}
  return sorted(keys & {*viewed})


def _positions(subject, place, network, viewed, length: int) -> dict:
  """What the tokens of a place are: words, or patches of an image."""
  module = _encoder(subject, place)
  for key in (it for it in module.reads if "/" not in it):
    value = viewed[key]
    kind = _examples.kind_of(subject.inputs(network)[key], value)
    if kind == "text" and value.shape[1] == length:
      mask = viewed.get(f"mask/{key}", np.ones(value.shape, bool))
      words = _examples.words(subject.readers.get(key), value, mask)
      return {f"{place}/words": words}
    if kind in ("image", "map"):
      high, wide = value.shape[1:3]
      for first in (0, 1, 2):
        rows = round(np.sqrt((length - first) * high / wide))
        columns = (length - first) // max(rows, 1)
        if rows * columns == length - first and rows > 1 and columns > 1:
          grid = np.array([rows, columns, first])
          return {f"{place}/grid": grid, f"{place}/image": value}
  return {}
