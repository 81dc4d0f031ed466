"""Timing of steps: what is measured and printed, not how fast it is."""

import json
import re
import sys

import jax
import numpy as np
import pytest

from kdjax import cli, config
from kdjax.bench import (
  comparison,
  host_loop,
  machine,
  method_steps,
  networks,
  pairs,
  stages,
  step_parts,
)
from kdjax.bench.torch_process import TorchProcess
from kdjax.bench.trainer import Trainer
from kdjax.errors import UserError
from kdjax.stage import build, trace
from kdjax.training import workdir

pytestmark = pytest.mark.slow

SPREAD = {"median", "low", "high"}


def experiment(*, steps_per_call=0, placed=None, **teacher):
  """A student with KD and a hint from a teacher."""
  network = lambda width: config.network(
    "conv", widths=(width,), num_classes=10
  )
  labels = {"ce": config.term("cross_entropy")}
  knobs = {"batch_size": 16, "log_every": 2, "steps_per_call": steps_per_call}
  hint = config.term(
    "mse",
    reads={"student": "student/embedding", "teacher": "teacher/embedding"},
    heads={"student": config.head("linear")},
  )
  taught = config.stage(
    network(4),
    teachers={"teacher": config.teacher("large", **teacher)},
    terms={"hint": hint, "kd": config.term("kd"), **labels},
    **knobs,
  )
  return config.experiment(
    "x",
    seeds=2,
    **(placed or {}),
    data=config.data("digits"),
    stages={
      "large": config.stage(network(6), terms=labels, **knobs),
      "taught": taught,
    },
  )


@pytest.fixture
def quick(monkeypatch):
  """The machine is not measured."""
  rates = {
    "float32 8": 2e9,
    "float32 16": 4e9,
    "bfloat16 8": 8e9,
    "memory": 1e9,
  }
  monkeypatch.setattr(
    machine,
    "measurements",
    lambda: {
      name: lambda seconds, rate=rate: rate for name, rate in rates.items()
    },
  )


def is_spread(value):
  return value.keys() == SPREAD and (
    value["low"] <= value["median"] <= value["high"]
  )


def test_the_parts_of_a_step_are_timed_and_add_up_to_the_step(quick):
  found = stages.measure(experiment(), seconds=0.01, rounds=2)
  assert (found["stage"], found["seeds"], found["batch_size"]) == (
    "taught",
    2,
    16,
  )
  assert found["teachers"] == {"teacher": "in the step"}
  rows = found["parts"]
  assert [row["part"] for row in rows] == [
    "call",
    "teachers' forward",
    "student's forward",
    "backward, with ce",
    "heads of hint",
    "hint",
    "kd",
    "optimizer",
    "metrics and state",
    "input",
    "metrics to the host",
  ]
  assert [row["difference"] for row in rows] == [False] + 10 * [True]
  assert all(is_spread(row["up_to"]) for row in rows)
  whole = found["loop"]["milliseconds"]["median"]
  assert sum(row["adds"] for row in rows) == pytest.approx(whole)
  assert sum(row["share"] for row in rows) == pytest.approx(1)
  assert found["loop"]["examples_per_second"]["median"] > 0
  idle = found["loop"]["idle_milliseconds"]
  assert rows[-2]["adds"] + rows[-1]["adds"] == pytest.approx(idle)
  assert [row["program"] for row in found["alone"]] == [
    "teacher, alone",
    "host: a batch and an empty step",
    "until a call returns",
  ]
  cost, use = found["cost"], found["use"]
  assert cost["flops"] > 0 and cost["bytes"] > 0 and cost["memory_bytes"] > 0
  assert cost["compile_seconds"] > 0 and cost["cached_compile_seconds"] > 0
  assert found["peaks"]["float32"]["median"] == 4e9
  assert use["of_float32_peak"] == pytest.approx(2 * use["of_bfloat16_peak"])


def test_a_part_is_the_difference_to_the_program_before():
  rows = stages.part_rows(
    {"a": [1, 2, 3], "b": [5, 4, 9], "c": [4.5, 4.5, 4.5]}
  )
  assert [row["adds"] for row in rows] == pytest.approx([2000, 3000, -500])
  assert [row["share"] for row in rows] == pytest.approx([4 / 9, 6 / 9, -1 / 9])
  assert rows[1]["up_to"] == {"median": 5000, "low": 4500, "high": 7000}


