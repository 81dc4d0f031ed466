"""Every loss keeps the contract, equals its twin, and means what it says."""

import ast
import functools
import importlib.util
import inspect
import pathlib
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from signatures import Signature, choices, option_sets, parts_of

from kdjax import config, registry
from kdjax.errors import ShapeError, UserError
from kdjax.losses.cosine import cosine
from kdjax.losses.cross_entropy import cross_entropy
from kdjax.losses.kd import kd
from kdjax.losses.l1 import l1
from kdjax.losses.mse import mse
from kdjax.step.flow import Address
from kdjax.step.objective import Objective
from kdjax.step.state import Fixed
from kdjax.step.terms import Term

REFERENCES = pathlib.Path(__file__).parent / "references"

# Keys of a term beside the options of its loss.
RESERVED = {"loss", "weight", "reads", "heads", "targets", "group"}


class Loss:
  """A file of the room, with its twin and arrays to call them with.

  A twin may list in `OPTIONS` option sets that cannot be guessed, in `ORDERED`
  those under which the order of the examples matters, and say by `ZERO = True`
  that the loss is zero where student and teacher are equal.
  """

  def __init__(self, name):
    self.name = name
    self.function = registry.find("losses", name)
    self.about = registry.describe("losses", name)
    self.signature = Signature(self.function)
    self.cases = list(self.signature.cases())

  def __call__(self, arguments, **options):
    return self.function(**arguments, **options)

  @property
  def twin(self):
    path = REFERENCES / f"{self.name}.py"
    assert path.exists(), f"The loss '{self.name}' has no twin {path.name}."
    found = importlib.util.spec_from_file_location(f"twin_{self.name}", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module

  @property
  def option_sets(self):
    return [
      *option_sets(self.function, self.about.options, self.about.annotations),
      *getattr(self.twin, "OPTIONS", ()),
    ]

  @property
  def is_whole(self):
    """Whether it is one number for the batch."""
    return loss_shape(self, self.cases[0]) == ()

  @property
  def floats(self):
    """The options that are numbers: those that the step gives as arrays."""
    return {
      name: value
      for name, value in self.about.options.items()
      if isinstance(value, float)
    }


@pytest.fixture(params=registry.names("losses"), scope="module")
def loss(request):
  return Loss(request.param)


def equal(actual, expected, tolerance):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def loss_shape(loss, arguments):
  return jax.eval_shape(lambda arguments: loss(arguments), arguments).shape


def is_float(array):
  return jnp.issubdtype(array.dtype, jnp.floating)


# Contract: every file of kdjax/losses


def test_a_loss_file_defines_one_public_function_of_its_name(loss):
  body = ast.parse(pathlib.Path(loss.about.path).read_text()).body
  public = [
    node.name
    for node in body
    if isinstance(node, ast.FunctionDef | ast.ClassDef)
    and not node.name.startswith("_")
  ]
  assert public == [loss.name]


def test_a_loss_takes_arrays_by_position_and_options_by_keyword(loss):
  for name, parameter in inspect.signature(loss.function).parameters.items():
    option = parameter.kind == inspect.Parameter.KEYWORD_ONLY
    assert option or parameter.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert option or parameter.default in (inspect.Parameter.empty, None)
    assert name in loss.about.annotations
  assert not {"key", "params", "config"} & set(loss.about.reads)


def test_options_have_literal_defaults(loss):
  tree = ast.parse(inspect.getsource(loss.function)).body[0]
  for argument, default in zip(
    tree.args.kwonlyargs, tree.args.kw_defaults, strict=True
  ):
    assert default is not None, argument.arg
    ast.literal_eval(default)


def test_no_option_is_called_like_a_key_of_a_term(loss):
  keys = RESERVED | set(inspect.signature(config.term).parameters)
  assert not set(loss.about.options) & (keys - {"options"})
  assert config.term(loss.name).loss == loss.name


def test_a_loss_stops_no_gradient_draws_nothing_and_reads_no_config(loss):
  tree = ast.parse(pathlib.Path(loss.about.path).read_text())
  words = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Name | ast.Attribute):
      words.add(ast.unparse(node))
    elif isinstance(node, ast.Import):
      words |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      words |= {f"{node.module}.{alias.name}" for alias in node.names}
  forbidden = r"stop_gradient$|jax\.random|(flax|ml_collections|absl|optax)\b"
  assert not [word for word in words if re.search(forbidden, word)]
  ours = {word for word in words if word.startswith("kdjax.")}
  allowed = r"kdjax\.(types|errors|norms|pooling|losses)\."
  assert not [word for word in ours if not re.match(allowed, word)]


