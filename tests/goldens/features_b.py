"""Feature methods, from OFD to Sobolev training."""

import jax
import jax.numpy as jnp

from goldens._case import Array, Case
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


def _trained(head, params: dict, *arrays, **options):
  """A head's output in training, with statistics of the batch."""
  statistics = {
    name: {
      "mean": jnp.zeros_like(one["scale"]),
      "var": jnp.ones_like(one["scale"]),
    }
    for name, one in params.items()
    if "scale" in one
  }
  output, _ = head.apply(
    {"params": params, "batch_stats": statistics},
    *arrays,
    train=True,
    mutable=["batch_stats"],
    **options,
  )
  return output


def ofd(case: Case) -> dict[str, Array]:
  margin = case.raw("margin").reshape(-1)
  return {"loss": jnp.sum(ofd_loss(case["s"], case["t"], margin))}


def ofd_margin(case: Case) -> dict[str, Array]:
  norm = (case["bn_weight"], case["bn_bias"])
  return {"margin": margin_head.Head().apply({}, norm)}


def ofd_zoo(case: Case) -> dict[str, Array]:
  teacher = case["t"]
  params = {
    "Dense_0": {"kernel": case.kernel("connector.0")[0, 0]},
    "BatchNorm_0": case.norm("connector.1"),
  }
  student = _trained(connector.Head(), params, case["s"], teacher)
  margin = negative_mean.Head().apply({}, teacher)
  loss = ofd_loss(student, teacher, margin, reduction="mean")
  return {"loss": jnp.mean(loss)}


def reviewkd_hcl(case: Case) -> dict[str, Array]:
  levels = case.option((4, 2, 1), "levels", "output_sizes")
  student, teacher = zip(*case.pairs(), strict=True)
  return {"loss": jnp.mean(hcl(student, teacher, levels=tuple(levels)))}


def reviewkd_abf(case: Case) -> dict[str, Array]:
  params = {
    "enter": case.dense("conv1.0"),
    "enter_norm": case.norm("conv1.1"),
    "leave": case.dense("conv2.0"),
    "leave_norm": case.norm("conv2.1"),
  }
  previous = ()
  if "param:att_conv.0.weight" in case:
    params["attention"] = case.dense("att_conv.0")
    (name,) = (
      name
      for name in case.inputs
      if name != "s" and not name.startswith("param:")
    )
    previous = (case[name],)
  inner, outer = (
    params[name]["kernel"].shape[-1] for name in ("enter", "leave")
  )
  width = case["s"].shape[2]
  size = case.hyper.get("out_shape", width)
  y, x = _trained(
    Fusion(inner, outer),
    params,
    case["s"],
    *previous,
    size=None if size == width else (size, size),
  )
  return {"y": jnp.moveaxis(y, 3, 1), "x": jnp.moveaxis(x, 3, 1)}


def simkd(case: Case) -> dict[str, Array]:
  student, teacher = case["s"], case["t"]
  params = {}
  for layer in range(3):
    params[f"Conv_{layer}"] = case.dense(f"transfer.{3 * layer}")
    params[f"BatchNorm_{layer}"] = case.norm(f"transfer.{3 * layer + 1}")
  head = simkd_head.Head(factor=case.hyper.get("factor", 2))
  projected = _trained(head, params, student, teacher)
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
  params = {
    "Dense_0": {"kernel": case.kernel("transfer.0")[0, 0]},
    "BatchNorm_0": case.norm("transfer.1"),
  }
  head = connector.Head(relu=True)
  student = _trained(head, params, case["s"], case["t"])
  logits = _classified(case, student)
  return {
    "feat_mse": jnp.mean(mse(student, case["t"])),
    "reg_mse": jnp.mean(mse(logits, case["tl"])),
  }


def srrl_fm(case: Case) -> dict[str, Array]:
  return {"loss": jnp.mean(srrl_fm_loss(case["s"], case["t"]))}


def semckd(case: Case) -> dict[str, Array]:
  weights = jax.nn.softmax(case["sw"], axis=-1)
  layers, others = weights.shape[1:]
  pairs = [(i, j) for i in range(layers) for j in range(others)]
  student, teacher = (
    tuple(case[f"{side}{i}{j}"] for i, j in pairs) for side in "st"
  )
  weights = tuple(weights[:, i, j] for i, j in pairs)
  loss = semckd_loss(student, teacher, weights, layers=layers)
  return {"loss": jnp.mean(loss)}


def srd(case: Case) -> dict[str, Array]:
  temperature = case.hyper.get("temperature", 1.0)
  exponent = case.hyper.get("exponent", 1.0)
  features = srd_loss(case["s"], case["t"], exponent=exponent)
  logits = jnp.mean(
    kd(case["sl"], case["tl"], temperature=temperature, scale=False)
  )
  return {"loss": 2.0 * features + logits}


def ickd(case: Case) -> dict[str, Array]:
  size = case["s"].shape[0]
  return {"loss": jnp.mean(ickd_loss(case["s"], case["t"], divisor=size))}


def pad_l2(case: Case) -> dict[str, Array]:
  loss = pad(
    (case["s"], case["slogvar"]), case["t"], eps=case.hyper.get("eps", 1e-6)
  )
  reduce = jnp.sum if case.hyper.get("reduction") == "sum" else jnp.mean
  return {"loss": reduce(loss)}


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
  return {"loss": jnp.mean(loss)}


def afd(case: Case) -> dict[str, Array]:
  params = {
    f"Dense_{layer}": {
      "kernel": case.kernel(f"attention.{2 * layer}")[0, 0],
      "bias": case.raw(f"param:attention.{2 * layer}.bias"),
    }
    for layer in (0, 1)
  }
  head = afd_head.Head(share=case.hyper.get("att_f", 0.5))
  attention = head.apply({"params": params}, case["t"])
  eps = case.hyper.get("eps", 1e-6)
  return {"loss": jnp.mean(afd_loss(case["s"], case["t"], attention, eps=eps))}


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
  return {"loss": jnp.mean(sobolev_loss(student, teacher))}
