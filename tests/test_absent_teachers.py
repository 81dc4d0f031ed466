"""Several teachers, of which an example may lack some: the others teach it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_objective import B, D, K, Net

from kdjax import config, registry
from kdjax.errors import ShapeError, UserError
from kdjax.heads.router import Head as Router
from kdjax.losses.ca_mkd import ca_mkd
from kdjax.losses.ensemble_kd import ensemble_kd
from kdjax.stage import build
from kdjax.stage.grids import numbers_of
from kdjax.step.objective import Objective
from kdjax.step.state import Fixed

NAMES = {"one": "text", "two": "audio", "three": "image"}
GUIDE = "student/stage0"

# Which teachers the examples have; the last but one has none.
PRESENT = np.array(
  [
    [True, True, True],
    [False, True, True],
    [True, False, True],
    [False, False, True],
    [False, False, False],
    [True, True, False],
  ]
)

WEIGHTS = (3.0, 1.0, 0.5)

METHODS = {
  "probabilities": ("ensemble", {}),
  "logits": ("ensemble", {"average": "logits"}),
  "fixed": ("ensemble", {"weights": WEIGHTS}),
  "ca_mkd": ("ca_mkd", {}),
  "soft_router": ("soft_router", {"guides": (GUIDE,)}),
  "follow": ("soft_router", {"guides": (GUIDE,), "follow": True}),
}


def drawn(seed, *shape):
  value = np.random.default_rng(seed).normal(size=shape)
  return value.astype(np.float32)


def whole():
  batch = {name: drawn(i, B, D) for i, name in enumerate(NAMES.values())}
  return {
    **batch,
    "own": drawn(7, B, D),
    "label": np.array([2, 1, 0, 4, 3, 1], np.int32),
    "valid": np.ones(B, bool),
  }


def partly():
  """A batch in which what is absent is not a number."""
  batch = whole()
  for i, name in enumerate(NAMES.values()):
    batch[f"has/{name}"] = PRESENT[:, i]
    batch[name] = np.where(PRESENT[:, i, None], batch[name], np.nan)
  return batch


def only(batch, row):
  return {key: value[row : row + 1] for key, value in batch.items()}


class Trial:
  """A method with some of the teachers, and its variables."""

  def __init__(self, method, options, names, axis_name=None):
    stage = config.stage(
      config.network("conv", widths=(4,), num_classes=K),
      teachers={},
      terms={"cross_entropy": config.term("cross_entropy")},
      batch_size=B,
      steps=10,
    )
    teachers = tuple(f"{name}/logits" for name in names)
    (stage,) = registry.find("methods", method)(
      stage, teachers=teachers, **options
    )
    terms = {
      name: one
      for name, one in stage.terms.to_dict().items()
      if name != "cross_entropy"
    }
    common = {"axis_name": axis_name, "dtype": jnp.float32}
    self.objective = Objective(
      {"student": Net("own")},
      {name: Net(NAMES[name]) for name in names},
      tuple(build._term(name, terms, common, 10) for name in terms),
      axis_name=axis_name,
    )
    taught = {
      name: Net(NAMES[name]).init(jax.random.key(i), whole(), train=False)
      for i, name in enumerate(NAMES)
      if name in names
    }
    numbers = jax.tree.map(jnp.float32, numbers_of(terms))
    self.fixed = Fixed(teachers=taught, numbers=numbers)
    self.variables = self.objective.init(jax.random.key(5), self.fixed, whole())

  def __call__(self, batch, variables=None):
    """Values, counts and gradients by term."""
    return jax.jit(self._run)(variables or self.variables, batch)

  def _run(self, variables, batch):
    def total(variables):
      flow = self.objective.flow(variables, self.fixed, batch)
      values = self.objective.values(self.objective.reader(flow), 0)
      loss = sum(one.weight * one.part for one in values.values())
      found = {name: (one.mean, one.count) for name, one in values.items()}
      return loss, found

    gradients, found = jax.grad(total, has_aux=True)(variables)
    return found, gradients


def without(variables, keep):
  """A router's variables without the rows and columns of other teachers."""
  if not variables["heads"]:
    return variables
  rows = [K * i + k for i in keep for k in range(K)]
  rows += range(K * len(NAMES), K * len(NAMES) + 4)

  def cut(path, leaf):
    leaf = np.asarray(leaf)[..., list(keep)]
    return leaf[rows] if path[-1].key == "kernel" else leaf

  heads = jax.tree.map_with_path(cut, variables["heads"])
  return {**variables, "heads": heads}


def near(one, other, tolerance=1e-5):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, tolerance, 1e-6), one, other
  )


