"""Loss terms, and their arguments: arrays of a flow with heads applied."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.step import masks
from kdjax.step.adapter import Adapter
from kdjax.step.addresses import DATA, Address
from kdjax.step.flow import Flow
from kdjax.types import Array

# The first part of the address of a head's output: heads/term/argument.
HEADS = "heads"
OTHER = {"student": "teacher", "teacher": "student"}

# The argument of a loss or head that says which arrays of a tuple are there:
# bool [B N]. Of a loss it is about the argument PARTLY.
PRESENT, PARTLY = "present", "teacher"


@dataclasses.dataclass(frozen=True)
class Term:
  """One loss, the addresses it reads, and the heads applied to them."""

  name: str
  loss: Callable[..., Array]
  reads: Mapping[str, Address | tuple[Address, ...]]
  heads: Mapping[str, Adapter]
  targets: tuple[str, ...]  # arguments without gradient
  group: str
  takes_mask: bool
  options: Mapping[str, Any]  # those that are not floats
  schedules: Mapping[str, Callable]  # "weight" or an option -> step -> value
  # Whether padding is skipped where the term reads no mask of positions.
  skips_padding: bool = False
  # Heads that are applied to each array of an argument before its head.
  bridges: Mapping[str, Adapter] = dataclasses.field(default_factory=dict)

  def addresses(self, argument: str) -> tuple[Address, ...]:
    """The addresses that an argument reads."""
    read = self.reads[argument]
    return read if isinstance(read, tuple) else (read,)

  def enough(self, argument: str) -> Callable[[Array], Array] | None:
    """bool [B N] -> [B]: which examples have enough arrays of an argument.

    None: an example needs all of them.
    """
    if argument in self.heads:
      return self.heads[argument].enough
    accepts = PRESENT in inspect.signature(self.loss).parameters
    some = lambda present: jnp.any(present, axis=1)
    return some if accepts and argument == PARTLY else None

  @property
  def gathered(self) -> bool:
    """Whether one of its heads needs the batch of all devices."""
    return any(adapter.gathered for adapter in self.heads.values())


class Reader:
  """The arguments of terms, read from one flow; every head runs once.

  Args:
    terms: of the stage.
    flow: of the batch.
    axis_name: of the devices that share the batch.
    create: (adapter, *inputs) -> variables, for heads without variables in the
      flow.
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
    self.open: list[str] = []  # the terms being read, to detect cycles

  def at(self, address: Address | tuple[Address, ...]):
    """The array, or tuple of arrays, at an address."""
    if isinstance(address, tuple):
      return tuple(self.at(part) for part in address)
    if address.network != HEADS:
      return self.flow[address]
    term, argument = self._owner(address)
    if term.gathered:
      raise UserError(
        f"The head 'heads/{address.output}' reads the batch of all devices.",
        "Another term cannot read its output.",
      )
    return self.arguments(term)[0][argument]

  def arguments(self, term: Term) -> tuple[dict[str, Any], Array]:
    """The loss's arguments, and bool [B]: which examples count.

    They hold the batch of all devices where a head of the term needs it.
    """
    if term.name in self.open:
      raise UserError(
        f"The terms {', '.join(self.open)} read each other's heads in a cycle.",
        "Remove one of these reads.",
      )
    if term.name not in self.done:
      self.open.append(term.name)
      self.done[term.name] = self._arguments(term)
      self.open.pop()
    return self.done[term.name]

  def present(self, address: Address) -> Array:
    """bool [B]: which examples have the modalities that an address needs."""
    if address.network != HEADS:
      return self.flow.present(address)
    return self._present(*self._owner(address))[0]

  def gather(self, term: Term, arrays: dict[str, Any], mask: Array):
    """Arguments and mask with the rows of all devices.

    Parameters have no rows and stay as they are.
    """
    if not self.axis_name or term.gathered:
      return arrays, mask
    whole = {
      argument: self._gather(term, argument, array, adapted=True)
      for argument, array in arrays.items()
    }
    return whole, self._all(mask)

  def _arguments(self, term: Term) -> tuple[dict[str, Any], Array]:
    raw = {argument: self._read(term, argument) for argument in term.reads}
    reads = {key: self._bridged(term, key, raw) for key in raw}
    mask, parts = self.flow.batch["valid"], {}
    for argument in term.reads:
      there, each = self._present(term, argument)
      mask = mask & there
      if each is not None:
        parts[argument] = each
    if term.gathered and self.axis_name:
      reads = {
        argument: self._gather(term, argument, array, adapted=False)
        for argument, array in reads.items()
      }
      mask, parts = self._all(mask), jax.tree.map(self._all, parts)
    arrays = dict(reads)
    for argument, adapter in term.heads.items():
      like = reads.get(OTHER.get(argument))
      extra = {"mask": mask} if adapter.takes_mask else {}
      if argument in parts:
        extra[PRESENT] = parts.pop(argument)
      adapted = self._adapt(adapter, reads[argument], like, extra)
      if adapter.both:
        arrays["student"], arrays["teacher"] = adapted
      else:
        arrays[argument] = adapted
    if PARTLY in parts:
      own, each = arrays.get(PRESENT), parts[PARTLY]
      arrays[PRESENT] = each if own is None else own & each
    return arrays, mask

  def _present(self, term: Term, argument: str) -> tuple[Array, Array | None]:
    """Which examples have enough of what an argument reads, and its arrays.

    Returns:
      bool [B]; and bool [B N], which examples have each of its N arrays, or
      None where all that count have all.
    """
    read = term.addresses(argument)
    each = [self.present(address) for address in read]
    enough = term.enough(argument)
    if enough is None or not any(map(self._may_lack, read)):
      return functools.reduce(jnp.logical_and, each), None
    present = jnp.stack(each, axis=1)
    return self.flow.batch["valid"] & enough(present), present

  def _may_lack(self, address: Address) -> bool:
    """Whether an example may lack what an address needs."""
    if address.network != HEADS:
      return bool(self.flow.presence(address))
    term, argument = self._owner(address)
    return any(map(self._may_lack, term.addresses(argument)))

  def _read(self, term: Term, argument: str):
    """The array, or tuple of arrays, at an argument's address.

    Gradients of targets are stopped here, before any head.
    """
    array = self.at(term.reads[argument])
    return jax.lax.stop_gradient(array) if argument in term.targets else array

  def _bridged(self, term: Term, argument: str, raw: dict[str, Any]):
    """An argument, or each array of a tuple, through the term's bridge."""
    bridge = term.bridges.get(argument)
    if bridge is None:
      return raw[argument]
    read, addresses = raw[argument], term.addresses(argument)
    like = raw.get(OTHER.get(argument))
    if not isinstance(read, tuple):
      return self._cross(bridge, addresses[0], read, like)
    matched = isinstance(like, tuple) and len(like) == len(read)
    return tuple(
      self._cross(
        dataclasses.replace(bridge, name=f"{bridge.name}{index}"),
        at,
        read[index],
        like[index] if matched else None,
      )
      for index, at in enumerate(addresses)
    )

  def _cross(self, bridge: Adapter, at: Address, array, like):
    """An array through a bridge, with the mask of its positions."""
    valid = None
    if array.ndim > 2 and at.network != HEADS:
      valid = masks.of_positions(self.flow, at, array.shape[1])
    return self._adapt(bridge, array, like, {"positions": valid})

  def _adapt(self, adapter: Adapter, read, like, extra: dict[str, Array]):
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
          f"heads/{term.name}/{argument}"
          for term in self.terms.values()
          for argument in term.heads
        ),
        near=f"heads/{address.output}",
      )
    return term, argument

  def _gather(self, term: Term, argument: str, value, *, adapted: bool):
    """An argument (or its head's output) with the rows of all devices."""
    read = term.reads.get(argument)
    if read is None or (adapted and argument in term.heads):
      # A head's output has rows unless the head reads parameters only.
      whole = read is not None and all(
        map(_is_parameter, term.addresses(argument))
      )
      return value if whole else jax.tree.map(self._all, value)
    gather = lambda at, array: array if _is_parameter(at) else self._all(array)
    return jax.tree.map(gather, read, value)

  def _all(self, array: Array) -> Array:
    return jax.lax.all_gather(array, self.axis_name, tiled=True)


def _is_parameter(at: Address) -> bool:
  """Whether the array at an address has no axis of examples."""
  return at.network == DATA or at.output.startswith("params/")
