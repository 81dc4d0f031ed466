"""Contract of every data set in kdjax/data, and the data set `digits`."""

import json
import os
import pathlib
import pickle
import subprocess
import sys
import types

import examples
import numpy as np
import pytest
from contracts import must

from kdjax import registry
from kdjax.data import digits
from kdjax.errors import UserError
from kdjax.preprocess import words
from kdjax.preprocess.words import UNKNOWN, Vocabulary
from kdjax.stage.seeds import seed_draws

ROOT = pathlib.Path(__file__).parents[1]
SPLITS = ("train", "validation", "test")

# Real sets beside the project, which has no copy of them.
SHARED = ROOT.parent / "shared" / "data"

# Libraries that read data. A run's plan needs none of them, but for TFDS, which
# describes its sets. Nothing needs TensorFlow.
HEAVY = {
  *("sklearn", "transformers", "tensorflow_datasets", "tensorflow"),
  *("pyarrow", "array_record", "PIL", "soundfile", "scipy"),
}

NAMES = {
  *"0123456789",
  *("zero", "one", "two", "three", "four"),
  *("five", "six", "seven", "eight", "nine"),
}

# The informative word of each value.
TELLING = {
  "holes": ("no", "single", "pair"),
  "parity": ("odd", "even"),
  "strokes": ("round", "straight", "mixed"),
}


@pytest.fixture(params=registry.names("data"), scope="module")
def loadable(request, tmp_path_factory):
  """A data set, and options with which it can be loaded.

  They name files that tests/examples.py writes, or some examples of the real
  files next to the project.
  """
  name = request.param
  module, options = registry.find("data", name), {}
  if hasattr(examples, name):
    options = getattr(examples, name)(tmp_path_factory.mktemp(name))
  elif "root" in registry.describe("data", name).options:
    if not SHARED.is_dir():
      pytest.skip(f"The folder {SHARED} does not exist.")
    options = {"root": str(SHARED), "limit": 60}
  return module, options


@pytest.fixture(scope="module")
def data(loadable):
  return loadable[0]


@pytest.fixture(scope="module")
def options(loadable):
  return loadable[1]


def file_of(data):
  """How messages call a data set's file."""
  return f"data/{data.__name__.rpartition('.')[2]}.py"


def rows(source, count=7):
  """Some positions, one of them twice."""
  chosen = np.random.default_rng(0).integers(len(source), size=count)
  return np.append(chosen, chosen[0])


def everything(source):
  return source.take(np.arange(len(source)))


# Contract: every file of kdjax/data


@pytest.mark.parametrize("split", SPLITS)
def test_examples_are_what_the_spec_says(data, options, split):
  source, spec = data.load(split, **options), data.spec(**options)
  example = source[len(source) - 1]
  with must(f"`spec` of {file_of(data)} must have the keys of an example."):
    assert example.keys() - {"valid"} == spec.keys()
  for key, expected in spec.items():
    actual = np.asarray(example[key])
    with must(
      f"`spec` of {file_of(data)} must state the shape and dtype of '{key}' in"
      " one example, without a batch axis."
    ):
      assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("split", SPLITS)
def test_take_stacks_examples(data, options, split):
  source = data.load(split, **options)
  positions = rows(source)
  taken = source.take(positions)
  with must(
    f"The source that `load` of {file_of(data)} returns must have"
    " `take(positions)`: the examples `source[position]`, stacked per key."
  ):
    for key, column in taken.items():
      expected = np.stack([source[int(row)][key] for row in positions])
      np.testing.assert_array_equal(column, expected, err_msg=key)


def test_no_example_is_in_two_splits_or_twice_in_one(data, options):
  indices = []
  for split in SPLITS:
    indices.append(everything(data.load(split, **options))["index"])
  indices = np.concatenate(indices)
  with must(
    f"`load` of {file_of(data)} must give every example an `index` of its own,"
    " unique over all splits."
  ):
    assert len(np.unique(indices)) == len(indices)


@pytest.mark.parametrize("split", SPLITS)
def test_loading_again_gives_the_same(data, options, split):
  for seed in (None, 3):
    first = data.load(split, seed, **options)
    again = data.load(split, seed, **options)
    with must(
      f"`load` of {file_of(data)} must give the same examples in the same order"
      " whenever split, seed and options are the same."
    ):
      assert len(first) == len(again)
      positions = rows(first)
      expected = first.take(positions)
      for key, column in again.take(positions).items():
        np.testing.assert_array_equal(column, expected[key], err_msg=key)


def test_a_fingerprint_tells_splits_apart_and_nothing_else(data, options):
  first = [data.load(split, 3, **options).fingerprint for split in SPLITS]
  again = [data.load(split, 3, **options).fingerprint for split in SPLITS]
  with must(
    f"A source's `fingerprint` in {file_of(data)} must be a hash of the"
    " examples: equal for equal examples, different for different ones."
  ):
    assert first == again and len({*first}) == len(SPLITS)


