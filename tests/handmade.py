"""A handmade workdir, for tests of the report."""

import html.parser
import json
import types

import numpy as np

from kdjax import registry

ACCURACY = {
  "teacher": [0.90, 0.92, 0.94],
  "alone": [0.70, 0.74, 0.72],
  "distilled": [0.80, 0.81, 0.88],
}

# Eight test examples of three classes, in the order of the predictions.
INDEX = np.array([107, 103, 101, 100, 106, 102, 105, 104])
LABEL = np.array([0, 1, 2, 0, 1, 2, 0, -1])
# The predicted classes of each seed. By majority, 'alone' is wrong at positions
# 1, 2 and 4 (and right at 6), and 'distilled' is wrong at 6 only.
PREDICTED = {
  "teacher": [[0, 1, 2, 0, 1, 2, 0, 0]] * 3,
  "alone": [
    [0, 0, 0, 0, 2, 2, 0, 1],
    [0, 0, 2, 0, 2, 2, 0, 1],
    [0, 1, 1, 0, 2, 2, 0, 1],
  ],
  "distilled": [
    [0, 1, 2, 0, 1, 2, 1, 1],
    [0, 1, 2, 0, 1, 1, 1, 1],
    [0, 1, 0, 0, 1, 2, 0, 1],
  ],
}


# The figures that a report of it has.
DRAWN = {
  *("stages", "curves", "terms", "reliability", "roc", "examples"),
  *("confusion", "classes"),
}


class Source:
  """Ten images with indices unlike their positions; records each `take`."""

  index = np.arange(109, 99, -1)

  def __init__(self):
    self.requests = []

  def __len__(self):
    return len(self.index)

  def take(self, positions):
    self.requests.append(np.asarray(positions))
    ramp = np.linspace(0, 1, 6 * 6, dtype=np.float32).reshape(6, 6, 1)
    images = np.stack([ramp] * len(positions))
    return {"image": images, "index": self.index[positions]}


def install(monkeypatch):
  """Registers a `Source` as the data set "tiny" for one test."""
  source = Source()
  tiny = types.SimpleNamespace(
    load=lambda split, seed=None, *, size: source,
    class_names=lambda *, size: ("ant", "bee", "cat"),
  )
  monkeypatch.setitem(registry._registered, ("data", "tiny"), tiny)
  return source


def make(folder, *, seeds=3, finished=("teacher", "alone", "distilled")):
  """Writes a workdir like that of a run."""
  folder.mkdir(parents=True)
  order = list(ACCURACY)
  config = {
    "name": "tiny",
    "seeds": seeds,
    "seed": 4,
    "data": {"name": "tiny", "labelled_fraction": None, "size": 6},
    "stages": {name: stage(name) for name in sorted(order)},
    "order": order,
    "gains": [["distilled", "alone"]],
    "notes": {},
  }
  write_json(folder / "config.json", config)
  environment = {
    "packages": {"jax": "9.8.7"},
    "command": "kdjax run --config=configs/tiny.py --workdir=runs/tiny",
    "commit": "0123456789abcdef",
  }
  write_json(folder / "environment.json", environment)
  lines = [
    {"stage": name, "step": step, "seed": 4 + seed, "name": key, "value": value}
    for name in order
    for step in (10, 20, 30)
    for seed in range(seeds)
    for key, value in (
      ("train/loss", 2.0 / step + 0.01 * seed),
      ("train/loss/softly", 4.0 / step + 0.01 * seed),
      ("validation/accuracy", 0.5 + 0.01 * step),
    )
  ]
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (folder / "metrics.jsonl").write_text(text)
  for name in finished:
    finish(folder / "stages" / name, name, seeds)
  return folder


def stage(name):
  term = {
    "loss": "kd",
    "weight": 0.75,
    "reads": {"student": "student/logits", "teacher": "teacher/logits"},
    "heads": {},
    "targets": ["teacher"],
    "temperature": 4.0,
  }
  teacher = {
    "stage": "teacher",
    "network": "student",
    "paired": False,
    "which": "best",
  }
  return {
    "networks": {"student": {"name": "mlp", "init_from": None, "width": 7}},
    "teachers": {"teacher": teacher} if name == "distilled" else {},
    "terms": {"softly": term},
    "steps": 30,
    "batch_size": 2,
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "ema_decay": 0.0,
    "select": "accuracy",
    "select_mode": "max",
    "data": {},
  }


def finish(folder, name, seeds):
  folder.mkdir(parents=True)
  accuracy = ACCURACY[name][:seeds]
  lower = [value - 0.05 for value in accuracy]
  nll = [0.5, 0.7, 0.9][:seeds]
  result = {
    "stage": name,
    "steps": 30,
    "seeds": [4, 5, 6][:seeds],
    "test": {
      "best": {"accuracy": accuracy, "nll": nll, "map": [[1, 2]] * seeds},
      "last": {"accuracy": lower, "nll": nll},
    },
    "validation": {"best": {"accuracy": accuracy}},
    "best_step": [20] * seeds,
    "parameters": {"student": 1234, "peer": 99},
    "examples_per_second": 1500.0,
    "seconds": 2.5,
    "device": "2 x abacus",
  }
  write_json(folder / "result.json", result)
  predicted = np.array(PREDICTED[name][:seeds])
  logits = 3.0 * np.eye(3, dtype=np.float32)[predicted]
  np.savez(folder / "predictions.npz", index=INDEX, label=LABEL, logits=logits)


def write_json(path, content):
  path.write_text(json.dumps(content))


def edit_json(path, change):
  content = json.loads(path.read_text())
  change(content)
  write_json(path, content)


class Page(html.parser.HTMLParser):
  """The URLs that a page loads and links, its tags and its text."""

  def __init__(self, text):
    super().__init__()
    self.loads, self.links, self.tags, self.text = [], [], [], ""
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    loading = (
      "src",
      "srcset",
      "href",
      "xlink:href",
      "data",
      "poster",
      "action",
    )
    urls = self.links if tag == "a" else self.loads
    urls += [value for key, value in attrs if key in loading]

  def handle_data(self, data):
    self.text += data
