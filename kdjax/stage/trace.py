"""Traces a stage's steps on shapes, to find mistakes before training."""

import jax
import numpy as np
from flax.errors import FlaxError

from kdjax.errors import UserError
from kdjax.feed import buckets, sampling
from kdjax.stage import class_order, mixed_labels, selection, subsets
from kdjax.stage.stage import Stage
from kdjax.step import state as states
from kdjax.step.addresses import Address
from kdjax.step.state import Fixed, State
from kdjax.step.terms import HEADS
from kdjax.types import Spec


def trace(stage: Stage) -> None:
  """Traces the training step and all evaluation steps of a stage.

  Raises:
    UserError: an address, a modality, a shape or `select` does not fit.
  """
  state, fixed, batch = stage.shapes()
  variables = states.evaluated(state)
  size = stage.config["batch_size"]
  mixed_labels.check(stage)
  class_order.check(stage)
  _check_classes(stage, state, fixed, batch)
  partners = {f"partner/{key}": batch[key] for key in stage.partners}
  jax.eval_shape(stage.train_step, state, fixed, {**batch, **partners})
  for name in stage.corruptions:
    level = {"level": jax.ShapeDtypeStruct((size,), np.float32)}
    step = stage.corrupted(name).eval_step
    jax.eval_shape(step, variables, fixed, {**batch, **level})
  if subsets.measurable(stage):
    level = {"level": jax.ShapeDtypeStruct((size,), np.float32)}
    step = subsets.eval_step(stage)
    jax.eval_shape(step, variables, fixed, {**batch, **level})
  sums = jax.eval_shape(stage.eval_step, variables, fixed, batch)
  sums = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), sums)
  known = [
    name for name, value in stage.results(sums).items() if np.ndim(value) == 0
  ]
  select = stage.config["select"]
  if select not in known:
    raise UserError(
      f"`select` is '{select}', which is no metric of the stage.",
      exists=known,
      near=select,
    )
  selection.check(stage)


def trace_buckets(stage: Stage) -> None:
  """Traces the steps with texts that are cut to the first bucket.

  Raises:
    UserError: the buckets do not fit the sampling, a network or a metric.
  """
  sampling.check(stage.config["data"]["sampling"], stage.buckets)
  first = {modality: lengths[0] for modality, lengths in stage.buckets.items()}
  if not first:
    return
  lengths = ", ".join(f"'{key}' has {size}" for key, size in first.items())
  state, fixed, batch = stage.shapes()
  variables = states.evaluated(state)
  partners = {f"partner/{key}": batch[key] for key in stage.partners}
  marks = buckets.marked(first, stage.config["batch_size"])
  cut = lambda batch: jax.eval_shape(buckets.cut, {**batch, **marks})
  try:
    jax.eval_shape(stage.train_step, state, fixed, cut({**batch, **partners}))
    short = jax.eval_shape(stage.eval_step, variables, fixed, cut(batch))
  except (FlaxError, TypeError, UserError, ValueError) as error:
    line = f"{error}".strip().partition("\n")[0]
    raise UserError(
      f"It does not trace with the first bucket, where {lengths} positions:"
      f" {line}",
      "A network or term needs whole texts; leave out data.buckets.",
    ) from error
  whole = jax.eval_shape(stage.eval_step, variables, fixed, batch)
  sizes = lambda tree: [leaf.shape for leaf in jax.tree.leaves(tree)]
  for name, arrays in whole.items():
    if sizes(arrays) != sizes(short[name]):
      raise UserError(
        f"The metrics '{name}' keep a value per position, and in the first"
        f" bucket {lengths} positions.",
        "Use metrics of a fixed size, or leave out data.buckets.",
      )


def _check_classes(
  stage: Stage, state: State, fixed: Fixed, batch: Spec
) -> None:
  """Raises `UserError` for logits of fewer classes than the data has."""
  labels = {"label": stage.class_names(), **stage.label_names()}
  objective = stage.objective
  data = stage.config["data"]["name"]
  for term in objective.terms:
    read, label = term.reads.get("student"), term.reads.get("label")
    if not isinstance(label, Address) or "student" in term.heads:
      continue
    if not isinstance(read, Address) or HEADS in (read.network, label.network):
      continue
    classes = len(labels.get(label.output, ()))
    if label.network != "batch" or not classes:
      continue
    array = jax.eval_shape(
      lambda variables, fixed, batch, read=read: objective.flow(
        variables, objective.averaged(fixed, variables), batch
      )[read],
      states.evaluated(state),
      fixed,
      batch,
    )
    if array.ndim == 2 and array.shape[1] < classes:
      raise UserError(
        f"The term '{term.name}' reads {array.shape[1]} classes from "
        f"'{read.network}'; the data '{data}' has {classes} classes"
        + ("." if label.output == "label" else f" at '{label}'."),
        f"Set num_classes={classes} of the network."
        if read.output == "logits"
        else f"Let '{read}' have {classes} classes.",
      )
