"""Analyses compared with cases that are known in closed form."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from kdjax.analysis import (
  attention,
  calibration,
  cka,
  disagreement,
  modalities,
  projection,
  saliency,
)

# Width of an input, examples.
D, B = 6, 5


def numbers(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def hsic_of_paper(x, y):
  """Song et al. 2012, Eq. (5), in float64 with the sums written out."""
  k, m = (
    np.array(it, np.float64) @ np.array(it, np.float64).T for it in (x, y)
  )
  n = len(k)
  for matrix in (k, m):
    np.fill_diagonal(matrix, 0)
  trace = sum(k[i] @ m[:, i] for i in range(n))
  ones = k.sum() * m.sum() / ((n - 1) * (n - 2))
  return (trace + ones - 2 / (n - 2) * (k @ m).sum()) / (n * (n - 3))


def linear(weight):
  """A score that is linear in the input."""
  return lambda x: jnp.sum(x * jnp.asarray(weight)[None], axis=1)


def curved(x):
  """A score that is not linear."""
  return jnp.tanh(jnp.sum(x * jnp.roll(x, 1, axis=1), axis=1)) + x[:, 0] ** 3


def test_integrated_gradients_of_a_linear_model_are_weight_times_input():
  weight, x, baseline = numbers(D), numbers(B, D, seed=1), numbers(B, D, seed=2)
  parts = saliency.integrated_gradients(linear(weight), x, baseline)
  np.testing.assert_allclose(parts, weight * (x - baseline), rtol=1e-4)
  np.testing.assert_allclose(
    saliency.gradient(linear(weight), jnp.asarray(x)),
    np.broadcast_to(weight, x.shape),
    rtol=1e-6,
  )


@pytest.mark.parametrize(("steps", "error"), [(2, 5e-3), (8, 1e-5)])
def test_integrated_gradients_add_up_to_the_difference(steps, error):
  x, baseline = 0.5 * numbers(B, D), np.zeros((B, D), np.float32)
  parts = saliency.integrated_gradients(curved, x, baseline, steps)
  gap = curved(x) - curved(baseline)
  assert np.abs(gap).min() > 1e-3
  np.testing.assert_allclose(parts.sum(1), gap, atol=error)


def test_occlusion_of_a_linear_model_is_the_part_of_the_cell():
  weight, x = numbers(4, D), numbers(B, 4, D, seed=1)
  baseline = numbers(B, 4, D, seed=2)
  score = lambda it: jnp.sum(it * weight[None], axis=(1, 2))
  cells = saliency.grid_of((4, D), 3)
  fallen = saliency.occlusion(score, jnp.asarray(x), baseline, cells)
  assert fallen.shape == (B, 9)
  parts = weight * (x - baseline)
  wanted = [parts[:, cells == cell].sum(1) for cell in range(9)]
  np.testing.assert_allclose(fallen, np.stack(wanted, 1), atol=1e-4)
  # A cell may have further axes: a word has all of its embedding.
  words = saliency.occlusion(score, jnp.asarray(x), baseline, np.arange(4))
  np.testing.assert_allclose(words, parts.sum(2), atol=1e-4)


@pytest.mark.parametrize("shape", [(1,), (7,), (8, 3), (28, 28), (5, 70)])
def test_a_grid_numbers_every_cell_and_has_at_most_so_many(shape):
  cells = saliency.grid_of(shape, 8)
  count = np.prod([min(size, 8) for size in shape])
  assert sorted({*cells.flatten().tolist()}) == [*range(count)]


def test_shapley_values_of_an_additive_game_are_its_parts():
  parts = np.array([0.3, -0.2, 0.05, 1.0])
  values = [
    0.7 + sum(part for place, part in enumerate(parts) if subset >> place & 1)
    for subset in range(16)
  ]
  np.testing.assert_allclose(modalities.shapley(np.array(values)), parts)


def test_shapley_values_are_means_over_orders_and_add_up():
  values = np.random.default_rng(0).normal(size=(8, B))
  found = modalities.shapley(values)
  wanted = np.zeros((3, B))
  orders = [*itertools.permutations(range(3))]
  for order in orders:
    subset = 0
    for player in order:
      wanted[player] += values[subset | 1 << player] - values[subset]
      subset |= 1 << player
  np.testing.assert_allclose(found, wanted / len(orders))
  np.testing.assert_allclose(found.sum(0), values[-1] - values[0])
  # Players that are interchangeable have equal values, an idle one has none.
  symmetric = modalities.shapley([0, 1, 1, 4, 0, 1, 1, 4])
  np.testing.assert_allclose(symmetric, [2, 2, 0])
  with pytest.raises(ValueError, match="3 subsets"):
    modalities.shapley(np.zeros(3))


def test_unbiased_hsic_is_that_of_the_paper_and_ignores_other_rows():
  x, y = numbers(9, 4) + 3, numbers(9, 7, seed=1)
  y[:, 0] += x[:, 0]
  mask = np.arange(9) != 4
  centred = [cka.u_centred(it, mask)[None] for it in (x, y)]
  found = float(cka.unbiased_hsic(*centred, jnp.float32(8))[0, 0])
  # Features are divided by the root of their number.
  wanted = hsic_of_paper(x[mask], y[mask]) / (4 * 7)
  assert found == pytest.approx(wanted, rel=1e-4)


def test_minibatch_cka_is_the_ratio_of_mean_hsics():
  batches = [
    (
      [numbers(8, 4, seed=2 * i), numbers(8, 3, 2, seed=90 + i)],
      [numbers(8, 5, seed=2 * i + 1) + numbers(8, 1, seed=2 * i)],
    )
    for i in range(3)
  ]
  found = cka.minibatch_cka(batches)
  assert found.shape == (2, 1)
  for row in range(2):
    pairs = [(one[row].reshape(8, -1), other[0]) for one, other in batches]
    cross, left, right = (
      np.mean([hsic_of_paper(*pick(x, y)) for x, y in pairs])
      for pick in (
        lambda x, y: (x, y),
        lambda x, y: (x, x),
        lambda x, y: (y, y),
      )
    )
    wanted = cross / np.sqrt(left * right)
    assert found[row, 0] == pytest.approx(wanted, rel=1e-3)


def test_cka_of_equal_features_is_1_and_of_independent_ones_about_0():
  draw = np.random.default_rng(3)
  turn = np.linalg.qr(draw.normal(size=(16, 16)))[0].astype(np.float32)
  batches = []
  for _ in range(20):
    x, y = draw.normal(size=(2, 32, 16)).astype(np.float32)
    batches.append(([x], [x, 3 * x @ turn + 2, y]))
  same, turned, independent = cka.minibatch_cka(batches)[0]
  assert same == pytest.approx(1, abs=1e-4)
  assert turned == pytest.approx(1, abs=1e-3)
  # The biased estimate of such features is 16 / 32 and more.
  assert abs(independent) < 0.05


def test_rows_of_a_rollout_sum_to_one():
  maps = [
    special.softmax(numbers(B, 2, 4, 4, seed=seed), -1) for seed in range(3)
  ]
  for layer in maps:
    layer[:, :, 3] = 0  # padding
    layer[:, :, :, 3] = 0
    layer /= np.maximum(layer.sum(-1, keepdims=True), 1e-9)
  found = np.asarray(attention.rollout([jnp.asarray(it) for it in maps]))
  np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
  np.testing.assert_allclose(found[:, 3], np.eye(4)[[3] * B], atol=1e-6)
  wanted = np.broadcast_to(np.eye(4), (B, 4, 4))
  for layer in maps:
    mixed = 0.5 * layer.mean(1) + 0.5 * np.eye(4)
    wanted = (mixed / mixed.sum(-1, keepdims=True)) @ wanted
  np.testing.assert_allclose(found, wanted, atol=1e-5)
  # Heads that attend to their own token leave every token as it is.
  own = jnp.broadcast_to(jnp.eye(4), (B, 2, 4, 4))
  np.testing.assert_allclose(attention.rollout([own] * 3)[0], np.eye(4))


def test_entropy_is_1_for_equal_attention_and_0_for_one_token():
  mask = np.array([[True, True, True, False]] * 2)
  equal = np.where(mask[:, None, :, None] & mask[:, None, None], 1 / 3, 0.0)
  single = equal * 0
  single[:, :, :3, 0] = 1
  maps = jnp.concatenate([jnp.asarray(equal), jnp.asarray(single)], axis=1)
  found = attention.entropy(maps, jnp.asarray(mask))
  np.testing.assert_allclose(found, [[1, 0]] * 2, atol=1e-6)


@pytest.mark.parametrize("truth", [0.3, 1.0, 4.0])
def test_temperature_is_that_of_a_brute_force_search(truth):
  draw = np.random.default_rng(0)
  logits = 2 * draw.normal(size=(2000, 5))
  label = np.argmax(logits + draw.gumbel(size=logits.shape), axis=1)
  logits = logits * truth
  found = calibration.temperature(logits, label)
  grid = np.geomspace(0.1, 10, 300)
  scores = [calibration.nll(logits, label, it) for it in grid]
  assert found == pytest.approx(grid[np.argmin(scores)], rel=0.02)
  assert calibration.nll(logits, label, found) <= min(scores) + 1e-9
  # The labels were drawn from the logits divided by `truth`.
  assert found == pytest.approx(truth, rel=0.1)


def test_nll_is_the_mean_log_probability_of_the_label():
  logits, label = numbers(7, 3), np.array([0, 1, 2, 2, 1, 0, 0])
  p = special.softmax(logits.astype(np.float64) / 2, axis=1)
  wanted = -np.mean(np.log(p[np.arange(7), label]))
  assert calibration.nll(logits, label, 2.0) == pytest.approx(wanted)


def test_pca_has_the_variance_of_the_largest_eigenvalues():
  x = numbers(40, D) * np.arange(1, D + 1)
  places, share = projection.pca(x)
  values = np.linalg.eigvalsh(np.cov(x.T))[::-1]
  np.testing.assert_allclose(share, values[:2] / values.sum(), rtol=1e-4)
  np.testing.assert_allclose(places.var(0, ddof=1), values[:2], rtol=1e-4)
  one, share = projection.pca(x[:, :1])
  assert one.shape == (40, 2)
  assert share.tolist() == [1, 0]


def test_neighbours_are_shared_by_a_rotation_and_by_chance_otherwise():
  x = numbers(200, D)
  turn = np.linalg.qr(numbers(D, D, seed=1))[0]
  assert projection.shared_neighbours(x, 2 * x @ turn + 1, 10) > 0.999
  other = projection.shared_neighbours(x, numbers(200, D, seed=2), 10)
  assert other == pytest.approx(10 / 199, abs=0.03)


def test_divergence_is_0_of_equal_and_log_2_of_distinct_distributions():
  p = np.array([[1.0, 0, 0], [0.2, 0.3, 0.5], [0.6, 0.4, 0]])
  q = np.array([[0.0, 0.5, 0.5], [0.2, 0.3, 0.5], [0.4, 0.6, 0]])
  found = disagreement.divergence(p, q)
  np.testing.assert_allclose(found[:2], [np.log(2), 0], atol=1e-12)
  middle = np.array([0.5, 0.5])
  wanted = np.sum(special.rel_entr([0.6, 0.4], middle)) / 2
  wanted += np.sum(special.rel_entr([0.4, 0.6], middle)) / 2
  assert found[2] == pytest.approx(wanted)


def test_an_attribution_can_be_compiled():
  score = linear(numbers(D))
  compiled = jax.jit(lambda x: saliency.integrated_gradients(score, x, 0 * x))
  x = numbers(B, D, seed=1)
  np.testing.assert_allclose(
    compiled(x), saliency.integrated_gradients(score, x, 0 * x), rtol=1e-5
  )
