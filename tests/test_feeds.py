"""Held on the devices or streamed: the same batches."""

import jax
import numpy as np
import pytest
from placed import collected

from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.feed import loaders
from kdjax.feed.index_stream import EvalFeed, TrainFeed
from kdjax.feed.sources import ArraySource
from kdjax.step.state import Fixed

N, BATCH, SEEDS = 50, 16, 2


class Decoding:
  """A source that computes its examples on access."""

  def __init__(self, seed=0):
    self.seed = seed

  def __len__(self):
    return N

  def __getitem__(self, position):
    return {key: value[0] for key, value in self.take([position]).items()}

  def take(self, positions):
    positions = np.asarray(positions)
    ramp = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    return {
      "image": ramp + positions.astype(np.uint8)[:, None, None, None],
      "label": (positions % 3).astype(np.int32) - (self.seed == 1),
      "index": positions.astype(np.int32) + 100,
      "valid": positions % 7 > 0,
    }

  @property
  def labels(self):
    return self.take(np.arange(N))["label"]

  @property
  def labelled(self):
    return self.labels >= 0


def orders(partners=("image", "index")):
  return [
    TrainFeed(
      Decoding(seed),
      seed=seed,
      batch_size=BATCH,
      labelled_fraction=0.5 if seed else None,
      partners=partners,
    )
    for seed in range(SEEDS)
  ]


def seen(kind, placement, start=0, stop=9, workers=0, evaluation=False):
  """The batches of the steps, as arrays on the host: one list per step."""
  made = [EvalFeed(Decoding(), BATCH)] if evaluation else orders()
  if kind == "device":
    feed = loaders.Rows(placement, made)
  else:
    feed = loaders.Stream(placement, made, workers)
  step = placement.compile(
    feed.over(lambda state, fixed, batch: batch),
    ("state", "fixed", *feed.roles),
  )
  empty = Fixed(teachers={}, data={}, numbers={})
  nothing = (
    placement.put([{"x": np.zeros(1)}] * SEEDS),
    placement.put_fixed([empty] * SEEDS),
  )
  batches = []
  for batch in feed.batches(start, stop):
    placed = step(*nothing, *batch)
    batches.append([collected(placement, one) for one in placed])
  return batches


def assert_equal(one, other):
  assert len(one) == len(other)
  for groups, others in zip(one, other, strict=True):
    for group, expected in zip(groups, others, strict=True):
      assert group.keys() == expected.keys()
      for key in group:
        np.testing.assert_array_equal(group[key], expected[key], err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pmap", "mesh"])
@pytest.mark.parametrize("axis", ["loop", "vmap"])
@pytest.mark.parametrize("evaluation", [False, True])
def test_both_feeds_give_the_same_batches(kind, axis, evaluation):
  placement = Placement(kind, SEEDS, axis, {})
  held = seen("device", placement, stop=4, evaluation=evaluation)
  streamed = seen("stream", placement, stop=4, evaluation=evaluation)
  assert_equal(held, streamed)
  assert len(held) == 4


def test_they_are_those_of_the_index_stream():
  placement = Placement("pmap", SEEDS, "loop", {})
  for step, groups in enumerate(seen("device", placement)):
    for feed, batch in zip(orders(), groups, strict=True):
      expected = feed.batch(step)
      assert batch.keys() == expected.keys()
      for key in expected:
        np.testing.assert_array_equal(batch[key], expected[key], err_msg=key)


@pytest.mark.parametrize("kind", ["device", "stream"])
def test_a_feed_that_goes_on_sees_what_it_would_have_seen(kind):
  placement = Placement("pmap", SEEDS, "loop", {})
  assert_equal(seen(kind, placement, 5), seen(kind, placement)[5:])


def test_processes_make_parts_that_are_the_batch_together(monkeypatch):
  placement = Placement("pmap", SEEDS, "loop", {})
  monkeypatch.setattr(jax, "process_count", lambda: 4)
  feed, seen = orders()[1], []
  for process in range(4):
    monkeypatch.setattr(jax, "process_index", lambda process=process: process)
    part = placement.part(BATCH)
    seen.append([feed.draw(step, part)["position"] for step in range(6)])
  for step in range(6):
    parts = [own[step] for own in seen]
    assert [len(own) for own in parts] == [BATCH // 4] * 4
    np.testing.assert_array_equal(np.concatenate(parts), feed.indices(step))
  # An epoch of all of them is the whole set, each example once.
  one = TrainFeed(Decoding(), seed=0, batch_size=10)
  epoch = [one.indices(step) for step in range(N // 10)]
  assert sorted(np.concatenate(epoch)) == list(range(N))


@pytest.mark.slow
def test_worker_processes_give_the_batches_of_threads_in_their_order():
  placement = Placement("pmap", SEEDS, "loop", {})
  assert_equal(seen("stream", placement, workers=2), seen("stream", placement))


def test_columns_that_all_seeds_share_are_placed_once():
  placement = Placement("pmap", SEEDS, "loop", {})
  first, second = loaders.Rows(placement, orders()).rows
  assert set(first["own"]) == {"label"}
  assert first["shared"]["image"] is second["shared"]["image"]


class Cut(Decoding):
  """A split with fewer examples than others have."""

  def __len__(self):
    return N - 7


@pytest.mark.parametrize("evaluation", [False, True])
def test_seeds_whose_splits_differ_in_size_share_one_program(evaluation):
  placement = Placement("pmap", SEEDS, "loop", {})
  sources = [Decoding(0), Cut(1)]
  made = [
    EvalFeed(source, BATCH)
    if evaluation
    else TrainFeed(source, seed=seed, batch_size=BATCH)
    for seed, source in enumerate(sources)
  ]
  feed, traced = loaders.Rows(placement, made), []

  def step(state, fixed, batch):
    traced.append(batch["index"].shape)
    return batch

  run = placement.compile(feed.over(step), ("state", "fixed", *feed.roles))
  empty = Fixed(teachers={}, data={}, numbers={})
  nothing = (
    placement.put([{"x": np.zeros(1)}] * SEEDS),
    placement.put_fixed([empty] * SEEDS),
  )
  for number, batch in enumerate(feed.batches(0, 4)):
    placed = [collected(placement, it) for it in run(*nothing, *batch)]
    for seed, found in enumerate(placed):
      expected = made[seed].batch(number)
      counts = expected["valid"]
      for key, value in expected.items():
        np.testing.assert_array_equal(
          found[key][counts], value[counts], err_msg=key
        )
  assert len(traced) == 1


def test_large_sets_are_streamed(monkeypatch):
  spec = {"x": np.zeros((4, 4), np.float32)}
  assert loaders.kind_of("auto", spec, 1000) == "device"
  monkeypatch.setattr(loaders, "CPU_BYTES", 63_999)
  assert loaders.kind_of("auto", spec, 1000) == "stream"
  assert loaders.kind_of("device", spec, 1000) == "device"
  with pytest.raises(UserError, match="stream"):
    loaders.kind_of("steam", spec, 1000)


def test_a_split_is_read_whole_in_its_order(monkeypatch):
  monkeypatch.setattr(loaders, "CHUNK", 7)
  whole = loaders.columns(Decoding())
  for key, column in Decoding().take(np.arange(N)).items():
    np.testing.assert_array_equal(whole[key], column)
  table = ArraySource({"index": np.arange(3)})
  assert loaders.columns(table)["index"] is table.columns["index"]
