"""Layouts in which people have data, each as a small folder.

Each function of LAYOUTS writes its files into a folder. It returns what
`kdjax inspect data` is called with: the path of --data and the columns of
--columns, and the modality that a network reads. OPTIONS has those of a config,
where a command line cannot say them.

  python -c "import layouts; layouts.write_all('folder')"   in tests/
"""

import csv
import json
import pathlib

import numpy as np
from examples import audio_file, image_file, tone

COUNT = 24
NAMES = ("cat", "dog")
SPLITS = ("train",) * 16 + ("val",) * 4 + ("test",) * 4
TEXTS = ("a small animal", "it barks at night", "it sleeps all day")


def label(place):
  return NAMES[place % 2]


def table(path, rows, separator=","):
  """A CSV of dicts."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open("w", newline="") as file:
    writer = csv.DictWriter(file, rows[0].keys(), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)


def lines(path, rows):
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def parquet(path, rows, features=None):
  """A Parquet file, with the features that the Hugging Face hub states."""
  import pyarrow
  from pyarrow import parquet

  path.parent.mkdir(parents=True, exist_ok=True)
  written = pyarrow.Table.from_pylist(rows)
  if features:
    info = json.dumps({"info": {"features": features}})
    written = written.replace_schema_metadata({"huggingface": info})
  parquet.write_table(written, path)


def texts():
  return [
    {"text": TEXTS[place % 3], "label": label(place)} for place in range(COUNT)
  ]


def folder_per_class(folder):
  for place in range(COUNT):
    image_file(folder / f"{label(place)}/{place}.png", place)
  (folder / "cat/.DS_Store").write_bytes(b"x")
  (folder / "README.txt").write_text("pictures of animals")
  return folder, (), "image"


def folder_per_split_and_class(folder):
  for place, split in enumerate(SPLITS):
    image_file(folder / f"{split}/{label(place)}/{place}.png", place)
  return folder, (), "image"


def recordings_per_class(folder):
  for place in range(COUNT):
    audio_file(folder / f"{label(place)}/{place}.wav", tone(place))
  return folder, (), "audio"


def table_per_split(folder):
  rows = texts()
  table(folder / "train.csv", rows[:18])
  table(folder / "test.csv", rows[18:])
  return folder, (), "text"


def shards(folder):
  features = {"label": {"_type": "ClassLabel", "names": list(NAMES)}}
  rows = []
  for place in range(COUNT):
    image_file(folder / "made.png", place)
    content = (folder / "made.png").read_bytes()
    rows.append({"image": {"bytes": content, "path": None}, "label": place % 2})
  (folder / "made.png").unlink()
  name = "data/{}-0000{}-of-0000{}.parquet"
  parquet(folder / name.format("train", 0, 2), rows[:9], features)
  parquet(folder / name.format("train", 1, 2), rows[9:18], features)
  parquet(folder / name.format("test", 0, 1), rows[18:], features)
  return folder, (), "image"


def hub_paths(folder):
  """Images of the Hugging Face hub by path alone."""
  rows = []
  for place in range(COUNT):
    image_file(folder / f"images/{place}.png", place)
    path = f"images/{place}.png"
    rows.append({"image": {"bytes": None, "path": path}, "label": label(place)})
  parquet(folder / "table.parquet", rows)
  return folder, (), "image"


def parts(folder):
  """Shards of one table, without splits."""
  rows = texts()
  for number in range(3):
    parquet(folder / f"part-{number}.parquet", rows[8 * number :][:8])
  return folder, (), "text"


def embeddings(folder):
  vectors = np.random.default_rng(0).normal(size=(COUNT, 5)).tolist()
  rows = [
    {"vector": vector, "label": label(place), "split": SPLITS[place]}
    for place, vector in enumerate(vectors)
  ]
  parquet(folder / "table.parquet", rows)
  return folder, ("numbers=vector", "label=label"), "numbers"


def embeddings_in_files(folder):
  rows = []
  for place in range(COUNT):
    np.save(folder / f"{place}.npy", np.full(3, place, np.float64))
    rows.append({"numbers": f"{place}.npy", "label": label(place)})
  table(folder / "table.csv", rows)
  return folder, (), "numbers"


def steps_of(place):
  """A sequence of 5 to 8 steps of two sensors."""
  rng = np.random.default_rng(place)
  return rng.normal(size=(5 + place % 4, 2)).round(3)


def sequences(folder):
  rows = [
    {"sequence": steps_of(place).tolist(), "label": label(place)}
    for place in range(COUNT)
  ]
  lines(folder / "table.jsonl", rows)
  return folder, (), "sequence"


def sequences_in_files(folder):
  rows = []
  for place in range(COUNT):
    name = f"{place}.npy" if place % 2 else f"{place}.csv"
    if place % 2:
      np.save(folder / name, steps_of(place))
    else:
      cells = steps_of(place).tolist()
      table(folder / name, [{"x": x, "y": y} for x, y in cells])
    rows.append({"sequence": name, "label": label(place)})
  table(folder / "manifest.csv", rows)
  return folder, (), "sequence"


def frames(folder):
  rows = []
  for place in range(COUNT):
    paths = [f"{place}/{number}.png" for number in range(2 + place % 3)]
    for number, path in enumerate(paths):
      image_file(folder / path, 10 * place + number)
    rows.append({"frames": paths, "label": label(place)})
  lines(folder / "table.jsonl", rows)
  return folder / "table.jsonl", (), "frames"


def semicolons(folder):
  rows = [row | {"text": row["text"] + ", really"} for row in texts()]
  table(folder / "table.csv", rows, ";")
  return folder, (), "text"


def plain_tabs(folder):
  """Tabs, and quotes that are characters."""
  body = "".join(f'"{row["text"]}\t{row["label"]}\n' for row in texts())
  (folder / "table.tsv").write_text("text\tlabel\n" + body)
  return folder, (), "text"


def long_cells(folder):
  rows = [row | {"text": "word " * 40_000} for row in texts()]
  table(folder / "table.csv", rows)
  return folder, (), "text"


def several_labels(folder):
  rows = [
    row | {"noise": ("loud", "quiet", "none")[place % 3]}
    for place, row in enumerate(texts())
  ]
  table(folder / "table.csv", rows)
  columns = ("text=text", "label=label", "label/noise=noise")
  return folder, columns, "text"


def captions(folder):
  """One or two captions of an image, in a list."""
  rows = []
  for place in range(COUNT):
    image_file(folder / f"img/{place}.png", place)
    lists = [TEXTS[place % 3], f"{TEXTS[place % 3]} again"][: 1 + place % 2]
    row = {"image": f"img/{place}.png", "text": lists, "label": label(place)}
    rows.append(row | {"split": SPLITS[place]})
  lines(folder / "table.jsonl", rows)
  return folder, (), "text"


def two_tokenizers(folder):
  table(folder / "table.csv", texts())
  return folder, ("text=text", "letters=text:text", "label=label"), "text"


def speakers(folder):
  """Several recordings of a speaker, whose names are in the files' names."""
  for place in range(COUNT):
    name = f"s{place % 8}/{label(place)}_{place}.wav"
    audio_file(folder / name, tone(place))
  return folder, (), "audio"


# What a config says beyond the path and the columns.
OPTIONS = {
  "semicolons": {"separator": ";"},
  "parts": {"table": "part-*.parquet"},
  "two_tokenizers": {
    "columns": {
      "text": "text",
      "letters": {"column": "text:text", "tokenizer": "characters"},
      "label": "label",
    }
  },
  "speakers": {
    "table": "{speaker}/{label}_*.wav",
    "group_column": "speaker",
  },
}

LAYOUTS = {
  name: it
  for name, it in globals().items()
  if getattr(it, "__code__", None)
  and it.__code__.co_varnames[:1] == ("folder",)
}


def write_all(folder):
  """All layouts, each in a folder of its name."""
  for name, write in LAYOUTS.items():
    path = pathlib.Path(folder, name)
    path.mkdir(parents=True, exist_ok=True)
    write(path)
