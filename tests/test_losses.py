"""Every loss keeps the contract and equals its NumPy reference.

A contract test runs on every file of kdjax/losses; a failed assertion says what
the author of a new loss has to do. kdjax/losses/README.md lists the contract.
"""

import ast
import functools
import importlib.util
import inspect
import pathlib
import re

import flax.linen as nn
import jax
import jax.extend as jex
import jax.numpy as jnp
import numpy as np
import pytest
from contracts import must
from signatures import Signature, choices, option_sets, parts_of

from kdjax import config, registry
from kdjax.errors import ShapeError, UserError
from kdjax.losses.cosine import cosine
from kdjax.losses.cross_entropy import cross_entropy
from kdjax.losses.kd import kd
from kdjax.losses.l1 import l1
from kdjax.losses.mse import mse
from kdjax.step.addresses import Address
from kdjax.step.objective import Objective
from kdjax.step.state import Fixed
from kdjax.step.terms import Term

REFERENCES = pathlib.Path(__file__).parent / "references"

# Keys of a term that are not options of its loss.
RESERVED = {"loss", "weight", "reads", "heads", "targets", "group"}


class Loss:
  """A loss, its reference, and arrays to call them with.

  A reference file may define `OPTIONS`, option sets that the tests cannot
  guess; `ORDERED`, option sets where the order of the examples matters; and
  `ZERO = True` if the loss is zero where student and teacher are equal.
  """

  def __init__(self, name):
    self.name = name
    self.function = registry.find("losses", name)
    self.about = registry.describe("losses", name)
    self.signature = Signature(self.function)
    self.cases = list(self.signature.cases())
    self._programs = {}

  def __call__(self, arguments, **options):
    return self.function(**arguments, **options)

  @functools.cached_property
  def reference(self):
    path = REFERENCES / f"{self.name}.py"
    assert path.exists(), (
      f"losses/{self.name}.py needs tests/references/{self.name}.py: the same"
      " function in NumPy, written from the paper."
    )
    name = f"reference_{self.name}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert hasattr(module, self.name), (
      f"tests/references/{self.name}.py must define '{self.name}', the loss in"
      " NumPy with the same arguments."
    )
    return module

  @functools.cached_property
  def option_sets(self):
    return [
      *option_sets(self.function, self.about.options, self.about.annotations),
      *getattr(self.reference, "OPTIONS", ()),
    ]

  def evaluate(self, arguments):
    """[(options, value, gradients)] of all option sets, by one program.

    Gradients are of the sum, for all arguments of floats; None if an option is
    a number and the loss reads no label. Numbers are traced, as in a training
    step, except the defaults. All tests share the program, because compilation
    takes most of their time.
    """
    floats, rest = split_floats(arguments)
    shapes = str(jax.tree.map(jnp.shape, (floats, rest)))
    sets = self.option_sets
    if shapes not in self._programs:
      self._programs[shapes] = jax.jit(functools.partial(self._evaluate, sets))
    numbers = [numbers_of(options) for options in sets]
    results = self._programs[shapes](floats, rest, numbers)
    return [
      (options, *result) for options, result in zip(sets, results, strict=True)
    ]

  def _evaluate(self, sets, floats, rest, numbers):
    results = []
    for options, traced in zip(sets, numbers, strict=True):
      call = lambda floats, options=options | traced: self(
        {**floats, **rest}, **options
      )
      if is_numeric(options) and "label" not in self.about.reads:
        results.append((call(floats), None))
      else:
        total = lambda floats, call=call: summed(call(floats))
        gradients, value = jax.grad(total, has_aux=True)(floats)
        results.append((value, gradients))
    return results

  def value(self, arguments, options):
    """The loss, by the program of `evaluate` where that has the options."""
    for known, value, _ in self.evaluate(arguments):
      if known == options:
        return value
    return jax.jit(functools.partial(self.function, **options))(**arguments)

  @property
  def is_whole(self):
    """Whether the result is a scalar for the whole batch."""
    return loss_shape(self, self.cases[0]) == ()

  @property
  def floats(self):
    """The float options, which the step passes as traced arrays."""
    return {
      name: value
      for name, value in self.about.options.items()
      if isinstance(value, float)
    }


@pytest.fixture(params=registry.names("losses"), scope="module")
def loss(request):
  return Loss(request.param)


