"""Tables as people have them: quotes, labels, split columns, groups, texts."""

import json

import examples
import numpy as np
import pytest

from kdjax import config
from kdjax.data import _labels, _splits, manifest
from kdjax.errors import UserError
from kdjax.feed import class_counts
from kdjax.stage.build import build
from kdjax.training import workdir

SPLITS = ("train", "validation", "test")
COLUMNS = {"text": "text", "label": "label"}


@pytest.fixture
def table(tmp_path):
  """Writes a table; returns its options."""

  def write(rows, name="table.csv", header="text,label,split", **options):
    if name.endswith(".jsonl"):
      body = "".join(json.dumps(row) + "\n" for row in rows)
    else:
      separator = "\t" if name.endswith(".tsv") else ","
      body = header.replace(",", separator) + "\n"
      body += "".join(
        row if isinstance(row, str) else separator.join(row) + "\n"
        for row in rows
      )
    (tmp_path / name).write_text(body)
    options.setdefault("columns", COLUMNS)
    return {"root": str(tmp_path), "table": name, **options}

  return write


def rows_of(labels, splits=None):
  """Records of one label each; the last two are validation and test."""
  splits = splits or ["train"] * (len(labels) - 2) + ["val", "test"]
  return [
    (f"w{place}", label, split)
    for place, (label, split) in enumerate(zip(labels, splits, strict=True))
  ]


def labels_of(options, split="train"):
  return manifest.load(split, **options).labels.tolist()


def faults_of(options, split="train"):
  options = {"on_error": "skip", "most_broken": 1.0, **options}
  return {
    fault.line: fault.reason
    for fault in manifest.load(split, **options).records()
  }


# Quotes


@pytest.mark.parametrize("place", [0, 3, 40])
@pytest.mark.parametrize(
  "line", ['"12 inch,a,train\n', 'x,"a,train\n', 'x,a,"train\n', '"\n']
)
@pytest.mark.parametrize("quoted_after", [False, True])
def test_an_open_quote_ends_with_its_line(table, place, line, quoted_after):
  rows = rows_of(["a", "b"] * 25)
  if quoted_after:  # a quote further on is not the end of the open one
    rows[45] = ('"one, two"', "a", "train")
  rows.insert(place, line)
  options = table(rows)
  faults = faults_of(options)
  # A line that the quote further on ends is a record of too many fields.
  assert place + 2 in faults and len(faults) == 1
  whole = manifest.load("train", **options, on_error="skip", most_broken=0.1)
  assert len(whole.index) == 49


def test_a_quoted_cell_may_have_lines_and_separators(table):
  rows = rows_of(["a", "b", "a", "b"])
  rows[1] = ('"one,\n""two""\nthree"', "b", "train")
  options = table(rows)
  assert not faults_of(options)
  assert labels_of(options) == [0, 1]


def test_a_quote_in_tabs_is_a_character_where_it_does_not_close(table):
  rows = rows_of(["a", "b", "a", "b"])
  rows[0] = ('"half a quote', "a", "train")
  rows[1] = ('"a\ttab"', "b", "train")
  options = table(rows, "table.tsv", length=3)
  batch = manifest.load("train", **options).take(np.arange(2))
  assert batch["mask/text"].sum(axis=1).tolist() == [3, 2]
  assert batch["label"].tolist() == [0, 1]
  faults = faults_of({**options, "quoting": "never"})
  assert list(faults) == [3] and "4 fields" in faults[3]
  assert list(faults_of({**options, "quoting": "always"})) == [2]


@pytest.mark.parametrize(
  ("options", "match"),
  [
    ({"quoting": "sometimes"}, "quoting is 'sometimes'"),
    ({"separator": ";;"}, "separator is ';;'"),
    ({"separator": '"'}, "Expected one character"),
  ],
)
def test_an_impossible_way_of_reading_is_a_mistake(table, options, match):
  with pytest.raises(UserError, match=match):
    manifest.load("train", **table(rows_of("abab")), **options)


