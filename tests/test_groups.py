"""Results by group: measured, written, and shown in the report."""

import json
import math

import jax
import numpy as np
import pytest
from handmade import edit_json, install, make

import kdjax
from kdjax import config, report
from kdjax.data import arrays
from kdjax.devices.placement import Placement
from kdjax.report import groups as shown
from kdjax.stage import build, groups
from kdjax.training import evaluation, workdir

N, D, K = 480, 6, 3
SEEDS = 2


@pytest.fixture(scope="module", autouse=True)
def data_sets():
  """Points of six groups of unequal sizes; a few are in none."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(N, D)).astype(np.float32)
  label = (x @ rng.normal(size=(D, K))).argmax(1)
  label[::11] = -1
  group = rng.choice(6, N, p=[0.4, 0.2, 0.15, 0.15, 0.05, 0.05])
  group[::13] = -1
  splits = np.array(["train", "validation", "test"])[np.arange(N) % 3]
  points = {"x": x, "label": label, "group": group.astype(np.int32)}
  arrays.hold("grouped", {**points, "split": splits})
  arrays.hold("people", points)
  arrays.hold("numbers", {**points, "group": x[:, 0], "split": splits})


def plan(name="grouped", stage=None, **options):
  knobs = {
    "steps": 6, "batch_size": 32, "log_every": 3, "eval_every": 3,
    "save_every": 0,
  }  # fmt: skip
  student = config.network("mlp", widths=(8,), num_classes=K, modality="x")
  terms = {"cross_entropy": config.term("cross_entropy")}
  return config.experiment(
    "groups",
    seeds=SEEDS,
    data=config.data("arrays", held=name, **options),
    stages={
      "student": config.stage(
        student, terms=terms, **{**knobs, **(stage or {})}
      )
    },
  )


def by_group_of(logits, label, group):
  """Group -> (count, accuracy), of the examples that count."""
  known = (label >= 0) & (group >= 0)
  right = logits.argmax(1) == label
  return {
    int(name): (int(rows.sum()), float(right[rows].mean()))
    for name in np.unique(group[known])
    for rows in [known & (group == name)]
  }


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
  folder = tmp_path_factory.mktemp("groups")
  results = kdjax.run(plan(), folder, quiet=True)
  result = json.loads((folder / "stages/student/result.json").read_text())
  return folder, results, result


def test_results_by_group_are_those_of_the_stored_predictions(ran):
  folder, results, result = ran
  stored = np.load(folder / "stages/student/predictions.npz")
  group = arrays.load("test", held="grouped").columns["group"]
  expected = [
    by_group_of(of_seed, stored["label"], group) for of_seed in stored["logits"]
  ]
  found = result["by_group"]
  assert (found["metric"], found["mode"]) == ("accuracy", "max")
  assert [it["name"] for it in found["groups"]] == list("012345")
  for number, of_seed in enumerate(expected):
    for it in found["groups"]:
      count, accuracy = of_seed[int(it["name"])]
      assert it["count"][number] == count
      assert it["values"][number] == pytest.approx(accuracy)
    values = [accuracy for _, accuracy in of_seed.values()]
    assert found["worst"][number] == pytest.approx(min(values))
    assert found["gap"][number] == pytest.approx(max(values) - min(values))
  assert result["test"]["best"]["worst_group_accuracy"] == found["worst"]
  summary = results["by_group"]["student"]
  assert summary["worst"]["mean"] == pytest.approx(np.mean(found["worst"]))
  assert summary["gap"]["std"] == pytest.approx(np.std(found["gap"], ddof=1))


def test_the_report_has_a_table_by_group_with_the_worst_first(ran):
  folder, results, _ = ran
  page = (folder / "report.md").read_text()
  section = page.split("## Test results by group")[1].split("\n## ")[0]
  rows = [
    line.split(" | ") for line in section.splitlines() if line.startswith("| ")
  ]
  names = [row[0].strip("| *") for row in rows[2:]]
  listed = results["by_group"]["student"]["groups"]
  means = [it["mean"] for it in listed]
  assert means == sorted(means)
  expected = [it["name"] for it in listed]
  assert names == [*expected, "worst group", "best - worst"]
  small = {it["name"] for it in listed if it["examples"][0] < shown.FEW}
  marked = {row[0].strip("| *") for row in rows if shown.MARK in row[0]}
  assert marked == small and 0 < len(small) < len(listed)
  assert "in the worst of 6 groups" in section


@pytest.mark.slow
@pytest.mark.parametrize(
  ("axis", "feed"), [("loop", "device"), ("vmap", "device"), ("vmap", "stream")]
)
def test_seeds_that_draw_their_people_have_each_its_worst_group(
  tmp_path, axis, feed
):
  """Test splits of different sizes."""
  people = plan("people", group_column="group", folds=3, feed=feed)
  with people.unlocked():
    people.seed_axis = axis
  results = kdjax.run(people, tmp_path, quiet=True)
  result = json.loads((tmp_path / "stages/student/result.json").read_text())
  found = result["by_group"]
  options = {"held": "people", "group_column": "group", "folds": 3}
  names = groups.names(arrays, options)
  number_of = lambda name: names.index(name) if names else int(name)
  for seed in range(SEEDS):
    model, variables = kdjax.restore(tmp_path, "student", seed=seed)
    test = arrays.load("test", seed, **options).columns
    logits = model.apply(variables, {"x": test["x"]}, train=False)["logits"]
    expected = by_group_of(np.asarray(logits), test["label"], test["group"])
    there = {
      number_of(it["name"]): (it["count"][seed], it["values"][seed])
      for it in found["groups"]
      if it["count"][seed]
    }
    assert there.keys() == expected.keys()
    for name, pair in expected.items():
      assert there[name] == pytest.approx(pair)
    values = [accuracy for _, accuracy in expected.values()]
    assert found["worst"][seed] == pytest.approx(min(values))
  absent = [it for it in found["groups"] if 0 in it["count"]]
  assert absent and all(None in it["values"] for it in absent)
  listed = results["by_group"]["student"]["groups"]
  assert all(math.isfinite(it["mean"]) for it in listed)
  page = (tmp_path / "report.md").read_text()
  tested = [
    sum(it["count"][seed] > 0 for it in found["groups"])
    for seed in range(SEEDS)
  ]
  assert max(tested) < len(listed)
  least, most = min(tested), max(tested)
  words = f"{least}" if least == most else f"{least} to {most}"
  assert f"in the worst of {words} groups" in page


@pytest.mark.slow
def test_seeds_that_draw_their_people_read_caches_of_different_sizes(tmp_path):
  """Also of a teacher that a metric alone reads: it has no cache."""
  found = {}
  for axis in ("loop", "vmap"):
    people = plan("people", group_column="group", folds=3)
    with people.unlocked():
      people.seed_axis = axis
      teachers = {"teacher": config.teacher("student", cache="auto")}
      for name, terms in (
        ("distilled", {"kd": config.term("kd")}),
        ("idle", {}),
      ):
        stage = config.extended(people.stages.student, terms, teachers=teachers)
        stage.metrics["agreement"] = config.metric("agreement")
        stage.steps = 60  # so many that a cache saves time
        people.stages[name] = stage
      people.order = ("student", "distilled", "idle")
    folder = tmp_path / axis
    results = kdjax.run(people, folder, quiet=True)
    found[axis] = [
      results["stages"][name][metric]["seeds"]
      for name in ("distilled", "idle")
      for metric in ("nll", "agreement")
    ]
    # Of each seed's teacher, for "distilled".
    assert len(list((folder / "cache").iterdir())) == SEEDS
  np.testing.assert_allclose(found["loop"], found["vmap"], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("kind", "count", "axis"),
  [("pmap", 8, "loop"), ("pmap", 8, "vmap"), ("mesh", 8, "vmap"),
   ("pmap", 1, "vmap")],
)  # fmt: skip
def test_groups_are_the_same_on_all_devices_and_axes_of_seeds(
  kind, count, axis
):
  plain = workdir.resolve(plan())
  placement = Placement(kind, SEEDS, axis, {}, devices=jax.devices()[:count])
  stage = build.build(plain, "student", placement.axis_name)
  fixed = [stage.fixed({})] * SEEDS
  state = [stage.init(seed, fixed[seed]) for seed in range(SEEDS)]
  variables = [kdjax.step.state.evaluated(it) for it in state]
  source = arrays.load("test", held="grouped")
  split = evaluation.SplitEvaluator(stage, placement, [source])
  measured = split.measure(placement.put(variables), placement.put_fixed(fixed))
  for of_seed, found in zip(variables, measured, strict=True):
    model = stage.objective.networks["student"]
    logits = model.apply(
      of_seed["networks"]["student"], {"x": source.columns["x"]}, train=False
    )["logits"]
    expected = by_group_of(
      np.asarray(logits), source.columns["label"], source.columns["group"]
    )
    assert found["group"].tolist() == list(expected)
    pairs = zip(found["group_count"], found["group_accuracy"], strict=True)
    np.testing.assert_allclose([*pairs], [*expected.values()])


@pytest.mark.slow
def test_a_selecting_nll_is_what_is_measured_by_group(tmp_path):
  grid = {"cross_entropy/label_smoothing": (0.0, 0.3)}
  change = {"select": "nll", "select_mode": "min", "grid": grid}
  kdjax.run(plan(stage=change), tmp_path, quiet=True)
  result = json.loads((tmp_path / "stages/student/result.json").read_text())
  found = result["by_group"]
  assert (found["metric"], found["mode"]) == ("nll", "min")
  # With a grid, the mean over its points.
  points = [it["worst_group_nll"] for it in result["grid"]]
  np.testing.assert_allclose(found["worst"], np.mean(points, 0))
  assert all(len(it["values"]) == SEEDS for it in found["groups"])


@pytest.mark.parametrize("name", ["grouped", "numbers"])
def test_only_whole_numbers_are_groups_and_stated_metrics_stay(name):
  stated = {"metrics": {"by_group": config.metric("by_group")}}
  measured = lambda stage: (
    build.build(workdir.resolve(plan(name, stage=stage)), "student").measured
  )
  assert ("by_group" in measured(None)) == (name == "grouped")
  if name == "grouped":
    assert list(measured(stated)) == ["by_group"]
    none = {"metrics": {"regression": config.metric("regression")}}
    assert list(measured(none)) == ["regression"]


@pytest.mark.slow
def test_groups_have_the_names_of_the_data_set(tmp_path, monkeypatch):
  names = ("ann", "bob", "cam", "dee")
  named = lambda **options: names
  monkeypatch.setattr(arrays, "group_names", named, raising=False)
  results = kdjax.run(plan(), tmp_path, quiet=True)
  found = {it["name"] for it in results["by_group"]["student"]["groups"]}
  # A group without a name is its number.
  assert found == {*names, "4", "5"}


def test_numbers_by_group_are_those_computed_by_hand(tmp_path, monkeypatch):
  """Means are over the seeds that have a group: .6, .8 and .5, .7, .9."""
  install(monkeypatch)
  folder = make(tmp_path / "run")
  nan = math.nan
  measured = {
    "metric": "accuracy",
    "mode": "max",
    "groups": [
      {"name": "ann", "count": [50, 40, 60], "values": [0.5, 0.7, 0.9]},
      {"name": "bob", "count": [9, 0, 30], "values": [0.6, nan, 0.7]},
    ],
    "worst": [0.5, 0.7, 0.7],
    "gap": [0.1, 0.0, 0.2],
  }
  path = folder / "stages" / "distilled" / "result.json"
  edit_json(path, lambda it: it.update(by_group=measured))
  found = report.summarize(folder)["by_group"]["distilled"]
  assert [it["name"] for it in found["groups"]] == ["bob", "ann"]
  bob, ann = found["groups"]
  assert bob["mean"] == pytest.approx(0.65)
  assert bob["std"] == pytest.approx(math.sqrt(0.005))
  assert bob["seeds"] == [0.6, None, 0.7]
  assert ann["mean"] == pytest.approx(0.7)
  assert found["worst"]["mean"] == pytest.approx(1.9 / 3)
  assert found["gap"]["std"] == pytest.approx(0.1)
  grid = shown.grid({"distilled": found})
  assert grid.rows[0] == ["bob*", "9 to 30", "0.6500 ± 0.0707"]
  assert grid.rows[1] == ["ann", "40 to 60", "0.7000 ± 0.2000"]
  assert grid.rows[2][2] == "0.6333 ± 0.1155"
