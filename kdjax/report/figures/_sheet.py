"""Test examples of a run as images with lines of text beside or below them."""

import inspect
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from kdjax import registry
from kdjax.report.document import AbsentError
from kdjax.report.figures._classes import data_options
from kdjax.report.records import Record

# The most pixels of an image's side on the page.
PIXELS = 160

# In inches.
IMAGE, LINE_HEIGHT = 1.25, 0.165

# Of text, in points.
TEXT = 8.5


def load(
  title: str,
  record: Record,
  stage: str,
  index: Int[np.ndarray, "N"],
  shown: Int[np.ndarray, "M"],
) -> tuple[dict[str, np.ndarray], Any, dict[str, Any]]:
  """Some rows of the test split, the data set, and its options.

  Args:
    title: of the figure, for messages.
    record: of the run.
    stage: whose data they are.
    index: of all predictions.
    shown: positions among the predictions.

  Raises:
    AbsentError: the data set does not load.
  """
  name, options = data_options(record, stage)
  try:
    data = registry.find("data", name)
    source = data.load("test", seed=None, **options)
    return _take(source, index, shown), data, options
  except Exception as error:
    # A data set is anybody's code and may be missing on this machine. The rest
    # of the report does not need it.
    raise AbsentError(
      f"{title}: the data set '{name}' does not load ({error})."
    ) from error


def images_of(columns: dict[str, np.ndarray]) -> np.ndarray | None:
  """The images of the rows, from 0 to 1 on one scale; None without them."""
  images = columns.get("image")
  if images is None or np.ndim(images) not in (3, 4):
    return None
  return _scaled(np.asarray(images))


def hints(data: Any, options: dict[str, Any], index) -> list[str]:
  """The hint of each example, or "" if the data set defines no `hints`."""
  if not hasattr(data, "hints"):
    return [""] * len(index)
  accepted = inspect.signature(data.hints).parameters
  found = data.hints(
    **{key: value for key, value in options.items() if key in accepted}
  )
  return [found[at] for at in index]


def cut(line: str, width: int) -> str:
  """A line of at most `width` characters."""
  return line if len(line) <= width else f"{line[: width - 1]}…"


def draw(axes, image: np.ndarray) -> None:
  """Draws an image from `images_of`."""
  axes.set_axis_off()
  # As it is: the page enlarges it.
  axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="none")


def _take(source, index, shown) -> dict[str, np.ndarray]:
  """Records by the index of their predictions, in any order of the source."""
  if max(shown) < len(source):
    columns = source.take(shown)
    if np.array_equal(columns["index"], index[shown]):
      return columns
  all_indices = source.take(np.arange(len(source)))["index"]
  position_of = {int(value): at for at, value in enumerate(all_indices)}
  positions = [position_of[int(value)] for value in index[shown]]
  return source.take(np.asarray(positions))


def _scaled(images: np.ndarray) -> Float[np.ndarray, "M ..."]:
  """Images from 0 to 1, all on the same scale."""
  low, high = float(images.min()), float(images.max())
  if images.dtype == np.uint8:
    low, high = 0.0, 255.0
  elif low >= 0 and high <= 1:
    low, high = 0.0, 1.0
  images = (images.astype(np.float64) - low) / max(high - low, 1e-12)
  colours = images.ndim == 4 and images.shape[-1] in (3, 4)
  # Channels that are no colours, such as spectra, are averaged.
  images = images if colours or images.ndim == 3 else images.mean(-1)
  # Every so many pixels: the page does not show more.
  every = max(1, -(-max(images.shape[1:3]) // PIXELS))
  return images[:, ::every, ::every]
