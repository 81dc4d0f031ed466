"""Subsets of modalities: in evaluation, as a view in training, and imputed."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.data import arrays
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.feed.index_stream import EvalFeed
from kdjax.feed.sources import ArraySource
from kdjax.report import figures
from kdjax.report.figures import calibration
from kdjax.report.figures import subsets as drawn
from kdjax.stage import build, statistics
from kdjax.step import state as states
from kdjax.step import subsets
from kdjax.step.addresses import Address
from kdjax.step.step import key_of
from kdjax.step.subsets import Drop
from kdjax.step.views import Corruption, Views
from kdjax.teachers import programs
from kdjax.training import evaluation, workdir

N, D, E, K = 240, 6, 4, 3
SEEDS = 2
DROPPED = {"dropped": config.drop("x", "y")}


@pytest.fixture(scope="module", autouse=True)
def data_set():
  """Points with two modalities; some lack one of them or both."""
  rng = np.random.default_rng(0)
  x = rng.normal(1.0, 2.0, size=(N, D)).astype(np.float32)
  y = rng.normal(-2.0, 1.0, size=(N, E)).astype(np.float32)
  label = (x @ rng.normal(size=(D, K)) + y @ rng.normal(size=(E, K))).argmax(1)
  has = {"has/x": np.arange(N) % 5 != 0, "has/y": np.arange(N) % 7 != 0}
  splits = np.array(["train", "validation", "test"])[np.arange(N) // 2 % 3]
  points = {"x": x, "y": y, "label": label, "split": splits}
  arrays.hold("both", {**points, **has})
  arrays.hold("whole", points)
  ids = rng.integers(1, 9, size=(N, 5)).astype(np.int32)
  arrays.hold("texts", {**points, "text": ids, "mask/text": ids > 3})


def fused(**changes):
  encoder = lambda modality: config.network(
    "mlp", widths=(8,), modality=modality
  )
  encoders = {"x": encoder("x"), "y": encoder("y")}
  return config.network("fusion", encoders=encoders, num_classes=K, **changes)


LABELS = {"cross_entropy": config.term("cross_entropy")}


def stage(student, terms=None, **changes):
  knobs = {
    "steps": 4, "batch_size": 16, "log_every": 2, "eval_every": 2,
    "save_every": 0, "subsets": ("x", "y"),
    "optimizer": config.optimizer(learning_rate=0.03),
  }  # fmt: skip
  return config.stage(student, terms=terms or LABELS, **{**knobs, **changes})


def distilled(address="student@dropped/logits", **changes):
  reads = {"student": address, "teacher": "teacher/logits"}
  return stage(
    fused(),
    {**LABELS, "kd": config.term("kd", reads=reads)},
    teachers={"teacher": config.teacher("teacher")},
    **changes,
  )


def plan(stages, held="both", **options):
  return config.experiment(
    "subsets",
    seeds=SEEDS,
    data=config.data("arrays", held=held, **options),
    stages=stages,
  )


# Draws


def keys(count):
  return jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.key(3), jnp.arange(count)
  )


def shares(draws):
  """Subset, as a tuple of flags -> its share of the draws."""
  found, counts = np.unique(np.asarray(draws), axis=0, return_counts=True)
  return {
    tuple(row): count / len(draws)
    for row, count in zip(found, counts, strict=True)
  }


def test_every_non_empty_subset_is_drawn_equally_often():
  count = 40_000
  found = shares(subsets.draw(keys(count), jnp.ones((count, 3), bool), None))
  assert set(found) == set(itertools.product([False, True], repeat=3)) - {
    (False,) * 3
  }
  deviation = np.sqrt(1 / 7 * 6 / 7 / count)
  for share in found.values():
    assert abs(share - 1 / 7) < 4 * deviation


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.8])
def test_a_rate_drops_each_modality_so_often_given_that_one_is_left(rate):
  count = 40_000
  present = np.array([True, True, False, True])
  draws = subsets.draw(keys(count), jnp.tile(present, (count, 1)), rate)
  found = shares(draws)
  for flags in itertools.product([False, True], repeat=4):
    possible = any(flags) and not (np.array(flags) & ~present).any()
    kept, p = sum(flags), 0.0
    if possible:
      p = rate ** (3 - kept) * (1 - rate) ** kept / (1 - rate**3)
    assert abs(found.get(flags, 0.0) - p) <= 4 * np.sqrt(p * (1 - p) / count)


def test_an_example_with_nothing_keeps_nothing_and_one_keeps_its_only_one():
  present = jnp.array([[False, False], [False, True], [True, False]])
  for rate in (None, 0.9):
    draws = subsets.draw(keys(3), present, rate)
    np.testing.assert_array_equal(draws, present)


@pytest.mark.parametrize("rate", [None, 0.3])
def test_of_listed_subsets_each_is_drawn_that_an_example_has_in_full(rate):
  """By an example's modalities; with none of the subsets it keeps them all."""
  listed = [(0,), (0, 1), (1, 2), (0, 1, 2)]
  flags = [tuple(place in subset for place in range(3)) for subset in listed]
  numbers = [sum(1 << place for place in subset) for subset in listed]
  count = 20_000
  for present in itertools.product([False, True], repeat=3):
    tiled = jnp.tile(np.array(present), (count, 1))
    found = shares(subsets.draw(keys(count), tiled, rate, numbers))
    weights = {
      it: 1.0 if rate is None else (1 - rate) ** sum(it) * rate ** -sum(it)
      for it in flags
      if not (np.array(it) & ~np.array(present)).any()
    } or {present: 1.0}
    assert set(found) == set(weights)
    for it, weight in weights.items():
      p = weight / sum(weights.values())
      assert abs(found[it] - p) <= 4 * np.sqrt(p * (1 - p) / count)


