"""Views of a batch: raw values transformed by pipelines, on the device.

The default view of an example is augmented in training and not in evaluation;
further views have names (`image@strong`); in some of them examples lack
modalities (`has/image@dropped`), in some positions are hidden: then
`hidden/image@masked` says which. The random key of an example depends
only on the augmentation seed, the example's index, its view number (the feed's
`view`) and the view's name, so that its augmentation does not depend on the
device, the batch or the time at which it is computed.
"""

import dataclasses
import zlib
from collections.abc import Collection, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Key

from kdjax.errors import UserError
from kdjax.step import generated, subsets
from kdjax.step.generated import Generated
from kdjax.step.pipeline import Pipeline
from kdjax.step.subsets import Drop
from kdjax.types import Array, Batch

# Pipelines of the default view; other names are further views.
TRAIN, EVALUATION = "train", "evaluation"

# Pipelines that are applied before all views, when a split is loaded.
ONCE = "once"


@dataclasses.dataclass(frozen=True)
class Corruption:
  """A corruption of one modality in evaluation, at the batch's `level`.

  Attributes:
    modality: of the batch; or several, of which an example lacks all or none.
    pipeline: replaces the evaluation pipeline; None removes the modality from
      a fraction `level` of the examples.
    sweeps: the option that is set to `level`: "transform.option".
  """

  modality: str | tuple[str, ...]
  pipeline: Pipeline | None
  sweeps: str

  @property
  def modalities(self) -> tuple[str, ...]:
    """One or several."""
    one = isinstance(self.modality, str)
    return (self.modality,) if one else self.modality


