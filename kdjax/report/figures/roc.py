"""ROC and precision-recall curves of each stage."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from kdjax.report.document import AbsentError, Drawing, Grid
from kdjax.report.figures._classes import has_classes, probabilities
from kdjax.report.figures._lines import band, legend, legend_rows, panels
from kdjax.report.numbers import mean_and_std
from kdjax.report.records import Predictions, Record
from kdjax.report.selection import ranked
from kdjax.report.theme import (
  Theme,
  colour,
  figure,
  line_style,
  mean_and_error,
  style_axes,
)

ORDER = 46

# With more classes a mean over their curves says little.
CLASSES = 50

# Where the curves of classes are averaged.
POINTS = np.linspace(0, 1, 101)

# A stage's curves: seed -> position -> value, and the areas of each seed.
Curves = tuple[dict[int, dict[float, float]], list[float]]


def roc(record: Record, results: dict[str, Any]) -> Drawing:
  """A panel of ROC curves and one of precision by recall."""
  hidden = ranked(results)
  found = {}
  for stage in record.results:
    predictions = record.predictions(stage) if stage not in hidden else None
    if predictions is None or not _fits(predictions):
      continue
    if all(_tasks(predictions)):  # a split may hold examples of one class alone
      found[stage] = [_curves(predictions, kind) for kind in (_roc, _pr)]
  if not found:
    # The task has no classes, or very many.
    raise AbsentError("")

  def paint(theme: Theme) -> Figure:
    rows = legend_rows(found, theme)
    canvas = figure((6.2 if theme.narrow else 3.2) + 0.27 * rows)
    both = panels(canvas, 2, 1 if theme.narrow else 2)
    both[0].plot([0, 1], [0, 1], color=theme.muted, linewidth=1)
    for stage, curves in found.items():
      for axes, (curve, _) in zip(both, curves, strict=True):
        tint, style = colour(record, stage, theme), line_style(record, stage)
        band(axes, curve, color=tint, linestyle=style, label=stage)
    both[0].set(xlabel="false positive rate", ylabel="true positive rate")
    both[1].set(xlabel="recall", ylabel="precision")
    titles = ("ROC", "precision and recall")
    for axes, title in zip(both, titles, strict=True):
      axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
      style_axes(axes, theme, title=title, grid="both")
    legend(canvas, both, theme)
    return canvas

  caption = (
    "On the test split, one class against the others, mean over the classes "
    "(of two classes: the second). Line: mean over seeds. Band: ± one sample "
    "deviation. Areas: of the ROC curve, and average precision."
  )
  rows = [
    [stage, *(mean_and_error(mean_and_std(areas)) for _, areas in curves)]
    for stage, curves in found.items()
  ]
  table = Grid(["stage", "ROC area", "average precision"], rows)
  return Drawing.of("ROC and precision", caption, paint, tables=[table])


def _fits(predictions: Predictions) -> bool:
  """Whether the labels are a class each, or several that hold or not."""
  classes = predictions.logits.shape[-1]
  several = predictions.label.shape == predictions.logits.shape[1:]
  binary = several and np.isin(predictions.label, (-1, 0, 1)).all()
  return (has_classes(predictions) or binary) and 1 < classes <= CLASSES


def _tasks(
  predictions: Predictions,
) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
  """For each seed the binary tasks: whether it is the class, and its score."""
  label, classes = predictions.label, predictions.logits.shape[-1]
  for seed, logits in enumerate(predictions.logits):
    if label.ndim > 1:
      known = [label[:, i] >= 0 for i in range(classes)]
      tasks = [(label[at, i] == 1, logits[at, i]) for i, at in enumerate(known)]
    else:
      at = label >= 0
      scores = probabilities(predictions.logits[seed : seed + 1, at])[0]
      first = 1 if classes == 2 else 0
      tasks = [(label[at] == i, scores[:, i]) for i in range(first, classes)]
    # Without both answers there is no curve.
    yield [
      (truth, score)
      for truth, score in tasks
      if truth.any() and not truth.all()
    ]


def _curves(predictions: Predictions, kind) -> Curves:
  """The mean curve over the classes of each seed, and the mean area."""
  curve, areas = {}, []
  for seed, tasks in enumerate(_tasks(predictions)):
    lines, sizes = zip(*(kind(*task) for task in tasks), strict=True)
    curve[seed] = dict(zip(POINTS, np.mean(lines, axis=0), strict=True))
    areas.append(float(np.mean(sizes)))
  return curve, areas


def _roc(truth, score) -> tuple[Float[np.ndarray, "P"], float]:
  from sklearn import metrics

  wrong, right, _ = metrics.roc_curve(truth, score)
  return np.interp(POINTS, wrong, right), metrics.auc(wrong, right)


def _pr(truth, score) -> tuple[Float[np.ndarray, "P"], float]:
  from sklearn import metrics

  precision, recall, _ = metrics.precision_recall_curve(truth, score)
  line = np.interp(POINTS, recall[::-1], precision[::-1])
  # Its average is the sum over steps of recall, as in scikit-learn.
  return line, float(-np.sum(np.diff(recall) * precision[:-1]))
