"""MNIST: 70,000 handwritten digits, 28x28 grey pixels.

55,000 / 5,000 / 10,000: validation is the last 5,000 of the 60,000 training
images. Read from the four idx files in root/mnist, or from TFDS.

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 1998.
"""

import jax
import numpy as np

from kdjax.data import _mnist, _options, _subset
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.types import Spec

# Of the files, for the cards of students that were trained on them.
LICENCE = "CC BY-SA 3.0, as usually stated"

# All seeds have the same examples.
SEED_DRAWS = False


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0, 1, ...

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return tuple("0123456789")


def spec(**options) -> Spec:
  """Shapes and dtypes of one example.

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return {
    "image": jax.ShapeDtypeStruct((28, 28, 1), np.uint8),
    "label": jax.ShapeDtypeStruct((), np.int32),
    "index": jax.ShapeDtypeStruct((), np.int32),
  }


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  mnist: str = "files",
  train_size: int = 0,
  validation: bool = True,
  left_out: tuple[int, ...] = (),
  limit: int = 0,
) -> ArraySource:
  """The examples of a split; `index` numbers training, then test images.

  Args:
    split: "train", "validation" or "test".
    seed: not used.
    root: the folder that holds mnist/, or the folder of TFDS data sets.
    mnist: "files" reads root/mnist/train-images-idx3-ubyte.gz and so on; "tfds"
      reads TFDS's copy in `root`, or downloads it. Its order differs, and so
      the training and validation splits and the indices.
    train_size: number of training examples, stratified by class; 0 is all.
    validation: whether the 5,000 validation images are held out. False trains
      on all 60,000, as papers do: the validation split then measures what was
      trained on, and the last variables are those to compare.
    left_out: digits of which there is no training image, as in Hinton et al.,
      "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, Section
      3; the other splits have them.
    limit: the largest size of any split, in the same way; 0 is no limit.

  Raises:
    UserError: a file is missing or broken, or `left_out` names no digit.
  """
  del seed
  for digit in left_out:
    if digit not in range(10):
      raise UserError(f"left_out has {digit!r}.", "Expected digits, 0 to 9.")
  _mnist.check(split, mnist)
  _options.check_counts(train_size=train_size, limit=limit)
  images, labels = _mnist.part(root, mnist, split)
  index = np.arange(*_mnist.ROWS[split], dtype=np.int32)
  most = train_size if split == "train" else 0
  if split == "train" and not validation:
    held = _mnist.part(root, mnist, "validation")
    images = np.concatenate([images, held[0]])
    labels = np.concatenate([labels, held[1]])
    index = np.arange(len(labels), dtype=np.int32)
  if split == "train" and left_out:
    kept = ~np.isin(labels, left_out)
    images, labels, index = images[kept], labels[kept], index[kept]
  rows = _subset.limited(labels, most, limit)
  return ArraySource(
    {
      "image": images[rows][..., None],
      "label": labels[rows],
      "index": index[rows],
    }
  )
