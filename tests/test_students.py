"""A trained student as an object: what it takes, checked, and what it says."""

import dataclasses
import json
import pathlib

import examples
import jax
import numpy as np
import pytest

import kdjax
from kdjax import config, registry
from kdjax.data import arrays, digits, sst2
from kdjax.errors import UserError
from kdjax.export import unrolled
from kdjax.export.formats import safetensors
from kdjax.preprocess.words import Vocabulary
from kdjax.students import Student, trained
from kdjax.students.inputs import Input
from kdjax.students.signature import Result, Signature

pytestmark = pytest.mark.slow

SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data"

IMAGE = Input("image", "image", (8, 8, 1), "float32", low=0.0, high=1.0)
TEXT = Input("text", "text", (4,), "int32", True, (4,), 0, 9)
SIZES = Input("sizes", "numbers", (2,), "float32", optional=True)
SIGNATURE = Signature(
  "birds/small",
  (IMAGE, TEXT, SIZES),
  (Result("probabilities", "softmax", ("a", "b")), Result("value", "value")),
  ("probabilities", "value", "logits"),
)
PIXELS = np.full((3, 8, 8, 1), 0.5, np.float32)
IDS = np.ones((3, 4), np.int32)


# Signature


def test_a_signature_is_the_same_after_json():
  text = json.dumps(SIGNATURE.to_json())
  assert Signature.from_json(json.loads(text)) == SIGNATURE


@pytest.mark.parametrize("values", [{}, {"inputs": []}, {"inputs": [{}]}])
def test_what_is_no_signature_is_an_error(values):
  with pytest.raises(UserError, match="No signature of a student"):
    Signature.from_json(values)


@pytest.mark.parametrize(
  ("given", "said"),
  [
    ({"image": np.zeros((3, 28, 28, 1), np.float32)}, "[3, 28, 28, 1]"),
    ({"image": np.zeros((8, 8), np.float32)}, "[8, 8]"),
    ({"image": np.zeros((3, 8, 8, 1), np.uint8)}, "uint8"),
    ({"image": np.zeros((3, 8, 8, 1), bool)}, "bool"),
    ({"image": 255 * PIXELS}, "127.5"),
    ({"image": PIXELS - 1}, "-0.5"),
    ({"image": PIXELS * np.nan}, "not finite"),
    ({"image": PIXELS * np.inf}, "not finite"),
    ({"image": [[1, 2], [3]]}, "no array"),
    ({"image": "photo.png"}, "'image' is"),
    ({"image": np.array([None])}, "no array of numbers"),
    ({"image": PIXELS[:0]}, "without examples"),
    ({"image": PIXELS, "img": PIXELS}, "no input 'img'"),
    ({"text": IDS}, "needs 'image'"),
    ({}, "no input"),
    ({"image": PIXELS, "text": IDS[:2]}, "3 of 'image', 2 of 'text'"),
    ({"image": PIXELS, "text": IDS + 9}, "10 to 10"),
    ({"image": PIXELS, "text": -IDS}, "-1 to -1"),
    ({"image": PIXELS, "text": IDS.astype(float)}, "float64"),
    ({"image": PIXELS, "mask/text": IDS}, "'mask/text' is int32"),
    ({"image": PIXELS, "has/text": np.ones(2, bool)}, "'has/text' has the sh"),
    ({"image": PIXELS, "has/image": True}, "no input 'has/image'"),
  ],
)
def test_what_does_not_fit_is_one_clear_error(given, said):
  with pytest.raises(UserError) as caught:
    SIGNATURE.batch(given)
  message = f"{caught.value}"
  assert said in message and "\n" not in message
  assert "Expected" in message or "There are" in message


def test_an_input_of_another_width_is_converted_without_loss():
  batch = SIGNATURE.batch({"image": PIXELS.astype(np.float64), "text": IDS + 0})
  assert batch["image"].dtype == np.float32
  wide = SIGNATURE.batch({"image": PIXELS, "text": IDS.astype(np.int64)})
  assert wide["text"].dtype == np.int32
  np.testing.assert_array_equal(wide["text"], IDS)
  numbers = SIGNATURE.batch({"image": PIXELS, "sizes": np.ones((3, 2), int)})
  assert numbers["sizes"].dtype == np.float32


