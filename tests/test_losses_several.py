"""Losses with several right answers: several labels, several positives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.losses.binary_cross_entropy import binary_cross_entropy
from kdjax.losses.clip import clip
from kdjax.losses.info_nce import info_nce
from kdjax.losses.kd import kd
from kdjax.losses.multilabel_kd import multilabel_kd

B, D, K = 6, 4, 5


def drawn(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), "f4")


def near(value, expected, rtol=1e-5):
  np.testing.assert_allclose(value, expected, rtol=rtol, atol=1e-6)


def test_the_gradient_of_multilabel_kd_is_the_difference_of_probabilities():
  teacher = jnp.array([[-3.2, -0.9, 0.9, 3.2]])
  gradient = jax.grad(
    lambda z: multilabel_kd(z, teacher, reduction="mean").sum()
  )(jnp.zeros_like(teacher))
  near(gradient[0], (0.5 - jax.nn.sigmoid(teacher[0])) / 4)
  near(gradient[0], [0.1152, 0.0527, -0.0527, -0.1152], 2e-3)
  for temperature in (0.5, 4.0):
    ours, theirs = drawn(0, B, K), drawn(1, B, K)
    gradient = jax.grad(
      lambda z, T=temperature, theirs=theirs: multilabel_kd(
        z, theirs, temperature=T
      ).sum()
    )(ours)
    gap = jax.nn.sigmoid(ours / temperature) - jax.nn.sigmoid(
      theirs / temperature
    )
    near(gradient, temperature * gap)


def test_multilabel_kd_of_one_class_is_kd_of_two():
  ours, theirs = drawn(0, B, 1), drawn(1, B, 1)
  two = lambda z: jnp.concatenate([z, jnp.zeros_like(z)], axis=1)
  near(
    multilabel_kd(ours, theirs, temperature=3.0),
    kd(two(ours), two(theirs), temperature=3.0),
  )


def test_multilabel_kd_of_a_certain_teacher_is_binary_cross_entropy():
  student, label = drawn(0, B, K), drawn(1, B, K) > 0
  certain = jnp.where(label, jnp.inf, -jnp.inf)
  run = jax.value_and_grad(lambda z: multilabel_kd(z, certain).sum())
  expected = jax.value_and_grad(
    lambda z: binary_cross_entropy(z, label, reduction="sum").sum()
  )
  for found, right in zip(run(student), expected(student), strict=True):
    near(found, right)


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30])
def test_multilabel_kd_is_finite_and_0_where_both_agree(scale):
  logits = scale * drawn(0, B, K)
  logits = logits.at[0].set(jnp.inf).at[1].set(-jnp.inf)
  value, gradient = jax.value_and_grad(
    lambda z: multilabel_kd(z, logits).sum()
  )(logits)
  assert float(value) == 0.0
  near(gradient, 0.0)


LOSSES = {
  "clip": lambda x, y, **rest: clip(x, y, jnp.full(len(x), 9.0), **rest),
  "info_nce": lambda x, y, **rest: info_nce(x, y, **rest),
  "symmetric": lambda x, y, **rest: info_nce(x, y, symmetric=True, **rest),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_groups_of_one_row_change_nothing(loss):
  x, y = drawn(0, B, D), drawn(1, B, D)
  mask = jnp.arange(B) < B - 1
  for group in (jnp.arange(B), jnp.full(B, -1)):
    run = jax.value_and_grad(lambda x, g=group: loss(x, y, mask=mask, group=g))
    plain = jax.value_and_grad(lambda x: loss(x, y, mask=mask))
    for found, right in zip(run(x), plain(x), strict=True):
      near(found, right, 1e-4)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_rows_of_a_group_are_no_negatives_of_each_other(loss):
  # Two captions of one image: both rows have the same image.
  x, y = drawn(0, B, D), drawn(1, B, D)
  x, y = x.at[1].set(x[0]), y.at[1].set(y[0])
  group = jnp.array([7, 7, -1, -1, 2, 3])
  pull = jax.grad(lambda y: loss(x, y, group=group))(y)
  # Where a group's rows are equal, they are pulled and pushed alike.
  near(pull[0], pull[1], 1e-4)
  apart = loss(x, y.at[1].set(-y[0]), group=group)
  together = loss(x, y, group=group)
  assert float(together) < float(apart)
  # A row that does not count is in no group.
  mask = jnp.arange(B) != 1
  near(
    loss(x, y, mask=mask, group=group),
    loss(x, y.at[1].set(jnp.nan), mask=mask),
    1e-4,
  )
