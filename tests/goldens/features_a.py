"""Losses on feature maps: hints, at, nst, fsp, kdsvd, ft, ab, vid."""

import itertools

import jax
import jax.numpy as jnp

from goldens._case import (
  Array,
  Case,
  as_map,
  biased,
  conv,
  dense,
  trained,
  unbiased,
)
from kdjax.heads import connector, linear
from kdjax.heads import conv as conv_head
from kdjax.heads import vid as vid_head
from kdjax.losses.ab import ab as ab_loss
from kdjax.losses.at import at as at_loss
from kdjax.losses.fsp import fsp as fsp_loss
from kdjax.losses.ft import ft as ft_loss
from kdjax.losses.kdsvd import kdsvd as kdsvd_loss
from kdjax.losses.mse import mse as mse_loss
from kdjax.losses.nst import nst as nst_loss
from kdjax.losses.vid import vid as vid_loss
from kdjax.numerics import average_pool, match_spatial


def fitnet(case: Case) -> dict[str, Array]:
  if not case.linears():
    return case.answer([_mean(mse_loss, s, t) for s, t in case.maps()])
  (layer,), norms = case.linears(), case.norms()
  student, teacher = as_map(case["s"]), as_map(case["t"])
  size, target = student.shape[1], teacher.shape[1]
  grows = size * 2 == target
  if size < target and not grows:
    teacher = average_pool(teacher, *student.shape[1:3])
  params = biased(conv(layer))
  if grows:
    # A transposed convolution has a flipped kernel of shape (in, out).
    kernel = jnp.transpose(layer["weight"], (2, 3, 0, 1))[::-1, ::-1]
    bias = layer.get("bias", jnp.zeros(kernel.shape[-1]))
    params = {"kernel": kernel, "bias": bias}
  variables = {"ConvTranspose_0" if grows else "Conv_0": params}
  if norms:
    variables["BatchNorm_0"] = norms[0]
  head = conv_head.Head(
    bias=True,
    kernel=3 if size < target and not grows else None,
    shrink="stride" if size == 2 * target else "valid",
    batch_norm=bool(norms),
    relu=bool(norms) and case.hyper.get("use_relu", True),
  )
  return case.answer(
    _mean(mse_loss, trained(head, variables, student, teacher), teacher)
  )


def inter_linear(case: Case) -> dict[str, Array]:
  return case.answer([_mean(mse_loss, s, t) for s, t in case.maps()])


def inter_attention(case: Case) -> dict[str, Array]:
  return at(case)


def at(case: Case) -> dict[str, Array]:
  options = {
    "power": float(case.hyper.get("p", 2)),
    "mode": "code",
    "signed": True,
  }
  return case.answer([_mean(at_loss, s, t, **options) for s, t in case.maps()])


def at_paper(case: Case) -> dict[str, Array]:
  options = {
    "power": float(case.hyper.get("p", 2)),
    "mode": case.hyper.get("mode", "paper"),
  }
  return case.answer([_mean(at_loss, s, t, **options) for s, t in case.maps()])


def at_zoo(case: Case) -> dict[str, Array]:
  options = {
    "power": float(case.hyper.get("p", 2)),
    "mode": "code",
    "eps": case.hyper.get("eps", 1e-6),
  }
  return case.answer([_mean(at_loss, s, t, **options) for s, t in case.maps()])


def nst(case: Case) -> dict[str, Array]:
  return case.answer([_mean(nst_loss, s, t) for s, t in case.maps()])


def fsp(case: Case) -> dict[str, Array]:
  return case.answer([_mean(fsp_loss, s, t) for s, t in _flows(case)])


def fsp_l2(case: Case) -> dict[str, Array]:
  options = {"pool": "max", "distance": "columns"}
  flows = _flows(case)
  return case.answer([_mean(fsp_loss, s, t, **options) for s, t in flows])


def kdsvd(case: Case) -> dict[str, Array]:
  flows, options = _flows(case), {"rank": case.option(1, "k", "K")}
  # mdistiller's matrix has the width as its last axis, so channels may differ:
  # they are rows, as heights are.
  rows = "mdistiller" in case.code or any(
    s.shape[-1] != t.shape[-1] for s, t in case.maps()
  )
  if rows:
    options["matrix"] = "rows"
    flows = jax.tree.map(_as_height, flows)
  return case.answer([_mean(kdsvd_loss, s, t, **options) for s, t in flows])