def test_one_example_is_a_batch_of_one():
  batch = SIGNATURE.batch({"image": PIXELS[0], "text": IDS[0]})
  assert batch["image"].shape == (1, 8, 8, 1)
  assert batch["text"].shape == batch["mask/text"].shape == (1, 4)


def test_masks_and_presence_are_all_true_of_what_is_given():
  batch = SIGNATURE.batch({"image": PIXELS, "text": IDS})
  assert batch["mask/text"].shape == (3, 4) and batch["mask/text"].all()
  assert batch["has/text"].tolist() == [True] * 3
  assert "has/image" not in batch  # it is never missing
  given = {
    "mask/text": np.arange(4) < 2,
    "has/text": np.array([True, False, True]),
  }
  batch = SIGNATURE.batch({"image": PIXELS, "text": IDS, **given})
  assert batch["mask/text"].sum(axis=1).tolist() == [2, 2, 2]
  assert batch["has/text"].tolist() == [True, False, True]


def test_an_input_that_may_be_missing_is_zeros_and_absent():
  batch = SIGNATURE.batch({"image": PIXELS})
  assert batch["text"].shape == (3, 4) and batch["sizes"].shape == (3, 2)
  for key in ("text", "mask/text", "has/text", "sizes", "has/sizes"):
    assert not batch[key].any(), key


def test_a_signature_without_an_input_does_not_take_it():
  less = SIGNATURE.without(["text"])
  assert [it.key for it in less.inputs] == ["image", "sizes"]
  assert less.batch({"image": PIXELS}).keys() == {"image", "sizes", "has/sizes"}
  with pytest.raises(UserError, match="no input 'text'"):
    less.batch({"image": PIXELS, "text": IDS})


def test_only_what_may_be_missing_can_be_left_out():
  with pytest.raises(UserError, match=r"needs 'image'.*: sizes, text"):
    SIGNATURE.without(["image"])
  with pytest.raises(UserError, match="no input 'img'"):
    SIGNATURE.without(["img"])
  alone = dataclasses.replace(SIGNATURE, inputs=(TEXT,))
  with pytest.raises(UserError, match="has no input"):
    alone.without(["text"])


# Records


@pytest.fixture
def counting():
  """A student that says the sum of each image, and notes its batch sizes."""
  sizes = []

  def compute(batch):
    sizes.append(len(batch["image"]))
    total = batch["image"].sum(axis=(1, 2, 3))
    return {"value": total, "logits": np.stack([total, -total], axis=1)}

  signature = dataclasses.replace(
    SIGNATURE, results=(Result("value", "value"),), outputs=("value", "logits")
  )
  reader = Vocabulary.build(["red green blue"])
  return Student(signature, compute, {"text": reader}), sizes


@pytest.mark.parametrize("count", [1, 5, 63, 64, 65, 130])
def test_any_number_of_records_has_a_prediction_each_in_order(counting, count):
  student, sizes = counting
  images = np.linspace(0, 1, count, dtype=np.float32)[:, None, None, None]
  images = np.broadcast_to(images, (count, 8, 8, 1))
  said = student.predict([{"image": image} for image in images])
  found = [it.outputs["value"] for it in said]
  np.testing.assert_allclose(found, images.sum(axis=(1, 2, 3)), rtol=1e-5)
  assert {size & (size - 1) for size in sizes} == {0}  # powers of two
  assert max(sizes) <= 64


def test_records_are_read_as_they_are_needed(counting):
  student, _ = counting

  def endless():
    while True:
      yield {"image": PIXELS[0]}

  said = student.predictions(endless(), batch_size=4)
  assert [next(said).fault for _ in range(9)] == [""] * 9


@pytest.mark.parametrize(
  ("record", "reason"),
  [
    ({"image": "none.png"}, "no such file"),
    ({"image": "."}, "a folder"),
    ({"image": b"no image"}, "not an image"),
    ({"image": b""}, "not an image"),
    ({"image": None}, "no input"),
    ({"text": "red"}, "needs 'image'"),
    ({"image": PIXELS[0], "text": "  "}, "without a word"),
    ({"image": PIXELS[0], "text": "?!"}, "without a word"),
    ({"image": PIXELS[0], "text": 5}, "not a text"),
    ({"image": PIXELS[0], "sizes": [1, 2, 3]}, "3 numbers, expected [2]"),
    ({"image": PIXELS[0], "sizes": ["a", "b"]}, "not F numbers"),
    ({"image": PIXELS[0], "color": "red"}, "no input 'color'"),
  ],
)
def test_a_record_that_cannot_be_read_has_a_fault_and_the_rest_goes_on(
  counting, record, reason
):
  student, _ = counting
  good = {"image": PIXELS[0], "text": "red blue", "sizes": [1.0, 2.0]}
  said = student.predict([good, record, good])
  assert [bool(it.fault) for it in said] == [False, True, False]
  assert reason in said[1].fault and not said[1].outputs


