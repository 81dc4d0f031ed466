"""Every layout of `layouts.py`: inspected without a config, read, trained."""

import layouts
import numpy as np
import pytest

import kdjax
from kdjax import cli
from kdjax.config import data, experiment, network, optimizer, stage, term
from kdjax.data import _layout, manifest

SMALL = {
  "image_size": (8, 8),
  "sample_rate": 8000,
  "seconds": 0.1,
  "steps": 6,
  "length": 4,
  "validation": 0.25,
  "test": 0.25,
}


@pytest.fixture(params=layouts.LAYOUTS)
def layout(request, tmp_path):
  """A layout's name, the flags of `inspect`, its modality, and its options."""
  path, columns, modality = layouts.LAYOUTS[request.param](tmp_path)
  flags = [f"--data={path}"]
  if columns:
    flags.append("--columns=" + ",".join(columns))
  stated = layouts.OPTIONS.get(request.param, {})
  options = {"root": str(tmp_path)}
  if "table" not in stated:
    _, options = _layout.discover(str(path))
  if columns:
    options["columns"] = dict(it.split("=") for it in columns)
  return request.param, flags, modality, {**options, **SMALL, **stated}


def all_of(options):
  """The examples of the three splits, in the order of the table."""
  batches = [
    source.take(np.arange(len(source)))
    for split in ("train", "validation", "test")
    for source in [manifest.load(split, **options)]
  ]
  joined = {
    key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]
  }
  order = np.argsort(joined["index"])
  return {key: column[order] for key, column in joined.items()}


def test_every_record_of_a_layout_is_read(layout):
  name, _, modality, options = layout
  batch = all_of(options)
  # An evaluation split has every caption of an image.
  extra = np.sum(batch["index"] >= layouts.COUNT)
  assert extra == (4 if name == "captions" else 0)
  assert len(batch["index"]) == layouts.COUNT + extra
  assert batch["valid"].all() and batch[f"has/{modality}"].all()
  assert manifest.class_names(**options) == layouts.NAMES
  once = batch["index"] < layouts.COUNT
  assert np.bincount(batch["label"][once]).tolist() == [12, 12]
  leaves = manifest.spec(**options)
  assert {key: it.shape for key, it in leaves.items()} == {
    key: batch[key].shape[1:] for key in leaves
  }


def test_a_layout_is_inspected_without_a_config(layout, capsys):
  name, flags, _, _ = layout
  if name in layouts.OPTIONS:
    pytest.skip("needs options, which a config has")
  cli.main(["inspect", "data", *flags, "--out="])
  out = capsys.readouterr().out
  count = layouts.COUNT + (4 if name == "captions" else 0)
  assert f"{count} records" in out and "data('manifest'" in out
  assert "broken records," not in out


@pytest.mark.slow
def test_a_layout_is_trained(layout, tmp_path):
  _, _, modality, options = layout
  text = modality == "text"
  net = network(
    "text_cnn" if text else "mlp",
    num_classes=2,
    modality=modality,
    **(
      {"vocabulary": 40, "channels": 4, "words": 4} if text else {"widths": ()}
    ),
  )
  plan = experiment(
    "layout",
    data=data("manifest", **options),
    stages={
      "alone": stage(
        net,
        terms={"ce": term("cross_entropy")},
        optimizer=optimizer("sgd", learning_rate=0.1),
        steps=2,
        batch_size=8,
        log_every=1,
        eval_every=2,
      )
    },
  )
  results = kdjax.run(plan, tmp_path / "run", quiet=True)
  assert np.isfinite(results["stages"]["alone"]["loss/ce"]["mean"])


def load(name, folder, **options):
  """A layout's examples."""
  folder.mkdir(exist_ok=True)
  path, columns, _ = layouts.LAYOUTS[name](folder)
  _, found = _layout.discover(str(path))
  if columns:
    found["columns"] = dict(it.split("=") for it in columns)
  return all_of({**found, **SMALL, **layouts.OPTIONS.get(name, {}), **options})


def test_splits_are_those_of_folders_and_files(tmp_path):
  for name, sizes in {
    "folder_per_split_and_class": (16, 4, 4),
    "shards": (None, None, 6),
    "table_per_split": (None, None, 6),
  }.items():
    folder = tmp_path / name
    folder.mkdir()
    path, _, _ = layouts.LAYOUTS[name](folder)
    _, options = _layout.discover(str(path))
    for split, size in zip(("train", "validation", "test"), sizes, strict=True):
      count = len(manifest.load(split, **options, **SMALL))
      assert size in (None, count), (name, split, count)


def test_links_to_a_folder_above_are_followed_once(tmp_path):
  layouts.folder_per_class(tmp_path)
  (tmp_path / "cat/up").symlink_to(tmp_path, target_is_directory=True)
  (tmp_path / "cat/gone").symlink_to(tmp_path / "nowhere")
  _, options = _layout.discover(str(tmp_path))
  assert options["table"] == "{label}/*"
  assert len(all_of({**options, **SMALL})["index"]) == layouts.COUNT