def _as_height(x: Array) -> Array:
  """A map with one channel, and its channels as positions of its columns."""
  return jnp.swapaxes(x, 2, 3).reshape(len(x), -1, x.shape[2], 1)


def ft(case: Case) -> dict[str, Array]:
  if "p1" in case.hyper:
    return case.answer([_factors(case, s, t) for s, t in case.maps()])
  order = float(case.option(1, "p"))
  options = {
    "order": order,
    "unit_order": float(case.option(2, "q")),
    "reduction": "mean" if order == 1.0 else "norm",
  }
  values = []
  for student, teacher in case.maps():
    value = ft_loss(student, teacher, **options)
    if case.option("mean", "reduction") == "mean":
      values.append(jnp.mean(value))
    else:
      numbers = student[0].size if order == 1.0 else 1
      values.append(jnp.sum(value) * numbers)
  return case.answer(values)


def _factors(case: Case, student: Array, teacher: Array) -> Array:
  """RepDistiller's distance of the means over channels."""
  power = float(case.hyper["p1"])
  if student.shape[-1] != teacher.shape[-1]:
    # The loss has the same channels on both sides: here it is their mean.
    student, teacher = (
      jnp.mean(x**power, axis=-1, keepdims=True)
      for x in match_spatial(student, teacher)
    )
    power = 1.0
  return _mean(
    ft_loss,
    student,
    teacher,
    form="map",
    reduction="mean",
    power=power,
    signed=True,
    order=float(case.option(1, "p2")),
  )


def kta(case: Case) -> dict[str, Array]:
  return ft(case)


def ft_plain(case: Case) -> dict[str, Array]:
  return ft(case)


def ab(case: Case) -> dict[str, Array]:
  margin = float(case.option(1.0, "margin"))
  pairs = case.maps()
  values = [ab_loss(s, t, margin=margin) for s, t in pairs]
  if "feat_num" in case.hyper:
    last = case.hyper["feat_num"] - 1
    return case.answer(
      [2.0 ** (i - last) * 3e-3 * jnp.mean(v) for i, v in enumerate(values)]
    )
  reduction = case.option(None, "reduction")
  if reduction is None:
    # Knowledge-Distillation-Zoo: the mean over all values.
    options = {"margin": margin, "reduction": "mean"}
    return case.answer([_mean(ab_loss, s, t, **options) for s, t in pairs])
  reduce = jnp.mean if reduction == "mean" else jnp.sum
  return case.answer([reduce(value) for value in values])


def vid(case: Case) -> dict[str, Array]:
  if "svar" in case:
    student = (case["s"], case.raw("svar").reshape(-1))
    value = _mean(vid_loss, student, case["t"], least_variance=1e-30)
    return case.answer(value)
  if case.norms():
    return _normalized_vid(case)
  layers, scales = case.linears(), case.singles()
  values = []
  for index, (student, teacher) in enumerate(case.pairs()):
    count = len(layers) // len(scales)
    params = {
      f"Dense_{place}": unbiased(dense(layer))
      for place, layer in enumerate(layers[count * index :][:count])
    }
    head = vid_head.Head(
      hidden=params["Dense_0"]["kernel"].shape[1],
      least_variance=case.option(1e-5, "eps"),
    )
    params["log_scale"] = scales[index]
    adapted = head.apply({"params": params}, student, teacher)
    values.append(_mean(vid_loss, adapted, teacher))
  return case.answer(values)


def _normalized_vid(case: Case) -> dict[str, Array]:
  """VID of Knowledge-Distillation-Zoo, with BatchNorm after hidden layers."""
  *hidden, last = case.linears()
  x, teacher = case["s"], case["t"]
  for layer, norm in zip(hidden, case.norms(), strict=True):
    params = {"Dense_0": unbiased(dense(layer)), "BatchNorm_0": norm}
    head = connector.Head(width=len(norm["bias"]), relu=True)
    x = trained(head, params, x)
  params = {"Dense_0": biased(dense(last))}
  mean = linear.Head(teacher.shape[-1]).apply({"params": params}, x)
  variance = jax.nn.softplus(case.singles()[0]) + case.option(1e-6, "eps")
  return case.answer(_mean(vid_loss, (mean, variance), teacher))


def _mean(loss, student, teacher, **options) -> Array:
  return jnp.mean(loss(student, teacher, **options))


def _flows(case: Case) -> list[tuple]:
  """Student's and teacher's maps of each two successive layers."""
  pairs = case.maps()
  return [
    ((first[0], after[0]), (first[1], after[1]))
    for first, after in itertools.pairwise(pairs)
  ]
