"""CIFAR-100 with RepDistiller's recipe, for any pair of networks and method.

  kdjax run --workdir=runs/cifar100 \
    --config=configs/cifar100.py:resnet32x4-resnet8x4,method=kd \
    --config.data.root=data
  kdjax run --config=configs/cifar100.py:cpu --workdir=runs/cifar100-cpu \
    --config.data.root=data
  kdjax run --config=configs/cifar100.py:smoke --workdir=runs/cifar100-smoke \
    --config.data.root=data

The argument is "teacher-student,method=name". The recipe: SGD with learning
rate 0.05, momentum 0.9 (not Nesterov) and weight decay 5e-4, batches of 64, 240
epochs, the rate divided by 10 after 150, 180 and 210; crops with 4 pixels of
padding and flips; results of the last epoch (`accuracy_last` in the report).
All 50,000 images train, as in RepDistiller: `validation` is a part of them, so
the best step on it has no meaning here.

Published accuracy in % (RepDistiller's table; mean of 5, test, last epoch):

  pair                   teacher  alone   KD     SP     CRD    DKD (best)
  resnet32x4-resnet8x4   79.42    72.50   73.33  72.94  75.51  76.32
  wrn_40_2-wrn_16_2      75.61    73.26   74.92  73.83  75.48  76.23
  resnet56-resnet20      72.34    69.06   70.66  69.67  71.16  71.97
  resnet32x4-shuffle_v2  79.42    71.82   74.45  74.56  75.65  77.07

The recipe is not measured here yet: it needs an accelerator.

"cpu" is small enough for two cores: 16x16 pixels, the 20 groups as classes,
10,000 training images, ten epochs. The teacher is resnet8 with twice the
channels. Expected accuracy on 10,000 test images, 3 seeds, ten minutes on two
cores:

  teacher    0.361 ± 0.006
  alone      0.340 ± 0.001
  kd         0.349 ± 0.006, gain +0.009 ± 0.004, better in 3 of 3 seeds

A deeper teacher, resnet20, has a lower accuracy than the student after so few
steps (0.282), and lowers the student's by 0.031 ± 0.005. "smoke" is one epoch
of 2,000 images, resnet20 to resnet8, to see that it runs.
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

# RepDistiller's name -> a file of `kdjax/models`, and its options.
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
  """The experiment: "teacher-student" or "teacher-student,method=name".

  Or "cpu" or "smoke".
  """
  pairs = {"cpu": "resnet8x2-resnet8", "smoke": "resnet20-resnet8"}
  pair = pairs.get(argument, argument)
  pair, _, name = pair.partition(",method=")
  large, _, small = pair.partition("-")
  for architecture in (large, small):
    mode_of(architecture, *NETWORKS)
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
  """A quarter of the pixels, a fifth of the classes and of the images."""
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
  """A teacher, a student alone, and the student with a method."""
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
  base = extended(alone, {}, teachers={"teacher": teacher("teacher")})
  distilled = method(name, base, taps=_taps(name, large, small))
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
      **distilled,
    },
    gains=((list(distilled)[-1], "alone"),),
  )


def _network(name: str, classes: int) -> ConfigDict:
  file, options = NETWORKS[name]
  return network(file, num_classes=classes, **options)


def _taps(name: str, large: str, small: str) -> dict:
  """RepDistiller's maps: stage1 to 3; a single map is the last, for hints the
  middle one. In a wide ResNet they are the sums before BatchNorm and ReLU.
  """
  index = 1 if name == "fitnet" else 2

  def taps_of(role, architecture):
    output = "residual" if architecture.startswith("wrn") else "stage"
    maps = tuple(f"{role}/{output}{stage}" for stage in (1, 2, 3))
    return {f"{role}_map": maps[index], f"{role}_maps": maps}

  return taps_of("teacher", large) | taps_of("student", small)
