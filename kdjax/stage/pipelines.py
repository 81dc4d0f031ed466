"""The pipelines of a stage's config: once, views of its data, corruptions."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from kdjax import registry
from kdjax.config import fields
from kdjax.config.fields import without
from kdjax.errors import UserError
from kdjax.stage import sample_rates
from kdjax.stage.once import Once
from kdjax.step import subsets
from kdjax.step.addresses import Address
from kdjax.step.generated import Generated
from kdjax.step.pipeline import Pipeline, parse
from kdjax.step.subsets import Drop
from kdjax.step.views import EVALUATION, ONCE, TRAIN, Corruption, Views

# Keys of the data's config that are not options of the data set.
DATA_KEYS = fields.RESERVED["data"]

# What data with several captions a record begins its pipelines with.
ONE_CAPTION = "one_caption"


def views(spec: Mapping[str, Any]) -> Views:
  """The pipelines of a stage's data."""
  data = spec["data"]
  names = getattr(registry.find("data", data["name"]), "class_names", None)
  read = _pipelines(data)
  of_captions = dict.fromkeys(_captions(data), "")
  stated = {view: it for view, it in data["pipelines"].items() if view != ONCE}
  if of_captions:
    for view in (TRAIN, EVALUATION):
      stated[view] = {**of_captions, **stated.get(view, {})}
  by_view = {
    view: {modality: read(text, modality) for modality, text in texts.items()}
    for view, texts in stated.items()
  }
  for view, by_modality in by_view.items():
    mixing = [modality for modality, one in by_modality.items() if one.mixes]
    if len(mixing) > 1:
      raise UserError(
        f"The view '{view}' mixes {' and '.join(mixing)}, each with its own"
        " ratio.",
        "Mix at most one modality: its ratio is that of the target.",
      )
  return Views(
    by_view,
    seed=data["augment_seed"],
    classes=len(names(**without(data, DATA_KEYS))) if names else 0,
    drops={view: _drop(view, it) for view, it in data.get("drops", {}).items()},
    generated={
      view: _generated(view, it, {**stated, **data.get("drops", {})})
      # A workdir from before the knob existed has none.
      for view, it in spec.get("generated", {}).items()
    },
  )


def once(data: Mapping[str, Any]) -> Once:
  """The pipelines of the view "once" of a stage's data.

  Raises:
    UserError: examples are to be decoded in processes, which compute none.
  """
  dataset = registry.find("data", data["name"])
  rates = sample_rates.of_data(dataset, without(data, DATA_KEYS))
  texts = data["pipelines"].get(ONCE, {})
  if texts and data["workers"] and data["feed"] != "device":
    raise UserError(
      f"data.workers is {data['workers']}, and data.pipelines has '{ONCE}',"
      " which processes that decode a stream do not compute.",
      "Set workers=0: threads decode; or move the transforms to 'train' and"
      " 'evaluation'.",
    )
  return Once(
    {
      key: sample_rates.with_rate(parse(text), key, rates.get(key))
      for key, text in texts.items()
    }
  )


def corruptions(spec: Mapping[str, Any]) -> dict[str, Corruption]:
  """The corruptions under which a stage is evaluated, by name."""
  read = _pipelines(spec["data"])
  for name, corruption in spec["robustness"].items():
    if corruption["pipeline"] and not isinstance(corruption["modality"], str):
      raise UserError(
        f"robustness.{name} has a pipeline of {corruption['modality']}.",
        "Expected one modality; several can be missing.",
      )
  return {
    name: Corruption(
      corruption["modality"],
      read(corruption["pipeline"], corruption["modality"])
      if corruption["pipeline"]
      else None,
      corruption["sweeps"],
    )
    for name, corruption in spec["robustness"].items()
  }


def _drop(view: str, spec: Mapping[str, Any]) -> Drop:
  """A view without some modalities."""
  what, rate = f"The view '{view}' of data.drops", spec["rate"]
  modalities, choices = subsets.read(what, spec["modalities"])
  if view in (TRAIN, EVALUATION, ONCE):
    raise UserError(
      f"data.drops has the view '{view}'.",
      "It is a further view, with a name of its own, such as 'dropped'.",
    )
  if rate is not None and not 0 <= rate < 1:
    raise UserError(
      f"data.drops.{view}.rate is {rate:g}.",
      "Expected a number from 0 to below 1.",
    )
  return Drop(modalities, rate, tuple(choices))


def _generated(
  view: str, spec: Mapping[str, Any], others: Collection[str]
) -> Generated:
  """A view in which a network writes a modality."""
  if view in (TRAIN, EVALUATION, ONCE, *others):
    raise UserError(
      f"The view '{view}' of `generated` is one of the data.",
      "It is a further view, with a name of its own, such as 'sample'.",
    )
  if not 0 < spec["share"] <= 1:
    raise UserError(
      f"generated.{view}.share is {spec['share']:g}.",
      "Expected a number above 0, up to 1.",
    )
  reads = Address.parse(spec["reads"])
  if reads.view == view:
    raise UserError(
      f"The view '{view}' of `generated` reads '{reads}', which is made from"
      " itself.",
      f"Expected an address without @{view}, such as"
      f" '{reads.network}/{reads.output}'.",
    )
  return Generated(spec["modality"], reads, spec["share"])


def _pipelines(data: Mapping[str, Any]) -> Callable[[str, str], Pipeline]:
  """Reads a pipeline of a modality, with the data's sample rate."""
  dataset = registry.find("data", data["name"])
  options = without(data, DATA_KEYS)
  rates = sample_rates.of_data(dataset, options)
  several = _captions(data)

  def read(text: str, modality: str) -> Pipeline:
    pipeline = sample_rates.with_rate(
      parse(text), modality, rates.get(modality)
    )
    if modality in several:
      first = parse(ONE_CAPTION).steps
      pipeline = Pipeline((*first, *pipeline.steps))
    return pipeline

  return read


def _captions(data: Mapping[str, Any]) -> tuple[str, ...]:
  """The modalities of which a network reads one text of several."""
  captions = getattr(registry.find("data", data["name"]), "captions", None)
  return captions(**without(data, DATA_KEYS)) if captions else ()
