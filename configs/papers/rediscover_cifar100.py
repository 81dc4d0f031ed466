"""CIFAR-100, resnet32x4 to resnet8x4: RepDistiller's row of four methods.

A teacher, a student alone, and the student with KD, SP, CRD and DKD, in one
run.

  kdjax reproduce rediscover_cifar100:full      on a GPU
  kdjax reproduce rediscover_cifar100:epochs30
  kdjax reproduce rediscover_cifar100:cpu
  kdjax run --config=configs/papers/rediscover_cifar100.py:cpu \\
    --workdir=runs/rediscover --config.data.root=data

"full" is the recipe: SGD with learning rate 0.05, momentum 0.9 (not Nesterov)
and weight decay 5e-4, batches of 64, 240 epochs, the rate divided by 10 after
150, 180 and 210; crops with 4 pixels of padding and flips; all 50,000 images
train; results of the last epoch. Five seeds, all in one step on an accelerator.
"epochs60" and "epochs30" have a quarter and an eighth of the epochs, milestones
in proportion, and three seeds: the published numbers are not expected.

"cpu" shows that it runs: two epochs of 2,000 images, resnet20 to resnet8, one
seed; its numbers have no meaning.

Published accuracy in % (RepDistiller's table; mean of 5, test, last epoch; DKD
from its paper, best epoch): teacher 79.42, alone 72.50, KD 73.33, SP 72.94, CRD
75.51, DKD 76.32. "full" is not measured here yet: it needs an accelerator.
"""

from kdjax.config import (
  ConfigDict,
  data,
  experiment,
  extended,
  method,
  mode_of,
  network,
  optimizer,
  result,
  schedule,
  stage,
  teacher,
  term,
)

# It takes hours on an accelerator: `kdjax reproduce` runs it only by name.
ON_REQUEST = True

WIDE = (32, 64, 128, 256)
PAIR = (
  {"depth": 32, "widths": WIDE},
  {"depth": 8, "widths": WIDE},
)
SMALL_PAIR = ({"depth": 20}, {"depth": 8})

# mode -> epochs.
EPOCHS = {"full": 240, "epochs60": 60, "epochs30": 30, "cpu": 2}
BATCH = 64

# SP reads the last map; DKD's weight is its paper's for this pair.
METHODS = {
  "kd": {},
  "sp": {"student_map": "student/stage3", "teacher_map": "teacher/stage3"},
  "crd": {},
  "dkd": {"nckd_weight": 8.0},
}

NORMALIZE = (
  "normalize(mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761))"
)


def get_config(argument: str = "full") -> ConfigDict:
  """The experiment; one of EPOCHS."""
  mode = mode_of(argument, *EPOCHS) or "full"
  cpu = mode == "cpu"
  large, small = SMALL_PAIR if cpu else PAIR
  images = 2000 if cpu else 50_000
  epoch = images // BATCH
  knobs = {
    "steps": EPOCHS[mode] * images // BATCH,
    "batch_size": BATCH,
    "optimizer": optimizer(
      "sgd",
      learning_rate=schedule(
        "step", 0.05, milestones=(150 / 240, 180 / 240, 210 / 240), factor=0.1
      ),
      momentum=0.9,
      weight_decay=5e-4,
    ),
    # Results of the last epoch: validation is part of training.
    "eval_every": 0,
    "log_every": epoch if cpu else 100,
    "save_every": 0 if cpu else 10 * epoch,
    "predictions": False,
  }
  labels = {"cross_entropy": term("cross_entropy")}
  alone = stage(_network(small), terms=labels, **knobs)
  base = extended(
    alone, {}, teachers={"teacher": teacher("teacher", which="last")}
  )
  stages = {
    "teacher": stage(_network(large), terms=labels, **knobs),
    "alone": alone,
  }
  for name, options in METHODS.items():
    if cpu and name == "crd":
      options = {"negatives": 512}
    stages |= method(name, base, **options)
  return experiment(
    f"rediscover_cifar100_{mode}",
    seeds={"full": 5, "cpu": 1}.get(mode, 3),
    data=data(
      "cifar100",
      keep_validation_in_train=True,
      limit=2000 if cpu else 0,
      pipelines={
        "train": {"image": f"crop(padding=4)|flip|to_float|{NORMALIZE}"},
        "evaluation": {"image": f"to_float|{NORMALIZE}"},
      },
    ),
    stages=stages,
    gains=tuple((name, "alone") for name in METHODS),
  )


def published() -> dict[str, list[dict]]:
  """RepDistiller's row, for the recipe and its shorter modes."""
  row = {
    "teacher": 0.7942,
    "alone": 0.7250,
    "kd": 0.7333,
    "sp": 0.7294,
    "crd": 0.7551,
    "dkd": 0.7632,
  }
  tables = {}
  for mode, epochs in EPOCHS.items():
    note = "" if mode == "full" else f"{epochs} of 240 epochs, not the recipe"
    if mode == "cpu":
      note = "other networks, to see that it works"
    tables[mode] = [
      result(
        f"resnet32x4 to resnet8x4, {name}" if mode != "cpu" else name,
        name,
        None if mode == "cpu" else number,
        0.005,
        note=note or ("published at its best epoch" if name == "dkd" else ""),
      )
      for name, number in row.items()
    ]
  return tables


def _network(options: dict) -> ConfigDict:
  return network("resnet_cifar", num_classes=100, **options)
