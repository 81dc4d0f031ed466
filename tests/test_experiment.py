"""Experiments from Python: run, restore, evaluate, and errors."""

import json
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax import config, registry
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.training import check, stage_variables, workdir


def tiny(**changes):
  """Two short stages on the digits: a network, and a student of it."""
  knobs = {
    "steps": 6, "batch_size": 16, "log_every": 2, "eval_every": 3,
    "save_every": 3,
  }  # fmt: skip
  student = config.network("conv", widths=(4,), num_classes=10)
  terms = {"cross_entropy": config.term("cross_entropy")}
  options = {
    "data": config.data("digits", labelled_fraction=0.25),
    "seeds": 2,
    "gains": (("distilled", "alone"),),
    "stages": {
      "alone": config.stage(student, terms=terms, **knobs),
      "distilled": config.stage(
        student,
        teachers={"teacher": config.teacher("alone")},
        terms={**terms, "kd": config.term("kd")},
        **knobs,
      ),
    },
  }
  return config.experiment("tiny", **{**options, **changes})


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
  """A finished tiny run and what it returned."""
  folder = tmp_path_factory.mktemp("tiny")
  return folder, kdjax.run(tiny(), folder, quiet=True)


@pytest.fixture
def copied(ran, tmp_path):
  """The folder of a finished tiny run, to change."""
  return shutil.copytree(ran[0], tmp_path / "copied")


@pytest.fixture
def taught(copied):
  """A folder of which the first stage is finished, and the second new."""
  shutil.rmtree(copied / "stages" / "distilled")
  return copied


@pytest.mark.slow
def test_run_returns_what_results_json_holds(ran):
  folder, results = ran
  assert results == json.loads((folder / "results.json").read_text())
  assert set(results["stages"]) == {"alone", "distilled"}
  accuracy = results["stages"]["distilled"]["accuracy"]
  assert len(accuracy["seeds"]) == 2
  assert 0 <= accuracy["mean"] <= 1
  assert math.isclose(accuracy["mean"], np.mean(accuracy["seeds"]))
  gains = results["gains"]["distilled - alone"]
  assert {"mean", "stderr"} <= set(gains)


def test_a_restored_network_gives_the_predictions_of_the_run(ran):
  folder, _ = ran
  test = registry.find("data", "digits").load("test")
  stored = np.load(folder / "stages" / "distilled" / "predictions.npz")
  np.testing.assert_array_equal(stored["index"], test.columns["index"])
  for seed in (0, 1):
    model, variables = kdjax.restore(folder, "distilled", seed=seed)
    outputs = model.apply(
      variables, {"image": test.columns["image"]}, train=False
    )
    np.testing.assert_allclose(
      outputs["logits"], stored["logits"][seed], atol=1e-5
    )


@pytest.mark.slow
def test_evaluate_gives_the_reported_metrics(ran):
  folder, results = ran
  for which, name in (("best", "accuracy"), ("last", "accuracy_last")):
    again = kdjax.evaluate(folder, "distilled", which=which)
    np.testing.assert_allclose(
      again["accuracy"], results["stages"]["distilled"][name]["seeds"]
    )
  confusion = np.array(again["confusion"])
  assert confusion.shape == (2, 10, 10) and (confusion.sum((1, 2)) == 400).all()


def test_the_best_step_is_the_first_with_the_best_validation(ran):
  folder, _ = ran
  lines = map(json.loads, (folder / "metrics.jsonl").open())
  curve = {}
  for line in lines:
    if (line["stage"], line["name"]) == ("alone", "validation/accuracy"):
      curve.setdefault(line["seed"], []).append((line["value"], line["step"]))
  result = json.loads((folder / "stages/alone/result.json").read_text())
  for seed, points in curve.items():
    top = max(value for value, _ in points)
    first = min(step for value, step in points if value == top)
    assert result["best_step"][seed] == first
    assert math.isclose(
      result["validation"]["best"]["accuracy"][seed], top, rel_tol=1e-6
    )


def test_seeds_draw_their_own_labels_and_weights(ran):
  folder, _ = ran
  _, first = kdjax.restore(folder, "alone", seed=0, which="last")
  _, second = kdjax.restore(folder, "alone", seed=1, which="last")
  kernels = [
    np.asarray(one["params"]["head"]["kernel"]) for one in (first, second)
  ]
  assert np.abs(kernels[0] - kernels[1]).max() > 1e-2


