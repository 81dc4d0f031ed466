"""CIFAR-100: 60,000 colour pictures of 32x32 pixels, 100 classes in 20 groups.

Read from lossless WebP sheets in zip files, cifar100-train-*.zip and
cifar100-test.zip in root/cifar100: one sheet a class, FFF_name_0.webp with FFF
the label, of 25 pictures a row. 45,000 / 5,000 / 10,000: the set has no
validation split, and 50 pictures a class are held out of training for it, the
same for everyone. Ten pictures are both in training and in test.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

import functools
import glob
import io
import os
import pathlib

import jax
import numpy as np

from kdjax.data import _files, _options, _subset
from kdjax.data._splits import check
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.types import Spec

# Group -> its classes. Labels are the places of the names by alphabet.
GROUPS = {
  "aquatic_mammals": "beaver dolphin otter seal whale",
  "fish": "aquarium_fish flatfish ray shark trout",
  "flowers": "orchid poppy rose sunflower tulip",
  "food_containers": "bottle bowl can cup plate",
  "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
  "household_electrical_devices": "clock keyboard lamp telephone television",
  "household_furniture": "bed chair couch table wardrobe",
  "insects": "bee beetle butterfly caterpillar cockroach",
  "large_carnivores": "bear leopard lion tiger wolf",
  "large_man-made_outdoor_things": "bridge castle house road skyscraper",
  "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
  "large_omnivores_and_herbivores": (
    "camel cattle chimpanzee elephant kangaroo"
  ),
  "medium_mammals": "fox porcupine possum raccoon skunk",
  "non-insect_invertebrates": "crab lobster snail spider worm",
  "people": "baby boy girl man woman",
  "reptiles": "crocodile dinosaur lizard snake turtle",
  "small_mammals": "hamster mouse rabbit shrew squirrel",
  "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
  "vehicles_1": "bicycle bus motorcycle pickup_truck train",
  "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}

# half of the set as published -> first index, and the first after it
_ROWS = {"train": (0, 50_000), "test": (50_000, 60_000)}

# Which pictures validate belongs to the data: no seed of a run changes it.
_VALIDATION_SEED = 100

# One of each class, or a metric of classes means nothing.
LEAST_VALIDATION = 100

_WHAT = (
  "It holds pictures of https://github.com/cyizhuo/CIFAR-100-dataset as a sheet"
  " a class. The data set tfds reads CIFAR-100 as TFDS downloads it."
)

# All seeds have the same examples.
SEED_DRAWS = False


def class_names(**options) -> tuple[str, ...]:
  """What label 0, 1, ... stands for.

  Args:
    **options: those of `load`; `coarse` alone changes it.
  """
  return names(_options.chosen(load, options)["coarse"])


def names(coarse: bool) -> tuple[str, ...]:
  """The names of the 20 groups, or of the 100 classes."""
  if coarse:
    return tuple(sorted(GROUPS))
  return tuple(sorted(" ".join(GROUPS.values()).split()))


def groups() -> np.ndarray:
  """i32 [100]: the group of each class."""
  group = {
    name: place
    for place, names_ in enumerate(GROUPS[one] for one in names(True))
    for name in names_.split()
  }
  return np.array([group[name] for name in names(False)], np.int32)


def spec(**options) -> Spec:
  """What one example holds.

  Args:
    **options: those of `load`; none changes it.
  """
  _options.chosen(load, options)
  return {
    "image": jax.ShapeDtypeStruct((32, 32, 3), np.uint8),
    "label": jax.ShapeDtypeStruct((), np.int32),
    "index": jax.ShapeDtypeStruct((), np.int32),
  }


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  coarse: bool = False,
  validation: int = 5000,
  keep_validation_in_train: bool = False,
  train_size: int = 0,
  limit: int = 0,
) -> ArraySource:
  """The examples of a split.

  `index` counts the pictures class by class, training's and then test's.

  Args:
    split: "train", "validation" or "test".
    seed: draws nothing here.
    root: the folder that holds cifar100/.
    coarse: labels are the 20 groups.
    validation: how many of the 50,000 for training validate, at least 100.
    keep_validation_in_train: they are trained on too, for recipes that train
      on all 50,000. Validation then says nothing of new pictures: take the
      last step, and choose nothing by it.
    train_size: how many examples train, of every class its share; 0 is all.
    limit: likewise, the most that any split has.

  Raises:
    UserError: a file is missing, or is not what it should be.
  """
  del seed
  check(split, 0.0)
  _options.check_counts(train_size=train_size, limit=limit)
  if not LEAST_VALIDATION <= validation < 50_000:
    raise UserError(
      f"validation={validation}.",
      f"It is {LEAST_VALIDATION} to 49999 of the 50,000; with"
      " keep_validation_in_train=True they are trained on too.",
    )
  most = train_size if split == "train" else 0
  kept = keep_validation_in_train and split == "train"
  chosen = _rows(root, split, validation, kept, most, limit)
  columns = dict(chosen)
  if coarse:
    columns["label"] = groups()[columns["label"]]
  return ArraySource(columns)


@functools.lru_cache(maxsize=4)
def _rows(
  root: str,
  split: str,
  validation: int,
  kept: bool,
  *limits: int,
) -> dict[str, np.ndarray]:
  """The columns of a split, so that every load has the same in memory."""
  half = "test" if split == "test" else "train"
  images, labels = _half(root, half)
  rows = np.arange(len(labels))
  if half == "train":
    held_out = np.zeros(len(labels), bool)
    held_out[_subset.spread(labels, _VALIDATION_SEED)[:validation]] = True
    if not kept:
      rows = rows[held_out == (split == "validation")]
  rows = rows[_subset.limited(labels[rows], *limits)]
  found = {
    "image": images if len(rows) == len(images) else images[rows],
    "label": labels[rows],
    "index": (rows + _ROWS[half][0]).astype(np.int32),
  }
  _files.readonly(*found.values())
  return found


@functools.cache
def _half(root: str, half: str) -> tuple[np.ndarray, np.ndarray]:
  """Images u8 [N 32 32 3] and labels i32 [N], as published, class by class."""
  _files.find(root, f"cifar100/cifar100-{_FIRST[half]}.zip", _WHAT)
  pattern = os.path.join(glob.escape(root), "cifar100", f"cifar100-{half}*.zip")
  sheets = [
    sheet
    for path in sorted(glob.glob(pattern))
    for sheet in _files.unzip(path, ".webp")
  ]
  first, last = _ROWS[half]
  found = np.zeros((100, (last - first) // 100, 32, 32, 3), np.uint8)
  known = set()
  for name, raw in sheets:
    stem = pathlib.PurePosixPath(name).name[:3]
    tiles = _tiles(name, raw)
    if not stem.isdecimal() or int(stem) > 99 or len(tiles) != found.shape[1]:
      raise UserError(
        f"The sheet '{name}' in '{root}/cifar100' has {len(tiles)} pictures.",
        f"It begins with its class, 000 to 099, and has {found.shape[1]}.",
      )
    known.add(int(stem))
    found[int(stem)] = tiles
  if len(known) < 100:
    raise UserError(
      f"There are sheets of {len(known)} classes in '{pattern}'.",
      f"CIFAR-100 has 100. {_WHAT}",
    )
  images = found.reshape(-1, 32, 32, 3)
  labels = np.repeat(np.arange(100, dtype=np.int32), found.shape[1])
  _files.readonly(images, labels)
  return images, labels


# The file of a half that a message names where none is there.
_FIRST = {"train": "train-0", "test": "test"}


def _tiles(name: str, raw: bytes) -> np.ndarray:
  from PIL import Image

  try:
    with Image.open(io.BytesIO(raw)) as image:
      sheet = np.asarray(image.convert("RGB"))
    tiles = sheet.reshape(-1, 32, 25, 32, 3).transpose(0, 2, 1, 3, 4)
  except (OSError, ValueError) as error:
    raise UserError(f"The sheet '{name}' cannot be read: {error}.") from error
  return tiles.reshape(-1, 32, 32, 3)