def test_shares_of_the_peaks_follow_from_operations_and_time():
  peaks = {
    kind: {"median": value}
    for kind, value in (("float32", 8e9), ("bfloat16", 32e9), ("memory", 1e9))
  }
  use = stages.utilization({"flops": 4e9, "bytes": 1e9}, peaks, 2.0)
  assert use == {
    "flops_per_second": 2e9,
    "of_float32_peak": 0.25,
    "of_bfloat16_peak": 0.0625,
    "of_memory_bandwidth": 0.5,
  }
  unknown = stages.utilization({"flops": None, "bytes": None}, peaks, 2.0)
  assert set(unknown.values()) == {None}


@pytest.fixture(scope="module")
def trainer():
  return Trainer(workdir.resolve(experiment()), "taught")


def test_the_program_with_all_terms_has_the_gradients_of_the_step(
  trainer,
):
  found = step_parts.programs(trainer)
  held = trainer.first_batch(trainer.feed())
  run = lambda part: trainer.placement.compile(
    found[part][0], ("state", "fixed", "batch")
  )(trainer.state, trainer.fixed, held)
  whole, _ = run(step_parts.WHOLE)[0]
  updated, _ = run("optimizer")[0]
  jax.tree.map(np.testing.assert_array_equal, updated.params, whole.params)
  assert found[step_parts.WHOLE][0] is trainer.train_step
  nothing, recorded = run(step_parts.CALL)[0]
  state = trainer.state[0]
  jax.tree.map(np.testing.assert_array_equal, nothing.params, state.params)
  assert not any(map(np.any, recorded.values()))


def test_a_program_of_some_terms_returns_what_later_ones_read(trainer):
  found = step_parts.programs(trainer)
  held = trainer.first_batch(trainer.feed())
  made, _ = found["backward, with ce"]
  run = trainer.placement.compile(made, ("state", "fixed", "batch"))
  _, (_, means, waiting) = run(trainer.state, trainer.fixed, held)[0]
  assert list(means) == ["ce"]
  # Of the hint: the embeddings of 4 and 6; of KD: both logits.
  assert sorted(leaf.shape[-1] for leaf in waiting) == [4, 6, 10, 10]


def test_terms_that_read_no_teacher_come_first(trainer):
  terms = step_parts.in_order(trainer.objective)
  assert [term.name for term in terms] == ["ce", "hint", "kd"]


@pytest.mark.parametrize(
  ("options", "source"),
  [
    ({"separate": True}, "in its own program"),
    ({"cache": "auto"}, "from a cache, without the time to read it"),
  ],
)
def test_a_precomputed_teacher_is_no_part_of_the_step(options, source, quick):
  found = stages.measure(experiment(**options), seconds=0.01, rounds=1)
  assert found["teachers"] == {"teacher": source}
  assert "teachers' forward" not in [row["part"] for row in found["parts"]]
  assert found["alone"][0]["program"] == "teacher, alone"


def test_several_steps_per_call_are_a_part_also_on_a_mesh(quick):
  placed = {"placement": "mesh", "seed_axis": "vmap"}
  made = experiment(steps_per_call=2, placed=placed)
  found = stages.measure(made, seconds=0.01, rounds=1)
  names = [row["part"] for row in found["parts"]]
  assert names[-3:] == ["in calls of 2 steps", "input", "metrics to the host"]


def test_the_loop_fetches_its_metrics_when_it_logs_them(trainer, monkeypatch):
  fetched = []
  monkeypatch.setattr(
    host_loop, "by_step", lambda recorded: fetched.append(len(recorded)) or {}
  )
  calls = host_loop.LoopCalls(trainer, trainer.feed(), 1)
  measured = calls.measurement(recorded=True)
  # A step to compile; one to warm up, one to estimate, one that is timed.
  assert measured(0.0) > 0
  assert fetched == [2, 2]
  calls.close()


