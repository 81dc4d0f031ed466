"""The only room where student meets teacher: weighted terms over a flow.

What crosses devices is decided here, once. Every device differentiates its
share of the objective; the shares of all devices add up to the objective, and
so do their gradients. A term per example is a sum over all devices divided by
the count over all devices. A term of the whole batch reads gathered arrays, so
that every device computes the same value, of which it owns one n-th.
"""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from kdjax import state as states
from kdjax.errors import ShapeError, UserError
from kdjax.flow import Address, Flow
from kdjax.types import Array, Batch


@dataclasses.dataclass(frozen=True)
class Term:
  """One loss, what it reads and what stands in between."""

  name: str
  loss: Callable[..., Array]
  reads: Mapping[str, Address | tuple[Address, ...]]
  heads: Mapping[str, nn.Module]
  targets: tuple[str, ...]
  takes_mask: bool
  options: Mapping[str, Any]  # those that are no numbers
  schedules: Mapping[str, Callable]  # "weight" or an option -> step -> value

  def head(self, argument: str) -> str:
    """The name of the head on an argument, among the state's heads."""
    return f"{self.name}:{argument}"

  def addresses(self) -> list[Address]:
    """All addresses that the term reads."""
    return [
      address
      for read in self.reads.values()
      for address in (read if isinstance(read, tuple) else (read,))
    ]


@flax.struct.dataclass
class Value:
  """A term's value over all devices, and this device's part of it."""

  weight: Array  # f32 []
  mean: Array  # f32 [], over all devices
  count: Array  # f32 [], over all devices
  part: Array  # f32 []: the parts of all devices add up to `mean`


