"""Encoders that take public weights: their names, masks and what is refused.

That they give what the originals give is tested beside these.
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
# Words of a text behind the first four.
LATE = np.arange(6) > 3

# Those of CLIP and SigLIP have no classifier: their heads are never published.
CLASSES = {"clip": None, "siglip": None}


def inputs():
  random = np.random.default_rng(0)
  return {
    "image": jnp.asarray(random.normal(size=(3, 8, 8, 3)), jnp.float32),
    "text": jnp.asarray(random.integers(2, 11, (3, 6))),
    "mask/text": jnp.asarray(np.arange(6) < np.array([6, 3, 1])[:, None]),
  }


def make(name, **options):
  file, given = MODELS[name]
  return file.Model(**{**given, **options})


@functools.cache
def variables(name):
  model = make(name)
  made = jax.jit(functools.partial(model.init, train=False))(
    jax.random.key(0), inputs()
  )
  random = np.random.default_rng(1)
  move = lambda leaf: leaf + 0.3 * random.normal(size=leaf.shape).astype("f4")
  return jax.tree.map(move, made)


def run(name, given, **options):
  model = make(name, **options)
  infer = jax.jit(functools.partial(model.apply, train=False))
  return infer(variables(name), given)


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


# What a text sees


def moved(words, where):
  """Other words where that is True."""
  return jnp.where(where, (words - 1) % 9 + 2, words)


@pytest.mark.parametrize("name", ["bert", "roberta", "clip", "siglip"])
def test_what_lies_at_padding_changes_no_output(name):
  given = inputs()
  other = moved(given["text"], ~given["mask/text"])
  assert (other != given["text"]).any()
  actual = run(name, {**given, "text": other})
  for key, value in run(name, given).items():
    np.testing.assert_array_equal(actual[key], value, err_msg=key)


def test_clip_reads_no_word_before_its_turn():
  given = {"text": inputs()["text"]}
  before = run("clip", given, end=10)
  after = run("clip", {"text": moved(given["text"], LATE[None])}, end=10)
  for key in ("text/block01", "text/tokens"):
    changed = ~np.isclose(before[key], after[key], atol=1e-6).all((0, 2))
    np.testing.assert_array_equal(changed, LATE)
  assert not np.triu(before["text/attention00"], 1).any()


def test_siglip_fills_a_short_text_with_padding():
  words = inputs()["text"]
  filled = jnp.concatenate([words, jnp.full((3, 3), 1)], axis=1)
  long = run("siglip", {"text": filled})
  for key, value in run("siglip", {"text": words}).items():
    np.testing.assert_allclose(value, long[key], rtol=1e-5, err_msg=key)


@pytest.mark.parametrize("fields", [{"fused": True}, {"remat": True}], ids=str)
@pytest.mark.parametrize("name", ["clip", "dinov2, gated"])
def test_what_costs_less_gives_the_same(name, fields):
  given = inputs()
  actual = run(name, given, **fields)
  for key, value in run(name, given).items():
    np.testing.assert_allclose(
      actual[key], value, rtol=1e-4, atol=1e-4, err_msg=key
    )


@pytest.mark.parametrize("name", ["bert", "clip"])
def test_a_text_beyond_the_table_of_places_is_refused(name):
  words = {"text": jnp.ones((1, 513), jnp.int32)}
  with pytest.raises(ShapeError, match="513 positions"):
    jax.eval_shape(lambda: run(name, words))


# Places of another size


def test_a_row_of_two_places_is_doubled_by_the_cubic_kernel():
  places = jnp.asarray([[1.0], [0.0]])
  found = _patches.resize(places, (1, 2), (1, 4))
  # Of Keys' kernel with a = -3/4, at 1/4 and 3/4 of the way; its taps beyond an
  # end count for the nearest. The first and the last lie outside of both.
  inner = 0.87890625 - 0.10546875
  outer = 1 + 0.10546875
  np.testing.assert_allclose(
    found[:, 0], [outer, inner, 1 - inner, 1 - outer], rtol=1e-6
  )


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(2, 3), (5, 9), (11, 4)], ids=str)
def test_places_that_are_alike_stay_so_at_any_size(size, antialias):
  places = jnp.concatenate([jnp.full((2, 3), 7.0), jnp.full((20, 3), 4.0)])
  found = _patches.resize(places, (4, 5), size, 2, antialias)
  assert found.shape == (2 + size[0] * size[1], 3)
  np.testing.assert_array_equal(found[:2], 7.0)
  np.testing.assert_allclose(found[2:], 4.0, rtol=1e-6)


def test_antialiasing_sees_all_that_is_left_out():
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
def test_a_config_that_is_not_built_is_refused_by_key_and_value(name):
  file, config = REFUSED[name]
  with pytest.raises(UserError, match=r"=.* in config\.json is not built"):
    file.options(config)


@pytest.mark.parametrize("name", ["bert", "vit", "dinov2"])
def test_a_pooling_that_is_not_there_is_refused(name):
  with pytest.raises(UserError, match="No pooling 'max'"):
    jax.eval_shape(lambda: run(name, inputs(), pooling="max"))


def test_an_activation_that_is_not_there_is_refused():
  with pytest.raises(UserError, match="Did you mean 'gelu'"):
    jax.eval_shape(lambda: run("bert", inputs(), activation="gelus"))


def test_classes_are_counted_where_there_is_a_classifier():
  labels = {"id2label": {"0": "a", "1": "b", "2": "c"}}
  named = {"architectures": ["BertForSequenceClassification"]}
  assert _encoder.classes({**labels, **named}) == 3
  assert _encoder.classes({"num_labels": 4, **named}) == 4
  assert _encoder.classes({**labels, "architectures": ["BertModel"]}) is None
