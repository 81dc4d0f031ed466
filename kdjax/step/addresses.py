"""Addresses: the names of the arrays of one step, see `flow`."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from kdjax.errors import UserError

# The first part of addresses of training data statistics: data/class_count.
DATA = "data"

# Prefix of the batch keys of teacher outputs computed outside of the step.
PRECOMPUTED = "precomputed/"


@dataclasses.dataclass(frozen=True)
class Address:
  """The name of an array of the flow: network, view and output."""

  network: str  # or "batch", or "data"
  view: str  # "" is the default view
  output: str

  def __str__(self) -> str:
    view = f"@{self.view}" if self.view else ""
    return f"{self.network}{view}/{self.output}"

  @classmethod
  def parse(cls, text: str) -> "Address":
    """Reads `network/output` or `network@view/output`."""
    owner, slash, output = text.partition("/")
    network, _, view = owner.partition("@")
    if not (slash and network and output):
      raise UserError(
        f"'{text}' is not an address.",
        "Expected network/output or network@view/output.",
      )
    return cls(network, view, output)


def needs_of(module: Any, output: str) -> tuple[str, ...]:
  """The modalities that an output of a network needs.

  A network made of several encoders reports the needs of each output.
  """
  own = getattr(module, "needs_of", None)
  return tuple(own(output)) if own else tuple(module.needs)


def addresses(
  reads: Mapping[str, Address | tuple[Address, ...]],
) -> tuple[Address, ...]:
  """All addresses that a mapping of arguments reads."""
  return tuple(
    address
    for read in reads.values()
    for address in (read if isinstance(read, tuple) else (read,))
  )


def in_view(batch: Collection[str], key: str, view: str) -> str:
  """The key of an array in a view; that without a view, if it has none there.

  What the default view hides is not hidden in one with an array of its own.

  Args:
    batch: the keys that it has, also those of views.
    key: such as "text", "mask/text" or "hidden/text".
    view: "" is the default view.
  """
  own = f"{key}@{view}"
  kind, _, modality = key.rpartition("/")
  apart = kind == "hidden" and f"{modality}@{view}" in batch
  return own if view and (apart or own in batch) else key
