"""Contrastive losses, and the memories of their heads."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import compiled

from kdjax import numerics
from kdjax.data import digits
from kdjax.errors import UserError
from kdjax.heads import (
  _nce,
  fuse,
  in_batch,
  memory_bank,
  memory_queue,
  project,
  scale,
  views,
)
from kdjax.losses.clip import clip
from kdjax.losses.clip_ckd import clip_ckd
from kdjax.losses.clip_gd import clip_gd
from kdjax.losses.clip_soft import clip_soft
from kdjax.losses.crd import crd
from kdjax.losses.sskd import sskd
from kdjax.losses.sskd_aux import sskd_aux
from kdjax.losses.sskd_transformed import sskd_transformed
from kdjax.models import conv, two_tower

clip, clip_ckd, clip_gd, clip_soft = map(
  compiled, (clip, clip_ckd, clip_gd, clip_soft)
)
crd, sskd, sskd_aux, sskd_transformed = map(
  compiled, (crd, sskd, sskd_aux, sskd_transformed)
)

KEY = jax.random.key(0)
B, D, SIZE = 4, 5, 12

HEADS = {
  "bank": memory_bank.Head(size=SIZE, negatives=6, width=3),
  "queue": memory_queue.Head(size=6, data_size=SIZE, width=3),
  "batch": in_batch.Head(data_size=SIZE, width=3),
}


def normal(seed, *shape):
  values = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(values, jnp.float32)


def equal(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@functools.cache
def started(head):
  """The function that makes a head's variables, compiled."""
  return jax.jit(head.init)


@functools.cache
def applied(head, train, mutable):
  """A head as a compiled function; evaluation draws nothing."""

  def run(variables, x, like, key, options):
    return head.apply(
      variables,
      x,
      like,
      train=train,
      mutable=["memory"] if mutable else False,
      rngs={"draw": key} if train else {},
      **options,
    )

  return jax.jit(run)


class Example:
  """One of the heads, with its variables and a batch."""

  def __init__(self, head):
    self.head = head
    self.index = jnp.array([3, 7, 0, 11])
    self.x = normal(1, B, D), self.index
    self.like = normal(2, B, D + 2)
    self.variables = started(head)(KEY, self.x, self.like)

  def __call__(self, x=None, mutable=False):
    return applied(self.head, False, mutable)(
      self.variables, self.x if x is None else x, self.like, KEY, {}
    )

  def train(self, x=None, like=None, variables=None, seed=0, **options):
    """The scores, and the variables after them."""
    variables = variables or self.variables
    scores, new = applied(self.head, True, True)(
      variables,
      self.x if x is None else x,
      self.like if like is None else like,
      jax.random.key(seed),
      options,
    )
    return scores, {**variables, **new}


@pytest.fixture(params=HEADS)
def example(request):
  return Example(HEADS[request.param])


def negatives_of(head):
  """The number of columns of negatives."""
  return {"bank": 6, "queue": 6, "batch": B - 1}[
    next(name for name, one in HEADS.items() if one == head)
  ]


# Heads that score


@pytest.mark.slow
def test_scores_are_the_positive_and_the_negatives_of_both_sides(example):
  student, teacher = example()
  assert student.shape == teacher.shape == (B, 1 + negatives_of(example.head))
  assert student.dtype == teacher.dtype == jnp.float32
  assert example.head.both and example.head.gathered


@pytest.mark.slow
def test_the_mean_score_of_the_first_batch_is_one_over_the_size(example):
  for side in example.train()[0]:
    equal(jnp.mean(jnp.exp(side)) * SIZE, 1.0)


@pytest.mark.slow
def test_z_is_fixed_by_the_first_batch(example):
  _, after = example.train()
  other = normal(5, B, D), example.index
  _, later = example.train(other, variables=after, seed=3)
  assert bool(after["memory"]["z"]["known"])
  assert np.any(after["memory"]["z"]["log_z"])
  np.testing.assert_array_equal(
    later["memory"]["z"]["log_z"], after["memory"]["z"]["log_z"]
  )


