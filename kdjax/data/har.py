"""Activities of 23 people with a phone and a watch, in windows of 50 Hz.

In 223 recordings a person rises from a chair, walks, turns, walks back, turns
and sits down. A window of 64 samples (1.28 s) every 32 is an example: 2,043 /
632 / 929, by person, 13 / 4 / 6 of them. Its label is the activity of most of
its samples; nearly half of all windows are walking: report macro averages too.

  phone_acc   the phone's acceleration with gravity, x y z
  phone_gyro  the phone's angular velocity, x y z
  phone       both, side by side
  watch       the watch's acceleration and angular velocity
  group       the person, as in `group_names`

A sequence [T F] is read by networks over series, by its name:
network("series_cnn", modality="phone_acc").

Matey-Sanz, Casteleyn and Granell, "Dataset of inertial measurements of
smartphones and smartwatches for human activity recognition", Data in Brief
2023, CC BY 4.0; resampled to 50 Hz and quantised.
"""

import jax
import numpy as np

from kdjax.data import _har, _options, _subset
from kdjax.data._splits import check
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.types import Spec

# Of the files, for the cards of students that were trained on them.
LICENCE = "CC BY 4.0"

_PEOPLE = ("fixed", "drawn")


def seed_draws(**options) -> str:
  """Which splits depend on the seed: "none", "train" or "all".

  Args:
    **options: of `load`.
  """
  chosen = _options.chosen(load, options)
  if chosen["people"] == "drawn":
    return "all"
  return "train" if chosen["labels_per_class"] else "none"


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0, 1, ...

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return _har.ACTIVITIES


def group_names(**options) -> tuple[str, ...]:
  """Names of groups 0, 1, ...: the people.

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return _har.PEOPLE


def spec(**options) -> Spec:
  """Shapes and dtypes of one example.

  Args:
    **options: of `load`; `window` changes them.
  """
  window = _options.chosen(load, options)["window"]
  whole = jax.ShapeDtypeStruct((), np.int32)
  return {
    **{
      key: jax.ShapeDtypeStruct((window, end - first), np.float32)
      for key, (_, first, end) in _har.SIGNALS.items()
    },
    **dict.fromkeys(("label", "group", "index"), whole),
  }


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  people: str = "fixed",
  window: int = 64,
  step: int = 32,
  purity: float = 0.0,
  standardized: bool = True,
  labels_per_class: int = 0,
  limit: int = 0,
) -> ArraySource:
  """The examples of a split; `index` is a window's position among all.

  Args:
    split: "train", "validation" or "test".
    seed: draws the people, if `people` says so, and the training examples that
      keep their label; None is 0.
    root: the folder that holds har/recordings.npz.
    people: "fixed" is one split by age and gender; with "drawn" the seed draws
      4 people for validation, 6 for test, and 13 train: the deviation over
      seeds then includes that of people.
    window: samples of a window, 50 a second.
    step: samples from the start of a window to that of the next.
    purity: the least share of a window's samples with its label; other windows
      are in no split.
    standardized: whether each channel is less its mean and divided by its
      standard deviation over all samples of the training people; if not, it is
      in m/s^2 or rad/s.
    labels_per_class: training labels kept per class, the others are -1; 0 keeps
      all.
    limit: the largest size of any split, stratified by label; 0 is no limit.

  Raises:
    UserError: the file is missing, or an option is impossible.
  """
  check(split, 0.0)
  _options.check_counts(limit=limit, labels_per_class=labels_per_class)
  if people not in _PEOPLE:
    raise UserError(f"No people '{people}'.", exists=_PEOPLE, near=people)
  if not 0 <= purity <= 1:
    raise UserError(f"purity={purity}.", "Expected a share, from 0 to 1.")
  seed = 0 if seed is None else seed
  found = _har.windows(root, window, step)
  divided = _har.people(root, people == "drawn", seed)
  person = _har.recordings(root).person[found.recording]
  rows = np.isin(person, divided[split]) & (found.purity >= purity)
  rows = np.flatnonzero(rows)
  if not len(rows):
    raise UserError(
      f"purity={purity} leaves no window of {split}.", "Expected less."
    )
  rows = rows[_subset.limited(found.label[rows], limit)]
  labels = found.label[rows]
  if split == "train" and labels_per_class:
    labels = _subset.keep_labels(labels, labels_per_class, seed)
  columns = {}
  for key, (device, first, end) in _har.SIGNALS.items():
    values = _har.values(root, device, found.start[rows], window)
    if standardized:
      mean, deviation = _har.statistics(root, device, divided["train"])
      values = (values - mean) / deviation
    columns[key] = values[..., first:end].astype(np.float32)
  return ArraySource(
    {
      **columns,
      "label": labels,
      "group": person[rows],
      "index": rows.astype(np.int32),
    }
  )
