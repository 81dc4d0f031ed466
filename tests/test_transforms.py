"""Contract of every transform, and the values of each."""

import ast
import colorsys
import functools
import inspect
import itertools
import json
import pathlib
import re
import typing

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest
import scipy.ndimage
import scipy.stats
from contracts import must

from kdjax import registry
from kdjax.errors import ShapeError, UserError
from kdjax.step import pipeline
from kdjax.transforms import _color, _operations
from kdjax.transforms.blur import blur
from kdjax.transforms.color_jitter import color_jitter
from kdjax.transforms.crop import crop
from kdjax.transforms.cutmix import cutmix
from kdjax.transforms.cutout import cutout
from kdjax.transforms.dynamic_range import dynamic_range
from kdjax.transforms.flip import flip
from kdjax.transforms.log_mel import log_mel
from kdjax.transforms.mixup import mixup
from kdjax.transforms.noise import noise
from kdjax.transforms.normalize import normalize
from kdjax.transforms.rand_augment import rand_augment
from kdjax.transforms.random_resized_crop import _box, random_resized_crop
from kdjax.transforms.resize import resize
from kdjax.transforms.rotate90 import rotate90
from kdjax.transforms.spec_augment import spec_augment
from kdjax.transforms.time_shift import time_shift
from kdjax.transforms.to_float import to_float
from kdjax.transforms.to_wave import to_wave
from kdjax.transforms.token_corruption import token_corruption
from kdjax.transforms.token_dropout import token_dropout

# Example sizes for the shapes in annotations.
SHAPES = {
  "...": (12, 10, 3),
  "H W C": (12, 10, 3),
  "*shape": (12, 10, 3),
  "*shape C": (12, 10, 3),
  "N": (800,),
  "T F": (20, 13),
  "T": (9,),
  "*K T": (3, 9),
}

TYPES = {"int32": np.int32, "int16": np.int16, "uint8": np.uint8}


class Transform:
  """A file of kdjax/transforms, and examples to call it with."""

  def __init__(self, name, folder):
    self.name = name
    self.function = registry.find("transforms", name)
    self.about = registry.describe("transforms", name)
    self.hint = typing.get_type_hints(self.function)["x"]
    self.takes = self.about.reads[2:]
    # An option without a default is a number of pixels or ids, or the path of a
    # checkpoint.
    self.options = {
      option: checkpoint(folder) if option == "path" else 7
      for option, default in self.about.options.items()
      if default is registry.REQUIRED
    }

  @property
  def hides(self):
    """Whether it also returns which positions it has hidden."""
    return pipeline.hides(self.function)

  def __call__(self, key, *arrays, **options):
    return self.function(key, *arrays, **self.options | options)

  @property
  def file(self):
    """How messages call it."""
    return f"transforms/{self.name}.py"

  @property
  def shape(self):
    return SHAPES[self.hint.dim_str]

  @property
  def kinds(self):
    """The dtypes that it takes; () is any."""
    kinds = self.hint.dtypes
    return kinds if isinstance(kinds, list | tuple) else ()

  @property
  def dtype(self):
    if "float32" in self.kinds or not self.kinds:
      return np.float32
    return next(TYPES[kind] for kind in TYPES if kind in self.kinds)

  @functools.cached_property
  def compiled(self):
    """(key, arrays, float options) -> result."""
    return jax.jit(lambda key, arrays, floats: self(key, *arrays, **floats))

  @property
  def floats(self):
    return {
      name: value
      for name, value in self.about.options.items()
      if isinstance(value, float)
    }

  @property
  def draws(self):
    return "del key" not in inspect.getsource(self.function)

  def array(self, seed):
    rng = np.random.default_rng(seed)
    if self.dtype == np.float32:
      return jnp.asarray(rng.random(self.shape), np.float32)
    return jnp.asarray(rng.integers(0, 7, self.shape), self.dtype)

  def arrays(self, seed=0):
    """x, and a partner or mask if it takes one."""
    x = self.array(seed)
    if self.takes == ("partner",):
      return x, self.array(seed + 100)
    if self.takes == ("mask",):
      # Of [T F], the mask has T; of [K T], both.
      shape = x.shape if self.hint.dim_str == "*K T" else x.shape[:1]
      used = jnp.arange(shape[-1]) < shape[-1] - 2 - seed
      return x, jnp.broadcast_to(used, shape)
    return (x,)