def test_lines_of_json_without_an_object_are_a_mistake(tmp_path):
  (tmp_path / "t.jsonl").write_text('[\n {\n  "text": "a"\n }\n]\n')
  with pytest.raises(UserError, match="no record: line 1 is not JSON"):
    manifest.load("train", root=str(tmp_path), table="t.jsonl", columns=COLUMNS)


def test_a_column_of_parquet_that_is_not_used_is_not_read(
  tmp_path, monkeypatch
):
  import pyarrow
  from pyarrow import parquet

  rows = [
    {"text": "a", "label": "x", "Set": split, "huge": b"0" * 1000}
    for split in ("train", "val", "test")
  ]
  parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
  asked = []
  whole = parquet.read_table

  def read(path, columns):
    asked.append(columns)
    return whole(path, columns=columns)

  monkeypatch.setattr(parquet, "read_table", read)
  options = {"root": str(tmp_path), "table": "t.parquet", "columns": COLUMNS}
  assert [len(manifest.load(split, **options)) for split in SPLITS] == [1, 1, 1]
  assert asked == [["text", "label", "Set"]]


# Labels


@pytest.mark.parametrize(
  ("labels", "names", "expected"),
  [
    (["3", "4", "4.5", "5", "3.0"], ("3", "4", "4.5", "5"), [0, 1, 2, 3, 0]),
    (["10", "9.5", "2"], ("2", "9.5", "10"), [2, 1, 0]),
    (["0", "2", "1.0"], ("0", "1", "2"), [0, 2, 1]),
    (["007", "3", "+3"], tuple("01234567"), [7, 3, 3]),
    (["1_0", "2_0", "1_0"], ("1_0", "2_0"), [0, 1, 0]),
    (["1", "2", "two"], ("1", "2", "two"), [0, 1, 2]),
    (["cat", "cat\u00a0", " cat"], ("cat",), [0, 0, 0]),
    (["caf\u00e9", "cafe\u0301", "x"], ("caf\u00e9", "x"), [0, 0, 1]),
    (["a\u200bb", "ab", "a  b"], ("a b", "ab"), [1, 1, 0]),
    (["-1", "0", "1"], ("0", "1"), [-1, 0, 1]),
  ],
)
def test_labels_compare_as_numbers_and_as_names(table, labels, names, expected):
  options = table(rows_of([*labels, labels[0], labels[0]]))
  assert manifest.class_names(**options) == names
  assert labels_of(options) == expected


@pytest.mark.parametrize(
  ("label", "match"),
  [
    ("1", "no class is called '1'"),  # not the position of b
    ("0", "no class is called '0'"),
    ("bb", "did you mean 'b'"),
    ("nan", "is no class; the cell of an unlabelled record is empty"),
    ("['a', 'b']", "a list written as a text"),
    ("[1]", "a list written as a text"),
    ("\u00a0", "is blank"),
  ],
)
def test_a_label_that_is_no_class_is_a_fault(table, label, match):
  rows = rows_of(["a", "b", "a", "b"])
  rows[-1] = ("w", f'"{label}"', "test")
  faults = faults_of(table(rows), "test")
  assert match in faults[5]


@pytest.mark.parametrize(
  "label", [float("nan"), float("inf"), {"id": 1}, [1, 2], [], [["a"]]]
)
def test_a_value_that_is_no_name_is_a_fault(table, label):
  rows = [{"text": "a", "label": "cat", "split": split} for split in SPLITS] + [
    {"text": "a", "label": label, "split": "train"}
  ]
  options = table(rows, "table.jsonl")
  assert list(faults_of(options)) == [4]
  assert manifest.class_names(**options) == ("cat",)


def test_whole_numbers_are_positions_in_stated_names_alone(table):
  options = table(rows_of(["0", "1", "1.0", "0"]), classes=("cat", "dog"))
  assert labels_of(options) == [0, 1]
  numbered = table(rows_of(["0", "1", "1", "0"]), classes=("1", "2"))
  assert faults_of(numbered) == {
    2: "no class is called '0' (`classes` names all)"
  }
  skipping = {**numbered, "on_error": "skip", "most_broken": 1.0}
  assert labels_of(skipping, "validation") == [0]


