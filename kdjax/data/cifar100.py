"""CIFAR-100: 60,000 colour images of 32x32 pixels, 100 classes in 20 groups.

Read from lossless WebP sheets in zip files, cifar100-train-*.zip and
cifar100-test.zip in root/cifar100: one sheet a class, FFF_name_0.webp with FFF
the label, 25 images a row. 45,000 / 5,000 / 10,000: the set has no validation
split; 50 images of each class are held out of training for it, the same for all
seeds. Ten images are both in training and in test.

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

# Of the files, for the cards of students that were trained on them.
LICENCE = "none stated; research use"

# Group -> its classes by the names of their sheets: label and class name. A
# group's label is its position in sorted order.
GROUPS = {
  "aquatic_mammals": "004_beaver 030_dolphin 055_otter 072_seal 095_whale",
  "fish": "001_aquarium_fish 032_flatfish 067_ray 073_shark 091_trout",
  "flowers": "054_orchid 062_poppy 070_rose 082_sunflower 092_tulip",
  "food_containers": "009_bottle 010_bowl 016_can 028_cup 061_plate",
  "fruit_and_vegetables": (
    "000_apple 051_mushroom 053_orange 057_pear 083_sweet_pepper"
  ),
  "household_electrical_devices": (
    "022_clock 039_keyboard 040_lamp 086_telephone 087_television"
  ),
  "household_furniture": "005_bed 020_chair 025_couch 084_table 094_wardrobe",
  "insects": "006_bee 007_beetle 014_butterfly 018_caterpillar 024_cockroach",
  "large_carnivores": "003_bear 042_leopard 043_lion 088_tiger 097_wolf",
  "large_man-made_outdoor_things": (
    "012_bridge 017_castle 037_house 068_road 076_skyscraper"
  ),
  "large_natural_outdoor_scenes": (
    "023_cloud 033_forest 049_mountain 060_plain 071_sea"
  ),
  "large_omnivores_and_herbivores": (
    "015_camel 019_cattle 021_chimpanzee 031_elephant 038_kangaroo"
  ),
  "medium_mammals": "034_fox 063_porcupine 064_possum 066_raccoon 075_skunk",
  "non-insect_invertebrates": (
    "026_crab 045_lobster 077_snail 079_spider 099_worm"
  ),
  "people": "002_baby 011_boy 035_girl 046_man 098_woman",
  "reptiles": "027_crocodile 029_dinosaur 044_lizard 078_snake 093_turtle",
  "small_mammals": "036_hamster 050_mouse 065_rabbit 074_shrew 080_squirrel",
  "trees": (
    "047_maple_tree 052_oak_tree 056_palm_tree 059_pine_tree 096_willow_tree"
  ),
  "vehicles_1": "008_bicycle 013_bus 048_motorcycle 058_pickup_truck 090_train",
  "vehicles_2": "041_lawn_mower 069_rocket 081_streetcar 085_tank 089_tractor",
}

# published half of the set -> first index, and the first after it
_ROWS = {"train": (0, 50_000), "test": (50_000, 60_000)}

# The validation images belong to the data: no seed of a run changes them.
_VALIDATION_SEED = 100

# One image of each class, so that metrics over classes are defined.
LEAST_VALIDATION = 100

_WHAT = (
  "It holds images of https://github.com/cyizhuo/CIFAR-100-dataset, one sheet a"
  " class. The data set 'tfds' reads CIFAR-100 as TFDS downloads it."
)

# All seeds have the same examples.
SEED_DRAWS = False


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0, 1, ...

  Args:
    **options: of `load`; `coarse` alone changes them.
  """
  return names(_options.chosen(load, options)["coarse"])


def names(coarse: bool) -> tuple[str, ...]:
  """The names of the 20 groups, or of the 100 classes."""
  if coarse:
    return tuple(sorted(GROUPS))
  sheets = sorted(" ".join(GROUPS.values()).split())
  return tuple(sheet.partition("_")[2] for sheet in sheets)


