"""`kdjax predict`: files, lines and tables; faults, formats, wrong usage."""

import csv
import io
import json
import os
import sys
import zipfile

import numpy as np
import pytest
from examples import CAPTIONS, CLASSES, image_file, write_csv
from test_manifest import encoded, png_head

import kdjax
from kdjax import cli, config, export
from kdjax.config.files import written_atomically
from kdjax.preprocess import tables
from kdjax.students import records
from kdjax.students.inputs import Input

pytestmark = pytest.mark.slow

GOOD, WAYS, EACH = 970, 10, 3
COLUMNS = {
  "image": "photo",
  "text": "caption",
  "sizes": "numbers:height, weight",
  "label": "shape",
}


def record(place, split):
  return {
    "photo": f"img/{place}.png",
    "caption": CAPTIONS[place % 3],
    "height": f"{place / 8}",
    "weight": f"{place % 5}",
    "shape": CLASSES[place % 3],
    "split": split,
  }


def experiment(folder):
  """Three students of a table, a few steps each."""
  knobs = {"steps": 2, "batch_size": 8, "log_every": 1, "eval_every": 2}
  knobs |= {"terms": {"cross_entropy": config.term("cross_entropy")}}
  mlp = lambda **of: config.network("mlp", widths=(8,), **of)
  text = {"vocabulary": 40, "channels": 4, "words": 3}
  words = config.network("text_cnn", **text)
  encoders = {"image": mlp(), "sizes": mlp(modality="sizes"), "text": words}
  fused = config.network("fusion", encoders=encoders, num_classes=3)
  reader = config.network("text_cnn", num_classes=3, **text)
  return config.experiment(
    "birds",
    seeds=1,
    data=config.data(
      "manifest", root=str(folder), columns=COLUMNS, image_size=(8, 8), length=4
    ),
    stages={
      "image": config.stage(mlp(num_classes=3), **knobs),
      "words": config.stage(reader, **knobs),
      "fused": config.stage(fused, **knobs),
    },
  )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  """A folder with a table, of which 970 records are the test split."""
  folder = tmp_path_factory.mktemp("birds")
  rows = [record(place, "test") for place in range(GOOD)]
  rows += [record(GOOD + place, "train") for place in range(16)]
  rows += [record(GOOD + 16 + place, "validation") for place in range(8)]
  for place in range(len(rows)):
    image_file(folder / f"img/{place}.png", place)
  write_csv(folder / "manifest.csv", rows)
  return folder


@pytest.fixture(scope="module")
def ran(data, tmp_path_factory):
  """The workdir of a run on the table."""
  folder = tmp_path_factory.mktemp("run") / "birds"
  kdjax.run(experiment(data), folder, quiet=True)
  return folder


@pytest.fixture
def predict(ran, capfd):
  """Runs the command; gives its exit status, output and errors."""

  def run(*words, stage="image"):
    code = 0
    try:
      cli.main(["predict", f"--workdir={ran}", f"--stage={stage}", *words])
    except SystemExit as stop:
      code = stop.code
    out, err = capfd.readouterr()
    return code, out, err

  return run


@pytest.fixture
def refused(predict):
  """Runs the command; gives the message of exit status 2."""

  def run(*words, **options):
    code, out, err = predict(*words, **options)
    assert (code, out) == (2, ""), err
    assert err.startswith("kdjax: ") and err.count("\n") == 1
    return err

  return run


def rows_of(out):
  return [json.loads(line) for line in out.splitlines()]


def standard_input(monkeypatch, raw):
  monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))


