"""A batch in parts is the batch: gradients, values, counts and memories."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import config
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.training import check, workdir

B = 16

# Without a batch norm, which sees each part alone.
PLAIN = config.network("mlp", widths=(8,), num_classes=10, modality="image")


def made(terms=None, network=None, **knobs):
  """A student and its teacher."""
  network = network or PLAIN
  labels = {"cross_entropy": config.term("cross_entropy")}
  terms = terms or {
    "cross_entropy": config.term("cross_entropy", weight=0.5),
    "kd": config.term("kd", temperature=2.0),
  }
  return config.experiment(
    "parts",
    seeds=1,
    data=config.data("digits"),
    stages={
      "large": config.stage(network, terms=labels, steps=4, batch_size=B),
      "student": config.stage(
        network,
        teachers={"teacher": config.teacher("large")},
        terms=terms,
        steps=4,
        batch_size=B,
        **knobs,
      ),
    },
  )


def stage(axis_name=None, **changes):
  return build.build(workdir.resolve(made(**changes)), "student", axis_name)


def started(one):
  """A state, and what its steps read."""
  shapes = one.teacher_shapes()
  draw = np.random.default_rng(0)
  teachers = jax.tree.map(
    # A variance among them is above zero.
    lambda leaf: draw.random(leaf.shape).astype(leaf.dtype),
    shapes,
  )
  fixed = one.fixed(teachers)
  return jax.jit(one.init)(0, fixed), fixed


def batch(one):
  """Sixteen images, of which the first three and the last have labels."""
  draw = np.random.default_rng(1)
  found = {
    key: np.zeros((B, *leaf.shape), leaf.dtype)
    for key, leaf in one.spec.items()
  }
  found["image"] = draw.random(found["image"].shape).astype(np.float32)
  found["label"] = np.full(B, -1, np.int32)
  found["label"][[0, 1, 2, 15]] = [3, 1, 4, 1]
  found["index"] = np.arange(B, dtype=np.int32)
  valid = np.ones(B, bool)
  valid[5] = False
  return {**found, "view": np.zeros(B, np.int32), "valid": valid}


def stepped(**changes):
  one = stage(**changes)
  at, fixed = started(one)
  return jax.jit(one.train_step)(at, fixed, batch(one))


@pytest.mark.slow
def test_four_parts_are_one_batch():
  (one, whole), (four, parts) = (
    stepped(network=PLAIN, micro_batches=count) for count in (1, 4)
  )
  for first, second in zip(
    jax.tree.leaves(one.params), jax.tree.leaves(four.params), strict=True
  ):
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)
  assert whole.keys() == parts.keys()
  for name, value in whole.items():
    np.testing.assert_allclose(value, parts[name], rtol=1e-5, err_msg=name)
  # Four have a label; one of the others cannot be read.
  assert parts["count/cross_entropy"] == 4
  assert parts["count/kd"] == B - 1


def test_a_mean_of_the_means_of_parts_would_be_another():
  one = stage(network=PLAIN, micro_batches=4)
  at, fixed = started(one)
  whole = batch(one)
  step = jax.jit(dataclasses.replace(one.objective, micro_batches=1).gradients)
  run = lambda rows: step(
    at.params,
    at.collections,
    fixed,
    {key: value[rows] for key, value in whole.items()},
    key=jax.random.key(0),
    step=0,
  )[2]["loss/cross_entropy"]
  apart = np.mean([run(slice(start, start + 4)) for start in range(0, B, 4)])
  assert abs(apart - run(slice(None))) > 1e-3


@pytest.mark.slow
def test_statistics_of_a_batch_norm_go_from_part_to_part():
  network = config.network(
    "resnet_cifar", depth=8, widths=(2, 2, 2, 2), num_classes=10
  )
  before = started(stage(network=network))[0].collections
  after, _ = stepped(network=network, micro_batches=2)
  moved = jax.tree.map(
    lambda a, b: bool(jnp.any(a != b)), before, after.collections
  )
  assert all(jax.tree.leaves(moved))
  assert all(jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(after.params))


def test_a_term_of_the_whole_batch_cannot_be_cut():
  terms = {
    "rkd": config.term(
      "rkd_distance",
      reads={"student": "student/embedding", "teacher": "teacher/embedding"},
    )
  }
  with pytest.raises(UserError, match="'rkd' needs the whole batch"):
    stepped(network=PLAIN, terms=terms, micro_batches=2)


def test_parts_must_divide_the_batch_of_a_device():
  with pytest.raises(UserError, match="micro_batches"):
    check.plan(workdir.resolve(made(micro_batches=3)), ["student"])


@pytest.mark.slow
def test_parts_of_eight_devices_are_the_whole_of_one():
  one = stage(network=PLAIN)
  at, fixed = started(one)
  whole = batch(one)
  expected, _ = jax.jit(one.train_step)(at, fixed, whole)
  spread = stage("devices", micro_batches=2)
  split = {key: x.reshape(8, 2, *x.shape[1:]) for key, x in whole.items()}
  copies = lambda tree: jax.tree.map(
    lambda leaf: jnp.broadcast_to(leaf, (8, *jnp.shape(leaf))), tree
  )
  found, _ = jax.pmap(spread.train_step, "devices")(
    copies(at), copies(fixed), split
  )
  for first, second in zip(
    jax.tree.leaves(expected.params), jax.tree.leaves(found.params), strict=True
  ):
    np.testing.assert_allclose(first, second[0], rtol=1e-4, atol=1e-6)
