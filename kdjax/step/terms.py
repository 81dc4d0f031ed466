"""Terms, and what each of them reads of a flow, its heads applied."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax

from kdjax.errors import UserError
from kdjax.step.flow import DATA, Address, Flow
from kdjax.types import Array

# The owner in the address of what an argument becomes: heads/term/argument.
HEADS = "heads"


@dataclasses.dataclass(frozen=True)
class Adapter:
  """A head where a term uses it."""

  name: str  # of its variables: "term:argument" of the term that owns it
  module: nn.Module
  still: bool = False  # no gradient for its parameters, no new state

  @property
  def both(self) -> bool:
    """Whether it makes both sides of the term."""
    return getattr(self.module, "both", False)

  @property
  def gathered(self) -> bool:
    """Whether it needs the batch of all devices."""
    return getattr(self.module, "gathered", False)

  @property
  def takes_mask(self) -> bool:
    """Whether it asks which rows count."""
    return "mask" in inspect.signature(self.module.__call__).parameters


@dataclasses.dataclass(frozen=True)
class Term:
  """One loss, what it reads and what stands in between."""

  name: str
  loss: Callable[..., Array]
  reads: Mapping[str, Address | tuple[Address, ...]]
  heads: Mapping[str, Adapter]
  targets: tuple[str, ...]
  group: str
  takes_mask: bool
  options: Mapping[str, Any]  # those that are no numbers
  schedules: Mapping[str, Callable]  # "weight" or an option -> step -> value

  def addresses(self, argument: str) -> tuple[Address, ...]:
    """What an argument reads."""
    read = self.reads[argument]
    return read if isinstance(read, tuple) else (read,)

  @property
  def gathered(self) -> bool:
    """Whether a head of it needs the batch of all devices."""
    return any(adapter.gathered for adapter in self.heads.values())


class Reader:
  """What terms read of one flow; every head runs once.

  Args:
    terms: of the stage.
    flow: of the batch.
    axis_name: of the devices that share the batch.
    create: (adapter's name, arguments) -> variables, for heads that the flow
      has none of.
  """

  def __init__(
    self,
    terms: tuple[Term, ...],
    flow: Flow,
    axis_name: str | None = None,
    create: Callable | None = None,
  ):
    self.terms = {term.name: term for term in terms}
    self.flow, self.axis_name, self.create = flow, axis_name, create
    self.done: dict[str, tuple[dict, Array]] = {}
    self.open: list[str] = []  # terms being read, each for the one before

  def at(self, address: Address | tuple[Address, ...]):
    """The array, or tuple of arrays, at an address."""
    if isinstance(address, tuple):
      return tuple(self.at(part) for part in address)
    if address.network != HEADS:
      return self.flow[address]
    term, argument = self._owner(address)
    if term.gathered:
      raise UserError(
        f"'heads/{address.output}' is of the batch of all devices.",
        "No other term can read it.",
      )
    return self.arguments(term)[0][argument]

  def arguments(self, term: Term) -> tuple[dict[str, Any], Array]:
    """The loss's arguments, and bool [B]: who counts.

    Of the batch of all devices where a head of the term needs that.
    """
    if term.name in self.open:
      raise UserError(
        f"The terms {', '.join(self.open)} read each other's heads in a circle."
      )
    if term.name not in self.done:
      self.open.append(term.name)
      self.done[term.name] = self._arguments(term)
      self.open.pop()
    return self.done[term.name]

  def present(self, address: Address) -> Array:
    """bool [B]: where the modalities that an address needs are there."""
    if address.network != HEADS:
      return self.flow.present(address)
    term, argument = self._owner(address)
    mask = self.flow.batch["valid"]
    for read in term.addresses(argument):
      mask = mask & self.present(read)
    return mask

  def gather(self, term: Term, arrays: dict[str, Any], mask: Array):
    """The same of all devices' batches; parameters are whole already."""
    if not self.axis_name or term.gathered:
      return arrays, mask
    whole = {
      argument: self._gather(term, argument, array, adapted=True)
      for argument, array in arrays.items()
    }
    return whole, self._all(mask)

  def _arguments(self, term: Term) -> tuple[dict[str, Any], Array]:
    reads = {argument: self._read(term, argument) for argument in term.reads}
    mask = self.flow.batch["valid"]
    for argument in term.reads:
      for address in term.addresses(argument):
        mask = mask & self.present(address)
    if term.gathered and self.axis_name:
      reads = {
        argument: self._gather(term, argument, array, adapted=False)
        for argument, array in reads.items()
      }
      mask = self._all(mask)
    arrays = dict(reads)
    for argument, adapter in term.heads.items():
      other = {"student": "teacher", "teacher": "student"}.get(argument)
      made = self._adapt(adapter, reads[argument], reads.get(other), mask)
      if adapter.both:
        arrays["student"], arrays["teacher"] = made
      else:
        arrays[argument] = made
    return arrays, mask

  def _read(self, term: Term, argument: str):
    """The array, or tuple of arrays, at an argument's address.

    Here, before any head, gradients of targets are stopped.
    """
    array = self.at(term.reads[argument])
    return jax.lax.stop_gradient(array) if argument in term.targets else array

  def _adapt(self, adapter: Adapter, read, like, mask: Array):
    extra = {"mask": mask} if adapter.takes_mask else {}
    if self.create and adapter.name not in self.flow.variables["heads"]:
      variables = self.create(adapter, read, like, **extra)
      self.flow.variables["heads"][adapter.name] = variables
    return self.flow.adapt(
      adapter.name,
      adapter.module,
      read,
      like,
      still=adapter.still,
      shared=adapter.gathered,
      **extra,
    )

  def _owner(self, address: Address) -> tuple[Term, str]:
    """The term and the argument of heads/term/argument."""
    name, _, argument = address.output.partition("/")
    term = self.terms.get(name)
    if term is None or argument not in term.reads:
      raise UserError(
        f"No 'heads/{address.output}'.",
        exists=(
          f"heads/{one.name}/{argument}"
          for one in self.terms.values()
          for argument in one.heads
        ),
        near=f"heads/{address.output}",
      )
    return term, argument

  def _gather(self, term: Term, argument: str, value, *, adapted: bool):
    """All devices' rows of what an argument reads, or of its head's output."""
    read = term.reads.get(argument)
    if read is None or (adapted and argument in term.heads):
      # A head's output has rows, unless it is made of parameters alone.
      whole = read is not None and all(
        map(_is_parameter, term.addresses(argument))
      )
      return value if whole else jax.tree.map(self._all, value)
    gather = lambda at, array: array if _is_parameter(at) else self._all(array)
    return jax.tree.map(gather, read, value)

  def _all(self, array: Array) -> Array:
    return jax.lax.all_gather(array, self.axis_name, tiled=True)


def _is_parameter(at: Address) -> bool:
  """Whether what is there has no rows."""
  return at.network == DATA or at.output.startswith("params/")