def test_a_config_lists_modalities_or_subsets():
  every = [("x",), ("y",), ("x", "y")]
  assert subsets.read("it", ("x", "y")) == (("x", "y"), every)
  some = (("y",), ("x", "y"))
  assert subsets.read("it", some) == (("y", "x"), [*some])


def test_several_modalities_are_missing_in_the_same_examples():
  both = Corruption(("x", "y"), None, "")
  raw = {**batch(range(400)), "level": jnp.full(400, 0.3)}
  made = Views({}, corruption=both)(raw, train=False)
  lost = ~np.asarray(made["has/y"])
  assert abs(lost.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 400)
  has = np.asarray(raw["has/x"])
  np.testing.assert_array_equal(made["has/x"], has & ~lost)
  np.testing.assert_array_equal(made["had/x"], has)
  np.testing.assert_array_equal(made["had/y"], True)


def batch(rows=range(64), view=0):
  rows = np.asarray(rows)
  return {
    "x": jnp.asarray(rows[:, None] * np.ones(D), jnp.float32),
    "y": jnp.asarray(rows[:, None] * np.ones(E), jnp.float32),
    "has/x": jnp.asarray(rows % 5 != 0),
    "index": jnp.asarray(rows, jnp.int32),
    "view": jnp.full(len(rows), view, jnp.int32),
    "valid": jnp.ones(len(rows), bool),
  }


def test_a_dropped_view_depends_on_example_and_view_and_leaves_the_batch():
  views = Views({}, drops={"dropped": Drop(("x", "y"))})
  raw, own = batch(), ("has/x@dropped", "has/y@dropped")
  for train in (True, False):
    made = views(raw, train=train)
    assert made.keys() == {*raw, *own}
    for key in raw:
      np.testing.assert_array_equal(made[key], raw[key])
    left = np.stack([made[key] for key in own], axis=1)
    assert left.any(1).all() and not left.all()
    assert not (left[:, 0] & ~np.asarray(raw["has/x"])).any()
  some = views(batch([9, 4, 4]), train=True)
  again = views(batch(view=1), train=True)
  for key in own:
    np.testing.assert_array_equal(some[key], made[key][jnp.array([9, 4, 4])])
  assert any((again[key] != made[key]).any() for key in own)
  other = dataclasses.replace(views, seed=1)(raw, train=True)
  assert any((other[key] != made[key]).any() for key in own)


def test_the_subset_of_a_level_is_all_that_is_left():
  views = Views({}, subsets=("x", "y"))
  for subset in subsets.of(("x", "y")):
    level = subsets.number_of(subset, ("x", "y"))
    raw = {**batch(), "level": jnp.full(64, level, jnp.float32)}
    made = views(raw, train=False)
    has = {"x": np.asarray(raw["has/x"]), "y": np.ones(64, bool)}
    for modality, was in has.items():
      np.testing.assert_array_equal(made[f"had/{modality}"], was)
      left = was if modality in subset else np.zeros(64, bool)
      np.testing.assert_array_equal(made[f"has/{modality}"], left)
    left = np.any([has[modality] for modality in subset], axis=0)
    np.testing.assert_array_equal(made["valid"], left)
  assert views(batch(), train=True).keys() == batch().keys()


