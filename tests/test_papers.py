"""Published experiments have the published results: the quick part.

`kdjax reproduce` runs all of it.
"""

import json
import math
import os
import pathlib
import re

import jax
import numpy as np
import pytest
from absl import flags as absl_flags

import kdjax
from kdjax import config, registry
from kdjax.config import fields
from kdjax.data import lopez_paz, mnist_small, two_moons
from kdjax.errors import UserError
from kdjax.papers import closed_forms, reproduction
from kdjax.pretrained import from_arrays
from kdjax.stage import grids
from kdjax.verbs import _results_page, reproduce

ROOT = pathlib.Path(__file__).parents[1]
PAPERS = ROOT / "configs" / "papers"
GOLDENS = pathlib.Path(
  os.environ.get("KDJAX_GOLDENS", ROOT.parent / "shared" / "goldens")
)
MOON = GOLDENS / "mke_twomoon.npz"
DATA = os.environ.get("KDJAX_DATA", str(ROOT.parent / "shared" / "data"))
stored = pytest.mark.skipif(not MOON.exists(), reason=f"no {MOON}")
there = pytest.mark.skipif(not os.path.isdir(DATA), reason=f"no {DATA}")


def only(plan, names, **knobs):
  """A plan of some of its stages, with other run-wide knobs."""
  with plan.unlocked():
    plan.order = tuple(names)
    plan.gains = ()
    for key, value in knobs.items():
      plan[key] = value
  return plan


def accuracy(results, stage):
  return results["stages"][stage]["accuracy"]["mean"]


# Lopez-Paz et al.


