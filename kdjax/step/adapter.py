"""A head as a term of the objective uses it."""

import dataclasses
import inspect
from collections.abc import Callable

import flax.linen as nn

from kdjax.types import Array


@dataclasses.dataclass(frozen=True)
class Adapter:
  """A head as a term uses it."""

  name: str  # of its variables: "term:argument" of the term that owns it
  module: nn.Module
  still: bool = False  # frozen: no gradient for its parameters, no state update

  @property
  def both(self) -> bool:
    """Whether it returns both the student and the teacher argument."""
    return getattr(self.module, "both", False)

  @property
  def gathered(self) -> bool:
    """Whether it needs the batch of all devices."""
    return getattr(self.module, "gathered", False)

  @property
  def takes_mask(self) -> bool:
    """Whether it takes the mask of rows that count."""
    return "mask" in inspect.signature(self.module.__call__).parameters

  @property
  def enough(self) -> Callable[[Array], Array] | None:
    """bool [B N] -> [B]: which examples have enough of its arrays.

    None: it needs all arrays that it reads.
    """
    return getattr(self.module, "enough", None)
