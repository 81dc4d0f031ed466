"""Served with what there is: students that predict from any of the senses.

A teacher reads all senses of an example. Where students are used, some senses
are missing, and it is not known before which. Four ways to predict then:

  all         one student of all senses. In training each example keeps a random
              one of the subsets, and the student learns what the teacher says
              with all senses: distillation to every subset in one run
  only-..     a student for each subset, which learns from the teacher too
  imputed     a student of all senses, distilled with all of them; a missing one
              is replaced by its mean over the training examples

With `sensors`, the senses are the phone's accelerometer, its gyroscope, and the
watch (`configs/har.py`), and the subsets those that somebody may carry: a phone
without a gyroscope, a phone, a watch, both. Each seed has other people for the
test. With `avmnist` they are image and audio (`configs/avmnist.py`).

  kdjax run --config=configs/subsets.py --workdir=runs/subsets \
    --config.data.root=data
  kdjax run --config=configs/subsets.py:avmnist --workdir=runs/subsets-avmnist \
    --config.data.root=data
  kdjax run --config=configs/subsets.py:smoke --workdir=runs/subsets-smoke \
    --config.data.root=data

`smoke` is a short `avmnist`, `sensors-smoke` a short `sensors`.

Expected accuracy of `sensors`, 20 labels a class, 5 seeds, on each subset, and
differences paired by seed with their 95 % t intervals:

                 teacher        all            one a subset   imputed
  accelerometer  0.508 ± 0.032  0.675 ± 0.040  0.677 ± 0.053  0.574 ± 0.039
  phone          0.538 ± 0.051  0.719 ± 0.029  0.732 ± 0.017  0.611 ± 0.037
  watch          0.624 ± 0.101  0.741 ± 0.032  0.757 ± 0.026  0.691 ± 0.044
  both           0.726 ± 0.058  0.797 ± 0.045  0.758 ± 0.048  0.758 ± 0.048

                 all - one a subset         all - imputed
  accelerometer  -0.002 [-0.026, +0.022]    +0.102 [+0.030, +0.174]
  phone          -0.013 [-0.030, +0.003]    +0.107 [+0.043, +0.171]
  watch          -0.017 [-0.031, -0.002]    +0.049 [-0.003, +0.101]
  both           +0.039 [+0.021, +0.058]    +0.039 [+0.021, +0.058]

One student of 54 k parameters serves every subset nearly as well as a student
for each (110 k together), loses 0.017 on the watch alone, and is better than
both the student of all senses and the teacher where nothing is missing: to
learn from random subsets regularizes. With a watch (a phone) missing in half of
the examples it has 0.757 (0.767), `only-both` 0.670 (0.716), `imputed` 0.680
(0.721). Calibration errors on the four subsets: 0.193, 0.168, 0.142 and 0.133;
`imputed` 0.179, 0.233, 0.184 and 0.163.

With 4,000 steps, as many as one a subset together, `all` has 0.679, 0.735,
0.761 and 0.803: against one a subset of 1,000 steps each +0.002 [-0.027,
+0.030], +0.003 [-0.028, +0.035], +0.004 [-0.012, +0.020] and +0.045 [+0.034,
+0.056], so that at the same cost no loss is seen. Whether one a subset gains by
4,000 steps each is not measured. There are 20 labels a class and not 5, because
the gain of distillation has a third of the error then (`har.py`).

Expected of `avmnist`, 50 labels a class, 2,000 pairs, 5 seeds:

                 teacher        all            one a subset   imputed
  image          0.451 ± 0.007  0.484 ± 0.009  0.495 ± 0.009  0.458 ± 0.016
  audio          0.181 ± 0.006  0.279 ± 0.033  0.336 ± 0.011  0.180 ± 0.015
  both           0.589 ± 0.013  0.575 ± 0.018  0.567 ± 0.022  0.567 ± 0.022

                 all - one a subset         all - imputed
  image          -0.011 [-0.021, -0.001]    +0.026 [+0.005, +0.048]
  audio          -0.056 [-0.105, -0.008]    +0.100 [+0.056, +0.144]
  both           +0.009 [-0.000, +0.018]    +0.009 [-0.000, +0.018]

Here one student for all loses to one a subset, most on audio, which is the
weaker sense: the fusion trains on it alone in a third of the examples. With
3,000 steps, as many as the three others together, it has 0.491, 0.369 and
0.590, against one a subset of 1,000 steps -0.005 [-0.009, +0.000], +0.033
[+0.009, +0.058] and +0.023 [+0.004, +0.042]. But none of them has converged in
1,000 steps: where each has 3,000 too (0.499, 0.477 and 0.576), it is -0.008
[-0.010, -0.007], -0.108 [-0.132, -0.084] and +0.014 [-0.002, +0.030]. Who needs
the weaker sense alone trains a student for it.

With 1,000 steps `all` has a higher mean than imputation everywhere; a student
that gets the mean in place of a sense predicts no better than one that lacks it
and never learned to. With audio (images) missing in half of the examples `all`
has 0.528 (0.436), `only-both` 0.506 (0.383), `imputed` 0.507 (0.382).
"""

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
STATISTICS = "statistics(frequencies=16)"

MODES = ("sensors", "sensors-smoke", "avmnist", "smoke")

# The view in which examples lack senses.
VIEW = "dropped"

# The subset of all senses.
BOTH = "both"


