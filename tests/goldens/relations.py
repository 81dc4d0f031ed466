"""Relational losses over the examples of a batch."""

import jax.numpy as jnp

from goldens._case import Case, biased, dense
from kdjax.heads import linear
from kdjax.losses import affinity as _affinity
from kdjax.losses import cc as _cc
from kdjax.losses import cc_adjacent as _cc_adjacent
from kdjax.losses import dark_rank as _dark_rank
from kdjax.losses import irg_edge as _irg_edge
from kdjax.losses import irg_transform as _irg_transform
from kdjax.losses import mmd as _mmd
from kdjax.losses import mse as _mse
from kdjax.losses import pkt as _pkt
from kdjax.losses import rkd_angle as _rkd_angle
from kdjax.losses import rkd_distance as _rkd_distance
from kdjax.losses import sp as _sp


def sp(case: Case) -> dict:
  # Only torchdistill has a reduction; it uses the l1 norm, and sums for every
  # other name than "batchmean".
  reduction = case.option(None, "reduction")
  options = {
    "norm": "l2" if reduction is None else "l1",
    "reduction": "mean" if reduction in (None, "batchmean") else "sum",
  }
  values = [_sp.sp(s, t, **options) for s, t in case.pairs()]
  return case.answer(values)


def inter_similarity(case: Case) -> dict:
  return case.answer([_sp.sp(s, t) for s, t in case.pairs()])


def rkd(case: Case) -> dict:
  return _rkd(case, 25.0, 50.0)


def rkd_distance(case: Case) -> dict:
  return _rkd(case, 1.0, 0.0)


def rkd_angle(case: Case) -> dict:
  return _rkd(case, 0.0, 1.0)


def _rkd(case: Case, distance: float, angle: float) -> dict:
  """Both parts, with these default weights."""
  hyper, size = case.hyper, case["s"].shape[0]
  names = "w_d", "w_dist", "distance_weight", "dist_factor", "distance_factor"
  distance = case.option(distance, *names)
  names = "w_a", "w_angle", "angle_weight", "angle_factor"
  angle = case.option(angle, *names)
  options = {name: hyper[name] for name in ("squared", "eps") if name in hyper}
  # Over all pairs and triples; torchdistill may sum them instead.
  pairs = triples = 1
  if case.option("mean", "reduction") == "sum":
    pairs, triples = size**2, size**3
  loss = jnp.zeros(())
  if distance:
    loss += (distance * pairs) * _rkd_distance.rkd_distance(
      case["s"], case["t"], **options
    )
  if angle:
    loss += (angle * triples) * _rkd_angle.rkd_angle(case["s"], case["t"])
  return case.answer(loss)


def darkrank(case: Case) -> dict:
  loss = _dark_rank.dark_rank(
    case["s"],
    case["t"],
    scale=case.option(3.0, "alpha"),
    power=case.option(3.0, "beta"),
    length=case.option(4, "permute_len"),
  )
  return case.answer(loss)


def pkt(case: Case) -> dict:
  eps = case.option(1e-7, "eps")
  return case.answer(_pkt.pkt(case["s"], case["t"], eps=eps))


def pkt_eps1e_6(case: Case) -> dict:
  eps = case.option(1e-6, "eps")
  return case.answer(_pkt.pkt(case["s"], case["t"], eps=eps))


def cc(case: Case) -> dict:
  student, teacher = case.flat("s"), case.flat("t")
  if layers := [biased(dense(layer)) for layer in case.linears()]:
    student, teacher = (
      linear.Head(len(layer["bias"])).apply({"params": {"Dense_0": layer}}, x)
      for x, layer in zip((student, teacher), layers, strict=True)
    )
  return case.answer(_cc_adjacent.cc_adjacent(student, teacher))


def cckd_bilinear(case: Case) -> dict:
  return _cckd(case, "bilinear")


def cckd_gaussian(case: Case) -> dict:
  return _cckd(case, "gaussian")


def _cckd(case: Case, form: str) -> dict:
  mean = case.option("batchmean", "reduction") == "batchmean"
  options = {
    "form": form,
    "normalize": False,
    "reduction": "root_mean" if mean else "root",
  }
  if form == "gaussian":
    options |= {
      "bandwidth": case.option(0.4, "gamma"),
      "order": case.option(2, "max_p"),
    }
  return case.answer(_cc.cc(case["s"], case["t"], **options))


def cc_gaussian(case: Case) -> dict:
  options = {
    "bandwidth": case.option(0.4, "gamma"),
    "order": case.option(2, "P_order"),
  }
  return case.answer(_cc.cc(case["s"], case["t"], **options))


def irg(case: Case) -> dict:
  student = [case[name] for name in ("s0", "s1", "sf", "sl")]
  teacher = [case[name] for name in ("t0", "t1", "tf", "tl")]
  edges = map(_irg_edge.irg_edge, student[:3], teacher[:3])
  transform = _irg_transform.irg_transform(
    tuple(student[:2]), tuple(teacher[:2])
  )
  vertices = jnp.mean(_mse.mse(student[3], teacher[3]))
  loss = case.option(0.1, "w_irg_vert") * vertices
  loss += case.option(5.0, "w_irg_edge") * sum(edges) / 3
  loss += case.option(5.0, "w_irg_tran") * transform
  return case.answer(loss)


def affinity(case: Case) -> dict:
  ((student, teacher),) = case.maps()
  losses = _affinity.affinity(student, teacher, form="channels")
  mean = case.option("mean", "reduction") == "mean"
  reduce = jnp.mean if mean else jnp.sum
  return case.answer(reduce(losses))


def tb_mmd(case: Case) -> dict:
  student = (case["s0"], case["s1"])
  teacher = (case["t0"], case["t1"])
  if "mask" not in case:
    return case.answer(jnp.mean(_mmd.mmd(student, teacher)))
  # TextBrewer has a mean over the pairs of positions of the whole batch.
  mask = case["mask"].astype(bool)
  pairs = jnp.sum(mask, axis=1) ** 2
  losses = _mmd.mmd(student, teacher, mask)
  return case.answer(jnp.sum(losses * pairs) / jnp.sum(pairs))
