"""The index stream: a position is a step, and nothing else is remembered."""

import numpy as np
import pytest

from kdjax.errors import UserError
from kdjax.feed import TrainFeed, eval_batches
from kdjax.sources import ArraySource

N, LABELLED = 23, 5


@pytest.fixture
def source():
  label = np.full(N, -1)
  label[3 : 3 + LABELLED] = np.arange(LABELLED)
  return ArraySource(
    {"index": np.arange(N), "label": label, "x": np.arange(N) * 2.0}
  )


def feed(source, **changes):
  given = {"seed": 1, "batch_size": 8, "labelled_fraction": None, **changes}
  return TrainFeed(source, **given)


def test_any_step_is_the_same_whatever_was_asked_before(source):
  forwards = feed(source)
  there = [forwards.indices(step) for step in range(20)]
  fresh = feed(source)
  for step in (19, 3, 11, 0):
    np.testing.assert_array_equal(fresh.indices(step), there[step])


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


def test_a_fraction_of_labels_that_are_not_there_is_refused(source):
  everything = ArraySource({**source.columns, "label": np.zeros(N, int)})
  with pytest.raises(UserError, match="23 of 23 are labelled"):
    feed(everything, labelled_fraction=0.5)
  feed(everything, labelled_fraction=1.0)


def test_evaluation_sees_each_example_once_in_order(source):
  batches = list(eval_batches(source, 8))
  assert [len(batch["index"]) for batch in batches] == [8, 8, 8]
  seen = np.concatenate([batch["index"][batch["valid"]] for batch in batches])
  np.testing.assert_array_equal(seen, np.arange(N))
