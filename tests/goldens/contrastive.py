"""Contrastive losses, including those of CLIP."""

import jax
import jax.numpy as jnp

from goldens._case import biased, dense
from kdjax.heads import _nce, fuse, project
from kdjax.losses._selection import select_rows
from kdjax.losses._views import stack_views, view_similarities
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
  scores = []
  first, second = _banks(case)
  for bank, embedding in zip((second, first), _embedded(case), strict=True):
    log_scores = _scores(case, bank, embedding)
    log_z = jax.lax.stop_gradient(_nce.log_partition(log_scores, len(bank)))
    scores.append(log_scores - log_z)
  return case.answer(_crd(case, *scores))


def crd_contrast(case):
  tiny = jnp.finfo(jnp.float32).tiny
  scores = jnp.log(jnp.maximum(case["s"], tiny)).reshape(case["s"].shape[:2])
  return case.answer(_crd(case, scores))


def crd_memory_update(case):
  """The banks after one update, and Z of both directions."""
  student, teacher = _embedded(case)
  first, second = _banks(case)
  (index,) = _indices(case, 1)
  momentum = case.option(0.5, "nce_m", "momentum")
  renewed = lambda bank, embedding: _nce.update_rows(
    bank, embedding, index, momentum=momentum
  )
  log_z = [
    _nce.log_partition(_scores(case, bank, embedding), len(bank))
    for bank, embedding in ((second, student), (first, teacher))
  ]
  answers = {
    "aux_memory_v1": renewed(first, student),
    "aux_memory_v2": renewed(second, teacher),
    "aux_Z": jnp.exp(jnp.stack(log_z)),
  }
  return {name: answers[name] for name in case.outputs}


def _crd(case, *scores):
  epsilon = case.option(1e-7, "eps")
  loss = crd_loss(*scores, data_size=_data_size(case), epsilon=epsilon)
  return jnp.mean(loss)


def _data_size(case):
  rows = [len(bank) for bank in _banks(case)] or [None]
  return case.option(rows[0], "n_data", "num_samples", "num_data")


def _embedded(case):
  """Embeddings of both sides; without layers, the inputs are."""
  layers = [biased(dense(layer)) for layer in case.linears()]
  if not layers:
    return [case["s"], case["t"]]
  return [
    _nce.NormalizedDense(len(layer["bias"])).apply(
      {"params": {"Dense_0": layer}}, case.flat(side)
    )
    for side, layer in zip(("s", "t"), layers, strict=True)
  ]


def _others(case):
  """Inputs that are neither features nor parameters, in order."""
  return [
    array
    for name, array in case.inputs.items()
    if name not in ("s", "t") and not name.startswith("param:")
  ]


def _banks(case):
  """The banks of student and teacher."""
  return [x for x in _others(case) if jnp.issubdtype(x.dtype, jnp.floating)]


def _indices(case, rank):
  return [
    x
    for x in _others(case)
    if jnp.issubdtype(x.dtype, jnp.integer) and x.ndim == rank
  ]


def _scores(case, bank, embedding):
  (rows,) = _indices(case, 2)
  temperature = case.option(0.07, "nce_t", "temperature", "T")
  return _nce.scores(bank, embedding, rows, temperature=temperature)


def sskd(case):
  logits, taught = _views(case["sl"]), _views(case["tl"])
  label = case["y"]
  examples, classes = logits[0].shape
  weights = case.option((1.0, 1.0, 1.0, 1.0), "loss_weights")
  plain = kd(logits[0], taught[0], temperature=case.option(4.0, "kl_temp"))
  hard = cross_entropy(logits[0], label)
  self_supervised = {
    "temperature": case.option(0.5, "ss_temp"),
    "ratio": case.option(0.75, "ss_ratio"),
    "ties": "order",
  }
  transformed = {
    "temperature": case.option(4.0, "tf_temp"),
    "ratio": case.option(1.0, "tf_ratio"),
    "ties": "order",
  }
  student, teacher = _views(case["s"]), _views(case["t"])
  cosines = lambda views: view_similarities(views, jnp.ones(examples, bool))
  own = jnp.repeat(jnp.arange(examples), VIEWS - 1)
  kept = [
    _kept(cosines(teacher), own, self_supervised["ratio"]),
    _kept(
      stack_views(taught[1:]),
      jnp.repeat(label, VIEWS - 1),
      transformed["ratio"],
    ),
  ]
  means = [
    jnp.mean(hard),
    jnp.mean(plain),
    sskd_loss(student, teacher, **self_supervised),
    sskd_transformed(logits[1:], taught[1:], label, **transformed),
  ]
  # Of the mean over rows: times the rows, or divided by the columns.
  factors = {
    "batchmean": (1, 1, 1, 1),
    "mean": (1, 1 / classes, 1 / examples, 1 / classes),
    "sum": (examples, examples, *kept),
  }[case.option("batchmean", "reduction")]
  parts = zip(weights, factors, means, strict=True)
  return case.answer(sum(w * f * mean for w, f, mean in parts))


