"""Heads of feature methods, from OFD to adversarial distillation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from kdjax.errors import UserError
from kdjax.heads import (
  abf,
  afd,
  batch_norm,
  classifier,
  connector,
  discriminator,
  negative_mean,
  ofd_margin,
  pool,
  semckd,
  semckd_weights,
  simkd,
  variance,
)
from kdjax.heads._fusion import Fusion

KEY = jax.random.key(0)


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def equal(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def shapes(head, *arrays, **options):
  return jax.eval_shape(
    lambda *arrays: head.init_with_output(KEY, *arrays, **options), *arrays
  )


def start(head, *arrays):
  """The output and the variables, in one program."""
  return jax.device_get(jax.jit(head.init_with_output)(KEY, *arrays))


def apply(head, variables, *arrays, **options):
  """The output with these variables."""
  call = jax.jit(functools.partial(head.apply, **options))
  return jax.device_get(call(variables, *arrays))


# Margins of OFD


def mean_below_zero(deviation, mean):
  density = lambda x: np.exp(-0.5 * ((x - mean) / deviation) ** 2)
  low = min(mean, 0.0) - 12 * deviation
  top, _ = integrate.quad(lambda x: x * density(x), low, 0.0)
  bottom, _ = integrate.quad(density, low, 0.0)
  return top / bottom


@pytest.mark.slow
def test_a_margin_is_the_mean_of_a_normal_below_zero():
  scale, bias = np.array([1.0, 0.3, -2.0, 4.0]), np.array([0.5, -2, 3.0, 0.0])
  margin = apply(ofd_margin.Head(), {}, (np.float32(scale), np.float32(bias)))
  pairs = zip(np.abs(scale), bias, strict=True)
  equal(margin, [mean_below_zero(*pair) for pair in pairs], 1e-4)


def test_the_margin_of_a_channel_that_is_hardly_negative_is_three_deviations():
  norm = (jnp.array([1.0, 1e-3, 2.0]), jnp.array([3.2, 50.0, 1e6]))
  equal(apply(ofd_margin.Head(), {}, norm), [-3.0, -3e-3, -6.0])


def test_the_margin_of_a_channel_far_below_zero_is_its_mean():
  norm = (jnp.array([1.0, 1e-30, 0.0]), jnp.array([-1e4, -7.0, -2.0]))
  equal(apply(ofd_margin.Head(), {}, norm), [-1e4, -7.0, -2.0])


def test_negative_mean_is_over_negative_values_of_valid_rows():
  x = jnp.array([[[-1.0, 2.0]], [[-3.0, -4.0]], [[-90.0, -90.0]]])
  mask = jnp.array([True, True, False])
  equal(apply(negative_mean.Head(), {}, x, mask=mask), [-2.0, -4.0])


def test_negative_mean_of_a_channel_that_never_is_negative_is_zero():
  assert not np.any(apply(negative_mean.Head(), {}, jnp.ones((3, 2, 4))))


# Sizes and classifiers


@pytest.mark.parametrize(
  ("x", "like", "student", "teacher"),
  [
    ((8, 6), (4, 3), (4, 3), (4, 3)),
    ((4, 3), (8, 6), (4, 3), (4, 3)),
    ((8, 3), (4, 6), (4, 3), (4, 3)),
    ((7, 5), (3, 2), (3, 2), (3, 2)),
  ],
)
@pytest.mark.parametrize("adapter", [connector, simkd])
def test_an_adapter_and_pool_bring_both_maps_to_the_smaller_size(
  adapter, x, like, student, teacher
):
  x, like = normal(0, 3, *x, 4), normal(1, 3, *like, 10)
  output, _ = shapes(adapter.Head(), x, like)
  assert output.shape == (3, *student, 10)
  output, _ = shapes(pool.Head(), like, x)
  assert output.shape == (3, *teacher, 10)


def test_pool_is_the_mean_over_windows():
  x = normal(0, 3, 4, 6, 5)
  pooled = apply(pool.Head(), {}, x, normal(1, 3, 2, 2, 1))
  equal(pooled, x.reshape(3, 2, 2, 2, 3, 5).mean(axis=(2, 4)))


def test_connector_has_a_relu_if_configured():
  x, like = normal(0, 30, 4), normal(1, 30, 7)
  assert np.any(start(connector.Head(), x, like)[0] < 0)
  output, _ = start(connector.Head(relu=True), x, like)
  assert np.all(output >= 0)


def test_simkd_is_narrower_inside_by_its_factor():
  x, like = normal(0, 3, 4, 6, 5), normal(1, 3, 4, 6, 12)
  _, variables = shapes(simkd.Head(factor=4), x, like)
  kernels = [variables["params"][f"Conv_{i}"]["kernel"].shape for i in range(3)]
  assert kernels == [(1, 1, 5, 3), (3, 3, 3, 3), (1, 1, 3, 12)]


def test_classifier_pools_a_map_and_applies_the_layer():
  x, kernel, bias = normal(0, 3, 4, 6, 5), normal(1, 5, 8), normal(2, 8)
  logits = apply(classifier.Head(), {}, (x, kernel, bias))
  equal(logits, x.mean(axis=(1, 2)) @ kernel + bias[None])


# Variances, normalisation, attention


def test_variance_leaves_a_feature_of_the_same_width_as_the_mean():
  x = normal(0, 3, 7)
  (mean, log_variance), variables = start(variance.Head(), x, normal(1, 3, 7))
  np.testing.assert_array_equal(mean, x)
  assert log_variance.shape == (3, 7)
  assert "mean" not in variables["params"]


def test_batch_norm_has_mean_zero_and_variance_one_in_training():
  x = 3 * normal(0, 50, 7) + 2
  statistics = {
    "BatchNorm_0": {"mean": np.zeros(7, "f4"), "var": np.ones(7, "f4")}
  }
  output, _ = apply(
    batch_norm.Head(),
    {"batch_stats": statistics},
    x,
    train=True,
    mutable=["batch_stats"],
  )
  equal(output.mean(axis=0), np.zeros(7))
  equal(output.var(axis=0), np.ones(7), 1e-3)


def test_attention_of_afd_adds_up_to_one():
  weights, _ = start(afd.Head(), normal(0, 3, 4, 6, 5))
  assert np.all(weights > 0)
  equal(weights.sum(axis=1), np.ones(3))


# Discriminators


def test_a_discriminator_can_reverse_the_gradient_of_its_input():
  x = normal(0, 3, 7)
  plain, turned = (
    discriminator.Head(reversal=reversal) for reversal in (0.0, 0.5)
  )

  @jax.jit
  def both(x):
    variables = plain.init(KEY, x)
    results = []
    for head in (plain, turned):
      score = lambda v, x, head=head: jnp.sum(head.apply(v, x) ** 2)
      pull = jax.grad(score, argnums=(0, 1))(variables, x)
      results.append((*pull, head.apply(variables, x)))
    return results

  expected, other = jax.device_get(both(x))
  jax.tree.map(equal, other[0], expected[0])
  equal(other[1], -0.5 * expected[1])
  equal(other[2], expected[2])


# ReviewKD


def fused(x, previous, params):
  """Fusion at evaluation, position by position, in NumPy."""
  B, H, W, _ = x.shape
  get = lambda name: np.asarray(params[name]["kernel"], np.float64)
  inner = x @ get("enter")[0, 0] / np.sqrt(1 + 1e-5)
  for b in range(B):
    for h in range(H):
      for w in range(W):
        deep = previous[
          b, h * previous.shape[1] // H, w * previous.shape[2] // W
        ]
        both = np.concatenate([inner[b, h, w], deep])
        score = both @ get("attention")[0, 0] + params["attention"]["bias"]
        share = 1 / (1 + np.exp(-np.asarray(score, np.float64)))
        inner[b, h, w] = share[0] * inner[b, h, w] + share[1] * deep
  padded = np.pad(inner, ((0, 0), (1, 1), (1, 1), (0, 0)))
  outer = sum(
    padded[:, i : i + H, j : j + W] @ get("leave")[i, j]
    for i in range(3)
    for j in range(3)
  )
  return outer / np.sqrt(1 + 1e-5), inner


@pytest.mark.slow
def test_fusion_weights_both_maps_at_every_position():
  x, previous = normal(0, 2, 4, 6, 3), normal(1, 2, 2, 2, 5)
  head = Fusion(5, 7)

  @jax.jit
  def both(x, previous):
    variables = head.init(KEY, x, previous)
    return variables, head.apply(variables, x, previous)

  variables, (output, inner) = jax.device_get(both(x, previous))
  wide = lambda array: np.asarray(array, np.float64)
  expected = fused(wide(x), wide(previous), variables["params"])
  equal(output, expected[0])
  equal(inner, expected[1])


def test_abf_gives_every_map_the_shape_of_the_teacher():
  x = normal(0, 3, 8, 6, 2), normal(1, 3, 4, 3, 4), normal(2, 3, 5)
  like = normal(3, 3, 4, 3, 7), normal(4, 3, 2, 2, 8), normal(5, 3, 9)
  (output, teacher), variables = shapes(abf.Head(), x, like)
  expected = [(3, 4, 3, 7), (3, 2, 2, 8), (3, 1, 1, 9)]
  assert [x.shape for x in output] == expected
  assert [x.shape for x in teacher] == expected
  assert "attention" not in variables["params"]["fusion2"]
  kernel = variables["params"]["fusion0"]["enter"]["kernel"]
  assert kernel.shape == (1, 1, 2, 5)


@pytest.mark.slow
def test_fusion_passes_from_deep_to_shallow_maps_only():
  x = normal(0, 3, 8, 6, 2), normal(1, 3, 4, 3, 4)
  like = normal(3, 3, 8, 6, 7), normal(4, 3, 4, 3, 8)

  @jax.jit
  def both(*inputs):
    variables = abf.Head().init(KEY, x, like)
    return [abf.Head().apply(variables, maps, like)[0] for maps in inputs]

  plain, deep, shallow = jax.device_get(
    both(x, (x[0], 2 * x[1]), (2 * x[0], x[1]))
  )
  assert np.any(deep[0] != plain[0]) and np.any(deep[1] != plain[1])
  assert np.any(shallow[0] != plain[0])
  np.testing.assert_array_equal(shallow[1], plain[1])


def test_abf_needs_equal_numbers_of_maps_on_both_sides():
  with pytest.raises(UserError, match="2 student maps and 1 teacher"):
    x = (normal(0, 3, 8, 6, 2),)
    shapes(abf.Head(), x + x, x)


# SemCKD


def test_semckd_maps_every_layer_to_every_layer():
  x = normal(0, 3, 8, 6, 2), normal(1, 3, 4, 3, 4)
  like = normal(2, 3, 4, 6, 5), normal(3, 3, 2, 3, 7)
  (student, teacher), _ = shapes(semckd.Head(), x, like)
  expected = [(3, 4, 6, 5), (3, 2, 3, 7), (3, 4, 3, 5), (3, 2, 3, 7)]
  assert [x.shape for x in student] == expected
  assert [x.shape for x in teacher] == expected


def layers(seed):
  sizes = ((4, 3), (5,), (2, 2, 3), (6,), (3, 2))
  return tuple(normal(seed + i, 8, *size) for i, size in enumerate(sizes))


WEIGHTS = semckd_weights.Head(students=2, batch_size=8)


@functools.cache
def weights_of_layers():
  return start(WEIGHTS, layers(0))


def changed(layer, rows):
  """The layer with other rows from the sixth on."""
  return np.concatenate([layer[:5], rows])


@pytest.mark.slow
def test_semckd_weights_of_a_student_layer_add_up_to_one():
  weights, _ = weights_of_layers()
  assert len(weights) == 6 and np.all(np.stack(weights) > 0)
  equal(sum(weights[:3]), np.ones(8))
  equal(sum(weights[3:]), np.ones(8))


def test_semckd_weights_ignore_masked_rows():
  _, variables = weights_of_layers()
  mask = jnp.arange(8) < 5
  noisy = tuple(changed(layer, -3 * layer[5:]) for layer in layers(0))
  infer = jax.jit(functools.partial(WEIGHTS.apply, mask=mask))
  plain, other = (infer(variables, maps) for maps in (layers(0), noisy))
  equal(np.stack(other)[:, :5], np.stack(plain)[:, :5], 1e-6)


@pytest.mark.slow
def test_semckd_weights_of_a_part_of_a_batch_are_those_with_rows_of_zero():
  _, variables = weights_of_layers()
  part = tuple(layer[:5] for layer in layers(0))
  zeros = tuple(changed(layer, 0 * layer[5:]) for layer in layers(0))
  whole = np.stack(apply(WEIGHTS, variables, zeros))
  equal(np.stack(apply(WEIGHTS, variables, part)), whole[:, :5], 1e-6)


def test_semckd_weights_of_a_larger_batch_are_an_error():
  with pytest.raises(UserError, match="batches of 4 got 8"):
    shapes(semckd_weights.Head(students=2, batch_size=4), layers(0))