def checkpoint(folder):
  """Writes a checkpoint's image preprocessing into a folder."""
  preprocessing = {
    "size": {"height": 9, "width": 8},
    "image_mean": (0.5, 0.4, 0.3),
    "image_std": (0.2, 0.2, 0.3),
  }
  (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
  return str(folder)


@pytest.fixture(params=registry.names("transforms"), scope="module")
def transform(request, tmp_path_factory):
  return Transform(request.param, tmp_path_factory.mktemp("transform"))


def key_of(number):
  return jax.random.key(number)


def keys_of(count, seed=0):
  return jax.random.split(key_of(seed), count)


@functools.cache
def compiled(function, *static):
  """(keys, arrays, float options) -> one result per key."""
  return jax.jit(
    jax.vmap(
      lambda key, arrays, floats: function(
        key, *arrays, **dict(static), **floats
      ),
      in_axes=(0, None, None),
    )
  )


def many(function, count, *arrays, **options):
  """Results of one example under `count` keys."""
  # All float options are traced, so that one program serves all their values.
  options = {
    name: parameter.default
    for name, parameter in inspect.signature(function).parameters.items()
    if isinstance(parameter.default, float)
  } | options
  floats = {
    name: value for name, value in options.items() if isinstance(value, float)
  }
  static = [(name, options[name]) for name in options if name not in floats]
  run = compiled(function, *static)
  return jax.tree.map(np.asarray, run(keys_of(count), arrays, floats))


def close(actual, expected, tolerance=1e-6):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def all_close(actual, expected, tolerance=1e-6):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(functools.partial(close, tolerance=tolerance), actual, expected)


def is_even(counts):
  """Whether counts fit equal probabilities, within five deviations."""
  counts = np.asarray(counts)
  total, share = counts.sum(), 1 / len(counts)
  return np.abs(counts - total * share).max() < 5 * np.sqrt(total * share)


def image(*shape, seed=0):
  return np.random.default_rng(seed).random(shape).astype(np.float32)


def whole(*shape, seed=0):
  """An image of whole grey values, and the same as a Pillow image."""
  levels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
  return jnp.asarray(levels / 255, jnp.float32), PIL.Image.fromarray(levels)


# Contract: every file of kdjax/transforms


def test_a_file_defines_one_public_function_of_its_name(transform):
  body = ast.parse(pathlib.Path(transform.about.path).read_text()).body
  public = [
    node.name
    for node in body
    if isinstance(node, ast.FunctionDef | ast.ClassDef)
    and not node.name.startswith("_")
  ]
  with must(
    f"{transform.file} must define one public function, called"
    f" `{transform.name}`; other names begin with an underscore."
  ):
    assert public == [transform.name]


def test_it_takes_a_key_an_example_and_a_mask_or_a_partner(transform):
  with must(
    f"`{transform.name}` must take `key` and `x`, and may take `mask` or"
    " `partner`, as positional arguments; its options are keyword-only."
  ):
    assert transform.about.reads[:2] == ("key", "x")
    assert transform.takes in ((), ("mask",), ("partner",))
    parameters = inspect.signature(transform.function).parameters
    for name in transform.about.options:
      assert parameters[name].kind == inspect.Parameter.KEYWORD_ONLY
  with must(f"Every argument of `{transform.name}` must have an annotation."):
    assert parameters.keys() <= transform.about.annotations.keys()


def test_defaults_are_literals(transform):
  with must(
    f"Every default of `{transform.name}` must be a literal, such as 0.5 or"
    ' "zero": it is read without an import.'
  ):
    for default in transform.about.options.values():
      assert not isinstance(default, registry.Code)


def test_the_docstring_names_all_arguments_and_a_source(transform):
  for name in (*transform.about.reads, *transform.about.options):
    with must(
      f"The docstring of `{transform.name}` must describe '{name}' in a line of"
      f" its own: `{name}: ...`."
    ):
      assert re.search(rf"^ *{name}: ", transform.about.doc, re.MULTILINE)
  source = r"arXiv:\w|\b(19|20)\d\d\b|Equals `"
  with must(
    f"The docstring of `{transform.name}` must state its source: a paper with"
    " its year or arXiv number, or `Equals` and the function that it equals."
  ):
    assert re.search(source, transform.about.doc)


@pytest.mark.slow
def test_a_compiled_one_with_traced_numbers_equals_an_eager_one(transform):
  arrays = transform.arrays()
  for key in keys_of(2):
    with must(
      f"`{transform.name}` must give the same under jax.jit with float options"
      " as traced numbers: no Python branch may depend on a value."
    ):
      result = transform.compiled(key, arrays, transform.floats)
      all_close(result, transform(key, *arrays), 1e-5)


@pytest.mark.slow
def test_a_batch_equals_its_examples_one_by_one(transform):
  single = [transform.arrays(seed) for seed in range(5)]
  batch = [jnp.stack(column) for column in zip(*single, strict=True)]
  keys = keys_of(5)
  with must(
    f"`{transform.name}` must work under jax.vmap: it is a function of one"
    " example and its key."
  ):
    results = jax.jit(jax.vmap(transform))(keys, *batch)
    for row, arrays in enumerate(single):
      of_batch = jax.tree.map(lambda array, row=row: array[row], results)
      alone = transform.compiled(keys[row], arrays, transform.floats)
      all_close(of_batch, alone, 1e-5)


def test_the_key_alone_decides(transform):
  arrays = transform.arrays()
  run = lambda key: jax.tree.leaves(
    transform.compiled(key, arrays, transform.floats)
  )
  first, again = map(run, keys_of(20)), map(run, keys_of(20))
  first = [*first]
  with must(
    f"`{transform.name}` must draw from `key` alone, and write `del key` if it"
    " draws nothing."
  ):
    for result, repeated in zip(first, again, strict=True):
      assert all(map(np.array_equal, result, repeated))
    same = [all(map(np.array_equal, result, first[0])) for result in first[1:]]
    assert not all(same) if transform.draws else all(same)


def test_shape_and_type_depend_on_those_of_the_example_alone(transform):
  arrays = transform.arrays()
  planned = jax.eval_shape(transform, key_of(0), *arrays)
  actual = transform.compiled(key_of(1), arrays, transform.floats)
  plan = lambda array: (array.shape, array.dtype)
  assert jax.tree.map(plan, planned) == jax.tree.map(plan, actual)
  several = transform.takes or transform.hides
  result = planned[0] if several else planned
  dtype = "int32" if transform.dtype == np.int32 else "float32"
  with must(f"`{transform.name}` must return {dtype}."):
    assert result.dtype == dtype
  with must(
    f"`{transform.name}` must return a pair, for it takes a mask or a partner:"
    " the example, and its mask (bool, one a position) or the partner's share"
    " (float32, one number)."
  ):
    if transform.takes == ("mask",):
      assert plan(planned[1]) == (result.shape[:1], bool)
    if transform.takes == ("partner",):
      assert plan(planned[1]) == ((), np.float32)
  with must(
    f"`{transform.name}` must return bool [P] last, True where hidden, if and"
    " only if its annotation says so: after the example and the mask it takes."
  ):
    if several:
      count = 1 + len(transform.takes) + transform.hides
      assert len(planned) == count
    if transform.hides:
      assert planned[-1].dtype == bool and planned[-1].ndim == 1


@pytest.mark.parametrize("value", [0, 1])
def test_a_constant_example_gives_finite_numbers(transform, value):
  arrays = tuple(
    array if array.dtype == bool else jnp.full_like(array, value)
    for array in transform.arrays()
  )
  with must(
    f"`{transform.name}` must be finite for a constant example: no division by"
    " a range or deviation of 0."
  ):
    for key in keys_of(30):
      results = transform.compiled(key, arrays, transform.floats)
      for leaf in jax.tree.leaves(results):
        assert np.isfinite(np.asarray(leaf, np.float64)).all()


def test_an_optional_mask_may_be_left_out(transform):
  if "mask" not in transform.about.optional:
    pytest.skip("it takes no mask, or needs one")
  x, mask = transform.arrays()
  everything = (x, jnp.ones_like(mask))
  with must(
    f"`{transform.name}` without a mask must equal itself with a mask of True,"
    " and return no mask."
  ):
    with_mask, its_mask, *hidden = transform.compiled(
      key_of(0), everything, transform.floats
    )
    without = transform.compiled(key_of(0), (x,), transform.floats)
    all_close(without, (with_mask, *hidden) if hidden else with_mask, 1e-5)
    assert its_mask.shape == with_mask.shape[:1]


def test_whole_numbers_where_floats_are_expected_are_an_error(transform):
  if "float32" not in transform.kinds:
    pytest.skip("it is not of floats alone")
  arrays = [array.astype(np.uint8) for array in transform.arrays()]
  with (
    must(
      f"`{transform.name}` must raise UserError for whole numbers and name"
      " `to_float` and `to_wave`, as `transforms/_arrays.py` does."
    ),
    pytest.raises(UserError, match=r"uint8.*to_float.*to_wave"),
  ):
    transform(key_of(0), *arrays)


def test_bfloat16_becomes_float32(transform):
  if "float32" not in transform.kinds:
    pytest.skip("it is not of floats alone")
  x, *others = transform.arrays()
  planned = jax.eval_shape(
    transform, key_of(0), x.astype(jnp.bfloat16), *others
  )
  with must(f"`{transform.name}` must return float32 for bfloat16."):
    assert jax.tree.leaves(planned)[0].dtype == np.float32


# Images


def test_to_float_is_a_255th_of_every_level():
  levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
  made = to_float(key_of(0), levels)
  close(made, levels.astype(np.float64) / 255)
  assert made.max() == 1.0


@pytest.mark.parametrize(
  ("change", "dtype"), [(to_float, "f4"), (to_wave, "u1")]
)
def test_what_is_stored_otherwise_is_no_image_or_audio(change, dtype):
  with pytest.raises(UserError, match=change.__name__):
    change(key_of(0), np.zeros(4, dtype))


@pytest.mark.parametrize("shape", [(4, 5, 3), (6, 3), (3,)])
def test_normalize_equals_numpy(shape):
  x, mean, std = image(*shape), (0.5, 0.25, 0.125), (0.5, 0.2, 2.0)
  expected = (x.astype(np.float64) - np.array(mean)) / np.array(std)
  close(normalize(key_of(0), x, mean=mean, std=std), expected)
  close(
    normalize(key_of(0), x, mean=(0.3,), std=0.7),
    (x.astype(np.float64) - 0.3) / 0.7,
  )


def test_normalize_with_another_number_of_channels_is_answered():
  with pytest.raises(ShapeError, match=r"std of 2 numbers.*1, or 3"):
    normalize(key_of(0), image(4, 4, 3), mean=(0.5,), std=(0.5, 0.5))


@pytest.mark.parametrize("mode", ["zero", "reflect"])
def test_crop_is_every_window_of_the_padded_image_equally_often(mode):
  x = image(5, 4, 2)
  wide = ((2, 2), (2, 2), (0, 0))
  padded = np.pad(x, wide, mode="constant" if mode == "zero" else mode)
  windows = {
    padded[top : top + 5, left : left + 4].tobytes(): 5 * top + left
    for top in range(5)
    for left in range(5)
  }
  made = many(crop, 5000, x, padding=2, mode=mode)
  places = [windows[window.tobytes()] for window in made]
  assert is_even(np.bincount(places, minlength=25))


def test_crop_keeps_the_type_of_an_image():
  assert crop(key_of(0), jnp.zeros((8, 8, 1), jnp.uint8)).dtype == np.uint8


def test_crop_answers_what_it_cannot_do():
  with pytest.raises(UserError, match=r"'refect'.*Did you mean 'reflect'"):
    crop(key_of(0), image(4, 4, 1), mode="refect")
  with pytest.raises(ShapeError, match=r"reflects padding=4 pixels.*4x9"):
    crop(key_of(0), image(4, 9, 1), mode="reflect")
  with pytest.raises(ShapeError, match=r"'crop' got the shape \[4, 9\]"):
    crop(key_of(0), image(4, 9))


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_flip_exchanges_left_and_right_with_its_probability(probability):
  x = image(3, 4, 2)
  made = many(flip, 2000, x, probability=probability)
  flipped = (made == x[:, ::-1]).all(axis=(1, 2, 3))
  assert (flipped | (made == x).all(axis=(1, 2, 3))).all()
  assert flipped.mean() == pytest.approx(probability, abs=0.05)


@pytest.mark.parametrize("turns", [-1, 0, 1, 2, 3])
def test_rotate90_equals_numpy(turns):
  x = image(3, 4, 2)
  made = rotate90(key_of(0), x, turns=turns)
  np.testing.assert_array_equal(made, np.rot90(x, turns))


def resized(x, height, width, box=None):
  """By Pillow, in floats, channel by channel."""
  channels = [
    PIL.Image.fromarray(x[..., channel]).resize(
      (width, height), PIL.Image.Resampling.BILINEAR, box=box
    )
    for channel in range(x.shape[-1])
  ]
  return np.stack([np.asarray(channel) for channel in channels], axis=-1)


@pytest.mark.parametrize("size", [(5, 7), (23, 31), (40, 6), 9])
def test_resize_equals_pillow(size):
  x = image(17, 20, 2)
  height, width = (size, size) if isinstance(size, int) else size
  made = resize(key_of(0), x, size=size)
  close(made, resized(x, height, width), 1e-5)


def test_random_resized_crop_equals_pillow_on_its_box():
  x = image(20, 30, 2)
  for key in keys_of(5):
    (top, left), (height, width) = np.asarray(
      _box(key, 20, 30, (0.08, 1.0), (0.75, 4 / 3))
    )
    made = random_resized_crop(key, x, size=(9, 12))
    corners = (left, top, left + width, top + height)
    close(made, resized(x, 9, 12, corners), 1e-5)


def test_boxes_have_the_area_and_ratio_of_the_options():
  corners, sizes = jax.vmap(
    lambda key: _box(key, 80, 100, (0.1, 0.4), (0.5, 2.0))
  )(keys_of(3000))
  corners, sizes = np.asarray(corners), np.asarray(sizes)
  np.testing.assert_array_equal(corners, corners.round())
  np.testing.assert_array_equal(sizes, sizes.round())
  assert (corners >= 0).all() and (corners + sizes <= [80, 100]).all()
  area = sizes.prod(axis=1) / 8000
  ratio = np.log2(sizes[:, 1] / sizes[:, 0])
  uniform = scipy.stats.uniform
  assert scipy.stats.kstest(area, uniform(0.1, 0.3).cdf).statistic < 0.05
  # Of high boxes with a large area some do not fit.
  assert scipy.stats.kstest(ratio, uniform(-1, 2).cdf).statistic < 0.05
  place = corners / (np.array([80, 100]) - sizes + 1)
  for axis in range(2):
    assert scipy.stats.kstest(place[:, axis], uniform.cdf).statistic < 0.05


def test_where_no_box_fits_it_is_the_largest_in_the_middle():
  corner, size = _box(key_of(0), 4, 100, (1.0, 1.0), (0.75, 4 / 3))
  assert (*size,) == (4, 5) and (*corner,) == (0, 47)
  corner, size = _box(key_of(0), 100, 4, (1.0, 1.0), (0.75, 4 / 3))
  assert (*size,) == (5, 4) and (*corner,) == (47, 0)


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
@pytest.mark.parametrize(
  ("change", "enhance"),
  [
    (_color.brightness, PIL.ImageEnhance.Brightness),
    (_color.contrast, PIL.ImageEnhance.Contrast),
    (_color.saturation, PIL.ImageEnhance.Color),
  ],
)
def test_colors_change_as_in_pillow(change, enhance, factor):
  x, pillow = whole(11, 13, 3)
  expected = np.asarray(enhance(pillow).enhance(factor)) / 255
  # Pillow rounds down, and the grey before.
  close(change(x, factor), expected, 2 / 255)


@pytest.mark.parametrize("turns", [-0.4, 0.0, 0.1, 1 / 3, 0.5, 1.0])
def test_hues_turn_as_in_colorsys(turns):
  x = image(6, 7, 3)
  x[0, :3] = [[0.5, 0.5, 0.5], [1.0, 0.0, 0.0], [0.2, 0.7, 0.7]]
  expected = [
    colorsys.hsv_to_rgb((hue + turns) % 1, saturation, value)
    for hue, saturation, value in (
      colorsys.rgb_to_hsv(*map(float, pixel)) for pixel in x.reshape(-1, 3)
    )
  ]
  close(_color.hue(x, turns), np.reshape(expected, x.shape), 1e-5)


def test_a_grey_image_has_no_hue_and_no_saturation_to_change():
  x = image(4, 5, 1)
  close(_color.hue(x, 0.3), x)
  close(_color.saturation(x, 0.3), x)


NOTHING = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


def test_color_jitter_without_any_amount_changes_nothing():
  x = image(6, 5, 3)
  close(many(color_jitter, 20, x, **NOTHING), np.stack([x] * 20), 1e-5)


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_the_factors_of_color_jitter_are_uniform_about_1(spread):
  x = np.full((1, 1, 3), 0.1, np.float32)
  made = many(color_jitter, 3000, x, **NOTHING | {"brightness": spread})
  factors = made[:, 0, 0, 0] / 0.1
  expected = scipy.stats.uniform(1 - spread, 2 * spread).cdf
  assert scipy.stats.kstest(factors, expected).statistic < 0.04


def test_the_hues_of_color_jitter_are_uniform_about_0():
  x = np.array([[[0.0, 1.0, 1.0]]], np.float32)  # hue 1/2
  made = many(color_jitter, 3000, x, **NOTHING | {"hue": 0.2})
  hues = [colorsys.rgb_to_hsv(*map(float, color[0, 0]))[0] for color in made]
  expected = scipy.stats.uniform(0.3, 0.4).cdf
  assert scipy.stats.kstest(hues, expected).statistic < 0.04


def test_color_jitter_changes_in_every_order(monkeypatch):
  names = ("brightness", "contrast", "saturation", "hue")
  for digit, name in enumerate(names):
    append = lambda x, factor, digit=digit: 10.0 * x + digit + 0.0 * factor
    monkeypatch.setattr(_color, name, append)
  jitter = functools.partial(color_jitter)  # compiled anew
  made = many(jitter, 4800, np.zeros((1, 1, 3), np.float32))
  found, counts = np.unique(made[:, 0, 0, 0], return_counts=True)
  orders = itertools.permutations(range(4))
  assert {*found} == {a * 1000 + b * 100 + c * 10 + d for a, b, c, d in orders}
  assert is_even(counts)


def test_colors_of_another_number_of_channels_are_answered():
  for change in (color_jitter, rand_augment):
    with pytest.raises(ShapeError, match="2 channels"):
      change(key_of(0), image(4, 4, 2))


def quantised(change, x):
  return np.round(255 * np.asarray(change(x))).astype(int)


@pytest.mark.parametrize("magnitude", [0.0, 0.3, 1.0])
def test_operations_in_place_are_those_of_pillow(magnitude):
  x, pillow = whole(14, 11, 3)
  change = {op.__name__: op for op in _operations.CHANGES}
  enhance = PIL.ImageEnhance
  bits = 8 - round(4 * magnitude)
  threshold = int(255 * (1 - magnitude)) + 1
  for name, expected, amount in [
    ("identity", pillow, magnitude),
    ("autocontrast", PIL.ImageOps.autocontrast(pillow), magnitude),
    ("solarize", PIL.ImageOps.solarize(pillow, threshold), -magnitude),
    ("posterize", PIL.ImageOps.posterize(pillow, bits), magnitude),
    ("color", enhance.Color(pillow).enhance(1 + 0.9 * magnitude), magnitude),
    (
      "contrast",
      enhance.Contrast(pillow).enhance(1 - 0.9 * magnitude),
      -magnitude,
    ),
    (
      "brightness",
      enhance.Brightness(pillow).enhance(1 + 0.9 * magnitude),
      magnitude,
    ),
    (
      "sharpness",
      enhance.Sharpness(pillow).enhance(1 - 0.9 * magnitude),
      -magnitude,
    ),
    (
      "sharpness",
      enhance.Sharpness(pillow).enhance(1 + 0.9 * magnitude),
      magnitude,
    ),
  ]:
    made = quantised(functools.partial(change[name], amount=amount), x)
    # Pillow rounds down, and what it blends before.
    assert np.abs(made - np.asarray(expected)).max() <= 2, name


def test_equalize_is_the_rank_among_the_pixels():
  rng = np.random.default_rng(0)
  levels = np.minimum(255, rng.exponential(20, (12, 10, 3))).astype(int)
  made = _operations.equalize(jnp.asarray(levels / 255, jnp.float32), 0.5)
  for channel in range(3):
    flat = levels[..., channel].ravel()
    least = (flat == flat.min()).sum()
    upto = (flat[:, None] >= flat[None]).sum(axis=1)
    expected = (upto - least) / (flat.size - least)
    close(np.ravel(made[..., channel]), expected)


def test_what_is_constant_is_not_stretched():
  x = jnp.full((5, 4, 3), 0.4)
  for change in (_operations.autocontrast, _operations.equalize):
    close(change(x, 1.0), x)


@pytest.mark.parametrize("amount", [-1.0, 0.4])
def test_moves_are_those_of_scipy(amount):
  x = image(9, 12, 2)
  angle = np.deg2rad(30 * amount)
  expected = {
    "rotate": (
      [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]],
      [0, 0],
    ),
    "shear_x": ([[1, 0], [0.3 * amount, 1]], [0, 0]),
    "shear_y": ([[1, 0.3 * amount], [0, 1]], [0, 0]),
    "translate_x": (np.eye(2), [0, 0.45 * amount * 12]),
    "translate_y": (np.eye(2), [0.45 * amount * 9, 0]),
  }
  assert (*expected,) == _operations.MOVES
  table = _operations.moves(jnp.float32(amount), 9, 12)[-len(expected) :]
  centre = np.array([4.0, 5.5])
  for move, (matrix, offset) in zip(table, expected.values(), strict=True):
    moved = [
      scipy.ndimage.affine_transform(
        x[..., channel].astype(np.float64),
        np.array(matrix),
        centre - np.array(matrix) @ centre + offset,
        order=1,
        mode="grid-constant",
        cval=0.5,
      )
      for channel in range(2)
    ]
    close(_operations.moved(x, move, 0.5), np.stack(moved, axis=-1), 1e-5)