def equal(actual, expected, tolerance, message=""):
  np.testing.assert_allclose(
    actual, expected, rtol=tolerance, atol=tolerance, err_msg=message
  )


def summed(value):
  """The sum, to be differentiated, and what was summed."""
  return jnp.sum(value), value


def loss_shape(loss, arguments):
  return jax.eval_shape(lambda arguments: loss(arguments), arguments).shape


def is_float(array):
  return jnp.issubdtype(array.dtype, jnp.floating)


def numbers_of(options):
  return {k: np.float32(v) for k, v in options.items() if isinstance(v, float)}


def is_numeric(options):
  return bool(numbers_of(options))


def split_floats(arguments):
  """The arguments that are floats, and the rest."""
  floats = {
    name: value
    for name, value in arguments.items()
    if all(map(is_float, jax.tree.leaves(value)))
  }
  return floats, {k: v for k, v in arguments.items() if k not in floats}


# Contract: every file of kdjax/losses


def test_a_loss_file_defines_one_public_function_of_its_name(loss):
  body = ast.parse(pathlib.Path(loss.about.path).read_text()).body
  public = [
    node.name
    for node in body
    if isinstance(node, ast.FunctionDef | ast.ClassDef)
    and not node.name.startswith("_")
  ]
  assert public == [loss.name], (
    f"losses/{loss.name}.py must define '{loss.name}' and no other public"
    f" function or class, not {public}: start the names of helpers with an"
    " underscore."
  )


def test_a_loss_takes_arrays_by_position_and_options_by_keyword(loss):
  for name, parameter in inspect.signature(loss.function).parameters.items():
    where = f"The argument '{name}' of the loss '{loss.name}'"
    option = parameter.kind == inspect.Parameter.KEYWORD_ONLY
    assert (
      option or parameter.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
    ), f"{where} must be a plain argument, not *args or **kwargs."
    assert option or parameter.default in (inspect.Parameter.empty, None), (
      f"{where} has a default, so it is an option: put it after a '*'."
    )
    assert name in loss.about.annotations, f"{where} needs an annotation."
  wrong = {"key", "params", "config"} & set(loss.about.reads)
  assert not wrong, (
    f"The loss '{loss.name}' takes {wrong}: move random keys and parameters to"
    " a head, and settings to keyword-only options."
  )


def test_options_have_literal_defaults(loss):
  tree = ast.parse(inspect.getsource(loss.function)).body[0]
  for argument, default in zip(
    tree.args.kwonlyargs, tree.args.kw_defaults, strict=True
  ):
    where = f"The option '{argument.arg}' of the loss '{loss.name}'"
    assert default is not None, f"{where} needs a default."
    try:
      ast.literal_eval(default)
    except ValueError:
      pytest.fail(f"{where} needs a literal as its default, such as 1.0.")


def test_no_option_is_called_like_a_key_of_a_term(loss):
  keys = RESERVED | set(inspect.signature(config.term).parameters)
  taken = set(loss.about.options) & (keys - {"options"})
  assert not taken, (
    f"Rename the options {taken} of the loss '{loss.name}': a term has keys of"
    " these names."
  )
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
  wrong = [word for word in words if re.search(forbidden, word)]
  assert not wrong, (
    f"losses/{loss.name}.py uses {wrong}: a term's `targets` stop gradients,"
    " and a head has parameters and draws random numbers."
  )
  allowed = r"kdjax\.(types|errors|numerics|losses)\."
  wrong = [
    word
    for word in words
    if word.startswith("kdjax.") and not re.match(allowed, word)
  ]
  assert not wrong, (
    f"losses/{loss.name}.py imports {wrong}: a loss may import only"
    " kdjax.types, kdjax.errors, kdjax.numerics and other losses."
  )


def test_the_docstring_has_a_formula_a_source_and_the_differences(loss):
  where = f"The docstring of the loss '{loss.name}'"
  assert re.search(r"^ *loss\w* *=", loss.about.doc, re.MULTILINE), (
    f"{where} needs the formula, on a line that starts with 'loss ='."
  )
  assert re.search(r"arXiv:\w|\b(19|20)\d\d\b", loss.about.doc), (
    f"{where} needs its paper, with the year or the arXiv number."
  )
  assert "Differs from the authors' code:" in loss.about.doc, (
    f"{where} needs a sentence 'Differs from the authors' code: ...', for"
    " example 'it does not.' or 'it is not public.'"
  )


