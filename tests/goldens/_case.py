"""A case of the golden folder, its arrays in the layout of kdjax."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Case:
  """What an adapter sees of a case."""

  hyper: dict[str, Any]  # constants, under the names of the public code
  inputs: dict[str, Array]  # as stored; parameters are called "param:..."
  outputs: tuple[str, ...]  # the names that the adapter must give

  def __getitem__(self, name: str) -> Array:
    """An input; maps are given channels last: [B H W C]."""
    array = self.inputs[name]
    is_map = array.ndim == 4 and not name.startswith("param:")
    return jnp.moveaxis(array, 1, 3) if is_map else array

  def __contains__(self, name: str) -> bool:
    return name in self.inputs

  def raw(self, name: str) -> Array:
    """An input as stored, whatever its rank."""
    return self.inputs[name]

  def kernel(self, name: str) -> Array:
    """A parameter's weight, "param:NAME.weight", as Flax has it.

    OIHW becomes HWIO, and (out, in) becomes (in, out).
    """
    array = self.inputs[f"param:{name}.weight"]
    return jnp.transpose(array, (2, 3, 1, 0) if array.ndim == 4 else (1, 0))

  def dense(self, name: str) -> dict[str, Array]:
    """Parameters of a Flax Dense or Conv, its bias where there is one."""
    made = {"kernel": self.kernel(name)}
    if f"param:{name}.bias" in self.inputs:
      made["bias"] = self.inputs[f"param:{name}.bias"]
    return made

  def norm(self, name: str) -> dict[str, Array]:
    """Parameters of a Flax BatchNorm or LayerNorm."""
    return {
      "scale": self.inputs[f"param:{name}.weight"],
      "bias": self.inputs[f"param:{name}.bias"],
    }