def test_rand_augment_draws_every_operation_and_sign_equally_often():
  x, _ = whole(8, 9, 3)
  x = 0.2 + 0.5 * x
  made = many(rand_augment, 1400, x, number=1, magnitude=7.0)
  stays = [_operations.identity] * len(_operations.MOVES)

  @jax.jit
  @jax.vmap
  def all_results(amount):
    moves = _operations.moves(amount, 8, 9)
    changes = [*_operations.CHANGES, *stays]
    changed = [
      _operations.moved(change(x, amount), move, 0.5)
      for change, move in zip(changes, moves, strict=True)
    ]
    return jnp.stack(changed)

  results = np.asarray(all_results(jnp.array([-0.7, 0.7])))
  results = results.swapaxes(0, 1).reshape(28, 1, *x.shape)
  distances = np.abs(made[None] - results).max(axis=(2, 3, 4))
  assert distances.min(axis=0).max() < 1e-5
  # Without a sign two results are one: the first is found.
  counts = np.bincount(distances.argmin(axis=0), minlength=28).reshape(14, 2)
  assert is_even(counts.sum(axis=1))
  signed = [_operations.NAMES.index(name) for name in ("rotate", "color")]
  for number in (*signed, *range(9, 14)):
    assert is_even(counts[number])


def test_rand_augment_applies_number_operations():
  x, _ = whole(8, 9, 3)
  close(rand_augment(key_of(0), x, number=0), x)
  one = many(rand_augment, 1400, x, number=1, magnitude=0.0)
  two = many(rand_augment, 1400, x, number=2, magnitude=0.0)
  same = lambda made: (
    np.abs(made - np.asarray(x)[None]).max(axis=(1, 2, 3)) < 1e-5
  )
  # At magnitude 0 only two of fourteen change anything.
  assert same(one).mean() == pytest.approx(12 / 14, abs=0.05)
  assert same(two).mean() == pytest.approx((12 / 14) ** 2, abs=0.05)


