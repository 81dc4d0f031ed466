"""Every head keeps the contract and fits the other side of its term.

A contract test runs on every file of kdjax/heads; a failed assertion says what
the author of a new head has to do. kdjax/losses/README.md lists the contract.
"""

import functools
import inspect
import typing

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from signatures import Signature

from kdjax import config, registry
from kdjax.errors import ShapeError, UserError
from kdjax.heads import conv, linear, mlp, select

KEY = jax.random.key(0)

# The other side of a map: half as high, twice as wide.
LIKE = {"H_like": 4, "W_like": 12}

# Values for options that have no default, by annotation.
VALUES = {"int": 16, "tuple[int | str, ...] | str": (3, 0, 1)}

# Another order of three examples.
ORDER = np.array([2, 0, 1])


class Example:
  """A head, and arrays to call it with."""

  def __init__(self, name):
    self.name = name
    self.head = registry.find("heads", name)
    self.about = registry.describe("heads", name)
    self.signature = Signature(self.head.__call__, **LIKE)
    for name in ("mask", "present"):
      self.signature.hints.pop(name, None)
    self.options = {
      option: VALUES[self.about.annotations[option]]
      for option, default in self.about.options.items()
      if default is registry.REQUIRED
    }

  def __call__(self, **fields):
    return self.head(**self.options, **fields)

  @functools.cached_property
  def cases(self):
    """x and like, of every rank."""
    return [
      (arguments["x"], arguments["like"])
      for arguments in self.signature.cases()
      if "like" in arguments
    ]

  @functools.cached_property
  def results(self):
    """What the head computes from each case, in one program per case."""
    return [jax.device_get(self.compute(*case)) for case in self.cases]

  def compute(self, x, like):
    arguments = {"x": x, "like": like}
    # Only heads that see single examples are called with permuted ones.
    single = not getattr(self.head, "gathered", False)
    permute = lambda array, axis: np.take(np.asarray(array), ORDER, axis)
    other = self.signature.along_batch(arguments, permute) if single else None

    @jax.jit
    def compute(x, like, other):
      head = self()
      found = {"variables": [head.init(KEY, x, like) for _ in range(2)]}
      variables = found["variables"][0]
      state = found["state"] = state_of(variables)
      found["outputs"] = [head.apply(variables, x, like) for _ in range(2)]
      if single:
        found["permuted"] = head.apply(variables, other["x"], other["like"])
      _, after = head.apply(variables, x, like, mutable=list(state))
      found["after"] = dict(after)

      def distance(params):
        output, new = train(head, {"params": params, **state}, x, like)
        total = sum(jnp.sum((part - 1.0) ** 2) for part in leaves_of(output))
        return total, dict(new)

      learn = jax.grad(distance, has_aux=True)
      found["gradients"], found["new"] = learn(variables.get("params", {}))
      return found

    return compute(x, like, other)

  def permuted_output(self, output, order):
    """An output with its rows in another order."""

    def permuted(array, hint):
      if isinstance(array, tuple):
        hints = typing.get_args(hint)
        if hints[-1] is Ellipsis:
          hints = hints[:1] * len(array)
        return tuple(map(permuted, array, hints))
      return array[order] if hint.dim_str.split()[:1] == ["B"] else array

    assert self.signature.result is not None, (
      f"Annotate the output of Head.__call__ in heads/{self.name}.py."
    )
    return permuted(output, self.signature.result)


@pytest.fixture(params=registry.names("heads"), scope="module")
def example(request):
  return Example(request.param)


def equal(actual, expected, tolerance, message=""):
  np.testing.assert_allclose(
    actual, expected, rtol=tolerance, atol=tolerance, err_msg=message
  )


def same(actual, expected, message=""):
  """Asserts that two trees are equal, bit for bit."""
  jax.tree.map(
    lambda a, b: np.testing.assert_array_equal(a, b, err_msg=message),
    actual,
    expected,
  )


def shapes(head, *arrays):
  """Shapes and dtypes of the output and the variables, computing neither."""
  return jax.eval_shape(head.init_with_output, KEY, *arrays)


