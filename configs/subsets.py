"""Served with what there is: students that predict from any of the senses.

A teacher reads all senses of an example. Where students are used, some senses
are missing, and it is not known before which. Four ways to predict then:

  all         one student of all senses. In training each example keeps a random
              non-empty subset of them, and the student learns what the teacher
              says with all
  only-..     a student for each subset, which learns from the teacher too; the
              one of all senses is also used where some are missing
  imputed     a student of all senses, distilled with all of them; a missing one
              is replaced by its mean over the training examples

The senses are image and audio of AV-MNIST, see `configs/avmnist.py`; its folder
of data is used here too. The report has accuracy, NLL and calibration of every
stage on every subset, and by the rate at which one sense is missing. A gain is
measured with all senses: what the student of all subsets loses there.

  kdjax run --config=configs/subsets.py --workdir=runs/subsets \
    --config.data.root=data
  kdjax run --config=configs/subsets.py:smoke --workdir=runs/subsets-smoke \
    --config.data.root=data

Nothing is measured yet.
"""

import itertools
from typing import NamedTuple

from kdjax.config import (
  ConfigDict,
  corruption,
  data,
  drop,
  experiment,
  metric,
  mode_of,
  network,
  optimizer,
  schedule,
  stage,
  teacher,
  term,
)

# At 8 kHz: windows of 32 ms every 20 ms; then log magnitudes from -1 to 1.
LOG_MEL = (
  "log_mel(sample_rate=8000, window=256, hop=160, mels=32)|dynamic_range"
)
MASKS = "spec_augment(time_width=8, frequency_width=5, fill=-1.0)"

# The view in which examples lack senses.
VIEW = "dropped"


class Task(NamedTuple):
  """Data with several senses."""

  data: ConfigDict
  classes: int
  # sense -> the name and options of its encoder, in the teacher and in students
  teacher: dict[str, tuple[str, dict]]
  student: dict[str, tuple[str, dict]]


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; the argument is "" or "smoke"."""
  smoke = mode_of(argument, "smoke") == "smoke"
  task = _avmnist(smoke)
  senses = tuple(task.student)
  knobs = _knobs(senses, smoke)
  labels = {"cross_entropy": term("cross_entropy", label_smoothing=0.1)}
  taught = {"teachers": {"teacher": teacher("teacher")}, **knobs}
  missing = {"robustness": _missing(senses, smoke)}
  of_all = _network(task.student, task.classes)
  stages = {
    "teacher": stage(
      _network(task.teacher, task.classes), terms=labels, **knobs, **missing
    ),
    "all": stage(
      of_all, terms=_terms(f"student@{VIEW}/logits"), **taught, **missing
    ),
  }
  terms = _terms("student/logits")
  for subset in _subsets(senses):
    encoders = {sense: task.student[sense] for sense in subset}
    stages[f"only-{'-'.join(subset)}"] = stage(
      _network(encoders, task.classes),
      terms=terms,
      **taught,
      **(missing if subset == senses else {}),
    )
  stages["imputed"] = stage(
    of_all, terms=terms, impute="mean", **taught, **missing
  )
  return experiment(
    "subsets",
    seeds=2 if smoke else 3,
    data=task.data,
    stages=stages,
    gains=(("all", f"only-{'-'.join(senses)}"),),
  )


def _avmnist(smoke: bool) -> Task:
  """Digits as image and audio."""
  audio = f"to_wave|{LOG_MEL}"
  return Task(
    data=data(
      "avmnist",
      snr=10.0,
      labels_per_class=2 if smoke else 50,
      labelled_fraction=0.25,
      limit=640 if smoke else 4000,
      pipelines={
        "train": {
          "image": "crop(padding=2)",
          "audio": f"to_wave|time_shift|{LOG_MEL}|{MASKS}",
        },
        "evaluation": {"audio": audio},
      },
      drops={VIEW: drop("image", "audio")},
    ),
    classes=10,
    teacher={
      "image": ("conv", {"widths": (16, 32), "dropout": 0.1}),
      "audio": ("audio_cnn", {"widths": (12, 24)}),
    },
    student={
      "image": ("conv", {"widths": (8, 16), "dropout": 0.1}),
      "audio": ("audio_cnn", {"widths": (6, 12)}),
    },
  )


def _network(encoders: dict[str, tuple[str, dict]], classes: int) -> ConfigDict:
  """A classifier of one sense, or a fusion of several."""
  if len(encoders) == 1:
    ((name, options),) = encoders.values()
    return network(name, num_classes=classes, **options)
  parts = {
    sense: network(name, **options)
    for sense, (name, options) in encoders.items()
  }
  return network("fusion", encoders=parts, num_classes=classes, dropout=0.2)


def _terms(address: str) -> dict[str, ConfigDict]:
  """Labels, and KD from the teacher with all senses.

  Args:
    address: of the student's logits.
  """
  reads = {"student": address}
  return {
    "cross_entropy": term(
      "cross_entropy", weight=0.1, label_smoothing=0.1, reads=reads
    ),
    "kd": term("kd", temperature=4.0, reads=reads),
  }


def _subsets(senses: tuple[str, ...]) -> list[tuple[str, ...]]:
  """All non-empty subsets, the small ones first."""
  sizes = range(1, len(senses) + 1)
  each = (itertools.combinations(senses, size) for size in sizes)
  return list(itertools.chain.from_iterable(each))


def _missing(senses: tuple[str, ...], smoke: bool) -> dict[str, ConfigDict]:
  """Each sense missing in more and more examples."""
  levels = (0.0, 1.0) if smoke else (0.0, 0.25, 0.5, 0.75, 1.0)
  return {
    f"{sense} missing": corruption(sense, levels=levels) for sense in senses
  }


def _knobs(senses: tuple[str, ...], smoke: bool) -> dict:
  """The knobs of every stage."""
  return {
    "steps": 10 if smoke else 600,
    "batch_size": 64,
    "optimizer": optimizer(
      "adamw",
      learning_rate=schedule("cosine", 3e-3, warmup=5 if smoke else 20),
      weight_decay=1e-2,
    ),
    "metrics": {
      name: metric(name) for name in ("classification", "calibration")
    },
    "subsets": senses,
    "eval_every": 5 if smoke else 100,
    "log_every": 5 if smoke else 20,
    "save_every": 0 if smoke else 100,
  }