def test_a_magnitude_above_10_is_10():
  x, _ = whole(8, 9, 3)
  for key in keys_of(4):
    close(
      rand_augment(key, x, magnitude=10.0), rand_augment(key, x, magnitude=30.0)
    )


def test_cutout_hides_a_square_about_any_pixel_equally_often():
  x = 1.0 + image(6, 5, 2)
  holes = {}
  for row, column in itertools.product(range(6), range(5)):
    hidden = x.copy()
    top, left = max(row - 1, 0), max(column - 1, 0)
    hidden[top : row + 2, left : column + 2] = 0.5
    holes[hidden.tobytes()] = 5 * row + column
  made = many(cutout, 6000, x, size=3, fill=0.5)
  places = [holes[hidden.tobytes()] for hidden in made]
  assert is_even(np.bincount(places, minlength=30))


@pytest.mark.parametrize("concentration", [0.2, 1.0, 4.0])
def test_the_share_of_mixup_is_beta_and_the_mixture_has_it(concentration):
  x, partner = image(9, 11, 2), image(9, 11, 2, seed=1)
  made, share = many(mixup, 3000, x, partner, concentration=concentration)
  expected = scipy.stats.beta(concentration, concentration).cdf
  assert scipy.stats.kstest(share, expected).statistic < 0.04
  own = share[:, None, None, None].astype(np.float64)
  close(made, own * x[None] + (1 - own) * partner[None], 1e-5)


