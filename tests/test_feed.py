"""The index stream: a batch depends on (seed, step) and on nothing else."""

import pickle

import numpy as np
import pytest

from kdjax.errors import UserError
from kdjax.feed.index_stream import EvalFeed, TrainFeed
from kdjax.feed.sources import ArraySource
from kdjax.losses.clip import clip

N, LABELLED = 23, 5


@pytest.fixture
def source():
  label = np.full(N, -1)
  label[3 : 3 + LABELLED] = np.arange(LABELLED)
  return ArraySource(
    {"index": np.arange(N), "label": label, "x": np.arange(N) * 2.0}
  )


def feed(source, **changes):
  options = {"seed": 1, "batch_size": 8, "labelled_fraction": None, **changes}
  return TrainFeed(source, **options)


def test_a_step_does_not_depend_on_the_steps_drawn_before(source):
  forwards = feed(source)
  expected = [forwards.indices(step) for step in range(20)]
  fresh = feed(source)
  for step in (19, 3, 11, 0):
    np.testing.assert_array_equal(fresh.indices(step), expected[step])


def test_every_epoch_holds_every_example_once(source):
  batches = feed(source)
  drawn = np.concatenate([batches.indices(step) for step in range(N)])
  for epoch in drawn.reshape(8, N):
    np.testing.assert_array_equal(np.sort(epoch), np.arange(N))


def test_epochs_and_seeds_differ_in_order(source):
  drawn = lambda seed: np.concatenate(
    [feed(source, seed=seed).indices(step) for step in range(6)]
  )
  assert not np.array_equal(drawn(1)[:N], drawn(2)[:N])
  assert not np.array_equal(drawn(1)[:N], drawn(1)[N : 2 * N])


def test_the_labelled_fraction_holds_in_every_batch(source):
  batches = feed(source, labelled_fraction=0.25)
  seen = set()
  for step in range(12):
    batch = batches.batch(step)
    assert (batch["label"] >= 0).sum() == 2
    assert batch["valid"].all()
    seen |= set(batch["index"].tolist())
  assert seen == set(range(N))


def test_a_labelled_fraction_of_missing_examples_is_an_error(source):
  everything = ArraySource({**source.columns, "label": np.zeros(N, int)})
  with pytest.raises(UserError, match="23 of 23 are labelled"):
    feed(everything, labelled_fraction=0.5)
  feed(everything, labelled_fraction=1.0)


def test_evaluation_sees_each_example_once_in_order(source):
  batches = EvalFeed(source, 8)
  batches = [batches.batch(step) for step in range(len(batches))]
  assert [len(batch["index"]) for batch in batches] == [8, 8, 8]
  seen = np.concatenate([batch["index"][batch["valid"]] for batch in batches])
  np.testing.assert_array_equal(seen, np.arange(N))


def test_an_epoch_is_a_view_and_views_come_in_turn(source):
  steps = range(3 * N)
  places = np.arange(8 * 3 * N).reshape(-1, 8)
  for augmentations in (0, 1, 4):
    batches = feed(source, augmentations=augmentations)
    drawn = np.stack([batches.draw(step)["view"] for step in steps])
    expected = places // N
    if augmentations:
      expected = expected % augmentations
    np.testing.assert_array_equal(drawn, expected)


def test_a_partner_is_of_the_example_and_its_view_alone(source):
  draws = []
  for seed in (1, 2):
    batches = feed(source, seed=seed, partners=("x",), augmentations=3)
    for step in range(9 * N):
      batch, drawn = batches.batch(step), batches.draw(step)
      np.testing.assert_array_equal(
        batch["partner/x"], source.columns["x"][drawn["partner"]]
      )
      keys = ("position", "view", "partner")
      draws += zip(*(drawn[key] for key in keys), strict=True)
  known = {}
  for position, view, partner in draws:
    assert known.setdefault((position, view), partner) == partner
  views = [[known[place, view] for place in range(N)] for view in range(3)]
  assert sorted(views[0]) == list(range(N)) and views[0] != views[1]


def test_the_labelled_are_mixed_with_the_labelled(source):
  batches = feed(source, partners=("label",), labelled_fraction=0.5)
  for step in range(20):
    batch = batches.batch(step)
    own, other = batch["label"] >= 0, batch["partner/label"] >= 0
    np.testing.assert_array_equal(own, other)


@pytest.fixture
def lopsided():
  """Classes of 1, 4 and 16 examples."""
  label = np.repeat([0, 1, 2], [1, 4, 16])
  return ArraySource({"index": np.arange(21), "label": label})


@pytest.mark.parametrize(
  ("sampling", "expected"),
  [
    ("uniform", (1 / 21, 4 / 21, 16 / 21)),
    ("balanced", (1 / 3, 1 / 3, 1 / 3)),
    ("square_root", (1 / 7, 2 / 7, 4 / 7)),
  ],
)
def test_classes_are_drawn_as_often_as_the_sampling_says(
  lopsided, sampling, expected
):
  batches = feed(lopsided, sampling=sampling)
  drawn = np.concatenate([batches.batch(step)["label"] for step in range(1000)])
  shares = np.bincount(drawn) / len(drawn)
  # Four standard errors of 8,000 draws.
  np.testing.assert_allclose(shares, expected, atol=0.022)


