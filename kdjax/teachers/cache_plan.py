"""Caches of teachers' outputs: which a stage needs, and whether they pay.

A cache belongs to one teacher on the training examples, in each of their
views. Where it lies is said by `teachers.<name>.cache`: a path or URL, or
"auto", which is a folder of the workdir named by what the cache is of.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

import jax
import jax.numpy as jnp

from kdjax.cache import codecs, outputs
from kdjax.cache.manifest import Manifest, Output, hash_of, same
from kdjax.cache.store import Reader
from kdjax.errors import UserError
from kdjax.feed.index_stream import TrainFeed
from kdjax.feed.sampling import REPEATING
from kdjax.feed.sources import ArraySource, digest
from kdjax.stage.stage import Stage
from kdjax.step.flow import GIVEN, Address
from kdjax.step.state import Fixed
from kdjax.teachers import programs

AUTO = "auto"

# A cache that would fill more of the disk than this is not made by itself.
SHARE_OF_DISK = 0.5


@dataclasses.dataclass(frozen=True)
class Plan:
  """One cache: of a teacher, on the examples of one seed, or of all alike.

  Attributes:
    teacher: its name in the stage.
    path: where the cache lies.
    manifest: what it is of.
    order: the examples, as a seed sees them.
    fixed: with the teacher's variables.
    seeds: how many seeds read it.
  """

  teacher: str
  path: str
  manifest: Manifest
  order: TrainFeed
  fixed: Fixed
  seeds: int

  @property
  def rows(self) -> int:
    """How many outputs it holds: examples times views."""
    return len(self.order.source) * self.manifest.augmentations

  @property
  def size(self) -> int:
    """Bytes, before they are compressed."""
    row = codecs.bytes_per_row(outputs.parts(self.manifest.outputs))
    return row * self.rows


def plan(
  stage: Stage,
  workdir: pathlib.Path,
  name: str,
  orders: Sequence[TrainFeed],
  fixed: Sequence[Fixed],
) -> list[Plan]:
  """The cache of each seed; seeds for which it is the same share one.

  Args:
    stage: whose terms read the teacher.
    workdir: of the experiment.
    name: of the teacher.
    orders: the training examples of each seed.
    fixed: what the steps of each seed read.

  Raises:
    UserError: an example has no end of augmentations.
  """
  config = stage.config["teachers"][name]
  views = _views(stage, name)
  found: dict[Manifest, Plan] = {}
  keyed = []
  for order, one in zip(orders, fixed, strict=True):
    manifest = Manifest(
      teacher=_teacher(stage, name, one),
      data=_data(stage, name, order),
      split="train",
      augmentation=_augmentation(stage, name),
      augment_seed=stage.config["data"]["augment_seed"] if views > 1 else 0,
      augmentations=views,
      outputs=_outputs(stage, name, one, config["store"]),
      batch_shape=(stage.config["batch_size"],),
      kdjax=metadata.version("kdjax"),
      jax=jax.__version__,
    )
    key = json.dumps(manifest.to_json(), sort_keys=True)
    keyed.append(key)
    if key not in found:
      alone = Fixed(teachers={name: one.teachers[name]}, numbers={})
      found[key] = Plan(name, "", manifest, order, alone, 0)
  for key, made in found.items():
    told = hashlib.blake2b(key.encode(), digest_size=6).hexdigest()
    place = config["cache"]
    if place == AUTO:
      place = str(workdir.absolute() / "cache" / f"{name}-{told}")
    elif len(found) > 1:
      place = f"{place.rstrip('/')}/{told}"
    count = keyed.count(key)
    found[key] = dataclasses.replace(made, path=place, seeds=count)
  return [found[key] for key in keyed]


def read(made: Plan) -> Reader:
  """The cache, if it is what is wanted.

  Raises:
    UserError: there is none, it is not finished, or of something else.
  """
  reader = Reader(made.path)
  wanted = dataclasses.replace(
    made.manifest, batch_shape=reader.manifest.batch_shape
  )
  same(reader.manifest, wanted, made.path, more=True)
  return reader


def is_done(made: Plan) -> bool:
  """Whether a cache is there, whole."""
  try:
    return Reader(made.path, unfinished=True).complete
  except UserError:
    return False


def pays(stage: Stage, made: Plan) -> str:
  """Why a cache does not pay, or "": by its size, and how often it is read."""
  seen = stage.config["steps"] * stage.config["batch_size"] * made.seeds
  if seen <= made.rows:
    return f"{seen:,} outputs are read, and {made.rows:,} would be made"
  place = pathlib.Path(made.path)
  while not place.exists():
    place = place.parent
  free = shutil.disk_usage(place).free
  if made.size > SHARE_OF_DISK * free:
    return f"it has {made.size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
  return ""


def estimate(stage: Stage, made: Plan, seconds: float) -> str:
  """What a cache takes and saves, in words.

  Args:
    stage: whose terms read it.
    made: the cache.
    seconds: that the teacher takes for a batch.
  """
  batch = stage.config["batch_size"]
  making = math.ceil(made.rows / batch) * seconds
  online = stage.config["steps"] * made.seeds * seconds
  return (
    f"cache of '{made.teacher}': {len(made.order.source):,} examples x"
    f" {made.manifest.augmentations} views, {made.size / 1e6:,.1f} MB;"
    f" about {making:.0f} s to make, and it saves {online:.0f} s"
  )


def time_of(program: Callable, batch: tuple, rounds: int = 3) -> float:
  """Seconds that a program takes, once compiled: the least of some rounds."""
  jax.block_until_ready(program(*batch))
  found = []
  for _ in range(rounds):
    start = time.perf_counter()
    jax.block_until_ready(program(*batch))
    found.append(time.perf_counter() - start)
  return min(found)


def stored_name(key: str) -> str:
  """What a cache calls an output, by its key in a batch."""
  address = Address.parse(key.removeprefix(GIVEN))
  view = f"@{address.view}" if address.view else ""
  return f"{address.output}{view}"


def given_name(teacher: str, stored: str) -> str:
  """The key in a batch of what a cache calls so."""
  output, _, view = stored.partition("@")
  return f"{GIVEN}{Address(teacher, view, output)}"


def _teacher(stage: Stage, name: str, fixed: Fixed) -> str:
  """A hash of a teacher's parameters, and in what it computes."""
  dtype = jnp.dtype(stage.objective.teachers[name].dtype).name
  told = hash_of(fixed.teachers[name])
  frozen = stage.config["teachers"][name].get("frozen")
  if frozen:
    # Of one checkpoint there may be several, which pool in other ways.
    said = json.dumps({**frozen, "pretrained": None}, sort_keys=True)
    told += hashlib.blake2b(said.encode(), digest_size=6).hexdigest()
  return told if dtype == "float32" else f"{told}-{dtype}"


