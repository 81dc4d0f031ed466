"""Embeddings that may be cut: losses and retrieval by prefixes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_methods import base
from test_metrics import measure

from kdjax import registry
from kdjax.errors import UserError
from kdjax.losses.clip import clip
from kdjax.losses.clip_ckd import clip_ckd
from kdjax.losses.info_nce import info_nce
from kdjax.metrics import retrieval

B, D = 6, 8


def drawn(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def of_clip_ckd(x, y, **options):
  scale = jnp.full(len(x), 5.0)
  teacher = drawn(5, len(x), 11), drawn(6, len(x), 11)
  return clip_ckd((x, y), teacher, scale, scale, **options)


LOSSES = {
  "clip": lambda x, y, **options: clip(x, y, jnp.full(len(x), 9.0), **options),
  "info_nce": info_nce,
  "symmetric": functools.partial(info_nce, symmetric=True),
  "clip_ckd": of_clip_ckd,
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_loss_is_the_sum_over_prefixes(loss):
  x, y = drawn(0, B, D), drawn(1, B, D)
  expected = sum(float(loss(x[:, :m], y[:, :m])) for m in (2, 3, 8))
  value = loss(x, y, prefixes=(2, 3, 8))
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  # Those beyond the width are the whole, which counts once.
  np.testing.assert_array_equal(loss(x, y, prefixes=(2, 3, 8, 16, 99)), value)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_whole_alone_and_no_prefixes_are_the_same(loss):
  x, y = drawn(0, B, D), drawn(1, B, D)
  np.testing.assert_array_equal(loss(x, y, prefixes=(D,)), loss(x, y))
  gradient = lambda **options: jax.grad(lambda x: loss(x, y, **options))(x)
  np.testing.assert_array_equal(gradient(prefixes=(D,)), gradient())


def test_only_the_prefix_has_a_gradient():
  x, y = drawn(0, B, D), drawn(1, B, D)
  gradient = jax.grad(lambda x: info_nce(x, y, prefixes=(3,)))(x)
  assert np.any(gradient[:, :3]) and not np.any(gradient[:, 3:])


@pytest.mark.parametrize("prefixes", [(0,), (4, -1)])
def test_a_prefix_below_one_is_an_error(prefixes):
  x, y = drawn(0, B, D), drawn(1, B, D)
  with pytest.raises(UserError, match="prefixes"):
    info_nce(x, y, prefixes=prefixes)
  with pytest.raises(UserError, match="from 1 to 8"):
    retrieval.rows(x, y, np.ones(B, bool), prefixes=prefixes)


def test_retrieval_by_a_prefix_is_that_of_cut_embeddings():
  query = drawn(0, 40, D)
  key = query + 0.9 * drawn(1, 40, D)
  mask = np.arange(40) % 5 != 0
  group = np.arange(40) // 3
  run = lambda query, key, **options: measure(
    retrieval,
    mask,
    split=(7, 30),
    options=options,
    query=query,
    key=key,
    group=group,
  )
  plain, found = run(query, key), run(query, key, prefixes=(2, 5, 8))
  assert found.keys() - plain.keys() == {
    f"mean_recall_at_{m}" for m in (2, 5, 8)
  }
  assert {name: found[name] for name in plain} == plain
  for m in (2, 5, 8):
    cut = run(query[:, :m], key[:, :m])["mean_recall"]
    assert found[f"mean_recall_at_{m}"] == cut
  assert found["mean_recall_at_2"] < found["mean_recall_at_8"]
  with pytest.raises(UserError, match="from 1 to 8"):
    run(query, key, prefixes=(9,))


def test_without_rows_recall_by_a_prefix_is_nan():
  nothing = np.zeros(B, bool)
  x = drawn(0, B, D)
  found = measure(
    retrieval, nothing, options={"prefixes": (3,)}, query=x, key=x
  )
  assert np.isnan(found["mean_recall_at_3"])


@pytest.mark.slow
def test_training_by_prefixes_makes_short_embeddings_retrieve():
  # Two random projections of one code, of which a linear map is learned.
  code = drawn(0, 64, 6)
  sides = [np.tanh(code @ drawn(seed, 6, 16)) for seed in (1, 2)]
  start = [0.1 * drawn(seed, 16, 16) for seed in (3, 4)]

  def trained(prefixes):
    rule = optax.adam(3e-2)
    total = lambda maps: info_nce(
      sides[0] @ maps[0],
      sides[1] @ maps[1],
      symmetric=True,
      prefixes=prefixes,
    )

    @jax.jit
    def step(maps, state):
      updates, state = rule.update(jax.grad(total)(maps), state)
      return optax.apply_updates(maps, updates), state

    maps = [jnp.array(one) for one in start]
    state = rule.init(maps)
    for _ in range(150):
      maps, state = step(maps, state)
    query, key = (np.asarray(x @ m) for x, m in zip(sides, maps, strict=True))
    return measure(
      retrieval,
      np.ones(64, bool),
      options={"prefixes": (3,)},
      query=query,
      key=key,
    )

  whole, nested = trained(()), trained((3, 16))
  assert nested["mean_recall_at_3"] > whole["mean_recall_at_3"] + 0.05
  assert nested["mean_recall"] > whole["mean_recall"] - 0.05


def test_the_method_has_both_terms_with_the_prefixes():

  (one,) = registry.find("methods", "matryoshka")(
    base("matryoshka"), prefixes=(2, 4), weight=3.0
  )
  for name in ("matryoshka", "matryoshka_kd"):
    assert one.terms[name].prefixes == (2, 4)
  assert one.terms.matryoshka_kd.weight == 3.0
  assert one.terms.matryoshka_kd.targets == ("teacher", "teacher_scale")
