"""Workdirs, processes and files under attack: one sentence, nothing lost."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import chaos
import numpy as np
import pytest
from limits import no_file_beyond

import kdjax
from kdjax import cli, config, registry
from kdjax.config import fields
from kdjax.data import arrays, manifest
from kdjax.errors import UserError
from kdjax.preprocess import audio, images
from kdjax.report import records
from kdjax.training import environment as environments
from kdjax.training.metrics_log import MetricsLog

ROOT = pathlib.Path(__file__).parents[1]
CE = {"ce": config.term("cross_entropy")}


def plan_of(steps=4, **knobs):
  knobs = {"batch_size": 16, "log_every": 2, "eval_every": 2, **knobs}
  network = config.network("mlp", widths=(4,), num_classes=10)
  return config.experiment(
    "attacked",
    seeds=1,
    data=config.data("digits"),
    stages={"alone": config.stage(network, terms=CE, steps=steps, **knobs)},
  )


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
  folder = tmp_path_factory.mktemp("attacked") / "run"
  kdjax.run(plan_of(save_every=2), folder, quiet=True)
  return folder


@pytest.fixture
def copied(ran, tmp_path):
  return shutil.copytree(ran, tmp_path / "run")


def start(script, folder):
  """A script in a process of its own that prints a line for each step."""
  path = folder / "script.py"
  path.write_text(script)
  return subprocess.Popen(
    [sys.executable, path],
    cwd=ROOT,
    env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


# Damaged files of a workdir


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null", b"[]"])
@pytest.mark.parametrize("name", ["config.json", "stages/alone/result.json"])
def test_a_damaged_json_file_is_one_sentence(copied, name, content):
  (copied / name).write_bytes(content)
  for use in (
    lambda: kdjax.run(plan_of(save_every=2), copied, quiet=True),
    lambda: kdjax.summarize(copied),
  ):
    with pytest.raises(UserError, match=name.rpartition("/")[2]):
      use()


RECORD = {"stage": "alone", "step": 2, "seed": 0, "name": "x", "value": 1.0}


@pytest.mark.parametrize(
  "change",
  [
    {"step": "two"},
    {"step": None},
    {"seed": None},
    {"stage": 3},
    {"name": []},
    {"value": "high"},
    {"value": {}},
  ],
)
def test_a_line_of_other_types_is_left_out_alone(copied, change, capsys):
  path = copied / "metrics.jsonl"
  before = path.read_text()
  path.write_text(before + json.dumps({**RECORD, **change}) + "\n")
  said = f"line {before.count(chr(10)) + 1} is left out: '{next(iter(change))}'"
  assert records.read(copied).last_step("alone") == 4
  assert said in capsys.readouterr().err
  MetricsLog(copied, "alone", [0], 4).close()
  assert said in capsys.readouterr().err
  assert path.read_text() == before


@pytest.mark.parametrize(
  "change", [{"steps": "many"}, {"steps": None}, {"seconds": "x"}, {"seeds": 1}]
)
def test_a_result_of_other_types_is_one_sentence(copied, change):
  path = copied / "stages/alone/result.json"
  path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
  for use in (
    lambda: kdjax.run(plan_of(save_every=2), copied, quiet=True),
    lambda: kdjax.summarize(copied),
  ):
    with pytest.raises(
      UserError, match=f"result.json' .*'{next(iter(change))}"
    ):
      use()


def test_a_folder_in_place_of_the_log_is_one_sentence(copied):
  (copied / "metrics.jsonl").unlink()
  (copied / "metrics.jsonl").mkdir()
  for use in (
    lambda: records.read(copied).last_step("alone"),
    lambda: MetricsLog(copied, "alone", [0], 4),
  ):
    with pytest.raises(UserError, match=r"metrics.jsonl' cannot be read"):
      use()


def test_a_checkpoint_of_other_seeds_is_one_sentence(copied, tmp_path):
  plan = plan_of(save_every=2)
  plan.seeds = 2
  kdjax.run(plan, tmp_path / "two", quiet=True)
  checkpoints = copied / "stages/alone/checkpoints"
  shutil.rmtree(checkpoints)
  shutil.copytree(tmp_path / "two/stages/alone/checkpoints", checkpoints)
  with pytest.raises(UserError, match="has 2 states"):
    kdjax.restore(copied, "alone")


def test_a_path_where_checkpoints_would_be_lost_is_refused(tmp_path):
  with pytest.raises(UserError, match=r"has a '\['"):
    kdjax.run(plan_of(), tmp_path / "a[1]", quiet=True)
  assert not (tmp_path / "a[1]").exists()


@pytest.mark.parametrize("name", ["a]b", "a*b", "a?b", "a\nb", "ä 'b\""])
def test_a_workdir_of_any_other_name_is_restored(tmp_path, name):
  kdjax.run(plan_of(2), tmp_path / name, quiet=True)
  kdjax.restore(tmp_path / name, "alone")


@pytest.mark.parametrize("where", [0, 0.3, 0.6, 0.97, 1])
def test_damaged_predictions_are_one_sentence(copied, where):
  path = copied / "stages" / "alone" / "predictions.npz"
  raw = bytearray(path.read_bytes())
  place = min(int(where * len(raw)), len(raw) - 1)
  raw[place : place + 40] = b"\xaa" * len(raw[place : place + 40])
  path.write_bytes(raw)
  try:
    kdjax.report.write(copied)
  except UserError as error:
    assert "predictions.npz" in f"{error}"


def test_a_report_in_a_folder_that_is_not_writable_is_one_sentence(copied):
  (copied / "results.json").unlink()
  (copied / "results.json").mkdir()
  with pytest.raises(UserError, match=r"results.json' cannot be written"):
    kdjax.report.write(copied)


def test_a_checkpoint_of_more_steps_than_a_result_is_not_hidden(copied):
  plan = plan_of(6, save_every=2)
  kdjax.run(plan, copied, quiet=True)
  # Killed after a save, before the result.
  (copied / "stages" / "alone" / "result.json").unlink()
  with pytest.raises(UserError, match="is of step 6, and the config has 4"):
    kdjax.run(plan_of(save_every=2), copied, quiet=True)


def test_a_stage_that_continues_has_no_result_of_fewer_steps(copied, capsys):
  result = copied / "stages" / "alone" / "result.json"
  from kdjax.training.checkpoints import Checkpoints

  plain, seen = Checkpoints.save, []

  def save(self, step, *arguments):
    seen.append(result.exists())
    plain(self, step, *arguments)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Checkpoints, "save", save)
    kdjax.run(plan_of(6, save_every=2), copied)
  assert seen == [False]
  said = capsys.readouterr().out
  assert "with 6 steps in place of 4" in said and "schedules" in said


# Variables that were never measured


@pytest.mark.slow
def test_best_without_an_evaluation_is_an_error_that_names_last(tmp_path):
  plan = plan_of(6, save_every=2, eval_every=6)
  plan.stages.alone.log_every = 1
  kill_after_a_save(plan, tmp_path)
  for use in (kdjax.evaluate, kdjax.restore):
    with pytest.raises(UserError, match="--which=last"):
      use(tmp_path, "alone")
  kdjax.restore(tmp_path, "alone", which="last")
  assert kdjax.evaluate(tmp_path, "alone", which="last")["accuracy"]


def kill_after_a_save(plan, folder):
  """Runs a plan until its first checkpoint is saved."""
  from kdjax.training.loop import Loop

  plain = Loop._save

  def save(self, *arguments):
    plain(self, *arguments)
    self.checkpoints.wait()
    raise KeyboardInterrupt

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Loop, "_save", save)
    with pytest.raises(KeyboardInterrupt):
      kdjax.run(plan, folder, quiet=True)


@pytest.mark.slow
def test_a_wrong_selection_is_changed_on_the_trained_workdir(copied, capsys):
  plan = plan_of(save_every=2)
  plan.stages.alone.select, plan.stages.alone.select_mode = "nll", "min"
  kdjax.run(plan, copied)
  assert (
    "selects by nll min in place of accuracy max" in capsys.readouterr().out
  )
  result = json.loads((copied / "stages/alone/result.json").read_text())
  assert result["best_step"] == [4]
  assert "nll" in result["validation"]["best"]


# Signals


STEPS = """
import sys, time
from test_attacks import plan_of
import kdjax
from kdjax.training.loop import Loop