@pytest.mark.parametrize("world", lopez_paz.EXPERIMENTS)
def test_both_views_are_standardised_by_the_training_examples(world):
  train = lopez_paz.load("train", 3, experiment=world).columns
  test = lopez_paz.load("test", 3, experiment=world).columns
  for key in ("regular", "privileged"):
    np.testing.assert_allclose(train[key].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(train[key].std(0), 1, atol=1e-5)
    assert 0 < np.abs(test[key].mean(0)).max() < 0.5
  assert len(train["label"]) == 200 and len(test["label"]) == 10_000


def test_the_relevant_features_are_those_of_the_regular_view():
  columns = lopez_paz.load("test", 1, experiment="relevant").columns
  regular, privileged = columns["regular"], columns["privileged"]
  np.testing.assert_allclose(privileged, regular[:, :3], rtol=1e-6)
  each = lopez_paz.load("test", 1, experiment="relevant_each").columns
  assert each["privileged"].shape == (10_000, 3)
  assert abs(each["label"].mean() - 0.5) < 1e-3


def test_each_seed_draws_its_own_data_in_all_splits():
  load = lambda split, seed: lopez_paz.load(split, seed).columns["privileged"]
  for split in ("train", "validation", "test"):
    assert not np.array_equal(load(split, 0), load(split, 1))
  plan = fields.load(f"{PAPERS / 'lopez_paz.py'}:synthetic")
  assert plan.seeds == 100


@pytest.mark.slow
def test_the_synthetic_table_of_one_world(tmp_path):
  plan = fields.load(f"{PAPERS / 'lopez_paz.py'}:synthetic")
  names = [f"{one}-relevant" for one in ("privileged", "regular", "distilled")]
  results = kdjax.run(only(plan, names, seeds=10), tmp_path, quiet=True)
  for name, expected in zip(names, (0.98, 0.89, 0.97), strict=True):
    # Ten worlds instead of a hundred: their mean is less sure.
    assert accuracy(results, name) == pytest.approx(expected, abs=0.03)
  stages = tmp_path / "stages"
  assert not list(stages.rglob("predictions.npz"))
  # Each seed is measured on the test examples of its own draw.
  again = kdjax.evaluate(tmp_path, names[1])["accuracy"]
  model, variables = kdjax.restore(tmp_path, names[1], seed=4)
  test = lopez_paz.load("test", 4, experiment="relevant").columns
  logits = model.apply(variables, {"regular": test["regular"]}, train=False)[
    "logits"
  ]
  own = np.mean(np.argmax(logits, 1) == test["label"])
  assert own == pytest.approx(again[4], abs=1e-6)
  assert own == pytest.approx(
    results["stages"][names[1]]["accuracy"]["seeds"][4], abs=1e-6
  )


@pytest.mark.slow
@pytest.mark.parametrize("start", ["glorot", "zeros", "pytorch"])
def test_dense_layers_have_the_initialisation_of_the_option(start):
  model = registry.find("models", "mlp")(
    num_classes=40, widths=(60,), start=start
  )
  inputs = {"image": np.zeros((1, 50), np.float32)}
  made = model.init(jax.random.key(0), inputs, train=False)["params"]
  kernel = np.abs(np.asarray(made["dense0"]["kernel"]))
  bounds = {
    "glorot": math.sqrt(6 / (50 + 60)),
    "pytorch": 1 / math.sqrt(50),
    "zeros": 0.0,
  }
  assert 0.99 * bounds[start] <= kernel.max() <= bounds[start]
  assert np.any(made["head"]["bias"]) == (start == "pytorch")


def test_an_unknown_start_is_an_error():
  model = registry.find("models", "mlp")(start="glorto")
  with pytest.raises(UserError, match="Did you mean 'glorot'"):
    model.init(jax.random.key(0), {"image": np.zeros((1, 3))}, train=False)


def test_noise_with_a_deviation_does_not_depend_on_the_example():
  noise = registry.find("transforms", "noise")
  for scale in (0.0, 7.0):
    x = np.full(20_000, scale, np.float32)
    added = noise(jax.random.key(1), x, deviation=0.3) - x
    assert np.std(added) == pytest.approx(0.3, rel=0.03)


@there
def test_the_small_view_of_a_digit_is_the_image_resized():
  source = mnist_small.load("test", root=DATA, limit=20)
  resize = registry.find("transforms", "resize")
  for image, small in zip(
    source.columns["image"], source.columns["small"], strict=True
  ):
    expected = resize(None, (image / 255).astype(np.float32), size=7)
    np.testing.assert_allclose(small, expected, atol=1e-6)


@there
def test_a_seed_draws_the_training_digits_alone():
  load = lambda split, seed: mnist_small.load(
    split, seed, root=DATA, train_size=50
  ).columns["index"]
  assert len(load("train", 0)) == 50 == len(np.unique(load("train", 0)))
  assert not np.array_equal(load("train", 0), load("train", 1))
  np.testing.assert_array_equal(load("test", 0), load("test", 1))
  with pytest.raises(UserError, match="train_size=0"):
    mnist_small.load("train", root=DATA, train_size=0)


@pytest.mark.parametrize("tempered", [False, True])
def test_the_grid_of_mnist_is_the_papers(tempered):
  mode = "mnist300_tempered" if tempered else "mnist300"
  plan = fields.load(f"{PAPERS / 'lopez_paz.py'}:{mode}")
  grid = plan.stages.student.grid
  points = grids.points(grid.to_dict())
  assert len(points) == 6 * 10 + 1
  weights = [
    (one["cross_entropy/weight"], one["generalized_distillation/weight"])
    for one in points
  ]
  assert all(math.isclose(labels + soft, 1.0) for labels, soft in weights)
  term = plan.stages.student.terms.generalized_distillation
  assert term.student_temperature == (None if tempered else 1.0)


# Two moons


@stored
def test_the_moons_are_the_published_points():
  arrays = np.load(MOON)
  for part, points, labels in (
    ("labelled", "X_l", "y_l"),
    ("unlabelled", "X_u", "y_u"),
  ):
    columns = two_moons.load("train", part=part).columns
    np.testing.assert_allclose(columns["both"], arrays[points], rtol=1e-6)
    np.testing.assert_array_equal(columns["label"], arrays[labels])
  test = two_moons.load("test").columns
  np.testing.assert_allclose(test["both"], arrays["X_t"], rtol=1e-6)
  np.testing.assert_array_equal(test["first"], test["both"][:, :1])


@stored
def test_the_noise_has_the_size_of_the_unlabelled_points():
  means = np.load(MOON)["X_u"]
  plan = fields.load(str(PAPERS / "twomoon.py"))
  pipelines = plan.data.pipelines.noisy
  deviation = lambda key: float(re.search(r"[\d.]+", pipelines[key]).group())
  first = np.abs(means[:, :1]).mean()
  assert deviation("first") == pytest.approx(first, abs=1e-4)
  assert deviation("both") == pytest.approx(np.abs(means).mean(), abs=1e-4)


@pytest.mark.slow
@stored
def test_the_stored_teacher_gives_the_published_pseudo_labels(tmp_path):
  plan = fields.load(f"{PAPERS / 'twomoon.py'}:stored={MOON}")
  results = kdjax.run(only(plan, ["teacher"], seeds=1), tmp_path, quiet=True)
  assert accuracy(results, "teacher") == 0.695
  model, variables = kdjax.restore(tmp_path, "teacher", which="last")
  points = two_moons.load("train", part="unlabelled").columns["first"]
  logits = model.apply(variables, {"first": points}, train=False)["logits"]
  arrays = np.load(MOON)
  np.testing.assert_array_equal(np.argmax(logits, 1), arrays["pseudo"])
  np.testing.assert_allclose(logits, arrays["teacher_logits_u"], atol=1e-3)


@pytest.fixture
def arrays(tmp_path):
  """A file of two dense layers, as PyTorch has them."""
  path = tmp_path / "start.npz"
  rng = np.random.default_rng(0)
  np.savez(
    path,
    **{"7.a.weight": rng.normal(size=(3, 2)), "7.a.bias": rng.normal(size=3)},
    **{"7.b.weight": rng.normal(size=(2, 3)), "7.b.bias": rng.normal(size=2)},
  )
  return path


def template():
  return {
    "params": {
      "dense0": {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)},
      "head": {"kernel": np.zeros((3, 2)), "bias": np.zeros(2)},
    }
  }


