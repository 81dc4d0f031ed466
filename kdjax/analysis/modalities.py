"""Which modality decided: Shapley values over the modalities of a network."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from kdjax.analysis._subject import STUDENT, NotApplicableError, Subject

# 2^MOST subsets are computed.
MOST = 4


def shapley(values: Float[np.ndarray, "subsets ..."]) -> np.ndarray:
  """Exact Shapley values of M players.

    phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S))

  They add up to v(all) - v(none) (efficiency). Shapley, "A Value for n-Person
  Games", 1953, Eq. (13). For modalities: Hu et al., "SHAPE", IJCAI 2022,
  arXiv:2205.00302.

  Args:
    values: v, of 2^M subsets; the subset of a place has player m where the bit
      m of the place's number is set.

  Returns:
    f64 [M ...].
  """
  values = np.asarray(values, np.float64)
  players = len(values).bit_length() - 1
  if len(values) != 1 << players:
    raise ValueError(f"{len(values)} subsets, expected a power of two.")
  result = np.zeros((players, *values.shape[1:]))
  for player, subset in itertools.product(range(players), range(len(values))):
    if not subset >> player & 1:
      size = subset.bit_count()
      ways = math.factorial(size) * math.factorial(players - size - 1)
      gain = values[subset | 1 << player] - values[subset]
      result[player] += ways / math.factorial(players) * gain
  return result


def modalities(subject: Subject) -> dict[str, np.ndarray]:
  """Shapley values of each modality for the class that a network predicts.

  The network is the first teacher, or else the student, that runs with any of
  its modalities missing. v(S) is the probability, with the modalities S
  present alone, of the class that it predicts with all that an example has. A
  modality that an example lacks has the value 0.

  Returns:
    network: its name. modalities: their names [M].
    shapley: f64 [N M], per example; they add up to v(all) - v(none).
    label: int [N], -1 where unknown. predicted: int [N].
    classes: names of the classes, or their numbers [K].
    accuracy: f64 [2^M], with each subset; NaN without labels.
    error: f64 [], the largest difference between the sum of an example's values
      and v(all) - v(none).

  Raises:
    NotApplicableError: no network joins 2 to 4 modalities that may be missing.
  """
  network, keys = _fused(subject)
  subsets = range(1 << len(keys))

  def read(flow, viewed):
    has = {key: viewed.get(f"has/{key}", viewed["valid"]) for key in keys}
    probabilities = []
    for subset in subsets:
      masks = {
        f"has/{key}": has[key] & bool(subset >> place & 1)
        for place, key in enumerate(keys)
      }
      batch = {**viewed, **masks}
      other = subject.flow(flow.variables, flow.fixed, batch)
      logits = subject.run(other, network)["logits"].astype(jnp.float32)
      probabilities.append(jax.nn.softmax(logits))
    return {"probabilities": jnp.stack(probabilities, axis=1)}

  found = subject.collect(read)
  whole = found["probabilities"]  # [N subsets K]
  predicted = whole[:, -1].argmax(-1)
  values = np.take_along_axis(whole, predicted[:, None, None], 2)[..., 0]
  parts = shapley(values.T).T
  gap = parts.sum(1) - (values[:, -1] - values[:, 0])
  label = found.get("label", np.full(len(whole), -1))
  known = label >= 0
  hits = whole.argmax(-1)[known] == label[known, None]
  nothing = np.full(len(subsets), np.nan)
  size = whole.shape[-1]
  names = subject.classes if len(subject.classes) == size else range(size)
  return {
    "network": np.array(network),
    "modalities": np.array(keys),
    "shapley": parts,
    "label": label,
    "predicted": predicted,
    "classes": np.array([*map(str, names)]),
    "accuracy": hits.mean(0) if known.any() else nothing,
    "error": np.abs(gap).max(),
  }


def summary(found: dict[str, np.ndarray]) -> str:
  """The share of examples that each modality decides."""
  names, values = found["modalities"], found["shapley"]
  decided = np.bincount(values.argmax(1), minlength=len(names)) / len(values)
  parts = [
    f"{name} decides {100 * share:.0f} % of the examples (mean value"
    f" {mean:+.2f})"
    for name, share, mean in zip(names, decided, values.mean(0), strict=True)
  ]
  return f"{found['network']}: {', '.join(parts)}."


def _fused(subject: Subject) -> tuple[str, list[str]]:
  """The first network that joins modalities, and their names."""
  many = ""
  for network in (*subject.teachers, STUDENT):
    module = subject.module(network)
    keys = [key for key in module.reads if "/" not in key]
    free = [
      key
      for key in keys
      if key not in module.needs and f"has/{key}" in module.reads
    ]
    if len(free) < 2 or not subject.has_scores(network):
      continue
    if len(free) <= MOST:
      return network, free
    many = f" '{network}' joins {len(free)} modalities, more than {MOST}."
  raise NotApplicableError(
    many.strip()
    or f"No network of the stage '{subject.name}' joins modalities that may be"
    " missing and predicts classes."
  )
