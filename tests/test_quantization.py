"""Fake quantization: values, gradients, ranges, and stages that train with it.

References are loops in float64, on data that is not symmetric around 0.
"""

import dataclasses
import functools
import itertools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_models

import kdjax
from kdjax import config, registry
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.step import quantization
from kdjax.step import state as states
from kdjax.step.quantization import QuantizedNetwork
from kdjax.students import trained
from kdjax.training import check, initialization, workdir

pytestmark = pytest.mark.slow

LOW, HIGH = -0.7, 2.1
# Outside of the range on both sides.
SPREAD, SHIFT = 1.1, 0.6


def draw(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return (SPREAD * rng.normal(size=shape) + SHIFT).astype(np.float32)


def variables_of(layer, x, low=LOW, high=HIGH):
  """Variables of a layer with random numbers and a range."""
  made = QuantizedNetwork(layer).init(jax.random.key(0), x)
  params = {
    key: jnp.asarray(draw(*leaf.shape, seed=place + 1) - 0.3)
    for place, (key, leaf) in enumerate(made["params"].items())
  }
  held = {"low": jnp.float32(low), "high": jnp.float32(high)}
  return {"params": params, "quantization": held}


def input_levels(x, low=LOW, high=HIGH):
  """The levels of x, a scale and a zero point."""
  scale = (float(high) - float(low)) / 255
  zero = min(max(round(-128 - low / scale), -128), 127)
  x = np.asarray(x, np.float64)
  levels = np.zeros(x.shape, int)
  for place in np.ndindex(*x.shape):
    level = round(float(x[place]) / scale) + zero
    levels[place] = min(max(level, -128), 127)
  return levels, scale, zero


def kernel_levels(kernel):
  """The levels of a kernel, and the scale of each channel of its last axis."""
  kernel = np.asarray(kernel, np.float64)
  levels = np.zeros(kernel.shape, int)
  scales = np.zeros(kernel.shape[-1])
  for channel in range(kernel.shape[-1]):
    largest = max(abs(float(it)) for it in kernel[..., channel].flat)
    scales[channel] = largest / 127
    for place in np.ndindex(*kernel.shape[:-1]):
      value = float(kernel[(*place, channel)])
      levels[(*place, channel)] = round(value / scales[channel])
  return levels, scales


def dense_reference(x, kernel, bias):
  """[N D] by [D E]: sums of whole numbers, scaled once."""
  levels, scale, zero = input_levels(x)
  weights, scales = kernel_levels(kernel)
  y = np.zeros((x.shape[0], kernel.shape[1]))
  for row, channel in np.ndindex(*y.shape):
    total = 0
    for k in range(x.shape[1]):
      total += (levels[row, k] - zero) * weights[k, channel]
    y[row, channel] = scale * scales[channel] * total + bias[channel]
  return y


def convolution_reference(x, kernel, groups):
  """[B H W C], padded by one row above and a column on both sides."""
  levels, scale, zero = input_levels(x)
  weights, scales = kernel_levels(kernel)
  h, w, C, D = kernel.shape
  B, H, W, _ = x.shape
  y = np.zeros((B, (H + 1 - h) // 2 + 1, W + 2 - w + 1, D))
  for b, row, column, channel in np.ndindex(*y.shape):
    group, total = channel // (D // groups), 0
    for i, j, k in itertools.product(range(h), range(w), range(C)):
      here, there = 2 * row + i - 1, column + j - 1
      if 0 <= here < H and 0 <= there < W:
        level = levels[b, here, there, group * C + k] - zero
        total += level * weights[i, j, k, channel]
    y[b, row, column, channel] = scale * scales[channel] * total
  return y


def close(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# Layers


def test_a_dense_layer_is_the_sum_of_whole_numbers():
  x, layer = draw(4, 7), nn.Dense(5)
  variables = variables_of(layer, x)
  params = variables["params"]
  expected = dense_reference(x, params["kernel"], params["bias"])
  close(QuantizedNetwork(layer).apply(variables, x), expected)
  # The rounding is seen at this tolerance.
  plain = layer.apply({"params": params}, np.clip(x, LOW, HIGH))
  assert np.abs(plain - expected).max() > 1e-3


def test_a_general_dense_layer_has_a_scale_for_every_output():
  x, layer = draw(3, 4, 2), nn.DenseGeneral((5, 6), axis=(-2, -1))
  variables = variables_of(layer, x)
  kernel, bias = (variables["params"][key] for key in ("kernel", "bias"))
  expected = dense_reference(
    x.reshape(3, 8), kernel.reshape(8, 30), bias.reshape(30)
  )
  actual = QuantizedNetwork(layer).apply(variables, x)
  close(actual, expected.reshape(3, 5, 6))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_is_the_sum_of_whole_numbers(groups):
  x = draw(2, 5, 4, 6)
  layer = nn.Conv(
    8, (3, 2), (2, 1), padding=((1, 0), (1, 1)), use_bias=False,
    feature_group_count=groups,
  )  # fmt: skip
  variables = variables_of(layer, x)
  kernel = np.asarray(variables["params"]["kernel"])
  expected = convolution_reference(x, kernel, groups)
  close(QuantizedNetwork(layer).apply(variables, x), expected)


def test_a_convolution_keeps_a_product_of_its_own():
  calls = []

  def product(x, kernel, *arguments, **options):
    calls.append(x)
    return jax.lax.conv_general_dilated(x, kernel, *arguments, **options)

  x, layer = draw(2, 4, 3, 5), nn.Conv(3, (2, 2), conv_general_dilated=product)
  variables = variables_of(layer, x)
  QuantizedNetwork(layer).apply(variables, x)
  close(calls[-1], quantization.quantized_input(x, LOW, HIGH))
  assert layer.conv_general_dilated is product


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_activations_keep_their_dtype(dtype):
  x, layer = draw(4, 7), nn.Dense(5, dtype=dtype)
  variables = variables_of(layer, x)
  assert QuantizedNetwork(layer).apply(variables, x).dtype == dtype


def test_layers_inside_of_a_scan_stay_float():
  """Their scan has no place for a range; around it, layers have one."""
  model = registry.find("models", "rnn")(5, width=3, cell="gru")
  inputs = {"sequence": draw(2, 6, 4), "mask/sequence": np.ones((2, 6), bool)}
  network = QuantizedNetwork(model)
  variables = network.init(jax.random.key(0), inputs, train=False)
  assert [*quantization.ranges(variables)] == ["head"]


# Gradients


def test_the_gradient_passes_straight_through_within_the_range():
  x, layer = draw(4, 7), nn.Dense(5)
  variables, y = variables_of(layer, x), draw(4, 5, seed=9)
  apply = QuantizedNetwork(layer).apply

  def loss(params, x):
    return jnp.sum(apply({**variables, "params": params}, x) * y)

  grads, grad_x = jax.grad(loss, (0, 1))(variables["params"], x)
  levels, scale, zero = input_levels(x)
  weights, scales = kernel_levels(np.asarray(variables["params"]["kernel"]))
  least, most = scale * (-128 - zero), scale * (127 - zero)
  expected_x = np.zeros(x.shape)
  expected_kernel = np.zeros(weights.shape)
  for row, k, channel in itertools.product(range(4), range(7), range(5)):
    if least <= x[row, k] <= most:
      slope = weights[k, channel] * scales[channel]
      expected_x[row, k] += slope * y[row, channel]
    rounded = scale * (levels[row, k] - zero)
    expected_kernel[k, channel] += rounded * y[row, channel]
  outside = (x < least) | (x > most)
  assert 2 < outside.sum() < 20
  assert np.all(np.asarray(grad_x)[outside] == 0)
  close(grad_x, expected_x)
  close(grads["kernel"], expected_kernel)
  close(grads["bias"], y.sum(0))


def test_the_gradient_at_an_input_of_0_is_that_of_the_inside():
  """After a ReLU, 0 is the end of the range and most values are there."""
  grad = jax.grad(lambda x: jnp.sum(quantization.quantized_input(x, 0.0, 2.0)))
  np.testing.assert_array_equal(
    grad(jnp.array([-0.1, 0, 1, 2, 2.1])), [0, 1, 1, 1, 0]
  )


# Ranges


def after(batches, layer, variables, axis_name=None):
  """The range after some batches, in training."""
  network = QuantizedNetwork(layer, axis_name)
  for x in batches:
    _, held = network.apply(variables, x, mutable=["quantization"])
    variables = {**variables, **held}
  (found,) = quantization.ranges(variables).values()
  return [float(end) for end in found]


def test_a_range_is_the_moving_average_of_minimum_and_maximum():
  layer, batches = nn.Dense(5), [draw(4, 7, seed=seed) for seed in range(3)]
  low, high = float(batches[0].min()), float(batches[0].max())
  for x in batches[1:]:
    low = 0.99 * low + 0.01 * float(x.min())
    high = 0.99 * high + 0.01 * float(x.max())
  variables = variables_of(layer, batches[0], 0, 0)
  close(after(batches, layer, variables), [low, high], 1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_range_includes_0(sign):
  x, layer = sign * (1 + np.abs(draw(4, 7))), nn.Dense(5)
  found = after([x], layer, variables_of(layer, x, 0, 0))
  ends = [float(x.min()), float(x.max())]
  ends[0 if sign > 0 else 1] = 0
  close(found, ends, 1e-6)


def test_0_is_a_level_of_every_range():
  rng = np.random.default_rng(0)
  for low, high in np.abs(rng.normal(size=(50, 2))):
    low, high = jnp.float32(-low), jnp.float32(high)
    assert quantization.quantized_input(jnp.zeros(()), low, high) == 0
    scale, zero = quantization.scale_and_zero_point(low, high)
    assert zero == round(float(zero)) and -128 <= zero <= 127
    assert abs(float(scale * (-128 - zero) - low)) <= scale / 2 + 1e-6
    assert abs(float(scale * (127 - zero) - high)) <= scale / 2 + 1e-6


def test_a_layer_rounds_by_the_range_that_its_batch_has_moved():
  x, layer = draw(4, 7), nn.Dense(5)
  variables = variables_of(layer, x, 0, 0)
  network = QuantizedNetwork(layer)
  y, held = network.apply(variables, x, mutable=["quantization"])
  np.testing.assert_array_equal(y, network.apply({**variables, **held}, x))
  assert np.abs(y - layer.apply(variables, x)).max() > 1e-3


def test_an_input_without_a_known_range_passes_as_it_is():
  x = jnp.asarray(draw(4, 7))
  call = lambda x: quantization.quantized_input(x, 0.0, 0.0)
  np.testing.assert_array_equal(call(x), x)
  assert np.all(jax.grad(lambda x: call(x).sum())(x) == 1)
  zeros = after(
    [np.zeros((4, 7))], nn.Dense(5), variables_of(nn.Dense(5), x, 0, 0)
  )
  assert zeros == [0, 0]


def test_evaluation_leaves_the_ranges():
  x, layer = draw(4, 7), nn.Dense(5)
  variables = variables_of(layer, x)
  network = QuantizedNetwork(layer)
  y, changed = network.apply(variables, x, mutable=["batch_stats"])
  assert not changed
  np.testing.assert_array_equal(y, network.apply(variables, x))


def test_devices_agree_on_the_range_of_the_whole_batch():
  x, layer = draw(2, 3, 7), nn.Dense(5)
  variables = variables_of(layer, x[0], 0, 0)

  def step(x):
    network = QuantizedNetwork(layer, "devices")
    return network.apply(variables, x, mutable=["quantization"])[1]

  held = jax.pmap(step, "devices")(x)["quantization"]
  assert x[0].min() != x[1].min() and x[0].max() != x[1].max()
  np.testing.assert_array_equal(held["low"], [x.min()] * 2)
  np.testing.assert_array_equal(held["high"], [x.max()] * 2)


def test_without_ranges_a_network_is_the_float_network():
  x, layer = draw(4, 7), nn.Dense(5)
  variables = quantization.without_ranges(variables_of(layer, x))
  assert [*variables] == ["params"]
  y = QuantizedNetwork(layer).apply(variables, x)
  np.testing.assert_array_equal(y, layer.apply(variables, x))


def test_a_factor_for_each_channel_leaves_the_levels_of_a_kernel():
  """Thus a batch norm may be folded into the kernel before or after."""
  kernel, factors = draw(3, 2, 5, 6), draw(6, seed=4) - 0.5
  assert np.any(factors < 0) and np.any(factors > 0)
  axes = (0, 1, 2)
  folded = quantization.quantized_kernel(
    jnp.asarray(kernel * factors[None, None, None]), axes
  )
  rounded = quantization.quantized_kernel(jnp.asarray(kernel), axes)
  close(folded, rounded * factors[None, None, None], 1e-6)
  before, _ = kernel_levels(kernel)
  after, scales = kernel_levels(np.asarray(folded))
  np.testing.assert_array_equal(
    after, before * np.sign(factors).astype(int)[None, None, None]
  )
  close(scales, kernel_levels(kernel)[1] * np.abs(factors), 1e-6)


# Networks


# Kernels that stay float, by the reason.
IN_SCAN = "the cell of a recurrent layer: its scan has no place for ranges"
FLOAT = {"bilstm": IN_SCAN, "deepconvlstm": IN_SCAN, "rnn": IN_SCAN}


@functools.cache
def smallest(name):
  """A small network, quantized, with inputs and random variables."""
  about = registry.describe("models", name)
  values = {
    key: test_models.VALUES[key]()
    for key in about.options
    if key in test_models.VALUES
  }
  options = {**values, **test_models.OPTIONS_TO_TEST.get(name, {})}
  network = QuantizedNetwork(registry.find("models", name)(**options))
  inputs = test_models.make_inputs(network)
  return network, inputs, test_models.init(network, inputs)


@pytest.mark.parametrize("name", registry.names("models"))
def test_every_dense_layer_and_convolution_has_a_range(name):
  network, inputs, variables = smallest(name)
  plain = network.network.init
  shapes = jax.eval_shape(
    functools.partial(plain, train=False), jax.random.key(0), inputs
  )
  same = quantization.without_ranges(variables)
  assert jax.tree.structure(same) == jax.tree.structure(shapes)
  kernels = {
    "/".join(step.key for step in path[:-1])
    for path, _ in jax.tree.leaves_with_path(variables["params"])
    if path[-1].key == "kernel"
  }
  found = {*quantization.ranges(variables)}
  assert found and found <= kernels
  if name not in FLOAT:
    assert found == kernels, kernels - found
  else:
    sides = ("_forward/", "_backward/")
    left = kernels - found
    assert left and all(any(side in it for side in sides) for it in left)


@pytest.mark.parametrize("name", registry.names("models"))
def test_a_network_trains_with_finite_gradients(name):
  network, inputs, variables = smallest(name)
  rest = quantization.without_ranges(variables)
  params = rest.pop("params")
  held = {"quantization": variables["quantization"]}

  @functools.partial(jax.jit, compiler_options=test_models.QUICK)
  @functools.partial(jax.grad, has_aux=True)
  def step(params):
    outputs, updated = network.apply(
      {"params": params, **rest, **held},
      inputs,
      train=True,
      rngs={"dropout": jax.random.key(0)},
      mutable=[*rest, *held],
    )
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(outputs)), updated

  gradients, updated = step(params)
  assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))
  learned = quantization.ranges(updated)
  assert learned.keys() == quantization.ranges(variables).keys()
  assert all(low <= 0 <= high and low < high for low, high in learned.values())


# Stages

BATCH, STEPS = 16, 20
SGD = config.optimizer("sgd", learning_rate=0.1)


def stage_of(quantize="int8", width=4, **changes):
  options = changes.pop("network", {})
  knobs = {
    "steps": STEPS,
    "batch_size": BATCH,
    "optimizer": SGD,
    "eval_every": 10,
    "log_every": 10,
    "save_every": 0,
    "terms": {"cross_entropy": config.term("cross_entropy")},
    "quantize": quantize,
    **changes,
  }
  net = config.network("conv", num_classes=10, widths=(width, 6), **options)
  return config.stage(net, **knobs)


def taught_by(name, **changes):
  return stage_of(
    teachers={"teacher": config.teacher(name)},
    terms={"kd": config.term("kd")},
    **changes,
  )


def experiment(**stages):
  return config.experiment(
    "int8", seeds=2, data=config.data("digits"), stages=stages
  )


def plan_of(**stages):
  return workdir.resolve(experiment(**stages))


def steps_of(built, placement, count=2):
  """The states of both seeds after some steps."""
  fixed = [built.fixed({}) for _ in range(2)]
  init = jax.jit(built.init)
  state = placement.put([init(seed, it) for seed, it in enumerate(fixed)])
  fixed = placement.put_fixed(fixed)
  feeds = [built.train_feed(built.load("train", seed), seed) for seed in (0, 1)]
  step = placement.compile(
    built.train_step, ("state", "fixed", "batch"), donate=True
  )
  for number in range(count):
    batches = placement.put_batch([feed.batch(number) for feed in feeds])
    state = [new for new, _ in step(state, fixed, batches)]
  return placement.fetch(state)


@functools.cache
def one_device(parts):
  placement = Placement("pmap", 2, "loop", {}, devices=jax.devices()[:1])
  plan = plan_of(student=stage_of(micro_batches=parts))
  built = build.build(plan, "student", placement.axis_name)
  return built, steps_of(built, placement)


@pytest.mark.parametrize(
  ("kind", "count", "axis"),
  [("pmap", 1, "vmap"), ("pmap", 2, "loop"), ("pmap", 2, "vmap"),
   ("mesh", 2, "vmap")],
)  # fmt: skip
def test_seeds_in_one_call_and_two_devices_do_the_same(kind, count, axis):
  _, expected = one_device(1)
  devices = jax.devices()[:count]
  placement = Placement(kind, 2, axis, {}, devices=devices)
  built = build.build(
    plan_of(student=stage_of()), "student", placement.axis_name
  )
  for state, want in zip(steps_of(built, placement), expected, strict=True):
    found = quantization.ranges(state.collections["networks"]["student"])
    wanted = quantization.ranges(want.collections["networks"]["student"])
    assert [*found] == ["conv0", "conv1", "head"]
    for layer, ends in wanted.items():
      np.testing.assert_allclose(found[layer], ends, rtol=1e-3, err_msg=layer)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4),
      state.params,
      want.params,
    )


