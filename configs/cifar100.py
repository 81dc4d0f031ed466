"""CIFAR-100 by RepDistiller's recipe: a pair of networks and a method.

  kdjax run --workdir=runs/cifar100 \
    --config=configs/cifar100.py:resnet32x4-resnet8x4,method=kd \
    --config.data.root=../shared/data
  kdjax run --config=configs/cifar100.py:smoke --workdir=runs/cifar100-smoke \
    --config.data.root=../shared/data

The recipe, to the letter: SGD of 0.05 with momentum 0.9 (not Nesterov's) and
weight decay 5e-4, batches of 64, 240 epochs, a tenth of the rate after 150, 180
and 210; crops of 4 pixels' padding and flips; the last epoch counts (the report
names it `accuracy_last`). All 50,000 pictures train, as there: `validation` is
part of them, so that the best step by it means nothing here.

To expect, on a GPU, from RepDistiller's table (mean of 5; test, last epoch):

  pair                   teacher  alone   KD     SP     CRD    DKD (best)
  resnet32x4-resnet8x4   79.42    72.50   73.33  72.94  75.51  76.32
  wrn_40_2-wrn_16_2      75.61    73.26   74.92  73.83  75.48  76.23
  resnet56-resnet20      72.34    69.06   70.66  69.67  71.16  71.97
  resnet32x4-shuffle_v2  79.42    71.82   74.45  74.56  75.65  77.07

They are not measured here yet: no accelerator was at hand. "smoke" is an epoch
of 2,000 pictures, resnet20 to resnet8, to see that it works on a CPU.
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
  schedule,
  stage,
  teacher,
  term,
)

CLASSES = 100

# RepDistiller's name -> the file of `kdjax/models`, and its options.
NETWORKS = {
  "resnet8": ("resnet_cifar", {"depth": 8}),
  "resnet14": ("resnet_cifar", {"depth": 14}),
  "resnet20": ("resnet_cifar", {"depth": 20}),
  "resnet32": ("resnet_cifar", {"depth": 32}),
  "resnet44": ("resnet_cifar", {"depth": 44}),
  "resnet56": ("resnet_cifar", {"depth": 56}),
  "resnet110": ("resnet_cifar", {"depth": 110}),
  "resnet8x4": ("resnet_cifar", {"depth": 8, "widths": (32, 64, 128, 256)}),
  "resnet32x4": ("resnet_cifar", {"depth": 32, "widths": (32, 64, 128, 256)}),
  "resnet50": ("resnet", {"depth": 50, "stem": "cifar"}),
  "wrn_16_1": ("wide_resnet", {"depth": 16, "widen": 1}),
  "wrn_16_2": ("wide_resnet", {"depth": 16, "widen": 2}),
  "wrn_40_1": ("wide_resnet", {"depth": 40, "widen": 1}),
  "wrn_40_2": ("wide_resnet", {"depth": 40, "widen": 2}),
  "vgg8": ("vgg", {"depth": 8}),
  "vgg13": ("vgg", {"depth": 13}),
  "mobilenet_v2": ("mobilenet_v2", {}),
  "shuffle_v1": ("shufflenet_v1", {}),
  "shuffle_v2": ("shufflenet_v2", {}),
}

NORMALIZE = (
  "to_float|normalize(mean=(0.5071, 0.4867, 0.4408),"
  " std=(0.2675, 0.2565, 0.2761))"
)

BATCH, EPOCHS = 64, 240


def get_config(argument: str = "resnet32x4-resnet8x4,method=kd") -> ConfigDict:
  """The experiment: "teacher-student", ",method=name" behind it, or "smoke"."""
  smoke = argument == "smoke"
  pair = "resnet20-resnet8" if smoke else argument
  pair, _, name = pair.partition(",method=")
  large, _, small = pair.partition("-")
  for one in (large, small):
    mode_of(one, *NETWORKS)
  epochs = 1 if smoke else EPOCHS
  steps = 2000 // BATCH if smoke else 50_000 * epochs // BATCH
  knobs = {
    "steps": steps,
    "batch_size": BATCH,
    "optimizer": optimizer(
      "sgd",
      learning_rate=schedule(
        "step", 0.05, milestones=(150 / 240, 180 / 240, 210 / 240), factor=0.1
      ),
      momentum=0.9,
      weight_decay=5e-4,
    ),
    "eval_every": steps if smoke else 50_000 // BATCH * 10,
    "log_every": 10 if smoke else 100,
    "save_every": 0 if smoke else 50_000 // BATCH * 10,
  }
  labels = {"cross_entropy": term("cross_entropy")}
  alone = stage(_network(small), terms=labels, **knobs)
  taught = extended(alone, {}, teachers={"teacher": teacher("teacher")})
  made = method(name or "kd", taught, taps=_taps(large, small))
  return experiment(
    f"cifar100-{pair}",
    seeds=1 if smoke else 3,
    data=data(
      "cifar100",
      keep_validation_in_train=True,
      limit=2000 if smoke else 0,
      pipelines={
        "train": {"image": f"crop(padding=4)|flip|{NORMALIZE}"},
        "evaluation": {"image": NORMALIZE},
      },
    ),
    stages={
      "teacher": stage(_network(large), terms=labels, **knobs),
      "alone": alone,
      **made,
    },
    gains=((list(made)[-1], "alone"),),
  )


def _network(name: str) -> ConfigDict:
  file, options = NETWORKS[name]
  return network(file, num_classes=CLASSES, **options)


def _taps(large: str, small: str) -> dict:
  """Where methods find maps: RepDistiller's hint is stage2 of stage0 to 3."""

  def of(owner, name):
    # Of a wide ResNet it takes the sums before BatchNorm and ReLU.
    tap = "residual" if name.startswith("wrn") else "stage"
    maps = tuple(f"{owner}/{tap}{place}" for place in (1, 2, 3))
    return {f"{owner}_map": maps[1], f"{owner}_maps": maps}

  return of("teacher", large) | of("student", small)