def _views(stage: Stage, name: str) -> int:
  """How many views of an example a teacher sees."""
  many = stage.config["data"]["augmentations"]
  if stage.partners and stage.config["data"]["sampling"] in REPEATING:
    raise UserError(
      f"The teacher '{name}' sees examples that are mixed, and drawn more or"
      " less often: with whom one is mixed has no end.",
      "Cache it where sampling is 'uniform', or where nothing is mixed.",
    )
  if many:
    return many
  if programs.draws(stage, name):
    raise UserError(
      f"The teacher '{name}' sees another augmentation of each example in every"
      " epoch, and a cache holds a number of them.",
      "Say how many by data.augmentations: they come in turn.",
    )
  return 1


def _augmentation(stage: Stage, name: str) -> str:
  """The pipelines of what a teacher sees, as text."""
  told = []
  for view, of in sorted(programs.views_of(stage, name).pipelines.items()):
    told += [f"{view}: {key}: {one}" for key, one in sorted(of.items())]
  return "; ".join(told)


def _data(stage: Stage, name: str, order: TrainFeed) -> str:
  """A fingerprint of what a teacher sees of the examples."""
  keys = [*stage.objective.teachers[name].reads, "index"]
  keys = [key for key in keys if key in stage.spec]
  source = order.source
  # Labels may be another seed's, where a teacher sees the same.
  told = [
    digest(*(source.columns[key] for key in keys))
    if isinstance(source, ArraySource)
    else source.fingerprint
  ]
  if order.partners:
    told += [hash_of(list(one)) for one in order.pools]
  return "-".join(told)


def _outputs(
  stage: Stage, name: str, fixed: Fixed, store: str | Mapping[str, str]
) -> dict[str, Output]:
  """What is stored of an example: output -> shape, dtype and codec."""
  shapes = jax.eval_shape(
    programs.program(stage, name), (), fixed, stage.example()
  )
  leaves = {stored_name(key): leaf for key, leaf in shapes.items()}
  if isinstance(store, str):
    store = dict.fromkeys(leaves, store)
  for output in store:
    if output not in leaves:
      raise UserError(
        f"No term reads '{output}' of '{name}', for which `store` has a codec.",
        exists=leaves,
        near=output,
      )
  return {
    output: Output(
      leaf.shape[1:], leaf.dtype.name, store.get(output, "float32")
    )
    for output, leaf in leaves.items()
  }