def test_seeds_have_ranges_of_their_own():
  _, (first, second) = one_device(1)
  found = [
    quantization.ranges(it.collections["networks"]["student"])["head"]
    for it in (first, second)
  ]
  assert found[0] != found[1]


def test_every_part_of_a_batch_moves_the_ranges():
  built, (state, _) = one_device(2)
  feed = built.train_feed(built.load("train", 0), 0)
  low = high = None
  for number in range(2):
    image = feed.batch(number)["image"]
    for part in np.split(image, 2):
      ends = min(float(part.min()), 0), max(float(part.max()), 0)
      if low is None:
        low, high = ends
      low, high = 0.99 * low + 0.01 * ends[0], 0.99 * high + 0.01 * ends[1]
  found = quantization.ranges(state.collections["networks"]["student"])
  close(found["conv0"], [low, high])


def test_without_the_knob_the_program_is_as_before():
  plan = plan_of(student=stage_of(""))
  old = json.loads(json.dumps(plan))
  del old["stages"]["student"]["quantize"]
  programs = []
  for each in (plan, old):
    built = build.build(each, "student")
    state, fixed, batch = built.shapes()
    assert [*state.collections["networks"]["student"]] == ["batch_stats"]
    assert isinstance(built.objective.networks["student"], nn.Module)
    programs.append(str(jax.make_jaxpr(built.train_step)(state, fixed, batch)))
  assert programs[0] == programs[1]
  assert "round" not in programs[0]


