"""The figures of a sweep: best so far, importance, parallel coordinates."""

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kdjax.config.spaces import Values
from kdjax.report.document import AbsentError, Drawing
from kdjax.report.theme import Theme, figure, style_axes
from kdjax.sweep.study import Study
from kdjax.sweep.sweeping import text


def best_so_far(study: Study, metric: str) -> Drawing:
  """The value of every trial, and the best up to it."""
  trials = [it for it in study.trials() if it.value is not None]
  complete = [it for it in trials if it.state.name == "COMPLETE"]
  if not complete:
    raise AbsentError("Best so far: no trial ran to its end.")
  pruned = [it for it in trials if it.state.name == "PRUNED"]
  best = np.maximum if study.plan.mode == "max" else np.minimum
  line = best.accumulate([it.value for it in complete])

  def paint(theme: Theme) -> Figure:
    canvas = figure(3.2)
    axes = canvas.subplots()
    axes.step(
      [it.number for it in complete], line, where="post",
      color=theme.stages[2], linewidth=1.8, label="best so far",
    )  # fmt: skip
    for of, colour, label in (
      (complete, theme.stages[0], "ran to its end"),
      (pruned, theme.muted, "pruned"),
    ):
      if not of:
        continue
      axes.scatter(
        [it.number for it in of], [it.value for it in of],
        s=22, color=colour, label=label, linewidth=0,
      )  # fmt: skip
    axes.set(xlabel="trial", ylabel=metric)
    style_axes(axes, theme, grid="y")
    axes.legend(frameon=False, labelcolor=theme.ink, fontsize=9)
    return canvas

  caption = (
    f"{metric} on validation of every trial, mean over the sweep's seeds, and"
    " the best of those that ran to their end. A pruned trial has the value"
    " that it was pruned at."
  )
  return Drawing.of("Best so far", caption, paint)


def importance(study: Study, metric: str) -> Drawing:
  """The share of the variance between trials that a key explains."""
  import optuna

  complete = [it for it in study.trials() if it.state.name == "COMPLETE"]
  values = {it.value for it in complete}
  if len(complete) < 4 or len(values) < 2 or len(study.plan.space) < 2:
    raise AbsentError(
      "Importance: it needs two keys, and four trials that ran to their end"
      " with different values."
    )
  shares = optuna.importance.get_param_importances(
    study.study,
    evaluator=optuna.importance.FanovaImportanceEvaluator(seed=study.plan.seed),
  )
  names, numbers = list(shares)[::-1], list(shares.values())[::-1]

  def paint(theme: Theme) -> Figure:
    canvas = figure(0.9 + 0.38 * len(names))
    axes = canvas.subplots()
    bars = axes.barh(names, numbers, color=theme.stages[2], height=0.6)
    axes.bar_label(
      bars, [f"{it:.2f}" for it in numbers], padding=4, color=theme.ink
    )
    axes.margins(x=0.12)
    style_axes(axes, theme)
    return canvas

  caption = (
    f"The share of the variance of {metric} on validation that each key"
    f" explains (fANOVA), over {len(complete)} trials that ran to their end."
  )
  return Drawing.of("Importance", caption, paint)


def parallel(study: Study, metric: str) -> Drawing:
  """A line for every trial through its values."""
  trials = [it for it in study.trials() if it.value is not None]
  if not trials:
    raise AbsentError("Parallel coordinates: no trial has a value.")
  space = study.plan.space
  sign = 1 if study.plan.mode == "max" else -1
  best = max(trials, key=lambda it: sign * it.value)
  results = [it.value for it in trials]
  low, high = min(results), max(results)

  def paint(theme: Theme) -> Figure:
    canvas = figure(3.8)
    axes = canvas.subplots()
    for trial in sorted(trials, key=lambda it: it is best):
      heights = [place(space[key], trial.params[key]) for key in space]
      heights.append((trial.value - low) / (high - low) if high > low else 0.5)
      chosen = trial is best
      axes.plot(
        heights,
        color=theme.stages[1] if chosen else theme.stages[4],
        alpha=1.0 if chosen else 0.15 + 0.4 * heights[-1],
        linewidth=2.4 if chosen else 1.0,
      )
    named = [key.removeprefix("terms.").replace(".", "\n") for key in space]
    names = [*named, metric]
    ends = [
      *(_ends(it) for it in space.values()),
      (f"{low:.3f}", f"{high:.3f}"),
    ]
    axes.set_xticks(range(len(names)), names)
    axes.set(yticks=[], ylim=(-0.12, 1.12))
    for at, (least, most) in enumerate(ends):
      axes.axvline(at, color=theme.line, linewidth=1, zorder=0)
      for height, label in ((-0.03, least), (1.03, most)):
        axes.text(
          at, height, label, ha="center", color=theme.muted, fontsize=8,
          va="top" if height < 0 else "bottom",
        )  # fmt: skip
    style_axes(axes, theme)
    return canvas

  caption = (
    "A line is a trial: its value on every axis of the space, and what it"
    f" reached ({metric} on validation, at the right). The thick line is the"
    " best trial."
  )
  return Drawing.of("Parallel coordinates", caption, paint)


def place(values: Values, value: Any) -> float:
  """Where a value is on its axis, 0 to 1."""
  if values.choices:
    count = len(values.choices)
    return values.choices.index(value) / (count - 1)
  scale = math.log if values.log else float
  low, high = scale(values.low), scale(values.high)
  return (scale(value) - low) / (high - low)


def _ends(values: Values) -> tuple[str, str]:
  """The ends of an axis, as text."""
  if values.choices:
    return text(values.choices[0]), text(values.choices[-1])
  return text(float(values.low)), text(float(values.high))


ALL = {"best": best_so_far, "importance": importance, "parallel": parallel}