def test_a_loss_equals_its_reference(loss):
  reference = getattr(loss.reference, loss.name)
  for arguments in loss.cases:
    exact = jax.tree.map(
      lambda array: (
        np.asarray(array, np.float64) if is_float(array) else np.asarray(array)
      ),
      arguments,
    )
    for options, actual, _ in loss.evaluate(arguments):
      equal(
        actual,
        reference(**exact, **options),
        1e-5,
        f"losses/{loss.name}.py and tests/references/{loss.name}.py differ with"
        f" the options {options}: correct the one that differs from the paper.",
      )


def test_the_result_has_one_value_per_example_or_position_or_is_a_scalar(loss):
  assert loss.signature.result is not None, (
    f"Annotate the result of the loss '{loss.name}', for example"
    ' -> Float[Array, "B"].'
  )
  sizes = loss.signature.sizes
  for arguments in loss.cases:
    shape = loss_shape(loss, arguments)
    assert shape in ((), (sizes["B"],), (sizes["B"], sizes["T"])), (
      f"The loss '{loss.name}' returns shape {shape}: return [B], [B T], or a"
      " scalar for the whole batch."
    )
    assert shape in [
      loss.signature.shape(loss.signature.result, star)
      for star in ((), (sizes["T"],))
    ], (
      f"The loss '{loss.name}' returns shape {shape}, which is not the shape in"
      " the annotation of its result: correct the annotation."
    )


# Operations that round no number.
EXACT = {
  "abs",
  "broadcast_in_dim",
  "concatenate",
  "copy",
  "dynamic_slice",
  "expand_dims",
  "gather",
  "max",
  "min",
  "neg",
  "pad",
  "reshape",
  "rev",
  "select_n",
  "sign",
  "slice",
  "split",
  "squeeze",
  "stop_gradient",
  "top_k",
  "transpose",
}


def rounding(jaxpr):
  """The operations of a program that compute in bfloat16."""
  found = set()
  narrow = lambda vars: any(
    getattr(var.aval, "dtype", None) == jnp.bfloat16 for var in vars
  )
  for equation in jaxpr.eqns:
    inner = list(jex.core.jaxprs_in_params(equation.params))
    for one in inner:
      found |= rounding(one)
    exact = inner or equation.primitive.name in EXACT
    # A constant of the source is of the type of what it is used with.
    constant = all(getattr(var.aval, "weak_type", 0) for var in equation.invars)
    if narrow(equation.outvars) and not (
      constant or (exact and narrow(equation.invars))
    ):
      found.add(equation.primitive.name)
  return found


@pytest.mark.slow
def test_bfloat16_is_computed_in_float32(loss):
  for arguments in loss.cases:
    narrow = jax.tree.map(
      lambda array: jax.ShapeDtypeStruct(
        array.shape, jnp.bfloat16 if is_float(array) else array.dtype
      ),
      arguments,
    )
    program = jax.make_jaxpr(lambda arguments: loss(arguments))(narrow)
    found = rounding(program.jaxpr)
    assert not found and program.out_avals[0].dtype == jnp.float32, (
      f"The loss '{loss.name}' does not compute in float32 for bfloat16 inputs"
      f" ({found}): convert arguments by .astype(jnp.float32) first."
    )


def test_the_float_options_of_a_loss_may_be_traced(loss):
  # Each alone, with another value, is compared with the reference.
  numbers = {name: np.float32(value) for name, value in loss.floats.items()}
  for arguments in loss.cases:
    with must(
      f"The loss '{loss.name}' must take float options as arrays: use jnp"
      " functions on them, and no Python `if`."
    ):
      jax.eval_shape(
        lambda arguments, numbers: loss(arguments, **numbers),
        arguments,
        numbers,
      )


def test_float_options_with_default_none_may_be_traced(loss):
  for name, default in loss.about.options.items():
    if default is None and loss.about.annotations[name].startswith("float"):
      compiled = jax.jit(
        lambda value, name=name: loss(loss.cases[0], **{name: value})
      )
      equal(
        compiled(1.5),
        loss.value(loss.cases[0], {name: 1.5}),
        1e-6,
        f"The loss '{loss.name}' differs under jit with '{name}' as an array.",
      )