# In a stage


@pytest.fixture(scope="module")
def built():
  stages = {"teacher": stage(fused()), "all": distilled()}
  plain = workdir.resolve(plan(stages, drops=DROPPED))
  return build.build(plain, "all")


def test_the_student_lacks_what_is_dropped_and_the_teacher_has_all(built):
  source = built.load("train", 0)
  raw = built.train_feed(source, 0).batch(0)
  fixed = built.fixed(built.teacher_shapes())
  flow = built.objective.flow({}, fixed, raw, key=key_of(0, 1), train=True)
  whole = flow.inputs("teacher")
  less = flow.inputs("student", "dropped")
  for modality in ("x", "y"):
    has = np.asarray(raw[f"has/{modality}"])
    np.testing.assert_array_equal(whole[f"has/{modality}"], has)
    rows = np.where(has[:, None], raw[modality], 0)
    np.testing.assert_array_equal(whole[modality], rows)
    left = np.asarray(less[f"has/{modality}"])
    assert (left <= has).all() and (left < has).any()
    rows = np.where(left[:, None], raw[modality], 0)
    np.testing.assert_array_equal(less[modality], rows)
    # A term on one encoder's output counts who still has its modality.
    at = Address("student", "dropped", f"{modality}/embedding")
    np.testing.assert_array_equal(flow.present(at), left)


def test_a_teacher_that_does_not_read_the_view_can_be_cached(built):
  assert not programs.is_augmented(built, "teacher")
  reads = {"student": "student/logits", "teacher": "teacher@dropped/logits"}
  stages = {
    "teacher": stage(fused()),
    "all": stage(
      fused(),
      {"kd": config.term("kd", reads=reads)},
      teachers={"teacher": config.teacher("teacher")},
    ),
  }
  plain = workdir.resolve(plan(stages, drops=DROPPED))
  assert programs.is_augmented(build.build(plain, "all"), "teacher")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
  """Four students, of which one reads x alone and one imputes."""
  missing = {"no x": config.corruption("x", levels=(0.0, 0.5, 1.0))}
  both = {
    name: config.metric(name) for name in ("classification", "calibration")
  }
  alone = config.network("mlp", widths=(8,), num_classes=K, modality="x")
  stages = {
    "teacher": stage(fused(), robustness=missing, metrics=both),
    "all": distilled(),
    "x": stage(alone),
    "imputed": stage(fused(), impute="mean"),
  }
  folder = tmp_path_factory.mktemp("subsets")
  results = kdjax.run(plan(stages, drops=DROPPED), folder, quiet=True)
  read = lambda name: json.loads(
    (folder / "stages" / name / "result.json").read_text()
  )
  return folder, results, {name: read(name) for name in stages}


def accuracy_on(folder, name, seed, subset, means=None):
  """The accuracy on a subset, from the restored network and NumPy."""
  model, variables = kdjax.restore(folder, name, seed=seed)
  test = arrays.load("test", held="both").columns
  left = {
    modality: test[f"has/{modality}"] & (modality in subset)
    for modality in ("x", "y")
  }
  inputs = {}
  for modality, has in left.items():
    absent = 0.0 if means is None else means[modality]
    rows = np.where(has[:, None], test[modality], absent)
    inputs[modality] = rows.astype(np.float32)
    inputs[f"has/{modality}"] = has if means is None else np.ones_like(has)
  apply = jax.jit(lambda *both: model.apply(*both, train=False)["logits"])
  logits = np.asarray(apply(variables, inputs))
  counts = np.any([left[modality] for modality in subset], axis=0)
  return (logits.argmax(1) == test["label"])[counts].mean()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["teacher", "all", "imputed"])
def test_results_by_subset_are_those_of_the_restored_network(ran, name):
  folder, results, result = ran
  found = result[name]["subsets"]
  assert list(found) == ["x", "y", "x+y"]
  means = None
  if name == "imputed":
    train = arrays.load("train", held="both").columns
    means = {
      key: train[key][train[f"has/{key}"]].astype(np.float64).mean(0)
      for key in ("x", "y")
    }
  for subset in found:
    expected = [
      accuracy_on(folder, name, seed, subset.split("+"), means)
      for seed in range(SEEDS)
    ]
    np.testing.assert_allclose(found[subset]["accuracy"], expected)
    summary = results["subsets"][name][subset]["accuracy"]
    assert summary["mean"] == pytest.approx(np.mean(expected))
  assert found["x"]["nll"] != found["y"]["nll"]


