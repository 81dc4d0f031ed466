"""Feature methods, from OFD to Sobolev training."""

import jax
import jax.numpy as jnp

from goldens._case import Array, Case, biased, conv, dense, trained, unbiased
from kdjax.heads import (
  afd as afd_head,
)
from kdjax.heads import (
  classifier,
  connector,
  negative_mean,
  pool,
)
from kdjax.heads import (
  ofd_margin as margin_head,
)
from kdjax.heads import (
  simkd as simkd_head,
)
from kdjax.heads._fusion import Fusion
from kdjax.losses.afd import afd as afd_loss
from kdjax.losses.cwd import cwd as cwd_loss
from kdjax.losses.hcl import hcl
from kdjax.losses.ickd import ickd as ickd_loss
from kdjax.losses.kd import kd
from kdjax.losses.mse import mse
from kdjax.losses.ofd import ofd as ofd_loss
from kdjax.losses.pad import pad
from kdjax.losses.semckd import semckd as semckd_loss
from kdjax.losses.sobolev import sobolev as sobolev_loss
from kdjax.losses.srd import srd as srd_loss
from kdjax.losses.srrl_fm import srrl_fm as srrl_fm_loss
from kdjax.numerics import average_pool


def ofd(case: Case) -> dict[str, Array]:
  margin = case.raw("margin").reshape(-1)
  loss = ofd_loss(case["s"], case["t"], margin)
  # mdistiller has the mean over the batch.
  mean = "mdistiller" in case.code
  return case.answer(jnp.mean(loss) if mean else jnp.sum(loss))


def ofd_margin(case: Case) -> dict[str, Array]:
  norm = (case["bn_weight"], case["bn_bias"])
  return {"margin": margin_head.Head().apply({}, norm)}


def ofd_zoo(case: Case) -> dict[str, Array]:
  teacher = case["t"]
  student = _connected(case, connector.Head(), case["s"], teacher)
  margin = negative_mean.Head().apply({}, teacher)
  loss = ofd_loss(student, teacher, margin, reduction="mean")
  return case.answer(jnp.mean(loss))


def _connected(case: Case, head, student: Array, teacher: Array) -> Array:
  """The output of a connector: a linear layer and BatchNorm."""
  (layer,), (norm,) = case.linears(), case.norms()
  params = {"Dense_0": unbiased(dense(layer)), "BatchNorm_0": norm}
  return trained(head, params, student, teacher)


def reviewkd_hcl(case: Case) -> dict[str, Array]:
  levels = tuple(case.option((4, 2, 1), "levels", "output_sizes"))
  if case.option("mean", "reduction") == "sum":
    return case.answer([_summed_hcl(s, t, levels) for s, t in case.pairs()])
  return case.answer(
    [jnp.mean(hcl((s,), (t,), levels=levels)) for s, t in case.pairs()]
  )


def _summed_hcl(student: Array, teacher: Array, levels: tuple) -> Array:
  """The same weighted mean over levels, of sums over all values of a level."""
  maps = [(student, teacher)]
  for level in levels:
    if level < student.shape[1]:
      pool = lambda x, size=level: average_pool(x, size, size)
      maps.append((pool(student), pool(teacher)))
  weights = [0.5**power for power in range(len(maps))]
  total = sum(
    weight * s[0].size * jnp.sum(hcl((s,), (t,), levels=()))
    for weight, (s, t) in zip(weights, maps, strict=True)
  )
  return total / sum(weights)


def reviewkd_abf(case: Case) -> dict[str, Array]:
  # The gate is the convolution to two channels, the last one is 3x3.
  layers = [conv(layer) for layer in case.linears()]
  deeper = [n for n in case.inputs if n != "s" and not n.startswith("param:")]
  params = {}
  if deeper:
    width = case[deeper[0]].shape[-1]
    (params["attention"],) = (
      layer for layer in layers if layer["kernel"].shape[2:] == (2 * width, 2)
    )
  for layer in layers:
    if layer is not params.get("attention"):
      name = "enter" if "enter" not in params else "leave"
      params[name] = unbiased(layer)
  params["enter_norm"], params["leave_norm"] = case.norms()
  inner, outer = (
    params[name]["kernel"].shape[-1] for name in ("enter", "leave")
  )
  size = (case.option(case["s"].shape[2], "out_shape"),) * 2
  y, x = trained(
    Fusion(inner, outer),
    params,
    case["s"],
    *(case[name] for name in deeper),
    size=None if size == case["s"].shape[1:3] else size,
  )
  answers = {"y": jnp.moveaxis(y, 3, 1), "x": jnp.moveaxis(x, 3, 1)}
  return {name: answers[name] for name in case.outputs}