def start(head, *arrays):
  """The output and the variables, in one program."""
  return jax.device_get(jax.jit(head.init_with_output)(KEY, *arrays))


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def leaves_of(tree, kind=jnp.floating):
  return [
    leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, kind)
  ]


def state_of(variables):
  return {key: value for key, value in variables.items() if key != "params"}


def train(head, variables, x, like):
  """The output and the new state."""
  return head.apply(
    variables,
    x,
    like,
    train=True,
    mutable=list(state_of(variables)),
    rngs={"draw": KEY, "dropout": KEY},
  )


# Contract: every file of kdjax/heads


def test_a_head_takes_x_like_and_train(example):
  parameters = inspect.signature(example.head.__call__).parameters
  message = (
    f"heads/{example.name}.py must define `class Head(nn.Module)` with"
    " `__call__(self, x, like=None, *, train=False)` and, if it needs the valid"
    " examples or positions, `mask=None` or `positions=None` after `train`;"
    " with `enough`, also `present=None`."
  )
  own = {"self", "x", "like", "train"}
  further = {"mask", "positions"} | ({"present"} & {*parameters})
  assert set(parameters) - further == own, message
  assert ("present" in parameters) == hasattr(example.head, "enough"), message
  assert parameters["like"].default is None, message
  for option, default in (("train", False), ("mask", None), ("present", None)):
    if option in parameters:
      assert parameters[option].kind == inspect.Parameter.KEYWORD_ONLY, message
      assert parameters[option].default is default, message
  assert issubclass(example.head, nn.Module), message
  assert example.head.__doc__ and example.head.__call__.__doc__, (
    f"heads/{example.name}.py needs docstrings of Head, with its attributes and"
    " paper, and of __call__."
  )


def test_fields_have_literal_defaults_or_none(example):
  options = registry.describe("heads", example.name).options
  code = [
    key for key, value in options.items() if isinstance(value, registry.Code)
  ]
  assert code == [], (
    f"The fields {code} of heads/{example.name}.py need literals as defaults,"
    " or none, because a config shows them."
  )


def test_a_config_may_hold_a_head(example):
  assert config.head(example.name, **example.options).name == example.name


def test_the_class_attributes_of_a_head_are_flags_and_no_options(example):
  for word in ("both", "gathered", "keep"):
    message = (
      f"'{word}' in heads/{example.name}.py must be True or False, without an"
      f" annotation: `{word} = True`."
    )
    assert getattr(example.head, word, False) in (True, False), message
    assert word not in example.about.options, message


def test_a_head_has_float32_variables_and_computes_in_its_dtype(example):
  message = (
    f"Pass dtype=self.dtype to the layers of heads/{example.name}.py, and keep"
    " parameters and state in float32."
  )
  for x, like in example.cases:
    head = example(dtype=jnp.bfloat16)
    output, variables = shapes(head, x, like)
    assert all(leaf.dtype == jnp.float32 for leaf in leaves_of(variables)), (
      message
    )
    kinds = {leaf.dtype for leaf in leaves_of(output)}
    allowed = {jnp.dtype("bfloat16"), jnp.dtype("float32")}
    assert kinds and kinds <= allowed, message
    wide, _ = shapes(example(), x, like)
    kinds = {leaf.dtype for leaf in leaves_of(wide)}
    assert kinds == {jnp.dtype("float32")}, message


def test_a_head_without_a_width_has_the_width_of_the_other_side(example):
  if example.about.options.get("width", 0) is not None:
    pytest.skip("it has no option 'width' with default None")
  for x, like in example.cases:
    if isinstance(like, tuple):
      pytest.skip("the other side has several widths")
    assert x.shape[-1] != like.shape[-1]
    output, _ = shapes(example(), x, like)
    for part in jax.tree.leaves(output):
      assert part.shape[-1] == like.shape[-1], (
        f"The output of heads/{example.name}.py must have the width of `like`"
        " where its option 'width' is None."
      )


def test_a_head_with_a_width_needs_no_other_side(example):
  if example.about.options.get("width", 0) is not None:
    pytest.skip("it has no option 'width' with default None")
  for x, like in example.cases:
    if isinstance(like, tuple):
      pytest.skip("the other side has several widths")
    output, _ = shapes(example(width=9), x)
    for part in jax.tree.leaves(output):
      assert part.shape == (*x.shape[:-1], 9), (
        f"The output of heads/{example.name}.py must have the width of its"
        " option 'width', also without `like`."
      )
    with pytest.raises(UserError, match=f"'{example.name}' has no width"):
      shapes(example(), x)