def test_the_order_of_the_examples_does_not_matter(loss):
  ordered = getattr(loss.reference, "ORDERED", ())
  for options in loss.option_sets:
    if options not in ordered:
      for value, other in permuted(loss, options):
        equal(
          other,
          value,
          1e-5,
          f"The loss '{loss.name}' depends on the order of the batch with the"
          f" options {options}: if its definition does, add them to ORDERED in"
          f" tests/references/{loss.name}.py.",
        )


def test_an_order_dependent_loss_is_documented(loss):
  ordered = getattr(loss.reference, "ORDERED", ())
  if not ordered:
    pytest.skip("the order of the examples does not matter")
  assert re.search(r"\border", loss.about.doc), (
    f"The docstring of the loss '{loss.name}' must say that it depends on the"
    " order of the examples."
  )
  for options in ordered:
    pairs = permuted(loss, options)
    assert not all(np.allclose(*pair, 1e-4, 1e-6) for pair in pairs), (
      f"The loss '{loss.name}' does not depend on the order with the options"
      f" {options}: remove them from ORDERED in its reference."
    )


def permuted(loss, options):
  """The loss of every case, and of the same examples in another order."""
  order = np.array([2, 0, 1])
  for arguments in loss.cases:
    other = loss.signature.along_batch(
      arguments, lambda array, axis: np.asarray(array).take(order, axis=axis)
    )
    value = np.asarray(loss.value(arguments, options))
    value = value[order] if value.ndim else value
    yield value, loss.value(other, options)


def test_a_loss_with_a_zero_is_zero_where_student_equals_teacher(loss):
  if not getattr(loss.reference, "ZERO", False):
    pytest.skip("its reference does not set ZERO")
  for arguments in loss.cases:
    same = {**arguments, "teacher": arguments["student"]}
    shapes = lambda arguments: jax.tree.map(jnp.shape, arguments)
    # Of other shapes it is a program of its own, without the other options.
    if shapes(same) == shapes(arguments):
      value = loss.value(same, {})
    else:
      value = jax.jit(loss.function)(**same)
    limit = 1e-5 * max(np.abs(loss.value(arguments, {})).max(), 1)
    assert np.abs(value).max() <= limit, (
      f"The loss '{loss.name}' is not 0 where student and teacher are equal,"
      f" but tests/references/{loss.name}.py sets ZERO = True."
    )


def test_a_loss_over_the_whole_batch_takes_a_mask(loss):
  assert not loss.is_whole or "mask" in loss.about.reads, (
    f"The loss '{loss.name}' returns a scalar, so it needs the argument"
    ' mask: Bool[Array, "B"] | None = None, the valid examples.'
  )


class Scaled(nn.Module):
  """Outputs its inputs, each value times a parameter."""

  names: tuple
  axis_name: str | None = None
  needs = ()

  @property
  def reads(self):
    return self.names

  @nn.compact
  def __call__(self, inputs, *, train):
    del train
    outputs = {}
    for name in self.names:
      shape = inputs[name].shape[1:]
      scale = self.param(name.replace("/", "_"), nn.initializers.ones, shape)
      outputs[name] = inputs[name] * scale[None]
    return outputs


def objective_of(loss, arguments, axis_name):
  """An objective with one term, which reads the arguments of a loss."""
  floats, reads, batch = [], {}, {}
  rows = loss.signature.sizes["B"]
  for name, value in arguments.items():
    addresses = []
    for index, array in enumerate(jax.tree.leaves(value)):
      key = f"{name}{index}"
      if array.shape[:1] != (rows,):
        array = np.broadcast_to(array, (rows, *array.shape))
      batch[key] = array
      learns = is_float(array)
      addresses.append(Address("student" if learns else "batch", "", key))
      floats += [key] * learns
    reads[name] = tuple(addresses) if isinstance(value, tuple) else addresses[0]
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
  return objective, {**batch, "valid": np.ones(rows, bool)}