def test_numbers_of_lists_and_files_are_vectors(tmp_path):
  batch = load("embeddings", tmp_path)
  assert batch["numbers"].shape == (layouts.COUNT, 5)
  expected = np.random.default_rng(0).normal(size=(layouts.COUNT, 5))
  np.testing.assert_array_equal(batch["numbers"], expected.astype(np.float32))
  batch = load("embeddings_in_files", tmp_path / "more")
  np.testing.assert_array_equal(
    batch["numbers"], np.arange(layouts.COUNT)[:, None] * np.ones((1, 3))
  )


@pytest.mark.parametrize("name", ["sequences", "sequences_in_files"])
def test_sequences_are_cut_or_padded_and_masked(tmp_path, name):
  batch = load(name, tmp_path)
  assert batch["sequence"].shape == (layouts.COUNT, 6, 2)
  for place in range(layouts.COUNT):
    steps = layouts.steps_of(place).astype(np.float32)
    known = min(len(steps), 6)
    np.testing.assert_array_equal(batch["sequence"][place, :known], steps[:6])
    assert not batch["sequence"][place, known:].any()
    mask = batch["mask/sequence"][place].tolist()
    assert mask == [True] * known + [False] * (6 - known)


def test_frames_are_cut_or_padded_and_masked(tmp_path):
  batch = load("frames", tmp_path, steps=3)
  assert batch["frames"].shape == (layouts.COUNT, 3, 8, 8, 3)
  counts = [min(3, 2 + place % 3) for place in range(layouts.COUNT)]
  assert batch["mask/frames"].sum(axis=1).tolist() == counts


def test_each_label_has_its_classes(tmp_path):
  batch = load("several_labels", tmp_path)
  assert batch["label/noise"].tolist() == [0, 2, 1] * 8
  assert batch["label"].tolist() == [0, 1] * 12
  # `classes` are those of "label"; a column of another task has its own.
  stated = {"column": "label:noise", "classes": ("quiet", "loud", "none")}
  columns = {"label": "label", "label/noise": stated, "text": "text"}
  options = {"classes": ("dog", "cat"), "columns": columns}
  batch = load("several_labels", tmp_path, **options)
  assert batch["label/noise"].tolist() == [1, 0, 2] * 8
  assert batch["label"].tolist() == [1, 0] * 12


def test_one_text_under_two_tokenizers_has_two_vocabularies(tmp_path):
  batch = load("two_tokenizers", tmp_path)
  assert (batch["text"] != batch["letters"]).any()
  options = {"root": str(tmp_path), "table": "table.csv"}
  sizes = manifest.ids(**options, **layouts.OPTIONS["two_tokenizers"])
  assert sizes["text"] != sizes["letters"]


def test_records_of_a_group_are_in_one_split(tmp_path):
  options = {"root": str(tmp_path), **SMALL, **layouts.OPTIONS["speakers"]}
  layouts.speakers(tmp_path)
  paths = sorted(
    path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.wav")
  )
  found = [
    {
      paths[row].partition("/")[0]
      for row in manifest.load(split, **options).index
    }
    for split in ("train", "validation", "test")
  ]
  assert all(found) and sum(map(len, found)) == 8
  alone = {**options, "group_column": ""}
  apart = [
    {
      paths[row].partition("/")[0]
      for row in manifest.load(split, **alone).index
    }
    for split in ("train", "validation", "test")
  ]
  assert sum(map(len, apart)) > 8


@pytest.mark.slow
def test_a_table_over_folds_is_one_run(tmp_path):
  layouts.embeddings(tmp_path)
  columns = {"numbers": "vector", "label": "label"}
  options = {
    "root": str(tmp_path),
    "table": "table.parquet",
    "columns": columns,
  }
  options |= {"split_column": "", "folds": 3}
  one = stage(
    network("mlp", widths=(), num_classes=2, modality="numbers"),
    terms={"ce": term("cross_entropy")},
    steps=2,
    batch_size=8,
    eval_every=2,
  )
  plan = experiment(
    "folds",
    seeds=3,
    data=data("manifest", **options),
    stages={"first": one, "second": one},
    gains=(("second", "first"),),
  )
  results = kdjax.run(plan, tmp_path / "run", quiet=True)
  assert len(results["stages"]["first"]["accuracy"]["seeds"]) == 3
  # Each seed is measured on its own fold, which no other one tests.
  for seed, accuracy in enumerate(
    results["stages"]["first"]["accuracy"]["seeds"]
  ):
    module, variables, *_ = kdjax.restore(tmp_path / "run", "first", seed=seed)
    fold = manifest.load("test", seed, **options)
    batch = fold.take(np.arange(len(fold)))
    logits = module.apply(variables, batch, train=False)["logits"]
    right = np.mean(np.asarray(logits).argmax(axis=1) == batch["label"])
    np.testing.assert_allclose(accuracy, right, atol=1e-6)
  assert not (tmp_path / "run/stages/first/predictions.npz").exists()