def test_arrays_of_a_seed_become_layers_their_kernels_transposed(arrays):
  layers = {"dense0": "{seed}.a", "head": "{seed}.b"}
  made = from_arrays(str(arrays), layers, template(), 7)["params"]
  there = np.load(arrays)
  np.testing.assert_array_equal(made["dense0"]["kernel"], there["7.a.weight"].T)
  np.testing.assert_array_equal(made["head"]["bias"], there["7.b.bias"])


@pytest.mark.parametrize(
  ("layers", "seed", "message"),
  [
    ({"dense0": "{seed}.a", "haed": "{seed}.b"}, 7, "layer 'head'"),
    ({"dense0": "{seed}.a", "head": "{seed}.b"}, 8, "has no array '8.a"),
    (
      {"dense0": "{seed}.b", "head": "{seed}.a"},
      7,
      r"shape \[3, 2\] .*shape \[2, 3\]",
    ),
  ],
)
def test_arrays_that_do_not_fit_are_an_error(arrays, layers, seed, message):
  with pytest.raises(UserError, match=message):
    from_arrays(str(arrays), layers, template(), seed)


def test_a_file_that_is_no_npz_is_an_error(tmp_path):
  (tmp_path / "not.npz").write_text("no arrays")
  for name in ("not.npz", "gone.npz"):
    with pytest.raises(UserError, match=r"cannot be read as an \.npz file"):
      from_arrays(str(tmp_path / name), {}, template(), 0)


# Closed forms


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
  folder = tmp_path_factory.mktemp("closed")
  plan = fields.load(str(PAPERS / "closed_forms.py"))
  with plan.unlocked():
    plan.seeds = 2
    for name in ("many", "few"):
      plan.stages[name].steps = plan.stages[name].log_every = 2500
  kdjax.run(plan, folder, quiet=True)
  return folder


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["many", "few"])
def test_linear_students_end_where_theorem_1_says(linear, stage):
  found = closed_forms.theorem_1(linear, stage)
  assert len(found) == 2 and max(found) < 1e-4


@pytest.mark.slow
def test_few_examples_leave_the_student_short_of_the_teacher(linear):
  weights = lambda stage: kdjax.restore(linear, stage, which="last")[1]
  both = [
    weights(stage)["params"]["head"]["kernel"] for stage in ("teacher", "few")
  ]
  theirs, ours = (one[:, 1] - one[:, 0] for one in both)
  assert np.linalg.norm(ours) < 0.95 * np.linalg.norm(theirs)