def test_a_head_gives_the_same_output_twice(example):
  message = (
    f"heads/{example.name}.py differs from call to call: draw random numbers"
    " from self.make_rng only, and none in evaluation."
  )
  for result in example.results:
    same(*result["variables"], message)
    same(*result["outputs"], message)


def test_a_head_at_evaluation_maps_each_example_on_its_own(example):
  if getattr(example.head, "gathered", False):
    pytest.skip("it sets gathered = True")
  message = (
    f"The output of heads/{example.name}.py depends on other examples of the"
    " batch: set `gathered = True`, so that it gets the batch of all devices."
  )
  for result in example.results:
    expected = example.permuted_output(result["outputs"][0], ORDER)
    jax.tree.map(
      lambda a, b: equal(a, b, 1e-5, message), result["permuted"], expected
    )


def test_a_head_changes_its_state_only_in_training(example):
  message = (
    f"The state of heads/{example.name}.py must change only where train=True"
    " and not is_initializing(), and keep its shapes."
  )
  structure = jax.tree.structure
  kinds = lambda tree: [(leaf.shape, leaf.dtype) for leaf in leaves_of(tree)]
  for result in example.results:
    state, new = result["state"], result["new"]
    same(result["after"], state, message)
    assert structure(new) == structure(state), message
    assert kinds(new) == kinds(state), message


def test_a_head_with_a_memory_is_gathered(example):
  for x, like in example.cases:
    _, variables = shapes(example(), x, like)
    if variables.keys() - {"params", "batch_stats"}:
      assert getattr(example.head, "gathered", False), (
        f"heads/{example.name}.py has state other than batch statistics: set"
        " `gathered = True`, so that each device updates it with the whole"
        " batch."
      )


def test_every_parameter_of_a_head_has_a_gradient(example):
  for result in example.results:
    for path, leaf in jax.tree.leaves_with_path(result["gradients"]):
      assert np.all(np.isfinite(leaf)) and np.any(leaf), (
        f"The parameter {jax.tree_util.keystr(path)} of heads/{example.name}.py"
        " has no gradient, or not a finite one: its output must depend on it."
      )


# linear and mlp


def test_linear_is_a_product_and_a_bias():
  x = normal(1, 3, 7)
  head = linear.Head(width=4)
  params = {"kernel": normal(2, 7, 4), "bias": normal(3, 4)}
  output = jax.jit(head.apply)({"params": {"Dense_0": params}}, x)
  equal(output, x @ params["kernel"] + params["bias"][None], 1e-6)


def test_linear_without_a_bias_maps_zero_to_zero():
  head = linear.Head(width=4, use_bias=False)
  output, variables = start(head, np.zeros((3, 7), np.float32))
  assert not np.any(output)
  assert len(jax.tree.leaves(variables)) == 1


def test_mlp_has_the_configured_number_of_layers():
  head = mlp.Head(hidden=6, layers=3)
  params = shapes(head, normal(1, 3, 7), normal(2, 3, 4))[1]["params"]
  kernels = [params[f"Dense_{i}"]["kernel"].shape for i in range(len(params))]
  assert kernels == [(7, 6), (6, 6), (6, 4)]


def test_the_hidden_width_of_mlp_is_by_default_that_of_its_input():
  params = shapes(mlp.Head(width=4), normal(1, 3, 7))[1]["params"]
  assert params["Dense_0"]["kernel"].shape == (7, 7)


def test_mlp_is_a_relu_between_two_products():
  x = normal(1, 3, 7)
  output, variables = start(mlp.Head(width=4, hidden=6), x)
  first, last = (variables["params"][f"Dense_{i}"]["kernel"] for i in (0, 1))
  equal(output, np.maximum(x @ first, 0) @ last, 1e-5)


def test_mlp_has_no_relu_after_its_last_layer():
  output, _ = start(mlp.Head(width=9), normal(1, 30, 7))
  assert np.any(output < 0) and np.any(output > 0)


