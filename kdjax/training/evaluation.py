"""Evaluation of a stage on a split: metrics and the student's predictions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.config import progress
from kdjax.devices.placement import Placement
from kdjax.feed import loaders
from kdjax.feed.index_stream import EvalFeed
from kdjax.stage import class_names, grids, subsets
from kdjax.stage.stage import Stage
from kdjax.step import uncertainty
from kdjax.step.state import Fixed
from kdjax.teachers import outputs
from kdjax.training.predictors import predicted
from kdjax.types import Source

# Metrics -> the names of what the student predicts, and of what is true, in
# predictions.npz. The first that a stage has is stored.
PREDICTED = {
  "classification": ("logits", "label"),
  "multilabel": ("logits", "label"),
  "regression": ("prediction", "target"),
  "captions": ("written", "reference"),
}


class SplitEvaluator:
  """Evaluates a stage on one split, any number of times.

  Args:
    stage: that is evaluated.
    placement: of the stage.
    sources: the split: [one for all seeds], or one for each seed.
    fixed: teachers and numbers of each seed, placed; set it if they stay the
      same, so that teachers outside of the step run only once.
  """

  def __init__(
    self,
    stage: Stage,
    placement: Placement,
    sources: Sequence[Source],
    fixed: Sequence[Fixed] | None = None,
  ):
    self.stage, self.placement = stage, placement
    self.task = ""  # the name of its progress; none is shown without
    size = stage.config["batch_size"]
    self.orders = [EvalFeed(source, size, stage.buckets) for source in sources]
    # Of the seed with the most examples; those of others are padded.
    self.steps = max(map(len, self.orders))
    self.feed = loaders.make(
      stage.config["data"], placement, self.orders, stage.spec
    )
    step = stage.eval_step
    if fixed is not None:
      self.feed, step = outputs.feed_and_eval_step(
        stage, placement, self.feed, fixed
      )
    self.step = self._compile(step)

  def _compile(self, step: Callable) -> Callable:
    return self.placement.compile(
      self.feed.over(step), ("state", "fixed", *self.feed.roles)
    )

  def measure(
    self,
    variables: Sequence[Any],
    fixed: Sequence[Fixed],
    step: Callable | None = None,
  ) -> list[dict[str, Any]]:
    """The metrics of each seed.

    Args:
      variables: as from `state.evaluated`, placed.
      fixed: teachers and numbers of each seed, placed.
      step: a compiled step to use instead of the stage's own.
    """
    step = step or self.step
    parts: list[list[Any]] = [[] for _ in range(self.placement.seeds)]
    batches = self.feed.batches(0, self.steps)
    named = {"unit": "batches", "shown": bool(self.task)}
    for batch in progress.tracked(batches, self.task, self.steps, **named):
      fetched = self.placement.fetch(step(variables, fixed, *batch))
      for of_seed, part in zip(parts, fetched, strict=True):
        of_seed.append(part)
    return [self.stage.results(self._total(of_seed)) for of_seed in parts]

  def robustness(
    self, variables: Sequence[Any], fixed: Sequence[Fixed]
  ) -> dict[str, dict[str, Any]]:
    """The metrics at every level of every corruption of the stage.

    Returns:
      corruption -> {"levels": [..], "sweeps": the option that the levels set,
      metric: [[a value per seed] per level]}.
    """
    by_corruption: dict[str, dict[str, Any]] = {}
    for name in self.stage.corruptions:
      step = self._compile(self.stage.corrupted(name).eval_step)
      config = self.stage.config["robustness"][name]
      levels = list(config["levels"])
      by_corruption[name] = {"levels": levels, "sweeps": config["sweeps"]}
      for level in levels:
        results = self._at_level(level, variables, fixed, step)
        for metric, values in results.items():
          by_corruption[name].setdefault(metric, []).append(values)
    return by_corruption

  def subsets(
    self, variables: Sequence[Any], fixed: Sequence[Fixed]
  ) -> dict[str, dict[str, list[float]]]:
    """The metrics on every subset of modalities of the stage.

    Returns:
      subset, such as "image+audio" -> {metric: a value per seed}.
    """
    measurable = subsets.measurable(self.stage)
    if not measurable:
      return {}
    step = self._compile(subsets.eval_step(self.stage))
    return {
      subsets.name_of(subset): self._at_level(
        subsets.level_of(self.stage, subset), variables, fixed, step
      )
      for subset in measurable
    }

  def _at_level(
    self, level: float, variables, fixed, step: Callable
  ) -> dict[str, list[float]]:
    """The metrics of each seed, with the batch's `level`."""
    for order in self.orders:
      order.constants = {"level": level}
    results = by_metric(self.measure(variables, fixed, step))
    for order in self.orders:
      order.constants = {}
    return results

  def _total(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The results of all batches, added up or concatenated."""

    def add(*leaves):
      # Sums over many batches are too large for float32.
      return np.sum([np.asarray(leaf, np.float64) for leaf in leaves], axis=0)

    concatenate = lambda *leaves: np.concatenate(leaves)
    measured = self.stage.measured
    adds = lambda name: name not in measured or measured[name].adds
    return {
      name: jax.tree.map(
        add if adds(name) else concatenate, *(part[name] for part in parts)
      )
      for name in parts[0]
    }


def by_metric(results: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
  """The metrics that are single numbers: {metric: a value per seed}."""
  return {
    name: [float(of_seed[name]) for of_seed in results]
    for name, value in results[0].items()
    if np.ndim(value) == 0
  }


def losses(
  stage: Stage,
  step: int,
  results: Sequence[Mapping[str, Any]],
  learned: Sequence[Mapping[str, float]],
) -> list[float]:
  """The objective on a split, of each seed and point.

  Args:
    stage: that is evaluated.
    step: number of its completed steps.
    results: the metrics.
    learned: term -> log variance, where weights are learned.
  """
  weights = grids.term_weights(
    stage.config["grid"], stage.weights(step - 1), len(results)
  )
  return list(map(uncertainty.total, weights, results, learned))


def predict(
  stage: Stage,
  variables: Sequence[Mapping[str, Any]],
  fixed: Sequence[Fixed],
  source: Source,
  task: str = "",
) -> dict[str, np.ndarray]:
  """The student's predictions on every example of a split.

  Args:
    stage: of the student.
    variables: of each seed, as from `state.evaluated`.
    fixed: teachers and numbers of each seed.
    source: the split.
    task: the name of the progress that is shown; none is without.

  Returns:
    logits [S N ..] and label [N ..], of classes or of several labels;
    prediction [S N ..] and target [N ..]; or written [S N L] and reference
    [N ..], ids of texts. index [N], where the data has one. {} where the stage
    has no metrics of `PREDICTED`.
  """
  family = next((it for it in PREDICTED if it in stage.measured), "")
  if not family:
    return {}
  output, truth = PREDICTED[family]
  label = class_names.label_of(stage.config["metrics"][family]["reads"])
  named = {"index": "index", label: truth}
  apply = jax.jit(lambda *arguments: predicted(stage, family, *arguments))
  columns: dict[str, list] = {}
  # Whole texts without buckets: all batches become one array.
  feed = EvalFeed(source, stage.config["batch_size"])
  numbers = progress.tracked(
    range(len(feed)), task, unit="batches", shown=bool(task)
  )
  for batch in map(feed.batch, numbers):
    valid = batch["valid"]
    rows = [
      np.asarray(apply(*of_seed, batch))[valid]
      for of_seed in zip(variables, fixed, strict=True)
    ]
    columns.setdefault(output, []).append(np.stack(rows))
    for key, name in named.items():
      if key in batch:
        columns.setdefault(name, []).append(batch[key][valid])
  return {
    key: np.concatenate(parts, axis=1 if key == output else 0)
    for key, parts in columns.items()
  }