def test_a_fully_masked_first_batch_sets_no_z(example):
  _, after = example.train(mask=jnp.zeros(B, bool))
  assert not bool(after["memory"]["z"]["known"])
  jax.tree.map(
    np.testing.assert_array_equal, after["memory"], example.variables["memory"]
  )


def test_evaluation_changes_no_memory(example):
  _, new = example(mutable=True)
  jax.tree.map(
    np.testing.assert_array_equal,
    new["memory"],
    example.variables["memory"],
  )


@pytest.mark.slow
def test_masked_rows_change_no_score_and_no_memory(example):
  mask = jnp.array([True, False, True, True])
  features, index = example.x
  # Even with NaN features, or indices out of range.
  noise = features.at[1].set(jnp.nan), index.at[1].set(10**6)
  like = example.like.at[1].set(jnp.inf)
  before, memory = example.train(mask=mask)
  after, other = example.train(noise, like, mask=mask)
  for clean, noisy in zip(before, after, strict=True):
    equal(noisy[mask], clean[mask])
  jax.tree.map(equal, other["memory"], memory["memory"])

  def total(params, x, like):
    variables = {**example.variables, "params": params}
    scores, _ = example.train(x, like, variables=variables, mask=mask)
    losses = crd(*scores, data_size=SIZE)
    return jnp.sum(jnp.where(mask, losses, 0.0))

  plain = jax.jit(jax.grad(total))(
    example.variables["params"], example.x, example.like
  )
  noisy = jax.jit(jax.grad(total))(example.variables["params"], noise, like)
  jax.tree.map(equal, noisy, plain)


def test_the_order_of_a_batch_does_not_matter(example):
  order = np.array([2, 0, 3, 1])
  moved = tuple(part[order] for part in example.x)
  before, memory = example.train()
  after, other = example.train(moved, example.like[order])
  loss = lambda scores: crd(*scores, data_size=SIZE)
  equal(loss(after), loss(before)[order], 1e-4)
  equal(other["memory"]["z"]["log_z"], memory["memory"]["z"]["log_z"])


def test_both_layers_and_the_students_features_have_gradients(example):
  def total(params, features):
    variables = {**example.variables, "params": params}
    scores, _ = example.train((features, example.index), variables=variables)
    return jnp.sum(crd(*scores, data_size=SIZE))

  gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(
    example.variables["params"], example.x[0]
  )
  for leaf in jax.tree.leaves(gradients):
    assert np.all(np.isfinite(leaf)) and np.any(leaf)


def test_the_memory_carries_no_gradient(example):
  def total(params):
    _, new = example.train(variables={**example.variables, "params": params})
    return sum(
      jnp.sum(leaf)
      for leaf in jax.tree.leaves(new["memory"])
      if leaf.dtype == jnp.float32
    )

  gradients = jax.jit(jax.grad(total))(example.variables["params"])
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients))


def test_negatives_of_the_same_class_are_left_out(example):
  labelled = lambda label: (*example.x, jnp.asarray(label))
  # A memory stores the labels of earlier batches.
  _, after = example.train(labelled([1, 1, 1, 1]))
  _, after = example.train(labelled([1, 1, 1, 1]), variables=after)
  (student, teacher), _ = example.train(
    (example.x[0], jnp.array([1, 2, 4, 5]), jnp.array([1, 2, -1, 1])),
    variables=after,
  )
  for side in (student, teacher):
    assert np.all(np.isfinite(side[:, 0]))
    assert np.all(np.isfinite(side[1:3]))
    assert np.all(np.isfinite(crd(side, data_size=SIZE)))
  if negatives_of(example.head) != 6:
    assert np.sum(np.isneginf(student[0])) == 1
  elif "pointer" in after["memory"]:
    assert np.all(np.isneginf(student[0, 1:]))


