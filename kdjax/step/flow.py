"""The arrays of one step by address; a network runs on its first read.

An address names an array: `student/logits`, `teacher/stage2`, `batch/label`;
with a view `student@strong/logits`; a parameter `teacher/params/head/kernel`.
"""

import functools
import zlib
from collections.abc import Collection, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.config import refusals
from kdjax.errors import UserError
from kdjax.step import generated, parts
from kdjax.step import state as states
from kdjax.step.addresses import (
  DATA,
  PRECOMPUTED,
  Address,
  in_view,
  needs_of,
)
from kdjax.types import Array, Batch, Outputs, Variables

# The start of the names of training means among the data's statistics, where
# missing modalities are imputed: mean/<modality>.
MEAN = "mean/"


class Flow:
  """The outputs of a stage's networks on one batch, computed on demand.

  Args:
    networks: name -> trained module.
    teachers: name -> frozen module.
    variables: {"networks": {name: variables}, "heads": {name: variables}}.
    fixed: the teachers' variables.
    batch: arrays by key, the inputs.
    key: random key, required where `train`. Each device draws independently,
      except for heads that read the batch of all devices.
    train: whether the trained networks and heads are in training mode.
    axis_name: of the devices that share the batch.
    precomputed: teachers, and parts that run like teachers, that do not run
      here; the batch holds their outputs as `precomputed/<address>`.
    still: network -> patterns of its parts that are held still; `fixed` has
      their variables.
    averages: teacher -> the network of which it is the moving average.
    written: view -> the modality that a network writes in it.
  """

  def __init__(
    self,
    networks: Mapping[str, nn.Module],
    teachers: Mapping[str, nn.Module],
    variables: Mapping[str, Mapping[str, Variables]],
    fixed: states.Fixed,
    batch: Batch,
    *,
    key: Array | None = None,
    train: bool = False,
    axis_name: str | None = None,
    precomputed: Collection[str] = (),
    still: Mapping[str, tuple[str, ...]] | None = None,
    averages: Mapping[str, str] | None = None,
    written: Mapping[str, generated.Generated] | None = None,
  ):
    self.networks, self.teachers = networks, teachers
    self.precomputed = precomputed
    self.still, self.averages = still or {}, averages or {}
    self.written = written or {}
    self.variables = parts.with_still(variables, fixed, self.still)
    self.fixed, self.batch = fixed, batch
    self.train, self.shared_key, self.key = train, key, key
    if key is not None and axis_name:
      self.key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
    self.outputs: dict[tuple[str, str], Outputs] = {}
    # The mutable collections, updated by every forward pass.
    self.collections = {
      kind: {name: states.split(tree)[1] for name, tree in trees.items()}
      for kind, trees in self.variables.items()
    }

  def __getitem__(self, address: Address) -> Array:
    generated.write(self, generated.view_of(address))
    if address.network == "batch":
      arrays = self.batch
    elif address.network == DATA:
      arrays = self.fixed.data
    elif address.output.startswith("params/"):
      return self._parameter(address)
    else:
      arrays = self.run(address.network, address.view)
    if address.output not in arrays:
      raise UserError(f"No '{address}'.", exists=self.all(), near=str(address))
    return arrays[address.output]

  def run(self, name: str, view: str = "") -> Outputs:
    """The outputs of a network on a view, computed once."""
    if name in self.precomputed:
      return self._precomputed(name, view)
    if (name, view) not in self.outputs:
      module = self.module(name)
      inputs = self.inputs(name, view)
      network = self.averages.get(name, name)
      known = {
        path: self._precomputed(part, view)
        for part, path in parts.paths_of(self.precomputed, network).items()
      }
      with parts.given(known):
        if name in self.teachers:
          outputs = module.apply(self.fixed.teachers[name], inputs, train=False)
        else:
          outputs = self._apply("networks", name, module, f"@{view}", inputs)
      self.outputs[name, view] = outputs
    return self.outputs[name, view]

  def _precomputed(self, name: str, view: str) -> Outputs:
    """The outputs of a teacher that the batch holds."""
    prefix = f"{PRECOMPUTED}{Address(name, view, '')}"
    return {
      key.removeprefix(prefix): array
      for key, array in self.batch.items()
      if key.startswith(prefix)
    }

  def adapt(
    self, name: str, head: nn.Module, read, like, *, still, shared, **extra
  ):
    """The output of a head on an array (or tuple of arrays).

    Args:
      name: of its variables.
      head: the module.
      read: its input.
      like: the array on the other side of its term, or None.
      still: whether its parameters are frozen and it is in evaluation mode.
      shared: whether all devices use the same random key.
      **extra: further arguments of the head.
    """
    if still:
      variables = jax.lax.stop_gradient(self.variables["heads"][name])
      return head.apply(variables, read, like, train=False, **extra)
    return self._apply(
      "heads", name, head, "", read, like, shared=shared, **extra
    )

  def module(self, name: str) -> nn.Module:
    """A network or teacher by name."""
    known = {**self.networks, **self.teachers}
    if name not in known:
      raise UserError(
        f"No network or teacher '{name}'.",
        "Add it to the stage's `teachers` or `networks`.",
        exists=known,
        near=name,
      )
    return known[name]

  def all(self) -> list[str]:
    """All addresses of this flow."""
    known = [f"batch/{key}" for key in self.batch]
    for name in (*self.networks, *self.teachers):
      known += [f"{name}/{output}" for output in self.run(name)]
    return known

  def present(self, address: Address) -> Array:
    """bool [B]: which examples have all modalities that an address needs."""
    masks = [self.batch["valid"], *self.presence(address)]
    return functools.reduce(jnp.logical_and, masks)

  def presence(self, address: Address) -> list[Array]:
    """bool [B] of each modality that an address needs and that may be absent.

    It is empty where every example has all that the address needs.
    """
    if address.network == DATA or address.output.startswith("params/"):
      return []
    if address.network == "batch":
      needs = (address.output,)
    else:
      needs = needs_of(self.module(address.network), address.output)
    generated.write(self, generated.view_of(address))
    masks = []
    for modality in needs:
      if self._mean(address.network, modality) is not None:
        continue  # a missing one is imputed
      # Where a corruption removed the modality, the example still counts.
      own = (f"has/{modality}@{address.view}",) if address.view else ()
      for key in (*own, f"had/{modality}", f"has/{modality}"):
        if key in self.batch:
          masks.append(self.batch[key])
          break
    return masks

  def inputs(self, name: str, view: str = "") -> Batch:
    """The arrays of the batch that a network reads, in a view.

    A missing modality and a broken record are replaced by zeros, since their
    arrays may hold anything. A network that reads `has/<modality>` gets False
    in both cases. If the stage imputes, they are replaced by the mean, which a
    trained network gets as present.
    """
    module = self.module(name)
    generated.write(self, view)
    keys = {key: in_view(self.batch, key, view) for key in module.reads}
    chosen = {
      key: self.batch[own] for key, own in keys.items() if own in self.batch
    }
    modalities = [key for key in module.reads if "/" not in key]
    for key in modalities:
      # A trained network does not read what it writes.
      if key not in chosen and key not in getattr(module, "writes", ()):
        raise UserError(
          f"The network '{name}' reads '{key}', which the data lacks.",
          exists=(key for key in self.batch if "/" not in key),
        )
    own = {f"{it}{key}@{view}" for key in modalities for it in ("", "has/")}
    if view and not own & self.batch.keys():
      views = [key for key in self.batch if "@" in key]
      refusals.refuse_view(view, modalities, name, views)
    for key in modalities:
      has = self._has(key, view)
      if has is None:
        continue
      mean = self._mean(name, key)
      for part in (key, f"mask/{key}"):
        if part in chosen:
          rows = has.reshape(has.shape + (1,) * (chosen[part].ndim - 1))
          absent = jnp.zeros_like(chosen[part])
          if mean is not None:
            filled = mean[None] if part == key else jnp.ones_like(absent)
            absent = jnp.broadcast_to(filled, absent.shape).astype(absent.dtype)
          chosen[part] = jnp.where(rows, chosen[part], absent)
      if f"has/{key}" in module.reads:
        if mean is not None:
          has = self.batch.get("has/record", jnp.ones_like(has))
        chosen[f"has/{key}"] = has
    return chosen

  def _mean(self, name: str, modality: str) -> Array | None:
    """What a trained network reads in place of a missing modality."""
    trained = self.averages.get(name, name) in self.networks
    statistics = self.fixed.data if trained and self.fixed is not None else {}
    return statistics.get(f"{MEAN}{modality}")

  def _has(self, modality: str, view: str) -> Array | None:
    """bool [B]: which examples have a modality; None: it is never missing."""
    own = f"has/{modality}@{view}"
    present = own if own in self.batch else f"has/{modality}"
    masks = [
      self.batch[key] for key in (present, "has/record") if key in self.batch
    ]
    return functools.reduce(jnp.logical_and, masks) if masks else None

  def _parameter(self, address: Address) -> Array:
    self.module(address.network)
    frozen = address.network in self.teachers
    trees = self.fixed.teachers if frozen else self.variables["networks"]
    leaves = parts.leaves(trees[address.network])
    if address.output not in leaves:
      raise UserError(
        f"The network '{address.network}' has no parameter '{address.output}'.",
        exists=leaves,
        near=address.output,
      )
    return leaves[address.output]

  def _apply(
    self,
    kind: str,
    name: str,
    module: nn.Module,
    tag: str,
    *reads,
    shared: bool = False,
    **extra,
  ):
    """A trained module's outputs; stores the updates of its collections."""
    variables = self.variables[kind][name]
    if not self.train:
      return module.apply(variables, *reads, train=False, **extra)
    collections = self.collections[kind][name]
    params, _ = states.split(variables)
    seed = zlib.crc32(f"{kind}/{name}{tag}".encode())
    key = jax.random.fold_in(self.shared_key if shared else self.key, seed)
    still = self.still.get(name, ()) if kind == "networks" else ()
    with parts.evaluating(still):
      outputs, updated = module.apply(
        states.merge(params, collections),
        *reads,
        train=True,
        rngs={"dropout": key, "draw": jax.random.fold_in(key, 1)},
        mutable=list(collections),
        **extra,
      )
    self.collections[kind][name] = {**collections, **updated}
    return outputs
