"""TFDS data sets, prepared and read without TensorFlow."""

import os
import pathlib
import pickle
import shutil
import sys

import numpy as np
import pytest
from examples import (
  CAPTIONS,
  CLASSES,
  tfds_builder,
  tfds_records,
  tone,
)
from PIL import Image

from kdjax.data import _tfds_records, tfds
from kdjax.errors import UserError

SPLITS = ("train", "validation", "test")
FEATURES = {
  "image": "image",
  "text": "caption",
  "audio": "clip",
  "target": "height",
  "label": "label",
}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
  """Fifty records to train on and nine to test."""
  folder = tmp_path_factory.mktemp("tfds")
  tfds_builder(folder)
  return {
    "dataset": "shapes",
    "root": str(folder),
    "features": FEATURES,
    "samples": 400,
    "length": 4,
  }


def everything(source):
  return source.take(np.arange(len(source)))


def test_records_are_what_was_written(options):
  batch = everything(tfds.load("test", **options))
  written = [record for _, record in tfds_records(9)]
  # TFDS puts them in an order of its own; the target tells them apart.
  place = (batch["target"] * 8).astype(int)
  assert sorted(place) == [*range(9)]
  for row, one in enumerate(place):
    pixels = np.asarray(written[one]["image"])
    np.testing.assert_array_equal(batch["image"][row], pixels)
    wave = np.pad(tone(one, 300 + 10 * one), (0, 400))[:400]
    np.testing.assert_array_equal(batch["audio"][row], wave)
    assert batch["label"][row] == one % 3
    words = min(4, len(CAPTIONS[one % 3].split()))
    assert batch["mask/text"][row].sum() == words
  assert batch["audio"].dtype == np.int16
  assert batch["valid"].all()
  assert "tensorflow" not in sys.modules


def test_input_and_target_are_those_that_the_data_set_names(options):
  plain = {**options, "features": None}
  assert tfds.spec(**plain).keys() == {"image", "label", "index"}
  assert tfds.class_names(**plain) == CLASSES


def test_validation_is_the_end_of_training_and_nothing_is_shared(options):
  index = {s: everything(tfds.load(s, **options))["index"] for s in SPLITS}
  assert [len(index[split]) for split in SPLITS] == [45, 5, 9]
  joined = np.concatenate([index["train"], index["validation"], index["test"]])
  assert joined.tolist() == [*range(59)]
  more = tfds.load("validation", validation=0.2, **options)
  assert everything(more)["index"].tolist() == [*range(40, 50)]


def test_slices_are_those_of_tfds_and_keep_their_indices(options):
  splits = {
    "train": "train[20:40]+train[:10]",
    "validation": "train[20%:30%]+test[:2]",
    "test": "test[-5:]",
  }
  whole = everything(tfds.load("train", validation=0.02, **options))
  found = {
    split: everything(tfds.load(split, splits=splits, **options))
    for split in SPLITS
  }
  assert {split: one["index"].tolist() for split, one in found.items()} == {
    "train": [*range(20, 40), *range(10)],
    "validation": [*range(10, 15), 50, 51],
    "test": [*range(54, 59)],
  }
  rows = found["train"]["index"]
  np.testing.assert_array_equal(found["train"]["image"], whole["image"][rows])


@pytest.mark.parametrize(
  ("splits", "match"),
  [
    ({"train": "train"}, r"Expected all three"),
    ({"validation": "trian[:3]"}, r"'trian\[:3\]' is no slice"),
    ({"validation": "train[:3]"}, r"train='train' and valid.* 3 records"),
    ({"validation": "test[8:]"}, r"validation=.* and test=.* 1 records"),
  ],
)
def test_slices_that_cannot_be_are_a_mistake(options, splits, match):
  if len(splits) == 1 and "train" not in splits:
    splits = {"train": "train", "test": "test", **splits}
  with pytest.raises(UserError, match=match):
    tfds.load("train", splits=splits, **options)


def test_labels_are_known_before_any_image_is_decoded(options):
  for split in SPLITS:
    source = tfds.load(split, **options)
    labels = source.labels
    np.testing.assert_array_equal(labels, everything(source)["label"])
    assert source.labelled.all()


def test_a_source_travels_to_another_process(options):
  source = tfds.load("test", **options)
  again = pickle.loads(pickle.dumps(source))
  for key, column in everything(again).items():
    np.testing.assert_array_equal(column, everything(source)[key], key)


