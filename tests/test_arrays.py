"""Arrays of one's own: files, folders and those of a notebook."""

import os
import pathlib
import pickle
import shutil

import numpy as np
import pytest

from kdjax.cache import imported
from kdjax.data import _files, arrays
from kdjax.errors import UserError
from kdjax.report import records

SPLITS = ("train", "validation", "test")


def made(count=20, start=0):
  """Examples; every value depends on the position."""
  places = np.arange(start, start + count)
  return {
    "image": np.tile(places[:, None, None], (1, 3, 4)).astype(np.uint8),
    "text": np.stack([places % 5, places % 2], axis=1),
    "label": (places % 4).astype(np.uint8),
    "height": places / 2,
  }


def everything(source):
  return source.take(np.arange(len(source)))


def write(folder, named):
  """A folder of .npy files by their names, in folders where they have a /."""
  shutil.rmtree(folder, ignore_errors=True)
  for name, array in named.items():
    path = folder / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
  return str(folder)


@pytest.fixture(params=["file", "folder", "held"])
def keep(request, tmp_path):
  """Keeps arrays in one of three ways; returns the option that finds them."""

  def keep(named):
    if request.param == "held":
      arrays.hold("mine", named)
      return {"held": "mine"}
    if request.param == "folder":
      return {"root": write(tmp_path / "mine", named)}
    np.savez_compressed(tmp_path / "mine.npz", **named)
    return {"root": str(tmp_path / "mine.npz")}

  return keep


def test_examples_are_the_arrays_in_the_types_of_a_batch(keep):
  given = made()
  options = keep(given)
  spec = arrays.spec(**options)
  assert spec["image"].shape == (3, 4, 1) and spec["image"].dtype == np.uint8
  for split in SPLITS:
    batch = everything(arrays.load(split, validation=0.3, test=0.3, **options))
    rows = batch["index"]
    np.testing.assert_array_equal(batch["image"][..., 0], given["image"][rows])
    np.testing.assert_array_equal(batch["height"], rows / 2)
    np.testing.assert_array_equal(batch["label"], rows % 4)
    np.testing.assert_array_equal(batch["mask/text"], batch["text"] != 0)
    for key, leaf in spec.items():
      assert batch[key].dtype == leaf.dtype, key
      assert batch[key].shape[1:] == leaf.shape, key


def test_splits_by_the_hash_are_whole_and_have_their_shares(keep):
  options = {**keep({"label": np.arange(2000) % 3}), "validation": 0.2}
  found = {
    split: everything(arrays.load(split, test=0.1, **options))["index"]
    for split in SPLITS
  }
  assert sorted(np.concatenate([*found.values()])) == [*range(2000)]
  shares = [len(found[split]) / 2000 for split in SPLITS]
  np.testing.assert_allclose(shares, (0.7, 0.2, 0.1), atol=0.03)


def test_splits_are_the_words_of_an_array_of_that_name(keep):
  words = np.array(["train", "test", "val", "train"])
  options = keep({**made(4), "split": words})
  assert "split" not in arrays.spec(**options)
  found = {
    split: everything(arrays.load(split, **options))["index"].tolist()
    for split in SPLITS
  }
  assert found == {"train": [0, 3], "validation": [2], "test": [1]}


@pytest.mark.parametrize("name", ["Split", "SET", "fold", "subset"])
def test_an_array_of_splits_has_any_of_its_names(keep, name):
  words = np.array(["Train"] * 10 + ["val"] * 6 + ["TESTING"] * 4)
  options = keep(made() | {name: words})
  assert [len(arrays.load(split, **options)) for split in SPLITS] == [10, 6, 4]
  assert name not in arrays.spec(**options)
  chosen = {**options, "columns": {"image": "image", "label": "label"}}
  assert [len(arrays.load(split, **chosen)) for split in SPLITS] == [10, 6, 4]


@pytest.mark.parametrize("name", ["split", "Fold"])
def test_such_an_array_of_numbers_is_refused(keep, name):
  options = keep(made() | {name: np.arange(20)})
  with pytest.raises(UserError, match=f"'{name}' .*called as a split is"):
    arrays.load("train", **options)
  chosen = {**options, "columns": {"image": "image", "part": name}}
  assert "part" in arrays.spec(**chosen)