def test_what_is_drawn_often_looks_another_way_each_time(lopsided):
  for augmentations in (0, 50):
    batches = feed(lopsided, sampling="balanced", augmentations=augmentations)
    drawn = [batches.draw(step) for step in range(6)]
    pairs = [
      pair
      for one in drawn
      for pair in zip(one["position"], one["view"], strict=True)
    ]
    assert len(set(pairs)) == len(pairs) == 48


def test_an_unknown_sampling_is_an_error_that_lists_all(source):
  with pytest.raises(UserError, match="balanced"):
    feed(source, sampling="balancd")


def test_a_feed_in_another_process_draws_the_same(source):
  local = feed(source, partners=("x",), labelled_fraction=0.25)
  copy = pickle.loads(pickle.dumps(local))
  for step in (0, 5, 30):
    batch, other = local.batch(step), copy.batch(step)
    for key in batch:
      np.testing.assert_array_equal(batch[key], other[key])


def test_parts_of_a_batch_are_the_batch(source):
  batches = feed(source, partners=("x",))
  for step in range(6):
    whole = batches.batch(step)
    parts = [batches.batch(step, slice(at, at + 4)) for at in (0, 4)]
    for key in whole:
      joined = np.concatenate([part[key] for part in parts])
      np.testing.assert_array_equal(joined, whole[key])


def test_a_record_that_is_broken_counts_nowhere(source):
  broken = ArraySource({**source.columns, "valid": np.arange(N) % 3 > 0})
  for one in (feed(broken), EvalFeed(broken, 8)):
    for step in range(3):
      batch, drawn = one.batch(step), one.draw(step)
      readable = drawn["position"] % 3 > 0
      np.testing.assert_array_equal(batch["valid"], drawn["valid"] & readable)


def test_nobody_is_mixed_with_a_record_that_is_broken(source):
  broken = ArraySource({**source.columns, "valid": np.arange(N) % 3 > 0})
  one = feed(broken, partners=("x",))
  for step in range(3):
    batch, drawn = one.batch(step), one.draw(step)
    np.testing.assert_array_equal(
      batch["partner/valid"], drawn["partner"] % 3 > 0
    )


# Short last batches


def short(count, size, **options):
  source = ArraySource(
    {
      "index": np.arange(count, dtype=np.int32),
      "label": np.zeros(count, np.int32),
    }
  )
  return TrainFeed(
    source, seed=3, batch_size=size, last_batch="short", **options
  )


def test_a_short_last_batch_holds_what_is_left_of_its_epoch():
  feed = short(10, 4)
  for epoch in range(3):
    drawn = [feed.draw(3 * epoch + step) for step in range(3)]
    assert [one["valid"].sum() for one in drawn] == [4, 4, 2]
    seen = np.concatenate([one["position"][one["valid"]] for one in drawn])
    assert sorted(seen) == [*range(10)]
    assert all((one["view"] == epoch).all() for one in drawn)


def test_a_batch_that_divides_the_epoch_is_never_short():
  whole, other = short(12, 4), short(12, 4)
  other.short = False
  for step in range(7):
    for key, value in whole.draw(step).items():
      np.testing.assert_array_equal(value, other.draw(step)[key])


def test_many_steps_are_drawn_as_one_by_one():
  feed = short(10, 4)
  drawn = feed.draws(2, 9)
  for place, step in enumerate(range(2, 9)):
    for key, value in feed.draw(step).items():
      np.testing.assert_array_equal(drawn[key][place], value)


def test_an_unknown_last_batch_is_an_error():
  with pytest.raises(UserError, match="Did you mean 'short'"):
    TrainFeed(short(10, 4).source, seed=0, batch_size=4, last_batch="shrt")


def test_a_set_smaller_than_the_batch_has_each_example_once_in_a_batch():
  source = short(5, 4).source
  feed = TrainFeed(source, seed=3, batch_size=8)
  drawn = feed.draws(0, 10)
  for step in range(10):
    position, valid = drawn["position"][step], drawn["valid"][step]
    assert sorted(position[valid]) == [*range(5)]
    one = feed.draw(step)
    np.testing.assert_array_equal(one["valid"], valid)
    half = feed.draw(step, slice(4, 8))
    np.testing.assert_array_equal(half["valid"], valid[4:])
  # A set of a whole batch repeats nothing, and all its rows count.
  assert TrainFeed(source, seed=3, batch_size=5).draws(0, 4)["valid"].all()


def test_the_twin_of_a_small_set_is_no_negative():
  feed = TrainFeed(short(5, 4).source, seed=3, batch_size=8)
  draw = feed.draw(1)
  rng = np.random.default_rng(0)
  image, text = (rng.normal(size=(5, 6)).astype(np.float32) for _ in range(2))
  rows, mask = draw["position"], draw["valid"]
  scale = np.full(8, 10.0, np.float32)
  twins = clip(image[rows], text[rows], scale, mask)
  once = rows[mask]
  alone = clip(image[once], text[once], scale[:5])
  np.testing.assert_allclose(twins, alone, rtol=1e-6)
  doubled = clip(image[rows], text[rows], scale)
  assert abs(float(doubled) - float(alone)) > 0.01