def test_the_gradient_at_a_high_temperature_is_that_of_the_logits():
  assert closed_forms.high_temperature()[0] < 0.02


@pytest.mark.slow
def test_kd_is_its_two_parts():
  assert closed_forms.decoupled()[0] < 1e-5


def test_an_unknown_closed_form_is_an_error(tmp_path):
  with pytest.raises(UserError, match="Did you mean 'theorem_1'"):
    closed_forms.distance("theorem_2", tmp_path, "")


# Tables


def test_every_row_has_a_stage_and_grid_points_that_exist():
  for table in reproduction.tables(PAPERS):
    mode = "stored=x" if table.mode == "stored" else table.mode
    plan = fields.load(f"{table.path}:{mode}" if mode else str(table.path))
    assert table.rows
    for row in table.rows:
      if not row["stage"]:
        continue
      stage = plan.stages[row["stage"]]
      for name, values in row["at"].items():
        assert {*values} <= {*stage.grid[name]}


def test_tables_are_chosen_by_paper_or_by_experiment():
  known = reproduction.tables(PAPERS)
  names = lambda *words: [one.name for one in reproduction.chosen(known, words)]
  assert names("twomoon:stored") == ["twomoon:stored"]
  assert {"lopez_paz:synthetic", "lopez_paz:mnist500"} < {*names("lopez_paz")}
  assert not any(name.startswith("rediscover") for name in names())
  with pytest.raises(UserError, match="Did you mean 'twomoon'"):
    names("towmoon")


def row(ours, published=0.7, tolerance=0.02):
  return reproduction.Row(
    "t", "a row", published, ours, tolerance, "", "1 x cpu", 3.0, "abc"
  )


def test_a_verdict_is_of_the_mean_and_a_miss_stays_on_the_page():
  assert row((0.68, 0.74)).verdict == "within"
  assert row((0.80, 0.70)).verdict == "MISSED"
  assert row(()).verdict == "not measured"
  assert row((0.7,), published=None).verdict == "no number to compare"
  table = reproduction.tables(PAPERS)[0]
  page = _results_page.page([(table, [row((0.80, 0.70)), row((0.70, 0.71))])])
  assert "| MISSED | 2 | 1 x cpu | 3.0 | abc |" in page
  assert "1 of 2 rows within tolerance" in page


def test_what_others_measured_stays_on_the_page():
  tables = reproduction.tables(PAPERS)
  written = (PAPERS.parents[1] / "RESULTS.md").read_text()
  nothing = [
    (one, reproduction.rows(one, pathlib.Path("no"))) for one in tables
  ]
  assert _results_page.page(nothing, written) == written
  # One row is measured anew: no other line changes but its table's summary.
  table, rows = nothing[0]
  first = rows[0]._replace(
    ours=(1.25,), device="1 x new", seconds=3.0, commit="fedcba987"
  )
  anew = [(table, [first, *rows[1:]]), *nothing[1:]]
  now = _results_page.page(anew, written).splitlines()
  changed = [
    line
    for line, old in zip(now, written.splitlines(), strict=True)
    if line != old
  ]
  assert any("1 x new" in line for line in changed) and len(changed) <= 2
  # A table of another folder of papers stays, too.
  other = written + "\n## mine\n\nA table.\n"
  assert _results_page.page(nothing, other).endswith("## mine\n\nA table.\n")


def test_a_failed_experiment_writes_nothing(tmp_path, monkeypatch):
  (tmp_path / "broken.py").write_text("raise SystemError('is run')")
  paper = (
    "def published():\n  return {'': []}\n\n"
    "def get_config(argument=''):\n  raise ValueError('no data')\n"
  )
  (tmp_path / "mine.py").write_text(paper)

  def fails(*_, **__):
    raise UserError("no data")

  monkeypatch.setattr(reproduction, "run", fails)
  out = tmp_path / "RESULTS.md"
  out.write_text("as it was")
  flags = [
    f"--configs={tmp_path}",
    f"--out={out}",
    f"--workdir={tmp_path}/runs",
  ]
  with pytest.raises(UserError, match="1 experiments failed"):
    run_verb("reproduce", *flags)
  assert out.read_text() == "as it was"


