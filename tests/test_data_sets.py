"""The real data sets hold what is documented; skipped without their files.

The files are looked for in $KDJAX_DATA, else in ../shared/data next to the
project.
"""

import collections
import gzip
import json
import os
import pathlib
import pickle
import re
import shutil

import checkpoints
import numpy as np
import pytest

from kdjax import registry
from kdjax.data import (
  _fsdd,
  _noise,
  _pca,
  _subset,
  avmnist,
  cifar100,
  emoji,
  fsdd,
  mnist,
  sst2,
)
from kdjax.errors import UserError
from kdjax.preprocess.words import UNKNOWN
from kdjax.preprocess.words import split as words_of

BESIDE = pathlib.Path(__file__).parents[1] / "../shared/data"
ROOT = os.environ.get("KDJAX_DATA", str(BESIDE.resolve()))
HERE = os.path.isdir(ROOT)
there = pytest.mark.skipif(not HERE, reason=f"no folder {ROOT} (KDJAX_DATA)")

SPLITS = ("train", "validation", "test")
SETS = {
  "mnist": (55_000, 5_000, 10_000),
  "cifar100": (45_000, 5_000, 10_000),
  "fsdd": (2_400, 300, 300),
  "avmnist": (55_000, 5_000, 10_000),
  "sst2": (6_920, 872, 1_821),
  "emoji": (1_329, 152, 163),
  "hanzi": (1_231, 149, 339),
  "har": (2_043, 632, 929),
}


def whole(name, key, **options):
  """A column of the three splits, one after the other."""
  load = registry.find("data", name).load
  parts = [load(split, root=ROOT, **options) for split in SPLITS]
  return np.concatenate([part.columns[key] for part in parts])


def mean_and_deviation(parts):
  """Of bytes / 255, by how often each is there: no float copy of a set."""
  counts = sum(np.bincount(part.ravel(), minlength=256) for part in parts)
  values = np.arange(256) / 255
  mean = counts @ values / counts.sum()
  return mean, np.sqrt(counts @ values**2 / counts.sum() - mean**2)


@pytest.fixture(params=SETS)
def name(request):
  return request.param


# Every set


@pytest.mark.slow
@there
def test_the_splits_are_as_large_as_documented(name):
  load = registry.find("data", name).load
  sizes = tuple(len(load(split, root=ROOT)) for split in SPLITS)
  assert sizes == SETS[name]


@there
@pytest.mark.parametrize("split", SPLITS)
def test_examples_are_what_the_spec_says(name, split):
  module = registry.find("data", name)
  source, spec = module.load(split, root=ROOT), module.spec(root=ROOT)
  taken = source.take(np.array([3, 0, len(source) - 1, 3]))
  assert taken.keys() == spec.keys()
  for key, leaf in spec.items():
    assert taken[key].shape == (4, *leaf.shape), key
    assert taken[key].dtype == leaf.dtype, key
    for row, position in enumerate([3, 0, len(source) - 1, 3]):
      np.testing.assert_array_equal(taken[key][row], source[position][key])


@there
def test_an_index_is_of_one_example_over_all_splits(name):
  index = whole(name, "index")
  assert len(np.unique(index)) == len(index) == sum(SETS[name])


@there
@pytest.mark.parametrize("split", SPLITS)
def test_every_class_is_in_every_split(name, split):
  module = registry.find("data", name)
  source = module.load(split, root=ROOT)
  classes = len(module.class_names(root=ROOT))
  counts = np.bincount(source.labels, minlength=classes)
  assert len(counts) == classes and source.labelled.all()
  # Two of the eight flags are neither for validation nor for test.
  assert (counts > 0).sum() >= classes - (name == "emoji")


@there
def test_loading_again_and_from_a_pickle_gives_the_same(name):
  load = registry.find("data", name).load
  source, again = load("test", root=ROOT), load("test", 5, root=ROOT)
  sent = pickle.loads(pickle.dumps(source))
  positions = np.array([7, 2, 2])
  expected = source.take(positions)
  for other in (again, sent):
    assert len(other) == len(source)
    for key, column in other.take(positions).items():
      np.testing.assert_array_equal(column, expected[key], err_msg=key)


@there
def test_a_limit_takes_examples_that_are_there_and_every_class_its_share(name):
  load = registry.find("data", name).load
  source = load("train", root=ROOT)
  few, fewer = (load("train", root=ROOT, limit=count) for count in (600, 120))
  assert len(few) == 600 and len(fewer) == 120
  index = {*few.columns["index"].tolist()}
  assert {*fewer.columns["index"].tolist()} < index
  assert index <= {*source.columns["index"].tolist()}
  shares = [np.bincount(one.labels, minlength=100) for one in (source, few)]
  expected = shares[0] / len(source) * len(few)
  assert np.abs(shares[1] - expected).max() < 2


