"""Heads of temperatures, of several teachers and across modalities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.errors import ShapeError, UserError
from kdjax.heads import (
  cwsm,
  flsw,
  modality_focus,
  proxy,
  router,
  temperature,
)

KEY = jax.random.key(0)


def normal(seed, *shape):
  return 2 * jax.random.normal(jax.random.key(seed), shape)


def equal(actual, expected, tolerance):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# Temperatures


def test_a_global_temperature_is_shared_and_starts_at_ctkds_value():
  x = normal(1, 3, 5), normal(2, 3, 5)
  output, variables = temperature.Head().init_with_output(KEY, x)
  equal(output, np.full(3, 1 + 20 / (1 + np.exp(-1))), 1e-6)
  assert len(jax.tree.leaves(variables)) == 1


def test_temperatures_of_instances_differ_and_stay_in_their_range():
  x = normal(1, 30, 5), 1e4 * normal(2, 30, 5)
  head = temperature.Head(instance=True, lowest=2.0, span=3.0)
  output, _ = head.init_with_output(KEY, x)
  assert np.all((output >= 2.0) & (output <= 5.0))
  assert len(np.unique(output)) > 1


def test_flsw_is_the_formula_of_textbrewer():
  student, teacher = np.asarray(normal(1, 4, 5)), np.asarray(normal(2, 4, 5))
  weights = []
  for s, t in zip(student, teacher, strict=True):
    length = np.linalg.norm(s) * np.linalg.norm(t)
    weights.append((1 - s @ t / length) ** 2.0)
  head = flsw.Head(temperature=8.0, strength=1.5, power=2.0)
  output = head.apply({}, (jnp.asarray(student), jnp.asarray(teacher)))
  equal(output, 8 + 1.5 * (np.mean(weights) - np.array(weights)), 1e-5)


def test_cwsm_is_the_formula_of_textbrewer():
  student = np.asarray(normal(1, 4, 5))
  weights = []
  for row in student:
    shares = np.exp(row) / np.exp(row).sum()
    weights.append(1 / (shares.max() + 1e-3))
  output = cwsm.Head(temperature=8.0).apply({}, jnp.asarray(student))
  equal(output, 8 + np.mean(weights) - np.array(weights), 1e-5)


def test_a_more_confident_student_is_softened_more():
  output = cwsm.Head().apply({}, jnp.array([[9.0, 0, 0], [1.0, 0, 0]]))
  assert output[0] > 4 > output[1]


@pytest.mark.parametrize("head", [flsw.Head(), cwsm.Head()])
def test_temperatures_ignore_masked_rows_and_are_not_below_the_lowest(head):
  x = normal(1, 4, 5), normal(2, 4, 5)
  x = x if isinstance(head, flsw.Head) else x[0]
  mask = jnp.array([True, True, False, True])
  noisy = jax.tree.map(lambda z: z.at[2].multiply(-3), x)
  shown = np.array([0, 1, 3])
  output = head.apply({}, x, mask=mask)
  equal(head.apply({}, noisy, mask=mask)[shown], output[shown], 1e-6)
  alone = jax.tree.map(lambda z: z[shown], x)
  equal(head.apply({}, alone), output[shown], 1e-6)
  assert np.all(head.clone(strength=1e3).apply({}, x) >= 1.0)


def test_flsw_has_a_finite_gradient_for_equal_and_zero_logits():
  for power in (0.5, 1.0, 2.0):
    for student in (normal(1, 3, 5), jnp.zeros((3, 5))):
      pull = jax.jit(
        jax.grad(
          lambda z, power=power: jnp.sum(
            flsw.Head(power=power).apply({}, (z, normal(1, 3, 5)))
          )
        )
      )(student)
      assert np.all(np.isfinite(pull))


# proxy


def test_a_proxy_of_a_map_is_that_of_its_mean():
  x = normal(1, 3, 4, 6, 7)
  head = proxy.Head(num_classes=5)
  output, variables = head.init_with_output(KEY, x)
  assert output.shape == (3, 5)
  equal(head.apply(variables, x.mean((1, 2))), output, 1e-5)


def test_a_proxy_has_the_classes_of_the_logits_on_its_other_side():
  output, _ = proxy.Head().init_with_output(
    KEY, normal(1, 3, 7), jnp.ones((3, 9))
  )
  assert output.shape == (3, 9)
  with pytest.raises(UserError, match="'num_classes'"):
    proxy.Head().init(KEY, normal(1, 3, 7))


# router


def test_a_router_of_probabilities_outputs_logits_of_their_mixture():
  x = normal(1, 3, 5), normal(2, 3, 5), normal(3, 3, 5)
  output, variables = router.Head().init_with_output(KEY, x)
  equal(jnp.exp(output).sum(axis=1), np.ones(3), 1e-5)
  params = variables["params"]["Dense_0"]
  seen = jnp.concatenate([jax.nn.softmax(part) for part in x], axis=1)
  gate = jax.nn.softmax(seen @ params["kernel"] + params["bias"][None])
  mixture = sum(gate[:, m, None] * jax.nn.softmax(x[m]) for m in range(3))
  equal(jnp.exp(output), mixture, 1e-5)


def test_a_router_between_equal_teachers_changes_nothing():
  x = (normal(1, 3, 5),) * 2
  for mix in ("probabilities", "logits"):
    output, _ = router.Head(mix=mix).init_with_output(KEY, x)
    equal(jax.nn.softmax(output), jax.nn.softmax(x[0]), 1e-5)


def test_a_router_uses_its_guides_for_the_gates_only():
  x = normal(1, 3, 5), normal(2, 3, 5), normal(3, 3, 7)
  head = router.Head(guides=1)
  output, variables = head.init_with_output(KEY, x)
  assert variables["params"]["Dense_0"]["kernel"].shape == (17, 2)
  other = head.apply(variables, (*x[:2], -x[2]))
  assert not np.allclose(output, other)


@pytest.mark.slow
def test_a_router_learns_its_gates_from_labels():
  label = jnp.arange(20) % 5
  knows, errs = 6 * jax.nn.one_hot(label, 5), normal(1, 20, 5)
  head = router.Head()
  params = head.init(KEY, (knows, errs))

  @jax.jit
  def step(params):
    cost = lambda params: (
      -jnp.mean(head.apply(params, (knows, errs))[jnp.arange(20), label])
    )
    pull = jax.jit(jax.grad(cost))(params)
    return jax.tree.map(lambda at, to: at - to, params, pull), cost(params)

  _, before = step(params)
  for _ in range(100):
    params, after = step(params)
  assert after < 0.3 * before


def test_a_router_without_teachers_is_an_error():
  with pytest.raises(UserError, match="1 guides among 1"):
    router.Head(guides=1).init(KEY, (normal(1, 3, 5),))


# modality_focus


def parts(rows=6, width=8, classes=3):
  return (
    normal(1, rows, width),
    normal(2, rows, classes),
    normal(3, width, classes),
    normal(4, classes),
  )


def trained(head, x, batches=1, mask=None):
  variables = head.init(KEY, x)
  for step in range(batches):
    output, new = head.apply(
      variables,
      x,
      train=True,
      mask=mask,
      mutable=["memory"],
      rngs={"draw": jax.random.key(step)},
    )
    variables = {**variables, **new}
  return output, variables


@pytest.mark.slow
def test_saliency_is_the_distance_with_one_channel_permuted():
  embedding, companion, kernel, bias = map(np.asarray, parts())
  order = [3, 0, 5, 1, 2, 4]
  mask = np.array([True, True, True, False, True, True])
  expected = np.zeros(8)
  for d in range(8):
    changed = embedding.astype(np.float64).copy()
    changed[:, d] = embedding[order, d]
    logits = changed @ kernel + bias
    squares = [
      (logits[i, k] - companion[i, k]) ** 2
      for i in np.flatnonzero(mask)
      for k in range(3)
    ]
    expected[d] = np.mean(squares)
  actual = modality_focus.saliency(
    embedding, embedding[order], companion, kernel, bias, mask
  )
  equal(actual, expected, 1e-4)


def test_valid_rows_are_permuted_among_themselves():
  mask = jnp.array([True, False, True, True, False, True, True])
  seen = set()
  for seed in range(20):
    order = np.asarray(modality_focus.permute_valid(jax.random.key(seed), mask))
    assert sorted(order) == list(range(7))
    assert order[1] == 1 and order[4] == 4
    seen.add(tuple(order))
  assert len(seen) > 5


@pytest.mark.slow
def test_the_memory_is_the_mean_over_batches():
  x, head = parts(), modality_focus.Head()
  fresh = head.init(KEY, x)
  update = lambda variables, step: head.apply(
    variables,
    x,
    train=True,
    mutable=["memory"],
    rngs={"draw": jax.random.key(step)},
  )[1]
  each = [update(fresh, step)["memory"]["saliency"] for step in range(3)]
  memory = trained(head, x, batches=3)[1]["memory"]
  assert memory["batches"] == 3 and memory["rows"] == 18
  equal(memory["saliency"], sum(each) / 3, 1e-5)
  equal(memory["embedding"], x[0].mean(axis=0), 1e-5)


@pytest.mark.slow
def test_only_a_channel_that_both_networks_use_is_selected():
  embedding = normal(1, 64, 8)
  kernel = jnp.zeros((8, 3)).at[5].set(jnp.array([3.0, -2, 1]))
  kernel += 0.1 * normal(2, 8, 3)
  companion = embedding[:, 5:6] * kernel[5][None]
  x = embedding, companion, kernel, jnp.zeros(3)
  for which, fill in (("general", "zero"), ("general", "mean")):
    head = modality_focus.Head(share=1 / 8, which=which, fill=fill)
    output, variables = trained(head, x, batches=5)
    filling = (
      variables["memory"]["embedding"] if fill == "mean" else np.zeros(8)
    )
    kept = np.tile(filling, (64, 1))
    kept[:, 5] = embedding[:, 5]
    equal(output, kept @ np.asarray(kernel), 1e-4)


def test_general_and_least_general_channels_are_complements():
  x = parts()
  logits = {}
  for which in ("general", "least_general"):
    head = modality_focus.Head(share=0.5, which=which, fill="zero")
    logits[which] = trained(head, x)[0] - x[3][None]
  whole = np.asarray(x[0]) @ np.asarray(x[2])
  equal(logits["general"] + logits["least_general"], whole, 1e-4)


def test_random_channels_stay_the_same_and_differ_by_seed():
  x, head = parts(), modality_focus.Head(which="random", fill="zero")
  output, variables = trained(head, x, batches=4)
  equal(head.apply(variables, x), output, 1e-6)
  equal(head.apply(head.init(KEY, x), x), output, 1e-6)
  other = head.apply(head.init(jax.random.key(1), x), x)
  assert not np.allclose(output, other)


def test_masked_rows_are_not_in_the_memory():
  x, head = parts(), modality_focus.Head()
  mask = jnp.array([True, True, False, True, True, False])
  noisy = (x[0].at[2].set(jnp.nan), x[1].at[5].set(jnp.inf), *x[2:])
  memories = [trained(head, y, mask=mask)[1]["memory"] for y in (x, noisy)]
  jax.tree.map(lambda a, b: equal(a, b, 1e-5), *memories)
  nothing = trained(head, x, mask=jnp.zeros(6, bool))[1]["memory"]
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(nothing))


def test_selecting_all_channels_is_the_teacher():
  x = parts()
  output, _ = trained(modality_focus.Head(share=1.0), x)
  equal(output, x[0] @ x[2] + x[3][None], 1e-5)


def test_a_classifier_that_does_not_fit_the_companion_is_an_error():
  embedding, companion, kernel, bias = parts()
  with pytest.raises(ShapeError, match="companion's classes"):
    modality_focus.Head().init(KEY, (embedding, companion, kernel[:5], bias))
  with pytest.raises(UserError, match="least_general"):
    modality_focus.Head(which="worst").init(KEY, parts())