def test_the_docstring_has_a_formula_a_source_and_the_differences(loss):
  assert re.search(r"^ *loss\w* *=", loss.about.doc, re.MULTILINE)
  assert re.search(r"arXiv:\w|\b(19|20)\d\d\b", loss.about.doc)
  assert "Differs from the authors' code:" in loss.about.doc


def test_a_loss_equals_its_twin(loss):
  twin = getattr(loss.twin, loss.name)
  for arguments in loss.cases:
    exact = jax.tree.map(
      lambda array: (
        np.asarray(array, np.float64) if is_float(array) else np.asarray(array)
      ),
      arguments,
    )
    sets = loss.option_sets
    compiled = jax.jit(lambda a, sets=sets: [loss(a, **one) for one in sets])
    for got, options in zip(compiled(arguments), sets, strict=True):
      equal(got, twin(**exact, **options), 1e-5)


def test_a_loss_has_a_number_for_each_example_or_position_or_one_for_all(loss):
  assert loss.signature.result is not None, "The result has no annotation."
  sizes = loss.signature.sizes
  for arguments in loss.cases:
    shape = loss(arguments).shape
    assert shape in ((), (sizes["B"],), (sizes["B"], sizes["T"]))
    assert shape in [
      loss.signature.shape(loss.signature.result, star)
      for star in ((), (sizes["T"],))
    ]


def test_bfloat16_is_computed_in_float32(loss):
  for arguments in loss.cases:
    narrow = jax.tree.map(
      lambda array: array.astype(jnp.bfloat16) if is_float(array) else array,
      arguments,
    )
    wide = jax.tree.map(
      lambda array: array.astype(jnp.float32) if is_float(array) else array,
      narrow,
    )
    assert loss(narrow).dtype == loss(wide).dtype == jnp.float32
    equal(loss(narrow), loss(wide), 1e-6)


def test_a_compiled_loss_with_traced_numbers_equals_an_eager_one(loss):
  for arguments in loss.cases:
    compiled = jax.jit(lambda arguments, floats: loss(arguments, **floats))
    equal(compiled(arguments, loss.floats), loss(arguments), 1e-6)


def test_options_without_a_number_by_default_may_be_traced(loss):
  for name, default in loss.about.options.items():
    if default is None and loss.about.annotations[name].startswith("float"):
      compiled = jax.jit(
        lambda value, name=name: loss(loss.cases[0], **{name: value})
      )
      equal(compiled(1.5), loss(loss.cases[0], **{name: 1.5}), 1e-6)


def test_the_order_of_the_examples_does_not_matter(loss):
  ordered = getattr(loss.twin, "ORDERED", ())
  for options in loss.option_sets:
    if options not in ordered:
      for value, other in permuted(loss, options):
        equal(other, value, 1e-5)


def test_a_loss_whose_definition_is_ordered_says_so(loss):
  ordered = getattr(loss.twin, "ORDERED", ())
  if not ordered:
    pytest.skip("its definition is not ordered")
  assert re.search(r"\border", loss.about.doc)
  for options in ordered:
    pairs = permuted(loss, options)
    assert not all(np.allclose(*pair, 1e-4, 1e-6) for pair in pairs)


def permuted(loss, options):
  """The loss of every case, and of the same examples in another order."""
  order = np.array([2, 0, 1])
  for arguments in loss.cases:
    other = loss.signature.along_batch(
      arguments, lambda array, axis: jnp.take(array, order, axis=axis)
    )
    value = loss(arguments, **options)
    value = value[order] if value.ndim else value
    yield value, loss(other, **options)