@there
def test_train_size_limits_training_alone():
  for name in ("mnist", "cifar100", "avmnist", "sst2"):
    load = registry.find("data", name).load
    sizes = [len(load(split, root=ROOT, train_size=200)) for split in SPLITS]
    assert sizes == [200, *SETS[name][1:]]


def test_a_missing_file_is_named_with_its_source_and_the_option(name, tmp_path):
  load = registry.find("data", name).load
  for root in ("", str(tmp_path)):
    with pytest.raises(UserError, match=r"root='.*(gz|npz|zip).*github|goog"):
      load("train", root=root)


def test_an_option_that_there_is_not_is_answered_with_those_there_are(name):
  module = registry.find("data", name)
  for ask in (module.spec, module.class_names):
    with pytest.raises(UserError, match=r"'limti'.*limit"):
      ask(limti=3)


def test_a_number_below_zero_and_another_split_are_mistakes(name):
  load = registry.find("data", name).load
  with pytest.raises(UserError, match="limit=-1"):
    load("train", limit=-1)
  with pytest.raises(UserError, match=r"'tets'.*There are: .*test"):
    load("tets")


# MNIST


@there
def test_mnist_has_its_known_counts_and_first_digits():
  train = mnist.load("train", root=ROOT).labels
  validation = mnist.load("validation", root=ROOT).labels
  test = mnist.load("test", root=ROOT).labels
  published = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
  known = np.bincount(np.concatenate([train, validation]))
  np.testing.assert_array_equal(known, published)
  published = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
  np.testing.assert_array_equal(np.bincount(test), published)
  assert train[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
  assert test[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]


@there
def test_mnist_trains_on_all_60000_and_leaves_digits_out():
  whole = mnist.load("train", root=ROOT, validation=False)
  assert len(whole) == 60_000 and len(set(whole.index.tolist())) == 60_000
  held = mnist.load("validation", root=ROOT)
  np.testing.assert_array_equal(whole.labels[55_000:], held.labels)
  np.testing.assert_array_equal(whole.index[55_000:], held.index)
  for all_of_them in (False, True):
    options = {"root": ROOT, "validation": not all_of_them}
    part = mnist.load("train", left_out=(3, 7), **options)
    full = mnist.load("train", **options)
    kept = ~np.isin(full.labels, (3, 7))
    np.testing.assert_array_equal(part.index, full.index[kept])
    assert 3 in mnist.load("test", left_out=(3, 7), **options).labels
  with pytest.raises(UserError, match="left_out has 'three'"):
    mnist.load("train", root=ROOT, left_out=("three",))


def test_mnist_has_its_known_mean_and_deviation():
  parts = [mnist.load(s, root=ROOT).columns["image"] for s in SPLITS[:2]]
  mean, deviation = mean_and_deviation([part[..., 0] for part in parts])
  assert mean == pytest.approx(0.1307, abs=5e-5)
  assert deviation == pytest.approx(0.3081, abs=5e-5)


@there
def test_what_is_kept_in_memory_cannot_be_written_into():
  for source in (
    mnist.load("test", root=ROOT),
    cifar100.load("test", root=ROOT),
  ):
    with pytest.raises(ValueError, match="read-only"):
      source.columns["image"][0] = 0


@there
@pytest.mark.parametrize(
  "change",
  [
    lambda raw: raw[:5000],
    lambda raw: gzip.compress(b"\x00\x00\x08\x03nothing"),
    lambda raw: gzip.compress(gzip.decompress(raw)[:-1]),
    lambda raw: b"no gzip",
  ],
)
def test_a_broken_file_of_mnist_is_named(change, tmp_path):
  shutil.copytree(f"{ROOT}/mnist", tmp_path / "mnist")
  path = tmp_path / "mnist/t10k-labels-idx1-ubyte.gz"
  path.chmod(0o644)
  raw = path.read_bytes()
  path.unlink()
  path.write_bytes(change(raw)[: len(raw) - 1])
  with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte\.gz"):
    mnist.load("test", root=str(tmp_path))


# CIFAR-100


@there
def test_cifar100_has_its_known_mean_and_deviation():
  parts = [cifar100.load(s, root=ROOT).columns["image"] for s in SPLITS[:2]]
  known = [(0.5071, 0.2673), (0.4865, 0.2564), (0.4409, 0.2762)]
  for channel, expected in enumerate(known):
    actual = mean_and_deviation([part[..., channel] for part in parts])
    np.testing.assert_allclose(actual, expected, atol=5e-5)


@there
def test_cifar100_names_and_groups_are_the_published_ones():
  known = json.loads(pathlib.Path(ROOT, "cifar100/labels.json").read_text())
  assert list(cifar100.class_names()) == known["fine"]
  assert list(cifar100.class_names(coarse=True)) == known["coarse"]
  assert cifar100.groups().tolist() == known["fine_to_coarse"]


@there
def test_cifar100_classes_are_of_one_size_in_every_split():
  for split, size in zip(SPLITS, (450, 50, 100), strict=True):
    labels = cifar100.load(split, root=ROOT).labels
    assert np.bincount(labels).tolist() == [size] * 100
  labels = cifar100.load("train", root=ROOT, limit=2000).labels
  assert np.bincount(labels).tolist() == [20] * 100


@there
def test_cifar100_tiles_are_whole_images():
  import io
  import zipfile

  from PIL import Image

  with zipfile.ZipFile(f"{ROOT}/cifar100/cifar100-test.zip") as archive:
    raw = archive.read("test/099_worm_0.webp")
  sheet = Image.open(io.BytesIO(raw))
  columns = cifar100.load("test", root=ROOT).columns
  for number in (0, 24, 25, 99):
    down, right = divmod(number, 25)
    box = (32 * right, 32 * down, 32 * right + 32, 32 * down + 32)
    expected = np.asarray(sheet.crop(box).convert("RGB"))
    np.testing.assert_array_equal(columns["image"][9900 + number], expected)
    assert columns["label"][9900 + number] == 99
    assert columns["index"][9900 + number] == 59_900 + number


@there
def test_cifar100_groups_as_labels_change_nothing_else():
  fine = cifar100.load("validation", root=ROOT).columns
  coarse = cifar100.load("validation", root=ROOT, coarse=True).columns
  np.testing.assert_array_equal(fine["index"], coarse["index"])
  np.testing.assert_array_equal(fine["image"], coarse["image"])
  expected = cifar100.groups()[fine["label"]]
  np.testing.assert_array_equal(coarse["label"], expected)


@there
def test_cifar100_can_train_on_all_and_validate_on_some_of_them():
  options = {"validation": 100, "keep_validation_in_train": True}
  load = lambda split: cifar100.load(split, root=ROOT, **options)
  assert len(load("train")) == 50_000 and len(load("test")) == 10_000
  validation = load("validation")
  assert np.bincount(validation.labels).tolist() == [1] * 100
  example = validation[17]
  same = load("train")[int(example["index"])]
  np.testing.assert_array_equal(same["image"], example["image"])
  assert same["index"] == example["index"]


@pytest.mark.parametrize("count", [0, 99, 50_000])
def test_cifar100_never_goes_without_validation(count):
  with pytest.raises(UserError, match=f"validation={count}"):
    cifar100.load("validation", validation=count)


# Spoken digits


@there
def test_fsdd_recordings_have_their_known_lengths():
  found = _fsdd.recordings(ROOT)
  lengths = np.diff(found.offsets)
  assert len(lengths) == 3000
  assert (lengths.min(), lengths.max()) == (1148, 18262)
  assert np.median(lengths) == pytest.approx(3358, abs=0.5)
  assert (lengths < 7362).mean() == pytest.approx(0.99, abs=0.002)


@there
def test_fsdd_is_cut_after_a_second_or_ends_in_zeros():
  found = np.load(f"{ROOT}/fsdd/fsdd.npz")
  lengths = np.diff(found["offsets"])
  audio, index = whole("fsdd", "audio"), whole("fsdd", "index")
  for place in (lengths.argmax(), lengths.argmin(), 1234):
    (row,) = np.flatnonzero(index == place)
    start, stop = found["offsets"][place : place + 2]
    said = found["waveform"][start:stop][:8000]
    np.testing.assert_array_equal(audio[row][: len(said)], said)
    assert not audio[row][len(said) :].any()


@there
def test_fsdd_tests_on_its_official_recordings():
  found = np.load(f"{ROOT}/fsdd/fsdd.npz")
  index = fsdd.load("test", root=ROOT).columns["index"]
  np.testing.assert_array_equal(index, np.flatnonzero(found["is_test"]))
  for split, size in zip(SPLITS, (240, 30, 30), strict=True):
    labels = fsdd.load(split, root=ROOT).labels
    assert np.bincount(labels).tolist() == [size] * 10


@there
@pytest.mark.parametrize(
  ("options", "test", "validation"),
  [
    ({"held_out": "theo"}, {"theo"}, {"yweweler"}),
    ({"held_out": "yweweler"}, {"yweweler"}, {"george"}),
    ({"held_out": "theo, lucas"}, {"theo", "lucas"}, {"yweweler"}),
    (
      {"held_out": "theo", "validation_speaker": "lucas"},
      {"theo"},
      {"lucas"},
    ),
  ],
)
def test_a_speaker_held_out_is_heard_in_the_test_alone(
  options, test, validation
):
  found = np.load(f"{ROOT}/fsdd/fsdd.npz")
  heard = {}
  for split in SPLITS:
    index = fsdd.load(split, root=ROOT, **options).columns["index"]
    names = found["speaker_names"][found["speaker"][index]]
    heard[split] = collections.Counter(names.tolist())
  assert heard["test"].keys() == test
  assert heard["validation"].keys() == validation
  everybody = {*found["speaker_names"].tolist()}
  assert heard["train"].keys() == everybody - test - validation
  assert {*(sum(heard.values(), collections.Counter())).values()} == {500}


@pytest.mark.parametrize(
  "options",
  [
    {"held_out": "teo"},
    {"validation_speaker": "theo"},
    {"held_out": "theo", "validation_speaker": "theo"},
    {"held_out": "george,jackson,lucas,nicolas,theo"},
    {"held_out": "george,jackson,lucas,nicolas,theo,yweweler"},
  ],
)
def test_speakers_that_cannot_be_are_mistakes(options):
  for load in (fsdd.load, avmnist.load):
    with pytest.raises(UserError, match="speaker"):
      load("train", root=ROOT, **options)


# AV-MNIST


@there
def test_three_components_keep_23_percent_of_the_variance():
  found = _pca.components(ROOT, "files", 0.25)
  assert len(found.rows) == 3
  np.testing.assert_allclose(found.kept, [0.097, 0.168, 0.230], atol=1e-3)


@there
def test_images_are_what_scikit_learn_makes_of_them():
  from sklearn.decomposition import PCA

  images = mnist.load("train", root=ROOT).columns["image"].reshape(-1, 784)
  # PCA with the 784 x 784 matrix; the signs of components cancel out.
  pca = PCA(3, svd_solver="covariance_eigh").fit(images.astype(np.float32))
  for split in ("train", "test"):
    raw = mnist.load(split, root=ROOT).columns["image"][:50].reshape(-1, 784)
    expected = pca.transform(raw.astype(float)) @ pca.components_ / 255
    image = avmnist.load(split, root=ROOT).take(np.arange(50))["image"]
    np.testing.assert_allclose(image.reshape(-1, 784), expected, atol=2e-4)


@there
def test_more_energy_leaves_more_of_an_image():
  left = []
  for energy in (0.1, 0.25, 0.5):
    source = avmnist.load("test", root=ROOT, energy=energy, limit=200)
    left.append(source.take(np.arange(200))["image"].var(axis=0).sum())
  assert left[0] < left[1] < left[2]
  with pytest.raises(UserError, match=r"energy=0\.01"):
    avmnist.load("test", root=ROOT, energy=0.01)


@there
@pytest.mark.parametrize("split", SPLITS)
def test_image_and_speech_are_of_one_digit(split):
  columns = avmnist.load(split, root=ROOT).columns
  found = np.load(f"{ROOT}/fsdd/fsdd.npz")
  np.testing.assert_array_equal(
    found["label"][columns["recording"]], columns["label"]
  )
  truth = mnist.load(split, root=ROOT).columns
  np.testing.assert_array_equal(truth["index"], columns["index"])
  np.testing.assert_array_equal(truth["label"], columns["label"])


@there
def test_recordings_of_a_digit_are_used_alike_and_in_one_split():
  used = {}
  for split in SPLITS:
    columns = avmnist.load(split, root=ROOT).columns
    used[split] = {*columns["recording"].tolist()}
    for digit in range(10):
      own = columns["recording"][columns["label"] == digit]
      _, times = np.unique(own, return_counts=True)
      assert times.max() - times.min() <= 1
  assert [len(used[split]) for split in SPLITS] == [2400, 300, 300]
  assert len(set.union(*used.values())) == 3000


@there
def test_no_noise_is_in_two_splits():
  found = np.load(f"{ROOT}/esc10_noise/noise50_8k.npz")
  own = {split: _noise.noises(ROOT, split) for split in SPLITS}
  assert [len(own[split]) for split in SPLITS] == [30, 10, 10]
  clips = zip(found["waveform"], found["fold"], strict=True)
  folds = {clip.tobytes(): fold for clip, fold in clips}
  heard = {s: {int(folds[c.tobytes()]) for c in own[s]} for s in SPLITS}
  assert heard == {"train": {1, 2, 3}, "validation": {4}, "test": {5}}


@there
def test_speech_without_noise_is_the_recording():
  source = avmnist.load("test", root=ROOT, noise="none", limit=40)
  audio = source.take(np.arange(40))["audio"]
  spoken = fsdd.load("test", root=ROOT).columns
  place = {index: row for row, index in enumerate(spoken["index"].tolist())}
  for row, recording in enumerate(source.columns["recording"].tolist()):
    np.testing.assert_array_equal(audio[row], spoken["audio"][place[recording]])


@there
@pytest.mark.parametrize("snr", [0.0, 10.0])
def test_noise_has_the_signal_to_noise_ratio_of_the_option(snr):
  load = lambda **options: avmnist.load("test", root=ROOT, limit=60, **options)
  clean = load(noise="none")
  speech = clean.take(np.arange(60))["audio"].astype(float)
  noisy = load(snr=snr).take(np.arange(60))["audio"].astype(float)
  offsets = np.load(f"{ROOT}/fsdd/fsdd.npz")["offsets"]
  lengths = np.diff(offsets)[clean.columns["recording"]].clip(max=8000)
  power = (speech**2).sum(axis=1) / lengths
  measured = 10 * np.log10(power / ((noisy - speech) ** 2).mean(axis=1))
  # A noise of few loud moments is cut off where int16 ends.
  fits = np.abs(noisy).max(axis=1) < 32767
  assert fits.sum() > 50
  np.testing.assert_allclose(measured[fits], snr, atol=0.05)


@there
def test_noise_by_power_is_the_clip_times_that():
  load = lambda **options: avmnist.load("test", root=ROOT, limit=9, **options)
  clean = load(noise="none").take(np.arange(9))["audio"].astype(float)
  source = load(noise="power", noise_power=0.25)
  noisy = source.take(np.arange(9))["audio"]
  clips = np.load(f"{ROOT}/esc10_noise/noise50_8k.npz")
  own = clips["waveform"][clips["fold"] == 5].astype(float)
  for row in range(9):
    start = source.columns["start"][row]
    piece = own[source.columns["noise"][row]][start : start + 8000]
    expected = np.clip(clean[row] + 0.25 * piece, -32768, 32767)
    assert np.abs(noisy[row] - expected).max() <= 0.5


@there
def test_an_example_is_the_same_whatever_is_taken_with_it():
  source = avmnist.load("train", root=ROOT)
  positions = np.random.default_rng(0).integers(len(source), size=64)
  together = source.take(positions)
  for row in (0, 31, 63):
    for key, value in source[int(positions[row])].items():
      np.testing.assert_array_equal(value, together[key][row], err_msg=key)


@there
def test_pairs_are_drawn_by_pair_seed_and_by_nothing_else():
  load = lambda seed=None, **options: avmnist.load(
    "train", seed, root=ROOT, **options
  ).columns["recording"]
  first = load()
  np.testing.assert_array_equal(first, load(3, noise="none", energy=0.5))
  other = load(pair_seed=1)
  assert (first != other).mean() > 0.9
  few = avmnist.load("train", root=ROOT, train_size=500).columns
  np.testing.assert_array_equal(few["recording"], first[few["index"]])


@there
def test_few_labels_are_kept_by_the_seed_in_training_alone():
  load = lambda seed: avmnist.load(
    "train", seed, root=ROOT, train_size=1000, labels_per_class=5
  )
  first, again, other = load(1), load(1), load(2)
  assert np.bincount(first.labels[first.labelled]).tolist() == [5] * 10
  np.testing.assert_array_equal(first.labels, again.labels)
  assert (first.labelled != other.labelled).any()
  truth = avmnist.load("train", root=ROOT, train_size=1000).labels
  np.testing.assert_array_equal(
    first.labels, np.where(first.labelled, truth, -1)
  )
  assert avmnist.load("test", root=ROOT, labels_per_class=5).labelled.all()
  with pytest.raises(UserError, match="labels_per_class=5000"):
    avmnist.load("train", root=ROOT, train_size=1000, labels_per_class=5000)


@there
def test_a_held_out_speaker_of_avmnist_is_heard_in_the_test_alone():
  speaker = np.load(f"{ROOT}/fsdd/fsdd.npz")["speaker"]
  heard = [
    {*speaker[avmnist.load(s, root=ROOT, held_out="theo").columns["recording"]]}
    for s in SPLITS
  ]
  assert heard == [{0, 1, 2, 3}, {5}, {4}]


@there
def test_avmnist_sends_workers_the_recordings_and_not_the_pairs():
  source = avmnist.load("train", root=ROOT)
  assert len(pickle.dumps(source)) < 30e6 < 55_000 * 8000


def test_a_choice_of_avmnist_that_there_is_not_is_answered():
  with pytest.raises(UserError, match=r"noise='snrr'.*Did you mean|There are"):
    avmnist.load("train", noise="snrr")
  with pytest.raises(UserError, match=r"mnist='flies'.*files"):
    avmnist.load("train", mnist="flies")


def test_a_piece_of_noise_is_never_where_a_clip_is_silent():
  clips = np.zeros((2, 40_000), np.int16)
  clips[:, 30_000:31_000] = 1000
  drawn = _noise.drawn(clips, 500, 8000, np.random.default_rng(0))
  for which, start, power in zip(*drawn, strict=True):
    piece = clips[which, start : start + 8000].astype(float)
    assert power == pytest.approx((piece**2).mean()) and power > 0
  assert {*drawn[0].tolist()} == {0, 1}


# MNIST by TFDS


@there
def test_mnist_by_tfds_holds_the_same_images(monkeypatch, tmp_path):
  # The whole takes half a minute to write; what is read is a data source.
  from kdjax.data import _mnist, _tfds

  whole = {
    half: _mnist._whole(ROOT, "files", half) for half in ("train", "test")
  }

  def source(name, root, split):
    assert (name, root) == ("mnist", str(tmp_path))
    images, labels = whole[split]
    return [
      {"image": image[..., None], "label": int(label)}
      for image, label in zip(images[::-1], labels[::-1], strict=True)
    ]

  monkeypatch.setattr(_tfds, "source", source)
  columns = mnist.load("test", root=str(tmp_path), mnist="tfds").columns
  files = mnist.load("test", root=ROOT).columns
  np.testing.assert_array_equal(columns["image"], files["image"][::-1])
  np.testing.assert_array_equal(columns["label"], files["label"][::-1])


def test_what_tfds_says_is_passed_on(monkeypatch, tmp_path):
  from kdjax.data import _tfds

  class Builder:
    def is_prepared(self):
      return False

    def download_and_prepare(self):
      raise ConnectionError("no network here")

  monkeypatch.setattr(_tfds, "_built", lambda *_, **__: Builder())
  with pytest.raises(UserError, match=r"TFDS cannot.*no network here"):
    mnist.load("test", root=str(tmp_path), mnist="tfds")


# Sentences


@there
def test_sst2_has_its_known_counts():
  for split, counts in zip(
    SPLITS, ([3310, 3610], [428, 444], [912, 909]), strict=True
  ):
    labels = sst2.load(split, root=ROOT).labels
    assert np.bincount(labels).tolist() == counts


@there
def test_few_labels_of_sst2_are_of_what_trains_and_the_same_for_all_seeds():
  load = lambda split="train", seed=None: sst2.load(
    split, seed, root=ROOT, train_size=200, labels_per_class=15
  )
  few = load()
  assert np.bincount(few.labels[few.labelled]).tolist() == [15, 15]
  truth = sst2.load("train", root=ROOT, train_size=200).labels
  np.testing.assert_array_equal(few.labels, np.where(few.labelled, truth, -1))
  np.testing.assert_array_equal(few.labels, load(seed=3).labels)
  assert load("test").labelled.all()
  with pytest.raises(UserError, match="labels_per_class=1000"):
    sst2.load("train", root=ROOT, train_size=200, labels_per_class=1000)


@there
def test_sst2_ids_are_the_words_of_the_line():
  with gzip.open(f"{ROOT}/sst2/test.tsv.gz", "rt", encoding="utf-8") as lines:
    expected = lines.read().split("\n")[1:-1]
  source = sst2.load("test", root=ROOT, vocabulary_size=20_000)
  names = ("", "", *sst2.vocabulary(ROOT, 20_000).words)
  for row in (0, 700, 1820):
    example = source[row]
    label, sentence = expected[row].split("\t")
    assert int(label) == example["label"]
    said = words_of(sentence)
    assert (
      example["mask/text"].sum() == len(said) == (example["text"] > 0).sum()
    )
    for number, word in zip(example["text"], said, strict=False):
      assert number == UNKNOWN or names[number] == word


@there
@pytest.mark.parametrize("size", [500, 20_000])
def test_vocabularies_know_training_alone_and_have_their_size(size):
  for name in ("sst2", "emoji"):
    module = registry.find("data", name)
    words = {*module.vocabulary(ROOT, size).words}
    if name == "sst2":
      texts, others = (sst2.sentences(ROOT, s)[0] for s in ("train", "test"))
    else:
      found = emoji.emoji(ROOT)
      texts, others = (
        [t for t, s in zip(found.texts, found.split, strict=True) if s == split]
        for split in ("train", "test")
      )
    known = {word for text in texts for word in words_of(text)}
    unseen = {word for text in others for word in words_of(text)} - known
    assert unseen and not words & unseen
    assert len(words) == min(size - 2, len(known)) and words <= known
    columns = module.load("test", root=ROOT, vocabulary_size=size).columns
    assert columns["text"].max() < size
    assert (columns["text"] == UNKNOWN).any()


@there
def test_no_text_of_training_is_cut():
  texts = {
    "sst2": sst2.sentences(ROOT, "train")[0],
    "emoji": emoji.emoji(ROOT).texts,
  }
  for name, found in texts.items():
    (length,) = registry.find("data", name).spec()["text"].shape
    assert max(len(words_of(text)) for text in found) <= length


@there
def test_a_line_of_sst2_that_cannot_be_read_is_named(tmp_path):
  folder = tmp_path / "sst2"
  folder.mkdir()
  for name in ("train", "dev", "test"):
    text = "label\tsentence\n1\tgood .\n2\tbad .\n"
    (folder / f"{name}.tsv.gz").write_bytes(gzip.compress(text.encode()))
  with pytest.raises(UserError, match=r"train.tsv.gz', line 3.*2\tbad"):
    sst2.load("train", root=str(tmp_path))


# Texts that a pretrained network reads


WORDS = ("sst2", "emoji")


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
  """A folder with a tokenizer of a few words."""
  folder = tmp_path_factory.mktemp("tokenizer")
  checkpoints.tokenizer(folder)
  return str(folder)


def texts_of(name, split):
  """The texts of a split, in the order of its examples."""
  if name == "sst2":
    return sst2.sentences(ROOT, split)[0]
  found = emoji.emoji(ROOT)
  pairs = zip(found.texts, found.split, strict=True)
  return [text for text, own in pairs if own == split]


@there
@pytest.mark.parametrize("name", WORDS)
def test_pieces_are_what_the_tokenizer_makes_of_the_same_text(name, reader):
  module = registry.find("data", name)
  source = module.load("validation", root=ROOT, tokenizer=reader, pieces=7)
  ids, mask = source.columns["pieces"], source.columns["mask/pieces"]
  assert (ids.dtype, mask.dtype) == (np.int32, bool)
  known = dict(zip(checkpoints.WORDS, range(4, 99), strict=False))
  for row, text in enumerate(texts_of(name, "validation")):
    # It splits where letters, digits and _ end, and marks between them.
    said = re.findall(r"\w+|[^\w\s]+", text.lower())[:5]
    said = [known.get(word, checkpoints.UNKNOWN) for word in said]
    whole = [checkpoints.START, *said, checkpoints.END]
    assert ids[row, : len(whole)].tolist() == whole, text
    assert (ids[row, len(whole) :] == checkpoints.PADDING).all()
    np.testing.assert_array_equal(mask[row], np.arange(7) < len(whole))
  assert (ids > checkpoints.END).any()


@there
@pytest.mark.parametrize("name", WORDS)
def test_pieces_come_beside_words_and_change_nothing_else(name, reader):
  module = registry.find("data", name)
  options = {"root": ROOT, "limit": 30, "length": 9}
  plain = module.load("train", **options)
  both = module.load("train", **options, tokenizer=reader, pieces=6)
  assert both.columns.keys() - plain.columns.keys() == {
    "pieces",
    "mask/pieces",
  }
  for key, column in plain.columns.items():
    np.testing.assert_array_equal(both.columns[key], column, err_msg=key)


@there
@pytest.mark.parametrize("name", WORDS)
def test_the_spec_of_pieces_is_that_of_the_examples(name, reader):
  module = registry.find("data", name)
  options = {"root": ROOT, "tokenizer": reader, "pieces": 6, "limit": 20}
  source, spec = module.load("test", **options), module.spec(**options)
  assert source.columns.keys() == spec.keys()
  for key, leaf in spec.items():
    column = source.columns[key]
    assert (column.shape[1:], column.dtype) == (leaf.shape, leaf.dtype), key
  assert "pieces" not in module.spec(root=ROOT, pieces=6)


@there
@pytest.mark.parametrize("name", WORDS)
def test_ids_of_pieces_are_those_of_the_tokenizer(name, reader):
  module = registry.find("data", name)
  known = 4 + len(checkpoints.WORDS)
  found = module.ids(root=ROOT, tokenizer=reader)
  assert found == {"text": module.ids(root=ROOT)["text"], "pieces": known}


@there
@pytest.mark.parametrize("name", WORDS)
def test_a_tokenizer_that_is_not_there_is_named(name, tmp_path):
  with pytest.raises(UserError, match=f"No tokenizer '{tmp_path}'"):
    registry.find("data", name).load("test", root=ROOT, tokenizer=str(tmp_path))


# Emoji


def emoji_meta():
  raw = pathlib.Path(ROOT, "emoji/meta.json.gz").read_bytes()
  return json.loads(gzip.decompress(raw))


@there
def test_emoji_groups_have_their_known_counts():
  labels = whole("emoji", "label")
  known = [85, 159, 8, 131, 264, 386, 169, 224, 218]
  assert np.bincount(labels).tolist() == known
  assert emoji_meta()["groups"] == list(emoji.class_names())


@there
def test_an_emoji_has_its_own_image_and_words():
  from PIL import Image

  items = emoji_meta()["items"]
  sheet = Image.open(f"{ROOT}/emoji/sheet.webp").convert("RGB")
  source = emoji.load("validation", root=ROOT, vocabulary_size=20_000)
  names = ("", "?", *emoji.vocabulary(ROOT, 20_000).words)
  for row in (0, 80, 151):
    example = source[row]
    item = items[int(example["index"])]
    down, right = divmod(int(example["index"]), 25)
    box = (64 * right, 64 * down, 64 * right + 64, 64 * down + 64)
    expected = np.asarray(sheet.crop(box))
    np.testing.assert_array_equal(example["image"], expected)
    assert (
      item["split"] in ("val", "validation")
      and item["group"] == example["label"]
    )
    said = [names[number] for number in example["text"] if number]
    for word, expected in zip(said, words_of(item["name"]), strict=False):
      assert word in (expected, "?")


@there
def test_names_and_keywords_of_emoji_are_texts_apart():
  options = {"root": ROOT, "apart": True, "length": 6}
  source, spec = emoji.load("test", **options), emoji.spec(**options)
  assert source.columns.keys() == spec.keys()
  readers, ids = emoji.readers(**options), emoji.ids(**options)
  assert readers.keys() == ids.keys() == {"text", "keywords"}
  items = emoji_meta()["items"]
  training = [it for it in items if it["split"] == "train"]
  for key, of in {
    "text": lambda it: it["name"],
    "keywords": lambda it: ", ".join(
      word.replace("_", " ")
      for word in it["keywords"]
      if word.replace("_", " ") != it["name"]
    ),
  }.items():
    leaf = spec[key]
    assert (leaf.shape, leaf.dtype) == (source.columns[key].shape[1:], np.int32)
    known = {word for it in training for word in words_of(of(it))}
    assert ids[key] == len(readers[key]) == len(known) + 2
    for row in range(len(source)):
      example = source[row]
      said = words_of(of(items[int(example["index"])]))[:6]
      expected = [word if word in known else "[unk]" for word in said]
      text = readers[key].text(example[key])
      assert text.split(" ") == expected or not expected
      assert example[f"mask/{key}"].sum() == len(expected)


@there
def test_few_names_of_emoji_are_known_and_of_each_class_as_many():
  options = {"root": ROOT, "apart": True, "names_per_class": 20}
  plain = emoji.load("train", root=ROOT, apart=True).columns
  drawn = [emoji.load("train", seed, **options).columns for seed in (0, 1)]
  for few in drawn:
    has = few["has/text"]
    counts = np.bincount(plain["label"][has], minlength=9)
    most = np.bincount(plain["label"], minlength=9)
    np.testing.assert_array_equal(counts, np.minimum(20, most))
    np.testing.assert_array_equal(few["text"][has], plain["text"][has])
    assert not few["text"][~has].any() and not few["mask/text"][~has].any()
    np.testing.assert_array_equal(few["keywords"], plain["keywords"])
  assert (drawn[0]["has/text"] != drawn[1]["has/text"]).any()
  assert emoji.load("test", **options).columns["has/text"].all()
  assert emoji.spec(**options).keys() == drawn[0].keys()
  assert emoji.seed_draws(**options) == "train"
  with pytest.raises(UserError, match="apart=True"):
    emoji.load("train", root=ROOT, names_per_class=20)


@there
def test_pieces_do_not_tell_a_name_that_is_not_known(reader):
  options = {"root": ROOT, "apart": True, "names_per_class": 20}
  options |= {"tokenizer": reader, "pieces": 7}
  few = emoji.load("train", 0, **options).columns
  has = few["has/text"]
  np.testing.assert_array_equal(few["has/pieces"], has)
  assert not few["pieces"][~has].any() and not few["mask/pieces"][~has].any()
  assert few["mask/pieces"][has].any(axis=1).all()
  assert few.keys() == emoji.spec(**options).keys()


@there
def test_smaller_emoji_are_means_of_squares():
  large = emoji.load("test", root=ROOT).columns["image"].astype(float)
  for size in (32, 16):
    step = 64 // size
    small = emoji.load("test", root=ROOT, size=size).columns["image"]
    assert small.shape[1:] == emoji.spec(size=size)["image"].shape
    expected = np.mean(
      [large[:, i::step, j::step] for i in range(step) for j in range(step)],
      axis=0,
    )
    assert np.abs(small - expected).max() <= 0.5
  with pytest.raises(UserError, match=r"size=48.*16, 32, 64"):
    emoji.load("test", root=ROOT, size=48)


# What the sets share


def test_any_beginning_of_an_order_has_the_shares_of_the_classes():
  labels = np.repeat([0, 1, 2], [600, 300, 100])
  order = _subset.spread(labels)
  assert sorted(order.tolist()) == [*range(1000)]
  for count in (10, 50, 333, 900):
    found = np.bincount(labels[order[:count]], minlength=3)
    assert np.abs(found - np.array([0.6, 0.3, 0.1]) * count).max() <= 1.5
