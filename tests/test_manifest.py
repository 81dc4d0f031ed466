"""Manifests: records as examples, and the report of every kind of fault."""

import csv
import gzip
import io
import json
import pickle
import re
import struct
import zlib

import numpy as np
import pytest
from examples import CAPTIONS, CLASSES, audio_file, image_file, tone, write_csv
from PIL import Image

from kdjax.data import manifest
from kdjax.errors import UserError

SPLITS = ("train", "validation", "test")
HEADER = (
  *("id", "photo", "clip", "caption", "height", "weight", "shape", "split"),
)
OPTIONS = {
  "columns": {
    "image": "photo",
    "audio": "clip",
    "text": "caption",
    "sizes": "numbers:height, weight",
    "label": "shape",
  },
  "record_key": "id",
  "classes": CLASSES,
  "image_size": (8, 8),
  "sample_rate": 8000,
  "seconds": 0.1,
  "length": 4,
  "validation": 0.0,
  "test": 0.0,
}


# Files, good and bad


def png_head(width, height):
  """A PNG that says how large it is and then holds next to nothing."""

  def chunk(kind, data):
    code = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", code)

  head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  data = zlib.compress(bytes(1000))
  return b"\x89PNG\r\n\x1a\n" + b"".join(
    chunk(*one) for one in ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
  )


def encoded(kind, size=(40, 40)):
  """An image file's bytes."""
  pixels = np.random.default_rng(1).integers(
    256, size=(*size, 3), dtype=np.uint8
  )
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, kind)
  return file.getvalue()