@pytest.mark.slow
def test_a_whole_batch_is_the_same_on_eight_devices_as_on_one(loss):
  if not loss.is_whole:
    pytest.skip("the result is not a scalar for the whole batch")
  signature = Signature(loss.function, B=32)
  loss = Loss(loss.name)
  loss.signature = signature
  arguments = signature.arguments(omitted=("mask",))
  if any(
    part.dim_str.split()[:1] != ["B"]
    for name in arguments
    for part in parts_of(signature.arrays(name))
  ):
    pytest.skip("it reads an array without a batch axis")
  results = []
  fixed = Fixed(teachers={}, numbers={"term": {"weight": jnp.float32(1)}})
  for axis_name in (None, "devices"):
    objective, batch = objective_of(loss, arguments, axis_name)
    shapes = jax.eval_shape(objective.init, jax.random.key(0), fixed, batch)
    # As `Scaled` initializes them.
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, "f4"), shapes)
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
      outputs = jax.pmap(gradients, axis_name=axis_name)(split)
      outputs = jax.device_get(outputs)
      results.append(jax.tree.map(lambda leaf: leaf[3], outputs))
    else:
      results.append(jax.jit(gradients)(batch))
  one, eight = results
  message = (
    f"The loss '{loss.name}' differs on eight devices: compute it from its"
    " arguments, which hold the whole batch of all devices."
  )
  equal(one[2]["loss/term"], eight[2]["loss/term"], 1e-5, message)
  for a, b in zip(*map(jax.tree.leaves, (one[0], eight[0])), strict=True):
    scale = max(np.abs(a).max(), 1e-6)
    equal(a / scale, b / scale, 1e-4, message)


def test_values_and_gradients_are_finite_where_logits_are_extreme(loss):
  for arguments in loss.cases:
    for floats, rest in extremes(arguments):
      results = [
        (value, gradients)
        for options, value, gradients in loss.evaluate({**floats, **rest})
        if not is_numeric(options)
      ]
      for leaf in jax.tree.leaves(results):
        assert np.isfinite(leaf).all(), (
          f"The loss '{loss.name}' or its gradient is not finite for extreme or"
          " zero inputs: compute in log space, and use safe_sqrt, l2_normalize"
          " or safe_abs of kdjax.numerics where a norm may be 0."
        )


def extremes(arguments):
  """(floats, rest), with student and teacher far apart, zero, or equal."""
  is_side = lambda name: name.startswith(("student", "teacher"))
  floats, rest = split_floats(arguments)
  each = lambda change: {
    name: jax.tree.map(lambda array, name=name: change(name, array), value)
    if is_side(name)
    else value
    for name, value in floats.items()
  }
  huge = lambda name, array: 1e4 * np.sign(np.asarray(array))
  nothing = lambda array: np.zeros_like(np.asarray(array))
  yield each(huge), rest
  yield each(lambda name, array: nothing(array)), rest
  for zero in ("student", "teacher"):
    change = lambda name, array, zero=zero: (
      nothing(array) if name.startswith(zero) else huge(name, array)
    )
    yield each(change), rest
  shapes = [
    jax.tree.map(jnp.shape, floats[side]) for side in floats if is_side(side)
  ]
  if {"student", "teacher"} <= floats.keys() and len(set(shapes)) == 1:
    yield {**floats, "teacher": floats["student"]}, rest
    large = each(huge)["student"]
    negative = jax.tree.map(np.negative, large)
    yield {**floats, "student": large, "teacher": large}, rest
    yield {**floats, "student": large, "teacher": negative}, rest


def test_an_unlabelled_example_has_no_loss_and_no_gradient(loss):
  if "label" not in loss.about.reads:
    pytest.skip("it reads no label")
  for arguments in loss.cases:
    if "label" not in arguments:
      continue
    unlabelled = np.asarray(arguments["label"]) == -1
    rows = len(loss_shape(loss, arguments))
    if rows == 0:
      continue
    # With a multi-hot label: examples without a known class.
    unlabelled = unlabelled.all(axis=tuple(range(rows, unlabelled.ndim)))
    for _, value, gradients in loss.evaluate(arguments):
      value, gradient = map(np.asarray, (value, gradients["student"]))
      message = (
        f"The loss '{loss.name}' must be 0, with gradient 0, where the label is"
        " -1: replace the logits of these rows, not only their loss."
      )
      assert not np.any(value[unlabelled]), message
      assert not np.any(gradient[unlabelled]), message
      if np.any(value):
        assert np.any(gradient[~unlabelled]), (
          f"The loss '{loss.name}' has no gradient for labelled examples."
        )