def run_verb(name, *flags):
  """A verb's `main` with its flags."""
  values = absl_flags.FlagValues()
  reproduce.define(values, [])
  values([name, *flags])
  reproduce.main(values, [])


def test_rows_are_read_from_the_files_of_a_run(tmp_path):
  table = reproduction.Table(
    "p", "", "P", PAPERS, [reproduction_row(at={"kd/weight": (0.5,)})], False
  )
  assert reproduction.rows(table, tmp_path)[0].verdict == "not measured"
  folder = tmp_path / "p" / "stages" / "student"
  folder.mkdir(parents=True)
  (tmp_path / "p" / "environment.json").write_text(
    json.dumps({"commit": "0123456789abc", "changed": True})
  )
  grid = [
    {"at": {"kd/weight": weight}, "accuracy": [weight, weight + 0.1]}
    for weight in (0.5, 0.7)
  ]
  result = {
    "stage": "student", "steps": 4, "seeds": [0, 1], "device": "d",
    "seconds": 2, "examples_per_second": 9, "grid": grid,
  }  # fmt: skip
  (folder / "result.json").write_text(json.dumps(result))
  (found,) = reproduction.rows(table, tmp_path)
  assert found.ours == (0.5, 0.6) and found.commit == "012345678+"


def compared(tmp_path, *rows):
  """The rows of two stages that ran: 0.5, 0.7 and 0.4, 0.75."""
  for name, values in {"student": [0.5, 0.7], "alone": [0.4, 0.75]}.items():
    folder = tmp_path / "p" / "stages" / name
    folder.mkdir(parents=True)
    result = {
      "stage": name, "steps": 4, "seeds": [0, 1], "device": "d", "seconds": 2,
      "examples_per_second": 9, "test": {"last": {"accuracy": values}},
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))
  (tmp_path / "p" / "environment.json").write_text(
    json.dumps({"commit": None, "changed": False})
  )
  table = reproduction.Table("p", "", "P", PAPERS, rows, False)
  return table, reproduction.rows(table, tmp_path)


def test_a_row_is_a_number_a_paired_gain_a_sign_or_an_order(tmp_path):
  table, rows = compared(
    tmp_path,
    config.result("number", "student", 0.61, 0.02),
    config.result("gain", "student", 0.02, 0.01, over="alone"),
    config.result("helps", "student", "+", over="alone"),
    config.result("hurts", "student", "-", over="alone"),
    config.result("right", ("student", "alone"), "order"),
    config.result("wrong", ("alone", "student"), "order"),
    config.result("no gain yet", "student", 0.02, 0.01, over="missing"),
  )
  assert [row.verdict for row in rows] == [
    "within", "within", "within", "MISSED", "within", "MISSED", "not measured",
  ]  # fmt: skip
  assert rows[1].ours == pytest.approx((0.1, -0.05))
  assert rows[1].difference == pytest.approx(0.005)
  page = _results_page.page([(table, rows)])
  assert "| gain | 0.020 | 0.025 ± 0.106 | +0.005 | 0.01 | within |" in page
  assert "| helps | + | 0.025 ± 0.106 |  |  | within |" in page
  assert "| wrong | alone > student | student > alone |" in page
  assert "4 of 6 rows within tolerance, 1 not measured." in page


@pytest.mark.parametrize(
  "arguments, message",
  [
    (("a", "distilled", 0.5), "tolerance of 'a' is None"),
    (("a", "distilled", 0.5, 0), "tolerance of 'a' is 0"),
    (("a", "distilled", "+"), "no `over`"),
    (("a", "distilled", "order"), "at least two stages"),
    (("a", ("x", "y"), 0.5, 0.1), "at least two stages"),
    (("a", "distilled", "more", 0.1), "Expected a number"),
  ],
)
def test_a_row_of_no_kind_is_an_error(arguments, message):
  with pytest.raises(UserError, match=message):
    config.result(*arguments)


def reproduction_row(**options):
  return config.result("row", "student", 0.55, 0.01, **options)


def test_papers_have_no_training_code_of_their_own():
  files = sorted(PAPERS.rglob("*.py"))
  assert files
  for path in files:
    assert not re.search(
      r"jax|optax|numpy", path.read_text().replace("kdjax", "")
    )