@pytest.mark.slow
def test_a_student_of_one_modality_is_measured_where_it_predicts(ran):
  _, _, result = ran
  found = result["x"]["subsets"]
  assert list(found) == ["x", "x+y"]
  # The other modality makes no difference to it.
  assert found["x"]["accuracy"] == found["x+y"]["accuracy"]


@pytest.mark.slow
def test_the_report_has_bars_and_tables_by_subset_and_of_calibration(
  ran, monkeypatch
):
  folder, results, result = ran
  both = {"subsets": drawn.subsets, "calibration": calibration.calibration}
  monkeypatch.setattr(figures, "find", lambda: both)
  kdjax.report.write(folder)
  page = (folder / "report.md").read_text()
  assert "| stage | x | y | x + y |" in page
  row = next(
    line
    for line in page.split("## Subsets of the modalities")[1].splitlines()
    if line.startswith("| x |")
  )
  mean = results["subsets"]["x"]["x"]["accuracy"]["mean"]
  assert f"| {mean:.4f} ±" in row and "| - |" in row
  curve = result["teacher"]["robustness"]["no x"]
  assert curve["ece"][0] == result["teacher"]["test"]["best"]["ece"]
  assert "| no x: ECE | 0 | 0.5 | 1 |" in page
  assert "| no x: NLL | 0 | 0.5 | 1 |" in page
  for ece in curve["ece"]:
    assert f"{np.mean(ece):.4f} ± {np.std(ece, ddof=1):.4f}" in page
  for name in both:
    assert (folder / "figures" / f"{name}.png").stat().st_size > 10_000


@pytest.mark.slow
def test_subsets_are_the_same_on_all_devices_and_axes_of_seeds():
  plain = workdir.resolve(plan({"imputed": stage(fused(), impute="mean")}))
  tables = []
  for kind, count, axis in (
    ("pmap", 1, "loop"), ("pmap", 8, "vmap"), ("mesh", 8, "loop"),
  ):  # fmt: skip
    placement = Placement(kind, SEEDS, axis, {}, devices=jax.devices()[:count])
    made = build.build(plain, "imputed", placement.axis_name)
    fixed = [made.fixed({}, made.data_statistics(0))] * SEEDS
    state = [made.init(seed, fixed[seed]) for seed in range(SEEDS)]
    variables = placement.put([states.evaluated(it) for it in state])
    source = arrays.load("test", held="both")
    split = evaluation.SplitEvaluator(made, placement, [source])
    tables.append(split.subsets(variables, placement.put_fixed(fixed)))
  for table in tables[1:]:
    for subset, by_metric in tables[0].items():
      for metric, values in by_metric.items():
        np.testing.assert_allclose(
          table[subset][metric], values, atol=1e-5, err_msg=metric
        )


def test_a_mean_is_over_the_examples_that_have_the_value():
  rng = np.random.default_rng(4)
  count, length = 300, 5  # more than are summed at once
  sound = rng.normal(3.0, size=(count, length, 2)).astype(np.float32)
  mask = np.arange(length) < rng.integers(1, length, count)[:, None]
  has = rng.random(count) < 0.7
  pixels = rng.integers(0, 256, (count, 2, 2, 1)).astype(np.uint8)
  columns = {
    "sound": sound, "mask/sound": mask, "has/sound": has, "image": pixels,
    "index": np.arange(count, dtype=np.int32),
  }  # fmt: skip
  columns["sound"] = np.where(has[:, None, None], sound, np.nan)
  source = ArraySource(columns)
  example = EvalFeed(source, 1).batch(0)
  found = statistics.means(Views({}), example, source, ("image", "sound"))
  for position in range(length):
    rows = has & mask[:, position]
    expected = sound[rows, position].mean(0) if rows.any() else 0.0
    np.testing.assert_allclose(
      found["mean/sound"][position], expected, rtol=1e-5
    )
  np.testing.assert_allclose(
    found["mean/image"], (pixels / 255.0).mean(0), rtol=1e-5
  )
  zeros = statistics.means(Views({}), example, None, ("image", "sound"))
  assert {key: it.shape for key, it in zeros.items()} == {
    key: it.shape for key, it in found.items()
  }


