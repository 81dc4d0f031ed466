"""Pipelines: parsing, and transforms in order with a key each."""

import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import registry
from kdjax.errors import UserError
from kdjax.step import pipeline
from kdjax.transforms.crop import crop
from kdjax.transforms.flip import flip
from kdjax.transforms.mixup import mixup
from kdjax.transforms.noise import noise
from kdjax.transforms.time_shift import time_shift
from kdjax.transforms.token_dropout import token_dropout

MINE = '''
"""Adds."""


def mine(key, x, *, much=1.0):
  """Adds `much`."""
  return x + much


def other(key, x, *, much=1.0):
  """Takes `much` away."""
  return x - much


def wrong(key, x, label):
  """Knows a label."""
  return x


def needing(key, x, *, much):
  """Adds what has no default."""
  return x + much
'''

KEY, PARTNER_KEY = jax.random.key(1), jax.random.key(2)
IMAGE = np.random.default_rng(0).random((6, 5, 3)).astype(np.float32)
OTHER = np.random.default_rng(1).random((6, 5, 3)).astype(np.float32)


@pytest.fixture
def mine(tmp_path, monkeypatch):
  """A file of transforms, which is a module as well."""
  (tmp_path / "mine.py").write_text(MINE)
  (tmp_path / "lab_of_transforms").mkdir()
  (tmp_path / "lab_of_transforms" / "mine.py").write_text(MINE)
  monkeypatch.syspath_prepend(tmp_path)
  return tmp_path / "mine.py"


def result(text, x=IMAGE, *arguments, **more):
  return pipeline.parse(text)(KEY, x, *arguments, **more)[:3]


def step_key(place, key=KEY):
  return jax.random.fold_in(key, place)


def equal(actual, expected):
  np.testing.assert_array_equal(np.asarray(actual), np.asarray(expected))


# Reading


def test_a_string_is_names_with_options_in_its_order():
  parsed = pipeline.parse(
    "crop(padding=2, mode='reflect')|flip| normalize(mean=(0.5,), std=[.2, -1])"
  )
  assert [step.name for step in parsed.steps] == ["crop", "flip", "normalize"]
  assert [step.options for step in parsed.steps] == [
    (("padding", 2), ("mode", "reflect")),
    (),
    (("mean", (0.5,)), ("std", (0.2, -1))),
  ]
  assert parsed.steps[0].function is crop


def test_a_pipeline_prints_its_string():
  text = "crop(padding=2, mode='zero')|flip|normalize(mean=(0.5,))"
  assert str(pipeline.parse(text)) == text
  assert pipeline.parse(str(pipeline.parse(text))) == pipeline.parse(text)


def test_equal_pipelines_are_one_key_of_a_dictionary():
  first = pipeline.parse("crop(padding=2)|flip")
  again = pipeline.parse(" crop( padding = 2 ) | flip ")
  assert first == again and hash(first) == hash(again)
  assert first != pipeline.parse("crop(padding=3)|flip")
  assert first != pipeline.parse("flip|crop(padding=2)")


def test_a_pipeline_can_be_sent_to_another_process():
  parsed = pipeline.parse("crop(padding=2)|flip")
  assert pickle.loads(pickle.dumps(parsed)) == parsed


def test_lines_may_be_broken_and_brackets_set():
  parsed = pipeline.parse("\n  crop(\n    padding=2)\n  | (flip\n  | cutout)\n")
  assert str(parsed) == "crop(padding=2)|flip|cutout"


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_string_changes_nothing(text):
  made, mask, share = result(text)
  equal(made, IMAGE)
  assert mask is None and share == 1.0 and share.dtype == np.float32


def test_a_transform_may_come_from_outside(mine):
  for text in (
    f"'{mine}'(much=2.0)",
    f"'{mine}:mine'(much=2.0)",
    f'flip(probability=0.0)|"{mine}"(much=2.0)',
    "lab_of_transforms.mine(much=2.0)",
    "'lab_of_transforms.mine:mine'(much=2.0)",
  ):
    with warnings.catch_warnings():
      warnings.simplefilter("error")
      made, _, _ = result(text)
    equal(made, IMAGE + np.float32(2))
  equal(result(f"'{mine}:other'")[0], IMAGE - np.float32(1))


