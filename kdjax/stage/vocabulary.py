"""Whether networks know every id of the texts that they read."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn

from kdjax.errors import UserError


def check(name: str, network: nn.Module, ids: Mapping[str, int]) -> None:
  """Sees that a network, and those that it is made of, know a data set's ids.

  To look up an id beyond a vocabulary is no error: NaN is found, and comes out.

  Args:
    name: of the network, in messages.
    network: its fields `modality` and `vocabulary` say what it reads.
    ids: modality -> how many its texts have; one that is not there may have
      any.

  Raises:
    UserError: it has fewer.
  """
  for module in _parts(network):
    key = getattr(module, "modality", None)
    vocabulary = getattr(module, "vocabulary", None)
    if vocabulary is not None and vocabulary < ids.get(key, 0):
      raise UserError(
        f"The network '{name}' has vocabulary={vocabulary}, and the data's"
        f" '{key}' has {ids[key]} ids.",
        f"Give the network vocabulary={ids[key]}, or the data fewer: most have"
        " an option vocabulary_size.",
      )


def _parts(value: Any) -> Iterator[nn.Module]:
  """A network and all that are in its fields."""
  if isinstance(value, nn.Module):
    yield value
    fields = [field.name for field in dataclasses.fields(value)]
    inside = [getattr(value, key) for key in fields if key != "parent"]
  elif isinstance(value, Mapping):
    inside = [*value.values()]
  else:
    inside = [*value] if isinstance(value, list | tuple) else []
  for one in inside:
    yield from _parts(one)
