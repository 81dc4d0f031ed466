"""What a network of a stage reads, as inputs that files can be decoded to."""

from collections.abc import Collection, Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from kdjax.stage import build, sample_rates
from kdjax.stage.stage import Stage
from kdjax.students.inputs import (
  ARRAY,
  AUDIO,
  IMAGE,
  NUMBERS,
  SEQUENCE,
  TEXT,
  Input,
)
from kdjax.types import Spec


def readers(stage: Stage) -> dict[str, Any]:
  """The tokenizer of each text of a stage's data, {} where it has none."""
  found = getattr(stage.dataset, "readers", None)
  return found(**stage.data_options) if found else {}


def inputs(
  stage: Stage, module: nn.Module, imputed: Collection[str] = ()
) -> tuple[Input, ...]:
  """The modalities that a network reads, as the data set gives them.

  Args:
    stage: that trained the network.
    module: the network.
    imputed: modalities of which the training mean stands in for a missing one.
  """
  raw = build.raw_spec(stage.config["data"])
  ids = getattr(stage.dataset, "ids", lambda **_: {})(**stage.data_options)
  rates = sample_rates.of_data(stage.dataset, stage.data_options)
  stated = getattr(stage.dataset, "decoding", lambda **_: {})
  stated = stated(**stage.data_options)
  found = []
  for key in dict.fromkeys(it for it in module.reads if "/" not in it):
    mask = raw.get(f"mask/{key}")
    optional = key in imputed or key not in module.needs
    found.append(
      Input(
        key=key,
        shape=tuple(raw[key].shape),
        dtype=np.dtype(raw[key].dtype).name,
        optional=optional,
        mask=None if mask is None else tuple(mask.shape),
        **_form(key, raw, ids, rates, dict(stated.get(key, {}))),
      )
    )
  return tuple(found)


def _form(
  key: str,
  raw: Spec,
  ids: Mapping[str, int],
  rates: Mapping[str, int],
  stated: dict[str, Any],
) -> dict[str, Any]:
  """The kind of an input, its range, and how files are decoded."""
  leaf = raw[key]
  dtype, axes = np.dtype(leaf.dtype), len(leaf.shape)
  low, high = stated.pop("low", None), stated.pop("high", None)
  kind = stated.pop("kind", "")
  if not kind and key in ids:
    kind, low, high = TEXT, 0, ids[key] - 1
  elif not kind and key in rates and axes == 1:
    kind = AUDIO
    stated = {"sample_rate": rates[key], **stated}
    low, high = (-1.0, 1.0) if dtype.kind == "f" else (low, high)
  elif not kind and axes == 3 and leaf.shape[-1] in (1, 3):
    # Floats in an unknown range cannot be decoded from a file.
    known = dtype == np.uint8 or low is not None
    kind = IMAGE if known else ARRAY
  elif not kind and dtype.kind == "f":
    kind = {2: SEQUENCE, 1: NUMBERS, 0: NUMBERS}.get(axes, ARRAY)
  return {
    "kind": kind or ARRAY,
    "low": low,
    "high": high,
    "decoding": stated,
  }
