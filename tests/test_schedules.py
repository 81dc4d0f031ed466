"""Schedules and optimizers, against numbers worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import config
from kdjax.errors import UserError
from kdjax.step import optimizer, schedules


def at(spec, steps, total=100):
  made = schedules.make(spec, total)
  return [float(made(jnp.int32(step))) for step in steps]


def test_a_number_is_constant():
  assert at(0.5, (0, 7, 1000)) == [0.5, 0.5, 0.5]


def test_cosine_rises_in_the_warm_up_and_ends_at_its_end():
  spec = config.schedule("cosine", 2.0, warmup=20, end=0.5)
  got = at(spec, (0, 10, 20, 60, 100, 150))
  np.testing.assert_allclose(got, [0, 1, 2, 1.25, 0.5, 0.5], atol=1e-6)


def test_cosine_may_start_at_zero():
  got = at(config.schedule("cosine", 0.0, end=1.0), (0, 50, 100))
  np.testing.assert_allclose(got, [0, 0.5, 1], atol=1e-6)


def test_linear_takes_its_own_number_of_steps():
  got = at(config.schedule("linear", 4.0, steps=10), (0, 5, 10, 50))
  np.testing.assert_allclose(got, [4, 2, 0, 0], atol=1e-6)


def test_step_multiplies_at_its_milestones():
  spec = config.schedule("step", 1.0, milestones=(0.5, 0.75), factor=0.1)
  got = at(spec, (49, 51, 76))
  np.testing.assert_allclose(got, [1, 0.1, 0.01], rtol=1e-6)


def test_decay_multiplies_again_and_again():
  spec = config.schedule("decay", 1.0, every=0.2, factor=0.5)
  got = at(spec, (0, 19, 20, 39, 40, 99))
  np.testing.assert_allclose(got, [1, 1, 0.5, 0.5, 0.25, 0.0625], rtol=1e-6)


def test_every_schedule_rises_first_where_it_warms_up():
  for kind in ("constant", "linear", "cosine", "step", "decay"):
    got = at(config.schedule(kind, 2.0, warmup=10), (0, 5, 10))
    np.testing.assert_allclose(got, [0, 1, 2], atol=1e-6, err_msg=kind)


def test_unknown_schedules_and_optimizers_are_errors():
  with pytest.raises(UserError, match="Did you mean 'cosine'"):
    schedules.make(config.schedule("cosin", 1.0), 10)
  with pytest.raises(UserError, match="Did you mean 'adamw'"):
    optimizer.make(config.optimizer("adam_w"), 10)


def step_of(rule, params, gradients, times=1):
  state = rule.init(params)
  for _ in range(times):
    updates, state = rule.update(gradients, state, params)
    params = {key: params[key] + updates[key] for key in params}
  return params


def test_sgd_has_momentum_and_decays_kernels_only():
  spec = config.optimizer("sgd", learning_rate=0.1, weight_decay=0.5)
  params = {"kernel": jnp.full((1, 1), 2.0), "bias": jnp.full(1, 2.0)}
  gradients = {"kernel": jnp.full((1, 1), 1.0), "bias": jnp.full(1, 1.0)}
  got = step_of(optimizer.make(spec, 10), params, gradients, times=2)
  # kernel: g = 1 + .5*2 = 2, w = 1.8; g = 1 + .9 = 1.9, m = 1.8+1.9 = 3.7
  np.testing.assert_allclose(got["kernel"], 1.8 - 0.37, rtol=1e-6)
  # bias: 2 - .1 = 1.9; m = .9 + 1 = 1.9
  np.testing.assert_allclose(got["bias"], 1.9 - 0.19, rtol=1e-6)


def test_clipping_scales_the_whole_gradient():
  spec = config.optimizer("sgd", learning_rate=1.0, momentum=0.0, clip_norm=1.0)
  params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
  gradients = {"a": jnp.full(1, 3.0), "b": jnp.full(1, 4.0)}
  got = step_of(optimizer.make(spec, 10), params, gradients)
  np.testing.assert_allclose([got["a"][0], got["b"][0]], [-0.6, -0.8], 1e-6)


def test_every_optimizer_descends():
  for name in ("adamw", "sgd", "rmsprop"):
    rule = optimizer.make(config.optimizer(name, learning_rate=0.01), 10)
    got = step_of(rule, {"w": jnp.ones((1, 1))}, {"w": jnp.ones((1, 1))})
    assert got["w"] < 1, name