# A trained student


STEPS = {"steps": 2, "batch_size": 8, "log_every": 1, "eval_every": 2}
KNOBS = {**STEPS, "terms": {"cross_entropy": config.term("cross_entropy")}}
NORMAL = "normalize(mean=(0.3,), std=(0.4,))"


def mlp(**options):
  return config.network("mlp", **{"widths": (8,), **options})


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
  """The workdir of a run of students of digits, a few steps each."""
  words = config.network("text_transformer", vocabulary=17, width=8, depth=1)
  encoders = {"image": mlp(), "text": words}
  conv = config.network("conv", widths=(4, 6), num_classes=10)
  fused = config.network("fusion", encoders=encoders, num_classes=10)
  taught = config.stage(
    conv, teachers={"teacher": config.teacher("teacher")}, **KNOBS
  )
  pipelines = {view: {"image": NORMAL} for view in ("train", "evaluation")}
  plan = config.experiment(
    "digits",
    seeds=1,
    data=config.data("digits"),
    stages={
      "teacher": config.stage(conv, **KNOBS),
      "fused": config.stage(fused, **KNOBS),
      "words": config.stage(
        config.network(
          "text_transformer", vocabulary=17, width=8, depth=1, num_classes=10
        ),
        **KNOBS,
      ),
      **config.method("simkd", taught),
      "bright": config.stage(
        mlp(num_classes=10), data={"pipelines": pipelines}, **KNOBS
      ),
      "wide": config.stage(mlp(num_classes=12), **KNOBS),
    },
  )
  folder = tmp_path_factory.mktemp("digits")
  kdjax.run(plan, folder, quiet=True)
  return folder


@pytest.fixture(scope="module")
def held_out():
  return digits.load("test").columns


def softmax(logits):
  return np.asarray(jax.nn.softmax(np.asarray(logits)))


@pytest.mark.parametrize("stage", ["teacher", "simkd", "bright"])
def test_a_student_says_the_softmax_of_what_restore_computes(
  ran, held_out, stage
):
  student = kdjax.student(ran, stage)
  model, variables = kdjax.restore(ran, stage)
  for count in (1, 5, 64, 65):
    images = held_out["image"][:count]
    by_hand = model.apply(variables, {"image": images}, train=False)
    said = student(image=images)
    assert said["probabilities"].shape == (count, 10)
    np.testing.assert_allclose(
      said["probabilities"], softmax(by_hand["logits"]), atol=1e-5
    )
    for name in by_hand:
      np.testing.assert_allclose(said[name], by_hand[name], atol=1e-4)


@pytest.mark.parametrize("stage", ["teacher", "simkd"])
def test_the_weights_of_a_file_are_all_that_a_student_needs(
  ran, held_out, stage
):
  one = trained.trained(ran, stage)
  batch = one.signature.batch({"image": held_out["image"][:5]})
  leaves = unrolled.read(one.__call__, one.variables, one.example())
  alone = jax.tree_util.tree_map_with_path(
    lambda path, leaf: (
      leaf
      if jax.tree_util.keystr(path, simple=True, separator="/") in leaves
      else np.full_like(leaf, np.nan)
    ),
    jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), one.variables),
  )
  whole, again = one(one.variables, batch), one(alone, batch)
  for name in whole:
    np.testing.assert_array_equal(again[name], whole[name])
  written, _ = safetensors.content(one)
  assert len(written) == len(leaves)
  # SimKD's student has its head, and the teacher's last layer, no more.
  own = ("params.", "batch_stats.", "networks.student.")
  heads = [it for it in written if not it.startswith(own)]
  assert bool(heads) == (stage == "simkd")


