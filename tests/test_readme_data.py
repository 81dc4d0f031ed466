"""The README of kdjax/data: its tables, its examples and its contract."""

import ast
import importlib.util
import pathlib
import re

import examples
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_data
from test_data_sets import SETS

from kdjax import config, registry
from kdjax.config import fields, parts
from kdjax.data import arrays, manifest
from kdjax.step.pipeline import parse
from kdjax.training import check, workdir

README = pathlib.Path(test_data.ROOT, "kdjax/data/README.md").read_text()
OWN = ("manifest", "arrays", "tfds")

# Sizes that are constants of the data sets, and need no files.
KNOWN = {"mnist_small": (300, 1_000, 10_000), **SETS}


def table(heading):
  """The cells of a table's rows, by its first heading."""
  rows = []
  for line in README.partition(f"\n| {heading} |")[2].splitlines()[2:]:
    if not line.startswith("|"):
      return rows
    cells = re.split(r"(?<!\\)\|", line[1:-1])
    rows.append([cell.strip() for cell in cells])
  return rows


def block(language, word):
  """The block of code with a word."""
  blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
  (text,) = [text for text in blocks if word in text]
  return text


def code(cell):
  """A cell's one piece of code."""
  return re.fullmatch(r"`([^`]+)`", cell)[1]


# Tables


@pytest.mark.parametrize("column", [1, 2, 3], ids=OWN)
def test_every_option_has_a_row_with_its_default(column):
  rows = table("option")
  assert all(len(row) == 5 and row[4] for row in rows)
  listed = {code(row[0]): row[column] for row in rows if row[column]}
  options = registry.describe("data", OWN[column - 1]).options
  assert listed.keys() == options.keys()
  for name, default in options.items():
    value = ast.literal_eval(code(listed[name]))
    assert repr(value) == repr(default), name
  # No row without an option, and none twice.
  assert all(any(row[1:4]) for row in rows)
  assert len({row[0] for row in rows}) == len(rows)


def test_every_knob_of_data_has_a_row_with_its_default():
  rows = table("knob")
  listed = {code(name): default for name, default, _ in rows}
  knobs = config.data("two_moons").to_dict()
  for name in ("name", *registry.describe("data", "two_moons").options):
    del knobs[name]
  assert (
    listed.keys()
    == knobs.keys()
    == {
      *parts.DATA,
      "pipelines",
      "buckets",
      "drops",
    }
  )
  for name, default in knobs.items():
    assert repr(ast.literal_eval(code(listed[name]))) == repr(default), name


def test_every_data_set_has_a_row_with_its_sizes():
  rows = table("data set")
  names = [re.match(r"\[`(\w+)`\]\(\1\.py\)$", row[0])[1] for row in rows]
  known = registry.names("data")
  assert sorted([*names, *OWN]) == known
  assert f"there are {len(known)}." in README
  for name, (_, sizes, content) in zip(names, rows, strict=True):
    listed = tuple(int(size.replace(",", "")) for size in sizes.split(" / "))
    if name in KNOWN:
      assert listed == KNOWN[name], name
      continue
    assert "no files needed" in content
    load = registry.find("data", name).load
    assert listed == tuple(len(load(split)) for split in test_data.SPLITS)
  options = registry.describe("data", "mnist_small").options
  sizes = (options["train_size"], options["validation"])
  assert KNOWN["mnist_small"][:2] == sizes


def test_kinds_are_those_of_the_columns():
  from kdjax.data import _columns

  assert tuple(code(row[0]) for row in table("kind")) == _columns.KINDS


# Examples


def test_the_config_of_a_table_is_traced_on_the_table(tmp_path):
  (tmp_path / "birds.csv").write_text(block("csv", "species"))
  for number in (1, 2, 3):
    ending = "png" if number == 2 else "jpg"
    examples.image_file(tmp_path / f"img/{number:03}.{ending}", number)
  for number in (1, 3):
    write_sound(tmp_path / f"wav/{number:03}.flac", number)
  path = tmp_path / "birds.py"
  path.write_text(block("python", 'table="birds.csv"'))
  plan = fields.load(str(path))
  with plan.unlocked():
    plan.data.root = str(tmp_path)
  check.plan(workdir.resolve(plan), ["teacher"])
  options = plan.data.to_dict()
  options = {name: options[name] for name in manifest.load.__kwdefaults__}
  options |= {"validation": 0.0, "test": 0.0}
  assert manifest.class_names(**options) == ("sparrow", "wren")
  batch = manifest.load("train", **options).take(np.arange(2))
  assert batch["has/image"].all() and batch["valid"].all()
  assert batch["has/audio"].tolist() == [True, False]


