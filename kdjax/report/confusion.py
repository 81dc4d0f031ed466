"""The figure of what is mistaken for what."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from kdjax import registry
from kdjax.config import fields
from kdjax.errors import UserError
from kdjax.report.records import Predictions, Record
from kdjax.report.theme import (
  AbsentError,
  Drawing,
  Theme,
  colour,
  figure,
  pale,
  plain,
)

# Classes up to which the cells have numbers, and the axes names.
NUMBERED, NAMED = 20, 60

# Mistakes in the list beside it.
LISTED = 10


def confusion(record: Record, results: dict[str, Any]) -> Drawing:
  """Which class the last finished stage takes for which."""
  finished = list(results["stages"])
  kept = record.predictions(finished[-1]) if finished else None
  if kept is None or not has_classes(kept):
    raise AbsentError(
      "Confusion: no classes in predictions.npz of the last stage."
    )
  stage = finished[-1]
  counted = counts(kept)
  rows = counted.sum(axis=1, keepdims=True)
  # A class without examples has no shares; its row stays empty.
  shares = counted / np.maximum(rows, 1)
  names = class_names(record, len(counted))

  def draw(theme: Theme) -> Figure:
    canvas = figure(4.6)
    left, right = canvas.subplots(1, 2, width_ratios=[1.5, 1])
    tint = colour(record, stage, theme)
    _matrix(left, shares, names, tint, theme)
    _mistakes(right, shares, names, tint, theme)
    return canvas

  seeds = f"{len(kept.logits)} seed{'s' * (len(kept.logits) > 1)}"
  caption = (
    f"{stage} on the test split, counted over {seeds}: of the examples of a "
    "true class (row), the percentage that is given each class (column)."
  )
  return Drawing.of("confusion", f"Confusion of {stage}", caption, draw)


def class_names(record: Record, classes: int) -> list[str]:
  """What the labels stand for: the data set's words, or else numbers."""
  name, options = data_options(record)
  try:
    names = registry.find("data", name).class_names(**options)
  except (UserError, ImportError, AttributeError):
    # A data set from outside may be gone from this machine, or have no names.
    names = ()
  return [*names] if len(names) == classes else [*map(str, range(classes))]


def data_options(
  record: Record, stage: str | None = None
) -> tuple[str, dict[str, Any]]:
  """The data set of a run, or of one of its stages, and its options."""
  options = dict(record.config["data"])
  if stage is not None:
    options |= record.config["stages"][stage]["data"]
  # JSON has lists where a config has tuples.
  return options["name"], {
    key: tuple(value) if isinstance(value, list) else value
    for key, value in options.items()
    # The others are of the batches, and no options of the data set.
    if key not in fields.RESERVED["data"]
  }


def has_classes(kept: Predictions) -> bool:
  """Whether predictions are scores of classes, with labels to hold against."""
  scores = kept.logits.ndim == 3 and kept.logits.shape[-1] > 1
  whole = kept.label.ndim == 1 and kept.label.dtype.kind in "iu"
  return bool(scores and whole and (kept.label >= 0).any())


def counts(kept: Predictions) -> Int[np.ndarray, "K K"]:
  """How often a true class (row) is given each class, over all seeds."""
  classes = kept.logits.shape[-1]
  found = np.zeros((classes, classes), np.int64)
  known = kept.label >= 0
  for logits in kept.logits:
    np.add.at(found, (kept.label[known], logits.argmax(-1)[known]), 1)
  return found


def _matrix(
  axes: Axes,
  shares: Float[np.ndarray, "K K"],
  names: list[str],
  tint: str,
  theme: Theme,
) -> None:
  shades = LinearSegmentedColormap.from_list("", [theme.background, tint])
  # The few mistakes are what is looked for: they are shown darker than linear.
  axes.imshow(shares, cmap=shades, norm=PowerNorm(0.6, 0, 1))
  axes.set(xlabel="predicted", ylabel="true", xticks=[], yticks=[])
  if len(names) <= NAMED:
    turn = 90 if max(map(len, names)) > 3 else 0
    axes.set_xticks(range(len(names)), names, rotation=turn)
    axes.set_yticks(range(len(names)), names)
  if len(names) <= NUMBERED:
    for (row, column), share in np.ndenumerate(shares):
      axes.text(
        column,
        row,
        _percent(share) if share else "",
        ha="center",
        va="center",
        fontsize=9,
        color=theme.background if share > 0.4 else theme.ink,
      )
  axes.set_anchor("N")
  plain(axes, theme, title="percent of a row")
  for spine in axes.spines.values():
    spine.set(visible=True, color=theme.line)


def _mistakes(
  axes: Axes,
  shares: Float[np.ndarray, "K K"],
  names: list[str],
  tint: str,
  theme: Theme,
) -> None:
  """The largest cells off the diagonal, which many classes would hide."""
  wrong = shares * (1 - np.eye(len(names)))
  largest = np.argsort(-wrong, axis=None, kind="stable")[:LISTED]
  cells = [divmod(int(cell), len(names)) for cell in largest]
  cells = [cell for cell in cells if wrong[cell] > 0]
  values = [wrong[cell] for cell in cells]
  axes.barh(range(len(cells)), values, height=0.62, color=pale(tint, theme))
  for place, value in enumerate(values):
    axes.annotate(
      f"{_percent(value)} %",
      (value, place),
      xytext=(5, 0),
      textcoords="offset points",
      va="center",
      color=theme.ink,
      fontsize=9,
    )
  words = [f"{names[row]} as {names[column]}" for row, column in cells]
  axes.set_yticks(range(len(cells)), words)
  axes.set(xticks=[], ylim=(LISTED - 0.5, -0.5))
  plain(axes, theme, title="most frequent mistakes")
  axes.tick_params(axis="y", colors=theme.ink)


def _percent(share: float) -> str:
  """Never 0 for what happens, nor 100 for what does not always."""
  whole = round(100 * share)
  if share > 0 and whole == 0:
    return "<1"
  return ">99" if share < 1 and whole == 100 else str(whole)
