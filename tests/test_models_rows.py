"""Batch statistics are over present rows, on any number of devices."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import image_file
from test_models import OPTIONS_TO_TEST, QUICK, VALUES, init, make_inputs

from kdjax import config, registry
from kdjax.models import _batch_norm, conv
from kdjax.stage import build
from kdjax.step.flow import Flow
from kdjax.training import workdir

pytestmark = pytest.mark.slow

KEY = jax.random.key(0)
B, DEVICES = 16, 8

# Present rows: two per device, of which none, one or both are present.
PRESENT = np.array([1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0], bool)


class Network:
  """A small instance of a network, and its inputs."""

  def __init__(self, name):
    options = registry.describe("models", name).options
    values = {key: VALUES[key]() for key in options if key in VALUES}
    values |= OPTIONS_TO_TEST.get(name, {})
    self.make = functools.partial(registry.find("models", name), **values)
    self.model = self.make()

  @functools.cached_property
  def inputs(self):
    # Several batches, so that no example occurs twice.
    parts = [make_inputs(self.model, seed) for seed in range(B // 4)]
    joined = {
      key: np.concatenate([part[key][:4] for part in parts]) for key in parts[0]
    }
    return {k: v for k, v in joined.items() if not k.startswith("has/")}

  @functools.cached_property
  def variables(self):
    return init(self.model, self.inputs)

  def present(self, inputs, rows):
    """The inputs, with the modalities present in some rows only."""
    has = [key for key in self.model.reads if key.startswith("has/")]
    return {**inputs, **dict.fromkeys(has, rows)}

  def step(self, variables, inputs, model=None):
    """Outputs in training and new statistics."""
    return (model or self.model).apply(
      variables,
      inputs,
      train=True,
      rngs={"dropout": KEY},
      mutable=["batch_stats"],
    )

  def train(self, inputs):
    step = jax.jit(self.step, compiler_options=QUICK)
    return jax.device_get(step(self.variables, inputs))

  @functools.cached_property
  def gradient(self):
    """(params, statistics, inputs) -> gradients, `step`'s results."""

    @functools.partial(jax.jit, compiler_options=QUICK)
    @functools.partial(jax.grad, has_aux=True)
    def gradient(params, statistics, inputs):
      outputs, updates = self.step({**statistics, "params": params}, inputs)
      total = sum(jnp.sum(x * 1.0) for x in jax.tree.leaves(outputs))
      return total, (outputs, updates)

    return gradient

  def learn(self, inputs, rows):
    """Gradients, outputs and new statistics if some rows are present."""
    statistics = {**self.variables}
    params = statistics.pop("params")
    inputs = self.present(inputs, rows)
    return jax.device_get(self.gradient(params, statistics, inputs))


@functools.cache
def network(name):
  return Network(name)


# Networks that read which rows are present, which is nearly free to find out.
READERS = [
  name
  for name in registry.names("models")
  if any(key.startswith("has/") for key in network(name).model.reads)
]


def close(actual, expected, tolerance=1e-3, rule=""):
  """Asserts equality; `rule` is the message of a broken contract."""
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, rtol=tolerance, atol=tolerance / 10, err_msg=rule
    ),
    actual,
    expected,
  )


# Every network with batch statistics


def with_statistics(name):
  """The network of the name if it has batch statistics."""
  if "batch_stats" not in network(name).variables:
    pytest.skip("no batch statistics")
  return network(name)


def test_these_networks_read_which_rows_are_present():
  # tests/test_models.py requires it of all that have batch statistics.
  assert {"conv", "resnet", "audio_cnn", "fusion", "two_tower"} <= {*READERS}


