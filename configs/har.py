"""Activities: a phone's accelerometer, taught by a teacher with a watch too.

Data: 23 people sit, stand up, walk, turn and sit down with a phone and a watch.
The teacher is privileged: it has the acceleration and angular velocity of both
devices, the student the phone's acceleration alone. 5 windows of 1.28 s a class
have a label, the other 2,000 pairs of phone and watch have none. Each seed
draws which people train, validate and test, so that deviations include those of
people. All networks read statistics of a window, as is usual with few labels.

  teacher    phone and watch; cross-entropy on labelled windows
  alone      the phone's acceleration; cross-entropy on labelled windows
  distilled  the same student; KD on all windows
  echoed     the same, distilled from the student alone: self-distillation

  kdjax run --config=configs/har.py --workdir=runs/har --config.data.root=data
  kdjax run --config=configs/har.py:more --workdir=runs/har-more \
    --config.data.root=data
  kdjax run --config=configs/har.py:smoke --workdir=runs/har-smoke \
    --config.data.root=data

The folder holds `har`, see `kdjax/data/har.py`.

`few` has 5 labels a class, `more` 20, `all` every label; `phone` has a student
with the phone's angular velocity too, and 5 labels a class.

Expected with `few`, 10 seeds, each with people of its own for the test:

             accuracy       macro-F1       worst person
  teacher    0.615 ± 0.075  0.584 ± 0.067  0.488 ± 0.119
  alone      0.467 ± 0.081  0.397 ± 0.059  0.277 ± 0.129
  distilled  0.609 ± 0.072  0.570 ± 0.077  0.463 ± 0.137
  echoed     0.488 ± 0.074  0.390 ± 0.069  0.299 ± 0.133

  distilled over alone   accuracy +0.142 ± 0.027, better in 10 of 10 seeds
                         macro-F1 +0.172 ± 0.020, better in 10 of 10 seeds
  distilled over echoed  accuracy +0.120 ± 0.026, better in 9 of 10 seeds
                         macro-F1 +0.180 ± 0.027, better in 10 of 10 seeds

Accuracy with more labels; with every label there is no gain:

             more           all
  teacher    0.696 ± 0.051  0.876 ± 0.020
  alone      0.576 ± 0.061  0.700 ± 0.043
  distilled  0.683 ± 0.050  0.704 ± 0.051
  echoed     0.592 ± 0.050  0.709 ± 0.046
  over alone   +0.108 ± 0.009 (10 of 10), all: +0.004 ± 0.007 (6 of 10)
  over echoed  +0.091 ± 0.008 (10 of 10), all: -0.005 ± 0.008 (3 of 10)

With `phone`: alone 0.502 ± 0.089, distilled 0.626 ± 0.070, gain +0.124 ± 0.031,
over echoed +0.092 ± 0.032, better in 9 of 10 seeds both.

A run takes 3 minutes on two CPU cores.
"""

from kdjax.config import (
  ConfigDict,
  data,
  experiment,
  mode_of,
  network,
  optimizer,
  schedule,
  stage,
  teacher,
  term,
)

CLASSES = 5

# Labels per class; 0 is all.
LABELS = {"few": 5, "more": 20, "all": 0, "phone": 5, "smoke": 5}

SENSES = ("phone_acc", "phone", "watch")
STATISTICS = "statistics(frequencies=16)"


def get_config(argument: str = "few") -> ConfigDict:
  """The experiment: "few", "more", "all", "phone" or "smoke"."""
  mode = mode_of(argument, *LABELS) or "few"
  smoke, labels = mode == "smoke", LABELS[mode]
  net = lambda sense, **options: network(
    "mlp",
    widths=(64, 64),
    dropout=0.3,
    normalize=True,
    modality=sense,
    **options,
  )
  student = net(
    "phone" if mode == "phone" else "phone_acc", num_classes=CLASSES
  )
  both = network(
    "fusion",
    encoders={sense: net(sense) for sense in ("phone", "watch")},
    num_classes=CLASSES,
    dropout=0.3,
  )
  cross_entropy = {"cross_entropy": term("cross_entropy")}
  training = {
    "steps": 20 if smoke else 1000,
    "batch_size": 64,
    "optimizer": optimizer(
      "adamw",
      learning_rate=schedule("cosine", 3e-3, warmup=10 if smoke else 50),
      weight_decay=1e-2,
    ),
    "eval_every": 10 if smoke else 50,
    "log_every": 10 if smoke else 50,
    "save_every": 0,
  }
  distilled_from = lambda name: stage(
    student,
    teachers={"teacher": teacher(name)},
    terms={"kd": term("kd", temperature=2.0)},
    **training,
  )
  return experiment(
    f"har-{mode}",
    seeds=2 if smoke else 10,
    data=data(
      "har",
      people="drawn",
      labels_per_class=labels,
      labelled_fraction=0.25 if labels else None,
      limit=200 if smoke else 0,
      pipelines={
        "train": dict.fromkeys(SENSES, f"jitter|{STATISTICS}"),
        "evaluation": dict.fromkeys(SENSES, STATISTICS),
      },
    ),
    stages={
      "teacher": stage(both, terms=cross_entropy, **training),
      "alone": stage(student, terms=cross_entropy, **training),
      "distilled": distilled_from("teacher"),
      "echoed": distilled_from("alone"),
    },
    gains=(
      ("distilled", "alone"),
      ("distilled", "echoed"),
      ("echoed", "alone"),
    ),
  )
