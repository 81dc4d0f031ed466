"""What `configs/caption.py` says of the answer without training."""

import importlib.util
import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest
from test_data_sets import ROOT, there

from kdjax.data import emoji
from kdjax.metrics import captions

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


def config():
  path = CONFIGS / "caption.py"
  spec = importlib.util.spec_from_file_location("caption_config", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def split(name):
  options = config().get_config().data.to_dict()
  kept = ("size", "vocabulary_size", "length", "apart")
  options = {key: options[key] for key in kept}
  return emoji.load(name, root=ROOT, **options).columns


def nearest(images, known):
  """Rows of the known images with the smallest squared distance of pixels."""
  images, known = (
    it.reshape(len(it), -1).astype(np.float64) for it in (images, known)
  )
  squares = (known**2).sum(1) - 2 * images @ known.T
  return squares.argmin(1)


@there
def test_the_name_of_the_nearest_training_picture_is_as_good_as_stated():
  pytest.importorskip("sacrebleu")
  training, test = split("train"), split("test")
  written = training["text"][nearest(test["image"], training["image"])]
  arrays = (written, test["text"], np.ones(len(written), bool))
  kept = captions.rows(*map(jnp.asarray, arrays))
  found = captions.result({key: np.asarray(x) for key, x in kept.items()})
  (stated,) = re.findall(r"^  nearest(.*)$", config().__doc__, re.MULTILINE)
  names = ("cider_d", "bleu4", "rouge_l")
  for name, value in zip(names, stated.split(), strict=True):
    assert found[name] == pytest.approx(float(value), abs=6e-4), name


@there
def test_the_network_knows_the_words_of_the_names():
  module = config()
  options = {"vocabulary_size": module.WORDS, "apart": True, "root": ROOT}
  assert emoji.ids(**options)["text"] == module.NAMES
  assert emoji.ids(**options)["keywords"] <= module.WORDS
