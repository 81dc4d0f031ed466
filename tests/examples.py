"""A small example of each data set that is read from files.

A function has the name of a file of kdjax/data; it writes an example into a
folder and returns the options with which it is loaded.
"""

import csv
import wave

import numpy as np
from PIL import Image

CLASSES = ("circle", "square", "star")
CAPTIONS = ("a round thing", "four equal sides", "it has five points")


def image_file(path, place, size=(12, 10)):
  """A PNG of noise, of (height, width)."""
  rng = np.random.default_rng(place)
  pixels = rng.integers(256, size=(*size, 3), dtype=np.uint8)
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path)
  return pixels


def audio_file(path, values, rate=8000):
  """A 16-bit WAV of int16 [N] or [N channels]."""
  values = np.asarray(values, np.int16)
  path.parent.mkdir(parents=True, exist_ok=True)
  with wave.open(str(path), "wb") as file:
    file.setnchannels(1 if values.ndim == 1 else values.shape[1])
    file.setsampwidth(2)
    file.setframerate(rate)
    file.writeframes(values.astype("<i2").tobytes())


def tone(place, count=800):
  """A quiet sine, whose pitch tells the place."""
  time = np.arange(count) / 8000
  return np.round(8000 * np.sin(2 * np.pi * (200 + 20 * place) * time))


def row(folder, place):
  """A record with every modality, its files written."""
  image_file(folder / f"img/{place}.png", place)
  audio_file(folder / f"wav/{place}.wav", tone(place))
  return {
    "id": f"r{place:04d}",
    "photo": f"img/{place}.png",
    "clip": f"wav/{place}.wav",
    "caption": CAPTIONS[place % 3],
    "height": f"{place / 8}",
    "weight": f"{place % 5}",
    "shape": CLASSES[place % 3],
  }


COLUMNS = {
  "image": "photo",
  "audio": "clip",
  "text": "caption",
  "sizes": "numbers:height, weight",
  "label": "shape",
}


def write_csv(path, rows):
  """A table of dicts with equal keys."""
  with path.open("w", newline="") as file:
    writer = csv.DictWriter(file, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)


def manifest(folder):
  """Forty records, of which some lack a modality or a label."""
  rows = [row(folder, place) for place in range(40)]
  for place, column in ((3, "photo"), (4, "clip"), (5, "caption")):
    rows[place][column] = ""
  rows[7]["shape"] = ""
  write_csv(folder / "manifest.csv", rows)
  return {
    "root": str(folder),
    "columns": COLUMNS,
    "record_key": "id",
    "validation": 0.2,
    "test": 0.2,
    "image_size": (8, 8),
    "sample_rate": 8000,
    "seconds": 0.1,
    "length": 4,
  }


def arrays(folder):
  """Sixty examples in a file, split by the hash of their place."""
  rng = np.random.default_rng(5)
  np.savez(
    folder / "mine.npz",
    image=rng.integers(256, size=(60, 7, 5), dtype=np.uint8),
    text=rng.integers(6, size=(60, 4)),
    label=rng.integers(-1, 3, size=60),
    height=rng.normal(size=60),
  )
  return {
    "root": str(folder / "mine.npz"),
    "classes": CLASSES,
    "validation": 0.2,
    "test": 0.2,
  }


def tfds_records(count):
  """key -> what the builder below writes."""
  for place in range(count):
    rng = np.random.default_rng(place)
    pixels = rng.integers(256, size=(6, 9, 3), dtype=np.uint8)
    yield (
      place,
      {
        "image": Image.fromarray(pixels),
        "caption": CAPTIONS[place % 3],
        "clip": tone(place, 300 + 10 * place).astype(np.int16),
        "height": np.float32(place / 8),
        "label": place % 3,
      },
    )


def tfds_builder(
  folder, records=tfds_records, name="shapes", splits=None, **features
):
  """Prepares a data set as TFDS has them, without TensorFlow."""
  splits = splits or {"train": 50, "test": 9}
  import tensorflow_datasets as tfds

  kinds = tfds.features
  stated = {
    "image": kinds.Image(shape=(6, 9, 3), encoding_format="png"),
    "caption": kinds.Text(),
    "clip": kinds.Tensor(shape=(None,), dtype=np.int16),
    "height": kinds.Scalar(np.float32),
    "label": kinds.ClassLabel(names=CLASSES),
    **features,
  }

  class Shapes(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self,
        features=kinds.FeaturesDict(stated),
        supervised_keys=("image", "label"),
      )

    def _split_generators(self, dl_manager):
      del dl_manager
      return {split: records(count) for split, count in splits.items()}

    def _generate_examples(self):
      raise NotImplementedError

  Shapes.name = name
  builder = Shapes(data_dir=str(folder), file_format="array_record")
  builder.download_and_prepare()
  return builder


def tfds(folder):
  """Fifty records to train on and nine to test, of every kind of feature."""
  tfds_builder(folder)
  return {
    "dataset": "shapes",
    "root": str(folder),
    "features": {
      "image": "image",
      "text": "caption",
      "audio": "clip",
      "target": "height",
      "label": "label",
    },
    "samples": 400,
    "length": 4,
    "validation": 0.2,
  }