def test_a_loss_that_should_be_is_zero_where_student_equals_teacher(loss):
  if not getattr(loss.twin, "ZERO", False):
    pytest.skip("it need not be zero there")
  for arguments in loss.cases:
    value = loss({**arguments, "teacher": arguments["student"]})
    assert np.abs(value).max() <= 1e-5 * max(np.abs(loss(arguments)).max(), 1)


def test_a_loss_of_the_whole_batch_takes_a_mask(loss):
  assert not loss.is_whole or "mask" in loss.about.reads


class Scaled(nn.Module):
  """Gives what it reads, each number times a parameter of its own."""

  names: tuple
  axis_name: str | None = None
  needs = ()

  @property
  def reads(self):
    return self.names

  @nn.compact
  def __call__(self, inputs, *, train):
    del train
    made = {}
    for name in self.names:
      shape = inputs[name].shape[1:]
      scale = self.param(name.replace("/", "_"), nn.initializers.ones, shape)
      made[name] = inputs[name] * scale[None]
    return made


def objective_of(loss, arguments, axis_name):
  """An objective whose one term reads the arguments of a loss."""
  floats, reads, batch = [], {}, {}
  rows = loss.signature.sizes["B"]
  for name, value in arguments.items():
    places = []
    for place, array in enumerate(jax.tree.leaves(value)):
      key = f"{name}{place}"
      if array.shape[:1] != (rows,):
        array = jnp.broadcast_to(array, (rows, *array.shape))
      batch[key] = array
      learns = is_float(array)
      places.append(Address("student" if learns else "batch", "", key))
      floats += [key] * learns
    reads[name] = tuple(places) if isinstance(value, tuple) else places[0]
  term = Term(
    name="term",
    loss=loss.function,
    reads=reads,
    heads={},
    targets=(),
    group="task",
    takes_mask="mask" in loss.about.reads,
    options={},
    schedules={},
  )
  network = Scaled(tuple(floats))
  objective = Objective({"student": network}, {}, (term,), axis_name=axis_name)
  return objective, {**batch, "valid": jnp.ones(rows, bool)}


def test_a_whole_batch_is_the_same_on_eight_devices_as_on_one(loss):
  if not loss.is_whole:
    pytest.skip("it is no loss of a whole batch")
  signature = Signature(loss.function, B=32)
  loss = Loss(loss.name)
  loss.signature = signature
  arguments = signature.arguments(omitted=("mask",))
  if any(
    part.dim_str.split()[:1] != ["B"]
    for name in arguments
    for part in parts_of(signature.arrays(name))
  ):
    pytest.skip("it reads what has no rows")
  found = []
  fixed = Fixed(teachers={}, numbers={"term": {"weight": jnp.float32(1)}})
  for axis_name in (None, "devices"):
    objective, batch = objective_of(loss, arguments, axis_name)
    variables = objective.init(jax.random.key(0), fixed, batch)
    gradients = lambda batch, objective=objective, variables=variables: (
      objective.gradients(
        {
          kind: {k: v["params"] for k, v in trees.items()}
          for kind, trees in variables.items()
        },
        {kind: {key: {} for key in trees} for kind, trees in variables.items()},
        fixed,
        batch,
        key=jax.random.key(1),
        step=jnp.int32(0),
      )
    )
    if axis_name:
      split = jax.tree.map(
        lambda leaf: leaf.reshape(8, 4, *leaf.shape[1:]), batch
      )
      made = jax.pmap(gradients, axis_name=axis_name)(split)
      found.append(jax.tree.map(lambda leaf: leaf[3], made))
    else:
      found.append(jax.jit(gradients)(batch))
  one, eight = found
  equal(one[2]["loss/term"], eight[2]["loss/term"], 1e-5)
  for a, b in zip(*map(jax.tree.leaves, (one[0], eight[0])), strict=True):
    scale = max(np.abs(a).max(), 1e-6)
    equal(a / scale, b / scale, 1e-4)