def test_a_workdir_from_before_the_knob_is_continued(tmp_path):
  plan = plan_of(student=stage_of(""))
  old = json.loads(json.dumps(plan))
  del old["stages"]["student"]["quantize"]
  (tmp_path / "stages/student/checkpoints/20").mkdir(parents=True)
  (tmp_path / "config.json").write_text(json.dumps(old))
  workdir.check_config(tmp_path, plan)
  with pytest.raises(UserError, match=r"quantize was .* is int8"):
    workdir.check_config(tmp_path, plan_of(student=stage_of()))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
  """A float student, its short quantized stage, and a pupil of that one."""
  folder = tmp_path_factory.mktemp("quantized")
  from_float = {"network": {"init_from": "distilled"}}
  results = kdjax.run(
    experiment(
      teacher=stage_of("", width=8),
      distilled=taught_by("teacher", quantize=""),
      quantized=taught_by("teacher", ema_decay=0.9, **from_float),
      pupil=taught_by("quantized", quantize=""),
    ),
    folder,
    quiet=True,
  )
  return folder, results["stages"]


def logits_of(network, variables, split="test"):
  """The logits of all images of a split, and the labels."""
  columns = registry.find("data", "digits").load(split).columns
  inputs = {"image": columns["image"]}
  outputs = network.apply(variables, inputs, train=False)
  return np.asarray(outputs["logits"]), columns["label"]


