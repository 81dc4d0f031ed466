"""Checks that networks have an embedding for every id of their texts."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn

from kdjax.errors import UserError


def check(name: str, network: nn.Module, ids: Mapping[str, int]) -> None:
  """Checks that a network and its parts cover a data set's ids.

  JAX does not report an id beyond the vocabulary: its embedding is NaN.

  Args:
    name: of the network, for the message.
    network: its fields are `modality` and `vocabulary`.
    ids: modality -> number of ids in its texts, where it is known.

  Raises:
    UserError: the network's vocabulary is smaller.
  """
  for module in _modules(network):
    key = getattr(module, "modality", None)
    vocabulary = getattr(module, "vocabulary", None)
    if vocabulary is not None and vocabulary < ids.get(key, 0):
      raise UserError(
        f"The network '{name}' has vocabulary={vocabulary}, and the data's"
        f" '{key}' has {ids[key]} ids.",
        f"Set vocabulary={ids[key]} of the network, or a smaller"
        " vocabulary_size of the data.",
      )


def _modules(value: Any) -> Iterator[nn.Module]:
  """A network and all networks in its fields."""
  if isinstance(value, nn.Module):
    yield value
    fields = [field.name for field in dataclasses.fields(value)]
    nested = [getattr(value, key) for key in fields if key != "parent"]
  elif isinstance(value, Mapping):
    nested = [*value.values()]
  else:
    nested = [*value] if isinstance(value, list | tuple) else []
  for part in nested:
    yield from _modules(part)
