"""Subsets of modalities: examples that keep some of them and lack the others.

A modality that an example lacks is absent, as one that the data lacks:
`has/<modality>` is False.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Key

from kdjax.errors import UserError
from kdjax.types import Array, Batch

Subset = tuple[str, ...]

# Of so many modalities there are 255 subsets, each an evaluation.
MOST = 8


@dataclasses.dataclass(frozen=True)
class Drop:
  """A view in which each example keeps a random subset of its modalities.

  Attributes:
    modalities: that may be dropped.
    rate: probability p that each is dropped, given that one is left; None
      draws every subset with equal probability.
    choices: the subsets that are drawn, () is every non-empty one.
  """

  modalities: Subset
  rate: float | None = None
  choices: tuple[Subset, ...] = ()

  def __str__(self) -> str:
    listed: Sequence[str] = self.modalities
    if len(self.choices) not in (0, len(of(self.modalities))):
      listed = ["+".join(subset) for subset in self.choices]
    return f"drop({', '.join(listed)}; {self.rate})"


def of(modalities: Sequence[str]) -> list[Subset]:
  """All non-empty subsets, the small ones first."""
  sizes = range(1, len(modalities) + 1)
  each = (itertools.combinations(modalities, size) for size in sizes)
  return list(itertools.chain.from_iterable(each))


def read(
  what: str, stated: Sequence[str] | Sequence[Subset]
) -> tuple[Subset, list[Subset]]:
  """Modalities and their subsets, as a config states them.

  Args:
    what: has them, for the message.
    stated: modalities, ("x", "y") is every non-empty subset of them; or
      subsets, (("x",), ("x", "y")) is these alone.

  Returns:
    The modalities, and the subsets in the order of the config.

  Raises:
    UserError: there are too few or too many, one is repeated, or `stated` has
      both modalities and subsets.
  """
  names = [it for it in stated if isinstance(it, str)]
  if names and len(names) < len(stated):
    raise UserError(
      f"{what} has modalities and subsets: {tuple(stated)}.",
      'Expected either: ("x", "y") or (("x",), ("x", "y")).',
    )
  if names:
    check(what, names)
    return tuple(names), of(names)
  subsets = [tuple(subset) for subset in stated]
  different = {frozenset(subset) for subset in subsets}
  if not all(map(len, subsets)) or len(different) < len(subsets):
    raise UserError(
      f"{what} has the subsets {tuple(subsets)}.",
      "Expected different ones, none of them empty.",
    )
  for subset in subsets:
    if len({*subset}) < len(subset):
      raise UserError(
        f"{what} has the subset {subset}.", "Expected different modalities."
      )
  modalities = tuple(dict.fromkeys(itertools.chain.from_iterable(subsets)))
  check(what, modalities)
  return modalities, subsets


def check(what: str, modalities: Sequence[str]) -> None:
  """Raises `UserError` for too few, too many or repeated modalities.

  Args:
    what: has them, for the message.
    modalities: keys of a batch.
  """
  if not 2 <= len(modalities) <= MOST or len({*modalities}) < len(modalities):
    raise UserError(
      f"{what} has the modalities ({', '.join(modalities)}).",
      f"Expected 2 to {MOST} different ones.",
    )


def number_of(subset: Subset, modalities: Sequence[str]) -> int:
  """A subset as a number, with a bit for each modality that it has."""
  return sum(1 << modalities.index(modality) for modality in subset)


def kept(batch: Batch, modalities: Sequence[str]) -> dict[str, Array]:
  """The batch's changes where only the subset `level` is left.

  Args:
    batch: has `level`, f32 [B], from `number_of`.
    modalities: of which a subset is left.

  Returns:
    has/<modality>, and had/<modality>, what it was before; valid, without the
    examples that have none of the subset.

  Raises:
    UserError: the batch lacks a modality.
  """
  number = batch["level"].astype(jnp.int32)
  changed, left = {}, jnp.zeros(number.shape, bool)
  for bit, modality in enumerate(modalities):
    was = _has(batch, modality)
    has = was & ((number >> bit) % 2 == 1)
    # Examples that had the modality still count in terms and metrics.
    changed |= {f"has/{modality}": has, f"had/{modality}": was}
    left |= has
  return {**changed, "valid": batch["valid"] & left}


def dropped(
  batch: Batch, view: str, drop: Drop, keys: Key[Array, "B"]
) -> dict[str, Array]:
  """has/<modality>@<view>: which modalities each example keeps in a view.

  Args:
    batch: in its default view.
    view: its name.
    drop: which modalities and how often.
    keys: a random key for each example.

  Raises:
    UserError: the batch lacks a modality.
  """
  present = [_has(batch, modality) for modality in drop.modalities]
  numbers = [number_of(subset, drop.modalities) for subset in drop.choices]
  left = draw(keys, jnp.stack(present, axis=1), drop.rate, numbers)
  return {
    f"has/{modality}@{view}": left[:, place]
    for place, modality in enumerate(drop.modalities)
  }


def draw(
  keys: Key[Array, "B"],
  present: Bool[Array, "B N"],
  rate: float | None,
  choices: Sequence[int] = (),
) -> Bool[Array, "B N"]:
  """A random non-empty subset of what is present; none where nothing is.

    P(S) ~ 1, or with a rate p
    P(S) ~ p^(|present| - |S|) (1 - p)^|S|,  S a choice that is in present

  Args:
    keys: a random key for each example.
    present: the modalities of each example.
    rate: p, from 0 to below 1; None is the first line.
    choices: subsets as numbers, from `number_of`; () is all. What is present
      stays where it has none of them in full.
  """
  count = present.shape[1]
  numbers = np.array(choices or range(1, 2**count))
  table = jnp.asarray(numbers[:, None] >> np.arange(count) & 1, bool)
  possible = jnp.all(present[:, None] | ~table[None], axis=2)
  weight = jnp.zeros(possible.shape)
  if rate is not None:
    kept_count = jnp.sum(table, axis=1)[None]
    lost = jnp.sum(present, axis=1)[:, None] - kept_count
    weight = kept_count * math.log1p(-rate)
    weight += jnp.where(lost > 0, lost * _log(rate), 0.0)
  scores = jnp.where(possible, weight, -jnp.inf)
  # The Gumbel maximum is a draw with these weights.
  noise = jax.vmap(lambda key: jax.random.gumbel(key, (len(numbers),)))(keys)
  drawn = table[jnp.argmax(scores + noise, axis=1)]
  some = jnp.any(possible, axis=1)[:, None]
  return jnp.where(some, drawn, True) & present


def _log(rate: float) -> float:
  return math.log(rate) if rate else -math.inf


def _has(batch: Mapping[str, Array], modality: str) -> Bool[Array, "B"]:
  if modality not in batch:
    raise UserError(
      f"A subset has the modality '{modality}', which the data lacks.",
      exists=(key for key in batch if "/" not in key),
      near=modality,
    )
  everyone = jnp.ones(batch["valid"].shape, bool)
  return batch.get(f"has/{modality}", everyone)
