"""Augmentation depends on the example and its view, and nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.errors import UserError
from kdjax.step.pipeline import parse
from kdjax.step.views import Corruption, Views

B, K = 6, 4


def batch(rows=range(B), view=0):
  """Raw images, waveforms, texts and labels of some examples."""
  rows = np.asarray(rows)
  draw = lambda tag, *shape: np.stack(
    [np.random.default_rng([tag, row]).integers(1, 250, shape) for row in rows]
  )
  return {
    "image": jnp.asarray(draw(0, 8, 8, 3), jnp.uint8),
    "audio": jnp.asarray(draw(1, 32) * 100, jnp.int16),
    "text": jnp.asarray(draw(2, 5), jnp.int32),
    "mask/text": jnp.asarray(np.arange(5) <= rows[:, None] % 5),
    "label": jnp.asarray(rows % K, jnp.int32),
    "index": jnp.asarray(rows + 1000, jnp.int32),
    "view": jnp.full(len(rows), view, jnp.int32),
    "valid": jnp.ones(len(rows), bool),
  }


def views(**pipelines):
  return Views(
    {
      view: {modality: parse(text) for modality, text in of.items()}
      for view, of in pipelines.items()
    },
    classes=K,
  )


AUGMENTED = {
  "train": {"image": "to_float|crop(padding=2)|flip"},
  "evaluation": {"image": "to_float|normalize(mean=(0.5,), std=(0.5,))"},
  "strong": {"image": "to_float|cutout(size=4)", "text": "token_dropout"},
}


def test_raw_values_without_a_pipeline_are_scaled_to_one():
  raw = batch()
  made = views()(raw, train=True)
  image = np.asarray(raw["image"], np.float64) / 255
  np.testing.assert_allclose(made["image"], image, rtol=1e-6)
  audio = np.asarray(raw["audio"], np.float64) / 2**15
  np.testing.assert_allclose(made["audio"], audio, rtol=1e-6)
  for key in ("text", "mask/text", "label", "index", "valid"):
    np.testing.assert_array_equal(made[key], raw[key])


@pytest.mark.slow
def test_evaluation_has_its_own_pipeline_and_draws_nothing():
  raw = batch()
  made = views(**AUGMENTED)(raw, train=False)
  expected = np.asarray(raw["image"], np.float64) / 127.5 - 1
  np.testing.assert_allclose(made["image"], expected, atol=1e-6)


def test_named_views_are_added_to_the_default_one_with_their_masks():
  for train in (True, False):
    made = views(**AUGMENTED)(batch(), train=train)
    assert {"image@strong", "text@strong", "mask/text@strong"} <= made.keys()
    assert made["image@strong"].shape == made["image"].shape


@pytest.mark.slow
def test_what_is_drawn_depends_on_index_and_view_and_not_on_the_batch():
  make = jax.jit(lambda raw: views(**AUGMENTED)(raw, train=True))
  whole = make(batch())
  some = make(batch([4, 1, 1]))
  for key in ("image", "image@strong", "text@strong"):
    np.testing.assert_array_equal(some[key], whole[key][jnp.array([4, 1, 1])])
  again = make(batch(view=1))
  assert not np.array_equal(again["image"], whole["image"])


def test_views_and_seeds_draw_apart():
  same = {"image": "to_float|crop(padding=2)"}
  made = views(train=same, other=same)
  plain = made(batch(), train=True)
  assert not np.array_equal(plain["image"], plain["image@other"])
  other = dataclasses.replace(made, seed=1)(batch(), train=True)
  assert not np.array_equal(plain["image"], other["image"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_two_examples_are_mixed_with_their_labels(name):
  made = views(train={"image": f"to_float|{name}"})
  assert made.partners(batch()) == ("image", "index", "label", "valid")
  raw, other = batch(), batch([3, 4, 5, 0, 1, 2])
  partners = {f"partner/{key}": other[key] for key in made.partners(raw)}
  found = made({**raw, **partners}, train=True)
  target = np.asarray(found["target"], np.float64)
  np.testing.assert_allclose(target.sum(1), 1, atol=1e-6)
  share = target[np.arange(B), np.asarray(raw["label"])]
  own, its = (np.asarray(one["image"]) / 255.0 for one in (raw, other))
  if name == "mixup":
    different = np.asarray(raw["label"]) != np.asarray(other["label"])
    mixed = share[:, None, None, None] * own
    mixed += (1 - share)[:, None, None, None] * its
    np.testing.assert_allclose(
      found["image"][different], mixed[different], atol=1e-5
    )
  else:
    from_own = np.isclose(found["image"], own, atol=1e-6).all(-1)
    from_its = np.isclose(found["image"], its, atol=1e-6).all(-1)
    assert (from_own | from_its).all()


def test_a_mixture_with_an_unlabelled_example_has_no_target():
  made = views(train={"image": "to_float|mixup"})
  raw = {**batch(), "label": jnp.array([0, -1, 2, 3, 0, 1])}
  partners = {
    f"partner/{key}": jnp.roll(raw[key], 1, 0) for key in made.partners(raw)
  }
  found = made({**raw, **partners}, train=True)
  target = found["target"]
  assert found["has/target"].tolist() == [True, False, False, True, True, True]
  assert not target[jnp.array([1, 2])].any()
  np.testing.assert_allclose(
    target[jnp.array([0, 3, 4, 5])].sum(1), 1, atol=1e-6
  )


def test_no_example_is_mixed_with_a_missing_partner():
  made = views(train={"image": "to_float|mixup"})
  raw = {**batch(), "has/image": jnp.ones(B, bool)}
  partners = {f"partner/{key}": raw[key][::-1] for key in made.partners(raw)}
  there = jnp.array([True, False, True, True, True, True])
  partners["partner/has/image"] = there
  partners["partner/valid"] = there
  found = made({**raw, **partners}, train=True)
  own = np.asarray(raw["image"]) / 255.0
  np.testing.assert_allclose(found["image"][1], own[1], atol=1e-6)
  assert found["target"][1].max() == 1.0
  assert not np.allclose(found["image"][0], own[0], atol=1e-3)


def test_a_view_that_mixes_shows_an_example_itself_in_evaluation():
  made = views(mixed={"image": "to_float|mixup"})
  raw = batch()
  found = made(raw, train=False)
  own = np.asarray(raw["image"]) / 255.0
  np.testing.assert_allclose(found["image@mixed"], own, atol=1e-6)


def test_in_evaluation_the_target_is_the_label():
  made = views(train={"image": "to_float|mixup"})
  raw = batch()
  partners = {f"partner/{key}": raw[key] for key in made.partners(raw)}
  target = made({**raw, **partners}, train=False)["target"]
  np.testing.assert_array_equal(target, np.eye(K)[np.asarray(raw["label"])])


def corrupted(by, level, raw):
  made = dataclasses.replace(views(), corruption=by)
  level = jnp.full(len(raw["index"]), level, jnp.float32)
  return made({**raw, "level": level}, train=False)


def test_a_modality_is_missing_in_the_share_that_is_the_level():
  raw = batch(range(2000))
  by = Corruption("image", None, "")
  before = np.ones(2000, bool)
  for level in (0.0, 0.3, 0.7, 1.0):
    has = np.asarray(corrupted(by, level, raw)["has/image"])
    assert abs(has.mean() - (1 - level)) < 0.04
    # Whom a lower level takes it from, a higher one does too.
    assert not (has & ~before).any()
    before = has


def test_a_corruption_of_a_missing_modality_is_an_error():
  with pytest.raises(UserError, match=r"'sound'.*There are: audio, image"):
    corrupted(Corruption("sound", None, ""), 0.0, batch())


def test_what_was_missing_stays_missing():
  has = jnp.arange(B) % 2 == 0
  raw = {**batch(), "has/image": has}
  found = corrupted(Corruption("image", None, ""), 0.0, raw)["has/image"]
  np.testing.assert_array_equal(found, has)


def test_a_level_is_an_option_of_a_pipeline():
  by = Corruption("image", parse("to_float|noise(snr=3.0)"), "noise.snr")
  raw = batch()
  clean = np.asarray(raw["image"]) / 255.0
  gaps = [
    np.abs(corrupted(by, level, raw)["image"] - clean).mean()
    for level in (60.0, 20.0, 0.0)
  ]
  assert gaps[0] < 0.01 < gaps[1] < gaps[2]


def test_training_is_not_corrupted():
  by = Corruption("image", None, "")
  made = dataclasses.replace(views(), corruption=by)(batch(), train=True)
  assert "has/image" not in made


def test_a_pipeline_of_a_missing_modality_is_an_error():
  with pytest.raises(UserError, match=r"'imagee'.*Did you mean 'image'"):
    views(train={"imagee": "to_float"})(batch(), train=True)
