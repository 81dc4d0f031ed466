"""CIFAR-100 by RepDistiller's recipe: a pair of networks and a method.

  kdjax run --workdir=runs/cifar100 \
    --config=configs/cifar100.py:resnet32x4-resnet8x4,method=kd \
    --config.data.root=../shared/data
  kdjax run --config=configs/cifar100.py:cpu --workdir=runs/cifar100-cpu \
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

They are not measured here yet: no accelerator was at hand.

"cpu" is small enough for two cores: pictures of 16x16, the 20 groups for
classes, 10,000 pictures for training, ten epochs. The teacher is resnet8 with
twice the channels. To expect, three seeds, 10,000 test pictures, ten minutes on
two cores:

  teacher    .361 +- .006
  alone      .340 +- .001
  distilled  .349 +- .006, gain +.009 +- .004, better in 3 of 3 seeds

A deeper teacher, resnet20, is worse than the student after so few steps (.282),
and takes .031 +- .005 from it. "smoke" is an epoch of 2,000 pictures, resnet20
to resnet8, to see that it works.
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
  "resnet8x2": ("resnet_cifar", {"depth": 8, "widths": (32, 32, 64, 128)}),
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
  "normalize(mean=(0.5071, 0.4867, 0.4408), std=(0.2675, 0.2565, 0.2761))"
)

BATCH, EPOCHS = 64, 240


def get_config(argument: str = "resnet32x4-resnet8x4,method=kd") -> ConfigDict:
  """The experiment: "teacher-student" and maybe ",method=name" behind it.

  Or "cpu" or "smoke".
  """
  pairs = {"cpu": "resnet8x2-resnet8", "smoke": "resnet20-resnet8"}
  pair = pairs.get(argument, argument)
  pair, _, name = pair.partition(",method=")
  large, _, small = pair.partition("-")
  for one in (large, small):
    mode_of(one, *NETWORKS)
  if argument == "cpu":
    return _on_cpu(large, small)
  smoke = argument == "smoke"
  epoch = 2000 // BATCH if smoke else 50_000 // BATCH
  return _experiment(
    large,
    small,
    name or "kd",
    steps=epoch if smoke else 50_000 * EPOCHS // BATCH,
    every=epoch if smoke else 10 * epoch,
    seeds=1 if smoke else 3,
    options={"keep_validation_in_train": True, "limit": 2000 if smoke else 0},
  )


def _on_cpu(large: str, small: str) -> ConfigDict:
  """A quarter of the pixels, a fifth of the classes and of the pictures."""
  shrunk = "to_float|resize(size=16)"
  return _experiment(
    large,
    small,
    "kd",
    steps=1500,
    every=150,
    rate=0.1,
    classes=20,
    options={"coarse": True, "train_size": 10_000, "validation": 2000},
    train=f"{shrunk}|crop(padding=2)|flip|{NORMALIZE}",
    evaluation=f"{shrunk}|{NORMALIZE}",
  )


def _experiment(
  large: str,
  small: str,
  name: str,
  *,
  steps: int,
  every: int,
  options: dict,
  seeds: int = 3,
  rate: float = 0.05,
  classes: int = CLASSES,
  train: str = f"crop(padding=4)|flip|to_float|{NORMALIZE}",
  evaluation: str = f"to_float|{NORMALIZE}",
) -> ConfigDict:
  """A teacher, a student alone, and the student by a method."""
  knobs = {
    "steps": steps,
    "batch_size": BATCH,
    "optimizer": optimizer(
      "sgd",
      learning_rate=schedule(
        "step", rate, milestones=(150 / 240, 180 / 240, 210 / 240), factor=0.1
      ),
      momentum=0.9,
      weight_decay=5e-4,
    ),
    "eval_every": every,
    "log_every": min(every // 3, 100),
    "save_every": every if every < steps else 0,
  }
  labels = {"cross_entropy": term("cross_entropy")}
  alone = stage(_network(small, classes), terms=labels, **knobs)
  taught = extended(alone, {}, teachers={"teacher": teacher("teacher")})
  made = method(name, taught, taps=_taps(name, large, small))
  return experiment(
    f"cifar100-{large}-{small}",
    seeds=seeds,
    data=data(
      "cifar100",
      **options,
      pipelines={
        "train": {"image": train},
        "evaluation": {"image": evaluation},
      },
    ),
    stages={
      "teacher": stage(_network(large, classes), terms=labels, **knobs),
      "alone": alone,
      **made,
    },
    gains=((list(made)[-1], "alone"),),
  )


def _network(name: str, classes: int) -> ConfigDict:
  file, options = NETWORKS[name]
  return network(file, num_classes=classes, **options)


def _taps(name: str, large: str, small: str) -> dict:
  """RepDistiller's maps, stage1 to 3; one map is the last, a hint the middle.

  Of a wide ResNet it takes the sums before BatchNorm and ReLU.
  """
  place = 1 if name == "fitnet" else 2

  def of(owner, network):
    tap = "residual" if network.startswith("wrn") else "stage"
    maps = tuple(f"{owner}/{tap}{stage}" for stage in (1, 2, 3))
    return {f"{owner}_map": maps[place], f"{owner}_maps": maps}

  return of("teacher", large) | of("student", small)
