"""Embeddings of teacher and student in two dimensions."""

from typing import Any

import numpy as np

from kdjax.report.document import Drawing
from kdjax.report.figures import _inspected
from kdjax.report.records import Record
from kdjax.report.theme import Theme, style_axes

ORDER = 76

CAPTION = (
  "Embeddings of validation examples by PCA (with the share of the variance) "
  "and by t-SNE. Colours are classes, the eight most frequent ones; grey are "
  "others and unlabelled examples. Distances between clusters of t-SNE have "
  "no meaning."
)

# Classes with a colour.
COLOURED = 8


def inspect_projection(record: Record, results: dict[str, Any]) -> Drawing:
  """A row for PCA and one for t-SNE, a column for each network."""
  del results
  title = "Features in two dimensions"
  return _inspected.draw(record, "projection", title, CAPTION, _height, _paint)


def _height(found, theme: Theme) -> float:
  if theme.narrow:
    return 0.6 + 2.4 * 2 * len(found["networks"])
  return 7.4


def _paint(canvas, found, theme: Theme) -> None:
  networks = [*found["networks"]]
  across = _inspected.columns(theme, len(networks))
  panels = canvas.subplots(
    2 * len(networks) // across, across, squeeze=False
  ).flatten()
  cells = [(way, name) for way in ("pca", "tsne") for name in networks]
  for axes, (way, name) in zip(panels, cells, strict=True):
    _points(axes, found, f"{name}/{way}", theme)
    title = f"{name}, t-SNE"
    if way == "pca":
      share = 100 * found[f"{name}/share"].sum()
      title = f"{name}, PCA ({share:.0f} %)"
    axes.set(xticks=[], yticks=[])
    style_axes(axes, theme, title=title)
    for spine in axes.spines.values():
      spine.set(visible=True, color=theme.line)
  handles, labels = panels[0].get_legend_handles_labels()
  if labels:
    canvas.legend(
      handles,
      labels,
      loc="outside lower center",
      ncols=_inspected.columns(theme, COLOURED, 3),
      frameon=False,
      labelcolor=theme.ink,
      fontsize=8.5,
      handletextpad=0.1,
      columnspacing=1,
    )


def _points(axes, found, key: str, theme: Theme) -> None:
  label, classes = found["label"], found["classes"]
  counts = np.bincount(label[label >= 0]) if (label >= 0).any() else []
  most = [int(it) for it in np.argsort(-np.asarray(counts))[:COLOURED]]
  rest = ~np.isin(label, most)
  places = found[key]
  axes.scatter(*places[rest].T, s=8, color=theme.muted, alpha=0.4, linewidths=0)
  for number, label_of in enumerate(sorted(most)):
    name = classes[label_of] if label_of < len(classes) else label_of
    rows = label == label_of
    axes.scatter(
      *places[rows].T,
      s=11,
      color=theme.stages[number],
      linewidths=0,
      label=str(name)[:16],
    )
