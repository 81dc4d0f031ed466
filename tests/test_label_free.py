"""Distillation without labels, and metrics of what it learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.linear_model
import sklearn.model_selection
import sklearn.neighbors
from test_methods import base
from test_metrics import measure

from kdjax import config, registry
from kdjax.errors import ShapeError, UserError
from kdjax.heads.anchors import Head
from kdjax.losses.kd import kd
from kdjax.losses.local_similarity import local_similarity
from kdjax.training import check, workdir

KEY = jax.random.key(0)
B, D, WIDTH, SIZE = 5, 4, 6, 8


def drawn(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def near(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, tolerance, tolerance)


def embedded(variables, x):
  params = jax.tree.map(np.asarray, variables["params"])
  hidden = np.maximum(
    x @ params["hidden"]["kernel"] + params["hidden"]["bias"], 0
  )
  return unit(hidden @ params["project"]["kernel"] + params["project"]["bias"])


@pytest.mark.parametrize("two_queues", [False, True])
def test_anchors_are_the_own_embedding_and_the_queue(two_queues):
  x, like = drawn(0, B, D), drawn(1, B, WIDTH)
  head = Head(size=SIZE, hidden=16, two_queues=two_queues)
  variables = head.init(KEY, x, like)
  memory = jax.tree.map(np.asarray, variables["memory"])
  ours, theirs = embedded(variables, x), unit(like)
  queue = memory["student" if two_queues else "teacher"]
  own = ours if two_queues else theirs
  student, teacher = head.apply(variables, x, like)
  near(student[:, 0], np.sum(ours * own, axis=1))
  near(student[:, 1:], ours @ queue.T)
  near(teacher[:, 0], 1.0)
  near(teacher[:, 1:], theirs @ memory["teacher"].T)


@pytest.mark.parametrize("two_queues", [False, True])
def test_valid_rows_replace_the_oldest_entries_of_the_queue(two_queues):
  head = Head(size=SIZE, hidden=16, two_queues=two_queues)
  variables = head.init(KEY, drawn(0, B, D), drawn(1, B, WIDTH))
  mask = jnp.array([True, False, True, True, True])
  pushed = {"teacher": [], "student": []}
  for step in range(3):
    x, like = drawn(step, B, D), drawn(10 + step, B, WIDTH)
    x[1] = like[1] = np.nan
    keep = np.asarray(mask)
    pushed["teacher"] += list(unit(like)[keep])
    pushed["student"] += list(embedded(variables, x)[keep])
    output, new = head.apply(
      variables, x, like, train=True, mask=mask, mutable=["memory"]
    )
    assert all(np.isfinite(part).all() for part in output)
    variables = {**variables, **new}
  assert variables["memory"]["pointer"] == 12 % SIZE
  for name in variables["memory"].keys() - {"pointer"}:
    # Of twelve rows the last eight are left: four after the pointer's wrap.
    last = np.array(pushed[name])[-SIZE:]
    near(variables["memory"][name], np.roll(last, 4, axis=0))


def test_the_term_of_seed_is_its_cross_entropy_up_to_the_teachers_entropy():
  x, like = drawn(0, B, D), drawn(1, B, WIDTH)
  head = Head(size=SIZE, hidden=16)
  variables = head.init(KEY, x, like)
  student, teacher = head.apply(variables, x, like)
  value = kd(
    student, teacher, temperature=0.5, student_temperature=0.2, scale=False
  )
  anchors = np.asarray(variables["memory"]["teacher"], np.float64)
  for i in range(B):
    of_example = np.concatenate([unit(like)[i : i + 1], anchors])
    scores = (
      of_example @ unit(like)[i] / 0.5,
      of_example @ embedded(variables, x)[i] / 0.2,
    )
    p, q = (np.exp(score) / np.exp(score).sum() for score in scores)
    near(value[i], -np.sum(p * np.log(q)) + np.sum(p * np.log(p)), 1e-4)


def test_local_similarity_is_zero_for_rotated_and_scaled_features():
  x = drawn(0, 3, 7, D)
  rotation = np.linalg.qr(drawn(1, D, D))[0]
  near(local_similarity(x, 3.0 * x @ rotation), 0.0, 1e-4)
  assert np.all(local_similarity(x, drawn(2, 3, 7, D)) > 1e-2)


def test_a_map_is_the_sequence_of_its_positions():
  x, y = drawn(0, 2, 3, 4, D), drawn(1, 2, 3, 4, WIDTH)
  flat = lambda z: z.reshape(2, 12, -1)
  near(local_similarity(x, y), local_similarity(flat(x), flat(y)))
  with pytest.raises(ShapeError, match="positions"):
    local_similarity(x, y[:, :2])


@pytest.mark.parametrize("two", [0, 1])
def test_an_input_of_fewer_than_two_positions_has_no_loss(two):
  x, y = drawn(0, 2, 3, D), drawn(1, 2, 3, D)
  mask = jnp.arange(3)[None] < jnp.array([3, two])[:, None]
  total = lambda x: (
    local_similarity(x, y, mask).sum(),
    local_similarity(x, y, mask),
  )
  gradient, value = jax.grad(total, has_aux=True)(jnp.array(x))
  assert value[0] > 0 and value[1] == 0
  assert np.isfinite(gradient).all() and not np.any(gradient[1])


# Metrics


def labelled(seed, rows=60, classes=4, spread=1.5):
  random = np.random.default_rng(seed)
  label = random.integers(0, classes, rows)
  centres = random.normal(size=(classes, 8))
  student = centres[label] + spread * random.normal(size=(rows, 8))
  return student.astype(np.float32), label


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (20, 1)])
def test_knn_equals_that_of_scikit_learn(k, temperature):
  student, label = labelled(k)
  label[::9] = -1
  known = label >= 0
  model = sklearn.neighbors.KNeighborsClassifier(
    k,
    metric="cosine",
    algorithm="brute",
    weights=lambda distances: np.exp((1 - distances) / temperature),
  )
  found = sklearn.model_selection.cross_val_predict(
    model,
    student[known].astype(np.float64),
    label[known],
    cv=sklearn.model_selection.LeaveOneOut(),
  )
  value = measure(
    registry.find("metrics", "knn"),
    np.ones(60, bool),
    split=(17,),
    options={"k": k, "temperature": temperature},
    student=student,
    label=label,
  )["knn_accuracy"]
  assert 0.3 < value < 1.0
  near(value, np.mean(found == label[known]), 1e-9)


def test_knn_by_blocks_is_the_same(monkeypatch):
  knn = registry.find("metrics", "knn")
  student, label = labelled(3)
  run = lambda: measure(knn, np.ones(60, bool), student=student, label=label)
  whole = run()
  monkeypatch.setattr(knn, "BLOCK", 7)
  assert run() == whole


@pytest.mark.parametrize("ridge", [1.0, 30.0])
def test_a_probe_equals_that_of_scikit_learn(ridge):
  student, label = labelled(0, spread=2.5)
  halves = np.zeros(60, int)
  for one in range(4):
    halves[label == one] = np.arange(np.sum(label == one)) % 2
  right = 0
  for half in (0, 1):
    fit, other = halves == half, halves != half
    mean, deviation = student[fit].mean(0), student[fit].std(0)
    scaled = (student - mean) / deviation
    model = sklearn.linear_model.RidgeClassifier(alpha=ridge)
    model.fit(scaled[fit], label[fit])
    right += np.sum(model.predict(scaled[other]) == label[other])
  value = measure(
    registry.find("metrics", "linear_probe"),
    np.ones(60, bool),
    options={"ridge": ridge},
    student=student,
    label=label,
  )["probe_accuracy"]
  assert 0.3 < value < 1.0
  near(value, right / 60, 1e-9)


@pytest.mark.parametrize("name", ["knn", "linear_probe"])
def test_separate_classes_are_read_and_noise_is_not(name):
  family = registry.find("metrics", name)
  run = lambda *pair: [
    *measure(
      family, np.ones(400, bool), student=pair[0], label=pair[1]
    ).values()
  ]
  assert run(*labelled(0, rows=400, spread=0.1)) == [1.0]
  noise = drawn(1, 400, 8), labelled(0, rows=400)[1]
  assert 0.15 < run(*noise)[0] < 0.35


@pytest.mark.parametrize("name", ["knn", "linear_probe"])
def test_an_embedding_that_is_no_number_is_wrong_and_no_example(name):
  student, label = labelled(0, spread=0.1)

  def run(student):
    family = registry.find("metrics", name)
    found = measure(family, np.ones(60, bool), student=student, label=label)
    return found.popitem()[1]

  broken = student.copy()
  broken[:6] = np.nan
  near(run(broken), 54 / 60)
  nothing = run(np.full_like(student, np.nan))
  assert nothing == 0.0 if name == "knn" else np.isnan(nothing)


@pytest.mark.parametrize(
  ("name", "options"), [("knn", {"k": 0}), ("linear_probe", {"ridge": 0.0})]
)
def test_options_out_of_range_are_an_error(name, options):
  student, label = labelled(0)
  with pytest.raises(UserError, match="Expected"):
    measure(
      registry.find("metrics", name),
      np.ones(60, bool),
      options=options,
      student=student,
      label=label,
    )


# The method


def experiment(**options):
  network = config.network("conv", widths=(5, 8), num_classes=10)
  student = base("seed")
  student.terms = config.ConfigDict()
  embedding = {"student": "student/embedding"}
  student.metrics = config.ConfigDict(
    {
      name: config.metric(name, reads=embedding)
      for name in ("knn", "linear_probe")
    }
  )
  student.select, student.select_mode = "knn_accuracy", "max"
  labels = {"cross_entropy": config.term("cross_entropy")}
  return workdir.resolve(
    config.experiment(
      "seed",
      data=config.data("digits"),
      stages={
        "teacher": config.stage(network, terms=labels, batch_size=8),
        **config.method("seed", student, **options),
      },
    )
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  ("options", "terms"),
  [
    ({"size": 64}, {"seed"}),
    ({"size": 64, "local": 1.0, "two_queues": True}, {"seed", "seed_local"}),
    ({"weight": 0.0, "local": 1.0}, {"seed_local"}),
  ],
)
def test_no_term_of_seed_reads_a_label(options, terms):
  plain = experiment(**options)
  found = plain["stages"]["seed"]["terms"]
  assert set(found) == terms
  assert "batch/label" not in str(found)
  check.plan(plain, ["seed"])