def test_a_transform_may_be_registered_by_hand(monkeypatch):
  def brighter(key, x, *, much=0.5):
    """Adds."""
    del key
    return x + much

  monkeypatch.setattr(registry, "_registered", {})
  registry.register("transforms", "brighter", brighter)
  equal(result("brighter(much=0.25)")[0], IMAGE + np.float32(0.25))


@pytest.mark.parametrize(
  ("text", "message"),
  [
    (
      "cropp(padding=4)|flip",
      "column 1: no transform 'cropp'.*'crop'.*kdjax list transforms",
    ),
    ("flip|  crp", "column 8: no transform 'crp'.*Did you mean 'crop'"),
    ("crop(pading=4)", "column 6: 'crop' has no option 'pading'.*'padding'"),
    ("flip|crop(x=4)", "column 11: 'crop' has no option 'x'.*mode, padding"),
    ("crop(4)", "column 6: 'crop' got an option without its name"),
    ("crop(**{'padding': 4})", "column 6: 'crop' has no option"),
    ("crop(padding=2, padding=3)", "column 17: 'padding' appears twice"),
    ("crop(padding=four)", "column 14: padding=four.*a number, a string"),
    ("crop(padding=1+1)", r"column 14: padding=1 \+ 1"),
    ("normalize(mean={'a': 1})", "column 16: mean="),
    ("flip|resize", "column 6: 'resize' lacks its option 'size'"),
    ("token_corruption(rate=0.5)", "lacks its option 'vocabulary'"),
    ("crop(padding=4|flip", "column 5: '\\(' was never closed.*written like"),
    ("crop|", "column 6: invalid syntax"),
    ("  |crop", "column 3: invalid syntax"),
    ("crop flip", "column 1: invalid syntax|column 6: invalid syntax"),
    ("crop)|(flip", r"column 5: unmatched '\)'"),
    ("crop|flip # |cutout", "column 11: no comments allowed"),
    ("crop,flip", r"column 1: '\(crop, flip\)' is not a name"),
    ("crop+flip", "'crop \\+ flip' is not a name"),
    ("crop|3", "column 6: '3' is not a name"),
    ("crop()()", "column 1: 'crop\\(\\)' is not a name"),
    ("_box", "no transform '_box'"),
    ("é|cropp", "column 1: no transform 'é'"),
    ("crop(mode='é', pading=2)", "column 16: 'crop' has no option 'pading'"),
  ],
)
def test_a_mistake_is_an_error_with_the_string_and_the_column(text, message):
  with pytest.raises(UserError, match=message) as caught:
    pipeline.parse(text)
  assert text in str(caught.value)


def test_a_function_that_is_no_transform_is_an_error(mine):
  with pytest.raises(UserError, match=r"takes \(key, x, label\).*partner"):
    pipeline.parse(f"'{mine}:wrong'")
  with pytest.raises(UserError, match="lacks its option 'much'"):
    pipeline.parse(f"'{mine}:needing'")


# Applying


def test_every_step_has_a_key_of_its_place():
  made, _, share = result("crop(padding=2)|flip|crop(padding=2)")
  expected = crop(step_key(0), IMAGE, padding=2)
  expected = flip(step_key(1), expected)
  equal(made, crop(step_key(2), expected, padding=2))
  assert share == 1.0


def test_a_mask_goes_to_the_steps_that_take_one_and_past_the_others():
  wave = 1.0 + np.arange(50, dtype=np.float32)
  mask = np.arange(50) < 30
  text = "time_shift(fraction=0.4)|normalize|noise(snr=3.0)"
  made, its_mask, _ = result(text, wave, mask)
  moved, expected = time_shift(step_key(0), wave, mask, fraction=0.4)
  moved = (moved - 0.5) / 0.5
  equal(made, noise(step_key(2), moved, expected, snr=3.0)[0])
  equal(its_mask, expected)
  assert result(text, wave)[1] is None


def test_a_missing_mask_is_an_error():
  ids = np.arange(5)
  assert pipeline.parse("token_dropout").needs_mask
  assert not pipeline.parse("noise|flip").needs_mask
  made, mask, _ = result("token_dropout(rate=0.5)", ids, ids > 2)
  equal(made, token_dropout(step_key(0), ids, ids > 2, rate=0.5)[0])
  equal(mask, ids > 2)
  with pytest.raises(UserError, match=r"'token_dropout' in 'token_.*mask"):
    result("token_dropout(rate=0.5)", ids)


