"""Properties of losses on tokens and attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import compile_losses
from references.attention_mse import attention_mse as reference

from kdjax.errors import ShapeError
from kdjax.losses.attention_cross_entropy import attention_cross_entropy
from kdjax.losses.attention_mse import attention_mse
from kdjax.losses.cosine import cosine
from kdjax.losses.hidden_mse import hidden_mse
from kdjax.losses.kd import kd
from kdjax.losses.minilm import minilm
from kdjax.losses.mse import mse
from kdjax.losses.pkd import pkd
from kdjax.losses.token_fsp import token_fsp

compile_losses(globals())

B, M, T, D = 3, 2, 4, 6
LENGTHS = np.array([4, 1, 0])
MASK = jnp.asarray(np.arange(T) < LENGTHS[:, None])


def draw(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), "float32")


def scores(seed):
  return draw(seed, B, M, T, T)


def states(seed, width=D):
  return draw(seed, B, T, width)


def equal(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# Name -> (loss, a function of a seed that draws its arguments).
MASKED = {
  "attention_mse": (attention_mse, scores),
  "attention_cross_entropy": (attention_cross_entropy, scores),
  "minilm": (minilm, lambda seed: (states(seed), states(seed + 10))),
  "token_fsp": (token_fsp, lambda seed: (states(seed), states(seed + 10, 5))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MASKED)
def test_padding_changes_neither_value_nor_gradient(name):
  loss, make = MASKED[name]
  attention = make is scores
  both = MASK[:, None, :, None] & MASK[:, None, None, :]
  # As in the authors' code, the softmax is over all keys, including padding.
  if name == "attention_cross_entropy":
    both = jnp.broadcast_to(MASK[:, None, :, None], both.shape)
  valid = both if attention else MASK[..., None]
  blank = lambda tree: jax.tree.map(lambda x: jnp.where(valid, x, 7.0), tree)
  total = lambda student, teacher: jnp.sum(loss(student, teacher, MASK))
  gradient = jax.jit(jax.grad(total))(make(0), make(1))
  changed = jax.jit(jax.grad(total))(blank(make(0)), blank(make(1)))
  equal(
    loss(blank(make(0)), blank(make(1)), MASK), loss(make(0), make(1), MASK)
  )
  for expected, actual in zip(
    jax.tree.leaves(gradient), jax.tree.leaves(changed), strict=True
  ):
    equal(actual, expected)
    assert not np.any(np.where(valid, 0, expected))


@pytest.mark.parametrize("name", MASKED)
def test_a_row_without_a_token_has_no_loss_and_no_gradient(name):
  loss, make = MASKED[name]
  total = lambda student: jnp.sum(loss(student, make(1), MASK))
  assert not np.any(loss(make(0), make(1), MASK)[2])
  for gradient in jax.tree.leaves(jax.jit(jax.grad(total))(make(0))):
    assert np.isfinite(gradient).all() and not np.any(gradient[2])


@pytest.mark.parametrize("name", MASKED)
def test_a_full_mask_is_none(name):
  loss, make = MASKED[name]
  full = jnp.ones((B, T), bool)
  equal(loss(make(0), make(1), full), loss(make(0), make(1)), 1e-6)


@pytest.mark.parametrize("name", MASKED)
def test_a_shorter_text_has_the_loss_of_its_tokens_only(name):
  loss, make = MASKED[name]
  if name == "attention_cross_entropy":
    pytest.skip("its softmax is over padding too")
  mask = jnp.arange(T)[None] < jnp.full((B, 1), 3)
  cut = lambda x: x[:, :, :3, :3] if x.ndim == 4 else x[:, :3]
  short = lambda seed: jax.tree.map(cut, make(seed))
  equal(loss(make(0), make(1), mask), loss(short(0), short(1)))


def test_attention_to_an_encoder_has_a_mask_of_its_queries_alone():
  student, teacher = draw(0, B, M, T, 7), draw(1, B, M, T, 7)
  found = attention_mse(student, teacher, MASK, floor=None, cross=True)
  square = (np.asarray(student, float) - np.asarray(teacher, float)) ** 2
  rows = [square[i, :, :count] for i, count in enumerate(LENGTHS)]
  equal(found, [row.mean() if row.size else 0.0 for row in rows])
  with pytest.raises(ShapeError, match=r"4 tokens to 7 others.*`cross=True`"):
    attention_mse(student, teacher, MASK, cross=False)


def test_self_attention_equals_its_reference():
  """Tests over all losses draw another number of keys."""
  found = attention_mse(scores(0), scores(1), MASK, floor=None)
  given = (np.asarray(it) for it in (scores(0), scores(1), MASK[:2]))
  student, teacher, mask = given
  expected = reference(student[:2], teacher[:2], mask, floor=None)
  equal(found[:2], expected)


def test_scores_far_below_the_floor_match_any_others_that_are():
  student = scores(0).at[..., -1].set(-1e4)
  teacher = scores(1).at[..., -1].set(-3e3)
  nearer = attention_mse(student[..., :3, :3], teacher[..., :3, :3])
  rows = attention_mse(student, teacher, reduction="sum")
  plain = (student - teacher)[..., :3] ** 2
  equal(rows, plain.sum((1, 2, 3)))
  assert np.all(nearer < 100)


def test_attention_cross_entropy_has_no_gradient_at_the_teacher():
  total = lambda student: attention_cross_entropy(student, scores(1)).sum()
  equal(jax.jit(jax.grad(total))(scores(1)), np.zeros((B, M, T, T)), 1e-6)


def test_joined_heads_may_differ_in_number():
  wide = draw(1, B, 5, T, T)
  assert np.isfinite(attention_mse(scores(0), wide, summed=True)).all()
  assert np.isfinite(
    attention_cross_entropy(scores(0), wide, averaged=True)
  ).all()
  with pytest.raises(ShapeError, match="Expected equal shapes"):
    attention_mse(scores(0), wide)


def test_the_relation_of_queries_to_keys_is_the_divergence_of_attention():
  query, key, wide_query, wide_key = (
    states(seed, width) for seed, width in ((0, 6), (1, 6), (2, 8), (3, 8))
  )

  def logits(first, second):
    split = lambda x: x.reshape(B, T, 2, -1).transpose(0, 2, 1, 3)
    product = split(first) @ split(second).swapaxes(2, 3)
    return product / np.sqrt(first.shape[-1] / 2)

  rows = kd(
    logits(query, key).reshape(-1, T),
    logits(wide_query, wide_key).reshape(-1, T),
    temperature=1.0,
  )
  value = minilm((query, key), (wide_query, wide_key), relation_heads=2)
  equal(value, rows.reshape(B, -1).mean(axis=1))


def test_relations_ignore_rotation_of_a_head():
  turn = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
  both = np.kron(np.eye(2), turn).astype("float32")
  turned = states(0) @ both
  teacher = (states(1), states(1))
  equal(
    minilm((turned, turned), teacher, relation_heads=2),
    minilm((states(0), states(0)), teacher, relation_heads=2),
  )


def test_relation_heads_divide_both_widths():
  with pytest.raises(
    ShapeError, match="4 relation heads do not divide the width 6"
  ):
    minilm((states(0),) * 2, (states(1, 8),) * 2, relation_heads=4)


def test_pkd_is_twice_the_cosine_distance_of_the_first_token():
  equal(pkd(states(0), states(1)), 2 * cosine(states(0)[:, 0], states(1)[:, 0]))


def test_the_mean_over_positions_of_hidden_mse_is_mse():
  equal(
    hidden_mse(states(0), states(1)).mean(axis=1), mse(states(0), states(1))
  )


def test_the_flow_of_a_layer_to_itself_is_its_covariance():
  layer = states(0)
  rows = np.einsum("btd,bte->bde", layer, layer) / T
  other = states(1)
  columns = np.einsum("btd,bte->bde", other, other) / T
  expected = ((rows - columns) ** 2).mean(axis=(1, 2))
  equal(token_fsp((layer, layer), (other, other)), expected)