# A path, and what the reason of its fault says.
def broken(folder):
  """Ten kinds of files that are no image: path -> part of the reason."""
  jpeg, png = encoded("JPEG"), encoded("PNG")
  archive = io.BytesIO()
  with zipfile.ZipFile(archive, "w") as file:
    file.writestr("1.png", png)
  crc = bytearray(png)
  crc[29:33] = bytes(4)  # of the header
  contents = {
    "empty.png": (b"", "an empty file"),
    "words.png": (b"this is no image at all, but a text", "not an image"),
    "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
    "cut.png": (png[: len(png) // 2], "broken image"),
    "packed.png": (archive.getvalue(), "not an image"),
    "page.jpg": (b"<!doctype html><title>404</title>", "not an image"),
    "bomb.png": (png_head(60_000, 60_000), "too large to decode"),
    "crc.png": (bytes(crc), "image"),
  }
  found = {}
  for number in range(EACH):
    for name, (content, reason) in contents.items():
      path = folder / f"{number}-{name}"
      path.write_bytes(content)
      found[str(path)] = reason
    (folder / f"{number}-folder.png").mkdir()
    found[str(folder / f"{number}-folder.png")] = "a folder"
    found[str(folder / f"{number}-none.png")] = "no such file"
  assert len(found) == WAYS * EACH
  return found


@pytest.fixture(scope="module")
def thousand(data, tmp_path_factory):
  """A thousand paths in any order, and the reasons of those that are broken."""
  reasons = broken(tmp_path_factory.mktemp("broken"))
  paths = [str(data / f"img/{place}.png") for place in range(GOOD)] + [*reasons]
  order = np.random.default_rng(0).permutation(len(paths))
  return [paths[place] for place in order], reasons


# Broken files


def test_of_a_thousand_files_thirty_broken_ones_are_rows_with_reasons(
  predict, thousand
):
  paths, reasons = thousand
  code, out, err = predict("--format=jsonl", *paths)
  rows = rows_of(out)
  assert code == 0
  assert err == "30 of 1,000 records could not be read.\n"
  assert [row["file"] for row in rows] == paths
  faults = {row["file"]: row["fault"] for row in rows if row["fault"]}
  assert faults.keys() == reasons.keys()
  for path, reason in reasons.items():
    assert reason in faults[path], path
  for row in rows:
    assert ("class" in row) == ("probabilities" in row) == (not row["fault"])


def test_the_accuracy_of_the_rows_is_that_of_evaluate(
  predict, ran, thousand, data
):
  _, out, _ = predict("--format=jsonl", *thousand[0])
  label = {
    str(data / row.cells["photo"]): row.cells["shape"]
    for row in tables.read(data / "manifest.csv").rows
  }
  right = [
    row["class"] == label[row["file"]]
    for row in rows_of(out)
    if not row["fault"]
  ]
  assert len(right) == GOOD
  (accuracy,) = kdjax.evaluate(ran, "image")["accuracy"]
  assert np.float32(np.mean(right)) == np.float32(accuracy)


def test_if_no_file_can_be_read_the_status_is_1(predict, tmp_path):
  path = tmp_path / "words.png"
  path.write_text("no image")
  code, out, err = predict("--format=jsonl", str(path))
  assert code == 1 and rows_of(out)[0]["fault"] == "'image': not an image"
  assert err == "1 of 1 records could not be read.\n"


def test_a_pipe_is_a_fault_and_does_not_block(predict, data, tmp_path):
  os.mkfifo(tmp_path / "pipe.png")
  paths = [str(tmp_path / "pipe.png"), str(data / "img/0.png")]
  code, out, _ = predict("--format=jsonl", *paths)
  assert code == 0
  assert [bool(row["fault"]) for row in rows_of(out)] == [True, False]


# Tables


def table_of(folder, rows, name="new.csv"):
  if name.endswith(".jsonl"):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(text)
  elif name.endswith(".parquet"):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / name)
  else:
    separator = "\t" if name.endswith(".tsv") else ","
    with (folder / name).open("w", newline="") as file:
      writer = csv.DictWriter(file, rows[0].keys(), delimiter=separator)
      writer.writeheader()
      writer.writerows(rows)
  return str(folder / name)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_is_read_as_the_data_set_reads_it(predict, data, ran, ending):
  rows = [record(place, "test") for place in range(70)]
  rows[3]["caption"] = rows[4]["photo"] = rows[5]["height"] = None
  path = table_of(data, rows, f"new.{ending}")
  code, out, err = predict(
    f"--manifest={path}", "--format=jsonl", "--outputs=logits", stage="fused"
  )
  assert (code, err) == (0, "")
  student = kdjax.student(ran, "fused")
  for row, given in zip(rows_of(out), rows, strict=True):
    values = {"text": given["caption"]}
    if given["photo"]:
      values["image"] = data / given["photo"]
    if given["height"]:
      values["sizes"] = [float(given["height"]), float(given["weight"])]
    (said,) = student.predict([values])
    np.testing.assert_allclose(row["logits"], said.outputs["logits"], atol=1e-5)


def test_columns_are_stated_or_those_of_the_run_or_those_of_the_inputs(
  predict, data
):
  outs = []
  for column, flags in (
    ("photo", []),
    ("image", []),
    ("picture", ["--columns=image=picture"]),
  ):
    rows = [{column: f"img/{place}.png"} for place in range(3)]
    path = table_of(data, rows, f"{column}.csv")
    code, out, _ = predict(f"--manifest={path}", "--format=csv", *flags)
    assert code == 0
    outs.append(out)
  assert outs[0] == outs[1] == outs[2]


def test_several_columns_of_numbers_are_stated_one_by_one(predict, data):
  rows = [{"a": 1.5, "b": 2.0}, {"a": 0.0, "b": 1e3}]
  path = table_of(data, rows, "numbers.csv")
  flags = [f"--manifest={path}", "--format=csv"]
  code, out, _ = predict(*flags, "--columns=sizes=a,sizes=b", stage="fused")
  assert code == 0 and len(out.splitlines()) == 3
  code, out, _ = predict(*flags, "--columns=sizes=a", stage="fused")
  assert code == 1 and "1 numbers, expected [2]" in out


def test_a_broken_row_is_a_fault_and_the_others_are_predicted(predict, data):
  rows = [
    {"photo": "img/0.png"},
    {"photo": "../secret.png"},
    {"photo": "img/none.png"},
    {"photo": ""},
    {"photo": "img"},
    {"photo": "img/1.png"},
  ]
  path = table_of(data, rows, "broken.csv")
  with open(path, "a") as file:
    file.write("img/1.png,too,many\n")
  code, out, err = predict(f"--manifest={path}", "--format=jsonl")
  faults = [row["fault"] for row in rows_of(out)]
  assert code == 0 and "5 of 7 records" in err
  reasons = ["", "outside", "no file", "is empty", "a folder", "", "3 fields"]
  for fault, reason in zip(faults, reasons, strict=True):
    assert reason in fault and bool(fault) == bool(reason)


def test_images_in_parquet_are_read(predict, data):
  raw = [(data / f"img/{place}.png").read_bytes() for place in range(2)]
  rows = [{"image": {"bytes": one, "path": "x"}} for one in raw]
  path = table_of(data, rows, "bytes.parquet")
  code, out, _ = predict(f"--manifest={path}", "--format=jsonl")
  files = [str(data / f"img/{place}.png") for place in range(2)]
  _, other, _ = predict("--format=jsonl", *files)
  assert code == 0
  for row, same in zip(rows_of(out), rows_of(other), strict=True):
    assert row["probabilities"] == same["probabilities"]


def test_records_of_a_table_are_read_as_they_are_needed(tmp_path):
  path = tmp_path / "long.csv"
  path.write_text("text\n" + "a word\n" * 5 + '"' + "x" * 200_000 + '"\n')
  rows = tables.stream(path)
  assert next(rows).cells == {"text": "a word"}
  assert csv.field_size_limit() < 200_000  # of others, meanwhile
  assert len(list(rows)) == 5


# Texts and standard input


def test_each_line_of_a_text_is_a_record(predict, tmp_path, ran):
  lines = ["a round thing", "", "four équal sides", "it has five points"]
  path = tmp_path / "texts.txt"
  path.write_bytes("\r\n".join(lines).encode() + b"\n\xff\xfe\n")
  code, out, err = predict("--format=jsonl", str(path), stage="words")
  rows = rows_of(out)
  assert code == 0 and err == "2 of 5 records could not be read.\n"
  assert [row["line"] for row in rows] == [1, 2, 3, 4, 5]
  assert [row["text"] for row in rows[:4]] == lines
  assert rows[1]["fault"] == "an empty line"
  assert rows[4]["fault"] == "not UTF-8 (byte 0xff)"
  said = kdjax.student(ran, "words").predict([{"text": it} for it in lines])
  for place in (0, 2, 3):
    np.testing.assert_allclose(
      rows[place]["probabilities"],
      said[place].outputs["probabilities"],
      atol=1e-5,
    )


def test_standard_input_is_texts_of_a_student_of_texts(predict, monkeypatch):
  standard_input(monkeypatch, b"a round thing\nfour equal sides")
  code, out, _ = predict("--format=jsonl", "-", stage="words")
  assert code == 0
  texts = [row["text"] for row in rows_of(out)]
  assert texts == ["a round thing", "four equal sides"]


def test_standard_input_is_paths_of_other_students(predict, monkeypatch, data):
  paths = [str(data / f"img/{place}.png") for place in range(3)]
  standard_input(monkeypatch, "\n".join(paths).encode())
  _, out, _ = predict("--format=jsonl", "-")
  _, other, _ = predict("--format=jsonl", *paths)
  assert out == other != ""


def test_without_a_record_the_status_is_1(predict, monkeypatch):
  standard_input(monkeypatch, b"")
  code, out, err = predict("-", stage="words")
  assert (code, out) == (1, "") and err.startswith("0 of 0 records")


def test_lines_are_read_as_they_are_needed():
  def endless():
    while True:
      yield b"a word\n"

  it = Input("text", "text", (4,), "int32")
  read = records.of_lines(it, endless())
  assert [next(read).where["line"] for _ in range(3)] == [1, 2, 3]


def test_files_are_one_input_of_a_student_of_several(predict, data, ran):
  path = data / "img/0.png"
  flags = ["--input=image", "--format=jsonl", "--outputs=logits"]
  code, out, _ = predict(*flags, str(path), stage="fused")
  assert code == 0
  (said,) = kdjax.student(ran, "fused").predict([{"image": path}])
  logits = rows_of(out)[0]["logits"]
  np.testing.assert_allclose(logits, said.outputs["logits"], atol=1e-5)


# Formats


@pytest.fixture
def four(predict, data, tmp_path):
  """The output for three files and, first, one that does not exist."""
  paths = [str(data / f"img/{place}.png") for place in range(3)]
  return lambda *flags: predict(*flags, str(tmp_path / "none.png"), *paths)


def test_csv_and_jsonl_have_the_same_numbers(four):
  flags = ["--outputs=probabilities,embedding", "--top=2"]
  _, text, _ = four("--format=csv", *flags)
  _, lines, _ = four("--format=jsonl", *flags)
  of_csv = [*csv.DictReader(io.StringIO(text))]
  of_json = rows_of(lines)
  assert len(of_csv) == len(of_json) == 4
  for cells, row in zip(of_csv, of_json, strict=True):
    assert cells["fault"] == row["fault"]
    if row["fault"]:
      assert not cells["class"] and not cells["embedding[0]"]
      continue
    for name in ("file", "class", "class_2"):
      assert cells[name] == row[name]
    assert "class_3" not in row
    assert float(cells["probability_2"]) == row["probability_2"]
    for name, size in (("probabilities", 3), ("embedding", 8)):
      assert len(row[name]) == size
      of_row = [float(cells[f"{name}[{place}]"]) for place in range(size)]
      assert of_row == row[name]


def test_a_table_has_the_numbers_of_jsonl(four):
  _, text, _ = four()
  _, lines, _ = four("--format=jsonl")
  head, *shown = text.splitlines()
  assert head.split()[:3] == ["file", "class", "probability"]
  assert shown[0].endswith("no such file")
  for line, row in zip(shown[1:], rows_of(lines)[1:], strict=True):
    cells = [row["file"]]
    for suffix in ("", "_2", "_3"):
      probability = f"{row[f'probability{suffix}']:.4f}"
      cells += [row[f"class{suffix}"], probability]
    assert line.split() == cells
    assert line.index(cells[1]) == head.index("class")


def test_the_classes_are_the_most_probable_in_order(four):
  for row in rows_of(four("--format=jsonl")[1])[1:]:
    ranked = np.argsort(-np.array(row["probabilities"]), kind="stable")
    named = [row[f"class{suffix}"] for suffix in ("", "_2", "_3")]
    assert named == [CLASSES[place] for place in ranked]
    most = max(row["probabilities"])
    assert row["probability"] == most


def test_a_file_is_written_as_its_ending_says(four, tmp_path):
  for ending in ("csv", "jsonl", "txt"):
    path = tmp_path / "new" / f"rows.{ending}"
    code, out, _ = four(f"--out={path}")
    assert (code, out) == (0, "")
    kind = {"txt": "table"}.get(ending, ending)
    assert path.read_text() == four(f"--format={kind}")[1]
    assert [it.name for it in path.parent.glob("*.draft")] == []


def test_of_two_that_write_the_same_file_it_has_one_whole(tmp_path):
  path = tmp_path / "rows.csv"
  with written_atomically(path) as first, written_atomically(path) as second:
    for row in range(100):
      first(f"first {row}\n")
      second(f"second {row}\n")
  assert path.read_text() == "".join(f"first {row}\n" for row in range(100))
  assert [it.name for it in tmp_path.iterdir()] == ["rows.csv"]


def test_a_file_is_whole_or_as_it_was(four, tmp_path, monkeypatch):
  path = tmp_path / "rows.csv"
  path.write_text("before")

  def stopped(*arguments):
    assert [*tmp_path.glob("rows.csv.*.draft")]
    raise KeyboardInterrupt

  from kdjax.students import written

  monkeypatch.setattr(written, "row_of", stopped)
  monkeypatch.setattr(os, "_exit", sys.exit)
  code, _, _ = four(f"--out={path}")
  assert code == 130
  assert path.read_text() == "before"
  assert [it.name for it in tmp_path.iterdir()] == ["rows.csv"]


def test_a_file_that_cannot_be_written_is_an_error(refused, data, tmp_path):
  file = str(data / "img/0.png")
  error = refused(f"--out={tmp_path}", file)
  assert "cannot be written" in error and str(tmp_path) in error


# Exported students


@pytest.fixture(scope="module")
def exported(ran, tmp_path_factory):
  """Folders of two students."""
  pytest.importorskip("onnxruntime", reason='needs pip install -e ".[export]"')
  folder = tmp_path_factory.mktemp("students")
  for stage in ("image", "fused"):
    options = {"formats": ("onnx",), "most": 10}
    export.export(ran, stage, folder / stage, **options)
  return folder


def printed(capfd, *words):
  cli.main(["predict", *words])
  return capfd.readouterr().out


def test_an_exported_student_gives_the_table_of_its_stage(
  predict, exported, data, capfd
):
  files = [str(data / f"img/{place}.png") for place in range(40)]
  _, own, _ = predict(*files)
  assert printed(capfd, f"--model={exported / 'image'}", *files) == own


def test_an_exported_student_gives_the_csv_of_its_stage(
  predict, exported, data, capfd
):
  table = data / "rows.csv"  # its paths are below its folder
  rows = [
    {
      "image": f"img/{place}.png",
      "text": CAPTIONS[place % 3],
      "sizes": f"[{place / 8}, {place % 5}]",
    }
    for place in range(20)
  ]
  write_csv(table, rows)
  words = [f"--manifest={table}", "--format=csv"]
  columns = "--columns=image=image,text=text,sizes=sizes"
  _, own, _ = predict(*words, columns, stage="fused")
  own = [*csv.DictReader(io.StringIO(own))]
  said = printed(capfd, f"--model={exported / 'fused'}", *words)
  said = [*csv.DictReader(io.StringIO(said))]
  assert len(said) == len(own) == 20
  for one, other in zip(said, own, strict=True):
    assert list(one) == list(other)
    for name, value in one.items():
      if name.startswith("prob"):
        assert float(value) == pytest.approx(float(other[name]), abs=1e-6)
      else:
        assert value == other[name]


def test_a_model_and_a_workdir_are_one_too_many(refused, exported):
  error = refused(f"--model={exported / 'image'}", "photo.png")
  assert "Both --model and --workdir, --stage are given" in error


def test_a_model_that_is_no_export_is_named(capsys, tmp_path):
  with pytest.raises(SystemExit) as stop:
    cli.main(["predict", f"--model={tmp_path}", __file__])
  assert stop.value.code == 2
  assert "is no exported student" in capsys.readouterr().err


# Wrong usage


def test_files_or_a_table_are_needed_and_not_both(refused, data):
  assert "there is neither" in refused()
  table, file = str(data / "manifest.csv"), str(data / "img/0.png")
  assert "there is both" in refused(f"--manifest={table}", file)


def test_the_workdir_and_the_stage_are_needed(capsys):
  with pytest.raises(SystemExit) as stop:
    cli.main(["predict", "photo.png"])
  assert stop.value.code == 2
  assert "needs --workdir and --stage" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    (["--format=xml"], "xml"),
    (["--top=0"], "top"),
    (["--which=first"], "first"),
    (["--seed=7"], "No seed 7"),
    (["--outputs=logit"], "Did you mean 'logits'"),
    (["--input=sound"], "no input 'sound'"),
    (["--columns=image=photo"], "--manifest"),
    (["-"], "'-' alone"),
    (["--tops=2"], "Did you mean 'top'"),
  ],
)
def test_a_wrong_flag_is_an_error_that_says_so(refused, data, flags, said):
  assert said in refused(*flags, str(data / "img/0.png"))