def test_a_loss_over_the_whole_batch_ignores_masked_rows(loss):
  if "mask" not in loss.about.reads or not loss.is_whole:
    pytest.skip("the result is not a scalar for the whole batch with a mask")
  for arguments in loss.cases:
    if "mask" not in arguments:
      continue
    rows = np.flatnonzero(~np.asarray(arguments["mask"]))
    inside = lambda array, axis, rows=rows: np.isin(
      np.arange(array.shape[axis]), rows
    ).reshape([-1] + [1] * (array.ndim - axis - 1))
    noise = lambda array, axis, inside=inside: (
      np.where(inside(array, axis), 3 * np.asarray(array), array)
      if is_float(array)
      else array
    )
    noisy = loss.signature.along_batch(arguments, noise)
    equal(
      loss.value(noisy, {}),
      loss.value(arguments, {}),
      1e-6,
      f"The loss '{loss.name}' depends on masked rows: replace them by"
      " jnp.where before anything is computed from them.",
    )


def test_unequal_shapes_are_an_error_that_shows_them(loss):
  annotations = loss.about.annotations
  if annotations.get("student") != annotations.get("teacher", ""):
    pytest.skip("student and teacher may differ in shape")
  arguments = loss.signature.arguments()
  arguments["teacher"] = jax.tree.map(
    lambda array: np.concatenate([array, array], axis=-1), arguments["teacher"]
  )
  check_error(
    lambda: loss_shape(loss, arguments),
    ShapeError,
    r"student \[.*teacher \[",
    f"The loss '{loss.name}' must refuse unequal shapes: call"
    " same_shape(student=student, teacher=teacher) first.",
  )


def test_an_unknown_value_of_a_string_option_is_an_error_that_lists_all(loss):
  for name, default in loss.about.options.items():
    if isinstance(default, str):
      known = choices(loss.function, name)
      message = (
        f"The loss '{loss.name}' must raise UserError for an unknown '{name}',"
        f" with its values: `if {name} not in (..): raise UserError(..,"
        " exists=(..))`."
      )
      assert default in known, message
      call = lambda name=name: jax.eval_shape(
        lambda arguments: loss(arguments, **{name: "nonsense"}), loss.cases[0]
      )
      check_error(call, UserError, known[-1], message)


def check_error(call, error, match, message):
  """Fails with a message unless a call raises an error that matches."""
  try:
    call()
  except error as raised:
    assert re.search(match, str(raised)), message
  else:
    pytest.fail(message)


# Knowledge distillation


def logits(seed, B=3, K=5):
  return jnp.asarray(
    2 * np.random.default_rng(seed).normal(size=(B, K)), jnp.float32
  )


def test_kd_is_zero_when_student_equals_teacher():
  assert not np.any(kd(logits(0), logits(0)))


def test_kd_has_no_gradient_when_student_equals_teacher():
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


def test_kd_approaches_matching_of_centred_logits_as_temperature_grows():
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
  predicted = jax.nn.softmax(logits(0) / temperature)
  gradient = jax.jit(
    jax.grad(lambda z: kd(z, logits(1), temperature=temperature).sum())
  )(logits(0))
  equal(gradient, temperature * (predicted - soft), 1e-5)


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


def test_the_number_of_class_weights_must_equal_the_number_of_classes():
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
def test_a_distance_of_one_value_per_example_needs_no_further_axis(distance):
  value = distance(jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0]))
  equal(value, [4.0 if distance is mse else 2.0, 0.0], 1e-6)


def test_l1_has_no_gradient_where_student_equals_teacher():
  gradient = jax.jit(jax.grad(lambda z: l1(z, logits(0)).sum()))(logits(0))
  assert not np.any(gradient)


def test_cosine_ignores_lengths():
  equal(
    cosine(3 * logits(0), 0.1 * logits(1)), cosine(logits(0), logits(1)), 1e-6
  )


def test_cosine_of_equal_orthogonal_and_opposite_directions():
  student = jnp.array([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
  teacher = jnp.array([[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
  equal(cosine(student, teacher), [0.0, 1.0, 2.0], 1e-6)


def test_cosine_of_a_feature_of_zeros_is_one_with_zero_gradient():
  student = logits(0).at[1].set(0.0)
  value, pull = jax.vjp(lambda z: cosine(z, logits(1)), student)
  gradient = pull(jnp.ones(3))[0]
  assert value[1] == 1.0 and not np.any(gradient[1]) and np.any(gradient[0])