def same_bits(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("form", METHODS)
def test_the_others_teach_an_example_as_if_the_absent_one_did_not_exist(form):
  trial = Trial(*METHODS[form], NAMES)
  for row in (1, 2, 3, 5):
    keep = np.flatnonzero(PRESENT[row])
    method, options = METHODS[form]
    if "weights" in options:
      options = {"weights": tuple(WEIGHTS[i] for i in keep)}
    fewer = Trial(method, options, [list(NAMES)[i] for i in keep])
    found, gradients = trial(only(partly(), row))
    expected, slopes = fewer(only(whole(), row), without(trial.variables, keep))
    for name, (value, count) in found.items():
      assert count == 1.0
      near(value, expected[name][0])
    near(gradients["networks"], slopes["networks"])
    near(without(gradients, keep)["heads"], slopes["heads"])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))


@pytest.mark.parametrize("form", METHODS)
def test_an_example_without_any_teacher_does_not_count(form):
  trial = Trial(*METHODS[form], NAMES)
  found, gradients = trial(partly())
  rest = np.delete(np.arange(B), 4)
  batch = {key: value[rest] for key, value in partly().items()}
  expected, slopes = trial(batch)
  for name, (_, count) in found.items():
    assert count == B - 1, name
  near(found, expected)
  near(gradients, slopes)


@pytest.mark.parametrize("form", METHODS)
def test_the_numbers_are_the_same_where_nothing_is_absent(form):
  # A program with and one without `present` divide weights at other times.
  equal = near if form == "fixed" else same_bits
  trial = Trial(*METHODS[form], NAMES)
  there = {f"has/{name}": np.ones(B, bool) for name in NAMES.values()}
  plain, stated = trial(whole()), trial({**whole(), **there})
  equal(plain, stated)


@pytest.mark.parametrize("form", ["probabilities", "ca_mkd", "soft_router"])
@pytest.mark.slow
def test_devices_add_up_to_the_batch(form):
  plain = Trial(*METHODS[form], NAMES)(partly())
  trial = Trial(*METHODS[form], NAMES, axis_name="devices")
  batch = jax.tree.map(lambda x: x.reshape(2, B // 2, *x.shape[1:]), partly())

  def run(batch):
    found, gradients = trial._run(trial.variables, batch)
    return found, trial.objective.sum(gradients)

  shared = jax.vmap(run, axis_name="devices")(batch)
  near(jax.tree.map(lambda x: x[0], shared), plain)


def test_a_router_without_a_guide_does_not_count():
  trial = Trial(*METHODS["soft_router"], NAMES)
  batch = {**partly(), "has/own": np.arange(B) > 1}
  found, _ = trial(batch)
  assert [int(count) for _, count in found.values()] == [3, 3]


@pytest.mark.parametrize("loss", [ensemble_kd, ca_mkd])
def test_an_example_without_teachers_has_no_loss_and_no_gradient(loss):
  teachers = drawn(1, B, K), drawn(2, B, K)
  absent = tuple(np.full_like(one, np.nan) for one in teachers)
  extra = (jnp.arange(B) % K,) if loss is ca_mkd else ()
  call = lambda z: loss(z, absent, *extra, present=jnp.zeros((B, 2), bool))
  total = lambda z: (jnp.sum(call(z)), call(z))
  gradient, value = jax.grad(total, has_aux=True)(jnp.array(drawn(0, B, K)))
  assert not np.any(value) and not np.any(gradient)


def test_an_absent_teacher_has_the_gate_zero():
  x = drawn(1, B, K), drawn(2, B, K)
  head = Router()
  variables = head.init(jax.random.key(0), x)
  absent = (x[0], np.full_like(x[1], np.nan))
  present = jnp.array([[True, False]] * B)
  mixture = head.apply(variables, absent, present=present)
  near(mixture, jax.nn.log_softmax(x[0]))


def test_equal_weights_are_the_mean_and_others_are_refused():
  student, teachers = drawn(0, B, K), (drawn(1, B, K), drawn(2, B, K))
  for average in ("probabilities", "logits"):
    mean = ensemble_kd(student, teachers, average=average)
    call = lambda average=average, **options: ensemble_kd(
      student, teachers, average=average, **options
    )
    near(call(weights=(2.0, 2.0)), mean)
    near(call(weights=(1.0, 1e-9)), ensemble_kd(student, teachers[:1]), 1e-4)
  for weights in ((1.0,), (1.0, 0.0), (1.0, 1.0, 1.0)):
    with pytest.raises(UserError, match="weights of 2 teachers"):
      ensemble_kd(student, teachers, weights=weights)


def test_presence_of_another_number_of_teachers_is_an_error():
  teachers = drawn(1, B, K), drawn(2, B, K)
  with pytest.raises(ShapeError, match="2 teachers"):
    ensemble_kd(drawn(0, B, K), teachers, jnp.ones((B, 3), bool))