@pytest.mark.parametrize("change", [mixup, cutmix])
def test_a_concentration_of_0_mixes_nothing(change):
  x, partner = image(9, 11, 2), image(9, 11, 2, seed=1)
  made, share = many(change, 3000, x, partner, concentration=0.0)
  assert (share == 1).all() and (made == x[None]).all()


@pytest.mark.parametrize("concentration", [1e-6, 1e-3, 1e4])
@pytest.mark.parametrize("change", [mixup, cutmix])
def test_shares_of_extreme_concentrations_are_shares(change, concentration):
  x, partner = image(9, 11, 2), image(9, 11, 2, seed=1)
  made, share = many(change, 3000, x, partner, concentration=concentration)
  assert np.isfinite(made).all()
  assert (share >= 0).all() and (share <= 1).all()


@pytest.mark.parametrize("change", [mixup, cutmix])
def test_a_partner_of_another_shape_is_answered(change):
  with pytest.raises(
    ShapeError, match=r"x \[4, 4, 1\] and partner \[4, 5, 1\]"
  ):
    change(key_of(0), image(4, 4, 1), image(4, 5, 1))


def test_cutmix_is_a_box_of_the_partner_with_its_share_as_area():
  x, partner = image(9, 11, 2), image(9, 11, 2, seed=1)
  made, share = (array[:500] for array in many(cutmix, 3000, x, partner))
  foreign = (made == partner[None]).all(axis=-1)
  assert (foreign | (made == x[None]).all(axis=-1)).all()
  close(share, 1 - foreign.sum(axis=(1, 2)) / 99)
  for box in foreign:
    rows, columns = box.any(axis=1), box.any(axis=0)
    np.testing.assert_array_equal(box, rows[:, None] & columns[None])
    for side in (rows, columns):
      assert np.abs(np.diff(side.astype(int), prepend=0, append=0)).sum() in (
        0,
        2,
      )