@pytest.mark.slow
def test_both_seed_axes_give_the_same_numbers(ran, tmp_path):
  _, looped = ran
  stacked = kdjax.run(tiny(seed_axis="vmap"), tmp_path, quiet=True)
  for stage, metrics in looped["stages"].items():
    np.testing.assert_allclose(
      metrics["nll"]["seeds"],
      stacked["stages"][stage]["nll"]["seeds"],
      rtol=1e-4,
    )


def test_environment_and_config_are_recorded(ran):
  folder, _ = ran
  environment = json.loads((folder / "environment.json").read_text())
  assert {"jax", "flax", "optax"} <= set(environment["packages"])
  stored = json.loads((folder / "config.json").read_text())
  assert stored["stages"]["distilled"]["terms"]["kd"]["temperature"] == 4.0


def test_a_workdir_of_another_config_is_refused_and_left_alone(ran):
  folder, _ = ran
  before = (folder / "config.json").read_text()
  other = tiny()
  other.stages.distilled.terms.kd.temperature = 2.0
  with pytest.raises(UserError) as error:
    kdjax.run(other, folder, quiet=True)
  text = str(error.value)
  assert "stages.distilled.terms.kd.temperature was 4.0, is 2.0" in text
  assert "stages.*.steps" in text
  assert (folder / "config.json").read_text() == before


@pytest.mark.slow
def test_a_stage_may_be_added_and_one_trained_again(copied):
  plan = tiny()
  with plan.unlocked():
    plan.stages.hot = plan.stages.distilled.copy_and_resolve_references()
    plan.stages.hot.terms.kd.temperature = 8.0
    plan.order = (*plan.order, "hot")
    plan.gains = (*plan.gains, ("hot", "alone"))
  results = kdjax.run(plan, copied, quiet=True)
  assert set(results["gains"]) == {"distilled - alone", "hot - alone"}
  with plan.unlocked():
    plan.stages.hot.terms.kd.temperature = 2.0
  with pytest.raises(UserError, match=r"kd\.temperature was 8\.0"):
    kdjax.run(plan, copied, stage="hot", quiet=True)
  shutil.rmtree(copied / "stages" / "hot")
  again = kdjax.run(plan, copied, stage="hot", quiet=True)
  before, after = (
    one["stages"]["hot"]["loss/kd"]["mean"] for one in (results, again)
  )
  assert before != after
  kept = json.loads((copied / "config.json").read_text())
  assert kept["stages"]["hot"]["terms"]["kd"]["temperature"] == 2.0


@pytest.mark.slow
def test_an_error_before_training_leaves_the_workdir_usable_for_an_average(
  tmp_path,
):
  """The run after the error evaluates the average of parameters."""
  wrong = tiny()
  wrong.data.labels_per_class = 1000
  with pytest.raises(UserError, match="labels_per_class=1000"):
    kdjax.run(wrong, tmp_path, stage="alone", quiet=True)
  averaged = tiny()
  averaged.stages.alone.ema_decay = 0.9
  kdjax.run(averaged, tmp_path, stage="alone", quiet=True)
  _, last = kdjax.restore(tmp_path, "alone", which="last")
  result = json.loads((tmp_path / "stages/alone/result.json").read_text())
  again = kdjax.evaluate(tmp_path, "alone", which="last")
  assert again["accuracy"] == pytest.approx(result["test"]["last"]["accuracy"])
  with stage_variables.Checkpoints(
    tmp_path / "stages" / "alone" / "checkpoints"
  ) as checkpoints:
    average = checkpoints.read("average.networks.student.")["head.kernel"][0]
    current = checkpoints.read("params.networks.student.")["head.kernel"][0]
  np.testing.assert_array_equal(last["params"]["head"]["kernel"], average)
  assert np.abs(average - current).max() > 1e-4


@pytest.mark.slow
def test_a_network_may_start_from_another_stage(taught):
  plan = tiny()
  plan.stages.distilled.networks.student.init_from = "alone"
  plan.stages.distilled.optimizer.learning_rate = 0.0
  kdjax.run(plan, taught, stage="distilled", quiet=True)
  for seed in (0, 1):
    _, one = kdjax.restore(taught, "alone", seed=seed)
    _, other = kdjax.restore(taught, "distilled", seed=seed, which="last")
    np.testing.assert_array_equal(
      one["params"]["head"]["kernel"], other["params"]["head"]["kernel"]
    )


