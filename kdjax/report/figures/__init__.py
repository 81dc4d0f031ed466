"""Figures of the report, one per file, found by listing this folder.

To add a figure, create `mine.py` here; no other file changes. It defines:

  ORDER                   an int; figures are on the page in this order
  mine(record, results)   a function with the file's name; returns a `Drawing`

`record` is a `records.Record`: config, results of the finished stages, curves
of metrics.jsonl and predictions on the test split. `results` is what
`report.summarize` returns. The function returns `document.Drawing.of(title,
caption, paint)`, where `paint(theme)` returns a matplotlib figure from
`theme.figure` in the colours of the theme. It is called for a wide page and for
a telephone: the figure gets the width of the theme, and `paint` may place its
panels by `theme.narrow`. No text is smaller than `theme.SMALL`. On the page the
figure is an SVG whose colours are light or dark; shades of a colour have an
alpha, since a mixed colour is the same on both. The files `figures/mine.png`
and `figures/mine.svg` of the workdir are those of a wide, light page.

If the run lacks the figure's input, the function raises
`document.AbsentError(sentence)`. The page lists the sentence under "Left out";
an empty one is not listed.

Files that start with an underscore are shared by several figures. Figures may
also be in a folder outside of the package: append the folder to
`kdjax.report.figures.__path__`.
"""

import importlib
import pkgutil
from collections.abc import Callable

from kdjax.errors import UserError


def find() -> dict[str, Callable]:
  """The function of each figure by name, in the order of the page.

  Raises:
    UserError: a file does not define `ORDER` or its function.
  """
  modules = {
    it.name: importlib.import_module(f"{__name__}.{it.name}")
    for it in pkgutil.iter_modules(__path__)
    if not it.name.startswith("_")
  }
  for name, module in modules.items():
    for entry in ("ORDER", name):
      if not hasattr(module, entry):
        raise UserError(
          f"The figure '{name}' ({module.__file__}) defines no '{entry}'.",
          "See `help(kdjax.report.figures)`.",
        )
  order = sorted(modules, key=lambda name: (modules[name].ORDER, name))
  return {name: getattr(modules[name], name) for name in order}