def test_seeds_differ_in_the_splits_that_the_data_set_says(data, options):
  draws = seed_draws(data, options)
  same = {"none": SPLITS, "train": ("validation", "test"), "all": ()}[draws]
  for split in same:
    sources = [data.load(split, seed, **options) for seed in (None, 0, 3)]
    with must(
      f"{file_of(data)}: the examples of {split} depend on the seed. Without a"
      " constant, those of train may; SEED_DRAWS_ALL = True: all may;"
      " SEED_DRAWS = False: none does."
    ):
      assert len({source.fingerprint for source in sources}) == 1


def test_a_source_is_the_same_in_another_process(data, options):
  source = data.load("test", **options)
  with must(
    f"The source that `load` of {file_of(data)} returns must be picklable, with"
    " the same examples: worker processes receive a copy."
  ):
    again = pickle.loads(pickle.dumps(source))
    for key, column in again.take(rows(source)).items():
      expected = source.take(rows(source))[key]
      np.testing.assert_array_equal(column, expected, err_msg=key)


@pytest.mark.slow
def test_a_fingerprint_does_not_depend_on_the_number_of_threads(data, options):
  """Linear algebra of several threads rounds otherwise than that of one."""
  program = (
    "import importlib, ast, sys; data = importlib.import_module(sys.argv[1]);"
    f"print([data.load(it, 3, **ast.literal_eval(sys.argv[2])).fingerprint"
    f" for it in {SPLITS}])"
  )
  names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
  found = subprocess.run(
    [sys.executable, "-c", program, data.__name__, repr(options)],
    env=os.environ | dict.fromkeys(names, "1"),
    check=True,
    capture_output=True,
    text=True,
  ).stdout
  expected = [data.load(it, 3, **options).fingerprint for it in SPLITS]
  with must(
    f"A source's `fingerprint` in {file_of(data)} must be of what examples are"
    " computed from, not of floats that differ in their last digit."
  ):
    assert found.strip() == repr(expected)


@pytest.mark.parametrize("split", SPLITS)
def test_a_label_has_a_name_or_is_none(data, options, split):
  if "label" not in data.spec(**options):
    return
  source = data.load(split, **options)
  label = everything(source)["label"]
  classes = len(data.class_names(**options))
  with must(
    f"`class_names` of {file_of(data)} must name the class of every label. A"
    " label is 0 or more; -1 is unlabelled."
  ):
    assert label.min() >= -1 and label.max() < classes
  with must(
    f"The source of {file_of(data)} must have `labels`, equal to the examples'"
    " 'label', and `labelled`, True where it is not -1."
  ):
    np.testing.assert_array_equal(source.labels, label)
    np.testing.assert_array_equal(source.labelled, label >= 0)


def test_a_missing_modality_is_zeros(data, options):
  spec = data.spec(**options)
  for split in SPLITS:
    batch = everything(data.load(split, **options))
    for key in (key for key in spec if key.startswith("has/")):
      with must(
        f"'{key}' of {file_of(data)} must be one bool an example, and the"
        " modality zeros where it is False."
      ):
        assert spec[key].dtype == np.bool_ and spec[key].shape == ()
        assert not batch[key.removeprefix("has/")][~batch[key]].any()


@pytest.mark.parametrize("name", registry.names("data"))
def test_options_have_literal_defaults(name):
  defaults = registry.describe("data", name).options.values()
  with must(
    f"Every option of `load` in data/{name}.py must have a default that is a"
    " literal, such as 3, 'words' or (): it is read without an import."
  ):
    assert registry.REQUIRED not in defaults
    assert not any(isinstance(value, registry.Code) for value in defaults)


def test_spec_and_class_names_take_the_options_of_load(data, options):
  known = registry.describe("data", data.__name__.rpartition(".")[2]).options
  with must(
    f"`spec` and `class_names` of {file_of(data)} must take the options of"
    " `load`, all by keyword."
  ):
    data.spec(**{**known, **options})
    data.class_names(**{**known, **options})
  if options:
    for function in (data.spec, data.class_names):
      with (
        must(
          f"`{function.__name__}` of {file_of(data)} must raise UserError for"
          " an option that `load` does not have, as `_options.chosen` does."
        ),
        pytest.raises(UserError, match=r"No option 'rooot'.*'root'"),
      ):
        function(rooot="")