@pytest.mark.parametrize("concentration", [0.3, 1.0])
def test_the_shares_of_cutmix_are_those_of_its_definition(concentration):
  x = image(9, 11, 2)
  _, share = many(cutmix, 3000, x, 1 + x, concentration=concentration)
  rng = np.random.default_rng(0)
  side = np.sqrt(1 - rng.beta(concentration, concentration, 30000))
  area = 1
  for length in (9, 11):
    size = (length * side).astype(int)
    start = rng.integers(0, length, 30000) - size // 2
    area *= np.minimum(start + size, length) - np.maximum(start, 0)
  expected = 1 - area / 99
  # Equal shares are to be equal numbers.
  shares = [np.round(99 * values) for values in (share, expected)]
  assert scipy.stats.ks_2samp(*shares).statistic < 0.04


def test_cutmix_mixes_with_its_probability():
  x = image(9, 11, 2)
  options = {"concentration": 20.0, "probability": 0.3}
  _, share = many(cutmix, 3000, x, 1 + x, **options)
  assert (share < 1).mean() == pytest.approx(0.3, abs=0.04)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.3, 5.0])
@pytest.mark.parametrize("radius", [1, 4, 9])
def test_blur_equals_scipy(sigma, radius):
  x = image(8, 11, 2)
  expected = [
    scipy.ndimage.gaussian_filter(
      x[..., channel].astype(np.float64), sigma, mode="mirror", radius=radius
    )
    for channel in range(2)
  ]
  made = blur(key_of(0), x, sigma=sigma, radius=radius)
  close(made, np.stack(expected, axis=-1) if sigma else x, 1e-5)


