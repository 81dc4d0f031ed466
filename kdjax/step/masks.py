"""Which positions of a network's output are valid."""

from kdjax.step.addresses import Address
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
  own = flow.outputs.get((at.network, at.view), {})
  part, slash, output = at.output.rpartition("/")
  output = output.replace("preact", "stage")
  for candidates in (
    [own.get(f"{part}{slash}mask/{output}")],
    [own.get(f"{part}{slash}{TOKENS}")],
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


def _of_modalities(flow: Flow, at: Address) -> list[Array]:
  """The batch's masks of the modalities that an output is made from."""
  module = flow.module(at.network)
  needs_of = getattr(module, "needs_of", lambda output: module.needs)
  modalities = needs_of(at.output) or [
    key for key in module.reads if "/" not in key
  ]
  masks = []
  for modality in modalities:
    for key in (f"mask/{modality}@{at.view}", f"mask/{modality}"):
      if key in flow.batch:
        masks.append(flow.batch[key])
        break
  return masks