def test_a_partner_has_gone_through_the_steps_before_it_with_its_own_key():
  text = "crop(padding=2)|mixup|flip(probability=1.0)"
  assert pipeline.parse(text).mixes
  made, _, share = result(text, partner=OTHER, partner_key=PARTNER_KEY)
  own = crop(step_key(0), IMAGE, padding=2)
  other = crop(step_key(0, PARTNER_KEY), OTHER, padding=2)
  mixed, expected = mixup(step_key(1), own, other)
  equal(made, mixed[:, ::-1])
  assert share == expected and 0 < share < 1


def test_the_share_is_what_is_left_of_an_example_mixed_twice():
  own, other = np.zeros((6, 5, 1), np.float32), np.ones((6, 5, 1), np.float32)
  text = "mixup|mixup(concentration=3.0)"
  made, _, share = result(text, own, partner=other, partner_key=PARTNER_KEY)
  np.testing.assert_allclose(1 - made, np.full_like(own, share), rtol=1e-5)


def test_a_mixture_is_no_padding_where_one_of_the_two_is_none():
  wave, other = np.ones(8, np.float32), np.zeros(8, np.float32)
  short, long = np.arange(8) < 3, np.arange(8) < 6
  partners = {"partner": other, "partner_key": PARTNER_KEY}
  _, mask, _ = result("mixup", wave, short, partner_mask=long, **partners)
  equal(mask, long)
  equal(result("mixup", wave, short, **partners)[1], short)
  text = "time_shift(fraction=0.3)|mixup"
  _, mask, _ = result(text, wave, short, partner_mask=long, **partners)
  masks = [
    time_shift(step_key(0, key), wave, mask, fraction=0.3)[1]
    for key, mask in ((KEY, short), (PARTNER_KEY, long))
  ]
  equal(mask, masks[0] | masks[1])


def test_what_mixes_needs_a_partner_and_its_key():
  for partners in ({}, {"partner": OTHER}, {"partner_key": PARTNER_KEY}):
    with pytest.raises(UserError, match=r"'mixup' in 'crop\|mixup'.*_key"):
      result("crop|mixup", **partners)


def test_texts_are_not_mixed():
  with pytest.raises(
    UserError, match="'token_dropout' before a transform that"
  ):
    pipeline.parse("token_dropout|mixup")


def test_an_override_replaces_the_option_in_every_step_of_its_name():
  text = "noise(snr=30.0)|normalize|noise"
  changed, _, _ = result(text, overrides={"noise.snr": 3.0})
  expected, _, _ = result("noise(snr=3.0)|normalize|noise(snr=3.0)")
  equal(changed, expected)


def test_a_sweep_of_an_override_is_compiled_once():
  traces = []

  @jax.jit
  def run(snr):
    traces.append(snr)
    parsed = pipeline.parse("flip|noise|blur(radius=2)")
    return parsed(KEY, IMAGE, overrides={"noise.snr": snr})[0]

  for snr in (0.0, 10.0, 20.0):
    expected, _, _ = result(f"flip|noise(snr={snr})|blur(radius=2)")
    np.testing.assert_allclose(run(snr), expected, rtol=1e-5, atol=1e-5)
  assert len(traces) == 1


@pytest.mark.parametrize("name", ["noise.sn", "snr", "nose.snr"])
def test_an_override_of_no_option_is_an_error(name):
  with pytest.raises(UserError, match=rf"No '{name}'.*noise\.snr"):
    result("flip|noise", overrides={name: 3.0})


@pytest.mark.slow
def test_a_batch_equals_its_examples_one_by_one():
  parsed = pipeline.parse("crop(padding=1)|flip|mixup|normalize")
  keys, partner_keys = (jax.random.split(key, 4) for key in (KEY, PARTNER_KEY))
  images = np.random.default_rng(0).random((4, 6, 5, 3)).astype(np.float32)
  order = jnp.array([2, 0, 3, 1])
  one = lambda key, x, partner, partner_key: parsed(
    key, x, None, partner, partner_key
  )[::2]
  made, share = jax.jit(jax.vmap(one))(
    keys, images, images[order], partner_keys
  )
  for row in range(4):
    alone = one(keys[row], images[row], images[order[row]], partner_keys[row])
    np.testing.assert_allclose(made[row], alone[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(share[row], alone[1], rtol=1e-5)
