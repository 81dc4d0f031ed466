"""Metrics are cut back to the restored step; TensorBoard has the same."""

import json

import pytest
from tensorboardX.proto.event_pb2 import Event

from kdjax.config import records
from kdjax.config.files import write_atomically
from kdjax.training.metrics_log import MetricsLog


def read(path):
  return records.metrics(path, pytest.fail)


def events(workdir, stage="alone", seed=0):
  """(name, step, value) of all TensorBoard events."""
  folder = workdir / "events" / stage / f"seed{seed}"
  scalars = []
  for path in sorted(folder.glob("events*")):
    data, start = path.read_bytes(), 0
    while start < len(data):
      size = int.from_bytes(data[start : start + 8], "little")
      event = Event.FromString(data[start + 12 : start + 12 + size])
      scalars += [
        (value.tag, event.step, value.simple_value)
        for value in event.summary.value
      ]
      start += 12 + size + 4
  return scalars


def fill(workdir, stage, steps, start=0):
  log = MetricsLog(workdir, stage, [0, 1], start)
  for step in steps:
    log.write(step, "train/loss", [1.0 / step, 2.0 / step])
  log.close()


def test_records_after_the_restored_step_are_dropped(tmp_path):
  fill(tmp_path, "teacher", (10, 20))
  fill(tmp_path, "alone", (10, 20, 30))
  fill(tmp_path, "alone", (25,), start=20)
  records = read(tmp_path / "metrics.jsonl")
  steps = [(r["stage"], r["step"]) for r in records if r["seed"] == 1]
  assert steps == [
    ("teacher", 10), ("teacher", 20), ("alone", 10), ("alone", 20),
    ("alone", 25),
  ]  # fmt: skip
  assert records[1] == {
    "stage": "teacher", "step": 10, "seed": 1, "name": "train/loss",
    "value": 0.2,
  }  # fmt: skip


def test_events_equal_the_records(tmp_path):
  fill(tmp_path, "alone", (10, 20, 40))
  fill(tmp_path, "alone", (30,), start=20)
  assert events(tmp_path, seed=1) == [
    ("train/loss", 10, pytest.approx(0.2)),
    ("train/loss", 20, pytest.approx(0.1)),
    ("train/loss", 30, pytest.approx(2 / 30)),
  ]


def test_an_incomplete_last_line_is_dropped(tmp_path):
  fill(tmp_path, "alone", (10, 20))
  path = tmp_path / "metrics.jsonl"
  path.write_text(path.read_text()[:-7])
  fill(tmp_path, "alone", (30,), start=20)
  for line in path.read_text().splitlines():
    json.loads(line)
  steps = [(record["step"], record["seed"]) for record in read(path)]
  assert steps == [(10, 0), (10, 1), (20, 0), (30, 0), (30, 1)]


def test_values_that_are_not_finite_are_null(tmp_path):
  log = MetricsLog(tmp_path, "alone", [0], 0)
  log.write(1, "validation/loss", [float("nan")])
  log.close()
  assert [r["value"] for r in read(tmp_path / "metrics.jsonl")] == [None]
  assert events(tmp_path) == []


def test_a_file_is_replaced_atomically(tmp_path):
  write_atomically(tmp_path / "deep" / "file", "one")
  write_atomically(tmp_path / "deep" / "file", "two")
  assert (tmp_path / "deep" / "file").read_text() == "two"
  assert len(list((tmp_path / "deep").iterdir())) == 1


@pytest.mark.parametrize(
  "damaged", [b'{"stage": "al', b"\xff\xfe", b"null", b"[1]", b'{"step": 1}']
)
def test_a_damaged_line_is_lost_alone_and_named(tmp_path, damaged, capsys):
  fill(tmp_path, "teacher", (10,))
  fill(tmp_path, "alone", (10, 20))
  path = tmp_path / "metrics.jsonl"
  lines = path.read_bytes().split(b"\n")
  lines[1] = damaged
  path.write_bytes(b"\n".join(lines))
  fill(tmp_path, "alone", (30,), start=20)
  assert "metrics.jsonl, line 2 is left out" in capsys.readouterr().err
  steps = [(it["stage"], it["step"], it["seed"]) for it in read(path)]
  assert steps == [("teacher", 10, 0)] + [
    ("alone", step, seed) for step in (10, 20, 30) for seed in (0, 1)
  ]
