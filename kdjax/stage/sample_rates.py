"""Transforms of waveforms have the sample rate of their data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from kdjax.errors import UserError
from kdjax.step.pipeline import Pipeline

OPTION = "sample_rate"


def of_data(dataset: Any, options: Mapping[str, Any]) -> dict[str, int]:
  """The sample rates of a data set, in Hz, by modality; {} if not stated.

  Args:
    dataset: its module, which may have a function `sample_rates`.
    options: of its `load`.
  """
  rates = getattr(dataset, "sample_rates", None)
  return rates(**options) if rates else {}


def with_rate(pipeline: Pipeline, modality: str, rate: int | None) -> Pipeline:
  """A pipeline whose transforms have the data's sample rate.

  Args:
    pipeline: of a modality.
    modality: its name, for messages.
    rate: of the data, in Hz; None, unknown, changes nothing.

  Raises:
    UserError: a transform states another rate.
  """
  if rate is None:
    return pipeline
  steps = []
  for step in pipeline.steps:
    stated = dict(step.options).get(OPTION, rate)
    if OPTION in step.known and stated != rate:
      raise UserError(
        f"The pipeline of '{modality}' has {step.name}({OPTION}={stated}), and"
        f" the data has {rate} Hz.",
        f"Omit {OPTION}: it is then that of the data.",
      )
    if OPTION in step.known:
      options = dict(step.options) | {OPTION: rate}
      step = dataclasses.replace(step, options=tuple(options.items()))
    steps.append(step)
  return dataclasses.replace(pipeline, steps=tuple(steps))