def test_the_best_of_validation_is_that_of_the_rounded_network(ran):
  folder, _ = ran
  result = json.loads((folder / "stages/quantized/result.json").read_text())
  best = result["validation"]["best"]["accuracy"]
  for seed in (0, 1):
    network, variables = kdjax.restore(folder, "quantized", seed=seed)
    logits, labels = logits_of(network, variables, "validation")
    assert np.mean(logits.argmax(1) == labels) == pytest.approx(best[seed])


def test_predictions_and_evaluation_are_those_of_the_rounded_network(ran):
  folder, results = ran
  stored = np.load(folder / "stages/quantized/predictions.npz")["logits"]
  network, variables = kdjax.restore(folder, "quantized", seed=1)
  logits, _ = logits_of(network, variables)
  close(logits, stored[1])
  floats, _ = logits_of(network, quantization.without_ranges(variables))
  assert np.abs(floats - stored[1]).max() > 1e-3
  measured = kdjax.evaluate(folder, "quantized")["accuracy"]
  np.testing.assert_allclose(
    measured, results["quantized"]["accuracy"]["seeds"]
  )


def test_a_student_as_a_function_has_its_ranges_and_its_float_form(ran):
  folder, _ = ran
  one = trained.trained(folder, "quantized")
  network, variables = kdjax.restore(folder, "quantized")
  batch = {"image": draw(3, 8, 8, 1)}
  rounded = one(one.variables, batch)["logits"]
  close(rounded, network.apply(variables, batch, train=False)["logits"])
  plain = one.without_quantization()
  floats = plain(plain.variables, batch)["logits"]
  inner = network.network.apply(plain.variables, batch, train=False)
  close(floats, inner["logits"])
  assert np.abs(rounded - floats).max() > 1e-3
  assert [*one.ranges()] == ["conv0", "conv1", "head"]
  assert plain.ranges() == {}
  # Of a student that predicts through a head, as in SimKD.
  held = {"stage": {"networks": {"student": one.variables}, "heads": {}}}
  through = dataclasses.replace(one, with_head=True, variables=held)
  assert through.ranges() == one.ranges()
  found = through.without_quantization().variables["stage"]
  assert found == {"networks": {"student": plain.variables}, "heads": {}}
  assert trained.trained(folder, "distilled").ranges() == {}
  # Digits are between 0 and 1, and so is the range of the first layer.
  low, high = one.ranges()["conv0"]
  assert low == 0 and high == pytest.approx(1, abs=1e-6)


