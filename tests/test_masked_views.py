"""Views that hide positions: what is hidden, what counts, what is computed."""

import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_objective import term
from test_transforms import is_even, key_of, many

import kdjax
from kdjax import config
from kdjax.errors import ShapeError, UserError
from kdjax.heads import linear, masked_decoder, patches
from kdjax.losses.cross_entropy import cross_entropy
from kdjax.models import (
  _visible,
  patch_transformer,
  spectrogram_transformer,
  text_transformer,
)
from kdjax.stage.once import Once
from kdjax.step.addresses import Address
from kdjax.step.objective import Objective
from kdjax.step.pipeline import parse
from kdjax.step.state import Fixed
from kdjax.step.views import Views
from kdjax.transforms.mask_patches import mask_patches
from kdjax.transforms.mask_tokens import mask_tokens

TEXT = np.array([5, 6, 7, 8, 9, 5, 0, 0], np.int32)
WORDS = TEXT > 0


def normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# Tokens


@pytest.mark.parametrize("rate", [0.0, 0.15])
def test_tokens_are_hidden_at_the_rate_and_padding_never(rate):
  made, masks, hidden = many(
    mask_tokens, 2000, TEXT, jnp.asarray(WORDS), rate=rate, token=20
  )
  assert (masks == WORDS[None]).all() and not hidden[:, ~WORDS].any()
  np.testing.assert_array_equal(made, np.where(hidden, 20, TEXT[None]))
  np.testing.assert_allclose(hidden[:, WORDS].mean(0), rate, atol=0.05)


def test_of_hidden_tokens_80_percent_are_masked_10_random_10_kept():
  made, _, hidden = many(
    mask_tokens,
    4000,
    TEXT,
    jnp.asarray(WORDS),
    rate=1.0,
    random=0.1,
    kept=0.1,
    token=2000,
    first=1000,
  )
  assert hidden[:, WORDS].all()
  made, text = made[:, WORDS], np.broadcast_to(TEXT[WORDS], (4000, 6))
  shares = [made == 2000, (made >= 1000) & (made < 2000), made == text]
  assert sum(shares).all()
  actual = [share.mean() for share in shares]
  np.testing.assert_allclose(actual, [0.8, 0.1, 0.1], atol=0.01)


def test_random_tokens_are_any_word_equally_often():
  made, *_ = many(
    mask_tokens, 2000, TEXT, jnp.asarray(WORDS), rate=1.0, random=1.0, token=9
  )
  counts = np.bincount(made[:, WORDS].ravel(), minlength=9)
  assert [*counts[:2]] == [0, 0] and len(counts) == 9 and is_even(counts[2:])


def test_a_vocabulary_without_words_is_answered():
  with pytest.raises(UserError, match="from 2 in a vocabulary of 2"):
    mask_tokens(key_of(0), TEXT, WORDS, token=2)


# Patches


