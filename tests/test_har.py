"""The data set `har`: windows, people, scales; on the real recordings."""

import os
import pathlib

import numpy as np
import pytest

from kdjax.data import _har, har
from kdjax.errors import UserError

BESIDE = pathlib.Path(__file__).parents[1] / "../shared/data"
ROOT = os.environ.get("KDJAX_DATA", str(BESIDE.resolve()))
there = pytest.mark.skipif(
  not os.path.isdir(f"{ROOT}/har"), reason=f"no folder {ROOT}/har (KDJAX_DATA)"
)

SPLITS = ("train", "validation", "test")


def loaded(seed=None, **options):
  """split -> its columns."""
  return {
    split: har.load(split, seed, root=ROOT, **options).columns
    for split in SPLITS
  }


@pytest.fixture(scope="module")
def stored():
  """The windows as the folder has them, cut elsewhere from the same source."""
  with np.load(f"{ROOT}/har/windows.npz") as file:
    return dict(file)


@there
def test_windows_are_those_that_were_cut_elsewhere(stored):
  parts = loaded(standardized=False)
  assert sum(len(part["index"]) for part in parts.values()) == 3604
  for number, (split, part) in enumerate(parts.items()):
    rows = part["index"]
    assert (stored["split"][rows] == number).all(), split
    np.testing.assert_array_equal(stored["label"][rows], part["label"])
    np.testing.assert_array_equal(stored["subject"][rows] - 1, part["group"])
    for device in ("phone", "watch"):
      expected = stored[device][rows] * stored["scale"].astype(float)
      np.testing.assert_allclose(part[device], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(part["phone_acc"], part["phone"][..., :3])
    np.testing.assert_array_equal(part["phone_gyro"], part["phone"][..., 3:])


@there
@pytest.mark.parametrize(("window", "step"), [(50, 50), (100, 7), (1, 64)])
def test_other_windows_have_their_samples_and_most_frequent_label(window, step):
  whole = _har.recordings(ROOT)
  expected = []
  for number in range(0, len(whole.offsets) - 1):
    first, last = whole.offsets[number], whole.offsets[number + 1]
    for start in range(first, last - window + 1, step):
      counts = np.bincount(whole.label[start : start + window], minlength=5)
      label, share = int(counts.argmax()), counts.max() / window
      expected.append((start, number, label, share))
  found = _har.windows(ROOT, window, step)
  columns = (found.start, found.recording, found.label, found.purity)
  for column, wanted in zip(columns, zip(*expected, strict=True), strict=True):
    np.testing.assert_allclose(column, wanted, rtol=1e-12)
  options = {"window": window, "step": step, "limit": 40}
  part = har.load("test", root=ROOT, standardized=False, **options).columns
  assert part["watch"].shape == (40, window, 6)
  for row in (0, 17, 39):
    start = expected[part["index"][row]][0]
    samples = whole.watch[start : start + window] * whole.scale
    np.testing.assert_array_equal(part["watch"][row], samples)


@there
def test_purity_leaves_windows_of_two_activities_out():
  sizes = {
    split: len(part["index"]) for split, part in loaded(purity=0.75).items()
  }
  assert (sizes["train"], sizes["test"]) == (1246, 560)
  pure = loaded(purity=1.0, window=64)["train"]
  whole = _har.recordings(ROOT)
  for row in (0, len(pure["index"]) // 2, -1):
    start = _har.windows(ROOT, 64, 32).start[pure["index"][row]]
    assert {*whole.label[start : start + 64]} == {pure["label"][row]}
  with pytest.raises(UserError, match=r"purity=1\.5"):
    har.load("train", root=ROOT, purity=1.5)


@there
def test_seated_people_feel_gravity_alone():
  part = loaded(standardized=False, purity=1.0)["train"]
  seated = part["label"] == har.class_names().index("seated")
  for device in ("phone", "watch"):
    felt = np.linalg.norm(part[device][seated][..., :3].mean(axis=1), axis=1)
    assert felt.mean() == pytest.approx(9.81, abs=0.2)


@there
def test_the_fixed_people_are_those_documented():
  people = {
    split: sorted({har.group_names()[it] for it in part["group"]})
    for split, part in loaded().items()
  }
  assert people["validation"] == ["s02", "s12", "s21", "s22"]
  assert people["test"] == ["s05", "s09", "s13", "s17", "s18", "s23"]
  assert len(people["train"]) == 13


@there
def test_drawn_people_differ_by_seed_and_are_in_one_split():
  seen = set()
  for seed in range(4):
    parts = loaded(seed, people="drawn")
    people = [{*part["group"].tolist()} for part in parts.values()]
    assert [len(it) for it in people] == [13, 4, 6]
    assert set.union(*people) == set(range(23))
    seen.add(tuple(sorted(people[2])))
    index = np.concatenate([part["index"] for part in parts.values()])
    assert sorted(index.tolist()) == [*range(3604)]
  assert len(seen) == 4


@pytest.mark.parametrize(
  ("options", "draws"),
  [
    ({}, "none"),
    ({"labels_per_class": 5}, "train"),
    ({"people": "drawn"}, "all"),
    ({"people": "drawn", "labels_per_class": 5}, "all"),
  ],
)
def test_what_a_seed_draws_is_stated(options, draws):
  assert har.seed_draws(**options) == draws


@there
@pytest.mark.parametrize("people", ["fixed", "drawn"])
def test_training_people_alone_set_the_scale(people):
  raw = loaded(1, people=people, standardized=False)
  scaled = loaded(1, people=people)
  whole = _har.recordings(ROOT)
  train = {*raw["train"]["group"].tolist()}
  for device in ("phone", "watch"):
    samples = np.concatenate(
      [
        getattr(whole, device)[whole.offsets[it] : whole.offsets[it + 1]]
        for it, person in enumerate(whole.person)
        if person in train
      ]
    )
    samples = samples * whole.scale.astype(np.float64)
    for split in SPLITS:
      expected = (raw[split][device] - samples.mean(0)) / samples.std(0)
      np.testing.assert_allclose(
        scaled[split][device], expected, rtol=1e-4, atol=1e-4
      )
  np.testing.assert_array_equal(
    scaled["test"]["phone_acc"], scaled["test"]["phone"][..., :3]
  )


@there
def test_a_seed_keeps_labels_and_changes_nothing_else():
  first, second = (
    har.load("train", seed, root=ROOT, labels_per_class=5).columns
    for seed in (0, 1)
  )
  true = har.load("train", root=ROOT).columns
  for part in (first, second):
    kept = part["label"] >= 0
    assert np.bincount(part["label"][kept]).tolist() == [5] * 5
    np.testing.assert_array_equal(part["label"][kept], true["label"][kept])
    np.testing.assert_array_equal(part["watch"], true["watch"])
  assert (first["label"] != second["label"]).any()


@there
@pytest.mark.parametrize(
  ("options", "match"),
  [
    ({"window": 430}, r"window=430.*1 to 429"),
    ({"step": 0}, "step=0"),
    ({"people": "drawm"}, r"drawm.*Did you mean 'drawn'"),
  ],
)
def test_impossible_options_are_named(options, match):
  with pytest.raises(UserError, match=match):
    har.load("train", root=ROOT, **options)


def test_a_file_with_too_few_people_cannot_be_drawn_of(tmp_path):
  (tmp_path / "har").mkdir()
  count = 30
  np.savez(
    tmp_path / "har/recordings.npz",
    phone=np.ones((3 * count, 6), np.int16),
    watch=np.ones((3 * count, 6), np.int16),
    scale=np.ones(6, np.float32),
    label=np.zeros(3 * count, np.uint8),
    offsets=count * np.arange(4),
    subject=np.array([1, 2, 3], np.uint8),
    split=np.array([0, 1, 2], np.uint8),
    label_names=np.array([it.upper() for it in _har.ACTIVITIES]),
  )
  options = {"root": str(tmp_path), "window": 10, "step": 10}
  with pytest.raises(UserError, match="there are 3 people"):
    har.load("train", people="drawn", **options)
  # A channel that never changes is 0 and not NaN.
  assert not har.load("train", **options).columns["phone"].any()