@pytest.mark.parametrize("pair", [("cat", "Cat"), ("STRASSE", "stra\u00dfe")])
def test_names_that_differ_by_case_alone_are_refused_unless_stated(table, pair):
  options = table(rows_of([*pair, "dog", "dog"]))
  with pytest.raises(UserError, match="differ by case alone"):
    manifest.load("train", **options)
  assert labels_of({**options, "classes": (*pair, "dog")}) == [0, 1]


def test_an_identifier_as_a_label_takes_no_memory(table):
  options = table(rows_of(["0", "1700000000", "0", "0"]))
  with pytest.raises(UserError, match="up to 1700000000"):
    manifest.load("train", **options)


@pytest.mark.parametrize("digits", [25, 400, 5000])
def test_a_number_of_many_digits_is_no_class_and_no_traceback(table, digits):
  rows = rows_of(["3", "1" * digits, "3", "3"])
  for name in ("table.csv", "table.jsonl"):
    written = rows
    if name.endswith("l"):
      keys = ("text", "label", "split")
      written = [dict(zip(keys, it, strict=True)) for it in rows]
    options = table(written, name)
    with pytest.raises(UserError, match="The labels go up to 1111") as error:
      manifest.load("train", **options)
    assert len(str(error.value)) < 300


SEVERAL = {"text": "text", "label": "labels:labels"}


def several(table, cells, **options):
  rows = [
    {"text": "a", "labels": cell, "split": split}
    for cell, split in zip(
      cells, ["train"] * (len(cells) - 2) + ["val", "test"], strict=True
    )
  ]
  return table(rows, "table.jsonl", columns=SEVERAL, **options)


def test_a_list_of_a_0_or_1_a_class_is_such_a_row(table):
  cells = [[0, 1, 0, 0, 1, 0], [1, 1, 0, 0, 0, 0], [0] * 6, [0, 1, 0, 0, 0, 1]]
  options = several(table, cells)
  assert manifest.class_names(**options) == tuple("012345")
  assert labels_of(options) == cells[:2]
  assert labels_of(options, "validation") == [cells[2]]
  named = several(table, cells, classes=tuple("abcdef"))
  assert labels_of(named) == cells[:2]


def test_a_list_of_another_length_among_them_is_a_fault(table):
  cells = [[0, 1, 0], [1, 1], [1, 0, 2], [0, 0, 0], [1, 1, 0]]
  faults = faults_of(several(table, cells))
  assert {
    line: "0 or 1 for each of 3" in it for line, it in faults.items()
  } == {
    2: True,
    3: True,
  }