def covered(hidden, rows, columns, patch):
  """bool: the values of hidden patches of an array."""
  count = -(-columns // patch)
  values = np.zeros((len(hidden), rows, columns), bool)
  for row, column in itertools.product(range(rows), range(columns)):
    place = row // patch * count + column // patch
    values[:, row, column] = hidden[:, place]
  return values


@pytest.mark.parametrize("rate", [0.75, 0.8])
def test_a_fixed_part_of_the_patches_is_hidden_each_equally_often(rate):
  x = 1.0 + normal(8, 10, 2) ** 2
  made, hidden = many(mask_patches, 2000, x, patch=4, rate=rate, fill=0.0)
  assert hidden.shape == (2000, 6)
  shown = int(round((1 - rate) * 6, 6))
  assert (hidden.sum(axis=1) == 6 - shown).all()
  np.testing.assert_allclose(hidden.mean(axis=0), 1 - shown / 6, atol=0.06)
  zero = covered(hidden, 8, 10, 4)[..., None]
  np.testing.assert_array_equal(made, np.where(zero, 0, x[None]))


def test_patches_that_are_padding_are_not_hidden():
  x, mask = 1.0 + normal(10, 6) ** 2, np.arange(10) < 5
  made, masks, hidden = many(mask_patches, 400, x, jnp.asarray(mask), rate=0.5)
  assert (masks == mask[None]).all()
  # Two patches of frames, with two of frequencies each, have such a frame.
  assert hidden.shape == (400, 6) and not hidden[:, 4:].any()
  assert (hidden.sum(axis=1) == 2).all()
  zero = covered(hidden, 10, 6, 4)
  np.testing.assert_array_equal(made, np.where(zero, 0, x[None]))


def test_without_a_value_the_example_stays_as_it_is():
  x = normal(8, 8, 3)
  made, hidden = mask_patches(key_of(0), x, fill=None)
  np.testing.assert_array_equal(made, x)
  assert hidden.sum() == 3


def test_a_waveform_has_no_patches():
  with pytest.raises(ShapeError, match=r"\[40\].*spectrogram"):
    mask_patches(key_of(0), normal(40))


# Views


def test_a_pipeline_hides_last():
  assert parse("to_float|mask_patches").hides
  assert not parse("crop|noise").hides
  with pytest.raises(UserError, match="'mask_patches' before other"):
    parse("mask_patches|flip")


def test_hiding_is_not_done_once():
  data = {"image": jax.ShapeDtypeStruct((8, 8, 3), np.uint8)}
  with pytest.raises(UserError, match=r"once\.image hides positions"):
    Once({"image": parse("to_float|mask_patches")}).spec(data)


def text_batch(rows=6, length=8):
  lengths = 3 + np.arange(rows) % (length - 2)
  mask = np.arange(length) < lengths[:, None]
  ids = np.random.default_rng(0).integers(2, 11, (rows, length))
  return {
    "text": jnp.asarray(np.where(mask, ids, 0), jnp.int32),
    "mask/text": jnp.asarray(mask),
    "index": jnp.arange(rows, dtype=jnp.int32),
    "view": jnp.zeros(rows, jnp.int32),
    "valid": jnp.arange(rows) < rows - 1,
  }


MASKED = Views({"masked": {"text": parse("mask_tokens(token=11, rate=0.5)")}})


@pytest.mark.slow
def test_a_view_says_what_it_hides_and_others_hide_nothing():
  raw = text_batch()
  made = MASKED(raw, train=True)
  assert [key for key in made if key.startswith("hidden/")] == [
    "hidden/text@masked"
  ]
  hidden = np.asarray(made["hidden/text@masked"])
  np.testing.assert_array_equal(made["text"], raw["text"])
  np.testing.assert_array_equal(
    made["text@masked"], np.where(hidden, 11, raw["text"])
  )
  again = MASKED(raw, train=False)["hidden/text@masked"]
  np.testing.assert_array_equal(again, hidden)
  for row in range(6):
    one = jax.tree.map(lambda array, row=row: array[row : row + 1], raw)
    alone = MASKED(one, train=True)["hidden/text@masked"]
    np.testing.assert_array_equal(alone[0], hidden[row])


@pytest.mark.slow
def test_a_masked_language_model_counts_hidden_tokens_alone():
  raw = text_batch()
  student = text_transformer.Model(vocabulary=12, width=8)
  reads = {
    "student": "student@masked/tokens",
    "label": "batch/text",
    "mask": "batch/hidden/text@masked",
  }
  predicted = term(
    "mlm", cross_entropy, reads, heads={"student": linear.Head(width=11)}
  )
  objective = Objective({"student": student}, {}, (predicted,), views=MASKED)
  fixed = Fixed(teachers={}, numbers={"mlm": {"weight": jnp.float32(1)}})
  variables = objective.init(key_of(1), fixed, raw)
  flow = objective.flow(variables, fixed, raw)
  value = objective.values(objective.reader(flow), jnp.int32(0))["mlm"]
  tokens = np.asarray(flow[Address.parse(reads["student"])], np.float64)
  params = variables["heads"]["mlm:student"]["params"]["Dense_0"]
  logits = tokens @ np.asarray(params["kernel"]) + np.asarray(params["bias"])
  losses = []
  for row, place in np.argwhere(flow.batch["hidden/text@masked"]):
    if raw["valid"][row]:
      scores = logits[row, place]
      truth = scores[raw["text"][row, place]]
      losses.append(np.log(np.exp(scores).sum()) - truth)
  assert value.count == len(losses) > 3
  np.testing.assert_allclose(value.mean, np.mean(losses), rtol=1e-5)


# Networks that compute visible patches alone


SIZES = {"width": 8, "depth": 2, "patch": 4, "visible": 3}
IMAGES = functools.partial(patch_transformer.Model, **SIZES)
SOUNDS = functools.partial(
  spectrogram_transformer.Model, **SIZES, stride=4, length=24
)


def started(model, inputs):
  """Random variables, larger than usual ones."""
  rng = np.random.default_rng(1)
  start = functools.partial(model.init, train=False)
  shapes = jax.eval_shape(start, key_of(0), inputs)
  draw = lambda leaf: jnp.float32(0.3 * rng.normal(size=leaf.shape))
  return jax.tree.map(draw, shapes)


@functools.cache
def applied(model):
  return jax.jit(functools.partial(model.apply, train=False))


def hidden_rows(total, visible):
  """bool [rows total]: as many are visible as the row's number says."""
  rng = np.random.default_rng(2)
  rows = [rng.permutation(total) >= count for count in visible]
  return jnp.asarray(np.stack(rows))


@pytest.mark.slow
@pytest.mark.parametrize(
  ("model", "key", "shape", "options"),
  [
    (IMAGES, "image", (8, 12, 3), {}),
    (IMAGES, "image", (8, 12, 3), {"pooling": "cls", "registers": 2}),
    (SOUNDS, "audio", (12, 8), {}),
    (SOUNDS, "audio", (12, 8), {"pooling": "cls"}),
  ],
)
def test_hidden_patches_are_not_computed(model, key, shape, options):
  model = model(num_classes=5, **options)
  x = normal(3, *shape)
  hidden = hidden_rows(6, [3, 3, 2])
  inputs = {key: x, f"hidden/{key}": hidden}
  variables = started(model, inputs)
  outputs = applied(model)(variables, inputs)
  extra = 1 if options else 0
  assert outputs["tokens"].shape == (3, 3 + extra, 8)
  assert outputs["places"].shape == (3, 3)
  for row in range(3):
    places = np.flatnonzero(~hidden[row])
    np.testing.assert_array_equal(outputs["places"][row, : len(places)], places)
    assert (outputs["places"][row, len(places) :] == 6).all()
  # Their values have no influence.
  values = covered(np.asarray(hidden), *shape[:2], 4)
  values = values.reshape(values.shape + (1,) * (len(shape) - 2))
  other = applied(model)(
    variables, {**inputs, key: np.where(values, normal(3, *shape, seed=4), x)}
  )
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=1e-5), other, outputs
  )
  assert np.abs(outputs["logits"]).max() > 1e-2
  # A row with two visible patches equals one of a network that has two.
  fewer = model.clone(visible=2)
  last = applied(fewer)(variables, jax.tree.map(lambda one: one[2:], inputs))
  np.testing.assert_allclose(last["logits"], outputs["logits"][2:], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("model", "key", "shape"),
  [(IMAGES, "image", (8, 12, 3)), (SOUNDS, "audio", (12, 8))],
)
def test_with_nothing_hidden_the_outputs_are_those_of_all_patches(
  model, key, shape
):
  model = model(num_classes=5).clone(visible=6)
  x = normal(2, *shape)
  variables = started(model, {key: x})
  whole = applied(model)(variables, {key: x})
  nothing = {key: x, f"hidden/{key}": jnp.zeros((2, 6), bool)}
  shown = applied(model)(variables, nothing)
  for name in ("logits", "tokens", "block01", "attention00"):
    np.testing.assert_allclose(shown[name], whole[name], atol=1e-5)