def test_two_seeds_start_with_different_memories():
  head, x, like = (
    HEADS["bank"],
    (normal(1, B, D), jnp.arange(B)),
    normal(2, B, D),
  )
  one, other = (
    started(head)(jax.random.key(seed), x, like)["memory"] for seed in (0, 1)
  )
  assert not np.allclose(one["student"], other["student"])
  assert not np.allclose(one["student"], one["teacher"])
  assert np.abs(one["student"]).max() <= 1.0


# The bank


def test_a_bank_compares_each_side_with_the_other_sides_rows():
  example = Example(HEADS["bank"])
  student, _ = example()
  params, memory = example.variables["params"], example.variables["memory"]
  dense = params["embed"]["student"]["Dense_0"]
  embedded = example.x[0] @ dense["kernel"] + dense["bias"][None]
  embedded /= np.linalg.norm(embedded, axis=1, keepdims=True)
  own = np.sum(embedded * memory["teacher"][example.index], axis=1) / 0.07
  # Up to Z, which is a constant.
  gap = np.asarray(student[:, 0] - own)
  equal(gap, np.full(B, gap[0]), 1e-4)


def test_a_bank_updates_only_the_rows_of_the_batch():
  example = Example(HEADS["bank"])
  _, after = example.train()
  for side in ("student", "teacher"):
    before, now = (
      np.asarray(tree["memory"][side]) for tree in (example.variables, after)
    )
    rows = np.asarray(example.index)
    rest = np.setdiff1d(np.arange(SIZE), rows)
    np.testing.assert_array_equal(now[rest], before[rest])
    assert np.all(np.any(now[rows] != before[rows], axis=1))
    equal(np.linalg.norm(now[rows], axis=1), np.ones(B))


def test_a_bank_draws_every_row_except_the_examples_own():
  index = jnp.array([0, 2, 4])
  drawn = np.asarray(_nce.draw_negatives(KEY, index, 400, 5))
  for row, own in zip(drawn, index, strict=True):
    assert set(row) == set(range(5)) - {int(own)}


def test_an_index_beyond_the_bank_gives_nan():
  example = Example(HEADS["bank"])
  student, _ = example((example.x[0], example.index.at[0].set(SIZE)))
  assert np.isnan(student[0, 0])


@pytest.mark.parametrize("rows", [9, 90])
def test_scores_are_scaled_products_for_any_bank_size(rows):
  bank, embedding = normal(0, rows, 3), normal(1, B, 3)
  index = jnp.asarray(np.random.default_rng(2).integers(0, rows, (B, 4)))
  expected = [
    [bank[j] @ embedding[i] / 0.5 for j in index[i]] for i in range(B)
  ]
  found = _nce.scores(bank, embedding, index, temperature=0.5)
  equal(found, jnp.asarray(expected))


# The queue


def test_a_queue_drops_the_oldest_rows():
  example = Example(HEADS["queue"])
  _, after = example.train()
  np.testing.assert_array_equal(after["memory"]["index"], [3, 7, 0, 11, -1, -1])
  other = example.x[0], jnp.array([1, 2, 4, 5])
  _, after = example.train(other, variables=after)
  np.testing.assert_array_equal(after["memory"]["index"], [4, 5, 0, 11, 1, 2])
  assert after["memory"]["pointer"] == 2


def test_a_queue_smaller_than_the_batch_keeps_its_last_rows():
  rows, pointer = memory_queue.queue_rows(
    jnp.int32(1), jnp.array([True, True, False, True, True]), 3
  )
  np.testing.assert_array_equal(rows, [3, 2, 3, 0, 1])
  assert pointer == 2


def test_an_example_in_the_queue_is_not_its_own_negative():
  example = Example(HEADS["queue"])
  _, after = example.train()
  (student, _), _ = example.train(variables=after)
  np.testing.assert_array_equal(
    np.isneginf(student[:, 1:5]), np.eye(B, dtype=bool)
  )


# Heads of two towers


def test_project_keeps_inputs_of_the_right_width():
  x, like = (
    (normal(0, B, 5), normal(1, B, 4)),
    (normal(2, B, 5), normal(3, B, 3)),
  )
  (first, second), variables = project.Head().init_with_output(KEY, x, like)
  np.testing.assert_array_equal(first, x[0])
  assert second.shape == (B, 3) and set(variables["params"]) == {"part1"}