def make_files(folder):
  """The files that rows point to."""
  import soundfile

  for place in range(10):
    image_file(folder / f"img/{place}.png", place)
    audio_file(folder / f"wav/{place}.wav", tone(place))
  jpeg, png = encoded("JPEG"), bytearray(encoded("PNG"))
  png[len(png) // 2 : len(png) // 2 + 40] = bytes(40)
  for name, content in {
    "img/cut.jpg": jpeg[: len(jpeg) // 2],
    "img/words.png": b"this is no image at all, but a text",
    "img/corrupt.png": bytes(png),
    "img/empty.png": b"",
    "img/bomb.png": png_head(60_000, 60_000),
    "img/large.png": png_head(9_000, 9_000),
    "wav/noise.wav": bytes(range(256)) * 4,
    "wav/empty.wav": b"",
  }.items():
    (folder / name).write_bytes(content)
  (folder / "img/folder.png").mkdir()
  audio_file(folder / "wav/zero.wav", [])
  wave = np.sin(np.arange(900, dtype=np.float32))
  wave[100] = np.nan
  soundfile.write(folder / "wav/nan.wav", wave, 8000, subtype="FLOAT")
  audio_file(folder / "wav/fast.wav", tone(3, 3200), rate=16000)
  audio_file(folder / "wav/stereo.wav", np.stack([tone(1), tone(2)], 1))


def good(place, split="train"):
  """A record without a fault."""
  return {
    "id": f"r{place:04d}",
    "photo": f"img/{place % 10}.png",
    "clip": f"wav/{place % 10}.wav",
    "caption": CAPTIONS[place % 3],
    "height": f"{place / 8}",
    "weight": f"{place % 5}",
    "shape": CLASSES[place % 3],
    "split": split,
  }


# name -> (what is changed in a record, the column, what is said). A string in
# place of changes replaces the line.
FAULTS = {
  "truncated JPEG": (
    {"photo": "img/cut.jpg"},
    "photo",
    "broken image: .*trunc",
  ),
  "no image": ({"photo": "img/words.png"}, "photo", "not an image"),
  "corrupt PNG": ({"photo": "img/corrupt.png"}, "photo", "a broken image"),
  "absent image": (
    {"photo": "img/gone.png"},
    "photo",
    "no file 'img/gone.png'",
  ),
  "folder": (
    {"photo": "img/folder.png"},
    "photo",
    "'img/folder.png' is a fold",
  ),
  "escape": ({"photo": "../../etc/passwd"}, "photo", "outside of the folder"),
  "absolute": ({"photo": "/etc/passwd"}, "photo", "outside of the folder"),
  "empty image": ({"photo": "img/empty.png"}, "photo", "is an empty file"),
  "bomb": ({"photo": "img/bomb.png"}, "photo", "too large"),
  "large": ({"photo": "img/large.png"}, "photo", "9000x9000 .*limit"),
  "zero WAV": ({"clip": "wav/zero.wav"}, "clip", "audio without a sample"),
  "absent audio": ({"clip": "wav/gone.wav"}, "clip", "no file 'wav/gone.wav'"),
  "no audio": ({"clip": "wav/noise.wav"}, "clip", "no audio that can be read"),
  "empty audio": ({"clip": "wav/empty.wav"}, "clip", "is an empty file"),
  "NaN audio": ({"clip": "wav/nan.wav"}, "clip", "sample that is not finite"),
  "other encoding": (
    {"caption": "caf\udce9"},
    "caption",
    "encoding .byte 0xe9",
  ),
  "no word": ({"caption": " ?! "}, "caption", "a text without a word"),
  "label too large": ({"shape": "12"}, "shape", "label 12 is outside of the 3"),
  "label below": ({"shape": "-2"}, "shape", "label -2 is outside"),
  "label typed": ({"shape": "sqare"}, "shape", "'sqare'.*mean 'square'"),
  "no number": ({"height": "tall"}, "height", "'tall' is no number"),
  "NaN": ({"weight": "nan"}, "weight", "'nan' is not finite"),
  "infinite": ({"weight": "-inf"}, "weight", "'-inf' is not finite"),
  "too large": ({"weight": "1e39"}, "weight", "'1e39' is not finite"),
  "short line": ("r9,img/0.png,wav/0.wav", "", "3 fields where .* has 8"),
  "long line": ("r9,a,b,c,1,1,star,train,1", "", "9 fields where .* has 8"),
  "quote": ('r9,"a"b,c,c,1,1,star,train', "", "not CSV"),
  "no key": ({"id": ""}, "id", "is empty, and is the key"),
  "key twice": ({"id": "r0000"}, "id", "'r0000' is the key of line 2"),
  "split typed": ({"split": "trian"}, "split", "no split is called 'trian'"),
  "no split": ({"split": ""}, "split", "it is empty"),
}

# What looks like a fault and is none.
NO_FAULTS = {
  "another rate": {"clip": "wav/fast.wav"},
  "stereo": {"clip": "wav/stereo.wav"},
  "no label": {"shape": ""},
  "no image": {"photo": ""},
  "no audio": {"clip": ""},
  "no text": {"caption": ""},
  "no numbers": {"height": "", "weight": ""},
  "label by number": {"shape": "2"},
}


def changed(record, change):
  """A record with a fault, or the line in its place."""
  return change if isinstance(change, str) else {**record, **change}


def write(path, records):
  """A CSV of records, and of lines as they are; as bytes, if need be."""
  file = io.StringIO()
  writer = csv.writer(file, lineterminator="\n")
  writer.writerow(HEADER)
  for record in records:
    if isinstance(record, str):
      file.write(record + "\n")
    else:
      writer.writerow(record.values())
  path.write_bytes(file.getvalue().encode("utf-8", "surrogateescape"))


def everything(source):
  return source.take(np.arange(len(source)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("manifest")
  make_files(folder)
  return folder


@pytest.fixture
def load(folder, tmp_path):
  """Loads a split of a table of these records."""

  def load(records, split="train", **options):
    path = tmp_path / "table.csv"
    write(path, records)
    options = {"root": str(folder), "table": str(path), **OPTIONS, **options}
    return manifest.load(split, **options)

  return load


# Faults


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_raised_with_file_line_column_and_reason(load, name):
  change, column, reason = FAULTS[name]
  records = [good(place) for place in range(4)]
  records[2] = changed(records[2], change)
  with pytest.raises(UserError) as caught:
    everything(load(records))
  where = rf"table.csv, line 4, column '{column}': " if column else "line 4: "
  assert re.search(where + f".*{reason}", f"{caught.value}"), f"{caught.value}"


@pytest.mark.parametrize("name", FAULTS)
def test_a_skipped_record_counts_nowhere_and_changes_no_other(load, name):
  change, column, reason = FAULTS[name]
  records = [good(place) for place in range(5)]
  clean = everything(load(records))
  records[2] = changed(records[2], change)
  source = load(records, on_error="skip", most_broken=0.2)
  batch = everything(source)
  rows = [0, 1, 3, 4]
  assert batch["valid"].tolist() == [True, True, False, True, True]
  assert clean["valid"].all() and batch.keys() == clean.keys()
  for key in ("image", "audio", "sizes", "label", "index", "has/text"):
    np.testing.assert_array_equal(batch[key][rows], clean[key][rows], key)
    if key not in ("label", "index"):
      assert not batch[key][2].any(), key
  assert batch["label"][2] == -1 and batch["index"][2] == 2
  (fault,) = source.records()
  assert (fault.index, fault.line, fault.column) == (2, 4, column)
  assert re.search(reason, fault.reason)


@pytest.mark.parametrize("name", NO_FAULTS)
def test_what_is_no_fault_is_none(load, name):
  records = [good(place) for place in range(4)]
  records[1] |= NO_FAULTS[name]
  batch = everything(load(records))
  assert batch["valid"].all()
  missing = [
    key for key in batch if key.startswith("has/") and not batch[key][1]
  ]
  kinds = {"photo": "image", "clip": "audio", "caption": "text"}
  assert missing == [
    f"has/{kinds.get(column, 'sizes')}"
    for column, cell in NO_FAULTS[name].items()
    if not cell and column not in ("shape", "weight")
  ]
  assert batch["label"].tolist() == [
    0,
    {"no label": -1, "label by number": 2}.get(name, 1),
    2,
    0,
  ]


def test_a_thousand_records_with_every_fault_are_reported_one_by_one(
  load, tmp_path
):
  """Each kind thrice, in any split, some of them two to a record."""
  rng = np.random.default_rng(0)
  records = [good(place, SPLITS[place % 7 % 3]) for place in range(1000)]
  # A cell of two lines: all below are one further down.
  records[0]["caption"] = "a round\nthing"
  line_of = lambda place: place + 2 + (place > 0)
  expected = {}
  places = rng.permutation(np.arange(1, 1000))[: 3 * len(FAULTS)].tolist()
  for place, name in zip(places, [*FAULTS] * 3, strict=True):
    change, column, reason = FAULTS[name]
    records[place] = changed(records[place], change)
    expected[line_of(place), column] = reason
  for place, name in zip(places, [*FAULTS][::-1] * 3, strict=True):
    change, column, reason = FAULTS[name]
    whole = isinstance(change, str) or isinstance(records[place], str)
    if not whole and (line_of(place), column) not in expected:
      records[place] |= change
      expected[line_of(place), column] = reason
  assert len(FAULTS) >= 20 and len(expected) > 4 * len(FAULTS)

  found, index, valid = [], [], []
  for split in SPLITS:
    source = load(records, split, on_error="skip", most_broken=0.4)
    for start in range(0, len(source), 64):  # as a run does
      batch = source.take(np.arange(start, min(start + 64, len(source))))
      index.append(batch["index"])
      valid.append(batch["valid"])
    found += source.records()

  index, valid = np.concatenate(index), np.concatenate(valid)
  assert sorted(index) == [*range(1000)]
  broken = sorted(index[~valid].tolist())
  assert broken == sorted(places)
  assert {*broken} == {fault.index for fault in found}
  where = [(fault.line, fault.column) for fault in found]
  assert sorted(where) == sorted(expected)  # each once
  for fault in found:
    assert fault.file == str(tmp_path / "table.csv")
    assert fault.line == line_of(fault.index)
    assert re.search(expected[fault.line, fault.column], fault.reason), fault


def test_more_faults_than_allowed_stop(load):
  records = [good(place) for place in range(10)]
  records[3]["photo"] = records[4]["photo"] = "img/gone.png"
  source = load(records, on_error="skip", most_broken=0.1)
  assert source.take(np.array([3, 3, 5]))["valid"].tolist() == [0, 0, 1]
  with pytest.raises(UserError, match=r"2 of 10 .*most_broken=0\.1.*line 6"):
    source.take(np.array([4]))


def test_faults_of_the_table_stop_before_anything_is_decoded(load):
  records = [good(place) for place in range(10)]
  records[3]["height"] = records[4]["height"] = "tall"
  with pytest.raises(UserError, match="2 of 10 records are broken"):
    load(records, on_error="skip", most_broken=0.1)
  with pytest.raises(UserError, match="line 5, column 'height'"):
    load(records)


@pytest.mark.parametrize(
  "options", [{"on_error": "ignore"}, {"most_broken": 1.5}]
)
def test_an_answer_to_faults_that_there_is_not_is_a_mistake(load, options):
  with pytest.raises(UserError, match=next(iter(options))):
    load([good(0)], **options)


# What a record becomes


def test_a_record_is_the_image_the_waveform_the_numbers_and_the_label(load):
  row = load([good(place) for place in range(4)])[3]
  pixels = image_file_pixels(3)
  # 12 x 10 covers 8 x 8 as 9.6 x 8, of which 8 in the middle remain.
  expected = Image.fromarray(pixels).resize(
    (8, 8), Image.Resampling.BICUBIC, box=(0, 1, 10, 11)
  )
  np.testing.assert_array_equal(row["image"], np.asarray(expected))
  np.testing.assert_allclose(row["audio"], tone(3) / 32768, atol=1e-7)
  np.testing.assert_array_equal(row["sizes"], np.float32([3 / 8, 3]))
  assert row["label"] == 0 and row["index"] == 3 and row["valid"]


def image_file_pixels(place):
  """What `image_file` writes."""
  rng = np.random.default_rng(place)
  return rng.integers(256, size=(12, 10, 3), dtype=np.uint8)


def test_splits_are_those_of_the_column_by_any_of_their_names(load):
  words = ("train", "Val", "test", "dev", " validation", "training")
  records = [good(place, word) for place, word in enumerate(words)]
  found = {split: load(records, split) for split in SPLITS}
  assert {
    split: everything(source)["index"].tolist()
    for split, source in found.items()
  } == {"train": [0, 5], "validation": [1, 3, 4], "test": [2]}


def test_a_split_that_no_record_states_is_drawn_from_train_alone(load):
  records = [
    good(place, ("train", "test")[place % 3 == 0]) for place in range(90)
  ]
  found = {
    split: {*everything(load(records, split, validation=0.1))["index"].tolist()}
    for split in SPLITS
  }
  assert found["test"] == {*range(0, 90, 3)}
  assert 1 <= len(found["validation"]) <= 20
  assert found["train"] | found["validation"] == {*range(90)} - found["test"]


def test_a_record_stays_in_its_split_when_others_come_and_go(load):
  def split_of(places):
    records = [good(place) for place in places]
    found = {}
    for split in SPLITS:
      source = load(records, split, split_column="", validation=0.3, test=0.3)
      index = everything(source)["index"]
      found |= {records[at]["id"]: split for at in index}
    return found

  many, few = split_of(range(200)), split_of(range(50, 150))
  assert len(many) == 200 and len(few) == 100
  assert few == {key: many[key] for key in few}
  shares = [[*many.values()].count(split) / 200 for split in SPLITS]
  np.testing.assert_allclose(shares, (0.4, 0.3, 0.3), atol=0.1)


def test_a_record_with_an_unknown_split_is_in_train(load):
  broken = ("short line", "no key", "split typed", "no split", "quote")
  records = [good(place, "test") for place in range(20)]
  records += [good(place) for place in range(20, 40)]
  options = {"validation": 0.5, "on_error": "skip", "most_broken": 1.0}
  for place, name in enumerate(broken, start=20):
    records[place] = changed(records[place], FAULTS[name][0])
  source = load(records, **options)
  batch = everything(source)
  assert batch["index"][~batch["valid"]].tolist() == [20, 21, 22, 23, 24]
  for split in ("validation", "test"):
    assert load(records, split, **options).records() == []


def test_the_vocabulary_is_of_the_training_texts_alone(load):
  records = [good(place) for place in range(6)]
  records[4] |= {"split": "validation", "caption": "a zebra"}
  records[5] |= {"split": "test"}
  batch = everything(load(records, "validation"))
  ids = batch["text"][0].tolist()
  assert ids[0] > 1 and ids[1:] == [1, 0, 0]  # a, unknown, padding
  assert batch["mask/text"][0].tolist() == [True, True, False, False]


def test_classes_are_the_labels_of_training_unless_given(
  load, folder, tmp_path
):
  records = [good(place) for place in range(6)]
  records[3] |= {"split": "test", "shape": "hexagon"}
  options = {"root": str(folder), "table": str(tmp_path / "table.csv")}
  load(records[:3])
  names = manifest.class_names(**options, **{**OPTIONS, "classes": ()})
  assert names == tuple(sorted(CLASSES))
  with pytest.raises(UserError, match="no class is called 'hexagon'"):
    load(records, classes=())


def test_numbers_are_classes_from_0_to_the_largest(load, folder, tmp_path):
  records = [good(place) | {"shape": word} for place, word in enumerate("0231")]
  records[0]["shape"] = "4.0"
  batch = everything(load(records, classes=()))
  assert batch["label"].tolist() == [4, 2, 3, 1]
  options = {"root": str(folder), "table": str(tmp_path / "table.csv")}
  names = manifest.class_names(**options, **{**OPTIONS, "classes": ()})
  assert names == tuple("01234")


def test_several_labels_are_a_row_of_0_and_1(load):
  records = [
    good(place) | {"shape": cell}
    for place, cell in enumerate(("star|circle", "square", ""))
  ]
  source = load(records, columns={"label": "labels:shape"})
  label = everything(source)["label"]
  assert label.tolist() == [[1, 0, 1], [0, 1, 0], [-1, -1, -1]]
  assert source.labelled.tolist() == [True, True, False]


def test_targets_are_single_numbers_or_a_row_of_them(load):
  records = [good(place) for place in range(3)]
  one = everything(load(records, columns={"target": "height"}))
  two = everything(load(records, columns={"target": "height, weight"}))
  assert one["target"].tolist() == [0, 0.125, 0.25]
  assert two["target"].tolist() == [[0, 0], [0.125, 1], [0.25, 2]]


def test_two_texts_share_a_vocabulary(load):
  columns = {"text": "caption", "other": "text:shape"}
  records = [good(0) | {"shape": "round"}, good(1) | {"shape": "equal equal"}]
  batch = everything(load(records, columns=columns))
  assert batch["other"][0, 0] == batch["text"][0, 1]
  assert batch["other"][1].tolist() == [batch["text"][1, 1]] * 2 + [0, 0]


def test_a_column_may_have_a_comma_or_a_colon_in_its_name(tmp_path):
  header = '"said, by whom","image: of what"\n'
  (tmp_path / "manifest.csv").write_text(f"{header}a word,3\n")
  columns = {"text": "said, by whom", "size": "numbers:image: of what"}
  source = manifest.load(
    "train", root=str(tmp_path), columns=columns, validation=0.0, test=0.0
  )
  assert source[0]["mask/text"].sum() == 2 and source[0]["size"] == [3]


def test_numbers_are_missing_where_one_of_them_is(load):
  records = [good(place) | {"height": "2", "weight": "3"} for place in range(3)]
  records[1]["height"] = ""
  batch = everything(load(records))
  assert batch["sizes"].tolist() == [[2, 3], [0, 0], [2, 3]]
  assert batch["has/sizes"].tolist() == [True, False, True]


def test_what_is_broken_or_unlabelled_is_not_labelled(load):
  records = [good(place) for place in range(4)]
  records[1]["shape"] = ""
  records[2]["height"] = "tall"
  source = load(records, on_error="skip", most_broken=0.5)
  assert source.labels.tolist() == [0, -1, -1, 0]
  assert source.labelled.tolist() == [True, False, False, True]


def test_a_source_travels_to_another_process(load):
  source = load([good(place) for place in range(5)])
  again = pickle.loads(pickle.dumps(source))
  for key, column in everything(again).items():
    np.testing.assert_array_equal(column, everything(source)[key], key)


# Tables


def rows_of(count=6):
  return [good(place) for place in range(count)]


def as_json(record):
  """A record with numbers as numbers, and nothing where a cell is empty."""
  made = {key: value or None for key, value in record.items()}
  made |= {key: float(record[key]) for key in ("height", "weight")}
  return made


@pytest.mark.parametrize(
  "name",
  [
    "t.csv",
    "t.csv.gz",
    "t.tsv",
    "t.tsv.gz",
    "t.jsonl",
    "t.jsonl.gz",
    "t.parquet",
  ],
)
def test_every_format_holds_the_same(folder, tmp_path, load, name):
  records = rows_of()
  records[2]["photo"] = ""
  expected = everything(load(records))
  path = tmp_path / name
  if ".jsonl" in name:
    text = "".join(json.dumps(as_json(one)) + "\n" for one in records)
  else:
    file = io.StringIO()
    mark = "\t" if ".tsv" in name else ","
    writer = csv.DictWriter(file, HEADER, delimiter=mark)
    writer.writeheader()
    writer.writerows(records)
    text = file.getvalue()
  if name.endswith(".parquet"):
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.Table.from_pylist([as_json(one) for one in records])
    parquet.write_table(table, path)
  else:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
  source = manifest.load("train", root=str(folder), table=str(path), **OPTIONS)
  for key, column in everything(source).items():
    np.testing.assert_array_equal(column, expected[key], key)


@pytest.mark.parametrize(
  ("line", "column", "reason"),
  [
    ('{"caption": "a round', "", "not JSON: Unterminated.*character 13"),
    ("[1, 2]", "", "a JSON list where an object"),
    ('{"caption": "\\ud83d", "height": 1}', "caption", "half a character"),
    ('{"caption": "a", "height": NaN}', "height", "nan is not finite"),
    ('{"caption": "a", "height": "x"}', "height", "'x' is no number"),
    ('{"caption": {"a": 1}, "height": 1}', "caption", r"{'a': 1} is no text"),
  ],
)
def test_a_fault_of_a_json_line_is_reported(tmp_path, line, column, reason):
  good_line = '{"caption": "a round thing", "height": 2}\n'
  (tmp_path / "t.jsonl").write_text(f"{good_line}\n{line}\n{good_line}")
  source = manifest.load(
    "train",
    root=str(tmp_path),
    table="t.jsonl",
    columns={"text": "caption", "target": "height"},
    validation=0.0,
    test=0.0,
    on_error="skip",
    most_broken=0.5,
  )
  batch = everything(source)
  assert batch["valid"].tolist() == [True, False, True]
  assert batch["target"].tolist() == [2, 0, 2]
  (fault,) = source.records()
  assert (fault.line, fault.column) == (3, column)
  assert re.search(reason, fault.reason)


def test_a_quote_that_never_ends_says_how_far_it_was_read(load, tmp_path):
  lines = [*rows_of(3), 'r9,"img/0.png,c,c,1,1,star,train', *rows_of(3)]
  for place, record in enumerate(lines[4:], start=4):
    record["id"] = f"r{place:04d}"
  with pytest.raises(UserError, match=r"line 5: not CSV.*read up to line 8"):
    load(lines)


def test_another_encoding_is_read_where_it_is_said(tmp_path):
  (tmp_path / "manifest.csv").write_text(
    "text\ncafé\nthé\ncafé\n", encoding="latin-1"
  )
  options = {"root": str(tmp_path), "validation": 0.0, "test": 0.0}
  batch = everything(manifest.load("train", encoding="latin-1", **options))
  assert batch["text"][:, 0].tolist() == [2, 3, 2]
  with pytest.raises(UserError, match=r"line 2, column 'text': .*0xe9"):
    manifest.load("train", **options)
  with pytest.raises(UserError, match=r"cannot be read.*latin-9"):
    manifest.load("train", encoding="latin-9x", **options)


def test_the_mark_of_utf8_is_no_part_of_the_first_column(tmp_path):
  (tmp_path / "manifest.csv").write_bytes(b"\xef\xbb\xbftext\none\ntwo\n")
  source = manifest.load("train", root=str(tmp_path), validation=0.0, test=0.0)
  assert len(source) == 2 and "text" in source[0]


def test_a_table_is_read_again_when_it_has_changed(tmp_path):
  options = {"root": str(tmp_path), "validation": 0.0, "test": 0.0}
  (tmp_path / "manifest.csv").write_text("target\n1\n")
  assert len(manifest.load("train", **options)) == 1
  (tmp_path / "manifest.csv").write_text("target\n1\n22\n")
  assert len(manifest.load("train", **options)) == 2


@pytest.mark.parametrize(
  ("content", "match"),
  [
    ("", "is empty"),
    ("text,text\na,b\n", "two columns 'text'"),
    ("words\na\n", r"Which columns.*There are: words\."),
  ],
)
def test_a_table_that_says_nothing_is_a_mistake(tmp_path, content, match):
  (tmp_path / "manifest.csv").write_text(content)
  with pytest.raises(UserError, match=match):
    manifest.load("train", root=str(tmp_path))


@pytest.mark.parametrize(
  ("name", "match"),
  [
    ("manifst.csv", r"No table.*Did you mean 'manifest.csv'"),
    ("manifest.txt", r"no table by its ending.*\.jsonl"),
    ("broken.parquet", "is not Parquet"),
    ("broken.csv.gz", "cannot be read"),
  ],
)
def test_a_table_that_cannot_be_read_is_a_mistake(tmp_path, name, match):
  write_csv(tmp_path / "manifest.csv", rows_of())
  for broken in ("broken.parquet", "broken.csv.gz"):
    (tmp_path / broken).write_bytes(b"no such thing")
  with pytest.raises(UserError, match=match):
    manifest.load("train", root=str(tmp_path), table=name, **OPTIONS)


@pytest.mark.parametrize(
  ("options", "match"),
  [
    ({"columns": {"image": "foto"}}, "no column 'foto'.*mean 'photo'"),
    ({"record_key": "key"}, "no column 'key'"),
    ({"split_column": "fold"}, "no column 'fold'"),
    ({"columns": {"scene": "photo"}}, "'scene'.*unknown.*numbers:photo"),
    ({"columns": {"image": "photo, clip"}}, "no column 'photo, clip'"),
    ({"classes": ("star", "star")}, "classes has a name twice"),
    ({"columns": {"species": "label:shape"}}, "key of labels is 'label'"),
    ({"image_size": (8,)}, "image_size"),
    ({"image_size": (0, 8)}, "image_size"),
    ({"channels": 2}, "channels=2"),
    ({"fit": "crp"}, "No fit 'crp'.*crop"),
    ({"seconds": 0.0}, "one sample or more"),
    ({"validation": 0.6, "test": 0.5}, "shares of the records"),
    ({"length": 0}, "length 0"),
    ({"tokenizer": "no/such folder"}, "No tokenizer 'no/such folder'"),
  ],
)
def test_an_option_that_cannot_be_is_a_mistake(load, options, match):
  with pytest.raises(UserError, match=match):
    load(rows_of(), **options)


def test_an_empty_split_is_a_mistake(load):
  with pytest.raises(
    UserError, match=r"no record in the split 'test'.*6 records"
  ):
    load(rows_of(), "test", test=0.0)


def test_a_spec_of_stated_columns_reads_no_table():
  spec = manifest.spec(root="/no/such folder", **OPTIONS)
  assert spec["image"].shape == (8, 8, 3) and spec["sizes"].shape == (2,)
  with pytest.raises(UserError, match=r"No option 'image_sice'.*image_size"):
    manifest.spec(image_sice=(8, 8))