plain = Loop._train

def train(self, *arguments):
  print("step", flush=True)
  time.sleep(0.02)
  return plain(self, *arguments)

Loop._train = train
plan = plan_of(400, log_every=100000, eval_every=0)
try:
  kdjax.run(plan, sys.path[0] + "/run", quiet=True)
except KeyboardInterrupt:
  raise SystemExit(130)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_at_the_next_step_whatever_is_logged(tmp_path, number):
  process = start(STEPS, tmp_path)
  for _ in range(5):
    assert process.stdout.readline() == "step\n", process.communicate()
  process.send_signal(number)
  printed, errors = process.communicate(timeout=60)
  assert process.returncode == 128 + number, errors
  assert printed.count("step") < 60
  (step,) = (tmp_path / "run/stages/alone/checkpoints").glob("[0-9]*")
  assert 5 <= int(step.name) < 70


@pytest.mark.slow
def test_two_runs_in_one_workdir_at_once(tmp_path):
  process = start(STEPS, tmp_path)
  assert process.stdout.readline() == "step\n", process.communicate()
  plan = plan_of(400, log_every=100000, eval_every=0)
  with pytest.raises(UserError, match=f"in use by process {process.pid} on"):
    kdjax.run(plan, tmp_path / "run", quiet=True)
  _, errors = process.communicate(timeout=120)
  assert process.returncode == 0, errors
  assert kdjax.run(plan, tmp_path / "run", quiet=True)["stages"]["alone"]