def test_an_unknown_stage_is_an_error_with_those_that_exist(refused, data):
  error = refused(str(data / "img/0.png"), stage="imag")
  assert "No stage 'imag'" in error and "image" in error


def test_a_folder_is_an_error_that_says_so(refused, data):
  error = refused(str(data / "img"))
  assert "is a folder" in error and os.path.join("img", "*") in error


def test_files_that_do_not_exist_are_an_error(refused):
  assert "No file 'photos/*.png'" in refused("photos/*.png")


def test_a_student_of_several_inputs_needs_to_know_which(refused, data):
  error = refused(str(data / "img/0.png"), stage="fused")
  assert "reads several inputs" in error and "--input=" in error
  assert "--manifest" in error


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    (["--columns=image=foto"], "Did you mean 'photo'"),
    (["--columns=sound=photo"], "reads no 'sound'"),
    (["--columns=photo"], "Expected input=column"),
    (["--input=image"], "--input is for files"),
  ],
)
def test_a_wrong_column_is_an_error_that_says_so(refused, data, flags, said):
  assert said in refused(f"--manifest={data / 'manifest.csv'}", *flags)


def test_a_table_without_the_input_is_an_error(refused, data):
  path = table_of(data, [{"a": 1}], "other.csv")
  error = refused(f"--manifest={path}")
  assert "Which column" in error and "--columns=image=" in error


def test_a_table_that_does_not_exist_is_an_error(refused, data):
  assert "No table" in refused(f"--manifest={data / 'none.csv'}")
