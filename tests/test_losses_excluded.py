"""Classes at -inf: a network that excludes them, in every loss over classes.

Such as a class-incremental network or a masked vocabulary. 0 log 0 is 0, so a
class that both sides exclude is no class; where the teacher alone excludes it
the loss is finite, and where the student alone does it may be infinite.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from signatures import Signature, option_sets, parts_of

from kdjax import registry
from kdjax.heads.router import Head as Router
from kdjax.heads.standardize import Head as Standardize
from kdjax.heads.temperature import Head as Temperature
from kdjax.losses.cross_entropy import cross_entropy
from kdjax.losses.ctkd import ctkd
from kdjax.losses.dark_rank import dark_rank
from kdjax.losses.focal import focal
from kdjax.losses.ickd import ickd
from kdjax.losses.kd import kd
from kdjax.losses.nckd import nckd
from kdjax.losses.tckd import tckd
from kdjax.metrics import agreement

K = 5

# (loss, property) -> why it is not defined there.
NOT_DEFINED = {
  ("reverse_kl", "teacher"): (
    "q log(q / p) is infinite where the teacher's p is 0 and the student's q"
    " is not: that is the definition"
  ),
}


def of_classes(name):
  """Whether a loss reads logits of classes."""
  signature = Signature(registry.find("losses", name))
  return any(
    "K" in part.dim_str.split()
    for argument in signature.parameters
    for part in parts_of(signature.arrays(argument))
  )


class Excluding:
  """A loss over K classes, and its arguments with the last one excluded."""

  def __init__(self, name):
    self.name = name
    self.function = registry.find("losses", name)
    about = registry.describe("losses", name)
    sets = option_sets(self.function, about.options, about.annotations)
    self.options = [
      options
      for options in sets
      if not any(isinstance(value, float) for value in options.values())
      or "label_smoothing" in options
    ]
    self.program = jax.jit(functools.partial(self._evaluate, self.options))

  def _evaluate(self, sets, floats, rest):
    """(value, gradients) for each option set."""
    results = []
    for options in sets:
      call = lambda floats, options=options: self.function(
        **floats, **rest, **options
      )
      total = lambda floats, call=call: (jnp.sum(call(floats)), call(floats))
      gradients, value = jax.grad(total, has_aux=True)(floats)
      results.append((value, gradients))
    return results

  def evaluate(self, arguments):
    """[(options, value, gradients)]; nothing of the rest is differentiated."""
    is_float = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
    floats = {
      name: value
      for name, value in arguments.items()
      if all(map(is_float, jax.tree.leaves(value))) and name != "counts"
    }
    rest = {k: v for k, v in arguments.items() if k not in floats}
    results = self.program(floats, rest)
    return [
      (options, *result)
      for options, result in zip(self.options, results, strict=True)
    ]

  def arguments(self, excluded=(), label=None):
    """Arrays of K classes; no label is the last one, unless it is given.

    Args:
      excluded: the start of the names of the logits that are -inf there.
      label: of every example.
    """
    signature = Signature(self.function)
    arguments = signature.arguments()
    for name, value in arguments.items():
      dims = [part.dim_str for part in parts_of(signature.arrays(name))]
      if name in ("label", "truth"):
        if "K" in dims[0].split():  # multi-hot: it is not known there
          arguments[name] = value.at[:, -1].set(-1 if label is None else 1)
        else:
          other = jnp.minimum(value, K - 2)
          arguments[name] = other if label is None else other * 0 + label
      elif name == "counts":
        arguments[name] = value.at[-1].set(0)
      elif name == "target" and "K" in dims[0].split():
        target = jax.nn.softmax(value[:, :-1])
        target = jnp.pad(target, ((0, 0), (0, 1)))
        if label is not None:
          there = jnp.arange(K)[None] == label
          target = target * 0.5 + jnp.where(there, 0.5, 0.0)
        arguments[name] = target
      elif name.startswith(tuple(excluded)) and "K" in dims[0].split():
        arguments[name] = jax.tree.map(
          lambda array: array.at[..., -1].set(-jnp.inf), value
        )
    return arguments

  def without(self, arguments):
    """The arguments without the last class."""
    signature = Signature(self.function)
    cut = {}
    for name, value in arguments.items():
      dims = parts_of(signature.arrays(name))[0].dim_str.split()
      cut[name] = (
        jax.tree.map(lambda array: array[..., :-1], value)
        if "K" in dims
        else value
      )
    return cut

  def skip(self, kind):
    if (self.name, kind) in NOT_DEFINED:
      pytest.skip(NOT_DEFINED[self.name, kind])


# They have several temperatures, or a solver, to compile.
SLOW = {
  "ca_mkd",
  "dist",
  "dkd",
  "mlkd_batch",
  "mlkd_class",
  "mlkd_instance",
  "skd_direction",
  "sskd_transformed",
  "tckd",
  "wsld",
}


@pytest.fixture(
  params=[
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name in registry.names("losses")
    if of_classes(name)
  ]
)
def loss(request):
  return loss_of(request.param)


@functools.cache
def loss_of(name):
  return Excluding(name)


def equal(actual, expected, message="", tolerance=2e-5):
  np.testing.assert_allclose(
    actual, expected, rtol=tolerance, atol=tolerance, err_msg=message
  )


MEND = (
  "the loss '{0}' with {1}: use times_log, kl_divergence, present_classes and"
  " class_share of kdjax.numerics, or write the reason into NOT_DEFINED."
)


def test_a_class_that_both_exclude_is_no_class(loss):
  loss.skip("both")
  arguments = loss.arguments(("student", "teacher"))
  expected = loss.evaluate(loss.without(arguments))
  for (options, value, gradients), (_, without, smaller) in zip(
    loss.evaluate(arguments), expected, strict=True
  ):
    message = MEND.format(loss.name, options)
    equal(value, without, message)
    equal(gradients["student"], padded(gradients, smaller), message)


def padded(gradients, smaller):
  """The smaller gradient of the student, 0 at the excluded class."""
  grow = lambda small, large: jnp.pad(
    small,
    [(0, b - a) for a, b in zip(small.shape, large.shape, strict=True)],
  )
  return jax.tree.map(grow, smaller["student"], gradients["student"])


def test_a_class_that_the_teacher_alone_excludes_is_finite(loss):
  loss.skip("teacher")
  arguments = loss.arguments(("teacher",))
  if not any(name.startswith("teacher") for name in arguments):
    pytest.skip("it reads no teacher")
  for options, value, gradients in loss.evaluate(arguments):
    message = MEND.format(loss.name, options)
    assert np.isfinite(value).all(), message
    for leaf in jax.tree.leaves(gradients):
      assert np.isfinite(leaf).all(), message


def test_a_class_that_the_student_alone_excludes_is_not_nan(loss):
  loss.skip("student")
  arguments = loss.arguments(("student",), label=K - 1)
  for options, value, gradients in loss.evaluate(arguments):
    message = MEND.format(loss.name, options)
    assert not np.isnan(value).any() and not np.isneginf(value).any(), message
    for leaf in jax.tree.leaves(gradients.get("student")):
      assert not np.isnan(leaf).any(), message


def example():
  """The arrays that were reported: student, teacher and label."""
  random = np.random.default_rng(2)
  # What the report drew before them.
  random.normal(size=(150, 4, 4, 1)), random.normal(size=(16, 5))
  student, teacher = random.normal(size=(2, 4, 6)).astype(np.float32)
  return student, teacher


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("cross_entropy", 1.3867),
    ("kd", 1.1039),
    ("reverse_kl", 1.0424),
    ("jsd", 0.2004),
    ("hard_label", 2.3622),
  ],
)
def test_the_value_is_that_without_the_class(name, expected):
  student, teacher = example()
  student[:, 5] = teacher[:, 5] = -np.inf
  other = np.arange(4) if name == "cross_entropy" else teacher
  value = registry.find("losses", name)(jnp.array(student), jnp.array(other))
  equal(value.mean(), expected, tolerance=1e-4)


def test_kd_from_a_teacher_that_excludes_a_class():
  student, teacher = example()
  teacher[:, 5] = -np.inf
  p = np.exp(teacher[:, :5].astype(np.float64) / 4)
  p /= p.sum(axis=1, keepdims=True)
  q = np.exp(student.astype(np.float64) / 4)
  q /= q.sum(axis=1, keepdims=True)
  expected = 16 * np.sum(p * np.log(p / q[:, :5]), axis=1)
  equal(kd(jnp.array(student), jnp.array(teacher)), expected)


def test_kd_of_a_student_that_excludes_a_class_of_the_teacher_is_infinite():
  student, teacher = example()
  student[1, 5] = -np.inf
  value = kd(jnp.array(student), jnp.array(teacher))
  assert np.isposinf(value).tolist() == [False, True, False, False]


def test_losses_of_other_classes_of_one_class_are_zero():
  # Only the label's class is left, on both sides.
  logits = jnp.full((1, 3), -jnp.inf).at[0, 1].set(2.0)
  for loss in (tckd, nckd):
    total = lambda z, loss=loss: loss(z, logits, jnp.array([1])).sum()
    value, gradient = jax.jit(jax.value_and_grad(total))(logits)
    assert not np.any(value) and not np.any(gradient), loss


def test_smoothing_is_over_the_classes_of_the_student():
  student = jnp.array([[0.5, -1.0, 2.0, -jnp.inf]])
  label = jnp.array([2])
  call = jax.jit(
    lambda student: [
      cross_entropy(student, label, label_smoothing=0.3, smoothing=smoothing)
      for smoothing in ("uniform", "others")
    ]
  )
  equal(call(student), call(student[:, :3]))


@pytest.mark.parametrize("loss", [cross_entropy, focal])
def test_an_excluded_class_of_weight_zero_has_no_loss(loss):
  student, label = jnp.array(example()[0]).at[:, 3].set(-jnp.inf), jnp.arange(4)
  weights = (1.0, 1.0, 1.0, 0.0, 1.0, 1.0)
  values = lambda z: loss(z, label, class_weights=weights)
  total = lambda z: (jnp.sum(values(z)), values(z))
  gradient, value = jax.jit(jax.grad(total, has_aux=True))(student)
  assert np.all(value[:3] > 0.0) and value[3] == 0.0
  assert np.isfinite(gradient).all() and not np.any(gradient[3])


def test_a_learned_temperature_has_a_finite_gradient():
  student, teacher = (jnp.array(x).at[:, 5].set(-jnp.inf) for x in example())
  slope = lambda s, t: jax.jit(jax.grad(lambda T: jnp.sum(ctkd(s, t, T))))(
    jnp.full(4, 2.0)
  )
  equal(slope(student, teacher), slope(student[:, :5], teacher[:, :5]))


def test_standardised_logits_are_those_without_the_class():
  x = jnp.array(example()[0]).at[:, 5].set(-jnp.inf)
  head = Standardize()
  apply = lambda x: head.apply({}, x)
  total = lambda x: (jnp.sum(apply(x)[:, 0]), apply(x))
  gradient, value = jax.jit(jax.grad(total, has_aux=True))(x)
  equal(value[:, :5], jax.jit(apply)(x[:, :5]))
  assert np.isneginf(value[:, 5]).all() and np.isfinite(gradient).all()


@pytest.mark.parametrize("head", [Router(), Router(mix="logits")])
def test_a_mixture_of_teachers_excludes_what_all_exclude(head):
  x = tuple(jnp.array(x).at[:, 5].set(-jnp.inf) for x in example())
  variables = jax.jit(head.init)(jax.random.key(0), x)
  value = jax.jit(head.apply)(variables, x)
  assert np.isneginf(value[:, 5]).all() and np.isfinite(value[:, :5]).all()
  total = lambda v: jnp.sum(kd(x[0], head.apply(v, x)))
  for leaf in jax.tree.leaves(jax.jit(jax.grad(total))(variables)):
    assert np.isfinite(leaf).all()


def test_a_temperature_for_each_example_is_finite():
  x = tuple(jnp.array(x).at[:, 5].set(-jnp.inf) for x in example())
  head = Temperature(instance=True)
  value, _ = jax.jit(head.init_with_output)(jax.random.key(0), x)
  assert np.isfinite(value).all()


def test_the_agreement_is_that_without_the_class():
  student, teacher = (jnp.array(x).at[:, 5].set(-jnp.inf) for x in example())
  mask = jnp.ones(4, bool)
  equal(
    agreement.sums(student, teacher, mask)["kl"],
    agreement.sums(student[:, :5], teacher[:, :5], mask)["kl"],
  )


def test_features_of_1e15_have_a_finite_order():
  x, y = (1e15 * jnp.array(x) for x in example())
  value, gradient = jax.jit(jax.value_and_grad(dark_rank))(x, y)
  assert np.isfinite(value) and np.isfinite(gradient).all()


def test_features_of_1e_30_have_a_finite_correlation():
  x, y = (jnp.array(x).reshape(4, 2, 3) for x in example())
  call = jax.jit(jax.value_and_grad(lambda x: jnp.sum(ickd(x, y))))
  value, gradient = call(1e-30 * x)
  assert np.isfinite(gradient).all()
  expected, slope = call(x)
  equal(value, expected)
  equal(1e-30 * gradient, slope)
