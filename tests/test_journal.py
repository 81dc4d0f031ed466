"""Records: cut back to the restored step, and TensorBoard made from them."""

import json

import pytest
from tensorboardX.proto.event_pb2 import Event

from kdjax.training.metrics_log import Journal, read, replace


def events(workdir, stage="alone", seed=0):
  """(name, step, value) of all TensorBoard events."""
  folder = workdir / "events" / stage / f"seed{seed}"
  found = []
  for path in sorted(folder.glob("events*")):
    data, place = path.read_bytes(), 0
    while place < len(data):
      size = int.from_bytes(data[place : place + 8], "little")
      event = Event.FromString(data[place + 12 : place + 12 + size])
      found += [
        (value.tag, event.step, value.simple_value)
        for value in event.summary.value
      ]
      place += 12 + size + 4
  return found


def fill(workdir, stage, steps, start=0):
  journal = Journal(workdir, stage, [0, 1], start)
  for step in steps:
    journal.write(step, "train/loss", [1.0 / step, 2.0 / step])
  journal.close()


def test_records_after_the_restored_step_are_dropped(tmp_path):
  fill(tmp_path, "teacher", (10, 20))
  fill(tmp_path, "alone", (10, 20, 30))
  fill(tmp_path, "alone", (25,), start=20)
  lines = list(read(tmp_path / "metrics.jsonl"))
  steps = [(one["stage"], one["step"]) for one in lines if one["seed"] == 1]
  assert steps == [
    ("teacher", 10), ("teacher", 20), ("alone", 10), ("alone", 20),
    ("alone", 25),
  ]  # fmt: skip
  assert lines[1] == {
    "stage": "teacher", "step": 10, "seed": 1, "name": "train/loss",
    "value": 0.2,
  }  # fmt: skip


def test_events_hold_what_the_records_hold(tmp_path):
  fill(tmp_path, "alone", (10, 20, 40))
  fill(tmp_path, "alone", (30,), start=20)
  assert events(tmp_path, seed=1) == [
    ("train/loss", 10, pytest.approx(0.2)),
    ("train/loss", 20, pytest.approx(0.1)),
    ("train/loss", 30, pytest.approx(2 / 30)),
  ]


def test_a_torn_last_line_is_dropped(tmp_path):
  fill(tmp_path, "alone", (10, 20))
  path = tmp_path / "metrics.jsonl"
  path.write_text(path.read_text()[:-7])
  fill(tmp_path, "alone", (30,), start=20)
  for line in path.read_text().splitlines():
    json.loads(line)
  steps = [(one["step"], one["seed"]) for one in read(path)]
  assert steps == [(10, 0), (10, 1), (20, 0), (30, 0), (30, 1)]


def test_what_is_not_finite_is_null(tmp_path):
  journal = Journal(tmp_path, "alone", [0], 0)
  journal.write(1, "validation/loss", [float("nan")])
  journal.close()
  assert [one["value"] for one in read(tmp_path / "metrics.jsonl")] == [None]
  assert events(tmp_path) == []


def test_a_file_is_replaced_whole(tmp_path):
  replace(tmp_path / "deep" / "file", "one")
  replace(tmp_path / "deep" / "file", "two")
  assert (tmp_path / "deep" / "file").read_text() == "two"
  assert len(list((tmp_path / "deep").iterdir())) == 1
