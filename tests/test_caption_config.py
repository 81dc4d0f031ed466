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


def split(name, mode="", seed=0):
  options = config().get_config(mode).data.to_dict()
  kept = ("size", "vocabulary_size", "length", "apart", "names_per_class")
  options = {key: options[key] for key in kept}
  return emoji.load(name, seed, root=ROOT, **options).columns


def nearest(images, known):
  """Rows of the known images with the smallest squared distance of pixels."""
  images, known = (
    it.reshape(len(it), -1).astype(np.float64) for it in (images, known)
  )
  squares = (known**2).sum(1) - 2 * images @ known.T
  return squares.argmin(1)


@there
@pytest.mark.parametrize("mode", ["", "few"])
def test_the_name_of_the_nearest_training_picture_is_as_good_as_stated(mode):
  pytest.importorskip("sacrebleu")
  found = []
  for seed in range(config().get_config(mode).seeds):
    training, test = split("train", mode, seed), split("test", mode)
    has = training.get("has/text", np.ones(len(training["text"]), bool))
    rows = nearest(test["image"], training["image"][has])
    written = training["text"][has][rows]
    arrays = (written, test["text"], np.ones(len(written), bool))
    kept = captions.rows(*map(jnp.asarray, arrays))
    found.append(
      captions.result({key: np.asarray(x) for key, x in kept.items()})
    )
  (stated,) = re.findall(
    rf"^  nearest, {mode or 'all'}(.*)$", config().__doc__, re.M
  )
  names = ("cider_d", "bleu4", "rouge_l")
  for name, value in zip(names, stated.split(), strict=True):
    mean = np.mean([it[name] for it in found])
    assert mean == pytest.approx(float(value), abs=6e-4), name


@there
def test_the_network_knows_the_words_of_the_names():
  module = config()
  options = {"vocabulary_size": module.WORDS, "apart": True, "root": ROOT}
  assert emoji.ids(**options)["text"] == module.NAMES
  assert emoji.ids(**options)["keywords"] <= module.WORDS
