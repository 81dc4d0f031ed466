"""Heads of temperatures, of several teachers and across modalities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

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
  value = 2 * np.random.default_rng(seed).normal(size=shape)
  return value.astype(np.float32)


def equal(actual, expected, tolerance):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def start(head, *arrays):
  """The output and the variables, in one program."""
  return jax.device_get(jax.jit(head.init_with_output)(KEY, *arrays))


def shapes(head, *arrays):
  """Shapes of the output and the variables, computing neither."""
  return jax.eval_shape(head.init_with_output, KEY, *arrays)


def apply(head, variables, *arrays):
  """The output with these variables."""
  return jax.device_get(jax.jit(head.apply)(variables, *arrays))


# Temperatures


def test_a_global_temperature_is_shared_and_starts_at_ctkds_value():
  x = normal(1, 3, 5), normal(2, 3, 5)
  output, variables = start(temperature.Head(), x)
  equal(output, np.full(3, 1 + 20 / (1 + np.exp(-1))), 1e-6)
  assert len(jax.tree.leaves(variables)) == 1


def test_temperatures_of_instances_differ_and_stay_in_their_range():
  x = normal(1, 30, 5), np.float32(1e4) * normal(2, 30, 5)
  head = temperature.Head(instance=True, lowest=2.0, span=3.0)
  output, _ = start(head, x)
  assert np.all((output >= 2.0) & (output <= 5.0))
  assert len(np.unique(output)) > 1


def test_flsw_is_the_formula_of_textbrewer():
  student, teacher = normal(1, 4, 5), normal(2, 4, 5)
  weights = []
  for s, t in zip(student, teacher, strict=True):
    length = np.linalg.norm(s) * np.linalg.norm(t)
    weights.append((1 - s @ t / length) ** 2.0)
  head = flsw.Head(temperature=8.0, strength=1.5, power=2.0)
  output = apply(head, {}, (student, teacher))
  equal(output, 8 + 1.5 * (np.mean(weights) - np.array(weights)), 1e-5)


def test_cwsm_is_the_formula_of_textbrewer():
  student = normal(1, 4, 5)
  weights = []
  for row in student:
    shares = np.exp(row) / np.exp(row).sum()
    weights.append(1 / (shares.max() + 1e-3))
  output = apply(cwsm.Head(temperature=8.0), {}, student)
  equal(output, 8 + np.mean(weights) - np.array(weights), 1e-5)


def test_a_more_confident_student_is_softened_more():
  output = apply(cwsm.Head(), {}, jnp.array([[9.0, 0, 0], [1.0, 0, 0]]))
  assert output[0] > 4 > output[1]


@pytest.mark.parametrize("head", [flsw.Head(), cwsm.Head()])
def test_temperatures_ignore_masked_rows_and_are_not_below_the_lowest(head):
  x = normal(1, 4, 5), normal(2, 4, 5)
  x = x if isinstance(head, flsw.Head) else x[0]
  shown = np.array([0, 1, 3])
  mask = jnp.array([True, True, False, True])
  noisy = jax.tree.map(lambda z: np.insert(z[shown], 2, -3 * z[2], axis=0), x)
  alone = jax.tree.map(lambda z: z[shown], x)

  @jax.jit
  def every(x, noisy, alone):
    masked = [head.apply({}, z, mask=mask) for z in (x, noisy)]
    strong = head.clone(strength=1e3).apply({}, x)
    return *masked, head.apply({}, alone), strong

  output, other, of_alone, strong = jax.device_get(every(x, noisy, alone))
  equal(other[shown], output[shown], 1e-6)
  equal(of_alone, output[shown], 1e-6)
  assert np.all(strong >= 1.0)


def test_flsw_has_a_finite_gradient_for_equal_and_zero_logits():
  @jax.jit
  def pulls(student):
    score = lambda z, power: jnp.sum(
      flsw.Head(power=power).apply({}, (z, normal(1, 3, 5)))
    )
    return [jax.grad(score)(student, power) for power in (0.5, 1.0, 2.0)]

  for student in (normal(1, 3, 5), np.zeros((3, 5), np.float32)):
    assert np.all(np.isfinite(pulls(student)))


# proxy


def test_a_proxy_of_a_map_is_that_of_its_mean():
  x = normal(1, 3, 4, 6, 7)
  head = proxy.Head(num_classes=5)
  output, variables = start(head, x)
  assert output.shape == (3, 5)
  equal(apply(head, variables, x.mean((1, 2))), output, 1e-5)


def test_a_proxy_has_the_classes_of_the_logits_on_its_other_side():
  output, _ = shapes(proxy.Head(), normal(1, 3, 7), jnp.ones((3, 9)))
  assert output.shape == (3, 9)
  with pytest.raises(UserError, match="'num_classes'"):
    shapes(proxy.Head(), normal(1, 3, 7))


# router


def test_a_router_of_probabilities_outputs_logits_of_their_mixture():
  x = normal(1, 3, 5), normal(2, 3, 5), normal(3, 3, 5)
  output, variables = start(router.Head(), x)
  equal(np.exp(output).sum(axis=1), np.ones(3), 1e-5)
  params = variables["params"]["Dense_0"]
  shares = [special.softmax(part, axis=1) for part in x]
  scores = np.concatenate(shares, axis=1) @ params["kernel"] + params["bias"]
  gate = special.softmax(scores, axis=1)
  mixture = sum(gate[:, m, None] * shares[m] for m in range(3))
  equal(np.exp(output), mixture, 1e-5)


def test_a_router_between_equal_teachers_changes_nothing():
  x = (normal(1, 3, 5),) * 2
  for mix in ("probabilities", "logits"):
    output, _ = start(router.Head(mix=mix), x)
    expected = special.softmax(x[0], axis=1)
    equal(special.softmax(output, axis=1), expected, 1e-5)


def test_a_router_uses_its_guides_for_the_gates_only():
  x = normal(1, 3, 5), normal(2, 3, 5), normal(3, 3, 7)
  head = router.Head(guides=1)
  output, variables = start(head, x)
  assert variables["params"]["Dense_0"]["kernel"].shape == (17, 2)
  other = apply(head, variables, (*x[:2], -x[2]))
  assert not np.allclose(output, other)


@pytest.mark.slow
def test_a_router_learns_its_gates_from_labels():
  label = jnp.arange(20) % 5
  knows, errs = 6 * jax.nn.one_hot(label, 5), normal(1, 20, 5)
  head = router.Head()

  def cost(params):
    outputs = head.apply(params, (knows, errs))
    return -jnp.mean(outputs[jnp.arange(20), label])

  def step(params, _):
    value, pull = jax.value_and_grad(cost)(params)
    return jax.tree.map(lambda at, to: at - to, params, pull), value

  @jax.jit
  def learn():
    params = head.init(KEY, (knows, errs))
    return jax.lax.scan(step, params, length=100)[1]

  costs = learn()
  assert costs[-1] < 0.3 * costs[0]


def test_a_router_without_teachers_is_an_error():
  with pytest.raises(UserError, match="1 guides among 1"):
    shapes(router.Head(guides=1), (normal(1, 3, 5),))


# modality_focus


def parts(rows=6, width=8, classes=3):
  return (
    normal(1, rows, width),
    normal(2, rows, classes),
    normal(3, width, classes),
    normal(4, classes),
  )


def trained(head, x, batches=1, mask=None):
  """The last output, and the variables after some batches."""

  @jax.jit
  def train(x, mask):
    def step(variables, key):
      output, new = head.apply(
        variables,
        x,
        train=True,
        mask=mask,
        mutable=["memory"],
        rngs={"draw": key},
      )
      return {**variables, **new}, output

    keys = jax.vmap(jax.random.key)(jnp.arange(batches))
    variables, outputs = jax.lax.scan(step, {**head.init(KEY, x)}, keys)
    return outputs[-1], variables

  return jax.device_get(train(x, mask))


@pytest.mark.slow
def test_saliency_is_the_distance_with_one_channel_permuted():
  embedding, companion, kernel, bias = parts()
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
  actual = jax.jit(modality_focus.saliency)(
    embedding, embedding[order], companion, kernel, bias, mask
  )
  equal(actual, expected, 1e-4)


def test_valid_rows_are_permuted_among_themselves():
  mask = jnp.array([True, False, True, True, False, True, True])
  permute = lambda seed: modality_focus.permute_valid(
    jax.random.key(seed), mask
  )
  seen = set()
  for order in np.asarray(jax.jit(jax.vmap(permute))(jnp.arange(20))):
    assert sorted(order) == list(range(7))
    assert order[1] == 1 and order[4] == 4
    seen.add(tuple(order))
  assert len(seen) > 5


@pytest.mark.slow
def test_the_memory_is_the_mean_over_batches():
  x, head = parts(), modality_focus.Head()

  @jax.jit
  def update(step):
    return head.apply(
      head.init(KEY, x),
      x,
      train=True,
      mutable=["memory"],
      rngs={"draw": jax.random.key(step)},
    )[1]["memory"]["saliency"]

  each = [update(step) for step in range(3)]
  memory = trained(head, x, batches=3)[1]["memory"]
  assert memory["batches"] == 3 and memory["rows"] == 18
  equal(memory["saliency"], sum(each) / 3, 1e-5)
  equal(memory["embedding"], x[0].mean(axis=0), 1e-5)


@pytest.mark.slow
def test_only_a_channel_that_both_networks_use_is_selected():
  embedding = normal(1, 64, 8)
  kernel = np.float32(0.1) * normal(2, 8, 3)
  kernel[5] += np.array([3.0, -2, 1], np.float32)
  companion = embedding[:, 5:6] * kernel[5][None]
  x = embedding, companion, kernel, np.zeros(3, np.float32)
  for which, fill in (("general", "zero"), ("general", "mean")):
    head = modality_focus.Head(share=1 / 8, which=which, fill=fill)
    output, variables = trained(head, x, batches=5)
    filling = (
      variables["memory"]["embedding"] if fill == "mean" else np.zeros(8)
    )
    kept = np.tile(filling, (64, 1))
    kept[:, 5] = embedding[:, 5]
    equal(output, kept @ kernel, 1e-4)


def test_general_and_least_general_channels_are_complements():
  x = parts()
  logits = {}
  for which in ("general", "least_general"):
    head = modality_focus.Head(share=0.5, which=which, fill="zero")
    logits[which] = trained(head, x)[0] - x[3][None]
  whole = x[0] @ x[2]
  equal(logits["general"] + logits["least_general"], whole, 1e-4)


def test_random_channels_stay_the_same_and_differ_by_seed():
  x, head = parts(), modality_focus.Head(which="random", fill="zero")
  output, variables = trained(head, x, batches=4)
  equal(apply(head, variables, x), output, 1e-6)
  begin = jax.jit(lambda seed: head.init_with_output(jax.random.key(seed), x))
  same, other = (begin(seed)[0] for seed in (0, 1))
  equal(same, output, 1e-6)
  assert not np.allclose(output, other)


def test_masked_rows_are_not_in_the_memory():
  x, head = parts(), modality_focus.Head()
  mask = jnp.array([True, True, False, True, True, False])
  noisy = (x[0].copy(), x[1].copy(), *x[2:])
  noisy[0][2], noisy[1][5] = np.nan, np.inf
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
    shapes(modality_focus.Head(), (embedding, companion, kernel[:5], bias))
  with pytest.raises(UserError, match="least_general"):
    shapes(modality_focus.Head(which="worst"), parts())
