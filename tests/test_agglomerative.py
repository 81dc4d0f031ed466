"""Balanced teachers: PHI-S, whitening, and the matrices behind them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from test_methods import base

import kdjax
from kdjax import config, registry
from kdjax.errors import UserError
from kdjax.heads import _hadamard
from kdjax.heads.balance import Head
from kdjax.training import check, workdir
from kdjax.training.checkpoints import Checkpoints

# Widths of Sylvester's and of Paley's constructions, and of neither.
WIDTHS = (1, 2, 3, 7, 8, 12, 20, 28, 36, 50, 52)


def features(C, rows=400, rank=None, seed=0):
  """Correlated features of one dominant direction, far from 0."""
  random = np.random.default_rng(seed)
  mixing = random.normal(size=(rank or C, C)) * random.exponential(size=(1, C))
  mixing[0] *= 20.0
  return 3.0 + random.normal(size=(rows, rank or C)) @ mixing


def fitted(head, *batches, mask=None):
  """The variables after a pass over batches."""
  x = jnp.asarray(batches[0], jnp.float32)
  variables = head.init(jax.random.key(0), x)
  step = jax.jit(
    lambda variables, x, mask: head.apply(
      variables, x, train=True, mask=mask, mutable=["memory"]
    )[1]
  )
  for batch in batches:
    x = jnp.asarray(batch, jnp.float32)
    variables = step(variables, x, mask)
  return variables


@pytest.mark.parametrize("n", [n for n in range(1, 161) if n < 3 or n % 4 == 0])
def test_a_hadamard_matrix_has_orthogonal_rows_of_ones(n):
  matrix = _hadamard.hadamard(n)
  if n in (52, 92, 100, 116, 156):
    assert matrix is None
    return
  assert set(np.unique(matrix)) <= {-1.0, 1.0}
  np.testing.assert_array_equal(matrix @ matrix.T, n * np.eye(n))


def test_a_hadamard_matrix_of_a_power_of_two_is_that_of_scipy():
  for n in (2, 4, 8, 16):
    ours = _hadamard.hadamard(n)
    # Up to the order and the signs of the rows, which change no variance.
    gram = np.abs(scipy.linalg.hadamard(n) @ ours.T)
    assert ours.shape == (n, n) and np.linalg.matrix_rank(gram) == n


def test_widths_that_networks_have_are_known():
  for n in (384, 640, 768, 1024, 1152, 1280, 1408, 1536, 2048):
    assert _hadamard.hadamard(n) is not None, n
  assert _hadamard.hadamard(6) is None and _hadamard.hadamard(50) is None


@pytest.mark.parametrize("C", [1, 2, 3, 10, 57])
def test_rotations_make_any_diagonal_equal(C):
  values = np.random.default_rng(C).exponential(size=C).astype("f4") ** 3
  rotation = np.asarray(_hadamard.equal_diagonal(values), np.float64)
  np.testing.assert_allclose(rotation @ rotation.T, np.eye(C), atol=1e-5)
  diagonal = np.diagonal(rotation @ np.diag(values) @ rotation.T)
  np.testing.assert_allclose(diagonal, values.mean(), rtol=1e-4)


@pytest.mark.parametrize("C", WIDTHS)
@pytest.mark.parametrize("rank", [None, 2])
def test_phi_s_gives_every_channel_variance_one(C, rank):
  x = features(C, rank=rank)
  variables = fitted(Head(), x)
  y = np.asarray(Head().apply(variables, jnp.asarray(x, jnp.float32)))
  np.testing.assert_allclose(y.mean(axis=0), 0.0, atol=1e-3)
  np.testing.assert_allclose(y.var(axis=0), 1.0, rtol=2e-3)


@pytest.mark.parametrize("C", [8, 7])
def test_phi_s_keeps_distances_up_to_one_scale(C):
  x = features(C)
  y = np.asarray(Head().apply(fitted(Head(), x), jnp.asarray(x, jnp.float32)))
  distances = lambda z: np.linalg.norm(z[:20, None] - z[None, :20], axis=-1)
  scale = np.sqrt(x.var(axis=0).mean())
  np.testing.assert_allclose(distances(y), distances(x) / scale, atol=5e-3)


def test_whitened_features_are_uncorrelated_with_variance_one():
  x = features(6, rows=2000)
  head = Head(form="whiten", epsilon=1e-9)
  y = np.asarray(head.apply(fitted(head, x), jnp.asarray(x, jnp.float32)))
  np.testing.assert_allclose(np.cov(y.T, bias=True), np.eye(6), atol=2e-2)
  # Of rank 2, the other directions are not blown up.
  x = features(6, rank=2)
  y = np.asarray(Head(form="whiten").apply(fitted(Head(form="whiten"), x), x))
  assert np.linalg.eigvalsh(np.cov(y.T)).max() < 1.1


@pytest.mark.parametrize("form", ["standardize", "isotropic"])
def test_forms_without_a_rotation(form):
  x = features(5)
  head = Head(form=form)
  y = np.asarray(head.apply(fitted(head, x), jnp.asarray(x, jnp.float32)))
  by = x.std(axis=0) if form == "standardize" else np.sqrt(x.var(0).mean())
  np.testing.assert_allclose(y, (x - x.mean(0)) / by, atol=2e-3)


def test_batches_add_up_to_the_whole_and_masked_rows_do_not_count():
  x = features(8, rows=60)
  whole = fitted(Head(), x)["memory"]
  parts = fitted(Head(), x[:20], x[20:40], x[40:])["memory"]
  padded = np.concatenate([x, np.full((60, 8), np.nan)])
  mask = jnp.arange(120) < 60
  masked = fitted(Head(), padded, mask=mask)["memory"]
  for other in (parts, masked):
    assert other["count"] == 60
    for name in ("mean", "covariance"):
      np.testing.assert_allclose(other[name], whole[name], 1e-3, 1e-2)
  np.testing.assert_allclose(whole["mean"], x.mean(axis=0), rtol=1e-4)
  np.testing.assert_allclose(
    whole["covariance"], np.cov(x.T, bias=True), 1e-3, 1e-2
  )


def test_positions_and_pixels_count_as_rows():
  x = features(4, rows=48)
  flat = fitted(Head(), x)["memory"]
  for shape in ((12, 4, 4), (3, 4, 4, 4)):
    found = fitted(Head(), x.reshape(shape))["memory"]
    np.testing.assert_allclose(found["mean"], flat["mean"], rtol=1e-5)
    assert found["count"] == 48


def test_constant_features_stay_finite():
  for form in ("phi_s", "whiten", "standardize", "isotropic"):
    head = Head(form=form)
    x = np.full((9, 4), 2.0, np.float32)
    y = head.apply(fitted(head, x), x)
    np.testing.assert_allclose(y, 0.0, atol=1e-3)


def test_an_unknown_form_is_an_error():
  with pytest.raises(UserError, match="phi_s"):
    Head(form="phis").init(jax.random.key(0), jnp.ones((3, 4)))


BOTH = {
  "embeddings": ("teacher/embedding", "other/embedding"),
  "student_tokens": "student/stage1",
  "tokens": ("teacher/stage1", "other/stage1"),
}


def experiment(**options):
  network = lambda *widths: config.network(
    "conv", widths=widths, num_classes=10
  )
  labels = {"cross_entropy": config.term("cross_entropy")}
  student = base("agglomerative")
  student.teachers.other = config.teacher("other")
  made = config.named(
    "agglomerative",
    registry.find("methods", "agglomerative")(student, **options),
  )
  teachers = {"teacher": network(5, 8), "other": network(7, 12)}
  return config.experiment(
    "method",
    data=config.data("digits"),
    stages={
      name: config.stage(one, terms=labels, batch_size=8, steps=6)
      for name, one in teachers.items()
    }
    | made,
  )


@pytest.mark.slow
@pytest.mark.parametrize("balance", ["phi_s", "whiten"])
def test_two_teachers_with_summary_and_maps_trace(balance):
  plain = workdir.resolve(experiment(balance=balance, **BOTH))
  names = {"summary0", "summary1", "dense0", "dense1"}
  assert set(plain["stages"]["agglomerative-1"]["terms"]) == names
  last = plain["stages"]["agglomerative"]["terms"]
  assert set(last) == names | {"cross_entropy"}
  assert last["cross_entropy"]["weight"] == 0.0
  for name in names:
    balanced = last[name]["heads"]["teacher"]
    assert balanced["still"] and balanced["init_from"] == "agglomerative-1"
  check.plan(plain, ["agglomerative-1", "agglomerative"])


@pytest.mark.slow
def test_the_student_learns_from_statistics_that_no_longer_change(tmp_path):
  kdjax.run(experiment(share=0.25, **BOTH), tmp_path, quiet=True)

  def memory(stage):
    with Checkpoints(tmp_path / "stages" / stage / "checkpoints") as saved:
      arrays = saved.read()
    return {
      key: value
      for key, value in arrays.items()
      if key.startswith("collections.heads") and "memory" in key
    }

  measured, used = memory("agglomerative-1"), memory("agglomerative")
  assert len(used) == 4 * 4 and measured.keys() == used.keys()
  for key, value in used.items():
    np.testing.assert_array_equal(value, measured[key])
  # 6 of 24 steps of 8 images; of maps, each position.
  counts = {key: value for key, value in used.items() if key.endswith("count")}
  for key, count in counts.items():
    assert np.all(count >= 48) if "dense" in key else np.all(count == 48), key