@pytest.mark.parametrize("keys", [("image",), ("text",), ("image", "text")])
def test_a_fused_student_predicts_from_what_is_there(ran, held_out, keys):
  student = kdjax.student(ran, "fused")
  model, variables = kdjax.restore(ran, "fused")
  inputs = {key: held_out[key][:65] for key in keys}
  if "text" in keys:
    inputs["mask/text"] = held_out["mask/text"][:65]
  by_hand = model.apply(variables, inputs, train=False)
  said = student.outputs(inputs)
  np.testing.assert_allclose(
    said["probabilities"], softmax(by_hand["logits"]), atol=1e-5
  )


def test_a_modality_may_be_missing_in_some_examples_alone(ran, held_out):
  student = kdjax.student(ran, "fused")
  names = ("image", "text", "mask/text")
  both = {name: held_out[name][:4] for name in names}
  has = np.array([True, False, True, False])
  mixed = student.outputs({**both, "has/text": has})["logits"]
  whole = student.outputs(both)["logits"]
  less = student(image=both["image"])["logits"]
  np.testing.assert_allclose(
    mixed, np.where(has[:, None], whole, less), atol=1e-5
  )
  assert not np.allclose(whole, less, atol=1e-4)


def test_a_text_is_read_as_the_data_set_reads_it(ran, held_out):
  student = kdjax.student(ran, "words")
  said = student.predict([{"text": hint} for hint in digits.hints()[:9]])
  names = ("text", "mask/text")
  arrays_of = {name: held_out[name][:9] for name in names}
  expected = student.outputs(arrays_of)["probabilities"]
  found = np.stack([it.outputs["probabilities"] for it in said])
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_image_file_is_read_as_the_range_of_the_data(
  ran, held_out, tmp_path
):
  from PIL import Image

  student = kdjax.student(ran, "teacher")
  paths = []
  for place in range(3):
    pixels = np.round(held_out["image"][place, ..., 0] * 255)
    paths.append(tmp_path / f"{place}.png")
    Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
  said = student.predict([{"image": path} for path in paths])
  found = np.stack([it.outputs["logits"] for it in said])
  expected = student(image=held_out["image"][:3])["logits"]
  np.testing.assert_allclose(found, expected, atol=0.05)
  top = said[0].top(3)
  assert [name for name, _ in top] == [
    str(it) for it in np.argsort(-said[0].outputs["probabilities"])[:3]
  ]


def test_names_of_classes_that_are_not_as_many_are_left_out(ran, held_out):
  assert kdjax.student(ran, "teacher").signature.results[0].classes == tuple(
    "0123456789"
  )
  student = kdjax.student(ran, "wide")
  assert student.signature.results[0].classes == ()
  (said,) = student.predict([{"image": held_out["image"][0]}])
  assert [*said.probabilities()] == [str(it) for it in range(12)]


def test_the_signature_of_a_stage_is_that_of_its_data(ran):
  signature = kdjax.student(ran, "fused").signature
  assert signature.name == "digits/fused"
  kinds = {it.key: (it.kind, it.shape, it.optional) for it in signature.inputs}
  assert kinds == {
    "image": ("image", (8, 8, 1), True),
    "text": ("text", (digits.LENGTH,), True),
  }
  assert signature["text"].high == len(digits.vocabulary()) - 1
  assert {"probabilities", "logits", "embedding"} <= {*signature.outputs}
  assert not kdjax.student(ran, "teacher").signature["image"].optional
  assert Signature.from_json(signature.to_json()) == signature


def test_an_unknown_stage_seed_or_workdir_is_an_error(ran, tmp_path):
  with pytest.raises(UserError, match="Did you mean 'teacher'"):
    kdjax.student(ran, "techer")
  with pytest.raises(UserError, match="No seed 3"):
    kdjax.student(ran, "teacher", seed=3)
  with pytest.raises(UserError, match="No variables 'first'"):
    kdjax.student(ran, "teacher", which="first")
  with pytest.raises(UserError, match="no workdir"):
    kdjax.student(tmp_path, "teacher")


# Missing modalities


