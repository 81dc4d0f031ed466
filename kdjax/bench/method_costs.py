"""What each published method reads, learns, stores and costs.

Each method is applied to a small pair of networks of its kind. Its last stage
is traced, and timed in turns with the student alone. `kdjax list methods
--measure` stores the result.
"""

import re
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from kdjax import config, registry
from kdjax.config import progress
from kdjax.config.fields import ConfigDict
from kdjax.stage import build
from kdjax.stage.stage import Stage
from kdjax.training import workdir

# Rounds, each of which runs some steps of every method.
ROUNDS, STEPS = 15, 4

CLASSES, WORDS = 10, 17

VIEWS = ("strong", "rotate90", "rotate180", "rotate270", "masked")

# The stage of the student without a teacher.
ALONE = "alone"


def networks(kind: str) -> tuple[ConfigDict, ConfigDict]:
  """A small student and a larger teacher.

  Args:
    kind: from `config.kind_of`.
  """
  network = config.network
  if kind == "classes":
    make = lambda width: network(
      "conv", widths=(width, 2 * width), num_classes=CLASSES
    )
    return make(8), make(32)
  if kind == "transformers":
    make = lambda width, depth: network(
      "patch_transformer",
      width=width,
      depth=depth,
      heads=2,
      num_classes=CLASSES,
    )
    return make(16, 2), make(32, 4)
  if kind == "writers":
    make = lambda width: network(
      "encoder_decoder",
      encoders={"image": network("conv", widths=(width, 2 * width))},
      vocabulary=WORDS,
      width=2 * width,
    )
    return make(8), make(16)
  make = lambda width: network(
    "two_tower",
    encoders={
      "image": network("conv", widths=(width, 2 * width)),
      "text": network("text_transformer", vocabulary=WORDS, width=width),
    },
    width=2 * width,
    num_classes=CLASSES,
  )
  return make(8), make(24)


def experiment(kind: str, names: Sequence[str]) -> ConfigDict:
  """Stages of a teacher, the student alone, and methods.

  Args:
    kind: of all the methods, from `config.kind_of`.
    names: of the methods.
  """
  student, larger = networks(kind)
  reads = {"label": "batch/text" if kind == "writers" else "batch/label"}
  labels = {"cross_entropy": config.term("cross_entropy", reads=reads)}
  alone = config.stage(student, terms=labels)
  teachers = {"teacher": config.teacher("teacher")}
  base = config.extended(alone, {}, teachers=teachers)
  stages = {"teacher": config.stage(larger, terms=labels), ALONE: alone}
  for name in names:
    stages |= config.method(name, base)
  return config.experiment(
    kind,
    data=config.data("digits", labels_per_class=0, views=VIEWS),
    stages=stages,
  )


def describe(stage: Stage) -> dict[str, Any]:
  """Traces a method's last stage.

  Returns:
    {reads: the outputs that its terms read, learns: how many parameters its
    heads and networks other than the student have, keeps: how many numbers
    their memories hold, sees: "example" or "batch"}.
  """
  state, _, _ = stage.shapes()
  size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  other_networks = {
    name: tree
    for name, tree in state.params["networks"].items()
    if name != "student"
  }
  reads, sees = set(), "example"
  terms = stage.objective.terms
  for term in terms:
    for argument in term.reads:
      reads |= {
        "parameters" if at.output.startswith("params/") else at.output
        for at in term.addresses(argument)
        if at.network != "heads"
      }
    result = registry.describe(
      "losses", stage.config["terms"][term.name]["loss"]
    )
    if term.gathered or re.search(r"\[Array, ['\"]{2}\]", result.result):
      sees = "batch"
  return {
    "reads": sorted(reads),
    "learns": size(state.params["heads"]) + size(other_networks),
    "keeps": sum(
      size(tree.get("memory", {}))
      for tree in state.collections["heads"].values()
    ),
    "sees": sees,
  }


def measure(names: Sequence[str]) -> dict[str, Any]:
  """Traces and times methods; all of a kind take turns.

  Args:
    names: of methods.

  Returns:
    {"device": .., "methods": {name: {.., stages, step}}}: see `describe`;
    `step` is the median time of a step divided by that of the student alone.
  """
  measured = {}
  for kind in dict.fromkeys(map(config.kind_of, names)):
    chosen = [name for name in names if config.kind_of(name) == kind]
    plain = workdir.resolve(experiment(kind, chosen))
    stages = {name: build.build(plain, name) for name in (ALONE, *chosen)}
    named = {"unit": f"methods of {kind}", "bar": False}
    compiled = progress.tracked(stages.items(), "compiling", **named)
    times = _times({name: _runner(it) for name, it in compiled})
    for name in chosen:
      measured[name] = {
        **describe(stages[name]),
        "stages": sum(
          bool(re.fullmatch(rf"{name}(-\d+)?", it)) for it in plain["order"]
        ),
        "step": round(times[name] / times[ALONE], 2),
      }
  device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
  return {"device": device, "methods": dict(sorted(measured.items()))}


def _runner(stage: Stage):
  """A compiled function that runs some steps."""
  teachers = jax.tree.map(
    lambda leaf: np.ones(leaf.shape, leaf.dtype) * 0.01, stage.teacher_shapes()
  )
  fixed = stage.fixed(teachers)
  batch = stage.train_feed(stage.load("train", 0), 0).batch(0)
  step = jax.jit(stage.train_step)
  state, _ = step(jax.jit(stage.init)(0, fixed), fixed, batch)

  def run():
    current = state
    for _ in range(STEPS):
      current, _ = step(current, fixed, batch)
    jax.block_until_ready(current)

  run()
  return run


def _times(runners: dict[str, Any]) -> dict[str, float]:
  """The median seconds of each runner, all in turns."""
  seconds: dict[str, list[float]] = {name: [] for name in runners}
  turns = [*runners.items()] * ROUNDS
  named = {"unit": "measurements", "bar": False}
  for name, run in progress.tracked(turns, "methods", **named):
    start = time.perf_counter()
    run()
    seconds[name].append(time.perf_counter() - start)
  return {name: float(np.median(values)) for name, values in seconds.items()}