def test_patches_of_another_number_are_answered():
  x = jnp.zeros((2, 6, 3))
  with pytest.raises(ShapeError, match=r"has 6 patches.*some of 5"):
    _visible.chosen(x, jnp.zeros((2, 5), bool), 2)
  with pytest.raises(ShapeError, match="visible=7 and 6 patches"):
    _visible.chosen(x, jnp.zeros((2, 6), bool), 7)


# Heads


@pytest.mark.slow
def test_patches_are_in_the_order_of_the_transform_and_the_network():
  x = np.arange(2 * 8 * 6 * 3, dtype=np.float32).reshape(2, 8, 6, 3)
  made = patches.Head(patch=4, normalize=False).apply({}, x)
  assert made.shape == (2, 4, 48)
  first = x[0, :4, 4:]
  expected = np.zeros((4, 4, 3), np.float32)
  expected[:, :2] = first
  np.testing.assert_array_equal(made[0, 1].reshape(4, 4, 3), expected)
  hidden = np.zeros((2, 4), bool)
  hidden[:, 2] = True
  marked = covered(hidden, 8, 6, 4)[..., None].astype(np.float32)
  ones = patches.Head(patch=4, normalize=False).apply({}, marked)
  np.testing.assert_array_equal(np.asarray(ones).any(axis=2), hidden)


