"""`kdjax bench`: what is measured and how it is said, never how fast."""

import io
import itertools
import json
import multiprocessing
import re

import numpy as np
import pytest
from PIL import Image

from kdjax import cli, registry
from kdjax.bench import decoding, feed_throughput, timing
from kdjax.config import fields
from kdjax.feed import loaders
from kdjax.verbs import bench

CONFIG = """
from kdjax.config import data, experiment, network, stage, teacher, term

def get_config():
  labels = {"ce": term("cross_entropy")}
  student = network("conv", widths=(4,), num_classes=10)
  alone = stage(student, terms=labels, batch_size=16)
  taught = stage(
    student,
    teachers={"teacher": teacher("alone")},
    terms={**labels, "kd": term("kd")},
    batch_size=32,
  )
  return experiment(
    "x", seeds=2, data=data("digits"), stages={"a": alone, "alone": alone,
    "taught": taught},
  )
"""

SPREAD = {"median", "low", "high"}


@pytest.fixture
def config(tmp_path):
  path = tmp_path / "config.py"
  path.write_text(CONFIG)
  return path


@pytest.fixture
def in_line(monkeypatch):
  """Streams are made by the one who reads them: no thread, no process."""
  made = []

  def ahead(items, workers):
    made.append(workers)
    yield from (items[place] for place in itertools.count())

  monkeypatch.setattr(loaders, "ahead", ahead)
  return made


@pytest.fixture
def few_rounds(monkeypatch):
  monkeypatch.setattr(bench, "ROUNDS", 2)


def is_spread(value):
  return value.keys() == SPREAD and (
    value["low"] <= value["median"] <= value["high"]
  )


def test_every_feed_is_timed_and_its_numbers_are_printed_and_written(
  config, tmp_path, capsys, few_rounds
):
  out = tmp_path / "bench.json"
  cli.main(
    [
      "bench",
      "data",
      f"--config={config}",
      "--seconds=0.1",
      "--workers=1",
      f"--out={out}",
    ]
  )
  names = ["held batch", "device", "stream, threads", "stream, 1 processes"]
  printed = capsys.readouterr().out
  for name in names:
    assert re.search(rf"^{name}", printed, re.MULTILINE), name
  assert re.search(r"^taught on digits: \d+ examples, 2 seeds of 32", printed)
  assert "examples/s" in printed and "ms a step" in printed
  found = json.loads(out.read_text())
  assert found["stage"] == "taught" and found["data"] == "digits"
  assert (found["batch_size"], found["seeds"]) == (32, 2)
  assert (found["seconds"], found["workers"], found["rounds"]) == (0.1, 1, 2)
  assert found["chosen"] == "device" and found["left_out"] == {}
  assert [row["feed"] for row in found["rows"]] == names
  floor, *rows = found["rows"]
  assert floor.keys() == {"feed", "step_milliseconds"}
  for row in rows:
    assert row["start_seconds"] > 0
    for key in ("examples_per_second", "step_milliseconds", "share"):
      assert is_spread(row[key]), key
    assert row["step_milliseconds"]["low"] > 0
    assert row["examples_per_second"]["low"] > 0
    assert row["share"]["high"] < 1


@pytest.mark.parametrize(("load", "told"), [(0.1, False), (3.5, True)])
def test_that_others_are_at_work_is_said(load, told, monkeypatch, capsys):
  monkeypatch.setattr(bench.os, "getloadavg", lambda: (load, 0.0, 0.0))
  monkeypatch.setattr(bench.os, "cpu_count", lambda: 2)
  monkeypatch.setattr(decoding, "measure", lambda **_: [])
  cli.main(["bench", "data"])
  assert ("3.5 threads ran on 2 cores" in capsys.readouterr().out) == told


def test_beside_pytorch_a_machine_at_work_is_warned_of():
  assert "ratios to it say nothing" in bench._busy(3.5, 2, "loop.py")
  assert "ratios" not in bench._busy(3.5, 2, None)


def test_pngs_are_decoded_in_every_way(monkeypatch, capsys, few_rounds):
  monkeypatch.setattr(decoding, "PICTURES", 256)
  monkeypatch.setattr(decoding, "BATCH", 32)
  cli.main(["bench", "data", "--seconds=0.2", "--workers=2"])
  printed = capsys.readouterr().out
  rows = dict(
    re.findall(r"^(.+?)  +([\d,]+)  .* to .*$", printed, re.MULTILINE)
  )
  assert list(rows) == [
    "bare, 2 processes",
    "files, 2 processes",
    "stream, 2 processes",
    "stream, threads",
  ]
  assert all(int(rate.replace(",", "")) > 0 for rate in rows.values())
  assert re.search(r"^bare.* 1.00 +1.00 to 1.00$", printed, re.MULTILINE)
  assert multiprocessing.active_children() == []