# Sound


def test_to_wave_is_a_part_of_32768():
  samples = np.array([-32768, -1, 0, 1, 16384, 32767], np.int16)
  made = to_wave(key_of(0), samples)
  np.testing.assert_array_equal(made, samples / np.float32(32768))


@pytest.mark.parametrize("snr", [-5.0, 0.0, 10.0, 30.0])
@pytest.mark.parametrize("shape", [(40000,), (200, 100, 2)])
def test_noise_has_the_signal_to_noise_ratio_of_the_option(snr, shape):
  x = 3.0 * image(*shape)
  added = np.asarray(noise(key_of(0), x, snr=snr), np.float64) - x
  measured = 10 * np.log10(
    (x.astype(np.float64) ** 2).mean() / (added**2).mean()
  )
  assert measured == pytest.approx(snr, abs=0.15)
  assert abs(added.mean()) < 5 * added.std() / np.sqrt(added.size)
  assert (
    scipy.stats.kstest(added.ravel() / added.std(), "norm").statistic < 0.02
  )


def test_noise_in_silence_is_silence():
  for snr in (-100.0, 0.0, 100.0):
    assert not noise(key_of(0), jnp.zeros(100), snr=snr).any()


def test_noise_is_of_what_is_no_padding():
  x, mask = 2.0 * image(40000), np.arange(40000) < 20000
  padded = np.where(mask, x, 100.0)
  made, its_mask = noise(key_of(0), padded, mask, snr=10.0)
  np.testing.assert_array_equal(its_mask, mask)
  np.testing.assert_array_equal(made[20000:], padded[20000:])
  added = (np.asarray(made) - padded)[:20000]
  power = (x[:20000].astype(np.float64) ** 2).mean()
  measured = 10 * np.log10(power / (added**2).mean())
  assert measured == pytest.approx(10.0, abs=0.15)
  silent, _ = noise(key_of(0), padded, np.zeros(40000, bool))
  np.testing.assert_array_equal(silent, padded)


def test_noise_with_a_mask_of_another_length_is_answered():
  with pytest.raises(ShapeError, match=r"\[9\] with a mask of \[8\]"):
    noise(key_of(0), image(9), np.ones(8, bool))


def test_time_shift_moves_by_every_number_of_samples_equally_often():
  x, mask = 1.0 + image(10), np.arange(10) < 6
  made, masks = many(time_shift, 3500, x, mask, fraction=0.3)
  expected, shifts = {}, range(-3, 4)
  for shift in shifts:
    silence = np.zeros(10 + 2 * 3, np.float32)
    silence[3 + shift : 13 + shift] = x
    expected[silence[3:13].tobytes()] = shift
    moved = np.zeros(16, bool)
    moved[3 + shift : 13 + shift] = mask
    found = (made == silence[None, 3:13]).all(axis=1)
    assert found.any()
    assert (masks[found] == moved[None, 3:13]).all()
  places = [expected[wave.tobytes()] + 3 for wave in made]
  assert is_even(np.bincount(places, minlength=7))


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_the_farthest_shift_is_a_part_of_the_length(fraction):
  x = 1.0 + image(6)
  made = many(time_shift, 2000, x, fraction=fraction)
  heard = np.unique((made > 0).sum(axis=1))
  assert [*heard] == ([6] if fraction == 0 else [*range(7)])


def waves():
  rng = np.random.default_rng(0)
  time = np.arange(8000) / 16000
  chirp = np.sin(2 * np.pi * (100 + 5000 * time) * time) * np.exp(-4 * time)
  return {
    "noise": rng.normal(0.0, 0.1, 8000),
    "a chirp in 16 bits": np.round(20000 * chirp + rng.normal(0, 3, 8000))
    / 32768,
    "silence": np.zeros(8000),
    "a short click": np.eye(1, 450, 99).ravel(),
  }


@pytest.mark.parametrize("wave", waves())
@pytest.mark.parametrize(
  "options",
  [
    {},
    {"scale": "slaney", "area": True},
    {"sample_rate": 8000, "window": 256, "hop": 100, "mels": 40, "f_max": 3800},
    {"window": 401, "hop": 133, "fft": 512, "f_min": 60, "scale": "slaney"},
  ],
)
def test_log_mel_equals_transformers(wave, options):
  from transformers import audio_utils

  x = waves()[wave].astype(np.float32)
  rate, window = options.get("sample_rate", 16000), options.get("window", 400)
  fft = options.get("fft", window)
  filters = audio_utils.mel_filter_bank(
    fft // 2 + 1,
    options.get("mels", 80),
    options.get("f_min", 0),
    options.get("f_max", rate / 2),
    rate,
    norm="slaney" if options.get("area") else None,
    mel_scale=options.get("scale", "htk"),
  )
  expected = audio_utils.spectrogram(
    x,
    audio_utils.window_function(window, "hann"),
    window,
    options.get("hop", 160),
    fft_length=fft,
    power=2.0,
    mel_filters=filters,
    log_mel="log",
  ).T
  made = jax.jit(functools.partial(log_mel, **options))(key_of(0), x)
  assert made.shape == expected.shape
  difference = np.abs(made - expected)
  # 60 dB below the loudest band of a frame, float32 has fewer digits left.
  loud = expected > expected.max(axis=1, keepdims=True) - np.log(1e6)
  assert difference[loud].max() < 1e-4
  assert difference.max() < 1e-2


