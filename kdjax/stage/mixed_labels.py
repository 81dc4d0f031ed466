"""Refuses labels of single examples beside outputs for mixed examples."""

import functools
from collections.abc import Iterator

import jax
import numpy as np

from kdjax.errors import UserError
from kdjax.stage.stage import Stage
from kdjax.step.addresses import DATA, Address
from kdjax.step.terms import HEADS, Term
from kdjax.step.views import TRAIN

# What a batch has one of per example, whatever is mixed into its inputs.
LABEL, TARGET = Address.parse("batch/label"), Address.parse("batch/target")
# Keys of a batch that are no values to learn.
KEPT = ("index", "valid", "view", "level")


def check(stage: Stage) -> None:
  """Checks that no term reads the label of one of two mixed examples.

  A stage's `batch/target` is that of the mixture in the view 'train' where the
  label is one class; a target of the data is of one example.

  Raises:
    UserError: a term reads a label, target or other value of the data beside a
      network's output on another mixture.
  """
  views = stage.objective.views
  if not views.mixed:
    return
  label = stage.spec.get("label")
  makes_target = label is not None and label.ndim == 0
  terms = {term.name: term for term in stage.objective.terms}
  for term in terms.values():
    if _is_only_measured(stage, term.name):
      continue
    read = set(_addresses(term, terms))
    for at in filter(functools.partial(_is_of_one, stage), read):
      of = TRAIN if at == TARGET and makes_target else None
      expected = _mixes(stage, of) if of else None
      for output in sorted(read, key=str):
        mixed = _mixed_view(stage, output)
        if mixed is not False and mixed != expected:
          raise UserError(_problem(term, at, output, mixed), _advice(at, label))


def _is_of_one(stage: Stage, at: Address) -> bool:
  """Whether an address is a value that a batch has of each example.

  Inputs of networks are viewed, and indices and masks stay right.
  """
  if at in (LABEL, TARGET):
    return True
  objective = stage.objective
  networks = {**objective.networks, **objective.teachers}.values()
  inputs = {key for network in networks for key in network.reads}
  other = at.output not in {*inputs, *objective.views.mixed, *KEPT}
  # A mask has a slash in its key, and so has a label of several.
  value = "/" not in at.output or at.output.startswith(f"{LABEL.output}/")
  return at.network == "batch" and value and other


def _is_only_measured(stage: Stage, name: str) -> bool:
  weight = stage.config["terms"][name]["weight"]
  return weight == 0.0 and f"{name}/weight" not in stage.config["grid"]


def _addresses(term: Term, terms: dict[str, Term]) -> Iterator[Address]:
  """All addresses that a term reads, through heads of other terms too."""
  for argument in term.reads:
    for at in term.addresses(argument):
      owner, _, part = at.output.partition("/")
      if at.network == HEADS and owner in terms:
        yield from (
          one
          for one in terms[owner].addresses(part)
          if part in terms[owner].reads and one.network != HEADS
        )
      else:
        yield at


def _mixes(stage: Stage, view: str) -> str | None:
  """The view if one of its modalities is mixed, else None."""
  pipelines = stage.objective.views.pipelines.get(view, {})
  return view if any(one.mixes for one in pipelines.values()) else None


def _mixed_view(stage: Stage, at: Address) -> str | bool | None:
  """The mixed view that a network's output is of; None: of none of them.

  False is for an address of no network's output.
  """
  if at.network in ("batch", DATA) or at.output.startswith("params/"):
    return False
  pipelines = stage.objective.views.pipelines
  networks = {**stage.objective.networks, **stage.objective.teachers}
  for modality in getattr(networks.get(at.network), "reads", ()):
    for view in (at.view, TRAIN):
      if modality in pipelines.get(view, {}):
        if pipelines[view][modality].mixes:
          return view
        break
  return None


def _problem(term: Term, at: Address, output: Address, mixed) -> str:
  if mixed is None:
    return (
      f"The term '{term.name}' reads '{at}' beside '{output}': the target is"
      " that of two examples mixed, and the output that of one."
    )
  return (
    f"The term '{term.name}' reads '{at}' beside '{output}', and the view"
    f" '{mixed}' mixes two examples: '{at}' is that of one of them."
  )


def _advice(at: Address, label: jax.ShapeDtypeStruct | np.ndarray | None):
  if at in (LABEL, TARGET) and label is not None and label.ndim == 0:
    return (
      "Use the loss 'target_cross_entropy' on outputs of the view 'train',"
      " whose target is mixed as well; a loss that reads no label, such as"
      " 'kd'; or an output on a view without mixup and cutmix."
    )
  return (
    f"There is no mixture of '{at}' of this kind: remove mixup or cutmix, or"
    " read an output on a view without them."
  )