@pytest.mark.parametrize(
  "names", [("train", "val", "test"), ("Training", "dev", "Testing")]
)
def test_names_of_arrays_have_any_name_of_a_split(keep, names):
  named = {
    f"{name}/{key}": value
    for start, name in enumerate(names)
    for key, value in made(4 + start, 10 * start).items()
  }
  options = keep(named)
  assert [len(arrays.load(split, **options)) for split in SPLITS] == [4, 5, 6]


def test_arrays_of_other_splits_alone_are_refused(keep):
  named = {f"val/{key}": value for key, value in made().items()}
  with pytest.raises(UserError, match=r"'val/\w+', and none of training"):
    arrays.load("train", **keep(named))


@pytest.mark.parametrize(
  "shape", [(20, 3, 32, 32), (20, 1, 28, 28), (20, 3, 5, 7)]
)
def test_channels_before_height_are_refused(keep, shape):
  options = keep({"image": np.zeros(shape, np.uint8), "label": np.arange(20)})
  with pytest.raises(UserError, match=r"transpose\(0, 2, 3, 1\)"):
    arrays.spec(**options)


@pytest.mark.parametrize(
  ("low", "high", "dtype", "said"),
  [
    (0, 255, np.float32, True),
    (0, 255, np.int32, True),
    (0, 65535, np.uint16, True),
    (0, 255, np.uint8, False),
    (0, 1, np.float32, False),
    (-2, 3, np.float64, False),
  ],
)
def test_images_of_other_values_than_networks_expect_need_a_range(
  keep, low, high, dtype, said
):
  image = np.linspace(low, high, 20 * 12).reshape(20, 3, 4).astype(dtype)
  options = keep({"image": image, "label": np.arange(20)})
  if said:
    with pytest.raises(UserError, match=f"from {low:g} to {high:g}.*range="):
      arrays.load("train", **options)
  else:
    found = arrays.load("train", **options)
    kept = image[found.index]
    np.testing.assert_allclose(found.columns["image"][..., 0], kept, 1e-6)
  for most in (high, 2 * high):
    ranged = options | {"range": (low, most)}
    assert arrays.spec(**ranged)["image"].dtype == np.float32
    found = arrays.load("train", **ranged)
    np.testing.assert_allclose(
      found.columns["image"][..., 0],
      (image[found.index].astype(float) - low) / (most - low),
      atol=1e-6,
    )
  with pytest.raises(UserError, match="outside of range="):
    arrays.load("train", **options | {"range": (low, high / 2)})
  with pytest.raises(UserError, match="is no range"):
    arrays.load("train", **options | {"range": (high, low)})


@pytest.mark.parametrize(
  "shape", [(20, 3, 4, 3), (20, 8, 8, 1), (20, 9, 9, 12)]
)
def test_channels_at_the_end_are_not(keep, shape):
  options = keep({"image": np.zeros(shape, np.uint8), "label": np.arange(20)})
  assert arrays.spec(**options)["image"].shape == shape[1:]


