"""Properties of losses on features, from OFD to adversarial distillation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import compile_losses

from kdjax.errors import ShapeError
from kdjax.losses.afd import afd
from kdjax.losses.cwd import cwd
from kdjax.losses.discriminator import discriminator
from kdjax.losses.generator import generator
from kdjax.losses.hcl import hcl
from kdjax.losses.ickd import ickd
from kdjax.losses.kd import kd
from kdjax.losses.mse import mse
from kdjax.losses.ofd import ofd
from kdjax.losses.pad import pad
from kdjax.losses.semckd import semckd
from kdjax.losses.sobolev import sobolev
from kdjax.losses.srd import srd
from kdjax.losses.srrl_fm import srrl_fm

compile_losses(globals())


def normal(seed, *shape):
  return jnp.asarray(
    2 * np.random.default_rng(seed).normal(size=shape), jnp.float32
  )


def maps(seed, B=3, H=4, W=6, C=5):
  return normal(seed, B, H, W, C)


def equal(actual, expected, tolerance=1e-5):
  np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# OFD


def test_ofd_is_the_squared_distance_where_the_teacher_is_positive():
  teacher = jnp.abs(maps(1))
  value = ofd(maps(0), teacher, jnp.full(5, -1.0))
  equal(value, mse(maps(0), teacher, reduction="sum"))


def test_ofd_is_zero_below_a_response_that_relu_removes():
  teacher = -jnp.abs(maps(1))
  assert not np.any(ofd(teacher - 0.5, teacher, jnp.full(5, -1e3)))


def test_ofd_has_no_target_below_the_margin():
  teacher, margin = jnp.full((3, 4, 6, 5), -9.0), jnp.full(5, -2.0)
  value = ofd(jnp.full_like(teacher, -1.0), teacher, margin)
  equal(value, np.full(3, 4 * 6 * 5 * 1.0))


# Hierarchical context


def test_hcl_without_levels_is_the_mean_squared_difference():
  equal(hcl((maps(0),), (maps(1),), levels=()), mse(maps(0), maps(1)))


def test_hcl_of_a_constant_gap_is_its_square_at_every_level():
  value = hcl((maps(0) + 3.0,), (maps(0),))
  equal(value, np.full(3, 9.0), 1e-4)


def test_hcl_skips_levels_that_are_not_smaller_than_the_map():
  student, teacher = (maps(0),), (maps(1),)
  equal(hcl(student, teacher), hcl(student, teacher, levels=(2, 1)))


def test_hcl_is_the_sum_over_pairs():
  first, second = ((maps(0),), (maps(1),)), ((maps(2),), (maps(3),))
  both = hcl(first[0] + second[0], first[1] + second[1])
  equal(both, hcl(*first) + hcl(*second))


def test_hcl_with_unequal_numbers_of_maps_is_an_error():
  with pytest.raises(ShapeError, match="1 student maps and 2 teacher"):
    hcl((maps(0),), (maps(0), maps(1)))


# Statistics, pairs of layers, logarithm of sums


def test_srrl_fm_ignores_the_position_of_a_response():
  student = maps(0)
  equal(srrl_fm(student[:, ::-1, ::-1], maps(1)), srrl_fm(student, maps(1)))


def test_srrl_fm_compares_maps_of_other_sizes_and_pooled_ones():
  pooled = jnp.mean(maps(1), axis=(1, 2))
  equal(srrl_fm(maps(0, H=2), pooled), srrl_fm(maps(0, H=2), maps(1)))


def test_semckd_with_one_weight_is_the_distance_of_that_pair():
  student, teacher = (maps(0), maps(2, C=2)), (maps(1), maps(3, C=2))
  weights = (jnp.zeros(3), jnp.ones(3))
  equal(semckd(student, teacher, weights), mse(student[1], teacher[1]))


def test_semckd_needs_a_weight_for_every_pair():
  with pytest.raises(ShapeError, match=r"1 student .* 1 teacher .* 2 weights"):
    semckd((maps(0),), (maps(1),), (jnp.ones(3), jnp.ones(3)))


def test_srd_grows_by_a_logarithm_as_the_gap_grows():
  student, teacher = normal(0, 3, 7), normal(1, 3, 7)
  near, far = srd(student, teacher), srd(10 * student, 10 * teacher)
  equal(far - near, 4 * np.log(10))


def test_srd_of_equal_features_has_no_gradient():
  gradient = jax.jit(jax.grad(lambda x: srd(x, normal(0, 3, 7))))(
    normal(0, 3, 7)
  )
  assert not np.any(gradient)


def test_srd_is_finite_where_powers_overflow_float32():
  student = jnp.full((3, 7), 1e12)
  value, gradient = jax.jit(jax.value_and_grad(srd))(student, -student)
  equal(value, np.log(21.0) + 4 * np.log(2e12))
  assert np.all(np.isfinite(gradient)) and np.all(gradient > 0)


# Correlations, variances, distributions


def test_ickd_ignores_the_scale_of_a_map():
  equal(ickd(7 * maps(0), maps(1)), ickd(maps(0), 0.1 * maps(1)))


def test_ickd_of_channels_apart_and_together_is_the_distance_of_two_matrices():
  apart = jnp.zeros((1, 1, 2, 2)).at[0, 0, [0, 1], [0, 1]].set(3.0)
  together = jnp.ones((1, 1, 2, 2))
  # |I - ones / sqrt(2)|^2 / 2
  gap = (1 - 0.5**0.5) ** 2 + 0.5
  equal(ickd(apart, together), [gap])


def test_ickd_between_other_widths_is_an_error():
  with pytest.raises(ShapeError, match="'connector'"):
    ickd(maps(0, C=4), maps(1))


def test_pad_is_least_where_the_variance_is_the_squared_gap():
  student, teacher = normal(0, 3, 7), normal(1, 3, 7)
  best = jnp.log((student - teacher) ** 2)
  gradient = jax.jit(
    jax.grad(lambda v: jnp.sum(pad((student, v), teacher, eps=1e-20)))
  )(best)
  equal(gradient, np.zeros((3, 7)))


def test_pad_of_unit_variance_is_the_mean_squared_difference():
  student, teacher = normal(0, 3, 7), normal(1, 3, 7)
  value = pad((student, jnp.zeros((3, 7))), teacher, eps=1e-20)
  equal(value, mse(student, teacher))


def test_cwd_ignores_a_constant_added_to_a_channel():
  shifted = maps(0) + normal(2, 5)[None, None, None]
  equal(cwd(shifted, maps(1)), cwd(maps(0), maps(1)))


def test_spatial_cwd_is_kd_averaged_over_positions():
  student, teacher = maps(0), maps(1)
  rows = lambda x: x.reshape(-1, x.shape[-1])
  expected = kd(rows(student), rows(teacher)).reshape(3, -1).mean(axis=1)
  equal(cwd(student, teacher, norm="spatial"), expected)


def test_afd_ignores_channels_without_attention():
  attention = jnp.zeros((3, 5)).at[:, 2].set(1.0)
  changed = maps(0).at[..., 3].multiply(-5.0)
  equal(
    afd(changed, maps(1), attention), afd(maps(0), maps(1), attention), 1e-7
  )


def test_sobolev_ignores_the_length_of_a_gradient():
  equal(sobolev(9 * maps(0), maps(1)), sobolev(maps(0), 0.3 * maps(1)))


def test_sobolev_of_opposite_gradients_is_four_over_their_size():
  equal(sobolev(maps(0), -maps(0)), np.full(3, 4 / (4 * 6 * 5)))


# Adversaries

LABEL = jnp.array([2, 0, -1])


def test_a_certain_and_right_discriminator_has_no_loss():
  student = 1e4 * jax.nn.one_hot(jnp.zeros(3, int), 6)
  teacher = 1e4 * jax.nn.one_hot(LABEL + 1, 6)
  assert not np.any(discriminator(student, teacher, LABEL))


def test_the_form_with_the_fake_class_last_is_twice_that_with_it_first():
  student, teacher = normal(0, 3, 6), normal(1, 3, 6)
  roll = lambda x: jnp.roll(x, -1, axis=1)
  last = discriminator(roll(student), roll(teacher), LABEL, form="classes_last")
  equal(last, 2 * discriminator(student, teacher, LABEL))


def test_without_labels_one_real_class_is_a_score():
  student, teacher = normal(0, 3, 2), normal(1, 3, 2)
  score = lambda x: x[:, :1] - x[:, 1:]
  classes = discriminator(student, teacher, form="classes_last")
  equal(classes, discriminator(score(student), score(teacher), form="gan"))
  classes = generator(student, form="classes_last")
  equal(classes, generator(score(student), form="gan"))


@pytest.mark.parametrize(
  "form", ["classes", "classes_last", "gan", "least_squares"]
)
def test_the_generator_loss_is_the_discriminators_real_part(form):
  fooled, caught = normal(0, 3, 6), normal(1, 3, 6)
  half = 0.5 if form == "classes" else 1.0
  both = discriminator(caught, fooled, LABEL, form=form) / half
  neither = discriminator(caught, caught, LABEL, form=form) / half
  gain = generator(fooled, LABEL, form=form) - generator(
    caught, LABEL, form=form
  )
  equal(gain, both - neither)
