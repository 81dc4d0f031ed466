"""MNIST at 28x28 and, as `small`, at 7x7: two resolutions of one image.

Each seed draws `train_size` of the training images. The splits are those of
`mnist`: the last 5,000 of the 60,000 are validation. `small` is the image by
bilinear interpolation with antialiasing: a triangle filter, one output pixel
wide to either side, with weights that add up to 1 also at the borders.

Lopez-Paz, Bottou, Schoelkopf and Vapnik, "Unifying distillation and privileged
information", ICLR 2016, arXiv:1511.03643, Section 6.2.
"""

import jax
import numpy as np
from jaxtyping import Float, UInt8

from kdjax.data import _mnist, _options, _subset
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.types import Spec

# Of the files, for the cards of students that were trained on them.
LICENCE = "CC BY-SA 3.0, as usually stated"

SIDE, SMALL = 28, 7

# Separates these draws from a seed's other random streams.
_SEED = 749


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0, 1, ...

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return tuple("0123456789")


def decoding(**options) -> dict[str, dict]:
  """How an image file is read, where the shape does not say it.

  Args:
    **options: of `load`; none changes it.
  """
  _options.chosen(load, options)
  return {"small": {"low": 0.0, "high": 1.0}}


def spec(**options) -> Spec:
  """Shapes and dtypes of one example.

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return {
    "image": jax.ShapeDtypeStruct((SIDE, SIDE, 1), np.uint8),
    "small": jax.ShapeDtypeStruct((SMALL, SMALL, 1), np.float32),
    "label": jax.ShapeDtypeStruct((), np.int32),
    "index": jax.ShapeDtypeStruct((), np.int32),
  }


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  mnist: str = "files",
  train_size: int = 300,
  validation: int = 1000,
  limit: int = 0,
) -> ArraySource:
  """The examples of a split; `index` numbers training, then test images.

  Args:
    split: "train", "validation" or "test".
    seed: draws the training images; None is 0.
    root: the folder that holds mnist/, or the folder of TFDS data sets.
    mnist: "files" or "tfds", as of the data set `mnist`.
    train_size: number of training images, drawn from all 55,000.
    validation: number of validation images, stratified by class; 0 is all.
    limit: the largest size of any split; 0 is no limit.

  Raises:
    UserError: a file is missing or broken.
  """
  _mnist.check(split, mnist)
  counts = {"validation": validation, "limit": limit}
  _options.check_counts(**counts)
  images, labels = _mnist.part(root, mnist, split)
  if split == "train":
    count = min(train_size, limit or train_size)
    if not 0 < count <= len(labels):
      raise UserError(
        f"train_size={train_size} is out of range.",
        f"Expected 1 to {len(labels)}.",
      )
    rng = np.random.default_rng([_SEED, seed or 0])
    rows = rng.choice(len(labels), count, replace=False)
  else:
    most = validation if split == "validation" else 0
    rows = _subset.limited(labels, most, limit)
  index = np.arange(*_mnist.ROWS[split], dtype=np.int32)
  return ArraySource(
    {
      "image": images[rows][..., None],
      "small": shrunk(images[rows])[..., None],
      "label": labels[rows],
      "index": index[rows],
    }
  )


def shrunk(images: UInt8[np.ndarray, "N 28 28"]) -> Float[np.ndarray, "N 7 7"]:
  """Images at 7x7, values 0 to 1."""
  scale = SIDE // SMALL
  centres = scale * (np.arange(SMALL) + 0.5)
  distances = np.abs(np.arange(SIDE) + 0.5 - centres[:, None])
  weights = np.maximum(0.0, 1.0 - distances / scale)
  weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
  return weights @ (images.astype(np.float32) / 255) @ weights.T