@dataclasses.dataclass(frozen=True)
class Objective:
  """The weighted terms of a stage over its networks and teachers."""

  networks: Mapping[str, nn.Module]
  teachers: Mapping[str, nn.Module]
  terms: tuple[Term, ...]
  axis_name: str | None = None

  def flow(self, variables, fixed, batch, *, key=None, train=False) -> Flow:
    """The arrays of a batch, by address."""
    return Flow(
      self.networks,
      self.teachers,
      variables,
      fixed,
      batch,
      key=key,
      train=train,
    )

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
    inputs = self.flow(variables, fixed, batch).inputs
    variables["networks"] = {
      name: module.init(keyed(name), inputs(name), train=False)
      for name, module in self.networks.items()
    }
    flow = self.flow(variables, fixed, batch)
    variables["heads"] = {
      term.head(argument): head.init(
        keyed(term.head(argument)), *self._sides(term, flow, argument)
      )
      for term in self.terms
      for argument, head in term.heads.items()
    }
    for name, tree in variables["heads"].items():
      if other := tree.keys() - {"params", "batch_stats"}:
        raise UserError(
          f"The head '{name}' keeps {', '.join(other)} between steps.",
          "Of a head's state, only batch statistics can be trained yet.",
        )
    return variables

  def gradients(self, params, collections, fixed, batch, *, key, step):
    """The gradient of the objective, the same on every device.

    Args:
      params: {"networks": .., "heads": ..}, what is differentiated.
      collections: likewise, the mutable rest.
      fixed: teachers and numbers.
      batch: this device's part of the batch.
      key: of (seed, step).
      step: i32 [].

    Returns:
      gradients like `params`, new collections, metrics {name: f32 []}.
    """
    if self.axis_name:
      key = jax.random.fold_in(key, jax.lax.axis_index(self.axis_name))

    def share(params):
      variables = states.join(params, collections)
      flow = self.flow(variables, fixed, batch, key=key, train=True)
      values = self.values(flow, step)
      total = sum(value.weight * value.part for value in values.values())
      return total, (flow.collections, values)

    gradients, (new, values) = jax.grad(share, has_aux=True)(params)
    return self.sum(gradients), self._mean(new), metrics(values)

  def values(self, flow: Flow, step: Array) -> dict[str, Value]:
    """Every term's value on the batch of all devices."""
    return {term.name: self._value(term, flow, step) for term in self.terms}

  def _value(self, term: Term, flow: Flow, step: Array) -> Value:
    arrays, mask = self._reads(term, flow)
    # A mask of positions is the objective's where the loss takes none.
    positions = {"mask": arrays["mask"]} if "mask" in arrays else {}
    if not term.takes_mask:
      arrays.pop("mask", None)
    numbers = flow.fixed.numbers[term.name] | {
      name: schedule(step) for name, schedule in term.schedules.items()
    }
    weight = numbers.pop("weight")
    call = lambda arrays: term.loss(**arrays, **numbers, **term.options)
    try:
      whole = jax.eval_shape(call, arrays).ndim == 0
    except ShapeError as error:
      raise UserError(f"Term '{term.name}': {error}") from error
    if whole:
      value = call(self._gather(term, arrays))
      # A loss that takes no mask cannot leave out rows that are padding.
      full = self.sum(jnp.sum(~flow.batch["valid"])) == 0
      count = jnp.float32(1) if term.takes_mask else full.astype(jnp.float32)
      value = jnp.where(count > 0, value, 0.0)
      return Value(weight, value, count, value / self._devices())
    values = call(arrays)
    mask = _counted(values, mask, {**arrays, **positions})
    total = jnp.sum(jnp.where(mask, values, 0.0))
    count = self.sum(jnp.sum(mask, dtype=jnp.float32))
    part = total / jnp.maximum(count, 1.0)
    return Value(weight, self.sum(part), count, part)

  def _reads(self, term: Term, flow: Flow):
    """The loss's arguments, heads applied, and bool [B]: who counts."""
    arrays = {}
    for argument in term.reads:
      if argument in term.heads:
        sides = self._sides(term, flow, argument)
        name, head = term.head(argument), term.heads[argument]
        arrays[argument] = flow.adapt(name, head, *sides)
      else:
        arrays[argument] = self._read(term, flow, argument)
    mask = flow.batch["valid"]
    for address in term.addresses():
      mask = mask & flow.present(address)
    if term.takes_mask and "mask" not in term.reads:
      arrays["mask"] = mask
    return arrays, mask

  def sum(self, tree):
    """The sum over devices, of every leaf."""
    return jax.lax.psum(tree, self.axis_name) if self.axis_name else tree

  def _sides(self, term: Term, flow: Flow, argument: str):
    """What an argument reads, and what the other side of the term reads."""
    other = {"student": "teacher", "teacher": "student"}.get(argument)
    like = self._read(term, flow, other) if other in term.reads else None
    return self._read(term, flow, argument), like

  def _read(self, term: Term, flow: Flow, argument: str):
    """The array, or tuple of arrays, at an argument's address.

    Here, before any head, gradients of targets are stopped: nowhere else.
    """
    array = jax.tree.map(lambda at: flow[at], term.reads[argument])
    return jax.lax.stop_gradient(array) if argument in term.targets else array

  def _devices(self) -> int:
    return jax.lax.psum(1, self.axis_name) if self.axis_name else 1

  def _mean(self, tree):
    return jax.lax.pmean(tree, self.axis_name) if self.axis_name else tree

  def _gather(self, term: Term, arrays):
    """The arrays of all devices' batches; parameters are whole already."""
    if not self.axis_name:
      return arrays
    split = lambda array: jax.lax.all_gather(array, self.axis_name, tiled=True)
    gather = lambda at, array: array if _is_parameter(at) else split(array)
    return {
      argument: jax.tree.map(gather, term.reads[argument], array)
      if argument in term.reads
      else split(array)
      for argument, array in arrays.items()
    }


def metrics(values: dict[str, Value]) -> dict[str, Array]:
  """What is recorded of the terms: {name: f32 []}."""
  named = {"loss": sum(value.weight * value.mean for value in values.values())}
  for name, value in values.items():
    named[f"loss/{name}"] = value.mean
    named[f"count/{name}"] = value.count
  return named


def _counted(values: Array, mask: Array, arrays: Mapping[str, Any]) -> Array:
  """bool like `values` ([B] or [B T]): which of them count."""
  wide = lambda array: array.reshape(
    array.shape + (1,) * (values.ndim - array.ndim)
  )
  mask = wide(mask)
  label = arrays.get("label")
  if label is not None and label.ndim <= values.ndim:
    mask = mask & (wide(label) >= 0)
  if "mask" in arrays:
    mask = mask & wide(arrays["mask"])
  return jnp.broadcast_to(mask, values.shape)


def _is_parameter(at: Address) -> bool:
  return at.output.startswith("params/")
