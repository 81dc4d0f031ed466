"""The preprocessing of published checkpoints, compared with its authors'."""

import json

import jax
import numpy as np
import PIL.Image
import pytest

from kdjax.errors import ShapeError, UserError
from kdjax.step.pipeline import parse
from kdjax.transforms.published import published

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
IMAGE = {
  "image_processor_type": "CLIPImageProcessor",
  "do_resize": True,
  "size": {"shortest_edge": 12},
  "resample": 3,
  "do_center_crop": True,
  "crop_size": {"height": 10, "width": 8},
  "do_normalize": True,
  "image_mean": MEAN,
  "image_std": STD,
}


@pytest.fixture
def run(tmp_path):
  """(config, array) -> the result of the transform."""

  def call(config, x):
    text = json.dumps(config)
    (tmp_path / "preprocessor_config.json").write_text(text)
    transform = jax.jit(lambda x: published(None, x, path=str(tmp_path)))
    return np.asarray(transform(x))

  return call


def image(height, width, channels=3):
  """An image of bytes with flat areas and edges."""
  rng = np.random.default_rng(height)
  rough = rng.integers(0, 256, (height // 3 + 1, width // 3 + 1, channels))
  whole = np.kron(rough, np.ones((3, 3, 1)))[:height, :width]
  return whole.astype(np.uint8)


def by_pillow(x, sides, resample, cut=None):
  """Scaled by Pillow to (height, width), cut in its centre, normalised."""
  # Versions of Pillow differ in which side they scale, and round, first.
  wide = PIL.Image.fromarray(x).resize((sides[1], len(x)), resample)
  scaled = wide.resize(sides[::-1], resample)
  if cut:
    left, top = (scaled.width - cut[1]) // 2, (scaled.height - cut[0]) // 2
    scaled = scaled.crop((left, top, left + cut[1], top + cut[0]))
  return (np.asarray(scaled) / 255 - np.array(MEAN)) / np.array(STD)


def assert_near(actual, expected):
  """Asserts equality up to two roundings of Pillow, of half a level each."""
  assert actual.shape == expected.shape and actual.dtype == np.float32
  assert np.abs(actual - expected).max() <= 1.5 / 255 / min(STD)


@pytest.mark.parametrize("resample", [1, 2, 3])
@pytest.mark.parametrize("shape", [(31, 22), (22, 31), (9, 7)])
def test_an_image_is_scaled_cut_and_normalised_as_by_pillow(
  run, shape, resample
):
  x = image(*shape)
  short = min(shape)
  sides = tuple(12 * side // short for side in shape)
  actual = run({**IMAGE, "resample": resample}, x)
  assert_near(actual, by_pillow(x, sides, resample, cut=(10, 8)))


def test_an_image_of_floats_is_that_of_bytes(run):
  x = image(20, 30)
  actual = run(IMAGE, x.astype(np.float32) / 255)
  np.testing.assert_allclose(actual, run(IMAGE, x), atol=1e-5)


# Each form of the size, and the sides and crop that it gives for 30 x 20.
SIZES = {
  "both sides": (
    {"size": {"height": 9, "width": 15}, "do_center_crop": False},
    ((9, 15), None),
  ),
  "one number of ViT": (
    {
      "image_processor_type": "ViTImageProcessor",
      "size": 14,
      "do_center_crop": False,
    },
    ((14, 14), None),
  ),
  "one number of CLIP": ({"size": 14, "crop_size": 14}, ((21, 14), (14, 14))),
  "one number of an older CLIP": (
    {
      "image_processor_type": None,
      "feature_extractor_type": "CLIPFeatureExtractor",
      "size": 14,
      "crop_size": 14,
    },
    ((21, 14), (14, 14)),
  ),
  "one number and a cut of DeiT": (
    {
      "image_processor_type": "DeiTImageProcessor",
      "size": 16,
      "crop_size": 14,
    },
    ((16, 16), (14, 14)),
  ),
  "a share of ResNet": (
    {
      "image_processor_type": "ConvNextImageProcessor",
      "size": 14,
      "crop_pct": 0.875,
      "do_center_crop": False,
    },
    ((24, 16), (14, 14)),
  ),
  "no scaling": ({"do_resize": False}, ((30, 20), (10, 8))),
}


@pytest.mark.parametrize("kind", SIZES)
def test_every_form_of_the_size_is_read(run, kind):
  changes, (sides, cut) = SIZES[kind]
  config = {**IMAGE, **changes}
  config = {key: value for key, value in config.items() if value is not None}
  x = image(30, 20)
  assert_near(run(config, x), by_pillow(x, sides, 3, cut))


def test_large_images_of_convnext_are_not_cropped(run):
  x = image(20, 30)
  config = {
    **IMAGE,
    "image_processor_type": "ConvNextImageProcessor",
    "size": {"shortest_edge": 384},
    "do_center_crop": False,
  }
  assert_near(run(config, x), by_pillow(x, (384, 384), 3))


def test_without_normalisation_values_are_between_0_and_1(run):
  actual = run({**IMAGE, "do_normalize": False}, image(31, 22))
  assert actual.min() >= 0 and actual.max() <= 1
  assert actual.shape == (10, 8, 3)


def wave(count, seed=0):
  """Two tones and noise."""
  time = np.arange(count) / 16000
  noise = 0.05 * np.random.default_rng(seed).normal(size=count)
  tones = 0.3 * np.sin(2800 * time) + 0.1 * np.sin(9000 * time)
  return (tones + noise + 0.02).astype(np.float32)


@pytest.mark.parametrize("count", [16000, 12345, 20000])
def test_a_waveform_becomes_the_features_of_whisper(tmp_path, count):
  transformers = pytest.importorskip("transformers")
  theirs = transformers.WhisperFeatureExtractor(feature_size=40, chunk_length=1)
  theirs.save_pretrained(tmp_path)
  x = wave(count)
  actual = published(None, x, path=str(tmp_path))
  expected = theirs(x, sampling_rate=16000, return_tensors="np")
  expected = expected["input_features"][0].T
  assert actual.shape == expected.shape == (100, 40)
  np.testing.assert_allclose(actual, expected, atol=1e-3)


@pytest.mark.parametrize("normed", [True, False])
def test_a_waveform_is_normalised_as_for_wav2vec2(tmp_path, normed):
  transformers = pytest.importorskip("transformers")
  theirs = transformers.Wav2Vec2FeatureExtractor(do_normalize=normed)
  theirs.save_pretrained(tmp_path)
  x = wave(3000)
  actual = published(None, x, path=str(tmp_path))
  expected = theirs(x, sampling_rate=16000, return_tensors="np")
  np.testing.assert_allclose(actual, expected["input_values"][0], atol=1e-5)


def test_a_pipeline_takes_the_path_of_a_checkpoint(tmp_path):
  (tmp_path / "preprocessor_config.json").write_text(json.dumps(IMAGE))
  x = image(31, 22)
  steps = parse(f"to_float|published(path='{tmp_path}')")
  actual = steps(jax.random.key(0), x)
  actual = actual[0] if isinstance(actual, tuple) else actual
  assert_near(np.asarray(actual), by_pillow(x, (16, 12), 3, cut=(10, 8)))


@pytest.mark.parametrize(
  ("config", "message"),
  [
    ({"feature_extractor_type": "ASTFeatureExtractor"}, "ASTFeatureExtractor"),
    ({}, "the kind 'unknown'.*WhisperFeatureExtractor"),
    ({**IMAGE, "resample": 0}, "resample=0.*1, 2, 3"),
    ({**IMAGE, "size": {"longest_edge": 9}}, "has no 'height'.*longest"),
    ({"size": 8, "do_normalize": True}, "has no 'image_mean'"),
  ],
)
def test_an_unknown_preprocessor_is_refused(run, config, message):
  with pytest.raises(UserError, match=message):
    run(config, image(20, 30))


def test_a_crop_larger_than_the_image_is_refused(run):
  config = {**IMAGE, "crop_size": {"height": 13, "width": 8}}
  with pytest.raises(ShapeError, match=r"crop 13 by 8 out.*12 by 18"):
    run(config, image(20, 30))


@pytest.mark.parametrize(
  "config",
  [
    {"feature_extractor_type": "Wav2Vec2FeatureExtractor"},
    {"feature_extractor_type": "WhisperFeatureExtractor"},
  ],
)
def test_an_image_is_no_waveform(run, config):
  with pytest.raises(ShapeError, match="waveform"):
    run(config, image(20, 30))


def test_a_checkpoint_without_the_file_is_refused(tmp_path):
  with pytest.raises(UserError, match=r"has no preprocessor_config\.json"):
    published(None, image(9, 9), path=str(tmp_path))
