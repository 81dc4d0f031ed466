"""MNIST: 70,000 handwritten digits, 28x28 grey pixels.

55,000 / 5,000 / 10,000: validation is the last of the 60,000 for training. By
default they are read from the four idx files in root/mnist.

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 1998.
"""

import jax
import numpy as np

from kdjax.data import _mnist, _options, _subset
from kdjax.feed.sources import ArraySource
from kdjax.types import Spec

# All seeds have the same examples.
SEED_DRAWS = False


def class_names(**options) -> tuple[str, ...]:
  """What label 0, 1, ... stands for.

  Args:
    **options: those of `load`; none changes it.
  """
  _options.chosen(load, options)
  return tuple("0123456789")


def spec(**options) -> Spec:
  """What one example holds.

  Args:
    **options: those of `load`; none changes it.
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
  limit: int = 0,
) -> ArraySource:
  """The examples of a split; `index` is the place in training, then in test.

  Args:
    split: "train", "validation" or "test".
    seed: draws nothing here.
    root: the folder that holds mnist/, or the one of TFDS's data sets.
    mnist: "files" are root/mnist/train-images-idx3-ubyte.gz and so on; "tfds"
      is TFDS's copy in `root`, which has another order, and so other splits
      of training and other indices. It is downloaded where it is not there.
    train_size: how many examples train, of every class its share; 0 is all.
    limit: likewise, the most that any split has.

  Raises:
    UserError: a file is missing, or is not what it should be.
  """
  del seed
  _mnist.check(split, mnist)
  _options.check_counts(train_size=train_size, limit=limit)
  images, labels = _mnist.part(root, mnist, split)
  most = train_size if split == "train" else 0
  rows = _subset.limited(labels, most, limit)
  index = np.arange(*_mnist.ROWS[split], dtype=np.int32)
  return ArraySource(
    {
      "image": images[rows][..., None],
      "label": labels[rows],
      "index": index[rows],
    }
  )