def test_the_vocabulary_has_at_most_vocabulary_size_ids(options):
  # Of nine words two have an id of their own.
  source = tfds.load("train", vocabulary_size=4, **options)
  text = everything(source)["text"]
  assert text.max() == 3 and (text == 1).any()


def test_images_take_image_size(options):
  spec = tfds.spec(image_size=(4, 4), **options)
  batch = everything(tfds.load("test", image_size=(4, 4), **options))
  assert spec["image"].shape == batch["image"].shape[1:] == (4, 4, 3)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
  """Images of many sizes, of which some records are broken."""
  import tensorflow_datasets

  folder = tmp_path_factory.mktemp("odd")
  kinds = tensorflow_datasets.features

  def records(count):
    for place, record in tfds_records(count):
      if place == 3:
        record["caption"] = "caf\udce9".encode("utf-8", "surrogateescape")
      if place == 4:
        record["height"] = np.float32(np.nan)
      if place == 5:
        record["caption"] = "?"
      pixels = np.asarray(record["image"])[: 3 + place % 4]
      record["image"] = Image.fromarray(pixels)
      yield place, record

  tfds_builder(
    folder,
    records,
    "odd",
    image=kinds.Image(shape=(None, None, 3), encoding_format="png"),
  )
  return {"dataset": "odd", "root": str(folder), "features": FEATURES}


def test_images_that_differ_in_size_need_one(odd):
  with pytest.raises(UserError, match=r"differ in size.*image_size"):
    tfds.spec(**odd)
  assert tfds.spec(image_size=(5, 5), **odd)["image"].shape == (5, 5, 3)


def test_broken_records_are_skipped_and_listed(odd):
  options = {**odd, "image_size": (5, 5), "on_error": "skip"}
  source = tfds.load("test", most_broken=0.4, **options)
  batch = everything(source)
  assert batch["valid"].sum() == 6
  found = {
    (fault.column, fault.reason.partition(" in ")[0][:30])
    for fault in source.records()
  }
  assert {column for column, _ in found} == {"caption", "height"}
  assert len(found) == 3
  for fault in source.records():
    assert fault.file == "odd test"
    assert not batch["valid"][fault.line - 1]
    assert batch["index"][fault.line - 1] == fault.index
  with pytest.raises(UserError, match=r"odd test, line \d, column"):
    everything(tfds.load("test", **{**options, "on_error": "raise"}))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
  """Splits of other names, and numbers that no batch can hold."""
  import tensorflow_datasets

  folder = tmp_path_factory.mktemp("wide")
  kinds = tensorflow_datasets.features

  def records(count):
    for place, record in tfds_records(count):
      record["count"] = np.int64(2**40 if place == 1 else place)
      record["ratio"] = np.float64(1e300 if place == 2 else place)
      record["wave"] = np.full(4, 1.5 if place == 3 else 0.5, np.float32)
      yield place, record

  tfds_builder(
    folder,
    records,
    "wide",
    {"training": 20, "dev": 6, "eval": 3, "testing": 5},
    count=kinds.Scalar(np.int64),
    ratio=kinds.Scalar(np.float64),
    wave=kinds.Tensor(shape=(None,), dtype=np.float32),
  )
  return {"dataset": "wide", "root": str(folder)}


def test_splits_have_any_of_their_names(wide):
  sizes = [len(tfds.load(split, **wide)) for split in SPLITS]
  assert sizes == [20, 6, 5]


@pytest.mark.parametrize(
  ("key", "feature", "reason"),
  [
    ("count", "count", f"{2**40} is outside of int32"),
    # TFDS itself stores 64 bits as 32, where it is infinite.
    ("target", "ratio", "a value that is not finite"),
    ("audio", "wave", "a sample of 1.5, outside of -1 to 1"),
  ],
)
def test_a_number_that_a_batch_cannot_hold_is_a_fault(
  wide, key, feature, reason
):
  features = {key: feature, "label": "label"}
  options = {**wide, "features": features, "samples": 4, "on_error": "skip"}
  source = tfds.load("train", most_broken=0.1, **options)
  batch = everything(source)
  assert batch["valid"].sum() == 19
  (fault,) = source.records()
  assert fault.column == feature and fault.reason.startswith(reason)