def test_recordings_of_sensors_are_cut_as_written(tmp_path):
  names = {"data": config.data}
  exec(block("python", "window=2.56"), names)
  options = names["recordings"].to_dict()
  options = {name: options[name] for name in manifest.load.__kwdefaults__}
  options |= {"root": str(tmp_path), "validation": 0.0, "test": 0.0}
  # 10 s: a window of 2.56 s every 1.28 s.
  heads = {"p": "ms,ax,ay,az,activity", "w": "bpm"}
  for name, rate in (("p", 50), ("w", 100)):
    lines = [
      f"{1000 * it // rate},{it},0,1,walk" if name == "p" else f"{it}"
      for it in range(10 * rate)
    ]
    (tmp_path / f"{name}.csv").write_text(
      "\n".join([heads[name], *lines]) + "\n"
    )
  table = "phone,watch,person\np.csv,w.csv,ann\n"
  (tmp_path / "walks.csv").write_text(table)
  batch = manifest.load("train", **options).take(np.arange(6))
  assert batch["phone"].shape == (6, 128, 3)
  assert batch["watch"].shape == (6, 128, 1) and batch["mask/watch"].all()
  assert manifest.class_names(**options) == ("walk",)


def write_sound(path, number):
  import soundfile

  path.parent.mkdir(exist_ok=True)
  soundfile.write(path, examples.tone(number) / 2**15, 8000)


def test_arrays_are_held_and_read_as_written():
  (hold,) = re.findall(r"`(arrays\.hold\(.*?\))`", README)
  names = {"arrays": arrays, "data": config.data}
  names["images"] = np.zeros((50, 8, 8), np.uint8)
  names["labels"] = np.arange(50) % 2
  eval(hold, names)
  (read,) = re.findall(r'`(data\("arrays", held=.*?\))`', README)
  options = eval(read, names)
  held = arrays.load("train", held=options["held"])
  assert held.take(np.arange(3))["image"].shape == (3, 8, 8, 1)


def test_corruptions_and_pipelines_are_those_that_exist():
  calls = re.findall(r"corruption\([^`]*?\)\)", README)
  assert len(calls) == 2
  for text in calls:
    corrupted = eval(" ".join(text.split()), {"corruption": config.corruption})
    if corrupted["pipeline"]:
      name, _, option = corrupted["sweeps"].partition(".")
      assert option in registry.describe("transforms", name).options
      parse(corrupted["pipeline"])
  for text in re.findall(r'"(to_float[^"]*)"', README):
    parse(text)


# The contract


@pytest.fixture
def mine(tmp_path):
  """The README's data set, outside of the package."""
  path = tmp_path / "mine.py"
  path.write_text(block("python", "def load"))
  return path


def test_the_data_set_keeps_the_contract(mine):
  loaded = importlib.util.spec_from_file_location("kdjax.data.mine", mine)
  data = importlib.util.module_from_spec(loaded)
  loaded.loader.exec_module(data)
  for split in test_data.SPLITS:
    test_data.test_examples_are_what_the_spec_says(data, {}, split)
    test_data.test_take_stacks_examples(data, {}, split)
    test_data.test_loading_again_gives_the_same(data, {}, split)
    test_data.test_a_label_has_a_name_or_is_none(data, {}, split)
  for contract in (
    test_data.test_no_example_is_in_two_splits_or_twice_in_one,
    test_data.test_a_fingerprint_tells_splits_apart_and_nothing_else,
    test_data.test_seeds_differ_in_the_splits_that_the_data_set_says,
    test_data.test_a_source_is_the_same_in_another_process,
    test_data.test_an_unknown_split_is_answered_with_the_splits,
  ):
    contract(data, {})


def test_a_data_set_outside_of_the_package_is_named_by_its_path(mine):
  (text,) = re.findall(r'`(data\("path/to/mine\.py".*?\))`', README)
  text = text.replace("path/to/mine.py", str(mine))
  chosen = eval(text, {"data": config.data})
  assert chosen["noise"] == 0.2
  plain = config.stage(
    config.network("mlp", num_classes=2, modality="numbers"),
    terms={"cross_entropy": config.term("cross_entropy")},
  )
  plan = config.experiment("mine", data=chosen, stages={"alone": plain})
  check.plan(workdir.resolve(plan), ["alone"])


def test_a_transform_outside_of_the_package_is_named_by_its_path(tmp_path):
  path = tmp_path / "mine.py"
  path.write_text("def mine(key, x, *, option=0.1):\n  return x + option\n")
  (text,) = re.findall(r"`(to_float\|\"path/to/mine\.py\".*?)`", README)
  pipeline = parse(text.replace("path/to/mine.py", str(path)))
  x, *_ = pipeline(jax.random.key(0), jnp.zeros((2, 2, 1), jnp.uint8))
  np.testing.assert_allclose(x, 0.5)
