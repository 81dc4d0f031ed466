"""Statistics of a stage's training examples, which its steps read."""

from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from kdjax.errors import UserError
from kdjax.feed.index_stream import EvalFeed
from kdjax.step.flow import MEAN
from kdjax.step.views import Views
from kdjax.types import Batch, Source, Spec

# The choices of the knob `impute`.
NONE, BY_MEAN = "", "mean"

# Examples of a training split that are summed at once.
ROWS = 256


def class_count(labels: np.ndarray | None, classes: int) -> np.ndarray:
  """f32 [K]: the labelled examples of each class; ones without labels.

  Args:
    labels: int [N], or [N K] of several classes an example; -1 is none.
    classes: K.
  """
  if labels is None:
    return np.ones(classes, np.float32)
  if labels.ndim == 2:  # several classes per example
    return np.sum(labels == 1, axis=0).astype(np.float32)
  known = labels[labels >= 0]
  return np.bincount(known, minlength=classes).astype(np.float32)


def imputed(
  config: Mapping[str, Any], networks: Iterable[nn.Module], spec: Spec
) -> tuple[str, ...]:
  """The modalities of which a stage needs the mean.

  Those that its networks read and an example may lack, in the data, in a
  corruption, in a subset or in a view.

  Args:
    config: of the stage.
    networks: that it trains.
    spec: of the data.
  """
  if config.get("impute", NONE) != BY_MEAN:
    return ()
  reads = {key for module in networks for key in module.reads}
  drops = config["data"].get("drops", {}).values()
  stated = [config.get("subsets", ()), *(it["modalities"] for it in drops)]
  stated += [it["modality"] for it in config["robustness"].values()]
  removed = {name for names in stated for name in _flat(names)}
  removed |= {key for key in spec if f"has/{key}" in spec}
  return tuple(sorted(key for key in spec if key in reads & removed))


def _flat(stated: str | Iterable) -> set[str]:
  """The names in a name, in tuples of names, or in tuples of these."""
  if isinstance(stated, str):
    return {stated}
  return {name for part in stated for name in _flat(part)}


def means(
  views: Views,
  example: Batch,
  source: Source | None,
  modalities: tuple[str, ...],
) -> dict[str, np.ndarray]:
  """The mean of each modality, over the examples that have it.

  It is of what networks read in evaluation, value by value; of a sequence, over
  the examples that have the position.

  Args:
    views: of the data; those of evaluation are used.
    example: a batch of one example, for the shapes.
    source: the training examples; None gives zeros.
    modalities: whose means are needed.

  Returns:
    {"mean/<modality>": f32, the shape of an example}; zeros where no example
    has a value.

  Raises:
    UserError: a modality has whole numbers, such as the ids of a text.
  """
  view = lambda batch: views.of(modalities)(batch, train=False)
  shapes = jax.eval_shape(view, example)
  for key in modalities:
    if not jnp.issubdtype(shapes[key].dtype, jnp.floating):
      raise UserError(
        f"impute='mean', and '{key}' has whole numbers, {shapes[key].dtype}.",
        "A mean of ids has no meaning; use a network that takes an absent"
        " modality, such as 'fusion', with impute=''.",
      )
  if source is None:
    return {
      f"{MEAN}{key}": np.zeros(shapes[key].shape[1:], np.float32)
      for key in modalities
    }
  sums = jax.jit(lambda batch: _sums(view(batch), modalities))
  feed = EvalFeed(source, ROWS)
  totals = dict.fromkeys(modalities, (0.0, 0.0))
  for step in range(len(feed)):
    added = jax.device_get(sums(feed.batch(step)))
    for key, pair in added.items():
      # Sums over many examples are too large for float32.
      wide = [np.asarray(part, np.float64) for part in pair]
      totals[key] = totals[key][0] + wide[0], totals[key][1] + wide[1]
  return {
    f"{MEAN}{key}": (total / np.maximum(count, 1.0)).astype(np.float32)
    for key, (total, count) in totals.items()
  }


def _sums(viewed: Batch, modalities: tuple[str, ...]) -> dict[str, tuple]:
  """The sum of each modality over a batch, and how many values it is of."""
  added = {}
  for key in modalities:
    value, mask = viewed[key], viewed.get(f"mask/{key}")
    counts = viewed["valid"] & viewed.get(f"has/{key}", True)
    if mask is not None:
      counts = counts[:, None] & mask
    spread = counts.reshape(counts.shape + (1,) * (value.ndim - counts.ndim))
    total = jnp.sum(jnp.where(spread, value, 0.0), axis=0)
    added[key] = total, jnp.sum(spread, axis=0, dtype=jnp.float32)
  return added
