"""Batch statistics are of the rows that are there, on any number of devices."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from examples import image_file
from test_models import OPTIONS_TO_TEST, QUICK, VALUES, make_inputs

from kdjax import config, registry
from kdjax.models import _batch_norm, conv
from kdjax.stage import build
from kdjax.step.flow import Flow
from kdjax.training import workdir

KEY = jax.random.key(0)
B, DEVICES = 16, 8

# Rows of eight devices, two a device: one has none, others one or both.
THERE = np.array([1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1], bool)


class Network:
  """A small network of the room, and what it is called with."""

  def __init__(self, name):
    options = registry.describe("models", name).options
    given = {key: VALUES[key]() for key in options if key in VALUES}
    given |= OPTIONS_TO_TEST.get(name, {})
    self.make = functools.partial(registry.find("models", name), **given)
    self.model = self.make()
    # Of each key more than one example, and never the same one twice.
    parts = [make_inputs(self.model, seed) for seed in range(B // 4)]
    every = {
      key: jnp.concatenate([part[key][:4] for part in parts])
      for key in parts[0]
    }
    self.inputs = {k: v for k, v in every.items() if not k.startswith("has/")}
    start = functools.partial(self.model.init, train=False)
    self.shapes = jax.eval_shape(start, KEY, self.inputs)

  @functools.cached_property
  def variables(self):
    start = functools.partial(self.model.init, train=False)
    return jax.jit(start, compiler_options=QUICK)(KEY, self.inputs)

  def present(self, rows):
    """The inputs where only some rows are there; anything lies in the rest."""
    has = [key for key in self.model.reads if key.startswith("has/")]
    return {**self.inputs, **dict.fromkeys(has, jnp.asarray(rows))}

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
    return step(self.variables, inputs)


@functools.cache
def network(name):
  return Network(name)


WITH_STATISTICS = [
  name
  for name in registry.names("models")
  if "batch_stats" in network(name).shapes
]


def close(actual, expected, tolerance=1e-3):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, rtol=tolerance, atol=tolerance / 10
    ),
    actual,
    expected,
  )


# Every network with batch statistics


def test_networks_with_batch_statistics_read_what_is_there():
  assert {"conv", "resnet", "audio_cnn", "fusion"} <= {*WITH_STATISTICS}
  for name in WITH_STATISTICS:
    model = network(name).model
    given = network(name).inputs.keys() & {"image", "audio"}
    assert {f"has/{modality}" for modality in given} <= {*model.reads}, name


@pytest.mark.parametrize("name", WITH_STATISTICS)
def test_rows_that_are_there_train_as_if_they_were_alone(name):
  one = network(name)
  outputs, kept = one.train(one.present(THERE))
  alone = {key: value[THERE] for key, value in one.inputs.items()}
  expected, statistics = one.train(alone)
  close({key: value[THERE] for key, value in outputs.items()}, expected)
  close(kept, statistics)


@pytest.mark.parametrize("name", WITH_STATISTICS)
def test_where_no_row_is_there_statistics_stay_and_gradients_are_finite(name):
  one = network(name)
  inputs = one.present(np.zeros(B, bool))
  statistics = {"batch_stats": one.variables["batch_stats"]}

  @functools.partial(jax.jit, compiler_options=QUICK)
  @functools.partial(jax.grad, has_aux=True)
  def gradient(params):
    outputs, kept = one.step({**statistics, "params": params}, inputs)
    total = sum(jnp.sum(x * 1.0) for x in jax.tree.leaves(outputs))
    return total, (outputs, kept)

  gradients, (outputs, kept) = gradient(one.variables["params"])
  for leaf in jax.tree.leaves((gradients, outputs)):
    assert bool(jnp.isfinite(leaf).all())
  jax.tree.map(np.testing.assert_array_equal, kept, statistics)


@pytest.mark.parametrize("name", ["audio_cnn", "conv", "resnet_cifar"])
def test_devices_with_unequally_many_rows_train_as_one(name):
  one = network(name)
  inputs = one.present(THERE)
  expected, statistics = one.train(inputs)
  parts = jax.tree.map(
    lambda leaf: leaf.reshape(DEVICES, -1, *leaf.shape[1:]), inputs
  )
  shared = one.make(axis_name="devices")
  step = functools.partial(one.step, one.variables, model=shared)
  outputs, kept = jax.pmap(step, axis_name="devices")(parts)
  whole = {key: x.reshape(B, *x.shape[2:]) for key, x in outputs.items()}
  close(
    {key: x[THERE] for key, x in whole.items()},
    {key: x[THERE] for key, x in expected.items()},
  )
  for device in range(DEVICES):
    close(jax.tree.map(lambda x, at=device: x[at], kept), statistics)


# The layer


@pytest.mark.parametrize("shape", [(), (5,), (5, 4), (2, 3, 4)])
def test_of_all_rows_batch_norm_is_that_of_flax(shape):
  class One(nn.Module):
    @nn.compact
    def __call__(self, x, rows):
      options = {"axis_name": None, "dtype": jnp.float32, "name": "norm"}
      return _batch_norm.over_rows(x, rows, train=True, **options)

  x = 2 * jax.random.normal(KEY, (6, *shape, 3)) + 1
  plain = One().init_with_output(KEY, x, None)
  rows = jnp.ones(6, bool)
  masked = One().init_with_output(KEY, x, rows)
  assert jax.tree.structure(plain) == jax.tree.structure(masked)
  close(masked, plain, 1e-5)
  step = functools.partial(One().apply, plain[1], x, mutable="batch_stats")
  close(step(rows), step(None), 1e-5)


# From a batch


def given(batch, model=None):
  """What a network is given of a batch of four pictures of ones."""
  batch = {"image": jnp.ones((4, 2, 2, 1)), **batch}
  nothing = {"networks": {}, "heads": {}}
  networks = {"student": model or conv.Model()}
  return Flow(networks, {}, nothing, None, batch).inputs("student")


def test_a_network_is_told_of_what_is_missing_and_of_what_is_broken():
  has = jnp.array([True, True, False, False])
  record = jnp.array([True, False, True, False])
  for batch, expected in (
    ({"has/image": has}, [1, 1, 0, 0]),
    ({"has/record": record}, [1, 0, 1, 0]),
    ({"has/image": has, "has/record": record}, [1, 0, 0, 0]),
  ):
    inputs = given(batch)
    assert inputs.keys() == {"image", "has/image"}
    assert inputs["has/image"].tolist() == expected
    assert inputs["image"].max((1, 2, 3)).tolist() == expected


def test_where_nothing_can_be_missing_a_network_is_told_nothing():
  assert given({}).keys() == {"image"}


def test_a_padding_that_is_missing_stays_boolean():
  model = registry.find("models", "audio_cnn")(modality="image")
  mask = {"mask/image": jnp.ones((4, 2), bool)}
  found = given({**mask, "has/record": jnp.arange(4) > 1}, model)
  assert found["mask/image"].dtype == bool
  assert found["mask/image"].any(1).tolist() == [False, False, True, True]


def manifest(folder, broken):
  """Eight pictures and a stage that trains on them."""
  rows = []
  for place in range(8):
    image_file(folder / f"{place}.png", place)
    rows.append(f"{place}.png,{'ab'[place % 2]},train\n")
  for place in broken:
    (folder / f"{place}.png").write_bytes(b"no picture")
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


def test_a_broken_record_moves_no_batch_statistic_in_a_training_step(tmp_path):
  stage = manifest(tmp_path, broken=(2, 3, 6))
  feed = stage.train_feed(stage.load("train", 0), 0)
  batch = feed.batch(0)
  valid = batch["valid"]
  assert valid.sum() == 5
  np.testing.assert_array_equal(batch["has/record"], valid)
  fixed = stage.fixed({})
  state = stage.init(0, fixed)
  step = jax.jit(stage.train_step)
  found, metrics = step(state, fixed, batch)
  alone = {key: value[valid] for key, value in batch.items()}
  expected, known = step(state, fixed, alone)
  close(found.collections, expected.collections, 1e-4)
  np.testing.assert_allclose(metrics["loss"], known["loss"], rtol=1e-4)