def test_the_images_are_pieces_of_photographs_as_their_manifest_says(tmp_path):
  encoded = decoding.write(tmp_path, 6)
  source = registry.find("data", "manifest").load(
    "train", root=str(tmp_path), validation=0.0, test=0.0
  )
  found = source.take(np.arange(6))
  assert found["label"].tolist() == [0, 1] * 3
  for image, one in zip(found["image"], encoded, strict=True):
    with Image.open(io.BytesIO(one)) as expected:
      assert (expected.format, expected.size) == ("PNG", (32, 32))
      np.testing.assert_array_equal(image, np.asarray(expected))
    assert len(np.unique(image)) > 10
  assert len(set(encoded)) == 6


def test_a_set_that_is_too_large_is_not_held(config, in_line, monkeypatch):
  monkeypatch.setattr(loaders, "CPU_BYTES", 100)
  found = feed_throughput.measure(
    fields.load(str(config)), "alone", seconds=0.02, workers=3, rounds=2
  )
  assert [row["feed"] for row in found["rows"]] == [
    "held batch",
    "stream, threads",
    "stream, 3 processes",
  ]
  assert in_line == [0, 3]
  assert found["chosen"] == "stream, threads"
  assert "more than it may hold" in found["left_out"]["device"]
  assert (found["stage"], found["batch_size"]) == ("alone", 16)


def test_a_feed_is_measured_against_the_held_batch_of_its_own_round():
  floor, *rows = feed_throughput.rows_of(
    {
      "a": [(0.010, 0.0125), (0.020, 0.040), (0.030, 0.030)],
      "a alone": [0.001, 0.002, 0.004],
    },
    {"a": 3.5},
    examples=64,
  )
  assert floor["step_milliseconds"]["median"] == pytest.approx(20)
  assert [row["feed"] for row in rows] == ["a"]
  assert rows[0]["start_seconds"] == 3.5
  assert rows[0]["share"]["median"] == pytest.approx(0.2)
  assert rows[0]["share"]["high"] == pytest.approx(0.35)
  assert rows[0]["step_milliseconds"]["median"] == pytest.approx(30)
  assert rows[0]["examples_per_second"]["median"] == pytest.approx(32_000)


def test_all_take_turns_in_every_round():
  turns = []
  run = lambda name: lambda seconds: turns.append((name, seconds)) or len(turns)
  found = timing.interleaved({"a": run("a"), "b": run("b")}, 3, 0.5)
  assert turns == [("a", 0.5), ("b", 0.5)] * 3
  assert found == {"a": [1, 3, 5], "b": [2, 4, 6]}


@pytest.mark.parametrize(
  ("flags", "match"),
  [
    ([], "needs a --config"),
    (["date"], "Did you mean 'data'"),
    (["data", "more"], "no 'data more'"),
    (["data", "--seconds=0"], "seconds above 0"),
    (["data", "--workers=0"], "1 worker or more"),
    (["data", "--stage=a"], "not given"),
    (["--methods", "--stage=a"], "not given"),
    (["--config", "--rounds=0"], "1 round or more"),
    (["--config", "--torch=a.py"], "--torch is of 'kdjax bench pairs'"),
    (
      ["pairs", "--config"],
      "--config is of 'kdjax bench' or",
    ),
    (["pairs", "--pairs=mlb"], "Did you mean 'mlp'"),
    (["pairs", "--torch=/no/such/loop.py"], "No file '/no/such/loop.py'"),
    (["data", "--against=/no/such.json"], "No file '/no/such.json'"),
    (["--config", "--stage=tought"], "Did you mean 'taught'"),
    (["data", "--out=/no/such/folder/a.json"], "No folder"),
    (["data", "--config", "--stage=tought"], "Did you mean 'taught'"),
  ],
)
def test_a_mistake_is_said(flags, match, config, capsys):
  flags = [f"{flag}={config}" if flag == "--config" else flag for flag in flags]
  with pytest.raises(SystemExit) as stopped:
    cli.main(["bench", *flags])
  assert stopped.value.code == 2
  assert match in capsys.readouterr().err
