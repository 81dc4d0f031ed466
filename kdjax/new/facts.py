"""What data hold: modalities, classes, splits, what is missing or broken."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax import registry
from kdjax.data import _split_summary
from kdjax.errors import UserError
from kdjax.new import sources

# Records of a split that are decoded; the labels of all are counted.
DECODED = 1000
# Classes that are listed.
CLASSES = 8
# A larger share of broken records is no accident.
BROKEN = 0.05


@dataclasses.dataclass(frozen=True)
class Modality:
  """What a network can read.

  Attributes:
    key: of the batch.
    kind: image, audio, text, numbers or sequence.
    shape: of one example.
    missing: the share of training examples without it.
    checkpoint: (network, path) of published weights that read it, if any.
  """

  key: str
  kind: str
  shape: tuple[int, ...]
  missing: float = 0.0
  checkpoint: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Facts:
  """What a data set holds.

  Attributes:
    title: a short name.
    name: the data set of kdjax that reads it.
    options: of this data set.
    modalities: key -> what a network can read.
    task: "classes", "labels" (several an example) or "target" (numbers).
    label: the column, or key, of what is predicted.
    classes: the names of the classes; () of a target.
    counts: training examples of each class.
    scale: mean and standard deviation of a target.
    sizes: split -> number of examples.
    labelled: split -> number of examples with a label.
    words: the size of the vocabulary of texts; 0 without.
    broken: decoded records that cannot be read.
    remarks: sentences on what was left out or may be a mistake.
  """

  title: str
  name: str
  options: dict[str, Any]
  modalities: dict[str, Modality]
  task: str
  label: str
  classes: tuple[str, ...]
  counts: tuple[int, ...]
  scale: tuple[float, float]
  sizes: dict[str, int]
  labelled: dict[str, int]
  words: int
  broken: int
  remarks: tuple[str, ...]

  @property
  def outputs(self) -> int:
    """How many numbers a network predicts."""
    return len(self.classes) or 1

  @property
  def shown_scale(self) -> str:
    """The mean of a target ± its deviation."""
    form = ",.0f" if self.scale[1] >= 10 else ".3g"
    mean, deviation = (format(value, form) for value in self.scale)
    return f"{mean} ± {deviation}"

  def described(self) -> list[str]:
    """Sentences on what there is."""
    sizes = [
      f"{size:,} for {split}"
      + (
        f" ({self.labelled[split]:,} with a label)"
        if self.labelled[split] < size
        else ""
      )
      for split, size in self.sizes.items()
    ]
    found = [f"{sum(self.sizes.values()):,} examples: {', '.join(sizes)}."]
    for it in self.modalities.values():
      share = max(1, round(100 * it.missing))
      lacking = f", {share} % without" if it.missing else ""
      found.append(f"'{it.key}': {it.kind} {[*it.shape]}{lacking}.")
    if self.task == "target":
      found.append(f"To predict: '{self.label}', {self.shown_scale}.")
      return found
    named = [
      f"{name} {count:,}"
      for name, count in zip(self.classes, self.counts, strict=True)
    ]
    more = f" and {len(named) - CLASSES} more" if len(named) > CLASSES else ""
    found.append(
      f"To predict: '{self.label}', {len(named)} classes, training examples:"
      f" {', '.join(named[:CLASSES])}{more}."
    )
    return found


def read(
  path: str, columns: Mapping[str, Any] | None = None, *, large: bool = False
) -> Facts:
  """Reads a folder, table, file of arrays or name of TFDS.

  Args:
    path: of the data.
    columns: key -> column of a table, as `manifest` takes it; None guesses.
    large: whether the machine trains on pictures of more than 64 pixels.

  Raises:
    UserError: nothing can be trained on these data; the sentence says why.
  """
  name, options, label, remarks = sources.find(path, columns, large)
  data = registry.find("data", name)
  options = sources.divided(data, name, options)
  skipping = options | (sources.COUNTING if name == "manifest" else {})
  loaded = {split: data.load(split, **skipping) for split in sources.SPLITS}
  summaries = {split: _measured(it) for split, it in loaded.items()}
  task, classes = _task(data, options, loaded["train"], path)
  labelled = {
    split: _labelled(source, task, summaries[split])
    for split, source in loaded.items()
  }
  broken = sum(it.broken for it in summaries.values())
  decoded = sum(it.size for it in summaries.values())
  if broken > BROKEN * decoded:
    fault = min(fault for it in summaries.values() for fault in it.faults)
    raise UserError(
      f"{broken} of {decoded} records of '{path}' cannot be read. The first:"
      f" {fault}",
      f"`kdjax inspect data --data={path}` lists all.",
    )
  if broken:
    options["on_error"] = "skip"
  _check_labels(path, label, task, classes, labelled)
  ids = data.ids(**options) if hasattr(data, "ids") else {}
  scale = summaries["train"].values.get("target", (0.0,) * 4)[2:]
  noticed = getattr(data, "remarks", lambda **_: ())(**options)
  return Facts(
    title=sources.title(path),
    name=name,
    options=options,
    modalities=_modalities(data.spec(**options), summaries["train"]),
    task=task,
    label=label or ("target" if task == "target" else "label"),
    classes=classes,
    counts=_counts(loaded["train"], task, len(classes)),
    scale=(float(scale[0]), float(scale[1])),
    sizes={split: len(source) for split, source in loaded.items()},
    labelled=labelled,
    words=max(ids.values(), default=0),
    broken=broken,
    remarks=(*remarks, *noticed),
  )


class _Part:
  """Evenly spaced examples of a source."""

  def __init__(self, source: Any, most: int):
    self._source = source
    count = min(len(source), most)
    self._rows = np.linspace(0, max(len(source) - 1, 0), count).astype(int)
    self.records = getattr(source, "records", list)

  def __len__(self):
    return len(self._rows)

  def take(self, positions):
    """The examples at positions of the part."""
    return self._source.take(self._rows[positions])


def _measured(source: Any) -> _split_summary.Summary:
  return _split_summary.measure(_Part(source, DECODED))


def _task(
  data: Any, options: Mapping[str, Any], train: Any, path: str
) -> tuple[str, tuple[str, ...]]:
  """The task, and the names of its classes."""
  spec = data.spec(**options)
  if "label" in spec:
    names = (
      tuple(data.class_names(**options)) if hasattr(data, "class_names") else ()
    )
    several = len(spec["label"].shape) == 1
    count = spec["label"].shape[0] if several else int(train.labels.max()) + 1
    return "labels" if several else "classes", names or tuple(
      map(str, range(count))
    )
  if "target" in spec:
    return "target", ()
  raise UserError(
    f"'{path}' has no label: no folder a class, no column or array 'label',"
    " 'labels' or 'target'.",
    "Name it, as in --columns=image=photo,label=species.",
  )


def _labelled(source: Any, task: str, summary: Any) -> int:
  """How many examples of a source have a label or target."""
  if task != "target":
    return int(np.sum(source.labelled))
  return summary.size and int(np.sum(sources.answered(source)))


def _counts(source: Any, task: str, classes: int) -> tuple[int, ...]:
  """Training examples of each class."""
  if task == "target":
    return ()
  labels = np.asarray(source.labels)
  if labels.ndim == 2:
    return tuple((labels > 0).sum(axis=0).tolist())
  return tuple(np.bincount(labels[labels >= 0], minlength=classes).tolist())


def _check_labels(
  path: str,
  label: str,
  task: str,
  classes: tuple[str, ...],
  labelled: Mapping[str, int],
) -> None:
  """Raises `UserError` where nothing can be learned or measured."""
  named = f"'{label}' of '{path}'" if label else f"The label of '{path}'"
  if not labelled["train"]:
    raise UserError(
      f"{named} is empty in every training record.",
      "Some examples need a label, to train a teacher; the others may be"
      " without.",
    )
  if task == "classes" and len(classes) < 2:
    raise UserError(
      f"{named} has one class, '{''.join(classes)}'.",
      "Expected two classes or more: there is nothing to tell apart.",
    )
  for split in sources.SPLITS[1:]:
    if not labelled[split]:
      raise UserError(
        f"{named} is empty in every record for {split}: nothing could be"
        " measured.",
        "Label more records, or add a column 'split' that puts some there.",
      )


def _modalities(spec: Mapping[str, Any], train: Any) -> dict[str, Modality]:
  """What networks can read, of the keys of an example."""
  found = {}
  for key, leaf in spec.items():
    part = key.partition("/")[0]
    if part in ("mask", "has", "label") or key in (
      *("target", "index", "group", "record", "valid"),
    ):
      continue
    kind = _kind(key, leaf, f"mask/{key}" in spec)
    missing = train.missing.get(key, 0) / max(train.size - train.broken, 1)
    if kind:
      found[key] = Modality(key, kind, tuple(leaf.shape), missing)
  return found


def _kind(key: str, leaf: Any, masked: bool) -> str:
  """The kind of an array by its shape; "" if no network reads it."""
  rank, whole = len(leaf.shape), np.issubdtype(leaf.dtype, np.integer)
  if rank == 3:
    return "image"
  if masked and whole:
    return "text"
  if rank == 1 and (key.startswith("audio") or leaf.shape[0] >= 1000):
    return "audio"
  if rank == 2 and np.issubdtype(leaf.dtype, np.floating):
    return "sequence"
  return "numbers" if rank <= 1 and not whole else ""