@pytest.mark.slow
def test_a_loss_that_becomes_nan_stops_with_step_seed_and_terms(taught):
  plan = tiny()
  plan.stages.distilled.steps = 12

  def shifted(student, teacher, *, start: float = 1.0):
    """Differences of logits, which are NaN where `start` is 0."""
    return jnp.sum((student - teacher) ** 2, axis=-1) + start * jnp.log(start)

  kdjax.register("losses", "shifted", shifted)
  try:
    plan.unlock()
    # It is 0 from step 8 on, counted from 0.
    start = config.schedule("linear", 4.0, steps=8)
    plan.stages.distilled.terms.kd = config.term("shifted", start=start)
    with pytest.raises(UserError) as error:
      kdjax.run(plan, taught, stage="distilled", quiet=True)
  finally:
    registry._registered.pop(("losses", "shifted"))
  text = str(error.value)
  assert "'distilled'" in text and "at step 9 of seed 0" in text
  assert "kd nan" in text and "cross_entropy" in text
  assert "checkpoint of step 6 stays" in text
  variables = kdjax.restore(taught, "distilled", which="last")[1]
  assert np.isfinite(variables["params"]["head"]["kernel"]).all()
  assert not (taught / "stages" / "distilled" / "result.json").exists()


@pytest.mark.slow
def test_a_registered_loss_trains_and_is_not_needed_to_restore(taught):
  def squared(student, teacher, *, power: float = 2.0):
    """Differences of logits, to a power."""
    return jnp.sum(jnp.abs(student - teacher) ** power, axis=-1)

  kdjax.register("losses", "squared", squared)
  try:
    plan = tiny()
    plan.unlock()
    plan.stages.distilled.terms.mine = config.term("squared", power=1.5)
    kdjax.run(plan, taught, stage="distilled", quiet=True)
  finally:
    registry._registered.pop(("losses", "squared"))
  stored = json.loads((taught / "config.json").read_text())
  # Its hash is recorded.
  assert len(stored["sources"]["losses:squared"]) == 64
  assert stored["stages"]["distilled"]["terms"]["mine"]["power"] == 1.5
  names = {
    json.loads(line)["name"] for line in (taught / "metrics.jsonl").open()
  }
  assert "train/loss/mine" in names
  model, variables = kdjax.restore(taught, "distilled")
  assert model.apply(variables, {"image": np.ones((1, 8, 8, 1))}, train=False)


def test_a_loss_from_a_file_is_found_by_its_path(tmp_path):
  path = tmp_path / "mine.py"
  path.write_text(
    '"""Mine."""\n\n\ndef mine(student, teacher, *, power: float = 2.0):\n'
    '  """Mine."""\n  return abs(student - teacher).sum(-1) ** power\n'
  )
  plan = tiny()
  plan.unlock()
  plan.stages.distilled.terms.mine = config.term(str(path), power=3.0)
  plain = workdir.resolve(plan)
  check.plan(plain, ["distilled"])
  (key,) = plain["sources"]
  assert key.endswith("mine.py")


def test_a_teacher_must_come_before_its_student():
  plan = tiny()
  plan.stages.distilled.teachers.teacher.stage = "distilled"
  with pytest.raises(UserError, match="does not come before it"):
    check.plan(workdir.resolve(plan), ["distilled"])


def test_an_unfinished_teacher_is_named(tmp_path):
  with pytest.raises(UserError, match="'alone', which is not finished"):
    kdjax.run(tiny(), tmp_path, stage="distilled", quiet=True)


def test_a_metric_to_select_by_must_exist():
  plan = tiny()
  plan.stages.alone.select = "acuracy"
  with pytest.raises(UserError, match="Did you mean 'accuracy'"):
    check.plan(workdir.resolve(plan), ["alone"])


@pytest.mark.parametrize(
  ("select", "mode", "better"),
  [
    ("loss/cross_entropy", "max", "min"),
    ("nll", "max", "min"),
    ("accuracy", "min", "max"),
    ("other/ece", "max", "min"),
  ],
)
def test_the_worst_variables_are_not_selected(select, mode, better):
  plan = tiny()
  with plan.unlocked():
    plan.stages.alone.metrics.other = config.metric("calibration")
  (term,) = plan.stages.alone.terms
  plan.stages.alone.select = select.replace("cross_entropy", term)
  plan.stages.alone.select_mode = mode
  with pytest.raises(UserError, match=f'Set select_mode="{better}"'):
    check.plan(workdir.resolve(plan), ["alone"])