@pytest.mark.slow
def test_a_run_that_is_ended_at_random_moments_ends_as_any_other():
  said = []
  assert chaos.main(1, kills=2, say=lambda line, **_: said.append(line)) == 1, (
    "\n".join(said)
  )


WORKERS = """
import sys
from test_attacks import plan_of
import kdjax

if __name__ == "__main__":
  plan = plan_of(5000, log_every=1, eval_every=0)
  plan.data.feed, plan.data.workers = "stream", 2
  kdjax.run(plan, sys.path[0] + "/run", quiet=True)
"""


@pytest.mark.slow
def test_worker_processes_end_with_a_killed_run(tmp_path):
  process = start(WORKERS, tmp_path)
  path = tmp_path / "run" / "metrics.jsonl"
  deadline = time.monotonic() + 120
  while not path.exists() or path.read_bytes().count(b"\n") < 20:
    assert process.poll() is None, process.communicate()[1]
    assert time.monotonic() < deadline
    time.sleep(0.05)
  children = children_of(process.pid)
  assert len(children) >= 2
  process.kill()
  process.communicate()
  deadline = time.monotonic() + 20
  while any(map(alive, children)):
    assert time.monotonic() < deadline
    time.sleep(0.1)


def children_of(pid):
  found = []
  for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
    try:
      fields_of = path.read_text().rpartition(")")[2].split()
    except OSError:
      continue
    if int(fields_of[1]) == pid:
      found += [int(path.parent.name), *children_of(int(path.parent.name))]
  return found


