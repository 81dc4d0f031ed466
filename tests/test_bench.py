"""`kdjax bench`: what it measures and prints, not how fast it is."""

import io
import itertools
import json
import multiprocessing
import re

import numpy as np
import pytest
from PIL import Image

from kdjax import cli, registry
from kdjax.bench import decoding, feed_throughput, text_decoding, timing
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
  """Streams run in the reader, without threads or processes.

  Returns the number of workers of each stream.
  """
  workers_of_streams = []

  def ahead(items, workers):
    workers_of_streams.append(workers)
    yield from (items[number] for number in itertools.count())

  monkeypatch.setattr(loaders, "ahead", ahead)
  return workers_of_streams


@pytest.fixture
def few_rounds(monkeypatch):
  monkeypatch.setattr(bench, "ROUNDS", 2)


def is_spread(value):
  return value.keys() == SPREAD and (
    value["low"] <= value["median"] <= value["high"]
  )


@pytest.mark.slow
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
  names = ["fixed batch", "device", "stream, threads", "stream, 1 processes"]
  printed = capsys.readouterr().out
  for name in names:
    assert re.search(rf"^  {name}", printed, re.MULTILINE), name
  assert re.search(r"^taught on digits: \d+ examples, 2 seeds of 32", printed)
  assert "examples/s" in printed and "ms a step" in printed
  result = json.loads(out.read_text())
  assert result["stage"] == "taught" and result["data"] == "digits"
  assert (result["batch_size"], result["seeds"]) == (32, 2)
  assert (result["seconds"], result["workers"], result["rounds"]) == (0.1, 1, 2)
  assert result["chosen"] == "device" and result["left_out"] == {}
  assert [row["feed"] for row in result["rows"]] == names
  baseline, *rows = result["rows"]
  assert baseline.keys() == {"feed", "step_milliseconds"}
  for row in rows:
    assert row["start_seconds"] > 0
    for key in ("examples_per_second", "step_milliseconds", "share"):
      assert is_spread(row[key]), key
    assert row["step_milliseconds"]["low"] > 0
    assert row["examples_per_second"]["low"] > 0
    assert row["share"]["high"] < 1


@pytest.mark.parametrize(("load", "warned"), [(0.1, False), (3.5, True)])
def test_other_programs_on_the_machine_are_warned_of(
  load, warned, monkeypatch, capsys
):
  monkeypatch.setattr(bench.os, "getloadavg", lambda: (load, 0.0, 0.0))
  monkeypatch.setattr(bench.os, "cpu_count", lambda: 2)
  monkeypatch.setattr(decoding, "measure", lambda **_: [])
  cli.main(["bench", "data"])
  printed = capsys.readouterr().out
  assert ("load average was 3.5 on 2 cores" in printed) == warned


def test_the_warning_says_that_ratios_to_pytorch_are_not_reliable():
  warning = bench._load_warning(3.5, 2, "loop.py")
  assert "ratios to PyTorch are not reliable" in warning
  assert "ratios" not in bench._load_warning(3.5, 2, None)


@pytest.mark.slow
def test_pngs_are_decoded_in_every_way(monkeypatch, capsys, few_rounds):
  monkeypatch.setattr(decoding, "IMAGES", 256)
  monkeypatch.setattr(decoding, "BATCH", 32)
  cli.main(["bench", "data", "--seconds=0.2", "--workers=2"])
  printed = capsys.readouterr().out
  rows = dict(
    re.findall(r"^  (.+?)  +([\d,]+)  .* to .*$", printed, re.MULTILINE)
  )
  assert list(rows) == [
    "bare, 2 processes",
    "files, 2 processes",
    "stream, 2 processes",
    "stream, threads",
  ]
  assert all(int(rate.replace(",", "")) > 0 for rate in rows.values())
  assert re.search(r"^  bare.* 1.00 +1.00 to 1.00$", printed, re.MULTILINE)
  assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_every_way_writes_all_tokens_and_greedy_ones_are_equal(
  monkeypatch, tmp_path, capsys
):
  small = {"vocabulary": 11, "width": 8, "depth": 1, "heads": 2, "beams": 2}
  monkeypatch.setattr(text_decoding, "DECODER", small)
  monkeypatch.setattr(text_decoding, "WIDTHS", (2,))
  monkeypatch.setattr(text_decoding, "LENGTHS", (6,))
  monkeypatch.setattr(text_decoding, "BATCHES", (1, 3))
  out = tmp_path / "text.json"
  cli.main(["bench", "text", "--seconds=0.02", "--rounds=2", f"--out={out}"])
  printed = capsys.readouterr().out
  assert printed.count("Every text has 6 tokens; 100.0 % of the greedy") == 2
  result = json.loads(out.read_text())
  assert result["kind"] == "text"
  cases = result["cases"]
  assert [case["case"] for case in cases] == [
    "6 tokens, batch 1",
    "6 tokens, batch 3",
  ]
  for case in cases:
    assert case["same"] == 1.0
    assert [row["way"] for row in case["rows"]] == list(text_decoding.WAYS)
    for row in case["rows"]:
      assert row["milliseconds"]["low"] > 0
      assert row["tokens_per_second"]["low"] > 0
      assert is_spread(row["faster"])
    assert case["rows"][0]["faster"]["median"] == 1.0