@pytest.mark.parametrize("feature", ["caption", "image", "ratio", "clip"])
def test_what_is_no_class_is_refused_as_a_label(wide, feature):
  options = {**wide, "features": {"image": "image", "label": feature}}
  with pytest.raises(UserError, match=f"The label .* '{feature}', is of the"):
    tfds.spec(**options)


@pytest.mark.parametrize(
  ("change", "match"),
  [
    ({"dataset": "shapse"}, r"No data set 'shapse'.*catalog"),
    ({"dataset": "mnits", "features": None}, r"Did you mean 'mnist'"),
    ({"features": {"image": "imag"}}, r"no feature 'imag'.*'image'"),
    ({"imagesize": (3, 3)}, r"No option 'imagesize'.*image_size"),
    ({"fit": "pad"}, r"No fit 'pad'"),
  ],
)
def test_what_there_is_not_is_answered_with_what_there_is(
  options, change, match
):
  with pytest.raises(UserError, match=match):
    tfds.spec(**{**options, **change})


@pytest.mark.parametrize(
  "change",
  [
    {"features": {"image": "image", "label": "label"}},
    {"image_size": (5, 5)},
    {"samples": 300},
    {"length": 5},
    {"vocabulary_size": 5},
    {"tokenizer": "characters"},
    {"validation": 0.3},
  ],
  ids=lambda change: next(iter(change)),
)
def test_another_option_is_another_fingerprint(options, change):
  found = tfds.load("train", **{**options, **change}).fingerprint
  assert found != tfds.load("train", **options).fingerprint


def test_a_fingerprint_does_not_see_where_the_files_lie(options, tmp_path):
  copy = shutil.copytree(options["root"], tmp_path / "copy")
  moved = tfds.load("train", **{**options, "root": str(copy)})
  assert moved.fingerprint == tfds.load("train", **options).fingerprint
  (shard, *_) = sorted(copy.glob("*/*/*train*"))
  os.utime(shard, (1, 1))
  again = tfds.load("train", **{**options, "root": str(copy)})
  assert again.fingerprint == moved.fingerprint
  with shard.open("ab") as file:
    file.write(b"x")
  changed = tfds.load("train", **{**options, "root": str(copy)})
  assert changed.fingerprint != moved.fingerprint


def test_what_needs_tensorflow_to_be_built_says_so():
  pytest.importorskip("tensorflow_datasets")
  if "tensorflow" in sys.modules:
    pytest.skip("TensorFlow is here.")
  # Its recordings need TensorFlow even to be described.
  with pytest.raises(UserError, match=r"without TensorFlow.*\[tfds\]"):
    tfds.spec(dataset="spoken_digit")


def test_what_needs_tensorflow_to_be_prepared_says_so(tmp_path, monkeypatch):
  from kdjax.data import _tfds

  class Builder:
    def is_prepared(self):
      return False

    def download_and_prepare(self):
      try:
        import tensorflow_that_is_not_here  # noqa: F401
      except ImportError as error:
        raise RuntimeError("while encoding an image") from error

  monkeypatch.setattr(_tfds, "_built", lambda *names, **options: Builder())
  with pytest.raises(UserError, match=r"cannot be prepared without TensorF"):
    _tfds.prepared("mine", str(tmp_path))


@pytest.mark.skipif(
  "KDJAX_TFDS" not in os.environ,
  reason="KDJAX_TFDS is no folder of prepared data sets",
)
@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_a_data_set_of_the_catalogue_is_read(name):
  folder = pathlib.Path(os.environ["KDJAX_TFDS"])
  if not (folder / name).is_dir():
    pytest.skip(f"No {name} in {folder}.")
  options = {"dataset": name, "root": str(folder)}
  spec = tfds.spec(**options)
  sizes = {split: len(tfds.load(split, **options)) for split in SPLITS}
  whole = {"mnist": 60_000, "cifar100": 50_000}[name]
  assert sizes["train"] + sizes["validation"] == whole
  assert sizes["test"] == 10_000
  batch = tfds.load("test", **options).take(np.arange(64))
  assert batch["image"].shape == (64, *spec["image"].shape)
  assert batch["image"].std() > 30


def test_a_label_is_found_without_a_pass_over_all_records(options, monkeypatch):
  source, read = tfds.load("train", **options), []
  plain = _tfds_records._all

  def counted(records):
    for record in plain(records):
      read.append(record)
      yield record

  monkeypatch.setattr(_tfds_records, "_all", counted)
  assert source.has_label() and len(read) == 1
