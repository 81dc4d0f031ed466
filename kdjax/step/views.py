"""What a batch becomes on the device: raw values through pipelines, in views.

A view is a way to look at an example: the plain one, which is augmented in
training and not in evaluation, and further ones by name (`image@strong`). What
is drawn for an example depends on the seed of the augmentation, its index, the
number of its view (`view`, the feed's) and the name of the view, and on nothing
else: wherever and whenever it is asked for, it is the same.
"""

import dataclasses
import zlib
from collections.abc import Collection, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Key

from kdjax.errors import UserError
from kdjax.step.pipeline import Pipeline
from kdjax.types import Array, Batch

# The plain view has a pipeline for each; other names are further views.
TRAIN, EVALUATION = "train", "evaluation"


@dataclasses.dataclass(frozen=True)
class Corruption:
  """What is done to one modality before it is measured, at a level.

  Attributes:
    modality: of the batch.
    pipeline: in the place of that of evaluation; None takes the modality away
      from a share of the examples, which is the level.
    sweeps: the option of the pipeline that the level is: "transform.option".
  """

  modality: str
  pipeline: Pipeline | None
  sweeps: str


@dataclasses.dataclass(frozen=True)
class Views:
  """The pipelines of a stage's data.

  Attributes:
    pipelines: view -> modality -> pipeline.
    seed: of the augmentation, the same for all seeds of a run.
    classes: how many the labels are, where two examples are mixed.
    corruption: what is done in evaluation, at the batch's `level`.
  """

  pipelines: Mapping[str, Mapping[str, Pipeline]]
  seed: int = 0
  classes: int = 0
  corruption: Corruption | None = None

  @property
  def mixed(self) -> tuple[str, ...]:
    """The modalities that a view of training mixes."""
    found = [
      modality
      for view, of in self.pipelines.items()
      if view != EVALUATION
      for modality, pipeline in of.items()
      if pipeline.mixes
    ]
    return tuple(dict.fromkeys(found))

  def partners(self, keys: Collection[str]) -> tuple[str, ...]:
    """The keys of which a training batch needs another example's.

    Args:
      keys: of an example.
    """
    if not self.mixed:
      return ()
    wanted = [
      f"{kind}{modality}"
      for modality in self.mixed
      for kind in ("", "mask/", "has/")
    ]
    return tuple(
      key for key in (*wanted, "index", "label", "valid") if key in keys
    )

  def of(self, modalities: Collection[str]) -> "Views":
    """The plain view of evaluation, of some modalities alone."""
    kept = {
      modality: pipeline
      for modality, pipeline in self.pipelines.get(EVALUATION, {}).items()
      if modality in modalities
    }
    return dataclasses.replace(self, pipelines={EVALUATION: kept})

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Array]:
    """The batch with its views; where two are mixed, with a `target`.

    Raises:
      UserError: a pipeline is of a modality that the data lacks.
    """
    made = dict(batch)
    plain, other = (TRAIN, EVALUATION) if train else (EVALUATION, TRAIN)
    share = None
    for view, of in self.pipelines.items():
      for modality, pipeline in of.items() if view != other else ():
        suffix = "" if view == plain else f"@{view}"
        views, mixed = self._view(batch, modality, pipeline, suffix)
        made |= views
        share = mixed if pipeline.mixes and not suffix else share
    if self.corruption is not None and not train:
      made |= self._corrupted(batch, self.corruption)
    label = batch.get("label")
    if self.mixed and label is not None and label.ndim == 1:
      made |= self._target(batch, share)
    return {key: _real(key, value) for key, value in made.items()}

  def _view(
    self,
    batch: Batch,
    modality: str,
    pipeline: Pipeline,
    suffix: str,
    sweeps: str | None = None,
  ) -> tuple[dict[str, Array], Float[Array, "B"]]:
    """A modality in a view, and the share of each example in its own."""
    if modality not in batch:
      raise UserError(
        f"There is a pipeline of '{modality}', which the data lacks.",
        exists=(key for key in batch if "/" not in key),
        near=modality,
      )
    tag = f"{modality}{suffix}"
    given = {
      "key": self.keys(batch["index"], batch["view"], tag),
      "x": batch[modality],
      "mask": batch.get(f"mask/{modality}"),
      "overrides": None if sweeps is None else {sweeps: batch["level"]},
    }
    if pipeline.mixes:
      given |= self._partner(batch, modality, tag)
    given = {key: value for key, value in given.items() if value is not None}
    x, mask, share = jax.vmap(lambda given: pipeline(**given))(given)
    made = {f"{modality}{suffix}": x}
    if "mask" in given:
      made[f"mask/{modality}{suffix}"] = mask
    return made, share

  def _partner(self, batch: Batch, modality: str, tag: str) -> dict[str, Array]:
    """Whom each example is mixed with: itself, where the other is not there.

    Nor is there any in evaluation.
    """
    other = {
      key: batch.get(f"partner/{key}", batch.get(key))
      for key in (modality, f"mask/{modality}", "index")
    }
    there = jnp.ones(batch["index"].shape, bool)
    for key in ("valid", f"has/{modality}"):
      there &= batch.get(f"partner/{key}", there)
    chosen = {}
    for key, value in other.items():
      if value is not None:
        rows = there.reshape(there.shape + (1,) * (value.ndim - 1))
        chosen[key] = jnp.where(rows, value, batch[key])
    return {
      "partner": chosen[modality],
      "partner_mask": chosen.get(f"mask/{modality}"),
      "partner_key": self.keys(chosen["index"], batch["view"], tag),
    }

  def _corrupted(self, batch: Batch, by: Corruption) -> dict[str, Array]:
    if by.modality not in batch:
      raise UserError(
        f"There is a corruption of '{by.modality}', which the data lacks.",
        exists=(key for key in batch if "/" not in key),
        near=by.modality,
      )
    if by.pipeline is not None:
      return self._view(batch, by.modality, by.pipeline, "", by.sweeps)[0]
    keys = self.keys(batch["index"], batch["view"], f"missing/{by.modality}")
    stays = jax.vmap(jax.random.uniform)(keys) >= batch["level"]
    has = f"has/{by.modality}"
    was = batch.get(has, jnp.ones(stays.shape, bool))
    # Who had it is still asked: what has no other sense must guess.
    return {has: stays & was, f"asked/{by.modality}": was}

  def keys(
    self, index: Int[Array, "B"], view: Int[Array, "B"], tag: str
  ) -> Key[Array, "B"]:
    """A key for each example in its view."""
    key = jax.random.fold_in(
      jax.random.key(self.seed), zlib.crc32(tag.encode())
    )
    fold = jax.vmap(jax.random.fold_in)
    each = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
    return fold(each, view)

  def _target(
    self, batch: Batch, share: Float[Array, "B"] | None
  ) -> dict[str, Array]:
    """The classes of what is mixed, and where both have a label."""
    target = jax.nn.one_hot(batch["label"], self.classes)
    known = batch["label"] >= 0
    if share is not None and "partner/label" in batch:
      other = jax.nn.one_hot(batch["partner/label"], self.classes)
      # Where the other was not there, an example was mixed with itself.
      there = jnp.ones(known.shape, bool)
      for key in ("valid", *(f"has/{modality}" for modality in self.mixed)):
        there &= batch.get(f"partner/{key}", there)
      share = jnp.where(there, share, 1.0)
      target = share[:, None] * target + (1.0 - share)[:, None] * other
      known &= (batch["partner/label"] >= 0) | (share == 1.0)
    target = jnp.where(known[:, None], target, 0.0)
    return {"target": target, "has/target": known}


def _real(key: str, value: Array) -> Array:
  """Raw bytes as 0 to 1 and raw samples as -1 to 1, where no pipeline did."""
  if "/" in key or value.dtype not in (jnp.uint8, jnp.int16):
    return value
  return value.astype(jnp.float32) / (
    255 if value.dtype == jnp.uint8 else 2**15
  )