def test_lists_of_classes_remain_lists_of_classes(table):
  options = several(table, [[0, 2], [1], [0, 1, 2], [2]])
  assert labels_of(options) == [[1, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize("cell", ["x|y|", "|x", "x||y", ["x", ""], ["x", None]])
def test_an_empty_name_among_several_is_a_fault(table, cell):
  options = several(table, ["x|y", cell, "x", "y"])
  assert "has an empty name" in faults_of(options)[2]
  assert manifest.class_names(**options) == ("x", "y")


def test_a_list_written_as_a_text_is_a_fault_of_several_labels(table):
  options = several(table, ["x|y", "['x', 'y']", "x", "y"])
  assert "a list written as a text" in faults_of(options)[2]


def test_a_class_that_a_drawn_split_alone_has_is_a_class(table):
  rows = [(f"w{row}", f"c{row}" if row < 10 else "common") for row in range(60)]
  options = table(rows, header="text,label")
  assert len(manifest.class_names(**options)) == 11
  assert sum(len(labels_of(options, split)) for split in SPLITS) == 60


def test_a_class_that_a_stated_split_alone_has_is_a_fault(table):
  options = table(rows_of(["a", "b", "a", "c"]))
  reason = faults_of(options, "test")[5]
  assert "no class is called 'c'" in reason
  assert "no training record has it; `classes` would name all" in reason


def test_spellings_that_are_read_as_others_are_remarked(table):
  options = table(rows_of(["cat", "cat\u00a0", "dog", "cat", "cat"]))
  (remark,) = manifest.remarks(**options)
  assert "1 spellings of classes" in remark and "as 'cat'" in remark


def test_names_in_the_form_that_is_compared_are_kept():
  for name in ("cat", "a b", "3", "4.5", "\u732b", "x_1", "-2"):
    assert _labels.name_of(_labels.name_of(name)) == name


def test_classes_without_an_example_are_named():
  labels = {
    "train": np.array([0, 1, -1]),
    "validation": np.array([2, 2]),
    "test": np.array([-1]),
    "several": np.array([[1, 0, 0], [0, 1, -1]]),
  }
  train, validation, several = class_counts.absent(("a", "b", "c"), labels)
  assert "'train' has the class 'c', of 3" in train
  assert "'validation' has the class 'a', 'b'" in validation
  assert "'several' has the class 'c'" in several
  (many,) = class_counts.absent([*"abcdefghi"], {"train": np.zeros(1, int)})
  assert "and 3 more, of 9 classes" in many


# Splits and groups


@pytest.mark.parametrize(
  "name", ["Split", "SPLIT", " split ", "set", "Fold", "subset", "partition"]
)
@pytest.mark.parametrize(
  "words", [("train", "val", "test"), ("Training", "DEV", "eval")]
)
def test_a_column_of_splits_is_used_by_any_of_its_names(table, name, words):
  if words[2] == "eval":
    words = (*words[:2], "Testing")
  rows = rows_of("ababab", [words[0]] * 3 + [words[1]] * 2 + [words[2]])
  options = table(rows, header=f"text,label,{name}")
  sizes = [len(manifest.load(split, **options)) for split in SPLITS]
  assert sizes == [3, 2, 1]


@pytest.mark.parametrize("name", ["fold", "Set", "Split"])
def test_such_a_column_of_other_words_is_refused(table, name):
  options = table(
    rows_of("ababab", ["train", "2", "3", "4", "5", "6"]),
    header=f"text,label,{name}",
  )
  with pytest.raises(UserError, match=f"'{name}' .*called as a split is.*'2'"):
    manifest.load("train", **options)
  drawn = {**options, "split_column": "", "validation": 0.3, "test": 0.3}
  assert sum(len(manifest.load(split, **drawn)) for split in SPLITS) == 6


def test_two_columns_of_splits_are_refused(table):
  rows = [(*row, row[2]) for row in rows_of("abab")]
  with pytest.raises(UserError, match=r"Two columns .* set, Subset"):
    manifest.load("train", **table(rows, header="text,label,set,Subset"))
  used = table(rows, header="text,label,split,set")
  assert len(manifest.load("train", **used)) == 2


def test_every_name_of_a_split_names_it():
  for split in SPLITS:
    for word in _splits.names_of(split):
      assert _splits.named(f" {word.upper()} ") == split


def test_records_of_a_drawn_group_are_together_and_stated_ones_are_counted(
  table,
):
  rows = [(f"w{row}", "ab"[row % 2], f"p{row // 5}") for row in range(100)]
  options = table(rows, header="text,label,patient")
  grouped = {**options, "group_column": "patient"}
  found = [
    {int(row) // 5 for row in manifest.load(split, **grouped).index}
    for split in SPLITS
  ]
  assert sum(map(len, found)) == 20 and all(found)
  assert not manifest.remarks(**grouped)
  stated = table(
    [
      (*row, ("train", "val", "test")[number % 3])
      for number, row in enumerate(rows)
    ],
    header="text,label,patient,split",
    group_column="patient",
  )
  (remark,) = manifest.remarks(**stated)
  assert "20 of 20 'patient' are in several splits" in remark


def test_a_record_has_the_number_of_its_group(table):
  rows = [
    (f"w{row}", "ab"[row % 2], f"p{row * 7 % 30:02}") for row in range(60)
  ]
  options = table(rows, header="text,label,patient", group_column="patient")
  names = manifest.group_names(**options)
  assert names == tuple(f"p{number:02}" for number in range(30))
  assert manifest.spec(**options)["group"].dtype == np.int32
  for split in SPLITS:
    source = manifest.load(split, **options)
    part = source.take(np.arange(len(source)))
    found = [names[it] for it in part["group"]]
    assert found == [rows[row][2] for row in part["index"]]
  plain = {**options, "group_column": ""}
  assert manifest.group_names(**plain) == ()
  assert "group" not in manifest.spec(**plain)
  taken = {**options, "columns": {"text": "text", "group": "target:label"}}
  with pytest.raises(UserError, match="columns has the key 'group'"):
    manifest.spec(**taken)


def test_a_record_without_a_group_is_a_fault(table):
  rows = [("w0", "a", ""), ("w1", "b", "p1"), ("w2", "a", "p2")]
  options = table(rows, header="text,label,patient", group_column="patient")
  assert faults_of(options) == {2: "it is empty, and is the group"}


def test_a_repeated_key_names_the_option_of_groups(table):
  rows = [("w0", "a", "p1"), ("w1", "b", "p1"), ("w2", "a", "p2")]
  options = table(rows, header="text,label,patient", record_key="patient")
  with pytest.raises(UserError, match="group_column='patient'"):
    manifest.load("train", **options)


@pytest.mark.parametrize("folds", [3, 5, "groups"])
def test_each_fold_is_the_test_split_of_one_seed(table, folds):
  rows = [(f"w{row}", "ab"[row % 2], f"p{row // 5}") for row in range(60)]
  options = table(
    rows, header="text,label,patient", group_column="patient", folds=folds
  )
  count = 12 if folds == "groups" else folds
  tests = []
  for seed in range(count):
    parts = [
      {*manifest.load(split, seed, **options).index.tolist()}
      for split in SPLITS
    ]
    assert sorted(row for part in parts for row in part) == [*range(60)]
    groups = [{row // 5 for row in part} for part in parts]
    assert sum(map(len, groups)) == 12
    tests.append(parts[2])
    validation = parts[1]
    following = manifest.load("test", seed + 1, **options).index.tolist()
    assert validation == {*following}
  assert sorted(row for part in tests for row in part) == [*range(60)]
  sizes = {len(part) // 5 for part in tests}
  assert max(sizes) - min(sizes) <= 1
  texts = {manifest.load("train", it, **options).fingerprint for it in (0, 1)}
  assert len(texts) == 2


@pytest.mark.parametrize("folds", [1, 2, -3, "groups", "ten"])
def test_folds_that_cannot_be_are_a_mistake(table, folds):
  rows = [(f"w{row}", "ab"[row % 2], f"p{row // 5}") for row in range(10)]
  options = table(
    rows, header="text,label,patient", group_column="patient", folds=folds
  )
  with pytest.raises(UserError, match="Expected 3 or more"):
    manifest.load("train", **options)


def test_folds_and_stated_splits_are_refused(table):
  with pytest.raises(UserError, match="'split' divides the records"):
    manifest.load("train", **table(rows_of("abab")), folds=3)


def test_some_labels_of_each_class_are_kept_by_seed(table):
  rows = rows_of(["a", "b"] * 20 + ["", "", "a", "b"])
  header = "text,label,split"
  options = table(rows, header=header, labels_per_class=3)
  labels = [
    manifest.load("train", seed, **options).labels for seed in (0, 1, 0)
  ]
  for found in labels:
    assert [(found == label).sum() for label in (0, 1)] == [3, 3]
  assert (labels[0] == labels[2]).all() and (labels[0] != labels[1]).any()
  assert labels_of(options, "test") == [1]
  for columns, what in (
    ({"text": "text"}, "no labels"),
    ({"label": "labels:label"}, "several"),
  ):
    with pytest.raises(UserError, match=f"the data has {what}"):
      manifest.load("train", **{**options, "columns": columns})
  with pytest.raises(UserError, match="labels_per_class=30"):
    manifest.load("train", **{**options, "labels_per_class": 30})


# Texts


def test_a_script_without_spaces_is_remarked(table):
  rows = rows_of("abab")
  rows[0] = ("\u6211\u559c\u6b22\u8fd9\u53ea\u5c0f\u732b", "a", "train")
  (remark,) = manifest.remarks(**table(rows))
  assert "tokenizer='characters'" in remark
  assert not manifest.remarks(**table(rows, tokenizer="characters"))


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_no_message_is_longer_than_a_screen(table, kind):
  for cell in (["x" * 10**6], {"a": "b" * 10**6}, "p" * 10**6, [[1] * 10**5]):
    rows = [{kind: cell, "split": split} for split in SPLITS]
    options = table(rows, "table.jsonl", columns={kind: kind})
    with pytest.raises(UserError) as error:
      manifest.load("train", **options).take(np.arange(1))
    assert len(str(error.value)) < 1000


# Files


NFC, NFD = "caf\u00e9.png", "cafe\u0301.png"


@pytest.mark.parametrize(
  ("cell", "file", "hint"),
  [
    (NFC, NFD, "in the form NFD"),
    (NFD, NFC, "in the form NFC"),
    ("img\\1.png", "img/1.png", "'img/1.png' exists: write '/'"),
    ("IMG.PNG", "img.png", "'img.png' exists: case counts"),
    ("~/img.png", "img.png", "'~' is not expanded"),
  ],
)
def test_a_file_that_is_nearly_there_is_hinted_at(
  table, tmp_path, cell, file, hint
):
  examples.image_file(tmp_path / file, 0)
  rows = [{"image": cell, "split": split} for split in SPLITS]
  options = table(rows, "table.jsonl", columns={"image": "image"})
  with pytest.raises(UserError) as error:
    manifest.load("train", **options).take(np.arange(1))
  assert hint in str(error.value)


@pytest.mark.parametrize(
  ("kind", "hint"),
  [("image", "HEIC is not read"), ("audio", "M4A is not read")],
)
def test_formats_of_phones_are_named(table, tmp_path, kind, hint):
  content = b"\0\0\0\x18ftypheic" + bytes(100)
  for name in ("a.heic", "a.m4a", "a.jpg"):
    (tmp_path / name).write_bytes(content)
    rows = [{kind: name, "split": split} for split in SPLITS]
    options = table(rows, "table.jsonl", columns={kind: kind})
    with pytest.raises(UserError, match=hint):
      manifest.load("train", **options).take(np.arange(1))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_table_of_utf_16_is_named(tmp_path, encoding):
  text = "\ufeff" * (encoding != "utf-16") + "text,label\na,b\n"
  (tmp_path / "t.csv").write_bytes(text.encode(encoding))
  options = {"root": str(tmp_path), "table": "t.csv", "columns": COLUMNS}
  with pytest.raises(UserError, match="encoding='utf-16'"):
    manifest.class_names(**options)
  assert manifest.class_names(**options, encoding="utf-16") == ("b",)


# Sample rates


def pipelines_of(folder, pipeline, **options):
  """The training pipeline of a stage on recordings."""
  columns = {"audio": "audio", "label": "label"}
  net = config.network("audio_cnn", widths=(4,), num_classes=2)
  plain = config.stage(net, terms={"ce": config.term("cross_entropy")}, steps=1)
  plan = config.experiment(
    "rates",
    data=config.data(
      "manifest",
      root=str(folder),
      table="table.csv",
      columns=columns,
      classes=("a", "b"),
      pipelines={
        "train": {"audio": pipeline},
        "evaluation": {"audio": pipeline},
      },
      **options,
    ),
    stages={"alone": plain},
  )
  stage = build(workdir.resolve(plan), "alone")
  return str(stage.objective.views.pipelines["train"]["audio"])


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_spectrogram_has_the_sample_rate_of_the_data(tmp_path, rate):
  read = pipelines_of(
    tmp_path, "log_mel(mels=8)|dynamic_range", sample_rate=rate
  )
  assert f"sample_rate={rate}" in read
  same = f"log_mel(sample_rate={rate}, mels=8)"
  assert f"sample_rate={rate}" in pipelines_of(tmp_path, same, sample_rate=rate)


def test_another_sample_rate_than_that_of_the_data_is_refused(tmp_path):
  with pytest.raises(UserError, match=r"sample_rate=16000.* has 8000 Hz"):
    pipelines_of(tmp_path, "log_mel(sample_rate=16000)", sample_rate=8000)