@pytest.mark.parametrize("words", [True, False])
def test_examples_of_a_group_are_in_one_split(keep, words):
  people = np.arange(20) // 4
  named = made() | {"who": people.astype(str) if words else people}
  options = keep(named) | {"group_column": "who"}
  for folds in (5, "groups"):
    for seed in range(5):
      found = [
        {
          int(row) // 4
          for row in arrays.load(split, seed, folds=folds, **options).index
        }
        for split in SPLITS
      ]
      assert [len(part) for part in found] == [3, 1, 1]
  shares = {**options, "validation": 0.3, "test": 0.3}
  found = [
    {int(row) // 4 for row in arrays.load(split, **shares).index}
    for split in SPLITS
  ]
  assert sum(map(len, found)) == 5
  assert ("who" in arrays.spec(**options)) != words


@pytest.mark.parametrize("words", [True, False])
def test_an_example_has_the_number_of_its_group(keep, words):
  people = np.array([7, 3, 10, 3] * 5)
  named = made() | {"who": people.astype(str) if words else people}
  options = keep(named) | {"group_column": "who", "folds": "groups"}
  # As text, as folds sort them.
  assert arrays.group_names(**options) == ("10", "3", "7")
  for split in SPLITS:
    part = arrays.load(split, **options).columns
    assert part["group"].dtype == np.int32
    found = [arrays.group_names(**options)[it] for it in part["group"]]
    assert found == [str(people[row]) for row in part["index"]]
  without = keep(made())
  assert "group" not in arrays.spec(**without)
  assert arrays.group_names(**without) == ()


def test_an_array_of_groups_may_be_called_so_and_another_may_not(keep):
  people = np.arange(20) // 4 + 50
  options = keep(made() | {"group": people}) | {"folds": "groups"}
  own = {**options, "group_column": "group"}
  part = arrays.load("train", **own).columns
  assert (part["group"] == people[part["index"]] - 50).all()
  assert arrays.spec(**own)["group"].dtype == np.int32
  other = keep(made() | {"group": people, "who": people})
  for ask in (arrays.spec, lambda **it: arrays.load("train", **it)):
    with pytest.raises(UserError, match="key 'group'"):
      ask(**other, group_column="who")


def test_some_labels_of_each_class_are_kept(keep):
  options = keep(made(60)) | {"labels_per_class": 2}
  labels = [arrays.load("train", seed, **options).labels for seed in (0, 1)]
  for found in labels:
    assert [(found == label).sum() for label in range(4)] == [2] * 4
  assert (labels[0] != labels[1]).any()


def test_splits_are_the_names_of_arrays(keep):
  named = {
    f"{split}/{key}": value
    for place, split in enumerate(SPLITS)
    for key, value in made(5 + place, 10 * place).items()
  }
  options = keep(named)
  for place, split in enumerate(SPLITS):
    batch = everything(arrays.load(split, **options))
    np.testing.assert_array_equal(
      batch["height"], np.arange(10 * place, 11 * place + 5) / 2
    )
  index = [everything(arrays.load(s, **options))["index"] for s in SPLITS]
  assert np.concatenate(index).tolist() == [*range(18)]


def test_names_follow_a_pattern_and_validation_comes_from_training(keep):
  train, test = made(50), made(9, 50)
  options = keep(
    {
      "x_train": train["image"],
      "y_train": train["label"],
      "x_test": test["image"],
      "y_test": test["label"],
    }
  )
  options["columns"] = {"image": "x_{split}", "label": "y_{split}"}
  found = {
    split: everything(arrays.load(split, validation=0.2, **options))
    for split in SPLITS
  }
  place = {split: one["image"][:, 0, 0, 0] for split, one in found.items()}
  assert place["test"].tolist() == [*range(50, 59)]
  assert sorted([*place["train"], *place["validation"]]) == [*range(50)]
  assert 3 <= len(place["validation"]) <= 20
  for split in SPLITS:
    np.testing.assert_array_equal(found[split]["label"], place[split] % 4)


def test_classes_are_named_or_numbered(keep):
  options = keep(made())
  assert arrays.class_names(**options) == tuple("0123")
  names = ("north", "east", "south", "west")
  assert arrays.class_names(classes=names, **options) == names
  several = keep({"label": np.eye(5, dtype=bool)})
  assert arrays.class_names(**several) == tuple("01234")


def test_several_labels_and_no_label_are_recognised(keep):
  label = np.array([[0, 1, 1], [-1, -1, -1], [0, 0, 0]])
  options = keep({"label": label})
  source = arrays.load("train", validation=0.0, test=0.0, **options)
  np.testing.assert_array_equal(source.labels, label)
  assert source.labelled.tolist() == [True, False, True]
  options = keep({"height": np.zeros(3)})
  source = arrays.load("train", validation=0.0, test=0.0, **options)
  assert source.labels.tolist() == [-1] * 3 and not source.labelled.any()
  assert arrays.class_names(**options) == ()


def test_a_source_travels_to_another_process(keep):
  source = arrays.load("train", **keep(made()))
  again = pickle.loads(pickle.dumps(source))
  for key, column in everything(again).items():
    np.testing.assert_array_equal(column, everything(source)[key], key)


def test_a_file_is_read_again_when_it_has_changed(tmp_path):
  options = {"root": str(tmp_path / "a.npz"), "validation": 0.0, "test": 0.0}
  for count in (3, 5):
    np.savez(tmp_path / "a.npz", label=np.zeros(count, int))
    assert len(arrays.load("train", **options)) == count


class Trap:
  """Unpickled, it leaves a file behind."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return pathlib.Path.touch, (self.path,)


def test_arrays_are_never_unpickled(tmp_path):
  path, sprung = tmp_path / "a.npz", tmp_path / "sprung"
  np.savez(path, image=np.array([Trap(sprung)], object))
  for ask in (arrays.spec, lambda **options: arrays.load("train", **options)):
    with pytest.raises(UserError, match=r"image.*(object|pickle)"):
      ask(root=str(path))
  assert not sprung.exists()
  np.load(path, allow_pickle=True)["image"]
  assert sprung.exists()  # as it would have been


def test_a_spec_reads_headers_alone(tmp_path):
  path = tmp_path / "mine" / "height.npy"
  write(path.parent, {"height": np.zeros((1000, 3))})
  path.write_bytes(path.read_bytes()[:200])  # the values are gone
  assert arrays.spec(root=str(path.parent))["height"].shape == (3,)
  with pytest.raises(UserError, match=r"'height'\) cannot be read"):
    arrays.load("train", root=str(path.parent))


@pytest.mark.parametrize(
  ("change", "match"),
  [
    ({"height": np.zeros(19)}, r"differ in length.*height 19"),
    ({"height": [np.nan] * 20}, r"'height'.*20 values.*finite.*at \[0\]"),
    ({"label": np.arange(20) - 3}, r"'label'.*2 values.*-1 or more.*is -3"),
    ({"label": np.arange(20) / 2}, r"'label'.*not a whole number.*is 0\.5"),
    ({"wide": np.arange(20) << 40}, r"'wide'.*19 values"),
    ({"index": np.arange(20)}, r"an array 'index'"),
    ({"name": np.array(["a"] * 20)}, r"'name'.*<U1.*manifest"),
    ({"image": np.zeros((20, 3))}, r"'image'.*\[20, 3\].*3 or 4 axes"),
    ({"split": np.array(["trian"] * 20)}, r"'split'.*unknown words.*train"),
  ],
)
def test_arrays_that_do_not_fit_are_a_mistake(keep, change, match):
  options = keep({**made(), **{k: np.asarray(v) for k, v in change.items()}})
  with pytest.raises(UserError, match=match):
    arrays.load("train", **options)


@pytest.mark.parametrize(
  ("options", "match"),
  [
    ({}, "Set one of them"),
    ({"root": "a.npz", "held": "mine"}, "Set one of them"),
    ({"held": "mien"}, r"'mien'.*Did you mean 'mine'"),
    ({"root": "no/such.npz"}, "is no .npz file and no folder"),
    ({"held": "mine", "columns": {"image": "img"}}, r"no array 'img'.*image"),
    ({"held": "mine", "test": 1.0}, r"test=1\.0.*shares of the records"),
    ({"held": "mine", "test": 0.0, "split": "test"}, "no example in the split"),
  ],
)
def test_an_option_that_cannot_be_is_a_mistake(options, match):
  arrays.hold("mine", made())
  options = dict(options)
  with pytest.raises(UserError, match=match):
    arrays.load(options.pop("split", "train"), **options)


def test_nothing_is_not_held():
  with pytest.raises(UserError, match=r"hold\('nothing', .*has no arrays"):
    arrays.hold("nothing", {})


def test_arrays_larger_than_the_memory_are_refused_before_they_are_read(
  tmp_path, monkeypatch
):
  path = tmp_path / "made.npz"
  # A thousand times smaller than its arrays.
  zeros = {"index": np.zeros(2**20, np.int32), "label": np.zeros(2**20, int)}
  np.savez_compressed(path, logits=zeros["index"][:, None], **zeros)
  assert path.stat().st_size < 2**17
  monkeypatch.setattr(os, "sysconf", lambda _: 1000)
  stages = tmp_path / "run/stages/alone"
  stages.mkdir(parents=True)
  shutil.copy(path, stages / "predictions.npz")
  record = records.Record.__new__(records.Record)
  record.__dict__.update({"path": tmp_path / "run", "results": {"alone": {}}})
  for read in (
    lambda: arrays.load("train", root=str(path)),
    lambda: imported._load(path),
    lambda: _files.npz(str(path)),
    lambda: record.predictions("alone"),
  ):
    with pytest.raises(UserError, match=r"GiB, and this machine has 0.0 GiB"):
      read()