def test_a_frame_is_padding_where_its_middle_is():
  x, mask = image(1000), np.arange(1000) < 700
  made, frames = log_mel(key_of(0), x, mask, hop=100)
  np.testing.assert_array_equal(frames, np.arange(11) < 7)
  assert made.shape == (11, 80)
  _, frames = log_mel(key_of(0), x, np.ones(1000, bool), hop=100)
  assert frames.all()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"scale": "mel"}, "no scale 'mel'.*htk, slaney"),
    ({"fft": 300}, "window=400 and fft=300"),
    ({"f_max": 9000}, "f_min=0 and f_max=9000"),
    ({"f_min": 8000}, "f_min=8000 and f_max=8000"),
  ],
)
def test_log_mel_options_that_do_not_fit_are_errors(options, message):
  with pytest.raises(UserError, match=message):
    log_mel(key_of(0), image(1000), **options)


def test_an_image_is_no_waveform_and_no_spectrogram():
  for change in (log_mel, time_shift, spec_augment):
    with pytest.raises(ShapeError, match=r"\[8, 8, 1\]"):
      change(key_of(0), image(8, 8, 1))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_span_of_spec_augment_has_any_width_and_place_equally_often(axis):
  x = 1.0 + image(9, 7)
  only = {"time_masks": 1 - axis, "frequency_masks": axis}
  made = many(
    spec_augment,
    4000,
    x,
    time_width=3,
    frequency_width=3,
    time_share=1.0,
    fill=-1.0,
    **only,
  )
  hidden = made == -1.0
  assert (hidden | (made == x[None])).all()
  along = hidden.all(axis=2 - axis)
  np.testing.assert_array_equal(along, hidden.any(axis=2 - axis))
  widths = along.sum(axis=1)
  assert is_even(np.bincount(widths, minlength=4))
  length = (9, 7)[axis]
  for width in (1, 2, 3):
    spans = along[widths == width]
    starts = spans.argmax(axis=1)
    places = np.arange(length)[None] - starts[:, None]
    np.testing.assert_array_equal(spans, (places >= 0) & (places < width))
    assert is_even(np.bincount(starts, minlength=length - width + 1))


def test_spec_augment_hides_at_most_the_spans_of_its_options():
  x = 1.0 + image(50, 30)
  made = many(spec_augment, 300, x, time_masks=3, time_width=40)
  hidden = made == 0.0
  frames, bins = hidden.all(axis=2), hidden.all(axis=1)
  np.testing.assert_array_equal(hidden, frames[:, :, None] | bins[:, None])
  begins = lambda spans: (
    np.diff(spans.astype(int), prepend=0, axis=1) == 1
  ).sum(1)
  assert begins(frames).max() == 3
  # A fifth of 50 frames is shorter than 40.
  assert 20 < frames.sum(axis=1).max() <= 30
  assert begins(bins[~bins.all(axis=1)]).max() == 2


# Text


TEXT = np.array([5, 6, 7, 8, 9, 5, 0, 0], np.int32)
WORDS = TEXT > 0


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_token_dropout_replaces_tokens_at_its_rate(rate):
  made, masks = many(
    token_dropout, 2000, TEXT, jnp.asarray(WORDS), rate=rate, unknown=3
  )
  assert (masks == WORDS[None]).all()
  assert (made[:, ~WORDS] == 0).all()
  forgotten = made[:, WORDS] == 3
  assert (forgotten | (made[:, WORDS] == TEXT[None, WORDS])).all()
  close(forgotten.mean(axis=0), np.full(6, rate), 0.06)


def test_token_corruption_writes_any_word_equally_often():
  made, masks = many(
    token_corruption, 2000, TEXT, jnp.asarray(WORDS), vocabulary=12, rate=1.0
  )
  assert (masks == WORDS[None]).all()
  assert (made[:, ~WORDS] == 0).all()
  counts = np.bincount(made[:, WORDS].ravel(), minlength=12)
  assert [*counts[:2]] == [0, 0] and len(counts) == 12
  assert is_even(counts[2:])


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_token_corruption_replaces_tokens_at_its_rate(rate):
  made, _ = many(
    token_corruption,
    2000,
    TEXT,
    jnp.asarray(WORDS),
    vocabulary=2000,
    rate=rate,
    first=1000,
  )
  changed = made[:, WORDS] >= 1000
  assert (changed | (made[:, WORDS] == TEXT[None, WORDS])).all()
  close(changed.mean(axis=0), np.full(6, rate), 0.06)


def test_a_vocabulary_without_words_is_answered():
  with pytest.raises(UserError, match="from 2 in a vocabulary of 2"):
    token_corruption(key_of(0), TEXT, WORDS, vocabulary=2)


@pytest.mark.parametrize(
  "change", [token_dropout, functools.partial(token_corruption, vocabulary=9)]
)
def test_a_mask_of_another_length_is_answered(change):
  with pytest.raises(ShapeError, match=r"mask \[7\]"):
    change(key_of(0), TEXT, WORDS[:7])


def test_dynamic_range_is_in_decibels_below_the_loudest_place():
  power = np.array([[1.0, 1e-1, 1e-3], [1e-6, 1e-9, 0.5]])
  decibels = 10 * np.log10(power)
  expected = np.clip(decibels / 60, -1, 0) * 2 + 1
  for gain in (1.0, 1e-4, 1e5):
    x = jnp.asarray(np.log(gain * power), jnp.float32)
    made = dynamic_range(jax.random.key(0), x)
    np.testing.assert_allclose(made, expected, atol=1e-5)