def _kept(scores, label, ratio):
  """The number of rows that SSKD keeps."""
  rows = jnp.ones(len(label), bool)
  return jnp.sum(select_rows(scores, label, rows, ratio, "order"))


def sskd_aux(case):
  views = _views(case["s"])
  examples = len(views[0])
  reduction = case.option("mean", "reduction")
  if reduction == "none":
    scores = view_similarities(views, jnp.ones(examples, bool))
    own = jnp.repeat(jnp.arange(examples), VIEWS - 1)
    return case.answer(cross_entropy(scores, own))
  count = examples * (VIEWS - 1) if reduction == "sum" else 1
  return case.answer(count * sskd_aux_loss(views))


def _views(rows):
  """The views of a batch where the views of an example are adjacent."""
  return tuple(rows[first::VIEWS] for first in range(VIEWS))


def clip(case):
  scale = _rows(case, "scale", "s_i")
  value = clip_loss(case["s_i"], case["s_t"], scale, normalize=False)
  return case.answer(value)


def clip_soft(case):
  student, teacher = _sides(case)
  scales = _rows(case, "scale", "s_i"), _rows(case, "tscale", "s_i")
  return case.answer(clip_soft_loss(student, teacher, *scales, normalize=False))


def clip_kd(case):
  """The weighted terms that the case has as outputs."""
  student, teacher = _sides(case)
  scale, taught = _rows(case, "scale", "s_i"), _rows(case, "tscale", "s_i")
  cross, fused = (
    jnp.broadcast_to((case.singles(name) or case.singles())[0], scale.shape)
    for name in ("cross", "fusion")
  )
  wide = _projected(case, student, teacher)
  terms = {
    "task": lambda: clip_loss(*student, scale),
    "ckd": lambda: clip_ckd(student, teacher, scale, taught),
    "icl": lambda: clip_icl(wide, teacher, cross),
    "cross_kd": lambda: clip_cross_kd(wide, teacher, cross, taught),
    "fd": lambda: jnp.mean(clip_fd(wide, teacher)),
    "gd": lambda: clip_gd(wide, teacher, scale, taught, form="code"),
    "afd": lambda: clip_loss(*_fused(case, wide, teacher), fused),
  }
  shared = case.option(1.0, "weight")
  weights = {
    name: case.option(shared, f"alpha_{name}", f"alpha_{name}_loss")
    for name in terms
  }
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


def _layers(case, width):
  """The layers of images and texts with inputs of a width."""
  towers = [case.linears("visual", "image"), case.linears("text")]
  layers = [*towers[0], *towers[1]] if all(towers) else case.linears()
  layers = [biased(dense(layer)) for layer in layers]
  return [layer for layer in layers if len(layer["kernel"]) == width]


def _projected(case, student, teacher):
  """The student's embeddings, projected to the teacher's width."""
  layers = _layers(case, student[0].shape[1])
  params = {f"part{index}": layer for index, layer in enumerate(layers)}
  return project.Head().apply({"params": params}, student, teacher)


def _fused(case, student, teacher):
  layers = _layers(case, student[0].shape[1] + teacher[0].shape[1])
  return [
    fuse.Head().apply({"params": {"Dense_0": layer}}, tuple(pair))
    for layer, *pair in zip(layers, student, teacher, strict=True)
  ]