def test_normalized_patches_have_mean_0_and_variance_1():
  made = patches.Head(patch=2).apply({}, 3 + 2 * normal(2, 8, 6))
  np.testing.assert_allclose(made.mean(axis=-1), 0, atol=1e-5)
  np.testing.assert_allclose(made.var(axis=-1), 1, atol=1e-4)


@pytest.mark.slow
def test_padding_changes_no_predicted_patch():
  encoder, decoder = SOUNDS(), masked_decoder.Head(width=16, depth=2)
  x = normal(2, 12, 8)
  hidden = hidden_rows(6, [3, 2])
  variables = started(encoder, {"audio": x})
  run = jax.jit(decoder.apply)

  def predicted(frames, hidden, params=None):
    mask = jnp.broadcast_to(jnp.arange(frames) < 12, (2, frames))
    sound = np.full((2, frames, 8), 9.0, np.float32)
    sound[:, :12] = x
    inputs = {"audio": sound, "mask/audio": mask, "hidden/audio": hidden}
    outputs = applied(encoder)(variables, inputs)
    read = (outputs["tokens"], outputs["places"], hidden)
    return read, run(params, read) if params else None

  longer = jnp.pad(hidden, ((0, 0), (0, 4)))
  read, _ = predicted(20, longer)
  params = jax.tree.map(
    lambda leaf: leaf + 0.1, jax.jit(decoder.init)(key_of(3), read)
  )
  short = jax.tree.map(lambda leaf: leaf, params)
  short["params"]["places"] = params["params"]["places"][:6]
  whole = predicted(20, longer, params)[1]
  np.testing.assert_allclose(
    whole[:, :6], predicted(12, hidden, short)[1], atol=3e-4
  )
  assert not whole[:, 6:].any() and np.abs(whole[:, :6]).max() > 0.01


def test_a_decoder_needs_a_place_of_every_token():
  read = (jnp.zeros((2, 4, 8)), jnp.zeros((2, 3), int), jnp.ones((2, 6), bool))
  with pytest.raises(ShapeError, match=r'tokens.*pooling="mean"'):
    jax.eval_shape(masked_decoder.Head(width=5).init, key_of(0), read)


# Stages


@pytest.mark.slow
def test_data2vec_is_a_stage_with_the_students_average(tmp_path):
  body = {"patch": 4, "width": 8, "depth": 2}
  blocks = tuple(f"average/block{index:02d}" for index in (0, 1))
  hidden = "batch/hidden/image@masked"
  matched = config.term(
    "data2vec",
    reads={
      "student": "student@masked/tokens",
      "teacher": blocks,
      "mask": hidden,
    },
    heads={"student": config.head("linear")},
  )
  masked = {"masked": {"image": "mask_patches(patch=4, rate=0.5)"}}
  plan = config.experiment(
    "data2vec",
    seeds=1,
    data=config.data("digits", pipelines=masked),
    stages={
      "pretrain": config.stage(
        config.network("patch_transformer", **body),
        teachers={"average": config.average()},
        terms={"data2vec": matched},
        ema_decay=0.9,
        steps=2,
        batch_size=16,
        eval_every=2,
        metrics={},
        select="loss/data2vec",
        select_mode="min",
        optimizer=config.optimizer("adamw", learning_rate=1e-3),
      ),
      "classifier": config.stage(
        config.network(
          "patch_transformer", num_classes=10, init_from="pretrain", **body
        ),
        terms={"cross_entropy": config.term("cross_entropy")},
        steps=1,
        batch_size=16,
        eval_every=1,
        optimizer=config.optimizer("adamw", learning_rate=1e-3),
      ),
    },
  )
  results = kdjax.run(plan, tmp_path / "run", quiet=True)
  assert [*results["stages"]] == ["pretrain", "classifier"]
  lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
  losses = [
    line["value"]
    for line in map(json.loads, lines)
    if line["name"].endswith("loss/data2vec")
  ]
  assert losses and np.isfinite(losses).all()