def test_values_and_gradients_are_finite_where_logits_are_extreme(loss):
  static = [
    options
    for options in loss.option_sets
    if not any(isinstance(value, float) for value in options.values())
  ]
  for arguments in loss.cases:
    # One program for all options: most of the time is what each one costs.
    @jax.jit
    def totals(floats, rest):
      return [
        jax.value_and_grad(
          lambda floats, options=options: jnp.sum(
            loss({**floats, **rest}, **options)
          )
        )(floats)
        for options in static
      ]

    for floats, rest in extremes(arguments):
      for leaf in jax.tree.leaves(totals(floats, rest)):
        assert np.isfinite(leaf).all()


def extremes(arguments):
  """The floats and the rest: 1e4 apart, at zero, one at zero, and equal."""
  is_side = lambda name: name.startswith(("student", "teacher"))
  floats = {
    name: value
    for name, value in arguments.items()
    if all(map(is_float, jax.tree.leaves(value)))
  }
  rest = {k: v for k, v in arguments.items() if k not in floats}
  each = lambda change: {
    name: jax.tree.map(lambda array, name=name: change(name, array), value)
    if is_side(name)
    else value
    for name, value in floats.items()
  }
  huge = lambda name, array: 1e4 * jnp.sign(array)
  yield each(huge), rest
  yield each(lambda name, array: array * 0), rest
  for zero in ("student", "teacher"):
    change = lambda name, array, zero=zero: (
      array * 0 if name.startswith(zero) else huge(name, array)
    )
    yield each(change), rest
  shapes = [
    jax.tree.map(jnp.shape, floats[side]) for side in floats if is_side(side)
  ]
  if {"student", "teacher"} <= floats.keys() and len(set(shapes)) == 1:
    yield {**floats, "teacher": floats["student"]}, rest
    one = each(huge)["student"]
    yield {**floats, "student": one, "teacher": one}, rest
    yield (
      {**floats, "student": one, "teacher": jax.tree.map(jnp.negative, one)},
      rest,
    )


def test_an_unlabelled_example_has_no_loss_and_no_gradient(loss):
  if "label" not in loss.about.reads:
    pytest.skip("it reads no label")
  for arguments in loss.cases:
    if "label" not in arguments:
      continue
    unlabelled = np.asarray(arguments["label"]) == -1
    rows = loss(arguments).ndim
    if rows == 0:
      continue
    # Of a label with an axis of classes: where none of them is known.
    unlabelled = unlabelled.all(axis=tuple(range(rows, unlabelled.ndim)))
    for options in loss.option_sets:
      call = functools.partial(loss, **options)
      total = lambda student, rest, call=call: jnp.sum(
        call({**rest, "student": student})
      )
      gradient = jax.jit(jax.grad(total))(arguments["student"], arguments)
      value = jax.jit(call)(arguments)
      assert not np.any(value[unlabelled])
      assert not np.any(gradient[unlabelled])
      if np.any(value):
        assert np.any(gradient[~unlabelled])


def test_a_whole_batch_loss_does_not_see_masked_rows(loss):
  if "mask" not in loss.about.reads or loss(loss.cases[0]).ndim:
    pytest.skip("it is no loss of a whole batch with a mask")
  for arguments in loss.cases:
    if "mask" not in arguments:
      continue
    rows = np.flatnonzero(~np.asarray(arguments["mask"]))
    noise = lambda array, axis, rows=rows: (
      array.at[(slice(None),) * axis + (rows,)].multiply(3)
      if is_float(array)
      else array
    )
    noisy = loss.signature.along_batch(arguments, noise)
    equal(loss(noisy), loss(arguments), 1e-6)


def test_unequal_shapes_are_an_error_that_shows_them(loss):
  written = loss.about.annotations
  if written.get("student") != written.get("teacher", ""):
    pytest.skip("student and teacher may differ in shape")
  arguments = loss.signature.arguments()
  arguments["teacher"] = jax.tree.map(
    lambda array: jnp.concatenate([array, array], axis=-1), arguments["teacher"]
  )
  with pytest.raises(ShapeError, match=r"student \[.*teacher \["):
    loss(arguments)