@pytest.mark.parametrize(
  ("path", "value", "message"),
  [
    ("seeds", 0, "seeds is 0"),
    ("seed", -1, "seed is -1"),
    ("stages.alone.log_every", 0, "log_every is 0"),
    ("gains", (("distiled", "alone"),), "Did you mean 'distilled'"),
    (
      "stages.alone.networks.student.init_from",
      "nix",
      "does not come before it",
    ),
    ("dtype", "bf16", "'bf16'.*bfloat16, float32"),
    ("stages.alone.steps", 0, "stages.alone.steps is 0"),
    ("stages.alone.select_mode", "maximum", "max, min"),
    ("stages.alone.terms.cross_entropy.targets", ("labels",), "label, student"),
    ("stages.alone.optimizer.name", "adam", "Did you mean 'adamw'"),
    ("data.name", "digit", "Did you mean 'digits'"),
    ("placement", "pmapp", "mesh, pmap"),
  ],
)
def test_unknown_values_are_refused(path, value, message):
  plan = tiny()
  plan.update_from_flattened_dict({path: value})
  with pytest.raises(UserError, match=message):
    check.plan(workdir.resolve(plan), ["alone"])


def test_a_teachers_variables_are_best_or_last():
  plan = tiny()
  plan.stages.distilled.teachers.teacher.which = "bset"
  with pytest.raises(UserError, match="Did you mean 'best'"):
    check.plan(workdir.resolve(plan), ["alone", "distilled"])


def test_a_config_is_locked():
  plan = tiny()
  with pytest.raises(AttributeError, match="optimizzer"):
    plan.stages.alone.optimizzer = 3


def test_an_integer_for_a_float_option_becomes_a_float():
  plan = config.optimizer(weight_decay=1, clip_norm=0)
  assert isinstance(plan.weight_decay, float)
  assert isinstance(plan.clip_norm, float)


def test_an_option_with_a_reserved_name_is_refused():
  def heavy(student, teacher, *, weight: float = 3.0):
    return abs(student - teacher).sum(-1) * weight

  kdjax.register("losses", "heavy", heavy)
  try:
    with pytest.raises(UserError, match="option 'weight' has a name that"):
      config.term("heavy", weight=0.5)
  finally:
    registry._registered.pop(("losses", "heavy"))


def test_a_default_that_is_no_literal_is_not_in_the_config(tmp_path):
  path = tmp_path / "third.py"
  path.write_text(
    "def third(student, teacher, *, share: float = 1 / 3):\n"
    '  """Mine."""\n  return abs(student - teacher).sum(-1) * share\n'
  )
  assert "share" not in config.term(str(path))
  assert config.term(str(path), share=0.5).share == 0.5


def test_only_the_steps_of_a_stage_may_change():
  assert workdir.changeable("stages.alone.steps")
  assert not workdir.changeable("stages.alone.optimizer.learning_rate.steps")
  assert not workdir.changeable("stages.alone.terms.kd.steps")


@pytest.mark.slow
def test_a_student_without_logits_is_trained_and_reported(taught):
  plan = tiny()
  student = config.network("conv", widths=(4,))
  hint = config.term(
    "mse",
    reads={"student": "student/embedding", "teacher": "teacher/embedding"},
  )
  stage = config.stage(
    student,
    teachers={"teacher": config.teacher("alone")},
    terms={"hint": hint},
    metrics={},
    select="loss/hint",
    select_mode="min",
    steps=4,
    batch_size=16,
  )
  with plan.unlocked():
    plan.stages.distilled = stage
  results = kdjax.run(plan, taught, stage="distilled", quiet=True)
  assert len(results["stages"]["distilled"]["loss/hint"]["seeds"]) == 2


@pytest.mark.slow
def test_a_metric_that_is_never_a_number_selects_nothing(tmp_path):
  plan = tiny()
  plan.stages.alone.select = "loss/mine"

  def mine(student, index):
    # Infinite on validation: its indices are below those of training.
    return student[:, 0] * 0 + jnp.where(index < 600, jnp.inf, 1.0)

  kdjax.register("losses", "mine", mine)
  try:
    with plan.unlocked():
      plan.stages.alone.terms.mine = config.term(
        "mine", reads={"index": "batch/index"}
      )
    with pytest.raises(
      UserError, match=r"'loss/mine' on validation is inf at the first"
    ):
      plan.stages.alone.select_mode = "min"
      kdjax.run(plan, tmp_path, stage="alone", quiet=True)
  finally:
    registry._registered.pop(("losses", "mine"))