def test_a_stage_and_its_trace_and_ratios_are_printed(
  quick, tmp_path, capsys, monkeypatch
):
  path = tmp_path / "config.py"
  path.write_text(
    "from kdjax.config import *\n"
    "def get_config():\n"
    "  labels = {'ce': term('cross_entropy')}\n"
    "  net = network('conv', widths=(4,), num_classes=10)\n"
    "  return experiment('x', seeds=1, data=data('digits'),\n"
    "    stages={'alone': stage(net, terms=labels, batch_size=16)})\n"
  )
  out, folder = tmp_path / "now.json", tmp_path / "trace"
  words = ["bench", f"--config={path}", "--seconds=0.01", "--rounds=1"]
  cli.main([*words, f"--out={out}", f"--trace={folder}"])
  printed = capsys.readouterr().out
  assert re.search(r"^alone on digits: 1 seeds of 16 a step, [\d,]+", printed)
  assert re.search(r"^ *backward, with ce +-?[\d.]+ +d ", printed, re.MULTILINE)
  assert re.search(r"^trace: .*\.xplane\.pb$", printed, re.MULTILINE)
  assert list(folder.rglob("*.xplane.pb"))
  found = json.loads(out.read_text())
  assert found["kind"] == "stage" and found["rounds"] == 1
  assert found["conditions"].keys() >= {"device", "load", "jax", "kdjax"}
  again = {
    key: found[key] for key in found if key not in ("kind", "conditions")
  }
  monkeypatch.setattr(stages, "measure", lambda *_, **__: again)
  cli.main([*words, f"--against={out}"])
  printed = capsys.readouterr().out
  assert re.search(
    r"^ *parts: input, up_to +\S+ +\S+ +[\d.]+$", printed, re.MULTILINE
  )
  assert "\nbefore: date " in printed and "\nnow: date " in printed


def result(**changes):
  """A result of two rows."""
  spread = {"median": 4.0, "low": 1.0, "high": 5.0}
  return {
    "kind": "stage",
    "stage": "a",
    "seconds": 1.5,
    "conditions": {"load": 0.5},
    "parts": [
      {"part": "x", "adds": 2.0, "difference": True, "up_to": spread},
      {"part": "y", "adds": 0.0, "difference": True, "up_to": spread},
    ],
    "cost": {"flops": 10, "memory_bytes": None},
    **changes,
  }


def test_all_numbers_that_both_results_have_are_compared():
  now = result(
    stage="b",
    cost={"flops": 5, "bytes": 1},
    parts=[
      {"part": "x", "adds": 3.0, "up_to": {"median": 1.0}},
      {"part": "y", "adds": 1.0, "up_to": {"median": 8.0}},
    ],
  )
  found = comparison.compare(now, result())
  assert {row["row"]: row["ratio"] for row in found["rows"]} == {
    "parts: x, adds": 1.5,
    "parts: x, up_to": 0.25,
    "parts: y, adds": None,
    "parts: y, up_to": 2.0,
    "cost, flops": 0.5,
  }
  assert found["only now"] == ["cost, bytes"] and found["only before"] == []
  assert found["differs"] == {"stage": ("a", "b")}


@pytest.mark.parametrize(
  ("text", "match"),
  [
    ("{", "is not valid JSON"),
    ("[]", "is not a result of kdjax bench"),
    ("{}", "is not a result of kdjax bench"),
    ('{"kind": "pairs"}', "of kind 'pairs', but 'stage' is measured now"),
  ],
)
def test_a_result_of_another_kind_is_an_error(text, match, tmp_path):
  path = tmp_path / "before.json"
  path.write_text(text)
  with pytest.raises(UserError, match=match):
    comparison.load(str(path), "stage")


def test_methods_are_applied_to_a_stage_or_left_out_with_a_reason():
  found = method_steps.measure(
    experiment(),
    "taught",
    ["kd", "minilm", "rkd", "soft_router"],
    seconds=0.01,
    rounds=1,
  )
  rows = {row["method"]: row for row in found["rows"]}
  assert rows.keys() | found["left_out"].keys() == {
    "kd",
    "minilm",
    "rkd",
    "soft_router",
  }
  assert {"kd", "rkd"} <= rows.keys() and "minilm" in found["left_out"]
  assert "compares attention" in found["left_out"]["minilm"]
  assert rows["kd"]["of_kd"]["median"] == 1
  assert rows["kd"]["over_kd"]["median"] == 0
  row = rows["rkd"]
  alone = row["milliseconds"]["median"] - row["over_cross_entropy"]["median"]
  kd = row["milliseconds"]["median"] - row["over_kd"]["median"]
  assert alone > 0 and kd > 0
  expected = row["milliseconds"]["median"] / alone
  assert row["of_cross_entropy"]["median"] == pytest.approx(expected)


def test_methods_are_applied_to_networks_of_their_kind():
  found = method_steps.measure(None, None, ["kd"], seconds=0.01, rounds=1)
  assert found["left_out"] == {}
  (row,) = found["rows"]
  assert (row["method"], row["networks"]) == ("kd", "classes")


def test_methods_need_a_teacher():
  with pytest.raises(UserError, match="no teacher called 'teacher'"):
    method_steps.measure(experiment(), "large", ["kd"], seconds=0.01, rounds=1)


