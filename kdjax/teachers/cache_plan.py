"""Which caches of teacher outputs a stage needs, and whether they save time.

A cache holds the outputs of one teacher for the training examples, in each of
their views. `teachers.<name>.cache` is its path or URL, or "auto": a folder of
the workdir with the hash of the manifest in its name.
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
from kdjax.cache.manifest import Manifest, Output, check_equal, hash_of
from kdjax.cache.store import Reader
from kdjax.errors import UserError
from kdjax.feed.index_stream import TrainFeed
from kdjax.feed.sampling import REPEATING
from kdjax.feed.sources import ArraySource, digest
from kdjax.stage.stage import Stage
from kdjax.step.addresses import PRECOMPUTED, Address
from kdjax.step.state import Fixed
from kdjax.teachers import programs

AUTO = "auto"

# "auto" makes no cache that needs more than this share of the free disk.
SHARE_OF_DISK = 0.5


@dataclasses.dataclass(frozen=True)
class Plan:
  """A cache of one teacher, for the examples of one seed or of several.

  Attributes:
    teacher: name of the teacher in the stage.
    path: of the cache.
    manifest: teacher, data and augmentation of the cache.
    order: the training examples, in a seed's order.
    fixed: with the teacher's variables.
    seeds: number of seeds that read the cache.
  """

  teacher: str
  path: str
  manifest: Manifest
  order: TrainFeed
  fixed: Fixed
  seeds: int

  @property
  def rows(self) -> int:
    """The number of stored outputs: examples times views."""
    return len(self.order.source) * self.manifest.augmentations

  @property
  def size(self) -> int:
    """The size in bytes, before compression."""
    row = codecs.bytes_per_row(outputs.parts(self.manifest.outputs))
    return row * self.rows


def plan(
  stage: Stage,
  workdir: pathlib.Path,
  name: str,
  orders: Sequence[TrainFeed],
  fixed: Sequence[Fixed],
) -> list[Plan]:
  """The cache of each seed; seeds with equal manifests share one.

  [] if no term reads the teacher: a metric alone may, in evaluation.

  Args:
    stage: its terms may read the teacher.
    workdir: of the experiment.
    name: of the teacher.
    orders: the training examples of each seed, in order.
    fixed: teachers and numbers of each seed.

  Raises:
    UserError: the number of augmentations of an example is not finite.
  """
  config = stage.config["teachers"][name]
  views = _views(stage, name)
  plans: dict[str, Plan] = {}
  keys = []
  for order, own in zip(orders, fixed, strict=True):
    manifest = Manifest(
      teacher=_teacher_hash(stage, name, own),
      data=_data_fingerprint(stage, name, order),
      split="train",
      augmentation=_augmentation(stage, name),
      augment_seed=stage.config["data"]["augment_seed"] if views > 1 else 0,
      augmentations=views,
      outputs=_outputs(stage, name, own, config["store"]),
      batch_shape=(stage.config["batch_size"],),
      kdjax=metadata.version("kdjax"),
      jax=jax.__version__,
    )
    if not manifest.outputs:
      return []
    key = json.dumps(manifest.to_json(), sort_keys=True)
    keys.append(key)
    if key not in plans:
      teacher = Fixed(teachers={name: own.teachers[name]}, numbers={})
      plans[key] = Plan(name, "", manifest, order, teacher, 0)
  for key, seed_plan in plans.items():
    digest_of_key = hashlib.blake2b(key.encode(), digest_size=6).hexdigest()
    path = config["cache"]
    if path == AUTO:
      path = str(workdir.absolute() / "cache" / f"{name}-{digest_of_key}")
    elif len(plans) > 1:
      path = f"{path.rstrip('/')}/{digest_of_key}"
    seeds = keys.count(key)
    plans[key] = dataclasses.replace(seed_plan, path=path, seeds=seeds)
  return [plans[key] for key in keys]


def open_cache(plan: Plan) -> Reader:
  """Opens a cache and checks that it has the plan's manifest.

  Raises:
    UserError: the cache does not exist, is unfinished or does not fit.
  """
  reader = Reader(plan.path)
  # Outputs of another batch shape differ by rounding alone.
  expected = dataclasses.replace(
    plan.manifest, batch_shape=reader.manifest.batch_shape
  )
  check_equal(reader.manifest, expected, plan.path, more=True)
  return reader


def is_complete(plan: Plan) -> bool:
  """Whether a cache exists and has all its chunks."""
  try:
    return Reader(plan.path, unfinished=True).complete
  except UserError:
    return False


def reason_against(stage: Stage, plan: Plan) -> str:
  """Why a cache is not worth making: its few reads or its size; else ""."""
  reads = stage.config["steps"] * stage.config["batch_size"] * plan.seeds
  if reads <= plan.rows:
    return f"{reads:,} outputs are read, and {plan.rows:,} would be made"
  folder = pathlib.Path(plan.path)
  while not folder.exists():
    folder = folder.parent
  free = shutil.disk_usage(folder).free
  if plan.size > SHARE_OF_DISK * free:
    return f"it has {plan.size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
  return ""


def estimate(stage: Stage, plan: Plan, seconds: float) -> str:
  """A line with the size of a cache, the time to make it and the time saved.

  Args:
    stage: its terms may read the teacher.
    plan: of the cache.
    seconds: that the teacher takes for a batch.
  """
  batch = stage.config["batch_size"]
  making = math.ceil(plan.rows / batch) * seconds
  online = stage.config["steps"] * plan.seeds * seconds
  return (
    f"cache of '{plan.teacher}': {len(plan.order.source):,} examples x"
    f" {plan.manifest.augmentations} views, {plan.size / 1e6:,.1f} MB;"
    f" takes about {making:.0f} s to make and saves {online:.0f} s"
  )


def seconds_per_call(program: Callable, batch: tuple, rounds: int = 3) -> float:
  """The shortest time of some calls of a program, after compilation."""
  jax.block_until_ready(program(*batch))
  times = []
  for _ in range(rounds):
    start = time.perf_counter()
    jax.block_until_ready(program(*batch))
    times.append(time.perf_counter() - start)
  return min(times)


def stored_name(key: str) -> str:
  """The name of an output in a cache, from its key in a batch."""
  address = Address.parse(key.removeprefix(PRECOMPUTED))
  view = f"@{address.view}" if address.view else ""
  return f"{address.output}{view}"


def batch_key(teacher: str, stored: str) -> str:
  """The key of an output in a batch, from its name in a cache."""
  output, _, view = stored.partition("@")
  return f"{PRECOMPUTED}{Address(teacher, view, output)}"


def _teacher_hash(stage: Stage, name: str, fixed: Fixed) -> str:
  """A hash of a teacher's parameters, options and dtype."""
  dtype = jnp.dtype(stage.objective.teachers[name].dtype).name
  result = hash_of(fixed.teachers[name])
  teacher = stage.config["teachers"][name]
  network = teacher.get("frozen") or teacher.get("part")
  if network:
    # Several teachers may share a checkpoint, with different pooling.
    options = {key: network[key] for key in network if key != "cache"}
    text = json.dumps({**options, "pretrained": None}, sort_keys=True)
    result += hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
  return result if dtype == "float32" else f"{result}-{dtype}"