def test_a_word_that_an_option_does_not_know_is_an_error_with_those_it_does(
  loss,
):
  for name, default in loss.about.options.items():
    if isinstance(default, str):
      known = choices(loss.function, name)
      assert default in known
      with pytest.raises(UserError, match=known[-1]):
        loss(loss.cases[0], **{name: "nonsense"})


# Knowledge distillation


def logits(seed, B=3, K=5):
  return jnp.asarray(
    2 * np.random.default_rng(seed).normal(size=(B, K)), jnp.float32
  )


def test_kd_is_zero_when_student_equals_teacher():
  assert not np.any(kd(logits(0), logits(0)))


def test_kd_pulls_nowhere_when_student_equals_teacher():
  gradient = jax.jit(jax.grad(lambda student: kd(student, logits(0)).sum()))(
    logits(0)
  )
  equal(gradient, np.zeros((3, 5)), 1e-6)


def test_kd_is_positive_when_student_differs_from_teacher():
  assert np.all(kd(logits(0), logits(1)) > 0)


def test_kd_does_not_change_when_a_constant_is_added_to_all_logits():
  equal(kd(logits(0) + 7, logits(1) - 3), kd(logits(0), logits(1)), 1e-5)


def test_kd_is_scaled_by_the_square_of_the_temperature():
  plain = kd(logits(0), logits(1), temperature=3.0, scale=False)
  equal(kd(logits(0), logits(1), temperature=3.0), 9 * plain, 1e-6)


def test_kd_is_scaled_by_the_temperature_of_the_teacher():
  options = {"temperature": 3.0, "student_temperature": 1.0}
  plain = kd(logits(0), logits(1), scale=False, **options)
  equal(kd(logits(0), logits(1), **options), 9 * plain, 1e-6)


def test_kd_with_reduction_mean_is_the_sum_divided_by_the_classes():
  total = kd(logits(0), logits(1), reduction="sum")
  equal(kd(logits(0), logits(1), reduction="mean"), total / 5, 1e-6)


def test_kd_becomes_matching_of_centred_logits_as_temperature_grows():
  # Hinton et al. 2015, Section 2.1: (z - v)^2 / 2K, for logits of mean zero.
  centre = lambda z: z - z.mean(axis=1, keepdims=True)
  student, teacher = 0.5 * centre(logits(0)), 0.5 * centre(logits(1))
  value, pull = jax.vjp(lambda z: kd(z, teacher, temperature=200.0), student)
  gap = np.asarray(student - teacher)
  equal(value, (gap**2).sum(axis=1) / (2 * 5), 2e-2)
  equal(pull(jnp.ones(3))[0], gap / 5, 1e-2)


def test_kd_to_a_certain_teacher_is_cross_entropy_with_its_class():
  label = jnp.array([4, 0, 2])
  teacher = 1e4 * jax.nn.one_hot(label, 5)
  equal(
    kd(logits(0), teacher, temperature=1.0),
    cross_entropy(logits(0), label),
    1e-5,
  )


def test_the_gradient_of_kd_is_that_of_cross_entropy_with_soft_targets():
  temperature = 2.0
  soft = jax.nn.softmax(logits(1) / temperature)
  own = jax.nn.softmax(logits(0) / temperature)
  gradient = jax.jit(
    jax.grad(lambda z: kd(z, logits(1), temperature=temperature).sum())
  )(logits(0))
  equal(gradient, temperature * (own - soft), 1e-5)


def test_kd_between_different_classes_names_the_head_that_maps_them():
  with pytest.raises(ShapeError, match=r"\[3, 5\].*\[3, 8\].*'select'"):
    kd(logits(0), logits(1, K=8))


# Cross-entropy


def test_cross_entropy_of_equal_logits_is_the_logarithm_of_the_classes():
  value = cross_entropy(jnp.zeros((3, 5)), jnp.array([0, 4, -1]))
  equal(value, [np.log(5), np.log(5), 0.0], 1e-6)