def tiny():
  network = lambda width: config.network("mlp", widths=(width,), num_classes=3)
  return networks.Pair(
    teacher=network(6),
    student=network(4),
    batch_size=16,
    columns=lambda rng, rows: {
      "image": rng.normal(size=(rows, 4, 4, 1)).astype(np.float32)
    },
    classes=3,
    differs="in size",
  )


SERVER = """
import json, sys
print("some noise"); print("READY", flush=True)
for line in sys.stdin:
  request = json.loads(line)
  pair, variant, mode = request["key"]
  answer = {"sps": 50.0} if request["n"] else {"step_s": 0.02}
  if variant == "broken":
    answer = {"error": "it broke"}
  if variant == "gone":
    sys.exit("it is gone")
  print("R " + json.dumps(answer), flush=True)
"""


@pytest.fixture
def loop(tmp_path):
  path = tmp_path / "loop.py"
  path.write_text(SERVER)
  return path


def test_a_pair_is_timed_in_every_way_and_next_to_pytorch(loop):
  torch = TorchProcess(str(loop), sys.executable)
  try:
    found = pairs.measure(
      ["tiny"], seconds=0.01, rounds=2, torch=torch, known={"tiny": tiny()}
    )
  finally:
    torch.close()
  (pair,) = found["pairs"]
  assert (pair["pair"], pair["batch_size"], pair["differs"]) == (
    "tiny",
    16,
    "in size",
  )
  steps = {row["step"]: row for row in pair["steps"]}
  assert list(steps) == [
    "teacher's forward",
    "student, cross-entropy",
    "student, KD on stored outputs",
    "online",
    "separate",
    "student, cross-entropy, with its feed",
    "cached, with its feed",
    "a batch written to the cache",
    "PyTorch eager, teacher",
    "PyTorch eager, student",
    "PyTorch eager, online",
  ]
  assert steps["PyTorch eager, online"]["milliseconds"]["median"] == 20
  rate = steps["PyTorch eager, online"]["examples_per_second"]["median"]
  assert rate == pytest.approx(800)
  assert all(is_spread(row["value"]) for row in pair["ratios"])


def test_the_ratios_of_a_pair_are_computed_in_each_round():
  seconds = {
    pairs.TEACHER: [1.0, 2.0],
    pairs.KD: [3.0, 2.0],
    pairs.ONLINE: [5.0, 4.0],
    pairs.SEPARATE: [4.0, 8.0],
    pairs.CROSS_ENTROPY_FED: [2.0, 1.0],
    pairs.CACHED: [2.5, 1.0],
    pairs.WRITTEN: [5.0, 2.0],
    "PyTorch cl, online": [10.0, 4.0],
    "PyTorch cl, student": [1.0, 1.0],
  }
  found = {
    row["ratio"]: row["value"]["median"] for row in pairs.ratios_of(seconds)
  }
  epochs = "10 epochs: online / (cached + writing the cache)"
  expected = {
    "online / (teacher + student)": (1.25 + 1) / 2,
    "separate / (teacher + student)": (1 + 2) / 2,
    "cached / cross-entropy": (1.25 + 1) / 2,
    "online / cached": (2 + 4) / 2,
    epochs: (50 / 30 + 40 / 12) / 2,
    f"{epochs}, expected from teacher and student": (40 / 31 + 40 / 22) / 2,
    f"{epochs}, expected / measured": (
      (40 / 31) / (50 / 30) + (40 / 22) / (40 / 12)
    )
    / 2,
    "PyTorch cl, online / online": (2 + 1) / 2,
    "PyTorch cl, online / cached": (4 + 4) / 2,
  }
  assert found == pytest.approx(expected)


@pytest.mark.parametrize(
  ("variant", "match"), [("broken", "it broke"), ("gone", "it is gone")]
)
def test_an_error_of_the_pytorch_loop_is_reported(variant, match, loop):
  torch = TorchProcess(str(loop), sys.executable)
  try:
    with pytest.raises(UserError, match=match):
      torch.measurement("tiny", variant, "online")
  finally:
    torch.close()


def test_a_loop_that_does_not_start_is_an_error(tmp_path):
  path = tmp_path / "loop.py"
  path.write_text("import no_such_torch")
  with pytest.raises(UserError, match="No module named 'no_such_torch'"):
    TorchProcess(str(path), sys.executable)
  with pytest.raises(UserError, match="cannot be run"):
    TorchProcess(str(path), "/no/such/python")


@pytest.mark.parametrize("name", sorted(networks.pairs()))
def test_every_pair_can_be_built(name):
  plain = workdir.resolve(networks.experiment(name, networks.pairs()[name]))
  trace.trace(build.build(plain, "online"))