def test_ids_are_not_imputed():
  text = config.network("text_cnn", vocabulary=9, num_classes=K)
  plain = workdir.resolve(
    plan({"text": stage(text, impute="mean", subsets=("x", "text"))}, "texts")
  )
  with pytest.raises(UserError, match=r"'text' has whole numbers"):
    build.build(plain, "text").data_statistics(0)


@pytest.mark.slow
def test_listed_subsets_are_those_of_all_that_are_listed(tmp_path):
  listed = (("y",), ("x", "y"))
  lost = config.corruption(("x", "y"), levels=(0.0, 1.0))
  stages = {
    "every": stage(fused(), impute="mean"),
    "listed": stage(
      fused(), impute="mean", subsets=listed, robustness={"both": lost}
    ),
  }
  kdjax.run(plan(stages, "whole"), tmp_path, quiet=True)
  results = json.loads((tmp_path / "results.json").read_text())
  every, some = (results["subsets"][name] for name in stages)
  assert list(some) == ["y", "x+y"]
  for subset, numbers in some.items():
    assert numbers == every[subset]
  curve = results["robustness"]["listed"]["both"]["accuracy"]
  assert curve[0] == some["x+y"]["accuracy"]["seeds"]
  # With the mean of both in all examples, one class is predicted in all.
  test = arrays.load("test", held="whole").columns
  counts = np.bincount(test["label"])
  for value in curve[1]:
    assert np.isclose(value, counts / counts.sum()).any()


# Mistakes

LOST = config.corruption(("x", "z"), levels=(0.0,))
NOISY = config.corruption(
  ("x", "y"), "noise(snr=1.0)", sweeps="noise.snr", levels=(0.0,)
)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"subsets": ("x", "z")}, "'z', which the data lacks"),
    ({"subsets": ("x",)}, "Expected 2 to 8"),
    ({"subsets": (("x",),)}, "Expected 2 to 8"),
    ({"subsets": ("x", ("x", "y"))}, "has modalities and subsets"),
    ({"subsets": (("x", "y"), ("y", "x"))}, "Expected different ones"),
    ({"subsets": (("x", "y"), ())}, "none of them empty"),
    ({"subsets": (("x", "x"), ("y",))}, "Expected different modalities"),
    ({"subsets": (("x",), ("x", "z"))}, "'z', which the data lacks"),
    ({"robustness": {"a": LOST}}, "'z', which the data lacks"),
    ({"robustness": {"a": NOISY}}, "Expected one modality"),
    ({"impute": "median"}, "impute is 'median'"),
  ],
)
def test_a_mistake_in_a_stage_is_an_error(change, message):
  with pytest.raises(UserError, match=message):
    kdjax.run(plan({"one": stage(fused(), **change)}), "nowhere", quiet=True)


@pytest.mark.parametrize(
  ("drops", "message"),
  [
    ({"dropped": config.drop("x")}, "Expected 2 to 8"),
    ({"dropped": config.drop(("x", "y"), ())}, "none of them empty"),
    ({"dropped": config.drop("x", "z")}, "'z', which the data lacks"),
    ({"dropped": config.drop("x", "y", rate=1.0)}, "rate is 1"),
    ({"train": config.drop("x", "y")}, "a name of its own"),
    ({"droped": config.drop("x", "y")}, "which no term reads"),
  ],
)
def test_a_mistake_in_a_dropped_view_is_an_error(drops, message):
  stages = {"teacher": stage(fused()), "all": distilled()}
  with pytest.raises(UserError, match=message):
    kdjax.run(plan(stages, drops=drops), "nowhere", quiet=True)


def test_a_view_that_nothing_makes_is_refused():
  stages = {"teacher": stage(fused()), "all": distilled("student@less/logits")}
  with pytest.raises(UserError, match="No view 'less' of x, y"):
    kdjax.run(plan(stages), "nowhere", quiet=True)


def test_a_drop_says_its_subsets_if_they_are_not_all():
  """The text is a part of what identifies a cache."""
  every = tuple(subsets.of(("x", "y")))
  assert str(Drop(("x", "y"), None, every)) == str(Drop(("x", "y")))
  one = Drop(("x", "y"), None, (("x",), ("x", "y")))
  assert str(one) not in {str(Drop(("x", "y"))), str(Drop(("x",)))}
  other = Drop(("x", "y"), None, (("y",), ("x", "y")))
  assert str(one) != str(other)