def _views(stage: Stage, name: str) -> int:
  """The number of views of an example that a teacher sees."""
  count = stage.config["data"]["augmentations"]
  if stage.partners and stage.config["data"]["sampling"] in REPEATING:
    raise UserError(
      f"The teacher '{name}' sees mixed examples that are drawn with"
      " replacement: the number of different mixtures is not limited.",
      "To cache it, use data.sampling='uniform' or mix no examples.",
    )
  if count:
    return count
  if programs.is_augmented(stage, name):
    raise UserError(
      f"The teacher '{name}' sees another augmentation of each example in every"
      " epoch; a cache needs a fixed number.",
      "Set data.augmentations to this number; they are used in turn.",
    )
  return 1


def _augmentation(stage: Stage, name: str) -> str:
  """The pipelines of the modalities that a teacher reads, as text."""
  parts = stage.once.texts(stage.objective.teachers[name].reads)
  views = programs.teacher_views(stage, name)
  for view, pipelines in sorted(views.pipelines.items()):
    parts += [f"{view}: {key}: {one}" for key, one in sorted(pipelines.items())]
  for further in (views.drops, views.generated):
    parts += [f"{view}: {one}" for view, one in sorted(further.items())]
  return "; ".join(parts)


def _data_fingerprint(stage: Stage, name: str, order: TrainFeed) -> str:
  """A fingerprint of the examples as a teacher sees them."""
  keys = [*stage.objective.teachers[name].reads, "index"]
  keys = [key for key in keys if key in stage.spec]
  # Before the view "once", whose floats differ between CPUs in the last digit.
  source = getattr(order.source, "raw", order.source)
  # The labels may differ between seeds; the teacher does not see them.
  parts = [
    digest(*(source.columns[key] for key in keys))
    if isinstance(source, ArraySource)
    else source.fingerprint
  ]
  if order.partners:
    parts += [hash_of(list(pool)) for pool in order.pools]
  return "-".join(parts)


def _outputs(
  stage: Stage, name: str, fixed: Fixed, store: str | Mapping[str, str]
) -> dict[str, Output]:
  """The stored outputs of an example: name -> shape, dtype and codec."""
  shapes = jax.eval_shape(
    programs.teacher_program(stage, name), (), fixed, stage.example()
  )
  leaves = {stored_name(key): leaf for key, leaf in shapes.items()}
  if isinstance(store, str):
    store = dict.fromkeys(leaves, store)
  for output in store:
    if output not in leaves:
      raise UserError(
        f"`store` names a codec for '{output}' of '{name}', which no term"
        " reads.",
        exists=leaves,
        near=output,
      )
  # A mask of positions is kept as it is.
  codec = lambda output, leaf: (
    "float32" if leaf.dtype == bool else store.get(output, "float32")
  )
  return {
    output: Output(leaf.shape[1:], leaf.dtype.name, codec(output, leaf))
    for output, leaf in leaves.items()
  }
