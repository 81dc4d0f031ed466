"""`kdjax new`: what data hold, what is chosen for them, and what is refused."""

import json
import pathlib
import re
import shutil
import subprocess

import examples
import layouts
import numpy as np
import pytest
import strangers

from kdjax import cli
from kdjax.config import locations
from kdjax.errors import UserError
from kdjax.new import (
  choices,
  columns,
  distilling,
  estimate,
  facts,
  networks,
  originals,
  sensors,
  source,
  sources,
  writing,
)
from kdjax.new.source import Call, Name, Noted

CPU = choices.Machine("cpu", 2)


def read(name, folder):
  """The facts of one of the six folders."""
  flags = strangers.FOLDERS[name](folder)
  return facts.read(flags[0].removeprefix("--data="))


def rows(count=90, **of_columns):
  return [
    {name: make(place) for name, make in of_columns.items()}
    for place in range(count)
  ]


def of_table(folder, made):
  layouts.table(folder / "table.csv", made)
  return facts.read(str(folder / "table.csv"))


def number(place):
  return f"{np.random.default_rng(place).normal():.3f}"


COLUMNS = {
  "folder_of_pictures": {"image": "image:file", "label": "label:label"},
  "two_tables_with_captions": {
    "image": "image:file_name",
    "text": "text:caption",
    "label": "label:species",
  },
  "sounds_with_a_table": {
    "audio": "audio:filename",
    "text": "text:remark",
    "label": "label:category",
  },
  "parquet_of_the_hub": {
    "image": "image:image",
    "text": "text:text",
    "label": "label:label",
  },
  "numbers_with_text": {
    "text": "text:description",
    "numbers": "numbers:area, rooms",
    "target": "target:price",
  },
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_found_by_their_names_and_cells(name, tmp_path):
  found = read(name, tmp_path)
  assert found.options["columns"] == COLUMNS[name]
  assert sum(found.sizes.values()) == strangers.COUNT
  assert found.broken == 0
  task = "target" if name == "numbers_with_text" else "classes"
  assert found.task == task
  assert found.classes == (() if task == "target" else strangers.CLASSES)


def test_recordings_of_people_are_windows_of_each_sensor(tmp_path):
  found = read("sensors_of_people", tmp_path)
  options = found.options
  assert options["table"] == "{person}.csv"
  assert options["group_column"] == "person" and options["folds"] == 5
  assert (options["rate"], options["window"]) == (50.0, 2.56)
  fields = {
    key: column.get("fields") for key, column in options["columns"].items()
  }
  axes = lambda device: tuple(f"{device}_{axis}" for axis in "xyz")
  assert fields == {
    "phone": axes("phone"),
    "watch": axes("watch"),
    "label": None,
  }
  assert options["columns"]["label"]["field"] == "activity"
  assert found.modalities["phone"].shape == (128, 3)
  assert "0.001 s" in found.remarks[0]
  # Each fold of the people is tested once.
  assert choices.choose(found, on=CPU).seeds == 5


@pytest.mark.parametrize(
  ("paths", "expected"),
  [
    (["ann/walk_1.csv", "ann/sit_1.csv", "bob/walk_1.csv", "bob/sit_1.csv"],
     ("{person}/{label}_*.csv", "person")),
    (["ann/walk.csv", "ann/sit.csv", "bob/walk.csv", "bob/sit.csv"],
     ("{person}/{label}.csv", "person")),
    (["walk/1.csv", "walk/2.csv", "sit/1.csv"], ("{label}/*.csv", "")),
  ],
)  # fmt: skip
def test_a_label_in_the_names_of_recordings_is_found(paths, expected):
  assert sensors._pattern(paths, in_names=True) == expected
  with pytest.raises(UserError, match="no label"):
    sensors._pattern(["1.csv", "2.csv", "3.csv"], in_names=True)


def test_splits_and_sizes_fit_the_data(tmp_path):
  found = read("two_tables_with_captions", tmp_path)
  # The table of the test split states it; validation is drawn.
  assert "test" not in found.options and found.options["validation"] == 0.2
  assert found.sizes["test"] == 18
  assert found.labelled["train"] < found.sizes["train"]
  assert found.options["image_size"] == (16, 16)
  assert (found.options["length"], found.words <= 1000) == (16, True)
  sizes = originals._of_recordings([(0.22, 44100)] * 20)
  assert sizes == {"seconds": 0.3, "sample_rate": 16000}
  assert originals._of_images([(500, 400)], [True], large=False) == {
    "image_size": (64, 64),
    "channels": 1,
  }


def test_the_files_of_a_table_may_start_from_another_folder(tmp_path):
  found = read("sounds_with_a_table", tmp_path)
  assert pathlib.Path(found.options["root"]).name == "audio"
  assert found.options["table"] == "../meta/sounds.csv"
  assert any("'take' is left out" in it for it in found.remarks)


def test_a_text_with_the_name_of_the_class_is_remarked(tmp_path):
  named = lambda place: f"here is a {layouts.label(place)}, number {place}"
  made = rows(caption=named, size=number, species=layouts.label)
  found = of_table(tmp_path, made)
  assert any("'caption' names the class in 100 %" in it for it in found.remarks)
  assert columns.named_in([("a small catalogue", "cat")]) == 0
  assert columns.named_in([(["dogs", "the Wild-Cat!"], "wild cat")]) == 1


def test_a_column_that_tells_the_label_is_left_out(tmp_path):
  code = lambda place: 7 + 2 * (place % 2)
  made = rows(size=number, code=code, species=layouts.label)
  found = of_table(tmp_path, made)
  assert found.options["columns"]["numbers"] == "numbers:size"
  assert any("'code' is left out: it tells" in it for it in found.remarks)


def test_numbers_of_records_are_no_measurements():
  kind = columns._kind_of_numbers
  assert kind("item", [3 * place for place in range(1000)]) == "identity"
  assert kind("imdb_id", [7 * place for place in range(60)]) == "identity"
  assert kind("take", list(range(60))) == "identity"
  assert kind("area", [7 * place for place in range(60)]) == "numbers"
  assert kind("rooms", [place % 5 for place in range(60)]) == "category"


def test_several_labels_and_few_of_a_class_choose_the_metric(tmp_path):
  tags = lambda place: ("a", "b", "a|b", "b|c")[place % 4]
  found = of_table(tmp_path, rows(size=number, weight=number, tags=tags))
  plan = choices.choose(found, on=CPU)
  assert found.task == "labels" and found.outputs == 3
  assert [*plan.labels] == ["binary_cross_entropy"]
  assert [*plan.distillation] == ["multilabel_kd"]
  rare = lambda place: "rare" if place % 30 == 5 else f"usual{place % 2}"
  (tmp_path / "rare").mkdir()
  found = of_table(tmp_path / "rare", rows(300, size=number, label=rare))
  plan = choices.choose(found, on=CPU)
  assert plan.metrics == {"select": "f1_macro"}
  assert any("'rare' " in it for it in plan.reasons)


def test_terms_and_sizes_fit_the_task_and_the_machine(tmp_path):
  found = read("numbers_with_text", tmp_path)
  plan = choices.choose(found, ["numbers"], on=CPU)
  assert ([*plan.labels], [*plan.distillation]) == (["huber"], ["mse"])
  assert plan.metrics["select_mode"] == "min"
  assert plan.pipelines["once"]["target"].startswith("normalize(mean=(3")
  two = of_table(tmp_path, rows(size=number, label=layouts.label))
  assert [*choices.choose(two, on=CPU).distillation] == ["kd"]
  sizes = lambda count, on: choices._sizes(
    facts.dataclasses.replace(two, sizes={"train": count}), on
  )[:2]
  assert sizes(40, CPU) == (16, 300)
  assert sizes(3000, CPU) == (64, 1400)
  assert sizes(1_000_000, choices.Machine("gpu", 8)) == (256, 3000)


def test_a_student_and_a_teacher_of_one_modality_differ_in_size(tmp_path):
  plan = choices.choose(read("folder_of_pictures", tmp_path), on=CPU)
  assert dict(plan.large.items)["widths"] == (32, 64)
  assert dict(plan.small.items)["widths"] == (16, 32)
  assert any("no more modalities than the student" in it for it in plan.reasons)


def test_a_missing_modality_is_prepared_for(tmp_path):
  flags = strangers.FOLDERS["two_tables_with_captions"](tmp_path)
  path = tmp_path / "train.csv"
  lines = path.read_text().splitlines()
  lines[1:30] = [re.sub(r"images/\d+.png", "", it) for it in lines[1:30]]
  path.write_text("\n".join(lines))
  found = facts.read(flags[0].removeprefix("--data="))
  assert found.modalities["image"].missing > 0.2
  plan = choices.choose(found, on=CPU)
  assert plan.student == ("text",)
  assert dict(plan.large.items)["modality_dropout"] == 0.1
  assert choices.labelled_fraction(found) == choices.SPARSE


def write(plan, folder):
  """The text of a plan's config, and what it makes."""
  out = str(folder / "mine.py")
  text = writing.config(plan, out, "runs/mine")
  return text, distilling._config_of(text, out)


def test_a_config_is_short_and_says_what_it_is(tmp_path):
  found = read("two_tables_with_captions", tmp_path)
  plan = choices.choose(found, ["image"], ["image", "text"], CPU)
  text, config = write(plan, tmp_path)
  body = text.partition("def get_config")[2].splitlines()
  assert 30 <= len(body) <= 65
  assert 5 <= sum("# " in line for line in body) <= 12
  assert list(config.order) == ["teacher", "alone", "distilled"]
  assert config.data.root == str(tmp_path)
  assert 'root="."' in text
  assert "kdjax run --config=" in text
  code = [line for line in text.splitlines() if "--config=" not in line]
  assert max(map(len, code)) <= source.WIDTH


def test_a_config_has_only_the_columns_that_are_read(tmp_path):
  found = read("two_tables_with_captions", tmp_path)
  text, config = write(choices.choose(found, ["text"], ["text"], CPU), tmp_path)
  assert {*config.data.columns} == {"text", "label"}
  assert "image" not in text.partition("def get_config")[2]


@pytest.mark.skipif(not shutil.which("ruff"), reason="needs ruff")
def test_source_is_as_ruff_formats_it(tmp_path):
  long = {"a" * 20: (1, 2.5), "b" * 20: ("x",), "c" * 30: {"d": Name("e | f")}}
  called = Call("make", "first", width=64, options=long, **{"**": Name("more")})
  plain = Call("make", "first", name="n" * 30, other="o" * 30)
  noted = {"steps": Noted(3, "A comment " * 12), "call": plain}
  text = "def function(more):\n" + "\n".join(
    [
      source.assigned("one", called, "What it is."),
      source.assigned("two", noted),
      source.returned((Name("one"), Name("two"))),
    ]
  )
  path = tmp_path / "made.py"
  path.write_text(text + "\n")
  config = strangers.ROOT / "pyproject.toml"
  done = subprocess.run(
    ["ruff", "format", "--diff", f"--config={config}", str(path)],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stdout


def test_a_root_is_relative_where_the_data_are_near(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert writing.place("lab/birds", "configs/birds.py") == "../lab/birds"
  assert writing.place("/somewhere", "birds.py") == "/somewhere"
  (tmp_path / "lab/birds").mkdir(parents=True)
  (tmp_path / "configs").mkdir()
  config = {"data": {"root": "../lab/birds"}}
  monkeypatch.chdir("/")
  locations.anchor(config, tmp_path / "configs")
  assert pathlib.Path(config["data"]["root"]).samefile(tmp_path / "lab/birds")


REFUSED = {
  "an empty folder": (lambda _: None, "no table, image, recording or array"),
  "one class": (
    lambda it: [strangers.picture(it / f"owl/{n}.png", n) for n in range(40)],
    "one class, 'owl'",
  ),
  "no labels": (
    lambda it: layouts.table(it / "a.csv", rows(text=strangers.told)),
    "No column of the table can be the label",
  ),
  "pictures alone": (
    lambda it: [strangers.picture(it / f"{n}.png", n) for n in range(40)],
    "No column of the table can be the label",
  ),
  "empty labels": (
    lambda it: layouts.table(
      it / "a.csv", rows(size=number, label=lambda _: "")
    ),
    "is empty|can be the label",
  ),
  "two labels": (
    lambda it: layouts.table(
      it / "a.csv",
      rows(size=number, hue=layouts.label, form=lambda n: "abc"[n % 3]),
    ),
    "Which column is the label.*hue, form",
  ),
  "two tables": (
    lambda it: [
      layouts.table(it / f"{name}.csv", rows(text=strangers.told))
      for name in ("one", "other")
    ],
    "Which table",
  ),
  "a label alone": (
    lambda it: layouts.table(it / "a.csv", rows(label=layouts.label)),
    "No column or array is a modality",
  ),
  "files that are not there": (
    lambda it: layouts.table(
      it / "a.csv", rows(photo=lambda n: f"{n}.png", label=layouts.label)
    ),
    "'0.png' of the column 'photo' is no file below",
  ),
  "broken pictures": (
    lambda it: [_broken(it, n) for n in range(40)],
    "of 40 records of .* cannot be read",
  ),
}


def _broken(folder, place):
  path = folder / f"{layouts.label(place)}/{place}.png"
  path.parent.mkdir(exist_ok=True)
  path.write_bytes(b"no picture")


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_cannot_be_trained_on_are_refused(name, tmp_path):
  make, match = REFUSED[name]
  make(tmp_path)
  with pytest.raises(UserError, match=match):
    choices.choose(facts.read(str(tmp_path)), on=CPU)


def test_a_mistake_of_a_flag_is_refused(tmp_path, capsys):
  flags = strangers.FOLDERS["folder_of_pictures"](tmp_path / "data")
  out = tmp_path / "mine.py"

  def refused(match, *words):
    with pytest.raises(SystemExit):
      cli.main(["new", *words])
    assert re.search(match, capsys.readouterr().err)

  refused("takes --data and --out", *flags)
  refused("no Python file", *flags, f"--out={tmp_path / 'mine'}")
  named = [*flags, f"--out={out}"]
  refused(
    "no modality 'imag' of --student.*mean 'image'", *named, "--student=imag"
  )
  refused("no modality 'audio' of --teacher", *named, "--teacher=image,audio")
  refused("--columns has 'photo'", *named, "--columns=photo")
  refused("no set of TFDS either", "--data=nowhere", f"--out={out}")
  refused("No file or folder", "--data=./nowhere", f"--out={out}")
  assert not out.exists()
  out.write_text("")
  refused("exists. Name another file", *named)


def test_columns_of_a_flag_may_have_commas():
  from kdjax.verbs import _columns

  words = ["a=numbers:x", "y", "label=z"]
  assert _columns.stated(words) == {"a": "numbers:x, y", "label": "z"}
  assert _columns.stated([]) is None


def test_an_estimate_is_the_sum_of_its_parts():
  costs = {
    "teacher": estimate.Cost(5.0, 0.03, 1000, 10.0),
    "alone": estimate.Cost(4.0, 0.01, 1000, 1.0),
  }
  said = estimate.sentence(costs, "2 CPU cores", 3)
  assert "about 60 s on 2 CPU cores" in said and "teacher 10 ms" in said
  assert [*map(estimate.duration, (89, 91, 7200))] == ["89 s", "2 min", "2.0 h"]


def test_steps_fit_in_ten_minutes(tmp_path):
  plan = choices.choose(read("numbers_with_text", tmp_path), on=CPU)
  plan = choices.with_steps(plan, 3000, "Steps: 3000.")
  cost = estimate.Cost(20.0, 0.1, 3000, 80.0)
  same, costs = distilling.affordable(plan, {"alone": cost}, "a laptop")
  assert (same, costs) == (plan, {"alone": cost})
  fewer, costs = distilling.affordable(
    plan, {"teacher": cost, "alone": cost}, "a laptop"
  )
  assert fewer.steps == costs["alone"].steps == 2000
  assert sum(it.seconds for it in costs.values()) == distilling.BUDGET
  said = [it for it in fewer.reasons if it.startswith("Steps: ")]
  assert said == [
    "Steps: 2000, not 3000, so that a run takes about 10 min on a laptop."
  ]
  _, config = write(fewer, tmp_path)
  assert config.stages.distilled.steps == 2000
  assert config.stages.distilled.eval_every == 200
  slow = cost._replace(step=9.0)
  fewer, _ = distilling.affordable(plan, {"alone": slow}, "a laptop")
  assert fewer.steps == choices.LEAST


def test_a_label_is_kept_whose_column_was_stated(tmp_path):
  layouts.table(
    tmp_path / "a.csv", rows(size=number, kind=layouts.label, hue=layouts.label)
  )
  found = facts.read(str(tmp_path), {"size": "numbers:size", "label": "kind"})
  assert [*found.modalities] == ["size"] and found.label == "kind"
  assert json.dumps(found.options["columns"])


def test_texts_without_spaces_are_read_by_characters():
  found = originals._of_texts(["一个小而快的鸟在水边飞来飞去"] * 5)
  assert found["tokenizer"] == "characters"
  assert networks.FEW and sources.SHARES


def test_arrays_and_sets_of_tfds_are_read_too(tmp_path, monkeypatch):
  made = examples.arrays(tmp_path)
  found = facts.read(made["root"])
  assert found.name == "arrays" and found.modalities and found.classes
  text, config = write(choices.choose(found, on=CPU), tmp_path)
  assert config.data.name == "arrays" and "columns" not in text
  options = examples.tfds(tmp_path / "tfds")
  monkeypatch.setattr(sources, "_catalogue", lambda path, large: options)
  found = facts.read("a_set_of_the_catalogue")
  assert found.name == "tfds" and "image" in found.modalities
  text, config = write(choices.choose(found, on=CPU), tmp_path)
  assert config.data.dataset == options["dataset"]


def test_names_with_quotes_and_backslashes_are_written(tmp_path):
  name = 'kind "of" \\ bird'
  layouts.table(
    tmp_path / "a.csv",
    [
      {"size": number(place), name: layouts.label(place)} for place in range(90)
    ],
  )
  found = facts.read(str(tmp_path))
  _, config = write(choices.choose(found, on=CPU), tmp_path)
  assert config.data.columns["label"] == name


def test_a_checkpoint_reads_its_modality_beside_the_student(tmp_path):
  found = read("two_tables_with_captions", tmp_path)
  path = tmp_path / "bert"
  path.mkdir()
  state = lambda kind: (path / "config.json").write_text(
    json.dumps({"model_type": kind})
  )
  choose = lambda *names: choices.choose(found, *names, CPU, str(path))
  state("bert")
  plan = choose(["text"], ["image", "text"])
  assert (plan.student, plan.teacher) == (("text",), ("image", "pieces"))
  column = plan.facts.options["columns"]["pieces"]
  assert column["tokenizer"] == str(path)
  assert column["column"] == "text:caption" and column["length"] == 32
  _, config = write(plan, tmp_path)
  encoder = config.stages.teacher.networks.student.encoders.pieces
  assert (encoder.pretrained, encoder.still) == (str(path), ("",))
  # Alone, its embedding has a classifier of a fusion.
  assert dict(choose(["image"], ["text"]).large.items)["encoders"]
  with pytest.raises(UserError, match="reads text, and the teacher has image"):
    choose(["image"], ["image"])
  state("whisper")
  with pytest.raises(UserError, match="'whisper', which `kdjax new` does not"):
    choose([], [])
  state("bird")
  with pytest.raises(UserError, match=r"model_type 'bird'\. No network"):
    choose([], [])