class Task(NamedTuple):
  """Data with several senses."""

  data: dict
  classes: int
  # name -> the senses that somebody may have
  subsets: dict[str, tuple[str, ...]]
  # what is missing -> its senses
  missing: dict[str, tuple[str, ...]]
  # sense -> the name and options of its encoder, in the teacher and in students
  teacher: dict[str, tuple[str, dict]]
  student: dict[str, tuple[str, dict]]
  temperature: float
  knobs: dict


def get_config(argument: str = "sensors") -> ConfigDict:
  """The experiment: "sensors", "avmnist", "smoke" or "sensors-smoke"."""
  mode = mode_of(argument, *MODES) or "sensors"
  smoke = mode.endswith("smoke")
  task = (_sensors if mode.startswith("sensors") else _avmnist)(smoke)
  subsets = tuple(task.subsets.values())
  knobs = _knobs(subsets, smoke) | task.knobs
  # Measured at the end alone: validation has all senses, and would choose among
  # the steps of one student by another subset than it is for.
  end = {"eval_every": 0}
  taught = {"teachers": {"teacher": teacher("teacher")}, **knobs, **end}
  missing = {"robustness": _missing(task.missing, smoke)}
  of_all = _network(task.student, task.classes)
  kd = lambda address: {
    "kd": term("kd", temperature=task.temperature, reads={"student": address})
  }
  stages = {
    "teacher": stage(
      _network(task.teacher, task.classes),
      terms={"cross_entropy": term("cross_entropy")},
      **knobs,
      **missing,
    ),
    "all": stage(
      of_all, terms=kd(f"student@{VIEW}/logits"), **taught, **missing
    ),
  }
  for name, senses in task.subsets.items():
    encoders = {sense: task.student[sense] for sense in senses}
    stages[f"only-{name}"] = stage(
      _network(encoders, task.classes),
      terms=kd("student/logits"),
      **taught,
      **(missing if name == BOTH else {}),
    )
  stages["imputed"] = stage(
    of_all, terms=kd("student/logits"), impute="mean", **taught, **missing
  )
  others = [*(f"only-{name}" for name in task.subsets), "imputed"]
  return experiment(
    f"subsets-{mode}",
    seeds=2 if smoke else 5,
    data=data(**task.data, drops={VIEW: drop(*subsets)}),
    stages=stages,
    gains=tuple(("all", other) for other in others),
  )


def _sensors(smoke: bool) -> Task:
  """Activities with a phone and a watch; windows as statistics."""
  subsets = {
    "accelerometer": ("phone_acc",),
    "phone": ("phone_acc", "phone_gyro"),
    "watch": ("watch",),
    BOTH: ("phone_acc", "phone_gyro", "watch"),
  }
  encoders = {
    sense: (
      "mlp",
      {
        "widths": (64, 64),
        "dropout": 0.3,
        "normalize": True,
        "modality": sense,
      },
    )
    for sense in subsets[BOTH]
  }
  return Task(
    data={
      "name": "har",
      "people": "drawn",
      "labels_per_class": 5 if smoke else 20,
      "labelled_fraction": 0.25,
      "limit": 200 if smoke else 0,
      "pipelines": {
        "train": dict.fromkeys(encoders, f"jitter|{STATISTICS}"),
        "evaluation": dict.fromkeys(encoders, STATISTICS),
      },
    },
    classes=5,
    subsets=subsets,
    missing={"phone missing": subsets["phone"], "watch missing": ("watch",)},
    teacher=encoders,
    student=encoders,
    temperature=2.0,
    knobs={} if smoke else {"steps": 1000},
  )


def _avmnist(smoke: bool) -> Task:
  """Digits as image and audio."""
  encoders = {
    "image": ("mlp", {"widths": (64, 64), "dropout": 0.1}),
    "audio": ("series_cnn", {"widths": (16, 32), "modality": "audio"}),
  }
  return Task(
    data={
      "name": "avmnist",
      "snr": 10.0,
      "labels_per_class": 2 if smoke else 50,
      "labelled_fraction": 0.25,
      "limit": 640 if smoke else 2000,
      "pipelines": {
        "once": {"audio": f"to_wave|{LOG_MEL}"},
        "train": {"audio": MASKS},
      },
    },
    classes=10,
    subsets={
      "image": ("image",),
      "audio": ("audio",),
      BOTH: ("image", "audio"),
    },
    missing={f"{sense} missing": (sense,) for sense in ("image", "audio")},
    teacher=encoders,
    student=encoders,
    temperature=2.0,
    knobs={} if smoke else {"steps": 1000},
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
  return network("fusion", encoders=parts, num_classes=classes, dropout=0.3)


def _missing(
  parts: dict[str, tuple[str, ...]], smoke: bool
) -> dict[str, ConfigDict]:
  """Each part missing in more and more examples."""
  levels = (0.0, 1.0) if smoke else (0.0, 0.25, 0.5, 0.75, 1.0)
  return {
    name: corruption(senses, levels=levels) for name, senses in parts.items()
  }


def _knobs(subsets: tuple[tuple[str, ...], ...], smoke: bool) -> dict:
  """The knobs of every stage."""
  return {
    "steps": 10,
    "batch_size": 64,
    "optimizer": optimizer(
      "adamw",
      learning_rate=schedule("cosine", 3e-3, warmup=5 if smoke else 50),
      weight_decay=1e-2,
    ),
    "metrics": {
      name: metric(name) for name in ("classification", "calibration")
    },
    "subsets": subsets,
    "eval_every": 5 if smoke else 100,
    "log_every": 5 if smoke else 50,
    "save_every": 0,
  }
