"""Which positions of a network's output are valid."""

from kdjax.step.addresses import Address, needs_of
from kdjax.step.flow import Flow
from kdjax.types import Array

TOKENS = "mask/tokens"


def of_positions(flow: Flow, at: Address, length: int) -> Array | None:
  """bool [B length]: the mask of as many positions as an output has.

  It is the network's own `mask/<output>` (`mask/stage1` also of preact1) or
  `mask/tokens`, else the batch's `mask/<modality>`; None if none has the
  length.

  Args:
    flow: of the batch, in which the network ran.
    at: an output of a network.
    length: number of its positions.
  """
  own = flow.run(at.network, at.view)
  for candidates in (
    *([own.get(name)] for name in names_of(at.output)),
    _of_modalities(flow, at),
  ):
    fits = [
      mask
      for mask in candidates
      if mask is not None and mask.shape[1:] == (length,)
    ]
    if len(fits) == 1:
      return fits[0]
  return None


def names_of(output: str) -> tuple[str, str]:
  """The outputs of a network that may be the mask of one of its outputs."""
  part, slash, name = output.rpartition("/")
  own = name.replace("preact", "stage")
  return f"{part}{slash}mask/{own}", f"{part}{slash}{TOKENS}"


def beside(flow: Flow, at: Address) -> dict[Address, Array]:
  """The masks, bool [B T], that a network has of an output [B T ..]."""
  own = flow.run(at.network, at.view)
  array = own[at.output]
  # A mask of its own name is of ids [B T] too, the one of tokens is not.
  names = names_of(at.output)[: None if array.ndim > 2 else 1]
  return {
    Address(at.network, at.view, name): own[name]
    for name in names
    if name in own and own[name].shape[1:] == array.shape[1:2]
  }


def _of_modalities(flow: Flow, at: Address) -> list[Array]:
  """The batch's masks of the modalities that an output is made from."""
  module = flow.module(at.network)
  modalities = needs_of(module, at.output) or [
    key for key in module.reads if "/" not in key
  ]
  masks = []
  for modality in modalities:
    for key in (f"mask/{modality}@{at.view}", f"mask/{modality}"):
      if key in flow.batch:
        masks.append(flow.batch[key])
        break
  return masks
