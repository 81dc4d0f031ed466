"""One step on one device, on many by pmap, on a mesh by jit.

A placement runs functions of one seed for all seeds on all devices. Seeds come
in groups: one group of all seeds under `vmap`, or one group a seed. Placed
things are lists with an entry a group; what is not placed has an entry a seed.
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

# Arrays of fewer elements are not worth sharding on a mesh.
SHARD_FROM = 2**14


class Placement:
  """Where the states, the teachers and the batches of a stage lie.

  Args:
    kind: "pmap" or "mesh".
    seeds: how many.
    seed_axis: "vmap", "loop" or "auto".
    paired: teacher -> whether each seed has its own.
    devices: of all processes; all there are unless given.
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
    everywhere = jax.devices() if devices is None else list(devices)
    here = jax.process_index()
    self.local = [one for one in everywhere if one.process_index == here]
    self.mesh = Mesh(np.array(everywhere), (AXIS,))
    self.copies = jax.pmap(
      lambda _, tree: tree, AXIS, in_axes=(0, None), devices=self._pmapped()
    )

  @property
  def axis_name(self) -> str | None:
    """What the step calls the axis of devices; None under jit."""
    return AXIS if self.kind == "pmap" else None

  def check(self, batch_size: int, parts: int = 1) -> None:
    """Raises `UserError` unless the devices, and `parts`, divide the batch."""
    count = self.mesh.size * parts
    if batch_size % count:
      cut = f", each in micro_batches={parts}" if parts > 1 else ""
      raise UserError(
        f"A batch of {batch_size} cannot be split over {self.mesh.size}"
        f" devices{cut}.",
        f"Expected a multiple of {count}.",
      )

  def compile(
    self, function: Callable, roles: Sequence[str], *, donate: bool = False
  ) -> Callable:
    """The function for all seeds on all devices.

    Args:
      function: of one seed, pure.
      roles: of its arguments: "state" (one a seed), "fixed" (as placed by
        `put_fixed`), "rows" (by `put_rows`), "batch" (one a seed), "shared"
        (one batch for all); a tuple of roles is an argument that is a tuple.
      donate: whether the first argument is donated.

    Returns:
      A function of placed arguments; its result has an entry a group.
    """
    donated = (0,) if donate else ()
    if self.kind == "mesh":
      compiled = jax.jit(self._vmapped(function, roles), donate_argnums=donated)
    else:
      compiled = jax.pmap(
        self._vmapped(function, roles), AXIS, donate_argnums=donated
      )

    placed = lambda thing: isinstance(thing, list)

    def call(*arguments):
      of = lambda group: jax.tree.map(
        operator.itemgetter(group), arguments, is_leaf=placed
      )
      return [compiled(*of(group)) for group in range(len(arguments[0]))]

    return call

  def put(self, trees: Sequence[Any]) -> list[Any]:
    """States, one a seed, as every device has them."""
    return [self._replicate(tree) for tree in self._groups(trees)]

  def put_fixed(self, fixed: Sequence[Fixed]) -> list[Fixed]:
    """`Fixed`s, one a seed; a teacher that seeds share is placed once."""
    shared = {
      name: self._replicate(tree)
      for name, tree in fixed[0].teachers.items()
      if not self.paired[name]
    }
    own = self.put(
      [
        one.replace(
          teachers={
            name: tree
            for name, tree in one.teachers.items()
            if name not in shared
          }
        )
        for one in fixed
      ]
    )
    return [one.replace(teachers={**one.teachers, **shared}) for one in own]

  def put_rows(self, tables: Sequence[Mapping[str, np.ndarray]]) -> list[Any]:
    """Columns of examples, whole on every device.

    Args:
      tables: one a seed, or one for all.

    Returns:
      {"shared": columns that all seeds have alike, "own": the others}.
    """
    first = tables[0]
    alike = {
      key
      for key in first
      if all(
        one[key] is first[key] or np.array_equal(one[key], first[key])
        for one in tables[1:]
      )
    }
    shared = self._replicate({key: first[key] for key in alike}, whole=True)
    others = [
      {key: column for key, column in one.items() if key not in alike}
      for one in tables
    ]
    if len(others) == 1:
      others = others * self.seeds
    return [
      {"shared": shared, "own": self._replicate(one, whole=True)}
      for one in self._groups(others)
    ]

  def part(self, batch_size: int) -> slice:
    """The rows of a batch that this process makes."""
    part = batch_size // jax.process_count()
    start = jax.process_index() * part
    return slice(start, start + part)

  def put_batch(self, batches: Sequence[Batch] | Batch) -> list[Any]:
    """This process's part of batches of numpy arrays, one a seed, split.

    Or of one batch whose arrays have an axis of seeds.
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
    """This process's part of one batch for all seeds, split."""
    placed = self._spread(batch, 0)
    return [placed] * (1 if self.stacked else self.seeds)

  def rows(self, leaf: jax.Array) -> np.ndarray:
    """The rows of all devices of this process, of an array that has rows."""
    whole = np.asarray(leaf)
    return whole.reshape(-1, *whole.shape[2:]) if self.kind == "pmap" else whole

  def fetch(self, placed: Sequence[Any]) -> list[Any]:
    """What is placed, as numpy arrays of the host, one tree a seed."""
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
      teachers={name: 0 if own else None for name, own in self.paired.items()},
      data=0,
      numbers=0,
    )
    return jax.vmap(function, in_axes=jax.tree.map(axes.get, tuple(roles)))

  def _pmapped(self) -> list[jax.Device] | None:
    """Devices for pmap, which takes none to mean all of all processes."""
    return None if jax.process_count() > 1 else self.local

  def _groups(self, trees: Sequence[Any]) -> list[Any]:
    if not self.stacked:
      return list(trees)
    return [jax.tree.map(lambda *leaves: np.stack(leaves), *trees)]

  def _replicate(self, tree: Any, *, whole: bool = False) -> Any:
    """A tree on every device: by pmap alike, on a mesh in parts or `whole`."""
    if self.kind == "mesh":
      everywhere = NamedSharding(self.mesh, PartitionSpec())
      place = lambda leaf: jax.device_put(
        leaf, everywhere if whole else self._sharding(leaf)
      )
      return jax.tree.map(place, tree)
    # Through pmap itself: arrays placed in any other way have a sharding that
    # is equal but not the same, for which pmap compiles a second time.
    return self.copies(np.arange(len(self.local)), tree)

  def _sharding(self, leaf: Any) -> NamedSharding:
    """Of a parameter on the mesh: its longest axis that divides (FSDP)."""
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
    """This host's part of a global batch on this host's devices."""
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
    """A copy of what every device agrees on."""
    if self.kind == "pmap":
      return np.array(leaf.addressable_data(0))[0]
    if leaf.is_fully_replicated:
      return np.array(leaf.addressable_data(0))
    if leaf.is_fully_addressable:
      return np.array(leaf)
    return np.array(multihost_utils.process_allgather(leaf, tiled=True))
