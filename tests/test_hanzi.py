"""The data set `hanzi` on the real characters."""

import collections
import csv
import gzip
import os
import pathlib

import numpy as np
import pytest

from kdjax.data import _hanzi, hanzi
from kdjax.errors import UserError
from kdjax.preprocess.words import split as words_of

BESIDE = pathlib.Path(__file__).parents[1] / "../shared/data"
ROOT = os.environ.get("KDJAX_DATA", str(BESIDE.resolve()))
there = pytest.mark.skipif(
  not os.path.isdir(f"{ROOT}/hanzi"),
  reason=f"no folder {ROOT}/hanzi (KDJAX_DATA)",
)

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def table():
  """The rows of the table, read on their own."""
  if not os.path.isdir(f"{ROOT}/hanzi"):
    pytest.skip(f"no folder {ROOT}/hanzi (KDJAX_DATA)")
  with gzip.open(f"{ROOT}/hanzi/characters.tsv.gz", "rt", encoding="utf8") as f:
    return [*csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE)]


def rows_of(table, part):
  return [table[row] for row in part["index"]]


def test_an_example_has_its_own_glyph_sound_and_gloss(table):
  import soundfile

  part = hanzi.load("validation", root=ROOT, vocabulary_size=9000).columns
  with np.load(f"{ROOT}/hanzi/glyphs.npz") as file:
    glyphs = file["glyph"]
  with np.load(f"{ROOT}/hanzi/offsets.npz") as file:
    offsets = file["offsets"]
  words = ("", "?", *hanzi.vocabulary(ROOT, 9000).words)
  for row in (0, 70, 148):
    place = int(part["index"][row])
    np.testing.assert_array_equal(part["image"][row, ..., 0], glyphs[place])
    wave, _ = soundfile.read(
      f"{ROOT}/hanzi/sounds.flac",
      start=offsets[place],
      stop=offsets[place + 1],
      dtype="float32",
    )
    size = min(len(wave), 20_000)
    np.testing.assert_array_equal(part["audio"][row, :size], wave[:size])
    assert not part["audio"][row, size:].any()
    said = [words[it] for it in part["text"][row] if it]
    for word, expected in zip(
      said, words_of(table[place]["gloss"]), strict=True
    ):
      assert word in (expected, "?")


def test_tones_are_the_tables_and_the_fifth_is_left_out(table):
  for split in SPLITS:
    part = hanzi.load(split, root=ROOT).columns
    expected = [
      row for row in table if row["split"] == split and row["tone"] != "5"
    ]
    assert rows_of(table, part) == expected
    tones = [int(row["tone"]) - 1 for row in expected]
    assert part["label"].tolist() == tones


def test_radicals_are_the_commonest_of_training_in_their_order(table):
  counts = collections.Counter(
    row["radical"] for row in table if row["split"] == "train"
  )
  commonest = [radical for radical, _ in counts.most_common(12)]
  assert commonest == [*_hanzi.RADICALS]
  sizes = []
  for split in SPLITS:
    part = hanzi.load(split, root=ROOT, task="radical").columns
    sizes.append(len(part["label"]))
    found = [row["radical"] for row in rows_of(table, part)]
    assert found == [commonest[label] for label in part["label"]]
  assert sizes == [493, 54, 122]
  assert len(hanzi.class_names(task="radical")) == 12


def test_no_syllable_is_in_two_splits(table):
  seen = [
    {row["syllable"] for row in rows_of(table, part)}
    for part in (hanzi.load(split, root=ROOT).columns for split in SPLITS)
  ]
  assert sum(map(len, seen)) == len(set.union(*seen))


@there
def test_smaller_glyphs_are_means_of_squares():
  large = hanzi.load("test", root=ROOT, limit=50).columns["image"].astype(float)
  for size in (32, 4):
    step = 64 // size
    small = hanzi.load("test", root=ROOT, limit=50, size=size).columns["image"]
    assert small.shape[1:] == hanzi.spec(size=size)["image"].shape
    expected = np.mean(
      [large[:, i::step, j::step] for i in range(step) for j in range(step)],
      axis=0,
    )
    assert np.abs(small - expected).max() <= 0.51


@there
def test_no_gloss_is_cut_and_two_recordings_in_a_hundred_are():
  whole = _hanzi.hanzi(ROOT)
  assert max(len(words_of(gloss)) for gloss in whole.gloss) <= 16
  lengths = np.diff(whole.offsets)
  assert (lengths > 20_000).mean() == pytest.approx(0.02, abs=0.005)


@there
def test_a_voice_is_the_recording_again_and_changes_nothing_else():
  plain = hanzi.load("test", root=ROOT, seconds=0.5, limit=20).columns
  twice = hanzi.load("test", root=ROOT, seconds=0.5, limit=20, voice=True)
  assert twice.columns.keys() - plain.keys() == {"voice"}
  assert twice.columns.keys() == hanzi.spec(voice=True).keys()
  np.testing.assert_array_equal(twice.columns["voice"], plain["audio"])
  assert plain["audio"].shape == (20, 8000)


@there
def test_a_seed_keeps_labels_of_training_alone():
  first, second = (
    hanzi.load("train", seed, root=ROOT, labels_per_class=5).columns["label"]
    for seed in (0, 1)
  )
  assert np.bincount(first[first >= 0]).tolist() == [5] * 4
  assert (first != second).any()
  assert hanzi.load("test", 3, root=ROOT, labels_per_class=5).labelled.all()


@pytest.mark.parametrize(
  ("options", "match"),
  [
    ({"task": "tones"}, r"tones.*Did you mean 'tone'"),
    ({"size": 48}, r"size=48.*16, 32, 4, 64, 8"),
    ({"seconds": 0.0}, "seconds"),
  ],
)
def test_impossible_options_are_named(options, match):
  root = ROOT if os.path.isdir(f"{ROOT}/hanzi") else "/no/folder"
  if "seconds" in options and root != ROOT:
    pytest.skip(f"no folder {ROOT}/hanzi (KDJAX_DATA)")
  with pytest.raises(UserError, match=match):
    hanzi.load("train", root=root, **options)


def test_files_that_do_not_fit_together_are_named(tmp_path):
  import soundfile

  folder = tmp_path / "hanzi"
  folder.mkdir()
  head = "character\ttone\tradical\tgloss\tsplit\n"
  rows = "一\t1\t一\tone\ttrain\n二\t4\t二\ttwo\ttest\n"
  (folder / "characters.tsv.gz").write_bytes(gzip.compress(head.encode()))
  np.savez(folder / "glyphs.npz", glyph=np.zeros((2, 64, 64), np.uint8))
  np.savez(folder / "offsets.npz", offsets=np.array([0, 50, 90]))
  soundfile.write(folder / "sounds.flac", np.zeros(100), 16000)
  for content, match in (
    (head, "no column character, tone"),
    (head + rows, r"2 characters.*2 glyphs, 2 recordings of 90.* 100 samples"),
    (head + rows.replace("\t4\t", "\tfour\t"), "tone that is none"),
  ):
    packed = gzip.compress(content.encode())
    (folder / "characters.tsv.gz").write_bytes(packed)
    if "four" in content:
      soundfile.write(folder / "sounds.flac", np.zeros(90), 16000)
    with pytest.raises(UserError, match=match):
      hanzi.load("train", root=str(tmp_path))
    _hanzi.hanzi.cache_clear()