def test_no_text_has_an_id_beyond_the_vocabulary(data, options):
  with must(
    f"{file_of(data)} must define `ids`, which returns the vocabulary size of"
    " 'text'."
  ):
    assert hasattr(data, "ids") or "text" not in data.spec(**options)
  if not hasattr(data, "ids"):
    return
  sizes = data.ids(**options)
  assert "text" in sizes, f"`ids` of {file_of(data)} must have the key 'text'."
  for split in SPLITS:
    batch = everything(data.load(split, **options))
    for key, size in sizes.items():
      with must(
        f"`ids` of {file_of(data)} must return the vocabulary size of '{key}':"
        " every id is 0 or more and less."
      ):
        assert batch[key].min() >= 0 and batch[key].max() < size


def test_an_unknown_split_is_answered_with_the_splits(data, options):
  with (
    must(
      f"`load` of {file_of(data)} must raise UserError for an unknown split,"
      " and list the splits (exists=)."
    ),
    pytest.raises(UserError, match=r"'tets'.*There are: .*test.*validation"),
  ):
    data.load("tets", **options)


def test_a_failed_contract_says_what_to_do():
  """A data set whose `load` takes any split."""
  source = digits.load("test")
  broken = types.SimpleNamespace(
    __name__="mine", load=lambda split, seed=None: source
  )
  with pytest.raises(
    AssertionError, match=r"`load` of data/mine\.py must raise"
  ):
    test_an_unknown_split_is_answered_with_the_splits(broken, {})
  with pytest.raises(AssertionError, match=r"mine\.py must give every example"):
    test_no_example_is_in_two_splits_or_twice_in_one(broken, {})


def without_files(name):
  """Options with which the spec is known and no file exists."""
  options = {}
  if "root" in registry.describe("data", name).options:
    options["root"] = "/no/such/folder"
  if name == "manifest":
    options["columns"] = examples.COLUMNS
  return options


# The spec of `arrays` is in its files.
STATED = [name for name in registry.names("data") if name != "arrays"]


@pytest.mark.parametrize("name", STATED)
def test_a_spec_needs_no_data(name):
  options = without_files(name)
  with must(
    f"`spec` of data/{name}.py must not read files, and must have the key"
    " 'index'."
  ):
    assert "index" in registry.find("data", name).spec(**options)


@pytest.mark.parametrize(
  ("names", "allowed"),
  [
    ([name for name in STATED if name != "tfds"], set()),
    (["tfds"], {"tensorflow_datasets", "PIL"}),
  ],
  ids=["without tfds", "tfds"],
)
def test_a_spec_loads_nothing(names, allowed):
  options = {name: without_files(name) for name in names}
  code = (
    "import json, sys\n"
    "from kdjax import registry\n"
    f"for name, options in {options!r}.items():\n"
    "  registry.find('data', name).spec(**options)\n"
    "print(json.dumps([*sys.modules]))"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True
  )
  assert done.returncode == 0, done.stderr
  loaded = {*json.loads(done.stdout.splitlines()[-1])}
  with must(
    "A file of kdjax/data must import libraries that read files, such as PIL,"
    " inside the functions that use them: a spec is needed without them."
  ):
    assert sorted(HEAVY & loaded - allowed) == []


# Digits


def test_digits_are_split_as_documented():
  sizes = {split: len(digits.load(split)) for split in SPLITS}
  assert sizes == {"train": 1197, "validation": 200, "test": 400}


def test_images_are_grey_values_from_0_to_1():
  image = digits.load("test").columns["image"]
  assert image.min() == 0 and image.max() == 1


@pytest.mark.parametrize("count", [1, 3, 20])
def test_every_seed_keeps_as_many_labels_a_class(count):
  subsets = set()
  truth = digits.load("train", labels_per_class=0).columns["label"]
  for seed in range(5):
    label = digits.load("train", seed, labels_per_class=count).columns["label"]
    kept = label >= 0
    np.testing.assert_array_equal(np.bincount(label[kept]), [count] * 10)
    np.testing.assert_array_equal(label[kept], truth[kept])
    subsets.add(tuple(np.flatnonzero(kept)))
  assert len(subsets) == 5


def test_all_labels_are_kept_with_0_and_outside_of_training():
  assert digits.load("train", labels_per_class=0).labelled.all()
  for split in ("validation", "test"):
    assert digits.load(split, 4, labels_per_class=1).labelled.all()


@pytest.mark.parametrize("count", [-1, 1000])
def test_more_labels_than_there_are_is_a_mistake(count):
  with pytest.raises(UserError, match="labels_per_class"):
    digits.load("train", labels_per_class=count)


def test_a_probability_that_is_none_is_a_mistake():
  with pytest.raises(UserError, match=r"wrong=1\.5"):
    digits.hints(1.5)


