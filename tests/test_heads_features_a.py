"""Heads between maps: regressors, factors and a predicted Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.errors import ShapeError, UserError
from kdjax.heads import (
  batch_norm,
  connector,
  conv,
  convs,
  paraphraser,
  proxy,
  translator,
  vid,
)
from kdjax.losses.vid import vid as vid_loss

KEY = jax.random.key(0)


def normal(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


def equal(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def shapes(head, *arrays):
  return jax.eval_shape(head.init_with_output, KEY, *arrays)


# BatchNorm


@pytest.mark.slow
@pytest.mark.parametrize("head", [batch_norm, connector, conv, proxy])
def test_a_head_with_batch_norm_keeps_the_digits_of_a_large_mean(head):
  x = jnp.round(64 * normal(1, 64, 1, 1, 3)) / 64
  like = jnp.zeros((64, 4) if head is proxy else (64, 1, 1, 4))
  module = head.Head()
  variables = module.init(KEY, x, like)
  output, moved = (
    module.apply(variables, x + by, like, train=True, mutable=["batch_stats"])
    for by in (0.0, 4096.0)
  )
  equal(moved[0], output[0], 1e-2)


# conv


def bare(head, x, like):
  """Output and kernel of a convolution without BatchNorm and ReLU."""
  output, variables = head(batch_norm=False, relu=False).init_with_output(
    KEY, x, like
  )
  (layer,) = variables["params"].values()
  return np.asarray(output), np.asarray(layer["kernel"], np.float64)


def test_conv_to_twice_the_size_is_a_transposed_convolution():
  x, like = normal(1, 2, 3, 4, 2), jnp.zeros((2, 6, 8, 5))
  output, kernel = bare(conv.Head, x, like)
  assert kernel.shape == (4, 4, 2, 5)
  # Each pixel adds the flipped kernel; a border of one pixel is cropped.
  canvas = np.zeros((2, 8, 10, 5))
  for i, j in np.ndindex(3, 4):
    patch = np.einsum("bc,hwcd->bhwd", x[:, i, j], kernel[::-1, ::-1])
    canvas[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += patch
  equal(output, canvas[:, 1:-1, 1:-1])


def test_conv_to_twice_the_height_alone_leaves_columns_apart():
  x = normal(1, 2, 3, 4, 2)
  output, kernel = bare(conv.Head, x, jnp.zeros((2, 6, 4, 5)))
  assert output.shape == (2, 6, 4, 5) and kernel.shape == (4, 1, 2, 5)


def test_conv_to_half_the_size_pads_a_pixel_all_round():
  x, like = normal(1, 2, 4, 6, 2), jnp.zeros((2, 2, 3, 5))
  output, kernel = bare(conv.Head, x, like)
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  for i, j in np.ndindex(2, 3):
    patch = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
    equal(output[:, i, j], np.einsum("bhwc,hwcd->bd", patch, kernel))


@pytest.mark.parametrize(
  ("size", "target", "shrink", "kernel"),
  [
    ((7, 7), (4, 4), "stride", (4, 4)),
    ((8, 6), (5, 3), "stride", (4, 3)),
    ((8, 6), (2, 6), "valid", (7, 1)),
  ],
)
def test_conv_by_a_fractional_factor_has_a_larger_kernel_without_padding(
  size, target, shrink, kernel
):
  x, like = normal(1, 3, *size, 2), normal(2, 3, *target, 5)
  output, variables = shapes(conv.Head(shrink=shrink), x, like)
  assert output.shape == like.shape
  assert variables["params"]["Conv_0"]["kernel"].shape == (*kernel, 2, 5)


def test_conv_that_repeats_pixels_has_no_transposed_convolution():
  x, like = normal(1, 3, 2, 2, 2), normal(2, 3, 4, 4, 5)
  output, variables = shapes(conv.Head(grow="repeat"), x, like)
  assert output.shape == like.shape
  assert variables["params"]["Conv_0"]["kernel"].shape == (1, 1, 2, 5)


def test_conv_to_a_larger_size_that_is_no_multiple_is_an_error():
  with pytest.raises(ShapeError, match=r"\[3, 5, 6, 2\].*\[3, 8, 6, 2\]"):
    conv.Head().init(KEY, normal(1, 3, 5, 6, 2), normal(2, 3, 8, 6, 2))


def test_conv_keeps_its_bias_before_batch_norm_if_configured():
  x, like = normal(1, 3, 4, 6, 2), normal(2, 3, 4, 6, 5)
  _, variables = shapes(conv.Head(bias=True), x, like)
  assert set(variables["params"]["Conv_0"]) == {"kernel", "bias"}


@pytest.mark.parametrize("option", ["shrink", "grow"])
def test_an_unknown_option_value_of_conv_is_an_error(option):
  with pytest.raises(UserError, match="'nonsense'"):
    conv.Head(**{option: "nonsense"}).init(
      KEY, normal(1, 3, 4, 6, 2), normal(2, 3, 4, 6, 5)
    )


# convs


def test_convs_maps_each_map_to_its_target():
  x = (normal(1, 3, 8, 6, 2), normal(2, 3, 4, 3, 4))
  like = (normal(3, 3, 4, 3, 5), normal(4, 3, 8, 6, 7))
  output, variables = shapes(convs.Head(), x, like)
  assert [x.shape for x in output] == [x.shape for x in like]
  assert set(variables["params"]) == {"conv0", "conv1"}


def test_convs_is_conv_on_each_map():
  x, like = (normal(1, 3, 4, 6, 2),), (normal(2, 3, 4, 6, 5),)
  head = convs.Head(batch_norm=False)
  (output,), variables = head.init_with_output(KEY, x, like)
  alone = conv.Head(batch_norm=False).apply(
    {"params": variables["params"]["conv0"]}, x[0], like[0]
  )
  equal(output, alone)


def test_convs_between_tuples_of_different_lengths_is_an_error():
  x = normal(1, 3, 4, 6, 2)
  with pytest.raises(ShapeError, match="1 maps, and 2"):
    convs.Head().init(KEY, (x,), (x, x))


# vid


def test_vid_starts_with_the_configured_variance():
  x, like = normal(1, 3, 4, 6, 2), normal(2, 3, 4, 6, 5)
  (_, variance), _ = vid.Head().init_with_output(KEY, x, like)
  equal(variance, np.full(5, 5.0))
  (_, variance), _ = vid.Head(variance=0.5).init_with_output(KEY, x, like)
  equal(variance, np.full(5, 0.5))


def test_vid_predicts_at_the_size_of_the_smaller_map():
  small, large = normal(1, 3, 4, 3, 2), normal(2, 3, 8, 6, 5)
  (mean, _), _ = vid.Head().init_with_output(KEY, large, small)
  assert mean.shape == (3, 4, 3, 2)
  (mean, _), _ = vid.Head().init_with_output(KEY, small, large)
  assert mean.shape == (3, 4, 3, 5)


def test_every_parameter_of_vid_has_a_gradient_from_its_loss():
  x, like = normal(1, 3, 4, 6, 4), normal(2, 3, 4, 6, 5)
  params = vid.Head().init(KEY, x, like)["params"]
  gradient = jax.jit(
    jax.grad(
      lambda params: vid_loss(
        vid.Head().apply({"params": params}, x, like), like
      ).sum()
    )
  )(params)
  assert set(gradient) == {"Dense_0", "Dense_1", "Dense_2", "log_scale"}
  assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient))


# paraphraser and translator


def test_both_outputs_of_a_paraphraser_have_the_same_parameters():
  x = normal(1, 3, 4, 6, 5)
  first, variables = shapes(paraphraser.Head(), x)
  second, others = shapes(paraphraser.Head(output="factors"), x)
  assert first.shape == x.shape and second.shape == (3, 4, 6, 2)
  assert jax.tree.structure(variables) == jax.tree.structure(others)


def test_a_paraphraser_decodes_the_reconstruction_from_the_factors():
  x = normal(1, 3, 4, 6, 5)
  variables = paraphraser.Head().init(KEY, x)
  params = variables["params"]
  gone = jax.tree.map(jnp.zeros_like, params["encoder2"])
  without = {"params": {**params, "encoder2": gone}}
  assert not np.any(paraphraser.Head(output="factors").apply(without, x))
  assert not np.any(paraphraser.Head().apply(without, x))
  assert np.any(paraphraser.Head().apply(variables, x))


def test_a_translator_has_as_many_channels_as_the_paraphraser():
  student, teacher = normal(1, 3, 4, 6, 4), normal(2, 3, 8, 3, 5)
  for share in (0.1, 0.5, 1.0):
    factors, _ = shapes(paraphraser.Head("factors", share), teacher)
    output, _ = shapes(translator.Head(share), student, teacher)
    assert output.shape == (3, 4, 6, factors.shape[-1])


@pytest.mark.parametrize("module", [translator, paraphraser])
def test_heads_of_factors_have_batch_norm_if_configured(module):
  x = normal(1, 3, 4, 6, 4)
  for enabled in (False, True):
    _, variables = shapes(module.Head(batch_norm=enabled), x, x)
    assert ("batch_stats" in variables) == enabled


@pytest.mark.parametrize("module", [translator, vid])
def test_heads_with_the_width_of_the_other_side_need_one(module):
  with pytest.raises(UserError, match=r"no .* on the other side of its term"):
    module.Head().init(KEY, normal(1, 3, 4, 6, 2))