def simkd(case: Case) -> dict[str, Array]:
  student, teacher = case["s"], case["t"]
  params = {}
  for index, (layer, norm) in enumerate(
    zip(case.linears(), case.norms(), strict=True)
  ):
    params[f"Conv_{index}"] = unbiased(conv(layer))
    params[f"BatchNorm_{index}"] = norm
  inner = params["Conv_0"]["kernel"].shape[-1]
  head = simkd_head.Head(factor=teacher.shape[-1] // inner)
  projected = trained(head, params, student, teacher)
  teacher = pool.Head().apply({}, teacher, student)
  answers = {
    "mse": jnp.mean(mse(projected, teacher)),
    "aux_pred": _classified(case, projected),
  }
  return {name: answers[name] for name in case.outputs}


def _classified(case: Case, feature: Array) -> Array:
  """The logits of the case's classifier, with kernel (out, in)."""
  x = (feature, case["cls_w"].T, case["cls_b"])
  return classifier.Head().apply({}, x)


def srrl(case: Case) -> dict[str, Array]:
  head = connector.Head(relu=True)
  student = _connected(case, head, case["s"], case["t"])
  logits = _classified(case, student)
  features = jnp.mean(mse(student, case["t"]))
  return case.answer([features, jnp.mean(mse(logits, case["tl"]))])


def srrl_fm(case: Case) -> dict[str, Array]:
  return case.answer([jnp.mean(srrl_fm_loss(s, t)) for s, t in case.maps()])


def semckd(case: Case) -> dict[str, Array]:
  weights = jax.nn.softmax(case["sw"], axis=-1)
  layers, others = weights.shape[1:]
  pairs = [(i, j) for i in range(layers) for j in range(others)]
  student, teacher = (
    tuple(case[f"{side}{i}{j}"] for i, j in pairs) for side in "st"
  )
  weights = tuple(weights[:, i, j] for i, j in pairs)
  loss = semckd_loss(student, teacher, weights, layers=layers)
  return case.answer(jnp.mean(loss))


def srd(case: Case) -> dict[str, Array]:
  temperature = case.option(1.0, "temperature", "T", "tau")
  exponent = case.option(1.0, "exponent")
  features = srd_loss(case["s"], case["t"], exponent=exponent)
  logits = jnp.mean(
    kd(case["sl"], case["tl"], temperature=temperature, scale=False)
  )
  return case.answer(2.0 * features + logits)


def ickd(case: Case) -> dict[str, Array]:
  layers, norms, values = case.linears(), case.norms(), []
  # Only torchdistill divides by the batch twice; it has no layer of its own.
  original = bool(layers) or "ICKD" in case.code
  for student, teacher in case.maps():
    if layers:
      params = {"Dense_0": unbiased(dense(layers[0])), "BatchNorm_0": norms[0]}
      head = connector.Head(width=len(norms[0]["bias"]))
      student = trained(head, params, student)
    loss = ickd_loss(student, teacher, divisor=1 if original else len(student))
    values.append(jnp.mean(loss))
  return case.answer(values)


def pad_l2(case: Case) -> dict[str, Array]:
  student, teacher, log_variance = map(case.flat, ("s", "t", "slogvar"))
  loss = pad((student, log_variance), teacher, eps=case.option(1e-6, "eps"))
  mean = case.option("mean", "reduction") == "mean"
  return case.answer(jnp.mean(loss) if mean else jnp.sum(loss))


def cwd(case: Case) -> dict[str, Array]:
  norm = case.option("none", "norm_type")
  divergence = case.option("mse", "divergence")
  student, teacher = case["s"], case["t"]
  if norm in ("channel", "spatial"):
    # The code has a temperature for "kl" only.
    temperature = case.option(1.0, "temperature")
    temperature = temperature if divergence == "kl" else 1.0
    loss = cwd_loss(
      student,
      teacher,
      norm=norm,
      divergence=divergence,
      temperature=temperature,
    )
  elif norm == "channel_mean":
    loss = srrl_fm_loss(student, teacher)
  else:
    # The code compares only the first example, and divides by the whole batch.
    numbers = student.shape[0] * student.shape[1] * student.shape[2]
    loss = mse(student[:1], teacher[:1], reduction="sum") / numbers
  return case.answer(jnp.mean(loss))


def afd(case: Case) -> dict[str, Array]:
  params = {
    f"Dense_{index}": biased(dense(layer))
    for index, layer in enumerate(case.linears())
  }
  channels, hidden = params["Dense_0"]["kernel"].shape
  # Above the exact share, which rounding could bring below the hidden width.
  head = afd_head.Head(share=(hidden + 0.5) / channels)
  attention = head.apply({"params": params}, case["t"])
  eps = case.option(1e-6, "eps")
  return case.answer(
    jnp.mean(afd_loss(case["s"], case["t"], attention, eps=eps))
  )


def sobolev(case: Case) -> dict[str, Array]:
  # The case has small networks; the loss gets their gradients.
  def of_label(images, inner, outer):
    logits = jnp.tanh(images.reshape(images.shape[0], -1) @ inner) @ outer
    own = jnp.take_along_axis(logits, case["y"][:, None], axis=1)
    return jnp.sum(own)

  student, teacher = (
    jax.grad(of_label)(case.raw("x"), case[inner], case[outer])
    for inner, outer in (("W", "sV"), ("Wt", "tV"))
  )
  return case.answer(jnp.mean(sobolev_loss(student, teacher)))