def test_a_stage_starts_from_the_weights_of_a_float_stage(ran):
  folder, _ = ran
  plan = workdir.read_config(folder)
  built = build.build(plan, "quantized")
  (loaded, _) = initialization.initial_variables(plan, built, folder, [0, 1])
  _, expected = kdjax.restore(folder, "distilled")
  found = loaded["networks"]["student"]
  assert found.keys() == expected.keys() == {"params", "batch_stats"}
  jax.tree.map(np.testing.assert_array_equal, found, expected)
  fixed = built.fixed(built.teacher_shapes())
  state = jax.eval_shape(functools.partial(built.init, 0), fixed, loaded)
  collections = state.collections["networks"]["student"]
  assert collections.keys() == {"batch_stats", "quantization"}


def test_teachers_are_not_rounded_but_as_their_own_stage_trained_them(ran):
  folder, _ = ran
  plan = workdir.read_config(folder)
  teacher = lambda stage: build.build(plan, stage).objective.teachers["teacher"]
  assert isinstance(teacher("quantized"), nn.Module)
  assert isinstance(teacher("pupil"), QuantizedNetwork)
  built = build.build(plan, "pupil")
  fixed, _ = initialization.load_fixed(
    built, [0, 1], config=plan, workdir=folder
  )
  network, variables = kdjax.restore(folder, "quantized")
  batch = {"image": draw(3, 8, 8, 1)}
  variables_there = fixed.teachers["teacher"]
  outputs = teacher("pupil").apply(variables_there, batch, train=False)
  expected = network.apply(variables, batch, train=False)
  close(outputs["logits"], expected["logits"])