def test_views_are_further_keys_and_change_nothing_else():
  plain = digits.load("test").columns
  seen = digits.load("test", views=digits.VIEWS).columns
  assert seen.keys() - plain.keys() == {f"image@{v}" for v in digits.VIEWS}
  assert seen.keys() == digits.spec(views=digits.VIEWS).keys()
  for key, column in plain.items():
    np.testing.assert_array_equal(seen[key], column, err_msg=key)
  for view in digits.VIEWS:
    column = seen[f"image@{view}"]
    assert column.shape == plain["image"].shape
    assert column.dtype == np.float32


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotated_views_are_exact_rotations(turns):
  view = f"rotate{90 * turns}"
  columns = digits.load("validation", views=(view,)).columns
  image, turned = columns["image"], columns[f"image@{view}"]
  for _ in range(turns):
    # One turn to the left: the last column becomes the first row.
    image = image[:, :, ::-1].transpose(0, 2, 1, 3)
  np.testing.assert_array_equal(turned, image)


def test_the_strong_view_of_an_image_is_the_same_for_everyone():
  load = lambda seed: digits.load("train", seed, views=("strong",)).columns
  first, again = load(0)["image@strong"], load(1)["image@strong"]
  np.testing.assert_array_equal(first, again)


def test_the_strong_view_is_the_image_moved_by_a_pixel_at_most_and_noisy():
  columns = digits.load("test", views=("strong",)).columns
  strong = columns["image@strong"][..., 0]
  assert strong.min() >= 0 and strong.max() <= 1
  padded = np.pad(columns["image"][..., 0], ((0, 0), (1, 1), (1, 1)))
  moves = [(down, right) for down in range(3) for right in range(3)]
  likeness = []
  for image, view in zip(padded, strong, strict=True):
    of = lambda move, image=image: image[move[0] :, move[1] :][:8, :8].ravel()
    likeness.append(
      [np.corrcoef(of(move), view.ravel())[0, 1] for move in moves]
    )
  likeness = np.array(likeness)
  assert likeness.max(axis=1).min() > 0.8
  assert likeness.max() < 1
  assert {*likeness.argmax(axis=1)} == {*range(9)}


def test_an_unknown_view_is_answered_with_the_views():
  for call in (
    lambda: digits.load("test", views=("weak",)),
    lambda: digits.spec(views=("weak",)),
  ):
    with pytest.raises(UserError, match=r"'weak'.*rotate180.*strong"):
      call()


def test_hints_never_name_a_digit():
  for hint in digits.hints(0.5):
    assert not NAMES & {*words.split(hint)}, hint


def test_hints_do_not_depend_on_the_seed_or_the_labels():
  first = digits.load("train", 0).columns
  second = digits.load("train", 1, labels_per_class=0).columns
  np.testing.assert_array_equal(first["text"], second["text"])


@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.3])
def test_every_fact_is_wrong_as_often_as_said(wrong):
  hints = [{*words.split(hint)} for hint in digits.hints(wrong)]
  truth = np.concatenate(
    [
      digits.load(split, labels_per_class=0).columns["label"]
      for split in ("test", "validation", "train")  # by index
    ]
  )
  for fact, values in digits.TRUTH.items():
    said = [
      [place for place, word in enumerate(TELLING[fact]) if word in hint]
      for hint in hints
    ]
    assert all(len(values) == 1 for values in said), fact
    rate = np.mean(np.array(said)[:, 0] != np.array(values)[truth])
    assert rate == pytest.approx(wrong, abs=0.03), fact


def test_the_vocabulary_is_of_the_training_hints():
  vocabulary = digits.vocabulary(0.1)
  assert vocabulary == Vocabulary.build(digits.hints(0.1)[600:])
  ids, _ = vocabulary.encode(["an odd zebra"], 3)
  assert ids[0, 0] == UNKNOWN and ids[0, 1] > UNKNOWN
  assert ids[0, 2] == UNKNOWN


@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_networks_of_the_text_know_how_many_ids_there_are(wrong):
  assert len(digits.vocabulary(wrong)) == digits.VOCABULARY
  for split in SPLITS:
    columns = digits.load(split, wrong=wrong).columns
    assert columns["text"].max() < digits.VOCABULARY
    assert not (columns["text"] == UNKNOWN).any()


def test_no_hint_is_cut():
  longest = max(len(words.split(hint)) for hint in digits.hints(0.1))
  assert longest <= digits.LENGTH


def test_a_hint_alone_tells_some_digits_and_not_all():
  from sklearn.linear_model import LogisticRegression

  def bags(columns):
    one_hot = np.eye(digits.VOCABULARY)[columns["text"]]
    return (one_hot * columns["mask/text"][..., None]).sum(1)

  train = digits.load("train", labels_per_class=0).columns
  test = digits.load("test").columns
  reader = LogisticRegression(max_iter=300).fit(bags(train), train["label"])
  assert 0.40 < reader.score(bags(test), test["label"]) < 0.70