def test_mlp_without_layers_is_an_error():
  with pytest.raises(UserError, match="0 layers"):
    shapes(mlp.Head(width=4, layers=0), normal(1, 3, 7))


# conv


@pytest.mark.parametrize(
  ("size", "target", "kernel"),
  [
    ((8, 6), (8, 6), 1),
    ((8, 6), (4, 3), 3),
    ((9, 6), (3, 2), 3),
    ((8, 8), (2, 2), 5),
    ((4, 3), (8, 9), 1),
    ((8, 3), (4, 6), 3),
  ],
)
def test_conv_strides_down_and_repeats_up_to_the_size_of_the_other_side(
  size, target, kernel
):
  x, like = normal(1, 3, *size, 2), normal(2, 3, *target, 5)
  output, variables = shapes(conv.Head(), x, like)
  assert output.shape == like.shape
  shape = variables["params"]["Conv_0"]["kernel"].shape
  assert shape == (kernel, kernel, 2, 5)


def test_conv_repeats_the_nearest_pixels():
  x, like = normal(1, 1, 2, 2, 1), np.zeros((1, 4, 6, 1), np.float32)
  head = conv.Head(batch_norm=False, relu=False)
  output, variables = start(head, x, like)
  kernel = variables["params"]["Conv_0"]["kernel"][0, 0, 0, 0]
  equal(
    output[0, :, :, 0], np.kron(x[0, :, :, 0], np.ones((2, 3))) * kernel, 1e-6
  )


def test_conv_on_an_array_that_is_not_a_map_is_an_error():
  with pytest.raises(ShapeError, match="feature maps"):
    shapes(conv.Head(), normal(1, 3, 7), normal(2, 3, 5))


def test_conv_has_a_bias_or_batch_norm():
  x, like = normal(1, 3, 4, 6, 2), normal(2, 3, 4, 6, 5)
  _, with_norm = shapes(conv.Head(), x, like)
  _, without = shapes(conv.Head(batch_norm=False), x, like)
  assert set(with_norm) == {"params", "batch_stats"}
  assert set(without) == {"params"}
  assert "bias" not in with_norm["params"]["Conv_0"]
  assert "bias" in without["params"]["Conv_0"]


def test_conv_without_relu_has_negative_outputs():
  x, like = normal(1, 3, 4, 6, 2), normal(2, 3, 4, 6, 5)
  assert np.all(start(conv.Head(), x, like)[0] >= 0)
  assert np.any(start(conv.Head(relu=False), x, like)[0] < 0)


def test_conv_averages_batch_statistics_over_devices():
  x, like = normal(1, 4, 4, 6, 2), normal(2, 4, 4, 6, 5)
  head = conv.Head(axis_name="devices")
  split = lambda array: array.reshape(2, 2, *array.shape[1:])

  @jax.jit
  def both(x, like):
    variables = conv.Head().init(KEY, x, like)
    apply = lambda head, x, like: head.apply(
      variables, x, like, train=True, mutable=["batch_stats"]
    )
    parts = jax.vmap(functools.partial(apply, head), axis_name="devices")
    return apply(conv.Head(), x, like), parts(split(x), split(like))

  (whole, state), (halves, states) = jax.device_get(both(x, like))
  equal(halves.reshape(whole.shape), whole, 1e-5)
  for half in (0, 1):
    jax.tree.map(
      lambda one, all_, half=half: equal(all_[half], one, 1e-5), state, states
    )


# select


def test_select_picks_the_classes_in_their_order_and_has_no_variables():
  x = normal(1, 3, 5)
  output, variables = start(select.Head(classes=(4, 0, 2)), x)
  np.testing.assert_array_equal(output, x[:, [4, 0, 2]])
  assert not variables


def test_select_of_a_class_that_does_not_exist_is_an_error():
  for column in (5, -1):
    with pytest.raises(UserError, match=rf"\[{column}\] of 5.*0 to 4"):
      shapes(select.Head(classes=(0, column)), normal(1, 3, 5))


def test_select_needs_its_classes():
  with pytest.raises(UserError, match="'classes'"):
    config.head("select")
