"""A golden case, with its arrays in kdjax's layout."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array

# The last words of parameters of a layer; others are alone.
WORDS = ("weight", "bias", "scale", "gamma", "beta", "kernel")


@dataclasses.dataclass(frozen=True)
class Case:
  """The arguments of an adapter."""

  hyper: dict[str, Any]  # constants, by the names of the public code
  inputs: dict[str, Array]  # as stored; parameters are "param:..."
  outputs: tuple[str, ...]  # the names of the outputs to return
  code: str = ""  # repository and file of the public code, if known

  def __getitem__(self, name: str) -> Array:
    """An input; maps have channels last: [B H W C]."""
    array = self.inputs[name]
    is_map = array.ndim == 4 and not name.startswith("param:")
    return jnp.moveaxis(array, 1, 3) if is_map else array

  def __contains__(self, name: str) -> bool:
    return name in self.inputs

  def raw(self, name: str) -> Array:
    """An input as stored, of any rank."""
    return self.inputs[name]

  def flat(self, name: str) -> Array:
    """An input with the values of each example in their stored order."""
    array = self.inputs[name]
    return array.reshape(len(array), -1)

  def option(self, default: Any, *names: str) -> Any:
    """A constant under any of its public names."""
    for name in names:
      if self.hyper.get(name) is not None:
        return self.hyper[name]
    return default

  def pairs(self) -> list[tuple[Array, Array]]:
    """Inputs s, s0, s1 .. with t, t0, t1 .., in the order of the numbers."""
    names = sorted(
      (name for name in self.inputs if re.fullmatch(r"s\d*", name)),
      key=lambda name: int(name[1:] or 0),
    )
    return [(self[name], self[f"t{name[1:]}"]) for name in names]

  def maps(self) -> list[tuple[Array, Array]]:
    """The pairs, with features of other ranks as maps."""
    return [(as_map(s), as_map(t)) for s, t in self.pairs()]

  def answer(self, values: Any) -> dict[str, Array]:
    """The outputs: a loss for each, or one that is the sum of all."""
    values = values if isinstance(values, list) else [values]
    if len(self.outputs) == 1:
      return {self.outputs[0]: sum(values)}
    return dict(zip(self.outputs, values, strict=True))

  def linears(self, *words: str) -> list[dict[str, Array]]:
    """Weight, and bias if any, of linear layers and convolutions, in order.

    Parameters are found by rank and order: public codes name them differently.
    With words, only layers whose names have one of them.
    """
    return [
      {("weight" if x.ndim > 1 else "bias"): x for x in part.values()}
      for part in self._parts(*words)
      if any(x.ndim > 1 for x in part.values())
    ]

  def norms(self) -> list[dict[str, Array]]:
    """The parameters of each Flax BatchNorm or LayerNorm, in order."""
    found = []
    for part in self._parts():
      if len(part) == 2 and all(x.ndim == 1 for x in part.values()):
        scale, bias = part
        if scale in ("bias", "beta"):
          scale, bias = bias, scale
        found.append({"scale": part[scale], "bias": part[bias]})
    return found

  def singles(self, *words: str) -> list[Array]:
    """Parameters of no layer, in order; with words, as `linears`."""
    return [
      x
      for part in self._parts(*words)
      for x in part.values()
      if len(part) == 1 and x.ndim < 2
    ]

  def _parts(self, *words: str) -> list[dict[str, Array]]:
    """The parameters of each layer, by the last word of their names.

    Layers whose names differ in their numbers have the order of those.
    """
    parts: dict[str, dict[str, Array]] = {}
    for name in self.inputs:
      if name.startswith("param:"):
        name, array = name.removeprefix("param:"), self.inputs[name]
        layer, _, last = name.rpartition(".")
        if last not in WORDS:
          layer = name
        parts.setdefault(layer, {})[last] = array
    order: dict[str, int] = {}
    for layer in parts:
      order.setdefault(re.sub(r"\d+", "#", layer), len(order))
    key = lambda layer: (
      order[re.sub(r"\d+", "#", layer)],
      [int(number) for number in re.findall(r"\d+", layer)],
    )
    return [
      parts[layer]
      for layer in sorted(parts, key=key)
      if not words or any(word in layer for word in words)
    ]


def as_map(x: Array) -> Array:
  """Vectors (B, C), and channels over one axis, (B, C, L), as maps."""
  if x.ndim == 2:
    return x[:, None, None]
  return jnp.moveaxis(x, 1, 2)[:, :, None] if x.ndim == 3 else x


def dense(layer: dict[str, Array]) -> dict[str, Array]:
  """A Flax Dense, of a matrix (out, in) or of a 1x1 convolution."""
  kernel = layer["weight"]
  layer = layer | {"weight": kernel.reshape(kernel.shape[:2])}
  return conv(layer)


def conv(layer: dict[str, Array]) -> dict[str, Array]:
  """A Flax Conv: OIHW becomes HWIO, and (out, in) becomes (in, out)."""
  kernel = layer["weight"]
  axes = (2, 3, 1, 0) if kernel.ndim == 4 else (1, 0)
  bias = {"bias": layer["bias"]} if "bias" in layer else {}
  return {"kernel": jnp.transpose(kernel, axes), **bias}


def biased(layer: dict[str, Array]) -> dict[str, Array]:
  """The same layer, with a bias of zeros if it has none."""
  return {"bias": jnp.zeros(layer["kernel"].shape[-1]), **layer}


def unbiased(layer: dict[str, Array]) -> dict[str, Array]:
  """The same layer before BatchNorm, which removes a bias."""
  return {"kernel": layer["kernel"]}


def trained(head, params: dict, *arrays, **options):
  """A head's output in training, with statistics of the batch."""
  statistics = {
    name: {
      "mean": jnp.zeros_like(one["scale"]),
      "var": jnp.ones_like(one["scale"]),
    }
    for name, one in params.items()
    if "scale" in one
  }
  output, _ = head.apply(
    {"params": params, "batch_stats": statistics},
    *arrays,
    train=True,
    mutable=["batch_stats"],
    **options,
  )
  return output