def alive(pid):
  try:
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
  except OSError:
    return False
  return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_command_goes_on_when_its_output_is_no_longer_read(tmp_path):
  command = f"{sys.executable} -m kdjax list losses | head -1"
  done = subprocess.run(
    ["bash", "-c", f"set -o pipefail; {command}"],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0 and done.stderr == ""
  assert len(done.stdout.splitlines()) == 1


def test_without_git_the_commit_is_unknown(monkeypatch, tmp_path):
  monkeypatch.setenv("PATH", str(tmp_path))
  environment = environments.now()
  assert environment["commit"] is None and environment["changed"] is False


# Files and numbers of the user's


def test_an_image_in_postscript_is_refused_without_ghostscript(tmp_path):
  path = tmp_path / "photo.jpg"
  path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
  with pytest.raises(ValueError, match="not an image"):
    images.decode(path)


def test_a_recording_that_cannot_be_is_a_fault(tmp_path):
  from scipy.io import wavfile

  path = tmp_path / "a.wav"
  wavfile.write(path, 8000, np.zeros(100, np.int16))
  raw = bytearray(path.read_bytes())
  raw[24:28] = (2**31 - 1).to_bytes(4, "little")
  path.write_bytes(raw)
  with pytest.raises(ValueError, match="sample rate of 2147483647 Hz"):
    audio.decode(str(path), 8000, 1.0)
  (tmp_path / "a.raw").write_bytes(bytes(2000))
  with pytest.raises(ValueError, match="no audio that can be read"):
    audio.decode(str(tmp_path / "a.raw"), 8000, 1.0)


@pytest.mark.parametrize("label", [10**9, 10**18, 20231128])
def test_identifiers_are_no_classes(label, tmp_path):
  rows = [("a", 0, "train"), ("b", label, "train"), ("c", 0, "val")]
  table = tmp_path / "t.csv"
  table.write_text(
    "text,label,split\n"
    + "".join(
      ",".join(map(str, row)) + "\n" for row in [*rows, ("d", 0, "test")]
    )
  )
  columns = {"text": "text", "label": "label"}
  options = {"root": str(tmp_path), "table": "t.csv", "columns": columns}
  with pytest.raises(UserError, match=r"labels go up to \d+, and 2 of them"):
    manifest.load("train", **options)
  if label < 2**31:
    held = {"image": np.zeros((3, 2, 2)), "label": np.array([0, label, 0])}
    arrays.hold("identifiers", held)
    with pytest.raises(UserError, match="labels go up to"):
      arrays.class_names(held="identifiers")


@pytest.mark.parametrize(
  ("name", "content", "match"),
  [
    ("h.csv", '"hello there,text,split\na,b,train\n', "header .* is not CSV"),
    (
      "n.jsonl",
      "".join(
        f'{{"n": {"9" * 400}, "split": "{split}"}}\n'
        for split in ("train", "val", "test")
      ),
      "not finite|not JSON",
    ),
  ],
)
def test_a_table_that_cannot_be_is_one_sentence(tmp_path, name, content, match):
  (tmp_path / name).write_text(content)
  columns = {"numbers": "n"} if name == "n.jsonl" else {"text": "text"}
  with pytest.raises(UserError, match=match):
    manifest.load("train", root=str(tmp_path), table=name, columns=columns)


def test_times_in_nanoseconds_do_not_stop_other_columns(tmp_path):
  import pyarrow
  from pyarrow import parquet

  times = pyarrow.array([1700000000123456789] * 3, pyarrow.timestamp("ns"))
  table = {
    "text": ["a", "b", "c"], "split": ["train", "val", "test"], "when": times,
  }  # fmt: skip
  parquet.write_table(pyarrow.table(table), tmp_path / "t.parquet")
  split = manifest.load(
    "train", root=str(tmp_path), table="t.parquet", columns={"text": "text"}
  )
  assert len(split) == 1


@pytest.mark.parametrize(
  "damage", [slice(0, 40), slice(100, 140), slice(-60, -20), slice(-22, None)]
)
def test_a_damaged_npz_is_one_sentence(tmp_path, damage):
  path = tmp_path / "a.npz"
  np.savez_compressed(path, image=np.zeros((9, 2, 2)), label=np.arange(9) % 2)
  raw = bytearray(path.read_bytes())
  size = len(raw[damage])
  raw[damage] = b"\xaa" * size
  path.write_bytes(raw)
  try:
    arrays.load("train", root=str(path))
  except UserError as error:
    assert "a.npz" in f"{error}"


def test_a_seed_beyond_32_bits_is_one_sentence(tmp_path):
  plan = plan_of()
  plan.seed = 2**31
  with pytest.raises(UserError, match=r"Expected seeds below 2\*\*31"):
    kdjax.run(plan, tmp_path / "run", quiet=True)


@pytest.mark.parametrize(
  ("text", "argument", "match"),
  [
    ("def get_config(:\n", "", "line 1: invalid syntax"),
    ("def get_config():\n  return 1\n", ":smoke", "with an argument"),
    ("def get_config(a):\n  return 1\n", "", "without an argument"),
    ("def get_config():\n  return 1\n", "", "returned a int"),
    ("x = 1\n", "", "defines no get_config"),
  ],
)
def test_a_config_that_is_none_is_one_sentence(tmp_path, text, argument, match):
  path = tmp_path / "mine.py"
  path.write_text(text)
  with pytest.raises(UserError, match=match):
    fields.load(f"{path}{argument}")


def test_a_syntax_error_in_a_component_is_one_sentence(tmp_path):
  path = tmp_path / "mine.py"
  path.write_text('"""Mine."""\n\n\ndef mine(student, teacher:\n  return 1\n')
  with pytest.raises(UserError, match=r"mine.py, line 4: "):
    registry.describe("losses", str(path))
  with pytest.raises(UserError, match=r"mine.py, line 4: "):
    config.term(str(path))


def test_a_flag_that_does_not_exist_is_one_sentence(capsys, tmp_path):
  words = ["run", f"--config={ROOT / 'configs' / 'digits.py'}"]
  with pytest.raises(SystemExit) as stop:
    cli.main([*words, f"--workdir={tmp_path / 'x'}", "--noconfig.seeds"])
  assert stop.value.code == 2
  error = capsys.readouterr().err
  assert error.startswith("kdjax: ") and "Traceback" not in error


def test_the_path_of_a_page_is_printed_as_it_is(ran, tmp_path, capsys):
  folder = shutil.copytree(ran, tmp_path / "[bold]x")
  kdjax.report.show(kdjax.summarize(folder), folder)
  assert "[bold]x/report.html" in capsys.readouterr().out


# A full disk


FILES = (
  "config.json",
  "stages/teacher/result.json",
  "metrics.jsonl",
  "events/teacher/*/*",
  "stages/teacher/checkpoints/*/*/*/*/*",
  "stages/student/predictions.npz",
  "report.html",
)


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_same_run_then_goes_on(tmp_path):
  network = config.network("mlp", widths=(4,), num_classes=10)
  knobs = {"batch_size": 16, "eval_every": 2, "save_every": 4, "steps": 8}
  plan = config.experiment(
    "full",
    seeds=1,
    data=config.data("digits"),
    stages={
      "teacher": config.stage(
        network, terms=CE, log_every=1, predictions=False, **knobs
      ),
      "student": config.stage(
        network,
        terms={**CE, "kd": config.term("kd")},
        teachers={"teacher": config.teacher("teacher")},
        log_every=4,
        **knobs,
      ),
    },
  )
  whole = kdjax.run(plan, tmp_path / "whole", quiet=True)
  refused = set()
  for pattern in FILES:
    *_, largest = sorted(
      path.stat().st_size
      for path in (tmp_path / "whole").glob(pattern)
      if path.is_file()
    )
    with no_file_beyond(largest - 1):
      try:
        kdjax.run(plan, tmp_path / "run", quiet=True)
      except UserError as error:
        assert "cannot be written" in f"{error}", pattern
        sentence = f"{error}".replace(str(tmp_path), "")
        refused.add(sentence.partition(" cannot be written")[0])
  assert kdjax.run(plan, tmp_path / "run", quiet=True)["stages"].keys() == (
    whole["stages"].keys()
  )
  assert (tmp_path / "run/metrics.jsonl").read_bytes() == (
    tmp_path / "whole/metrics.jsonl"
  ).read_bytes()
  for kind in ("config.json", "metrics.jsonl", "predictions.npz"):
    assert any(kind in sentence for sentence in refused), refused
