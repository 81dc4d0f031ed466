"""Divergences, multi-teacher and cross-modal losses."""

import jax.numpy as jnp

from goldens._case import Array, Case
from kdjax.losses.jsd import jsd as jsd_loss
from kdjax.losses.non_target_kl import non_target_kl
from kdjax.losses.soft_cross_entropy import soft_cross_entropy
from kdjax.losses.tvd import tvd as tvd_loss


def kd_ce(case: Case) -> dict[str, Array]:
  """TextBrewer: the mean over the batch, without T^2."""
  student, teacher, temperature = case["s"], case["t"], None
  if "temp" in case:
    temperature = case["temp"].reshape(-1)
    # With a temperature per position, each position is an example.
    if case["temp"].shape == student.shape[:-1]:
      student, teacher = (
        x.reshape(-1, x.shape[-1]) for x in (student, teacher)
      )
  numbers = {}
  if temperature is None:
    numbers["default_temperature"] = _temperature(case)
  loss = soft_cross_entropy(student, teacher, temperature, **numbers)
  return case.answer(jnp.mean(loss))


def jsd(case: Case) -> dict[str, Array]:
  """DistillKit: the sum over all positions that are not padding."""
  temperature = _temperature(case)
  loss = jsd_loss(case["s"], case["t"], temperature=temperature, scale=False)
  return case.answer(_total(case, loss))


def tvd(case: Case) -> dict[str, Array]:
  """DistillKit: the sum over all positions that are not padding."""
  temperature = _temperature(case)
  loss = tvd_loss(case["s"], case["t"], temperature=temperature, scale=False)
  return case.answer(_total(case, loss))


def c2kd_ntkl(case: Case) -> dict[str, Array]:
  """C2KD: the label's logit is set to 0; unselected examples count as 0."""
  loss = non_target_kl(
    case["s"],
    case["t"],
    case["y"],
    case["mask"] != 0 if "mask" in case else None,
    temperature=_temperature(case),
    target="zero",
    selection=False,
  )
  return case.answer(jnp.mean(loss))


def _temperature(case: Case) -> float:
  return case.option(1.0, "temperature", "T", "tau")


def _total(case: Case, loss: Array) -> Array:
  if "mask" in case:
    loss = loss * case["mask"].reshape(loss.shape)
  return jnp.sum(loss)
