"""The objective of a stage: weighted loss terms over students and teachers.

This module does all communication between devices. Every device differentiates
its share of the objective; the shares of all devices add up to the objective,
and so do their gradients. A per-example term is a sum over all devices divided
by the count over all devices. A term of the whole batch reads gathered arrays:
every device computes the same value, and its share is 1/n of it.
"""

import dataclasses
import itertools
import zlib
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.step import calls, generated, masks, parts, uncertainty
from kdjax.step import state as states
from kdjax.step.accumulation import in_parts
from kdjax.step.addresses import DATA, PRECOMPUTED, Address, addresses
from kdjax.step.flow import Flow
from kdjax.step.reduction import Value, agreed, counted, is_whole, recorded
from kdjax.step.terms import Reader, Term
from kdjax.step.views import Views
from kdjax.types import Array, Batch

# The only group where the optimizer does not separate groups of terms.
ALL = "all"


@dataclasses.dataclass(frozen=True)
class Objective:
  """The weighted terms of a stage over its networks and teachers."""

  networks: Mapping[str, nn.Module]
  teachers: Mapping[str, nn.Module]
  terms: tuple[Term, ...]
  # Teachers that are the moving average of a network: name -> network.
  averages: Mapping[str, str] = dataclasses.field(default_factory=dict)
  axis_name: str | None = None
  # Transforms of a raw batch, on the device.
  views: Views = dataclasses.field(default_factory=lambda: Views({}))
  # Teachers that do not run here: the batch holds the outputs that terms read.
  precomputed: tuple[str, ...] = ()
  # The number of parts of a batch, computed in sequence to save memory.
  micro_batches: int = 1
  # Network -> patterns of its parts that are held still; see `parts`.
  still: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  # Network -> path of a part -> rank of its low-rank adapters.
  adapted: Mapping[str, Mapping[str, int]] = dataclasses.field(
    default_factory=dict
  )
  # Whether the terms' weights are learned, see `uncertainty`.
  weighting: str = uncertainty.FIXED

  @property
  def addresses(self) -> tuple[Address, ...]:
    """All addresses that the terms read, and what networks write for them."""
    reads = [addresses(term.reads) for term in self.terms]
    read = tuple(dict.fromkeys(itertools.chain(*reads)))
    made = [generated.sources(self.views.generated, at) for at in read]
    return tuple(dict.fromkeys((*read, *itertools.chain(*made))))

  @property
  def reads_data(self) -> bool:
    """Whether a term reads statistics of the training data."""
    return any(at.network == DATA for at in self.addresses)

  def teacher_outputs(
    self, fixed, batch, *, train: bool, further: Sequence[Address] = ()
  ) -> dict[str, Array]:
    """The outputs of the `precomputed` teachers that the terms read.

    Args:
      fixed: holds the teachers' variables.
      batch: raw, as in a step.
      train: whether to use the training views.
      further: addresses to return in addition to those of the terms.

    Returns:
      {"precomputed/<address>": [B ...]}, and the masks of their positions.
    """
    running = dataclasses.replace(self, precomputed=())
    flow = running.flow({}, fixed, batch, train=train)
    found = {}
    for at in dict.fromkeys((*self.addresses, *further)):
      if at.network in self.precomputed and not at.output.startswith("params/"):
        found[f"{PRECOMPUTED}{at}"] = flow[at]
        beside = masks.beside(flow, at).items()
        found |= {f"{PRECOMPUTED}{mask}": array for mask, array in beside}
    return found

  def flow(self, variables, fixed, batch, *, key=None, train=False) -> Flow:
    """The arrays of a batch, by address.

    Args:
      variables: {"networks": {name: variables}, "heads": {name: variables}}.
      fixed: teachers and numbers, including averaged teachers that are read.
      batch: this device's part, raw.
      key: random key of (seed, step), required in training.
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
      precomputed=self.precomputed,
      still=self.still,
      averages=self.averages,
      written=self.views.generated,
    )

  def averaged(self, fixed: states.Fixed, variables) -> states.Fixed:
    """`fixed` with the teachers that are averages of networks added."""
    averages = {
      name: parts.merged(
        variables["networks"][network], parts.still_of(fixed, network)
      )
      for name, network in self.averages.items()
    }
    return fixed.replace(teachers={**fixed.teachers, **averages})

  def init(self, key: Array, fixed: states.Fixed, batch: Batch) -> dict:
    """Initial variables of the networks and heads.

    Args:
      key: random key.
      fixed: the teachers, for the shapes of the heads' inputs.
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
      created = adapter.module.init(keyed(adapter.name), *reads, **extra)
      memory = created.keys() - {"params", "batch_stats"}
      if memory and not adapter.gathered:
        raise UserError(
          f"The head '{adapter.name}' keeps {', '.join(memory)} between steps,"
          " and its rows would differ between devices.",
          "A head with a memory must set `gathered = True`.",
        )
      return created

    reader = Reader(self.terms, flow, create=create)
    for term in self.terms:
      reader.arguments(term)
    if self.weighting == uncertainty.UNCERTAINTY:
      variables["heads"] |= uncertainty.initial(self.terms)
    return variables

  def gradients(
    self, params, collections, fixed, batch, *, key, step, groups=()
  ):
    """The gradient of the objective, the same on every device.

    Args:
      params: {"networks": .., "heads": ..}, differentiated.
      collections: {"networks": .., "heads": ..}, the mutable variables.
      fixed: teachers and numbers.
      batch: this device's part of the batch.
      key: random key of (seed, step).
      step: i32 [].
      groups: groups of terms to differentiate separately, if any.

    Returns:
      gradients like `params`, or {group: gradients}; new collections; metrics
      {name: f32 []}.
    """

    groups = groups or (ALL,)

    def differentiate(collections, batch, key, counts=None):
      """Gradients by group, collections and values of one part of a batch."""

      without_still = lambda it: parts.without_still(it, self.still)

      def shares(params):
        variables = states.join(params, collections)
        flow = self.flow(variables, fixed, batch, key=key, train=True)
        values = self.values(self.reader(flow), step, counts)
        learned = uncertainty.log_variances(variables["heads"])
        if learned:
          values = uncertainty.weighted(values, learned, counts or {})
        totals = {group: jnp.float32(0) for group in groups}
        for term in self.terms:
          value = values[term.name]
          group = term.group if term.group in groups else ALL
          totals[group] += value.weight * value.part
          if value.penalty is not None:
            shared_by = self._devices() * self.micro_batches
            totals[group] += value.penalty / shared_by
        return totals, (without_still(flow.collections), values)

      totals, pull, (new, values) = jax.vjp(shares, params, has_aux=True)
      unit = lambda group: {name: jnp.float32(name == group) for name in totals}
      return {group: pull(unit(group))[0] for group in totals}, new, values

    gradients, new, values = in_parts(
      differentiate, self.micro_batches, collections, batch, key
    )
    gradients = self.sum(gradients)
    if groups == (ALL,):
      gradients = gradients[ALL]
    return gradients, agreed(new, self.axis_name), recorded(values)

  def reader(self, flow: Flow) -> Reader:
    """The reader of the terms' arguments from a flow."""
    return Reader(self.terms, flow, self.axis_name)

  def values(
    self,
    reader: Reader,
    step: Array,
    counts: Mapping[str, Array] | None = None,
  ) -> dict[str, Value]:
    """Every term's value on the batch of all devices.

    Args:
      reader: of the batch or of a part of it.
      step: i32 [].
      counts: for each term, the number of examples that count in all parts.
    """
    counts = counts or {}
    return {
      term.name: self._value(term, reader, step, counts.get(term.name))
      for term in self.terms
    }

  def _value(
    self, term: Term, reader: Reader, step: Array, counted_in_all: Array | None
  ) -> Value:
    call = calls.of(term, reader, step)
    inputs, mask, weight = call.inputs, call.mask, call.weight
    whole = is_whole(term, call.loss, inputs, mask)
    if self.micro_batches > 1 and (whole or term.gathered):
      raise UserError(
        f"The term '{term.name}' needs the whole batch, but"
        f" micro_batches={self.micro_batches} splits it.",
        "Remove micro_batches or the term.",
      )
    if whole:
      inputs, mask = reader.gather(term, inputs, mask)
      value = call.loss(calls.with_mask(term, inputs, mask))
      # A loss that takes no mask cannot skip rows that are padding.
      enough = jnp.any(mask) if term.takes_mask else jnp.all(mask)
      count = enough.astype(jnp.float32)
      value = jnp.where(enough, value, 0.0)
      return Value(weight, value, count, value / self._devices())
    values = call.loss(inputs)
    # Where the loss takes no mask of positions, it is applied here.
    mask = counted(values, mask, call.arrays)
    total = jnp.sum(jnp.where(mask, values, 0.0))
    count = jnp.sum(mask, dtype=jnp.float32)
    if term.gathered:
      # Every device has all rows; its share is 1/n of the value.
      value = total / jnp.maximum(count, 1.0)
      return Value(weight, value, count, value / self._devices())
    count = self.sum(count)
    part = total / jnp.maximum(
      count if counted_in_all is None else counted_in_all, 1.0
    )
    return Value(weight, self.sum(part), count, part)

  def sum(self, tree):
    """The sum of every leaf over devices."""
    return jax.lax.psum(tree, self.axis_name) if self.axis_name else tree

  def gather(self, tree):
    """Every leaf with the rows of all devices."""
    if not self.axis_name:
      return tree
    return jax.lax.all_gather(tree, self.axis_name, tiled=True)

  def _devices(self) -> int:
    return jax.lax.psum(1, self.axis_name) if self.axis_name else 1
