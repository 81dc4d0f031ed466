"""Contrastive losses, including those of CLIP."""

import jax
import jax.numpy as jnp

from kdjax.heads import _nce, fuse, project
from kdjax.losses.clip import clip as clip_loss
from kdjax.losses.clip_ckd import clip_ckd
from kdjax.losses.clip_cross_kd import clip_cross_kd
from kdjax.losses.clip_fd import clip_fd
from kdjax.losses.clip_gd import clip_gd
from kdjax.losses.clip_icl import clip_icl
from kdjax.losses.clip_soft import clip_soft as clip_soft_loss
from kdjax.losses.crd import crd as crd_loss
from kdjax.losses.cross_entropy import cross_entropy
from kdjax.losses.kd import kd
from kdjax.losses.sskd import sskd as sskd_loss
from kdjax.losses.sskd_aux import sskd_aux as sskd_aux_loss
from kdjax.losses.sskd_transformed import sskd_transformed

# The first of each four rows is the plain view.
VIEWS = 4


def crd(case):
  """Both directions on a new memory, with Z of this batch."""
  size = case.hyper["n_data"]
  scores = []
  for bank, embedding in zip(("mem2", "mem1"), _embedded(case), strict=True):
    log_scores = _scores(case, bank, embedding)
    log_z = jax.lax.stop_gradient(_nce.log_partition(log_scores, size))
    scores.append(log_scores - log_z)
  return {"loss": jnp.mean(crd_loss(*scores, data_size=size))}


def crd_contrast(case):
  tiny = jnp.finfo(jnp.float32).tiny
  scores = jnp.log(jnp.maximum(case["s"], tiny)).reshape(case["s"].shape[:2])
  size = case.hyper["n_data"]
  return {"loss": jnp.mean(crd_loss(scores, data_size=size))}


def crd_memory_update(case):
  """The banks after one update, and Z of both directions."""
  student, teacher = _embedded(case)
  renewed = lambda bank, embedding: _nce.update_rows(
    case[bank], embedding, case["idx"], momentum=case.hyper["nce_m"]
  )
  log_z = [
    _nce.log_partition(_scores(case, bank, embedding), case.hyper["n_data"])
    for bank, embedding in (("mem2", student), ("mem1", teacher))
  ]
  return {
    "aux_memory_v1": renewed("mem1", student),
    "aux_memory_v2": renewed("mem2", teacher),
    "aux_Z": jnp.exp(jnp.stack(log_z)),
  }


def _embedded(case):
  """The head's embeddings of both sides."""
  return [
    _nce.NormalizedDense(case.hyper["feat_dim"]).apply(
      {"params": {"Dense_0": case.dense(f"embed_{side}.linear")}}, case[side]
    )
    for side in ("s", "t")
  ]


def _scores(case, bank, embedding):
  return _nce.scores(
    case[bank], embedding, case["cidx"], temperature=case.hyper["nce_t"]
  )


def sskd(case):
  hyper = case.hyper
  logits, taught = _views(case["sl"]), _views(case["tl"])
  weights = hyper.get("loss_weights") or (1.0, 1.0, 1.0, 1.0)
  parts = (
    jnp.mean(cross_entropy(logits[0], case["y"])),
    jnp.mean(kd(logits[0], taught[0], temperature=hyper["kl_temp"])),
    sskd_loss(
      _views(case["s"]),
      _views(case["t"]),
      temperature=hyper["ss_temp"],
      ratio=hyper["ss_ratio"],
      ties="order",
    ),
    sskd_transformed(
      logits[1:],
      taught[1:],
      case["y"],
      temperature=hyper["tf_temp"],
      ratio=hyper["tf_ratio"],
      ties="order",
    ),
  )
  return {"loss": sum(w * part for w, part in zip(weights, parts, strict=True))}


def sskd_aux(case):
  return {"loss": sskd_aux_loss(_views(case["s"]))}


def _views(rows):
  """The views of a batch where the views of an example are adjacent."""
  return tuple(rows[first::VIEWS] for first in range(VIEWS))


def clip(case):
  scale = _rows(case, "scale", "s_i")
  value = clip_loss(case["s_i"], case["s_t"], scale, normalize=False)
  return {"loss": value}


def clip_soft(case):
  student, teacher = _sides(case)
  scales = _rows(case, "scale", "s_i"), _rows(case, "tscale", "s_i")
  return {"loss": clip_soft_loss(student, teacher, *scales, normalize=False)}


def clip_kd(case):
  """The weighted terms that the case has as outputs."""
  student, teacher = _sides(case)
  scale, taught = _rows(case, "scale", "s_i"), _rows(case, "tscale", "s_i")
  cross = _rows(case, "param:cross_logit_scale", "s_i")
  wide = _projected(case, student, teacher)
  terms = {
    "task": lambda: clip_loss(*student, scale),
    "ckd": lambda: clip_ckd(student, teacher, scale, taught),
    "icl": lambda: clip_icl(wide, teacher, cross),
    "cross_kd": lambda: clip_cross_kd(wide, teacher, cross, taught),
    "fd": lambda: jnp.mean(clip_fd(wide, teacher)),
    "gd": lambda: clip_gd(wide, teacher, scale, taught, form="code"),
    "afd": lambda: clip_loss(
      _fused(case, "visual", wide[0], teacher[0]),
      _fused(case, "text", wide[1], teacher[1]),
      _rows(case, "param:fusion_logit_scale", "s_i"),
    ),
  }
  weights = {
    name: case.hyper.get(f"alpha_{name}", case.hyper.get("weight", 1.0))
    for name in terms
  }
  weights["task"] = case.hyper.get("weight", 1.0)
  return {name: weights[name] * terms[name]() for name in case.outputs}


def clip_kd_task(case):
  return clip_kd(case)


def clip_kd_ckd(case):
  return clip_kd(case)


def clip_kd_icl(case):
  return clip_kd(case)


def clip_kd_cross_kd(case):
  return clip_kd(case)


def clip_kd_fd(case):
  return clip_kd(case)


def clip_kd_gd(case):
  return clip_kd(case)


def clip_kd_afd(case):
  return clip_kd(case)


def _rows(case, scale, like):
  """A scalar, repeated for each row."""
  return jnp.broadcast_to(case.raw(scale), case[like].shape[:1])


def _sides(case):
  return (case["s_i"], case["s_t"]), (case["t_i"], case["t_t"])


def _projected(case, student, teacher):
  """The student's embeddings, projected to the teacher's width."""
  params = {}
  if "param:visual_proj.weight" in case:
    params = {
      "part0": case.dense("visual_proj"),
      "part1": case.dense("text_proj"),
    }
  return project.Head().apply({"params": params}, student, teacher)


def _fused(case, tower, student, teacher):
  params = {"Dense_0": case.dense(f"{tower}_fusion_proj")}
  return fuse.Head().apply({"params": params}, (student, teacher))