def test_scale_starts_at_one_over_the_temperature():
  x = jnp.zeros((B, 2))
  number, _ = scale.Head(temperature=0.1).init_with_output(KEY, x)
  equal(number, np.full(B, 10.0))
  number, _ = scale.Head(exponential=False).init_with_output(KEY, x)
  equal(number, np.full(B, -np.log(0.07)))
  number, _ = scale.Head(temperature=1e-3).init_with_output(KEY, x)
  equal(number, np.full(B, 100.0))


def test_views_share_one_network():
  x = normal(0, B, D), normal(1, B, D)
  (first, second), variables = views.Head().init_with_output(KEY, x)
  swapped = views.Head().apply(variables, x[::-1])
  equal(swapped[0], second)
  equal(swapped[1], first)


def test_fuse_normalizes_its_inputs():
  x = normal(0, B, D), normal(1, B, 3)
  fused, variables = fuse.Head().init_with_output(KEY, x)
  assert fused.shape == (B, D)
  equal(fuse.Head().apply(variables, (2 * x[0], 5 * x[1])), fused)


# Losses


def test_crd_ignores_negatives_of_minus_infinity():
  scores = normal(0, B, 7)
  fewer = jnp.delete(scores, 3, axis=1)
  hidden = scores.at[:, 3].set(-jnp.inf)
  equal(crd(hidden), crd(fewer))
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(crd(x))))(hidden)
  assert np.all(np.isfinite(gradient)) and not np.any(gradient[:, 3])


def test_crd_without_a_teacher_has_one_direction():
  one, other = normal(0, B, 7), normal(1, B, 7)
  equal(crd(one, other), crd(one) + crd(other))


def test_crd_decreases_in_the_positive_score_and_increases_in_the_negatives():
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(crd(x))))(normal(0, B, 7))
  assert np.all(gradient[:, 0] < 0) and np.all(gradient[:, 1:] > 0)


def pair(seed, width=D):
  return normal(seed, B, width), normal(seed + 1, B, width)


SCALE = jnp.full(B, 5.0)


def test_clip_of_equal_embeddings_is_the_logarithm_of_the_batch():
  one = jnp.ones((B, D))
  equal(clip(one, one, SCALE), np.log(B))


def test_clip_is_scale_invariant_and_symmetric():
  image, text = pair(0)
  equal(clip(3 * image, text, SCALE), clip(image, text, SCALE))
  equal(clip(text, image, SCALE), clip(image, text, SCALE))


def test_ckd_of_equal_networks_is_zero_without_gradient():
  student = pair(0)
  value, gradient = jax.jit(
    jax.value_and_grad(lambda x: clip_ckd(x, student, SCALE, SCALE))
  )(student)
  equal(value, 0.0, 1e-6)
  jax.tree.map(lambda leaf: equal(leaf, np.zeros((B, D)), 1e-6), gradient)


def test_soft_affinities_have_the_gradient_of_ckd():
  student, teacher = pair(0), pair(2, D + 1)
  gradient = lambda loss: jax.jit(
    jax.grad(lambda x: loss(x, teacher, SCALE, 2 * SCALE))
  )(student)
  jax.tree.map(equal, gradient(clip_soft), gradient(clip_ckd))


def test_gd_bounds_the_distance_of_the_gradients_of_clip():
  student, teacher = pair(0), pair(2)
  normalized = lambda side: tuple(map(numerics.l2_normalize, side))
  raw = lambda image, text: clip(image, text, SCALE, normalize=False)
  # Both directions at once: the sum of their gradients, twice the mean.
  own, other = (
    jax.jit(jax.grad(raw, (0, 1)))(*normalized(x)) for x in (student, teacher)
  )
  gap = sum(
    jnp.mean((2 * (a - b)) ** 2) for a, b in zip(own, other, strict=True)
  )
  # |a + b|^2 <= 2 |a|^2 + 2 |b|^2
  assert 0 < gap <= 2 * clip_gd(student, teacher, SCALE, SCALE) + 1e-6


