"""The teacher's neighbours in the student's embedding space."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.neighbors

from kdjax.errors import UserError
from kdjax.losses.knn_graph import knn_graph

B, D = 12, 5


def drawn(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def neighbours(x, k):
  x = x / np.linalg.norm(x, axis=1, keepdims=True)
  return sklearn.neighbors.kneighbors_graph(x, k).toarray().astype(bool)


@pytest.mark.parametrize("among", ["all", "graph"])
def test_only_examples_of_the_graph_matter_to_it(among):
  student, teacher, k = drawn(0, B, D), drawn(1, B, 7), 3
  near = neighbours(teacher, k)
  far = next(j for j in range(1, B) if not near[0, j] and not near[j, 0])
  # The gradient of the divergence of row 0 with respect to a far example.
  cosines = jax.grad(lambda s: _of_row(s, teacher, near[0], among == "graph"))(
    jnp.array(student)
  )
  assert np.any(cosines[far]) == (among == "all")
  total = sum(
    float(_of_row(student, teacher, near[i], among == "graph", i))
    for i in range(B)
  )
  value = knn_graph(student, teacher, k=k, among=among)
  np.testing.assert_allclose(value, total / B, rtol=1e-4)


def _of_row(student, teacher, near, graph, row=0):
  """The divergence of one row, over neighbours found by scikit-learn."""
  unit = lambda x: x / jnp.linalg.norm(x, axis=1, keepdims=True)
  scores = lambda x: (unit(x) @ unit(x)[row]) / 0.1
  index = np.flatnonzero(near)
  others = index if graph else np.delete(np.arange(B), row)
  log_p = jax.nn.log_softmax(scores(teacher)[index])
  log_q = scores(student)[index] - jax.nn.logsumexp(scores(student)[others])
  return jnp.sum(jnp.exp(log_p) * (log_p - log_q))


def test_with_all_neighbours_both_forms_are_the_same_and_0_for_equal_ones():
  x, y = drawn(0, B, D), drawn(1, B, D)
  whole = knn_graph(x, y, k=B - 1)
  np.testing.assert_allclose(
    whole, knn_graph(x, y, k=99, among="graph"), rtol=1e-5
  )
  rotation = np.linalg.qr(drawn(2, D, D))[0]
  np.testing.assert_allclose(
    knn_graph(x, 5.0 * x @ rotation, k=B - 1), 0.0, atol=1e-4
  )
  assert whole > 0.1


def test_training_makes_the_teachers_neighbours_the_students():
  teacher = drawn(1, B, 7)
  rule = optax.adam(0.1)

  @jax.jit
  def step(student, state):
    gradient = jax.grad(lambda s: knn_graph(s, teacher, k=3))(student)
    updates, state = rule.update(gradient, state)
    return optax.apply_updates(student, updates), state

  student = jnp.array(drawn(0, B, D))
  state = rule.init(student)
  share = lambda student: np.mean(
    neighbours(np.asarray(student), 3)[neighbours(teacher, 3)]
  )
  before = share(student)
  for _ in range(150):
    student, state = step(student, state)
  assert share(student) > max(0.8, before + 0.3)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_valid_examples_are_finite_and_others_have_no_gradient(count):
  mask = jnp.arange(B) < count
  student = np.where(mask[:, None], drawn(0, B, D), np.nan)
  for among in ("all", "graph"):
    value, gradient = jax.value_and_grad(
      lambda s, among=among: knn_graph(s, drawn(1, B, 7), mask, among=among)
    )(jnp.array(student))
    # Of two, each is the other's only neighbour.
    np.testing.assert_allclose(value, 0.0, atol=1e-6)
    assert np.isfinite(gradient[:count]).all() and not gradient[count:].any()


def test_options_that_do_not_exist_are_errors():
  x = drawn(0, B, D)
  with pytest.raises(UserError, match="among"):
    knn_graph(x, x, among="nonsense")
  with pytest.raises(UserError, match="k is 0"):
    knn_graph(x, x, k=0)
