"""A step on one device, on several by pmap, or on a mesh by jit.

A placement runs a function of one seed for all seeds on all devices. Seeds form
groups: one group of all seeds under `vmap`, or one group per seed. Placed
values are lists with one entry per group; values on the host have one entry
per seed.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kdjax.errors import UserError
from kdjax.step.state import Fixed
from kdjax.types import Batch

AXIS = "devices"

# Arrays with fewer elements are replicated on a mesh, not sharded.
SHARD_FROM = 2**14


class Placement:
  """Placement of a stage's states, teachers and batches on devices.

  Args:
    kind: "pmap" or "mesh".
    seeds: the number of seeds.
    seed_axis: "vmap", "loop" or "auto" ("loop" on a CPU, else "vmap").
    paired: teacher -> whether each seed has a teacher of its own.
    devices: of all processes; None means all devices.

  Raises:
    UserError: an unknown `kind` or `seed_axis`.
  """

  def __init__(
    self,
    kind: str,
    seeds: int,
    seed_axis: str,
    paired: Mapping[str, bool],
    devices: Sequence[jax.Device] | None = None,
  ):
    if kind not in ("pmap", "mesh"):
      raise UserError(f"No placement '{kind}'.", exists=("pmap", "mesh"))
    if seed_axis not in ("auto", "vmap", "loop"):
      raise UserError(
        f"No seed axis '{seed_axis}'.", exists=("auto", "vmap", "loop")
      )
    if seed_axis == "auto":
      seed_axis = "loop" if jax.default_backend() == "cpu" else "vmap"
    self.kind, self.seeds, self.paired = kind, seeds, paired
    self.stacked = seed_axis == "vmap"
    devices = jax.devices() if devices is None else list(devices)
    process = jax.process_index()
    self.local = [
      device for device in devices if device.process_index == process
    ]
    self.mesh = Mesh(np.array(devices), (AXIS,))
    self.copies = jax.pmap(
      lambda _, tree: tree, AXIS, in_axes=(0, None), devices=self._pmapped()
    )

  @property
  def axis_name(self) -> str | None:
    """The name of the axis of devices in the step; None under jit."""
    return AXIS if self.kind == "pmap" else None

  def check(self, batch_size: int, parts: int = 1) -> None:
    """Raises `UserError` unless devices times `parts` divides the batch."""
    count = self.mesh.size * parts
    if batch_size % count:
      times = f" times micro_batches={parts}" if parts > 1 else ""
      raise UserError(
        f"batch_size={batch_size} cannot be split over {self.mesh.size}"
        f" devices{times}.",
        f"Expected a multiple of {count}.",
      )

  def compile(
    self, function: Callable, roles: Sequence[str], *, donate: bool = False
  ) -> Callable:
    """The function, compiled for all seeds on all devices.

    Args:
      function: a pure function of one seed.
      roles: of its arguments: "state" (one per seed), "fixed" (as placed by
        `put_fixed`), "rows" (by `put_rows`), "batch" (one per seed), "shared"
        (one batch for all seeds); for an argument that is a tuple, a tuple of
        roles.
      donate: whether the first argument is donated.

    Returns:
      A function of placed arguments; its result has one entry per group.
    """
    donated = (0,) if donate else ()
    if self.kind == "mesh":
      compiled = jax.jit(self._vmapped(function, roles), donate_argnums=donated)
    else:
      compiled = jax.pmap(
        self._vmapped(function, roles), AXIS, donate_argnums=donated
      )

    placed = lambda value: isinstance(value, list)

    def call(*arguments):
      arguments_of = lambda group: jax.tree.map(
        operator.itemgetter(group), arguments, is_leaf=placed
      )
      groups = range(len(arguments[0]))
      return [compiled(*arguments_of(group)) for group in groups]

    return call

  def put(self, trees: Sequence[Any]) -> list[Any]:
    """Places states, one per seed, on every device."""
    return [self._replicate(tree) for tree in self._groups(trees)]

  def put_fixed(self, fixed: Sequence[Fixed]) -> list[Fixed]:
    """Places `Fixed`s, one per seed; shared teachers are placed once."""
    shared = {
      name: self._replicate(tree)
      for name, tree in fixed[0].teachers.items()
      if not self.paired[name]
    }
    placed = self.put(
      [
        each.replace(
          teachers={
            name: tree
            for name, tree in each.teachers.items()
            if name not in shared
          }
        )
        for each in fixed
      ]
    )
    return [
      each.replace(teachers={**each.teachers, **shared}) for each in placed
    ]

  def put_rows(self, tables: Sequence[Mapping[str, np.ndarray]]) -> list[Any]:
    """Places columns of examples, whole on every device.

    Args:
      tables: one per seed, or one for all.

    Returns:
      {"shared": columns equal for all seeds, "own": the other columns}.
    """
    first = tables[0]
    equal = {
      key
      for key in first
      if all(
        table[key] is first[key] or np.array_equal(table[key], first[key])
        for table in tables[1:]
      )
    }
    shared = self._replicate({key: first[key] for key in equal}, whole=True)
    others = [
      {key: column for key, column in table.items() if key not in equal}
      for table in tables
    ]
    if len(others) == 1:
      others = others * self.seeds
    return [
      {"shared": shared, "own": self._replicate(group, whole=True)}
      for group in self._groups(others)
    ]

  def part(self, batch_size: int) -> slice:
    """The rows of a batch that this process loads."""
    part = batch_size // jax.process_count()
    start = jax.process_index() * part
    return slice(start, start + part)

  def put_batch(self, batches: Sequence[Batch] | Batch) -> list[Any]:
    """Splits this process's part of each seed's batch over its devices.

    Args:
      batches: of NumPy arrays, one per seed; or one whose arrays have a
        leading axis of seeds.
    """
    axis = 1 if self.stacked else 0
    if not isinstance(batches, Mapping):
      groups = self._groups(batches)
    elif self.stacked:
      groups = [batches]
    else:
      each = range(self.seeds)
      groups = [{key: x[seed] for key, x in batches.items()} for seed in each]
    return [self._spread(group, axis) for group in groups]

  def put_shared(self, batch: Batch) -> list[Any]:
    """Splits this process's part of a batch of all seeds over its devices."""
    placed = self._spread(batch, 0)
    return [placed] * (1 if self.stacked else self.seeds)

  def rows(self, leaf: jax.Array) -> np.ndarray:
    """The rows of an array on all devices of this process."""
    whole = np.asarray(leaf)
    return whole.reshape(-1, *whole.shape[2:]) if self.kind == "pmap" else whole

  def fetch(self, placed: Sequence[Any]) -> list[Any]:
    """Placed values as NumPy arrays on the host, one tree per seed."""
    hosted = [jax.tree.map(self._host, tree) for tree in placed]
    if not self.stacked:
      return hosted
    return [
      jax.tree.map(lambda leaf, seed=seed: leaf[seed], hosted[0])
      for seed in range(self.seeds)
    ]

  def _vmapped(self, function: Callable, roles: Sequence[str]) -> Callable:
    if not self.stacked:
      return function
    axes = {"state": 0, "batch": 0, "shared": None}
    axes["rows"] = {"shared": None, "own": 0}
    axes["fixed"] = Fixed(
      teachers={
        name: 0 if paired else None for name, paired in self.paired.items()
      },
      data=0,
      numbers=0,
    )
    return jax.vmap(function, in_axes=jax.tree.map(axes.get, tuple(roles)))

  def _pmapped(self) -> list[jax.Device] | None:
    """The `devices` of pmap; None means those of all processes."""
    return None if jax.process_count() > 1 else self.local

  def _groups(self, trees: Sequence[Any]) -> list[Any]:
    if not self.stacked:
      return list(trees)
    return [jax.tree.map(lambda *leaves: np.stack(leaves), *trees)]

  def _replicate(self, tree: Any, *, whole: bool = False) -> Any:
    """Places a tree on all devices; on a mesh sharded if not `whole`."""
    if self.kind == "mesh":
      replicated = NamedSharding(self.mesh, PartitionSpec())
      place = lambda leaf: jax.device_put(
        leaf, replicated if whole else self._sharding(leaf)
      )
      return jax.tree.map(place, tree)
    if not jax.tree.leaves(tree):
      return tree  # pmap over several processes fails without an array
    # Through pmap itself: arrays placed in another way have a sharding that is
    # equal but not identical, and pmap would compile a second time.
    return self.copies(np.arange(len(self.local)), tree)

  def _sharding(self, leaf: Any) -> NamedSharding:
    """The sharding of a parameter: its longest divisible axis (FSDP)."""
    shape = np.shape(leaf)
    first = 1 if self.stacked else 0
    count = self.mesh.size
    fitting = [
      axis for axis in range(first, len(shape)) if shape[axis] % count == 0
    ]
    parts: list[str | None] = [None] * len(shape)
    if fitting and np.size(leaf) >= SHARD_FROM:
      parts[max(fitting, key=lambda axis: shape[axis])] = AXIS
    return NamedSharding(self.mesh, PartitionSpec(*parts))

  def _spread(self, batch: Batch, axis: int) -> Any:
    """Places this host's part of a global batch on this host's devices."""
    if self.kind == "mesh":
      spec = PartitionSpec(*[None] * axis, AXIS)
      sharding = NamedSharding(self.mesh, spec)
      place = lambda leaf: jax.make_array_from_process_local_data(
        sharding, np.ascontiguousarray(leaf)
      )
      return jax.tree.map(place, dict(batch))
    count = len(self.local)

    def split(leaf):
      part = leaf.shape[axis] // count
      shape = (*leaf.shape[:axis], count, part)
      leaf = leaf.reshape(shape + leaf.shape[axis + 1 :])
      return np.moveaxis(leaf, axis, 0)

    return jax.tree.map(split, dict(batch))

  def _host(self, leaf: jax.Array) -> np.ndarray:
    """A copy on the host of a value that is the same on every device."""
    if self.kind == "pmap":
      return np.array(leaf.addressable_data(0))[0]
    if leaf.is_fully_replicated:
      return np.array(leaf.addressable_data(0))
    if leaf.is_fully_addressable:
      return np.array(leaf)
    return np.array(multihost_utils.process_allgather(leaf, tiled=True))