def test_aux_of_equal_views_is_the_logarithm_of_the_batch():
  equal(sskd_aux((jnp.ones((B, D)),) * 4), np.log(B))


def test_sskd_with_ratio_0_keeps_only_what_the_teacher_gets_right():
  plain = 3 * jnp.eye(B, D)
  # In the only transformed view, the teacher confuses 0 and 1.
  transformed = plain[jnp.array([1, 0, 2, 3])] + 0.1
  student = pair(0)
  noisy = student[0], student[1].at[0].multiply(-2.0)
  value = lambda x, ratio: sskd(x, (plain, transformed), ratio=ratio)
  equal(value(noisy, 0.0), value(student, 0.0))
  assert not np.allclose(value(noisy, 1.0), value(student, 1.0))


@pytest.mark.slow
def test_ties_are_settled_by_confidence_or_by_order():
  # Both are wrong, the second is less confident; one of two is kept.
  teacher = (jnp.array([[0.0, 4.0, 0.0], [0.0, 1.0, 0.0]]),)
  student = (jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]),)
  label = jnp.array([0, 0])
  value = lambda rows, ties: sskd_transformed(
    *(tuple(view[rows] for view in side) for side in (student, teacher)),
    label,
    ratio=0.5,
    ties=ties,
  )
  both, swapped = jnp.array([0, 1]), jnp.array([1, 0])
  alone = lambda row: sskd_transformed(
    (student[0][row : row + 1],), (teacher[0][row : row + 1],), label[:1]
  )
  equal(value(both, "confidence"), alone(1))
  equal(value(swapped, "confidence"), alone(1))
  equal(value(both, "order"), alone(0))
  equal(value(swapped, "order"), alone(1))


# Two towers


def towers(**options):
  encoders = {
    "image": conv.Model(widths=(4, 6)),
    "sketch": conv.Model(widths=(4,)),
  }
  return two_tower.Model(encoders=encoders, width=7, **options)


def test_a_tower_gives_its_features_and_its_embedding():
  inputs = {"image": normal(0, B, 8, 8, 1)}
  outputs = jax.eval_shape(
    lambda: towers().init_with_output(KEY, inputs, train=False)[0]
  )
  assert outputs["image/features"].shape == (B, 6)
  assert outputs["sketch/features"].shape == (B, 4)
  assert outputs["image/embedding"].shape == (B, 7)
  assert outputs["embedding"].shape == (B, 7)
  assert outputs["image/stage0"].shape == (B, 8, 8, 4)
  assert outputs["scale"].shape == (B,) and "logits" not in outputs


@pytest.mark.slow
def test_the_scale_starts_at_its_option_and_is_clipped():
  inputs = {"image": normal(0, B, 8, 8, 1)}
  for temperature, expected in ((0.02, 50.0), (1e-4, 100.0)):
    outputs, _ = towers(temperature=temperature).init_with_output(
      KEY, inputs, train=False
    )
    equal(outputs["scale"], np.full(B, expected), 1e-4)


def test_an_encoder_in_classifies_must_exist():
  with pytest.raises(UserError, match=r"'audio'.*image, sketch"):
    towers(classifies="audio").init(
      KEY, {"image": normal(0, B, 8, 8, 1)}, train=False
    )


# Masked digits


def test_the_masked_view_shows_a_quarter_of_the_squares_of_an_image():
  columns = digits.load("test", views=("masked",)).columns
  image, masked = columns["image"], columns["image@masked"]
  squares = lambda x: x.reshape(-1, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4)
  kept = np.all(squares(masked) == squares(image), axis=(3, 4))
  black = ~np.any(squares(masked), axis=(3, 4))
  assert np.all(kept | black)
  assert np.all(np.sum(~black, axis=(1, 2)) <= 4)
  assert np.all(np.sum(kept, axis=(1, 2)) >= 4)
  assert len(np.unique(black, axis=0)) > 100