@pytest.fixture(scope="module")
def imputed(tmp_path_factory):
  """A run whose student gets the mean of a modality in place of a missing one.

  Also its training columns.
  """
  rng = np.random.default_rng(0)
  count = 90
  columns = {
    "x": rng.normal(1.0, 2.0, size=(count, 6)).astype(np.float32),
    "y": rng.normal(-2.0, 1.0, size=(count, 4)).astype(np.float32),
    "has/x": np.arange(count) % 5 != 0,
    "has/y": np.arange(count) % 7 != 0,
    "label": rng.integers(3, size=count),
    "split": np.array(["train", "validation", "test"])[np.arange(count) % 3],
  }
  arrays.hold("halves", columns)
  encoders = {key: mlp(modality=key) for key in ("x", "y")}
  fused = config.network("fusion", encoders=encoders, num_classes=3)
  plan = config.experiment(
    "halves",
    seeds=1,
    data=config.data("arrays", held="halves"),
    stages={"both": config.stage(fused, impute="mean", **KNOBS)},
  )
  folder = tmp_path_factory.mktemp("halves")
  kdjax.run(plan, folder, quiet=True)
  return folder, arrays.load("train", held="halves").columns


def test_a_missing_modality_is_the_training_mean_where_a_stage_imputes(imputed):
  folder, train = imputed
  student = kdjax.student(folder, "both")
  model, variables = kdjax.restore(folder, "both")
  x = np.ones((5, 6), np.float32)
  mean = train["y"][train["has/y"]].astype(np.float64).mean(axis=0)
  y = np.broadcast_to(mean.astype(np.float32), (5, 4))
  by_hand = model.apply(variables, {"x": x, "y": y}, train=False)
  said = student(x=x)
  np.testing.assert_allclose(said["logits"], by_hand["logits"], atol=1e-5)
  np.testing.assert_allclose(
    said["probabilities"], softmax(by_hand["logits"]), atol=1e-5
  )
  dropped = model.apply(variables, {"x": x}, train=False)
  assert not np.allclose(said["logits"], dropped["logits"], atol=1e-3)


# Data sets: how files are read


@pytest.fixture(params=registry.names("data"), scope="module")
def loadable(request, tmp_path_factory):
  """A data set, and options with which it can be loaded."""
  name = request.param
  module, options = registry.find("data", name), {}
  if hasattr(examples, name):
    options = getattr(examples, name)(tmp_path_factory.mktemp(name))
  elif "root" in registry.describe("data", name).options:
    if not SHARED.is_dir():
      pytest.skip(f"The folder {SHARED} does not exist.")
    options = {"root": str(SHARED), "limit": 60}
  return module, options


def test_a_data_set_reads_files_for_keys_that_it_has(loadable):
  data, options = loadable
  spec = data.spec(**options)
  none = lambda **_: {}
  for function in ("readers", "decoding"):
    found = getattr(data, function, none)(**options)
    assert found.keys() <= spec.keys(), function


def test_a_data_set_has_a_reader_for_every_text_that_it_made(loadable):
  data, options = loadable
  spec = data.spec(**options)
  none = lambda **_: {}
  sizes = getattr(data, "ids", none)(**options)
  named = getattr(data, "tokenizers", none)(**options)
  readers = getattr(data, "readers", none)(**options)
  assert named.keys() <= readers.keys() <= sizes.keys()
  for key, reader in readers.items():
    assert len(reader) == sizes[key]
    length = spec[key].shape[-1]
    ids, mask = reader.encode(["a round thing", "five"], length)
    assert ids.shape == mask.shape == (2, length)
    assert ids.dtype == spec[key].dtype


def test_a_reader_gives_the_ids_that_the_data_set_gives_the_same_text(loadable):
  data, options = loadable
  texts = texts_of(data, options)
  if texts is None:
    pytest.skip("Its texts are not known here.")
  source = data.load("test", **options)
  taken = source.take(np.arange(len(source)))
  known = taken["mask/text"].any(axis=1)
  length = data.spec(**options)["text"].shape[-1]
  reader = data.readers(**options)["text"]
  ids, mask = reader.encode(texts, length)
  np.testing.assert_array_equal(taken["text"][known], ids[known])
  np.testing.assert_array_equal(taken["mask/text"][known], mask[known])


def texts_of(data, options):
  """The test split's texts, in its order; None if they are not known."""
  index = data.load("test", **options).index
  name = data.__name__.rpartition(".")[2]
  if name == "digits":
    return [digits.hints()[row] for row in index]
  if name == "sst2":
    start = sum(
      len(sst2.sentences(options["root"], it)[0])
      for it in ("train", "validation")
    )
    texts = sst2.sentences(options["root"], "test")[0]
    return [texts[row - start] for row in index]
  if name == "manifest":
    return [examples.CAPTIONS[row % 3] for row in index]
  return None