def groups() -> np.ndarray:
  """i32 [100]: the group of each class."""
  labels = np.empty(100, np.int32)
  for number, group in enumerate(names(True)):
    for sheet in GROUPS[group].split():
      labels[int(sheet.partition("_")[0])] = number
  return labels


def spec(**options) -> Spec:
  """Shapes and dtypes of one example.

  Args:
    **options: of `load`; none changes them.
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

  `index` numbers the images class by class, training, then test.

  Args:
    split: "train", "validation" or "test".
    seed: not used.
    root: the folder that holds cifar100/.
    coarse: labels are the 20 groups.
    validation: number of validation images, 100 or more of the 50,000 for
      training.
    keep_validation_in_train: validation images are training images, too, for
      recipes that train on all 50,000. Validation then does not measure
      generalisation: evaluate the last step, and select nothing by it.
    train_size: number of training examples, stratified by class; 0 is all.
    limit: the largest size of any split, in the same way; 0 is no limit.

  Raises:
    UserError: a file is missing or broken.
  """
  del seed
  check(split, 0.0)
  _options.check_counts(train_size=train_size, limit=limit)
  if not LEAST_VALIDATION <= validation < 50_000:
    raise UserError(
      f"validation={validation} is out of range.",
      f"Expected {LEAST_VALIDATION} to 49999 of the 50,000; with"
      " keep_validation_in_train=True these are training images, too.",
    )
  most = train_size if split == "train" else 0
  kept = keep_validation_in_train and split == "train"
  columns = dict(_rows(root, split, validation, kept, most, limit))
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
  """The columns of a split, shared in memory by all loads."""
  half = "test" if split == "test" else "train"
  images, labels = _half(root, half)
  rows = np.arange(len(labels))
  if half == "train":
    held_out = np.zeros(len(labels), bool)
    held_out[_subset.spread(labels, _VALIDATION_SEED)[:validation]] = True
    if not kept:
      rows = rows[held_out == (split == "validation")]
  rows = rows[_subset.limited(labels[rows], *limits)]
  columns = {
    "image": images if len(rows) == len(images) else images[rows],
    "label": labels[rows],
    "index": (rows + _ROWS[half][0]).astype(np.int32),
  }
  _files.readonly(*columns.values())
  return columns


@functools.cache
def _half(root: str, half: str) -> tuple[np.ndarray, np.ndarray]:
  """Images u8 [N 32 32 3] and labels i32 [N] of a half, class by class."""
  _files.find(root, f"cifar100/cifar100-{_FIRST[half]}.zip", _WHAT)
  pattern = os.path.join(glob.escape(root), "cifar100", f"cifar100-{half}*.zip")
  sheets = [
    sheet
    for path in sorted(glob.glob(pattern))
    for sheet in _files.unzip(path, ".webp")
  ]
  first, last = _ROWS[half]
  tiles = np.zeros((100, (last - first) // 100, 32, 32, 3), np.uint8)
  known = set()
  for name, raw in sheets:
    stem = pathlib.PurePosixPath(name).name[:3]
    sheet = _tiles(name, raw)
    if not stem.isdecimal() or int(stem) > 99 or len(sheet) != tiles.shape[1]:
      raise UserError(
        f"The sheet '{name}' in '{root}/cifar100' has {len(sheet)} images.",
        f"Expected {tiles.shape[1]}, and a name that begins with the class, 000"
        " to 099.",
      )
    known.add(int(stem))
    tiles[int(stem)] = sheet
  if len(known) < 100:
    raise UserError(
      f"'{pattern}' has sheets of {len(known)} classes.",
      f"CIFAR-100 has 100. {_WHAT}",
    )
  images = tiles.reshape(-1, 32, 32, 3)
  labels = np.repeat(np.arange(100, dtype=np.int32), tiles.shape[1])
  _files.readonly(images, labels)
  return images, labels


# The file that a message names if a half is missing.
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