def test_a_stage_goes_on_with_its_ranges(tmp_path):
  """Steps of one run are those of a run that was continued."""
  whole, halves = tmp_path / "whole", tmp_path / "halves"
  knobs = {"ema_decay": 0.9, "micro_batches": 2}
  kdjax.run(experiment(student=stage_of(**knobs)), whole, quiet=True)
  half = stage_of(steps=STEPS // 2, **knobs)
  kdjax.run(experiment(student=half), halves, quiet=True)
  kdjax.run(experiment(student=stage_of(**knobs)), halves, quiet=True)
  read = lambda folder: (folder / "metrics.jsonl").read_bytes()
  assert read(halves) == read(whole)
  for which in ("best", "last"):
    jax.tree.map(
      np.testing.assert_array_equal,
      kdjax.restore(halves, "student", which=which)[1],
      kdjax.restore(whole, "student", which=which)[1],
    )


def test_an_averaged_network_is_evaluated_with_ranges():
  built = build.build(plan_of(student=stage_of(ema_decay=0.9)), "student")
  state = built.init(0, built.fixed({}))
  evaluated = states.evaluated(state)["networks"]["student"]
  assert {*quantization.ranges(evaluated)} == {"conv0", "conv1", "head"}
  assert jax.tree.structure(evaluated) == jax.tree.structure(
    state.best.variables["networks"]["student"]
  )


def test_ranges_of_parts_that_are_held_still_are_learned(ran):
  folder, _ = ran
  plan = json.loads(json.dumps(workdir.read_config(folder)))
  plan["stages"]["quantized"]["networks"]["student"]["still"] = ["conv*"]
  check.plan(plan, ["quantized"])
  built = build.build(plan, "quantized")
  options = {"config": plan, "workdir": folder}
  fixed = initialization.load_fixed(built, [0, 1], **options)[0]
  start = initialization.initial_variables(plan, built, folder, [0, 1])[0]
  state = built.init(0, fixed, start)
  assert {*state.params["networks"]["student"]} == {"norm0", "norm1", "head"}
  batch = built.train_feed(built.load("train", 0), 0).batch(0)
  state, _ = jax.jit(built.train_step)(state, fixed, batch)
  found = quantization.ranges(state.collections["networks"]["student"])
  assert [*found] == ["conv0", "conv1", "head"]
  assert all(low < high for low, high in found.values())


# Configs


def test_another_value_is_refused_with_those_that_exist():
  plan = plan_of(student=stage_of("int4"))
  with pytest.raises(UserError, match=r"quantize is 'int4'.*int8"):
    check.plan(plan, ["student"])


class Scaled(nn.Module):
  """A network without a dense layer or a convolution."""

  num_classes: int = 10
  axis_name: str | None = None
  dtype: type = jnp.float32

  reads = needs = ("image",)

  @nn.compact
  def __call__(self, inputs, *, train):
    embedding = inputs["image"].reshape(len(inputs["image"]), -1)
    scale = self.param("scale", nn.initializers.ones, ())
    logits = scale * embedding[:, : self.num_classes]
    return {"embedding": embedding, "logits": logits}


def test_a_network_without_such_a_layer_is_refused():
  registry.register("models", "scaled", Scaled)
  try:
    stage = stage_of()
    stage.networks.student = config.network("scaled")
    with pytest.raises(UserError, match=r"'student' has no layer.*nn\.Conv"):
      check.plan(plan_of(student=stage), ["student"])
  finally:
    registry._registered.pop(("models", "scaled"))


def test_a_cached_part_is_refused():
  plan = plan_of(student=stage_of())
  student = plan["stages"]["student"]["networks"]["student"]
  student["cache"] = "auto"
  with pytest.raises(UserError, match="a part of one is cached"):
    check.plan(plan, ["student"])
