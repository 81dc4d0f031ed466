"""A split is decoded once and cached by its fingerprint."""

import os
import pathlib
import shutil

import examples
import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.data import _records, arrays, digits, manifest
from kdjax.errors import UserError
from kdjax.feed import decoded_splits, loaders
from kdjax.feed.sources import ArraySource, digest
from kdjax.stage.build import build
from kdjax.stage.seeds import seed_draws
from kdjax.training import check_data, workdir


@pytest.fixture(autouse=True)
def _empty_cache():
  decoded_splits.clear()
  yield
  decoded_splits.clear()


@pytest.fixture
def options(tmp_path):
  """Those of a manifest of forty records."""
  (tmp_path / "data").mkdir()
  return examples.manifest(tmp_path / "data")


@pytest.fixture
def reads(monkeypatch):
  """The (size of the split, number of decoded records) of every call."""
  counts, read = [], _records.Split.read

  def counted(self, positions):
    counts.append((len(self.index), len(positions)))
    return read(self, positions)

  monkeypatch.setattr(_records.Split, "read", counted)
  return counts


def total(reads, of=None):
  return sum(count for whole, count in reads if of in (None, whole))


def fingerprint(options, split="train", **changes):
  return manifest.load(split, **{**options, **changes}).fingerprint


def break_image(options, place):
  path = pathlib.Path(options["root"]) / f"img/{place}.png"
  path.write_bytes(b"no image")


# Fingerprints


def test_the_same_data_have_the_same_fingerprint_for_every_seed(options):
  first = manifest.load("train", 0, **options).fingerprint
  assert manifest.load("train", 3, **options).fingerprint == first
  assert int(first, 16) >= 0


def test_data_that_moved_keep_their_fingerprint(options, tmp_path):
  before = fingerprint(options)
  shutil.move(options["root"], tmp_path / "elsewhere")
  assert fingerprint(options, root=str(tmp_path / "elsewhere")) == before
  shutil.copytree(tmp_path / "elsewhere", tmp_path / "copy")
  assert fingerprint(options, root=str(tmp_path / "copy")) == before


@pytest.mark.parametrize(
  "change",
  [
    {"split": "test"},
    {"image_size": (8, 9)},
    {"fit": "stretch"},
    {"sample_rate": 4000, "seconds": 0.2},
    {"length": 5},
    {"vocabulary_size": 6},
    {"tokenizer": "characters"},
    {"validation": 0.1},
    {"classes": examples.CLASSES[::-1]},
    {"columns": {**examples.COLUMNS, "sizes": "numbers:weight, height"}},
  ],
  ids=lambda change: next(iter(change)),
)
def test_another_option_or_split_is_another_fingerprint(options, change):
  assert fingerprint(options, **change) != fingerprint(options)


def test_another_content_is_another_fingerprint(options, tmp_path):
  seen = {fingerprint(options)}
  (index, *_) = manifest.load("train", **options).take(np.arange(1))["index"]
  path = tmp_path / "data" / f"img/{index}.png"
  content = path.read_bytes()
  os.utime(path, ns=(1, 10**18))
  assert {fingerprint(options)} == seen
  path.write_bytes(content[:-1] + b"x")
  seen.add(fingerprint(options))
  path.unlink()
  seen.add(fingerprint(options))
  table = tmp_path / "data" / "manifest.csv"
  lines = table.read_text().splitlines()
  table.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
  seen.add(fingerprint(options))
  assert len(seen) == 4


def test_arrays_are_known_by_their_values_types_and_names():
  def of(**columns):
    return ArraySource({"index": np.arange(4), **columns}).fingerprint

  ramp = np.arange(4, dtype=np.float32)
  assert of(a=ramp) == of(a=ramp[::1].copy())
  others = [
    of(a=ramp),
    of(b=ramp),
    of(a=ramp[::-1]),
    of(a=ramp.view(np.int32)),
    of(a=ramp.reshape(4, 1)),
    of(a=ramp, b=ramp),
  ]
  assert len(set(others)) == len(others)


def test_parts_of_a_hash_do_not_run_into_each_other():
  one, two = np.array([1], np.uint8), np.array([2], np.uint8)
  both = np.array([1, 2], np.uint8)
  assert digest(one, two) != digest(both) != digest("12") != digest("1", "2")


def test_labels_that_a_seed_draws_are_other_data():
  seeds = [digits.load("train", seed).fingerprint for seed in (0, 1)]
  assert seeds[0] != seeds[1]
  whole = [
    digits.load("train", seed, labels_per_class=0).fingerprint
    for seed in (0, 1)
  ]
  assert whole[0] == whole[1]


# Decoded once


def test_the_same_data_are_decoded_once(options, reads):
  first = loaders.columns(manifest.load("train", 0, **options))
  assert total(reads) == len(first["index"])
  again = loaders.columns(manifest.load("train", 1, **options))
  assert total(reads) == len(first["index"])
  assert again.keys() == first.keys()
  assert all(again[key] is first[key] for key in first)


def test_data_that_have_changed_are_decoded_again(options, tmp_path):
  before = loaders.columns(manifest.load("train", **options))
  place = int(before["index"][0])
  examples.image_file(tmp_path / "data" / f"img/{place}.png", 99, (8, 8))
  after = loaders.columns(manifest.load("train", **options))
  changed = (after["image"] != before["image"]).any(axis=(1, 2, 3))
  assert np.flatnonzero(changed).tolist() == [0]