@dataclasses.dataclass(frozen=True)
class Views:
  """The pipelines of a stage's data.

  Attributes:
    pipelines: view -> modality -> pipeline.
    seed: of the augmentation, the same for all seeds of a run.
    classes: the number of classes, where two examples are mixed.
    corruption: applied in evaluation, at the batch's `level`.
    subsets: modalities of which evaluation has only the subset `level`.
    drops: further views, in which each example lacks some modalities.
    generated: further views, in which a network writes a modality; `Flow` makes
      them, here it is drawn which examples keep their own.
  """

  pipelines: Mapping[str, Mapping[str, Pipeline]]
  seed: int = 0
  classes: int = 0
  corruption: Corruption | None = None
  subsets: tuple[str, ...] = ()
  drops: Mapping[str, Drop] = dataclasses.field(default_factory=dict)
  generated: Mapping[str, Generated] = dataclasses.field(default_factory=dict)

  @property
  def mixed(self) -> tuple[str, ...]:
    """The modalities that a training view mixes."""
    modalities = [
      modality
      for view, pipelines in self.pipelines.items()
      if view != EVALUATION
      for modality, pipeline in pipelines.items()
      if pipeline.mixes
    ]
    return tuple(dict.fromkeys(modalities))

  def partners(self, keys: Collection[str]) -> tuple[str, ...]:
    """The keys of a partner example that a training batch needs.

    Args:
      keys: of an example.
    """
    if not self.mixed:
      return ()
    candidates = [
      f"{kind}{modality}"
      for modality in self.mixed
      for kind in ("", "mask/", "has/")
    ]
    return tuple(
      key for key in (*candidates, "index", "label", "valid") if key in keys
    )

  def of(self, modalities: Collection[str]) -> "Views":
    """The evaluation view of some modalities only."""
    kept = {
      modality: pipeline
      for modality, pipeline in self.pipelines.get(EVALUATION, {}).items()
      if modality in modalities
    }
    return dataclasses.replace(
      self, pipelines={EVALUATION: kept}, drops={}, generated={}
    )

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Array]:
    """The batch with its views, and a `target` where examples are mixed.

    Raises:
      UserError: the batch lacks the modality of a pipeline or corruption.
    """
    viewed = dict(batch)
    default, other = (TRAIN, EVALUATION) if train else (EVALUATION, TRAIN)
    share = None
    for view, pipelines in self.pipelines.items():
      for modality, pipeline in pipelines.items() if view != other else ():
        suffix = "" if view == default else f"@{view}"
        views, mixed = self._view(batch, modality, pipeline, suffix)
        viewed |= views
        share = mixed if pipeline.mixes and not suffix else share
    if self.corruption is not None and not train:
      viewed |= self._corrupted(batch, self.corruption)
    if self.subsets and not train:
      viewed |= subsets.kept(batch, self.subsets)
    for view, drop in self.drops.items():
      keys = self.keys(batch["index"], batch["view"], f"drop@{view}")
      viewed |= subsets.dropped(viewed, view, drop, keys)
    for view, made in self.generated.items():
      keys = self.keys(batch["index"], batch["view"], f"generated@{view}")
      viewed |= generated.kept(view, made, keys)
    label = batch.get("label")
    if self.mixed and label is not None and label.ndim == 1:
      viewed |= self._target(batch, share)
    return {key: _real(key, value) for key, value in viewed.items()}

  def _view(
    self,
    batch: Batch,
    modality: str,
    pipeline: Pipeline,
    suffix: str,
    sweeps: str | None = None,
  ) -> tuple[dict[str, Array], Float[Array, "B"]]:
    """A modality in a view, and each example's share in its mixture."""
    if modality not in batch:
      raise UserError(
        f"data.pipelines names the modality '{modality}', which the data"
        " lacks.",
        exists=(key for key in batch if "/" not in key),
        near=modality,
      )
    tag = f"{modality}{suffix}"
    arguments = {
      "key": self.keys(batch["index"], batch["view"], tag),
      "x": batch[modality],
      "mask": batch.get(f"mask/{modality}"),
      "overrides": None if sweeps is None else {sweeps: batch["level"]},
    }
    if pipeline.mixes:
      arguments |= self._partner(batch, modality, tag)
    arguments = {
      name: value for name, value in arguments.items() if value is not None
    }
    run = jax.vmap(lambda example: pipeline(**example))
    x, mask, share, hidden = run(arguments)
    views = {f"{modality}{suffix}": x}
    if hidden is not None:
      views[f"hidden/{modality}{suffix}"] = hidden
    if "mask" in arguments:
      views[f"mask/{modality}{suffix}"] = mask
    return views, share

  def _partner(self, batch: Batch, modality: str, tag: str) -> dict[str, Array]:
    """Each example's partner; the example itself where the partner is missing.

    In evaluation an example is its own partner.
    """
    other = {
      key: batch.get(f"partner/{key}", batch.get(key))
      for key in (modality, f"mask/{modality}", "index")
    }
    present = jnp.ones(batch["index"].shape, bool)
    for key in ("valid", f"has/{modality}"):
      present &= batch.get(f"partner/{key}", present)
    chosen = {}
    for key, value in other.items():
      if value is not None:
        rows = present.reshape(present.shape + (1,) * (value.ndim - 1))
        chosen[key] = jnp.where(rows, value, batch[key])
    return {
      "partner": chosen[modality],
      "partner_mask": chosen.get(f"mask/{modality}"),
      "partner_key": self.keys(chosen["index"], batch["view"], tag),
    }

  def _corrupted(self, batch: Batch, by: Corruption) -> dict[str, Array]:
    for modality in by.modalities:
      if modality not in batch:
        raise UserError(
          f"`robustness` corrupts the modality '{modality}', which the data"
          " lacks.",
          exists=(key for key in batch if "/" not in key),
          near=modality,
        )
    if by.pipeline is not None:
      return self._view(batch, by.modality, by.pipeline, "", by.sweeps)[0]
    tag = f"missing/{','.join(by.modalities)}"
    keys = self.keys(batch["index"], batch["view"], tag)
    stays = jax.vmap(jax.random.uniform)(keys) >= batch["level"]
    changed = {}
    for modality in by.modalities:
      was = batch.get(f"has/{modality}", jnp.ones(stays.shape, bool))
      # Examples that had the modality still count in terms and metrics.
      changed |= {f"has/{modality}": stays & was, f"had/{modality}": was}
    return changed

  def keys(
    self, index: Int[Array, "B"], view: Int[Array, "B"], tag: str
  ) -> Key[Array, "B"]:
    """A random key for each example in its view.

    Args:
      index: of each example.
      view: the number of its view.
      tag: names what the key is for, such as "image@strong".
    """
    key = jax.random.fold_in(
      jax.random.key(self.seed), zlib.crc32(tag.encode())
    )
    fold = jax.vmap(jax.random.fold_in)
    each = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
    return fold(each, view)

  def _target(
    self, batch: Batch, share: Float[Array, "B"] | None
  ) -> dict[str, Array]:
    """Class probabilities of mixed examples, and which are known."""
    target = jax.nn.one_hot(batch["label"], self.classes)
    known = batch["label"] >= 0
    if share is not None and "partner/label" in batch:
      other = jax.nn.one_hot(batch["partner/label"], self.classes)
      # Where the partner is missing, the example was mixed with itself.
      present = jnp.ones(known.shape, bool)
      for key in ("valid", *(f"has/{modality}" for modality in self.mixed)):
        present &= batch.get(f"partner/{key}", present)
      share = jnp.where(present, share, 1.0)
      target = share[:, None] * target + (1.0 - share)[:, None] * other
      known &= (batch["partner/label"] >= 0) | (share == 1.0)
    target = jnp.where(known[:, None], target, 0.0)
    return {"target": target, "has/target": known}


def _real(key: str, value: Array) -> Array:
  """Unconverted uint8 scaled to 0..1, and int16 samples to -1..1."""
  if "/" in key or value.dtype not in (jnp.uint8, jnp.int16):
    return value
  return value.astype(jnp.float32) / (
    255 if value.dtype == jnp.uint8 else 2**15
  )