@pytest.mark.slow
def test_an_unfinished_student_is_not_continued_with_another_teacher(copied):
  # As if it had been killed, and the teacher trained further.
  (copied / "stages" / "distilled" / "result.json").unlink()
  longer = tiny()
  longer.stages.alone.steps = 9
  longer.stages.distilled.steps = 9
  with pytest.raises(UserError, match=r"other teachers: alone was \w+, is \w+"):
    kdjax.run(longer, copied, quiet=True)


def test_fewer_classes_than_the_labels_have_are_refused():
  plan = tiny()
  plan.stages.alone.networks.student.num_classes = 7
  with pytest.raises(UserError, match=r"reads 7 classes.*has 10 classes"):
    check.plan(workdir.resolve(plan), ["alone"])


def test_an_error_inside_a_network_is_one_message():
  plan = tiny()
  plan.stages.alone.networks.student.modality = "text"
  with pytest.raises(UserError, match="'alone' does not trace"):
    check.plan(workdir.resolve(plan), ["alone"])


@pytest.mark.slow
def test_evaluation_on_train_uses_the_labels_of_each_seed(ran):
  folder, _ = ran
  measured = kdjax.evaluate(folder, "alone", split="train", which="last")
  for seed, confusion in enumerate(measured["confusion"]):
    labels = (
      registry.find("data", "digits").load("train", seed).columns["label"]
    )
    kept = np.bincount(labels[labels >= 0], minlength=10)
    np.testing.assert_array_equal(confusion.sum(1), kept)
    model, variables = kdjax.restore(folder, "alone", seed=seed, which="last")
    source = registry.find("data", "digits").load("train", seed).columns
    logits = model.apply(variables, {"image": source["image"]}, train=False)
    right = np.argmax(logits["logits"], -1)[labels >= 0] == labels[labels >= 0]
    assert measured["accuracy"][seed] == pytest.approx(right.mean())


def test_a_fraction_of_labels_is_at_most_one(tmp_path):
  plan = tiny()
  plan.data.labelled_fraction = 25.0
  with pytest.raises(UserError, match=r"labelled_fraction is 25\.0.*0 to 1"):
    kdjax.run(plan, tmp_path, quiet=True)


@pytest.mark.slow
def test_a_checkpoint_beyond_the_last_step_is_refused(taught):
  (taught / "stages" / "alone" / "result.json").unlink()
  shorter = tiny()
  shorter.stages.alone.steps = 3
  with pytest.raises(UserError, match="is of step 6"):
    kdjax.run(shorter, taught, stage="alone", quiet=True)


@pytest.mark.slow
def test_bfloat16_applies_only_to_activations(tmp_path):
  kdjax.run(tiny(dtype="bfloat16", seeds=1), tmp_path, quiet=True)
  model, variables = kdjax.restore(tmp_path, "distilled")
  assert model.dtype == jnp.bfloat16
  kinds = {leaf.dtype for leaf in jax.tree.leaves(variables)}
  assert kinds == {np.dtype("float32")}


def test_metrics_that_cannot_be_computed_are_named(tmp_path):
  """Targets are numbers, and the metrics by default are of classes."""
  arrays.hold(
    "targets",
    {
      "numbers": np.ones((32, 3), np.float32),
      "target": np.ones((32, 2), np.float32),
    },
  )
  reads = {"student": "student/logits", "teacher": "batch/target"}
  net = config.network("mlp", modality="numbers", widths=(4,), num_classes=2)
  plan = config.experiment(
    "targets",
    data=config.data("arrays", held="targets"),
    stages={
      "alone": config.stage(
        net, terms={"mse": config.term("mse", reads=reads)}, batch_size=8
      )
    },
  )
  with pytest.raises(UserError) as error:
    kdjax.run(plan, tmp_path, quiet=True)
  said = str(error.value)
  assert "The metrics 'classification' cannot be computed" in said
  assert "No 'batch/label'" in said and "metric('regression')" in said
