"""The only room where student meets teacher: weighted terms over a flow.

What crosses devices is decided here, once. Every device differentiates its
share of the objective; the shares of all devices add up to the objective, and
so do their gradients. A term per example is a sum over all devices divided by
the count over all devices. A term of the whole batch reads gathered arrays, so
that every device computes the same value, of which it owns one n-th.
"""

import dataclasses
import itertools
import zlib
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.step import state as states
from kdjax.step.accumulation import in_parts
from kdjax.step.flow import DATA, GIVEN, Address, Flow, addresses
from kdjax.step.reduction import Value, counted, is_whole, recorded
from kdjax.step.terms import Reader, Term
from kdjax.step.views import Views
from kdjax.types import Array, Batch

# The group of all terms, where no optimizer keeps groups apart.
ALL = "all"


@dataclasses.dataclass(frozen=True)
class Objective:
  """The weighted terms of a stage over its networks and teachers."""

  networks: Mapping[str, nn.Module]
  teachers: Mapping[str, nn.Module]
  terms: tuple[Term, ...]
  # Teachers that are the running average of a network: name -> network.
  averages: Mapping[str, str] = dataclasses.field(default_factory=dict)
  axis_name: str | None = None
  # What a batch becomes on the device.
  views: Views = dataclasses.field(default_factory=lambda: Views({}))
  # Teachers that do not run here: the batch has what terms read of them.
  given: tuple[str, ...] = ()
  # Into how many parts a batch is cut, one after another, to save memory.
  micro_batches: int = 1

  @property
  def addresses(self) -> tuple[Address, ...]:
    """What the terms read."""
    found = [addresses(term.reads) for term in self.terms]
    return tuple(dict.fromkeys(itertools.chain(*found)))

  @property
  def reads_data(self) -> bool:
    """Whether a term reads what is known of the training data."""
    return any(at.network == DATA for at in self.addresses)

  def taught(
    self, fixed, batch, *, train: bool, further: Sequence[Address] = ()
  ) -> dict[str, Array]:
    """What the terms read of the teachers that are `given`.

    Args:
      fixed: with the teachers' variables.
      batch: raw, as of a step.
      train: whether in the views of training.
      further: what else is read.

    Returns:
      `given/<address>`: an array with a row an example.
    """
    running = dataclasses.replace(self, given=())
    flow = running.flow({}, fixed, batch, train=train)
    return {
      f"{GIVEN}{address}": flow[address]
      for address in dict.fromkeys((*self.addresses, *further))
      if address.network in self.given
      and not address.output.startswith("params/")
    }

  def flow(self, variables, fixed, batch, *, key=None, train=False) -> Flow:
    """The arrays of a batch, by address.

    Args:
      variables: {"networks": {name: variables}, "heads": {name: variables}}.
      fixed: teachers and numbers; averaged teachers too, where they are read.
      batch: this device's part, raw.
      key: of (seed, step), for what is drawn; needed in training.
      train: whether in training mode.
    """
    return Flow(
      self.networks,
      self.teachers,
      variables,
      fixed,
      self.views(batch, train=train),
      key=key,
      train=train,
      axis_name=self.axis_name,
      given=self.given,
    )

  def averaged(self, fixed: states.Fixed, variables) -> states.Fixed:
    """`fixed`, and in it the teachers that are averages of networks."""
    found = {
      name: variables["networks"][of] for name, of in self.averages.items()
    }
    return fixed.replace(teachers={**fixed.teachers, **found})

  def init(self, key: Array, fixed: states.Fixed, batch: Batch) -> dict:
    """Fresh variables of the networks and heads.

    Args:
      key: random key.
      fixed: the teachers, for the shapes of what heads read.
      batch: any batch of the right shapes.

    Returns:
      {"networks": {name: variables}, "heads": {"term:argument": variables}}
    """
    keyed = lambda name: jax.random.fold_in(key, zlib.crc32(name.encode()))
    variables = {"networks": {}, "heads": {}}
    inputs = self.flow(variables, None, batch).inputs
    variables["networks"] = {
      name: module.init(keyed(name), inputs(name), train=False)
      for name, module in self.networks.items()
    }
    flow = self.flow(variables, self.averaged(fixed, variables), batch)

    def create(adapter, *reads, **extra):
      made = adapter.module.init(keyed(adapter.name), *reads, **extra)
      own = made.keys() - {"params", "batch_stats"}
      if own and not adapter.gathered:
        raise UserError(
          f"The head '{adapter.name}' keeps {', '.join(own)} between steps, of "
          "rows that every device has its own of.",
          "A head with a memory says `gathered = True`.",
        )
      return made

    reader = Reader(self.terms, flow, create=create)
    for term in self.terms:
      reader.arguments(term)
    return variables

  def gradients(
    self, params, collections, fixed, batch, *, key, step, groups=()
  ):
    """The gradient of the objective, the same on every device.

    Args:
      params: {"networks": .., "heads": ..}, what is differentiated.
      collections: likewise, the mutable rest.
      fixed: teachers and numbers.
      batch: this device's part of the batch.
      key: of (seed, step).
      step: i32 [].
      groups: of terms whose gradients are kept apart, if any.

    Returns:
      gradients like `params`, or {group: gradients}; new collections; metrics
      {name: f32 []}.
    """

    groups = groups or (ALL,)

    def of(collections, batch, key, counts=None):
      """Gradients by group, collections and values, of (a part of) a batch."""

      def shares(params):
        variables = states.join(params, collections)
        flow = self.flow(variables, fixed, batch, key=key, train=True)
        values = self.values(self.reader(flow), step, counts)
        totals = {group: jnp.float32(0) for group in groups}
        for term in self.terms:
          value = values[term.name]
          group = term.group if term.group in groups else ALL
          totals[group] += value.weight * value.part
        return totals, (flow.collections, values)

      totals, pull, (new, values) = jax.vjp(shares, params, has_aux=True)
      one = lambda group: {name: jnp.float32(name == group) for name in totals}
      return {group: pull(one(group))[0] for group in totals}, new, values

    gradients, new, values = in_parts(
      of, self.micro_batches, collections, batch, key
    )
    gradients = self.sum(gradients)
    if groups == (ALL,):
      gradients = gradients[ALL]
    return gradients, self._agreed(new), recorded(values)

  def reader(self, flow: Flow) -> Reader:
    """What the terms read of a flow."""
    return Reader(self.terms, flow, self.axis_name)

  def values(
    self,
    reader: Reader,
    step: Array,
    counts: Mapping[str, Array] | None = None,
  ) -> dict[str, Value]:
    """Every term's value on the batch of all devices.

    Args:
      reader: of the batch, or of a part of it.
      step: i32 [].
      counts: of each term, how many examples count in all parts.
    """
    counts = counts or {}
    return {
      term.name: self._value(term, reader, step, counts.get(term.name))
      for term in self.terms
    }

  def _value(
    self, term: Term, reader: Reader, step: Array, counted_in_all: Array | None
  ) -> Value:
    arrays, mask = reader.arguments(term)
    numbers = reader.flow.fixed.numbers[term.name] | {
      name: schedule(step) for name, schedule in term.schedules.items()
    }
    weight = numbers.pop("weight")
    call = lambda arrays: term.loss(**arrays, **numbers, **term.options)
    # A mask of positions is the objective's where the loss takes none.
    own = {
      name: array
      for name, array in arrays.items()
      if name != "mask" or term.takes_mask
    }
    whole = is_whole(term, call, own, mask)
    if self.micro_batches > 1 and (whole or term.gathered):
      raise UserError(
        f"The term '{term.name}' is of the whole batch, which is cut into"
        f" {self.micro_batches} parts.",
        "Leave out micro_batches, or the term.",
      )
    if whole:
      own, mask = reader.gather(term, own, mask)
      if term.takes_mask:
        own["mask"] = own["mask"] & mask if "mask" in own else mask
      value = call(own)
      # A loss that takes no mask cannot leave out rows that are padding.
      enough = jnp.any(mask) if term.takes_mask else jnp.all(mask)
      count = enough.astype(jnp.float32)
      value = jnp.where(enough, value, 0.0)
      return Value(weight, value, count, value / self._devices())
    values = call(own)
    mask = counted(values, mask, arrays)
    total = jnp.sum(jnp.where(mask, values, 0.0))
    count = jnp.sum(mask, dtype=jnp.float32)
    if term.gathered:
      # Every device has all rows, and owns one n-th of the value.
      value = total / jnp.maximum(count, 1.0)
      return Value(weight, value, count, value / self._devices())
    count = self.sum(count)
    part = total / jnp.maximum(
      count if counted_in_all is None else counted_in_all, 1.0
    )
    return Value(weight, self.sum(part), count, part)

  def sum(self, tree):
    """The sum over devices, of every leaf."""
    return jax.lax.psum(tree, self.axis_name) if self.axis_name else tree

  def gather(self, tree):
    """The rows of all devices, of every leaf."""
    if not self.axis_name:
      return tree
    return jax.lax.all_gather(tree, self.axis_name, tiled=True)

  def _devices(self) -> int:
    return jax.lax.psum(1, self.axis_name) if self.axis_name else 1

  def _agreed(self, collections):
    """Collections that are the same on every device.

    Batch statistics are averaged; a memory was made of all devices' rows.
    """
    if not self.axis_name:
      return collections
    mean = lambda name, tree: (
      jax.lax.pmean(tree, self.axis_name) if name == "batch_stats" else tree
    )
    return {
      kind: {
        owner: {name: mean(name, tree) for name, tree in trees.items()}
        for owner, trees in owners.items()
      }
      for kind, owners in collections.items()
    }
