"""Encoders with public weights: their names, masks and what is refused.

tests/test_pretrained_*.py compare them with the original networks.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.errors import ShapeError, UserError
from kdjax.models import _encoder, _patches, bert, clip, dinov2, siglip, vit

ENCODER = {"width": 8, "depth": 2, "heads": 2, "inner": 12}
TOWERS = {
  f"{tower}_{key}": value
  for tower in ("image", "text")
  for key, value in ENCODER.items()
}
SIZE = {"image_size": (8, 8), "patch": 4}
MODELS = {
  "bert": (bert, {**ENCODER, "vocabulary": 11}),
  "roberta": (bert, {**ENCODER, "vocabulary": 11, "offset": 1, "kinds": 1}),
  "distilbert": (bert, {**ENCODER, "vocabulary": 11, "kinds": 0}),
  "vit": (vit, {**ENCODER, **SIZE, "pooler": True, "qkv_bias": False}),
  "deit": (
    vit,
    {
      **ENCODER,
      **SIZE,
      "distillation_token": True,
      "distillation_head": True,
    },
  ),
  "dinov2": (dinov2, {**ENCODER, **SIZE, "registers": 2}),
  "dinov2, gated": (dinov2, {**ENCODER, **SIZE, "gated": True}),
  "clip": (clip, {**TOWERS, **SIZE, "vocabulary": 11, "length": 9}),
  "siglip": (siglip, {**TOWERS, **SIZE, "vocabulary": 11, "length": 9}),
}
# Positions of a text after the first four.
LATE = np.arange(6) > 3

# Published CLIP and SigLIP have no classifier.
CLASSES = {"clip": None, "siglip": None}


def inputs():
  random = np.random.default_rng(0)
  return {
    "image": jnp.asarray(random.normal(size=(3, 8, 8, 3)), jnp.float32),
    "text": jnp.asarray(random.integers(2, 11, (3, 6))),
    "mask/text": jnp.asarray(np.arange(6) < np.array([6, 3, 1])[:, None]),
  }


def make(name, **options):
  file, fields = MODELS[name]
  return file.Model(**{**fields, **options})


@functools.cache
def variables(name):
  model = make(name)
  initial = jax.jit(functools.partial(model.init, train=False))(
    jax.random.key(0), inputs()
  )
  random = np.random.default_rng(1)
  move = lambda leaf: leaf + 0.3 * random.normal(size=leaf.shape).astype("f4")
  return jax.tree.map(move, initial)


def run(name, inputs, **options):
  model = make(name, **options)
  infer = jax.jit(functools.partial(model.apply, train=False))
  return infer(variables(name), inputs)


@pytest.mark.parametrize("name", MODELS)
def test_every_leaf_has_a_public_name_of_its_own(name):
  model = make(name, num_classes=CLASSES.get(name, 5))
  shapes = jax.eval_shape(
    functools.partial(model.init, train=False), jax.random.key(0), inputs()
  )
  leaves = {
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, _ in jax.tree.leaves_with_path(shapes)
  }
  tables = MODELS[name][0].names(model)
  for table in [tables] if isinstance(tables, dict) else tables:
    assert table.keys() == leaves
    assert len({*table.values()}) == len(table)


# Padding and causality


def moved(words, where):
  """Replaces the token ids at the positions `where`."""
  return jnp.where(where, (words - 1) % 9 + 2, words)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "roberta", "clip", "siglip"])
def test_the_content_of_padding_changes_no_output(name):
  batch = inputs()
  other = moved(batch["text"], ~batch["mask/text"])
  assert (other != batch["text"]).any()
  actual = run(name, {**batch, "text": other})
  for key, value in run(name, batch).items():
    np.testing.assert_array_equal(actual[key], value, err_msg=key)


@pytest.mark.slow
def test_texts_of_clip_are_causal():
  words = inputs()["text"]
  before = run("clip", {"text": words}, end=10)
  after = run("clip", {"text": moved(words, LATE[None])}, end=10)
  for key in ("text/block01", "text/tokens"):
    changed = ~np.isclose(before[key], after[key], atol=1e-6).all((0, 2))
    np.testing.assert_array_equal(changed, LATE)
  assert not np.triu(before["text/attention00"], 1).any()


@pytest.mark.slow
def test_siglip_pads_a_short_text():
  words = inputs()["text"]
  filled = jnp.concatenate([words, jnp.full((3, 3), 1)], axis=1)
  long = run("siglip", {"text": filled})
  for key, value in run("siglip", {"text": words}).items():
    np.testing.assert_allclose(value, long[key], rtol=1e-5, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"fused": True}, {"remat": True}], ids=str)
@pytest.mark.parametrize("name", ["clip", "dinov2, gated"])
def test_remat_and_fused_attention_give_equal_outputs(name, fields):
  batch = inputs()
  actual = run(name, batch, **fields)
  for key, value in run(name, batch).items():
    np.testing.assert_allclose(
      actual[key], value, rtol=1e-4, atol=1e-4, err_msg=key
    )


@pytest.mark.parametrize("name", ["bert", "clip"])
def test_a_text_longer_than_the_position_embeddings_is_refused(name):
  words = {"text": jnp.ones((1, 513), jnp.int32)}
  with pytest.raises(ShapeError, match="513 positions"):
    jax.eval_shape(lambda: run(name, words))


# Position embeddings of another size


def test_a_row_of_two_positions_is_doubled_by_the_cubic_kernel():
  places = jnp.asarray([[1.0], [0.0]])
  resized = _patches.resize(places, (1, 2), (1, 4))
  # Keys' kernel with a = -3/4, at 1/4 and 3/4 of the distance. Taps beyond an
  # end count as the nearest position; the first and last lie outside.
  inner = 0.87890625 - 0.10546875
  outer = 1 + 0.10546875
  np.testing.assert_allclose(
    resized[:, 0], [outer, inner, 1 - inner, 1 - outer], rtol=1e-6
  )


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(2, 3), (5, 9), (11, 4)], ids=str)
def test_equal_positions_stay_equal_at_any_size(size, antialias):
  places = jnp.concatenate([jnp.full((2, 3), 7.0), jnp.full((20, 3), 4.0)])
  resized = _patches.resize(places, (4, 5), size, 2, antialias)
  assert resized.shape == (2 + size[0] * size[1], 3)
  np.testing.assert_array_equal(resized[:2], 7.0)
  np.testing.assert_allclose(resized[2:], 4.0, rtol=1e-6)


def test_antialiasing_uses_every_old_position():
  weights = _patches._weights(12, 2, antialias=True)
  assert (weights != 0).all()
  assert (_patches._weights(12, 2, antialias=False) != 0).sum() == 8


# What is refused

REFUSED = {
  "bert": (bert, {"position_embedding_type": "relative_key"}),
  "bert decoder": (bert, {"is_decoder": True}),
  "bert activation": (bert, {"hidden_act": "mish"}),
  "distilbert": (bert, {"model_type": "distilbert", "activation": "mish"}),
  "vit": (vit, {"pooler_act": "relu"}),
  "vit patch": (vit, {"patch_size": [4, 8]}),
  "dinov2": (dinov2, {"hidden_act": "mish"}),
  "clip": (clip, {"vision_config": {"hidden_act": "gelu"}}),
  "siglip": (siglip, {"vision_config": {"vision_use_head": False}}),
  "siglip width": (siglip, {"text_config": {"projection_size": 3}}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_unsupported_config_is_refused_by_key_and_value(name):
  file, config = REFUSED[name]
  with pytest.raises(UserError, match=r"=.* in config\.json is not supported"):
    file.options(config)


@pytest.mark.parametrize("name", ["bert", "vit", "dinov2"])
def test_an_unknown_pooling_is_refused(name):
  with pytest.raises(UserError, match="No pooling 'max'"):
    jax.eval_shape(lambda: run(name, inputs(), pooling="max"))


def test_an_unknown_activation_is_refused():
  with pytest.raises(UserError, match="Did you mean 'gelu'"):
    jax.eval_shape(lambda: run("bert", inputs(), activation="gelus"))


def test_classes_are_counted_if_there_is_a_classifier():
  labels = {"id2label": {"0": "a", "1": "b", "2": "c"}}
  named = {"architectures": ["BertForSequenceClassification"]}
  assert _encoder.classes({**labels, **named}) == 3
  assert _encoder.classes({"num_labels": 4, **named}) == 4
  assert _encoder.classes({**labels, "architectures": ["BertModel"]}) is None