def test_cross_entropy_of_label_minus_one_is_zero_with_zero_gradient():
  label = jnp.array([1, -1, -1])
  student = logits(0).at[2].set(jnp.inf)
  value, pull = jax.vjp(lambda z: cross_entropy(z, label), student)
  gradient = pull(jnp.ones(3))[0]
  assert value[0] > 0 and np.any(gradient[0])
  assert not np.any(value[1:]) and not np.any(gradient[1:])


def test_cross_entropy_of_a_label_that_is_no_class_is_not_a_number():
  value = cross_entropy(logits(0), jnp.array([1, 5, 2]))
  assert np.isnan(value).tolist() == [False, True, False]


def test_uniform_smoothing_is_the_other_smoothing_with_less_of_it():
  label = jnp.array([3, 1, 0])
  uniform = cross_entropy(logits(0), label, label_smoothing=0.25)
  others = cross_entropy(
    logits(0), label, label_smoothing=0.2, smoothing="others"
  )
  equal(uniform, others, 1e-6)


def test_smoothed_cross_entropy_is_least_at_the_smoothed_label():
  target = jnp.full(5, 0.05).at[2].set(0.8)
  gradient = jax.jit(
    jax.grad(
      lambda z: cross_entropy(
        z, jnp.array([2]), label_smoothing=0.2, smoothing="others"
      ).sum()
    )
  )(jnp.log(target)[None])
  equal(gradient, np.zeros((1, 5)), 1e-6)


def test_class_weights_multiply_each_example_by_that_of_its_class():
  label = jnp.array([4, 0, -1])
  weights = (2.0, 1.0, 1.0, 1.0, 0.5)
  value = cross_entropy(logits(0), label, class_weights=weights)
  equal(value, cross_entropy(logits(0), label) * np.array([0.5, 2, 1]), 1e-6)


def test_class_weights_must_be_as_many_as_classes():
  with pytest.raises(ShapeError, match="2 class weights for 5 classes"):
    cross_entropy(logits(0), jnp.array([0, 1, 2]), class_weights=(1.0, 2.0))


def test_cross_entropy_with_labels_of_another_length_is_an_error():
  with pytest.raises(ShapeError, match=r"label is \[2\]"):
    cross_entropy(logits(0), jnp.array([0, 1]))


# Distances


@pytest.mark.parametrize("distance", [mse, l1])
def test_a_summed_distance_is_the_mean_times_the_size_of_an_example(distance):
  student, teacher = logits(0).reshape(3, 5, 1), logits(1).reshape(3, 5, 1)
  mean = distance(student, teacher)
  equal(distance(student, teacher, reduction="sum"), 5 * mean, 1e-6)


@pytest.mark.parametrize("distance", [mse, l1])
def test_a_distance_of_one_number_an_example_needs_no_further_axis(distance):
  value = distance(jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0]))
  equal(value, [4.0 if distance is mse else 2.0, 0.0], 1e-6)


def test_l1_has_no_gradient_where_student_equals_teacher():
  gradient = jax.jit(jax.grad(lambda z: l1(z, logits(0)).sum()))(logits(0))
  assert not np.any(gradient)


def test_cosine_does_not_see_lengths():
  equal(
    cosine(3 * logits(0), 0.1 * logits(1)), cosine(logits(0), logits(1)), 1e-6
  )


def test_cosine_is_zero_one_and_two_along_across_and_against():
  student = jnp.array([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
  teacher = jnp.array([[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
  equal(cosine(student, teacher), [0.0, 1.0, 2.0], 1e-6)


def test_cosine_of_a_feature_of_zeros_is_one_with_zero_gradient():
  student = logits(0).at[1].set(0.0)
  value, pull = jax.vjp(lambda z: cosine(z, logits(1)), student)
  gradient = pull(jnp.ones(3))[0]
  assert value[1] == 1.0 and not np.any(gradient[1]) and np.any(gradient[0])
