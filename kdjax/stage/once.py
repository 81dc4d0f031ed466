"""The pipelines of the view "once", which come before those of all others."""

import dataclasses
import functools
import operator
from collections.abc import Collection, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Shaped

from kdjax.errors import UserError
from kdjax.step.pipeline import Pipeline, Step
from kdjax.step.views import ONCE
from kdjax.types import Array, Batch, Spec

# Keys of a batch that number and count examples.
KEPT = ("index", "label", "group")


@dataclasses.dataclass(frozen=True)
class Once:
  """Transforms of every example that draw nothing and mix nothing.

  Attributes:
    pipelines: modality -> pipeline.
  """

  pipelines: Mapping[str, Pipeline]

  def texts(self, modalities: Collection[str]) -> list[str]:
    """The pipelines of some modalities as text, in the order of their names.

    Args:
      modalities: may name others than the pipelines do.
    """
    return [
      f"{ONCE}: {key}: {one}"
      for key, one in sorted(self.pipelines.items())
      if key in modalities
    ]

  def __call__(self, batch: Batch) -> dict[str, Array]:
    """The batch with its modalities and their masks transformed."""
    made = dict(batch)
    for key, pipeline in self.pipelines.items():
      if key in batch:
        x, mask = transform(pipeline, *arguments(batch, key))
        made |= {key: x} if mask is None else {key: x, f"mask/{key}": mask}
    return made

  def spec(self, spec: Spec) -> Spec:
    """The shapes and dtypes of an example, from those of the data.

    Raises:
      UserError: the data lacks a modality; or a transform does not fit it,
        draws at random or mixes examples.
    """
    made = dict(spec)
    modalities = [it for it in spec if "/" not in it and it not in KEPT]
    for key, pipeline in self.pipelines.items():
      if key not in modalities:
        raise UserError(
          f"data.pipelines.{ONCE} names '{key}', which is no modality of the"
          " data.",
          exists=modalities,
          near=key,
        )
      x, mask = spec[key], spec.get(f"mask/{key}")
      for step in pipeline.steps:
        x, mask = _after(step, key, x, mask)
      made |= {key: x} if mask is None else {key: x, f"mask/{key}": mask}
    return made


def arguments(batch: Batch, modality: str) -> tuple:
  """A modality of a batch, its masks, and which examples have it, or Nones."""
  known = [batch[it] for it in ("valid", f"has/{modality}") if it in batch]
  present = functools.reduce(operator.and_, known) if known else None
  return batch[modality], batch.get(f"mask/{modality}"), present


def transform(
  pipeline: Pipeline,
  x: Shaped[Array, "B ..."],
  mask: Bool[Array, "B T"] | None,
  present: Bool[Array, "B"] | None,
) -> tuple[Shaped[Array, "B ..."], Bool[Array, "B T"] | None]:
  """A modality of a batch and its masks, transformed.

  Args:
    pipeline: that draws nothing and mixes nothing.
    x: of a batch.
    mask: True at positions that are not padding; None, none is.
    present: False where an example lacks the modality or is broken. What its
      zeros become is 0 where it is not finite. None, all have it.
  """
  key = jax.random.key(0)  # no transform of the pipeline uses it
  x, mask = jax.vmap(lambda x, mask: pipeline(key, x, mask)[:2])(x, mask)
  if present is not None and jnp.issubdtype(x.dtype, jnp.inexact):
    rows = present.reshape(present.shape + (1,) * (x.ndim - 1))
    x = jnp.where(rows | jnp.isfinite(x), x, 0.0)
  return x, mask


def _after(
  step: Step,
  modality: str,
  x: jax.ShapeDtypeStruct,
  mask: jax.ShapeDtypeStruct | None,
) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct | None]:
  """The shapes of an example and its mask after a transform.

  Raises:
    UserError: it does not fit, mixes examples, or its result depends on its
      random key.
  """
  where = f"'{step.name}' in data.pipelines.{ONCE}.{modality}"
  advice = (
    f"Move it to 'train': '{ONCE}' transforms each example alone, and always in"
    " the same way."
  )
  if step.mixes:
    raise UserError(f"{where} mixes two examples.", advice)
  if step.hides:
    raise UserError(f"{where} hides positions.", advice)
  one = lambda key, x, mask: Pipeline((step,))(key, x, mask)[:2]
  trace = jax.make_jaxpr(one, return_shape=True)
  try:
    traced, made = trace(jax.random.key(0), x, mask)
  except (TypeError, ValueError) as error:
    line = f"{error}".strip().partition("\n")[0]
    raise UserError(
      f"{where} does not trace on {x.dtype} {list(x.shape)}: {line}"
    ) from error
  if _depends_on_first(traced.jaxpr):
    raise UserError(f"{where} draws at random.", advice)
  x, mask = made
  if mask is not None and mask.shape != x.shape[: mask.ndim]:
    raise UserError(
      f"{where} returns {list(x.shape)}, and a mask of {list(mask.shape)}.",
      "Expected a mask with one entry per position: a transform that changes"
      " the positions takes the mask and returns another.",
    )
  return x, mask


def _depends_on_first(jaxpr) -> bool:
  """Whether an output is computed from the first input."""
  depends = {jaxpr.invars[0]}
  variables = lambda atoms: {it for it in atoms if not hasattr(it, "val")}
  for equation in jaxpr.eqns:
    if depends & variables(equation.invars):
      depends |= {*equation.outvars}
  return bool(depends & variables(jaxpr.outvars))
