"""Losses on feature maps: hints, at, nst, fsp, kdsvd, ft, ab, vid."""

import itertools

import jax.numpy as jnp

from goldens._case import Array, Case
from kdjax.heads import conv
from kdjax.heads import vid as vid_head
from kdjax.losses.ab import ab as ab_loss
from kdjax.losses.at import at as at_loss
from kdjax.losses.fsp import fsp as fsp_loss
from kdjax.losses.ft import ft as ft_loss
from kdjax.losses.kdsvd import kdsvd as kdsvd_loss
from kdjax.losses.mse import mse as mse_loss
from kdjax.losses.nst import nst as nst_loss
from kdjax.losses.vid import vid as vid_loss


def fitnet(case: Case) -> dict[str, Array]:
  if "param:conv.weight" not in case:
    return _answer(case, [_mean(mse_loss, s, t) for s, t in _pairs(case)])
  student, teacher = case["s"], case["t"]
  grows = student.shape[1] * 2 == teacher.shape[1]
  halves = student.shape[1] == teacher.shape[1] * 2
  weight = case.raw("param:conv.weight")
  if grows:
    # A transposed convolution has a flipped kernel of shape (in, out).
    kernel = jnp.transpose(weight, (2, 3, 0, 1))[::-1, ::-1]
  else:
    kernel = case.kernel("conv")
  name = "ConvTranspose_0" if grows else "Conv_0"
  params = {
    name: {"kernel": kernel, "bias": case.raw("param:conv.bias")},
    "BatchNorm_0": case.norm("bn"),
  }
  width = weight.shape[1 if grows else 0]
  stats = {"mean": jnp.zeros(width), "var": jnp.ones(width)}
  head = conv.Head(
    bias=True,
    shrink="stride" if halves else "valid",
    relu=case.hyper.get("use_relu", True),
  )
  adapted, _ = head.apply(
    {"params": params, "batch_stats": {"BatchNorm_0": stats}},
    student,
    teacher,
    train=True,
    mutable=["batch_stats"],
  )
  return _answer(case, [_mean(mse_loss, adapted, teacher)])


def inter_linear(case: Case) -> dict[str, Array]:
  return _answer(case, [_mean(mse_loss, s, t) for s, t in _pairs(case)])


def inter_attention(case: Case) -> dict[str, Array]:
  return at(case)


def at(case: Case) -> dict[str, Array]:
  options = {
    "power": float(case.hyper.get("p", 2)),
    "mode": "code",
    "signed": True,
  }
  return _answer(
    case, [_mean(at_loss, s, t, **options) for s, t in _pairs(case)]
  )


def at_paper(case: Case) -> dict[str, Array]:
  options = {
    "power": float(case.hyper.get("p", 2)),
    "mode": case.hyper.get("mode", "paper"),
  }
  return _answer(
    case, [_mean(at_loss, s, t, **options) for s, t in _pairs(case)]
  )


def at_zoo(case: Case) -> dict[str, Array]:
  options = {
    "power": float(case.hyper.get("p", 2)),
    "mode": "code",
    "eps": case.hyper.get("eps", 1e-6),
  }
  return _answer(
    case, [_mean(at_loss, s, t, **options) for s, t in _pairs(case)]
  )


def nst(case: Case) -> dict[str, Array]:
  return _answer(case, [_mean(nst_loss, s, t) for s, t in _pairs(case)])


def fsp(case: Case) -> dict[str, Array]:
  return _answer(case, [_mean(fsp_loss, s, t) for s, t in _flows(case)])


def fsp_l2(case: Case) -> dict[str, Array]:
  options = {"pool": "max", "distance": "columns"}
  flows = _flows(case)
  return _answer(case, [_mean(fsp_loss, s, t, **options) for s, t in flows])


def kdsvd(case: Case) -> dict[str, Array]:
  options = {"rank": case.hyper.get("k", 1)}
  flows = _flows(case)
  return _answer(case, [_mean(kdsvd_loss, s, t, **options) for s, t in flows])