def test_a_source_with_cached_columns_lists_its_broken_records(options, reads):
  train = manifest.load("train", **options)
  place = int(train.take(np.arange(5))["index"][4])
  break_image(options, place)
  skipping = {**options, "on_error": "skip", "most_broken": 0.5}
  reads.clear()
  sources = [manifest.load("train", seed, **skipping) for seed in (0, 1)]
  columns = [loaders.columns(source) for source in sources]
  assert columns[0]["image"] is columns[1]["image"]
  assert reads[-1][1] == 1 and total(reads) == len(train) + 1
  faults = [list(map(str, source.records())) for source in sources]
  assert faults[0] == faults[1] and len(faults[0]) == 1
  assert f"line {place + 2}" in faults[0][0]
  with pytest.raises(UserError, match=f"line {place + 2}"):
    loaders.columns(manifest.load("train", **options))


def test_no_more_is_kept_than_fits(options, monkeypatch, reads):
  size = len(loaders.columns(manifest.load("test", **options))["index"])
  assert total(reads) == size
  monkeypatch.setattr(loaders, "CPU_BYTES", 1000)
  decoded_splits.clear()
  for _ in range(2):
    loaders.columns(manifest.load("test", **options))
  assert total(reads) == 3 * size


def test_the_least_recently_used_split_is_removed():
  class Known:
    def __init__(self, name):
      self.fingerprint = name

  column = lambda: {"x": np.zeros(100, np.uint8)}
  one, two, three = map(Known, ("1", "2", "3"))
  decoded_splits.put(one, column(), 250)
  decoded_splits.put(two, column(), 250)
  assert decoded_splits.get(one) is not None
  decoded_splits.put(three, column(), 250)
  assert decoded_splits.get(two) is None
  assert (
    decoded_splits.get(one) is not None
    and decoded_splits.get(three) is not None
  )


def test_what_is_kept_cannot_be_written_into(options):
  columns = loaders.columns(manifest.load("test", **options))
  with pytest.raises(ValueError, match="read-only"):
    columns["image"][0] = 0


# Seeds


def stage_of(data):
  student = config.network("conv", widths=(4,), num_classes=3)
  terms = {"cross_entropy": config.term("cross_entropy")}
  one = config.stage(student, terms=terms, steps=1, batch_size=4)
  whole = config.experiment("seeds", data=data, stages={"alone": one})
  return build(workdir.resolve(whole), "alone")


def test_seeds_share_a_source_where_none_draws_its_own(options):
  stage = stage_of(config.data("manifest", **options))
  sources = stage.load_per_seed("train", [0, 1, 2])
  assert len(sources) == 3 and sources[0] is sources[1] is sources[2]
  own = stage_of(config.data("digits")).load_per_seed("train", [0, 1])
  assert (own[0].labels != own[1].labels).any()


def test_seeds_draw_what_the_options_say():
  for own in (arrays, manifest):
    assert seed_draws(own, {}) == "none"
    assert seed_draws(own, {"labels_per_class": 2}) == "train"
    assert seed_draws(own, {"labels_per_class": 2, "folds": 5}) == "all"
  assert seed_draws(digits, {}) == "train"


def test_test_examples_that_depend_on_the_seed_are_said(tmp_path):
  source = """
import jax, numpy as np
from kdjax.feed.sources import ArraySource

def spec():
  whole = jax.ShapeDtypeStruct((), np.int32)
  numbers = jax.ShapeDtypeStruct((8, 8, 1), np.float32)
  return {"image": numbers, "label": whole, "index": whole}

def class_names():
  return ("a", "b", "c")

def load(split, seed=None):
  rng = np.random.default_rng(seed or 0)
  index = np.arange(16, dtype=np.int32) + 100 * len(split)
  image = rng.normal(size=(16, 8, 8, 1)).astype(np.float32)
  return ArraySource({"image": image, "label": index % 3, "index": index})
"""
  path = tmp_path / "drawn.py"
  path.write_text(source)
  stage = stage_of(config.data(str(path)))
  with pytest.raises(UserError, match="SEED_DRAWS_ALL = True"):
    check_data.check(stage, [0, 1], set())
  path = tmp_path / "said.py"
  path.write_text("SEED_DRAWS_ALL = True\n" + source)
  stage = stage_of(config.data(str(path)))
  check_data.check(stage, [0, 1], set())
  first, second = stage.load_for_evaluation("test", [0, 1])
  assert (first.columns["image"] != second.columns["image"]).any()


@pytest.mark.slow
def test_stages_and_seeds_list_what_is_broken_and_decode_it_once(
  options, reads, tmp_path
):
  for split in ("train", "test"):
    place = manifest.load(split, **options).take(np.arange(2))["index"][1]
    break_image(options, place)
  data = config.data("manifest", **options, on_error="skip", most_broken=0.5)
  student = config.network("conv", widths=(4,), num_classes=3)
  terms = {"cross_entropy": config.term("cross_entropy")}
  knobs = {"steps": 2, "batch_size": 8, "log_every": 1, "eval_every": 2}
  one = config.stage(student, terms=terms, **knobs)
  stages = {"first": one, "second": one}
  whole = config.experiment("twice", data=data, seeds=2, stages=stages)
  reads.clear()
  kdjax.run(whole, tmp_path / "run", quiet=True)
  results = [
    workdir.stage_result(tmp_path / "run", name)["broken"] for name in stages
  ]
  assert results[0] == results[1] and len(results[0]) == 2
  size = len(manifest.load("train", **options))
  # All of them once, and what is broken again for the second stage.
  assert total(reads, of=size) == size + 1