def test_a_text_that_ends_early_is_not_timed():
  full = np.ones((2, 4), int)
  texts = dict.fromkeys(text_decoding.WAYS, full)
  assert text_decoding._checked(texts) == 1.0
  early = np.array([[1, 1, 1, 1], [1, 0, 0, 0]])
  with pytest.raises(RuntimeError, match="'sampled' wrote the end"):
    text_decoding._checked({**texts, "sampled": early})
  other = np.array([[1, 1, 1, 1], [1, 2, 1, 1]])
  assert text_decoding._checked({**texts, "greedy": other}) == 0.5


def test_the_images_are_crops_of_photographs_as_in_their_manifest(tmp_path):
  encoded = decoding.write(tmp_path, 6)
  source = registry.find("data", "manifest").load(
    "train", root=str(tmp_path), validation=0.0, test=0.0
  )
  columns = source.take(np.arange(6))
  assert columns["label"].tolist() == [0, 1] * 3
  for image, png in zip(columns["image"], encoded, strict=True):
    with Image.open(io.BytesIO(png)) as expected:
      assert (expected.format, expected.size) == ("PNG", (32, 32))
      np.testing.assert_array_equal(image, np.asarray(expected))
    assert len(np.unique(image)) > 10
  assert len(set(encoded)) == 6


@pytest.mark.slow
def test_a_data_set_that_is_too_large_is_not_on_the_devices(
  config, in_line, monkeypatch
):
  monkeypatch.setattr(loaders, "CPU_BYTES", 100)
  result = feed_throughput.measure(
    fields.load(str(config)), "alone", seconds=0.02, workers=3, rounds=2
  )
  assert [row["feed"] for row in result["rows"]] == [
    "fixed batch",
    "stream, threads",
    "stream, 3 processes",
  ]
  assert in_line == [0, 3]
  assert result["chosen"] == "stream, threads"
  assert "do not fit the devices" in result["left_out"]["device"]
  assert (result["stage"], result["batch_size"]) == ("alone", 16)


def test_a_feed_is_compared_with_the_fixed_batch_of_its_own_round():
  baseline, *rows = feed_throughput.rows_of(
    {
      "a": [(0.010, 0.0125), (0.020, 0.040), (0.030, 0.030)],
      "a alone": [0.001, 0.002, 0.004],
    },
    {"a": 3.5},
    examples=64,
  )
  assert baseline["step_milliseconds"]["median"] == pytest.approx(20)
  assert [row["feed"] for row in rows] == ["a"]
  assert rows[0]["start_seconds"] == 3.5
  assert rows[0]["share"]["median"] == pytest.approx(0.2)
  assert rows[0]["share"]["high"] == pytest.approx(0.35)
  assert rows[0]["step_milliseconds"]["median"] == pytest.approx(30)
  assert rows[0]["examples_per_second"]["median"] == pytest.approx(32_000)


def test_all_runners_take_turns_in_every_round():
  turns = []
  run = lambda name: lambda seconds: turns.append((name, seconds)) or len(turns)
  results = timing.interleaved({"a": run("a"), "b": run("b")}, 3, 0.5)
  assert turns == [("a", 0.5), ("b", 0.5)] * 3
  assert results == {"a": [1, 3, 5], "b": [2, 4, 6]}


@pytest.mark.parametrize(
  ("flags", "match"),
  [
    ([], "needs a --config"),
    (["date"], "Did you mean 'data'"),
    (["data", "more"], "no command 'data more'"),
    (["data", "--seconds=0"], "seconds above 0"),
    (["data", "--workers=0"], "1 worker or more"),
    (["data", "--stage=a"], "--stage needs a --config"),
    (["--methods", "--stage=a"], "--stage needs a --config"),
    (["--config", "--rounds=0"], "1 round or more"),
    (
      ["--config", "--torch=a.py"],
      "'kdjax bench' does not accept --torch. Expected 'kdjax bench pairs'",
    ),
    (
      ["pairs", "--config"],
      "does not accept --config. Expected 'kdjax bench' or 'kdjax bench data'",
    ),
    (["pairs", "--pairs=mlb"], "Did you mean 'mlp'"),
    (["pairs", "--torch=/no/such/loop.py"], "'/no/such/loop.py' of --torch"),
    (["data", "--against=/no/such.json"], "'/no/such.json' of --against"),
    (["--config", "--stage=tought"], "Did you mean 'taught'"),
    (["data", "--out=/no/such/folder/a.json"], "The folder of --out="),
    (["data", "--config", "--stage=tought"], "Did you mean 'taught'"),
  ],
)
def test_a_mistake_is_an_error(flags, match, config, capsys):
  flags = [f"{flag}={config}" if flag == "--config" else flag for flag in flags]
  with pytest.raises(SystemExit) as stopped:
    cli.main(["bench", *flags])
  assert stopped.value.code == 2
  assert match in capsys.readouterr().err
