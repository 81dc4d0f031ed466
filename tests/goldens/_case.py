"""A golden case, with its arrays in kdjax's layout."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Case:
  """The arguments of an adapter."""

  hyper: dict[str, Any]  # constants, by the names of the public code
  inputs: dict[str, Array]  # as stored; parameters are "param:..."
  outputs: tuple[str, ...]  # the names of the outputs to return

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

  def kernel(self, name: str) -> Array:
    """A parameter's weight, "param:NAME.weight", as Flax has it.

    OIHW becomes HWIO, and (out, in) becomes (in, out).
    """
    array = self.inputs[f"param:{name}.weight"]
    return jnp.transpose(array, (2, 3, 1, 0) if array.ndim == 4 else (1, 0))

  def dense(self, name: str) -> dict[str, Array]:
    """Parameters of a Flax Dense or Conv, with a bias if it has one."""
    params = {"kernel": self.kernel(name)}
    if f"param:{name}.bias" in self.inputs:
      params["bias"] = self.inputs[f"param:{name}.bias"]
    return params

  def norm(self, name: str) -> dict[str, Array]:
    """Parameters of a Flax BatchNorm or LayerNorm."""
    return {
      "scale": self.inputs[f"param:{name}.weight"],
      "bias": self.inputs[f"param:{name}.bias"],
    }