def ft(case: Case) -> dict[str, Array]:
  hyper = case.hyper
  if "p1" in hyper:
    options = {
      "form": "map",
      "reduction": "mean",
      "power": float(hyper["p1"]),
      "signed": True,
      "order": float(hyper["p2"]),
    }
    values = [_mean(ft_loss, s, t, **options) for s, t in _pairs(case)]
    return _answer(case, values)
  order = float(hyper.get("p", 1))
  options = {
    "order": order,
    "unit_order": float(hyper.get("q", 2)),
    "reduction": "mean" if order == 1.0 else "norm",
  }
  values = []
  for student, teacher in _pairs(case):
    value = ft_loss(student, teacher, **options)
    if hyper.get("reduction", "mean") == "mean":
      values.append(jnp.mean(value))
    else:
      numbers = student[0].size if order == 1.0 else 1
      values.append(jnp.sum(value) * numbers)
  return _answer(case, values)


def kta(case: Case) -> dict[str, Array]:
  return ft(case)


def ft_plain(case: Case) -> dict[str, Array]:
  return ft(case)


def ab(case: Case) -> dict[str, Array]:
  margin = float(case.hyper.get("margin", 1.0))
  values = [ab_loss(s, t, margin=margin) for s, t in _pairs(case)]
  if "feat_num" in case.hyper:
    weights = [2.0 ** (i - len(values) + 1) for i in range(len(values))]
    return _answer(
      case,
      [
        weight * 3e-3 * jnp.mean(value)
        for weight, value in zip(weights, values, strict=True)
      ],
    )
  mean = case.hyper.get("reduction", "mean") == "mean"
  reduce = jnp.mean if mean else jnp.sum
  return _answer(case, [reduce(value) for value in values])


def vid(case: Case) -> dict[str, Array]:
  if "svar" in case:
    student = (case["s"], case.raw("svar").reshape(-1))
    value = _mean(vid_loss, student, case["t"], least_variance=1e-30)
    return _answer(case, [value])
  student, teacher = case["s"], case["t"]
  layers = sorted(
    name.removeprefix("param:").removesuffix(".weight")
    for name in case.inputs
    if name.startswith("param:regressor.")
  )
  params = {
    f"Dense_{index}": {
      "kernel": case.kernel(name).reshape(case.kernel(name).shape[-2:])
    }
    for index, name in enumerate(layers)
  }
  params["log_scale"] = case.raw("param:log_scale")
  head = vid_head.Head(
    hidden=params["Dense_0"]["kernel"].shape[1],
    least_variance=case.hyper.get("eps", 1e-5),
  )
  adapted = head.apply({"params": params}, student, teacher)
  return _answer(case, [_mean(vid_loss, adapted, teacher)])


def _mean(loss, student, teacher, **options) -> Array:
  return jnp.mean(loss(student, teacher, **options))


def _pairs(case: Case) -> list[tuple[Array, Array]]:
  """Pairs of student's and teacher's features, in the order of their names."""
  return [(_map(s), _map(t)) for s, t in case.pairs()]


def _map(x: Array) -> Array:
  """Channels over one axis, (B, C, L), as a map of width 1."""
  return jnp.moveaxis(x, 1, 2)[:, :, None] if x.ndim == 3 else x


def _flows(case: Case) -> list[tuple]:
  """Student's and teacher's maps of each two successive layers."""
  pairs = _pairs(case)
  return [
    ((first[0], after[0]), (first[1], after[1]))
    for first, after in itertools.pairwise(pairs)
  ]


def _answer(case: Case, values: list[Array]) -> dict[str, Array]:
  """Values by output name; a single name is their sum."""
  if len(case.outputs) == 1:
    return {case.outputs[0]: sum(values)}
  return dict(zip(case.outputs, values, strict=True))
