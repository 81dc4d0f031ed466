"""Views in which a network of the stage writes a modality, such as a text.

On-policy distillation reads texts that the student samples, sequence-level
distillation those that the teacher finds by beam search. The view has the
written ids and their mask in place of those of the data, without gradient.
"""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Key

from kdjax.config import refusals
from kdjax.errors import ShapeError, UserError
from kdjax.step.addresses import Address
from kdjax.types import Array

# The start of the batch's keys that say which examples keep their own text.
KEPT = "kept/"


@dataclasses.dataclass(frozen=True)
class Generated:
  """A view with a written modality.

  Attributes:
    modality: that is replaced.
    reads: address of the ids that replace it, int [B T]; their mask, bool
      [B T], is the output `mask/<output>` of the same network.
    share: probability that an example has what the network wrote.
  """

  modality: str
  reads: Address
  share: float = 1.0

  @property
  def mask(self) -> Address:
    """The address of the mask of the ids."""
    part, slash, name = self.reads.output.rpartition("/")
    output = f"{part}{slash}mask/{name}"
    return dataclasses.replace(self.reads, output=output)

  def __str__(self) -> str:
    return f"{self.modality} of {self.reads}, {self.share:g}"


def kept(view: str, made: Generated, keys: Key[Array, "B"]) -> dict[str, Array]:
  """{"kept/<view>": bool [B]}: which examples keep their own; {} if none does.

  The share is that of generalised knowledge distillation (Agarwal et al.,
  "On-Policy Distillation of Language Models", ICLR 2024, arXiv:2306.13649,
  Algorithm 1, lambda). Differs from it: the paper draws once for a batch, here
  it is drawn for each example.
  """
  if made.share >= 1:
    return {}
  draws = jax.vmap(jax.random.uniform)(keys)
  return {f"{KEPT}{view}": draws >= made.share}


def view_of(address: Address) -> str:
  """The view of an address, also of one of the batch: batch/text@sample."""
  return address.view or address.output.partition("@")[2]


def sources(
  generated: Mapping[str, Generated], address: Address
) -> tuple[Address, ...]:
  """The addresses of what a network writes for an address."""
  made = generated.get(view_of(address))
  return (made.reads, made.mask) if made else ()


def write(flow, view: str) -> None:
  """Adds a generated view to the batch of a flow; others change nothing.

  Args:
    flow: `Flow` of the batch, in which the network that writes runs.
    view: the name of any view.

  Raises:
    UserError: the data lacks the modality.
    ShapeError: what is written are no ids, or has no mask.
  """
  made = flow.written.get(view)
  if made is not None and f"{made.modality}@{view}" not in flow.batch:
    flow.batch = {**flow.batch, **_arrays(flow, view, made)}


def _arrays(flow, view: str, made: Generated) -> dict[str, Array]:
  """The keys of a view: the written modality, its mask and its presence."""
  own, name = flow.batch, made.modality
  if name not in own:
    raise UserError(
      f"The view '{view}' of `generated` replaces the modality '{name}', which"
      " the data lacks.",
      exists=(key for key in own if "/" not in key and "@" not in key),
      near=name,
    )
  at = made.reads
  outputs = flow.run(at.network, at.view)
  for output in (at.output, made.mask.output):
    if output not in outputs:
      refusals.refuse_writer(view, at.network, output)
  ids = jax.lax.stop_gradient(outputs[at.output])
  mask = outputs[made.mask.output]
  if not (jnp.issubdtype(ids.dtype, jnp.integer) and ids.shape == mask.shape):
    raise ShapeError(
      f"The view '{view}' of `generated` reads '{made.reads}', which is"
      f" {ids.dtype} {list(ids.shape)}, with a mask {list(mask.shape)}.",
      "Expected token ids, int [B T], and their mask, such as the outputs"
      " `sampled`, `greedy` and `beam` of the network 'encoder_decoder'.",
    )
  present = functools.reduce(
    jnp.logical_and, flow.presence(made.reads), jnp.ones(len(ids), bool)
  )
  keeps = own.get(f"{KEPT}{view}")
  if keeps is not None:
    length = max(ids.shape[1], own[name].shape[1])
    longer = lambda x: jnp.pad(x, ((0, 0), (0, length - x.shape[1])))
    rows, its_mask = keeps[:, None], own.get(f"mask/{name}", own[name] > 0)
    ids = jnp.where(rows, longer(own[name]), longer(ids))
    mask = jnp.where(rows, longer(its_mask), longer(mask))
    present = jnp.where(keeps, own.get(f"has/{name}", True), present)
  return {
    f"{name}@{view}": ids,
    f"mask/{name}@{view}": mask,
    f"has/{name}@{view}": present,
  }