@pytest.mark.parametrize("name", READERS)
def test_present_rows_train_as_if_they_were_alone(name):
  net = with_statistics(name)
  rule = (
    f"Rows without a modality must not change the batch statistics of"
    f" models/{name}.py: use `over_rows` of models/_batch_norm.py."
  )
  _, (outputs, updates) = net.learn(net.inputs, PRESENT)
  # Two copies of the rows have the same statistics and need no other program.
  twice = {
    key: np.concatenate([value[PRESENT]] * 2)
    for key, value in net.inputs.items()
  }
  _, (expected, statistics) = net.learn(twice, np.ones(B, bool))
  drawn = getattr(net.model, "DRAWN", ())
  present = {
    key: value[PRESENT]
    for key, value in outputs.items()
    if key.removeprefix("mask/") not in drawn
  }
  alone = {key: expected[key][: B // 2] for key in present}
  close(present, alone, rule=rule)
  close(updates, statistics, rule=rule)


@pytest.mark.parametrize("name", READERS)
def test_without_present_rows_statistics_stay_and_gradients_are_finite(name):
  net = with_statistics(name)
  gradients, (outputs, updates) = net.learn(net.inputs, np.zeros(B, bool))
  rule = f"models/{name}.py must train on a batch without any present row:"
  for leaf in jax.tree.leaves((gradients, outputs)):
    assert np.isfinite(leaf).all(), f"{rule} values must be finite."
  rule += " running statistics must not change."
  same = functools.partial(np.testing.assert_array_equal, err_msg=rule)
  statistics = {
    key: leaf for key, leaf in net.variables.items() if key != "params"
  }
  jax.tree.map(same, updates, statistics)


@pytest.mark.parametrize("name", ["audio_cnn", "conv", "resnet_cifar"])
def test_devices_with_different_numbers_of_rows_train_as_one(name):
  net = network(name)
  alone = {key: value[PRESENT] for key, value in net.inputs.items()}
  expected, statistics = net.train(alone)
  parts = jax.tree.map(
    lambda leaf: leaf.reshape(DEVICES, -1, *leaf.shape[1:]),
    net.present(net.inputs, PRESENT),
  )
  shared = net.make(axis_name="devices")
  step = functools.partial(net.step, net.variables, model=shared)
  outputs, updates = jax.device_get(jax.pmap(step, axis_name="devices")(parts))
  whole = {key: x.reshape(B, *x.shape[2:]) for key, x in outputs.items()}
  close(
    {key: x[PRESENT] for key, x in whole.items()},
    expected,
  )
  for device in range(DEVICES):
    close(jax.tree.map(lambda x, at=device: x[at], updates), statistics)


# The layer


@pytest.mark.parametrize("shape", [(), (5,), (5, 4), (2, 3, 4)])
def test_batch_norm_over_all_rows_equals_flax(shape):
  class One(nn.Module):
    @nn.compact
    def __call__(self, x, rows):
      options = {"axis_name": None, "dtype": jnp.float32, "name": "norm"}
      return _batch_norm.over_rows(x, rows, train=True, **options)

  @jax.jit
  def both(x):
    """The outputs, variables and steps without a mask, and with a full one."""
    plain = One().init_with_output(KEY, x, None)
    rows = jnp.ones(6, bool)
    masked = One().init_with_output(KEY, x, rows)
    step = functools.partial(One().apply, plain[1], x, mutable="batch_stats")
    return (plain, step(None)), (masked, step(rows))

  x = 2 * np.random.default_rng(0).normal(size=(6, *shape, 3)) + 1
  plain, masked = jax.device_get(both(x.astype(np.float32)))
  assert jax.tree.structure(plain) == jax.tree.structure(masked)
  close(masked, plain, 1e-5)


# Inputs from a batch


def inputs_of(batch, model=None):
  """A network's inputs from a batch of four images of ones."""
  batch = {"image": np.ones((4, 2, 2, 1), np.float32), **batch}
  nothing = {"networks": {}, "heads": {}}
  networks = {"student": model or conv.Model()}
  return Flow(networks, {}, nothing, None, batch).inputs("student")


def test_a_network_reads_which_rows_are_missing_or_broken():
  has = np.array([True, True, False, False])
  record = np.array([True, False, True, False])
  for batch, expected in (
    ({"has/image": has}, [1, 1, 0, 0]),
    ({"has/record": record}, [1, 0, 1, 0]),
    ({"has/image": has, "has/record": record}, [1, 0, 0, 0]),
  ):
    inputs = inputs_of(batch)
    assert inputs.keys() == {"image", "has/image"}
    assert inputs["has/image"].tolist() == expected
    assert inputs["image"].max((1, 2, 3)).tolist() == expected


def test_without_missing_rows_there_is_no_has_key():
  assert inputs_of({}).keys() == {"image"}


def test_the_mask_of_a_broken_row_stays_boolean():
  model = registry.find("models", "audio_cnn")(modality="image")
  mask = {"mask/image": np.ones((4, 2), bool)}
  inputs = inputs_of({**mask, "has/record": np.arange(4) > 1}, model)
  assert inputs["mask/image"].dtype == bool
  assert inputs["mask/image"].any(1).tolist() == [False, False, True, True]


def manifest(folder, broken):
  """Eight image files and a stage that trains on them."""
  rows = []
  for index in range(8):
    image_file(folder / f"{index}.png", index)
    rows.append(f"{index}.png,{'ab'[index % 2]},train\n")
  for index in broken:
    (folder / f"{index}.png").write_bytes(b"no image")
  (folder / "manifest.csv").write_text("image,label,split\n" + "".join(rows))
  options = {"root": str(folder), "validation": 0.0, "test": 0.0}
  skips = {"on_error": "skip", "most_broken": 0.5, "image_size": (8, 8)}
  plain = config.experiment(
    "broken",
    data=config.data("manifest", **options, **skips),
    stages={
      "alone": config.stage(
        config.network("conv", widths=(4,), num_classes=2),
        terms={"cross_entropy": config.term("cross_entropy")},
        batch_size=8,
      )
    },
  )
  return build.build(workdir.resolve(plain), "alone")


def test_a_broken_record_changes_no_batch_statistic(tmp_path):
  stage = manifest(tmp_path, broken=(2, 3, 6))
  feed = stage.train_feed(stage.load("train", 0), 0)
  batch = feed.batch(0)
  valid = batch["valid"]
  assert valid.sum() == 5
  np.testing.assert_array_equal(batch["has/record"], valid)
  fixed = stage.fixed({})
  state = stage.init(0, fixed)
  step = jax.jit(stage.train_step)
  after, metrics = step(state, fixed, batch)
  alone = {key: value[valid] for key, value in batch.items()}
  expected, metrics_alone = step(state, fixed, alone)
  close(after.collections, expected.collections, 1e-4)
  np.testing.assert_allclose(metrics["loss"], metrics_alone["loss"], rtol=1e-4)
