"""Pairs of a teacher and a student of common sizes, for `kdjax bench pairs`.

They match the networks, batches and losses of a plain PyTorch loop. `differs`
describes where `kdjax/models` has no equal network.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kdjax import config, registry
from kdjax.config.fields import ConfigDict

# The weight and the temperature of the KD term.
WEIGHT, TEMPERATURE = 0.9, 4.0


@dataclasses.dataclass(frozen=True)
class Pair:
  """A teacher, a student and their random data.

  Attributes:
    teacher: from `config.network`.
    student: from `config.network`.
    batch_size: of a step.
    columns: (rng, rows) -> random arrays by key, without labels.
    classes: the number of classes.
    differs: how it differs from the PyTorch networks; "" if it does not.
    variants: of the PyTorch loop that are timed.
    batches: how many batches of examples the data set has.
    optimizer: of the student.
  """

  teacher: ConfigDict
  student: ConfigDict
  batch_size: int
  columns: Callable[[np.random.Generator, int], dict[str, np.ndarray]]
  classes: int
  differs: str = ""
  variants: tuple[str, ...] = ("eager",)
  batches: int = 4
  optimizer: ConfigDict = dataclasses.field(
    default_factory=lambda: config.optimizer("adamw", weight_decay=0.01)
  )


def pairs() -> dict[str, Pair]:
  """All pairs by name."""
  return {
    "conv": _conv(),
    "vit": _vit(),
    "bert": _bert(),
    "mlp": _mlp(),
    "av": _av(),
  }


def experiment(name: str, pair: Pair, **changes) -> ConfigDict:
  """A pair as an experiment of one seed on random examples.

  Args:
    name: of the pair.
    pair: its networks and data.
    **changes: knobs of the experiment, with their new values.

  Returns:
    An experiment with the stages "teacher", "alone" (cross-entropy), "online",
    "separate" and "cached" (cross-entropy and KD).
  """
  rng = np.random.default_rng(0)
  rows = pair.batches * pair.batch_size
  columns = pair.columns(rng, rows)
  label = rng.permutation(np.arange(rows) % pair.classes).astype(np.int32)
  dataset = f"speed-{name}"
  registry.find("data", "arrays").hold(dataset, {**columns, "label": label})
  labels = {"cross_entropy": config.term("cross_entropy")}
  knobs = {"batch_size": pair.batch_size, "optimizer": pair.optimizer}

  def distilled(**options):
    kd = config.term("kd", weight=WEIGHT, temperature=TEMPERATURE)
    return config.stage(
      pair.student,
      teachers={"teacher": config.teacher("teacher", **options)},
      terms={**labels, "kd": kd},
      **knobs,
    )

  return config.experiment(
    name,
    **{"seeds": 1, **changes},
    data=config.data("arrays", held=dataset, validation=0.0, test=0.0),
    stages={
      "teacher": config.stage(pair.teacher, terms=labels, **knobs),
      "alone": config.stage(pair.student, terms=labels, **knobs),
      "online": distilled(),
      "separate": distilled(separate=True),
      "cached": distilled(cache="auto"),
    },
  )


def _noise(**shapes) -> Callable[..., Mapping[str, Any]]:
  """Columns of normal float32 arrays with these shapes."""
  return lambda rng, rows: {
    key: rng.normal(size=(rows, *shape)).astype(np.float32)
    for key, shape in shapes.items()
  }


def _conv() -> Pair:
  network = lambda depth: config.network(
    "resnet_cifar", depth=depth, widths=(32, 64, 128, 256), num_classes=100
  )
  return Pair(
    teacher=network(32),
    student=network(8),
    batch_size=64,
    columns=_noise(image=(32, 32, 3)),
    classes=100,
    variants=("eager", "cl"),
    optimizer=config.optimizer("sgd", learning_rate=0.05, weight_decay=5e-4),
  )


def _vit() -> Pair:
  network = lambda depth, width, heads: config.network(
    "patch_transformer",
    depth=depth,
    width=width,
    heads=heads,
    patch=4,
    pooling="cls",
    num_classes=100,
  )
  return Pair(
    teacher=network(12, 384, 6),
    student=network(6, 192, 3),
    batch_size=64,
    columns=_noise(image=(32, 32, 3)),
    classes=100,
    differs="GELU by its tanh approximation, not exact",
  )


def _bert() -> Pair:
  words, length = 30522, 64
  network = lambda depth, width, heads: config.network(
    "text_transformer",
    vocabulary=words,
    depth=depth,
    width=width,
    heads=heads,
    length=length,
    num_classes=2,
  )

  def columns(rng, rows):
    lengths = rng.integers(length // 2, length + 1, size=(rows, 1))
    return {
      "text": rng.integers(words, size=(rows, length)).astype(np.int32),
      "mask/text": np.arange(length)[None] < lengths,
    }

  return Pair(
    teacher=network(6, 384, 12),
    student=network(3, 192, 4),
    batch_size=32,
    columns=columns,
    classes=2,
    differs=(
      "pre-norm, not post-norm; mean over words, not a dense layer on the first"
      " one; no token type embedding; GELU by its tanh approximation, not exact"
    ),
  )


def _mlp() -> Pair:
  network = lambda width: config.network(
    "mlp", widths=(width, width), num_classes=10
  )
  return Pair(
    teacher=network(1200),
    student=network(800),
    batch_size=128,
    columns=_noise(image=(28, 28, 1)),
    classes=10,
    # A whole chunk of a cache: its fixed cost is large for this small teacher.
    batches=32,
  )


def _av() -> Pair:
  widths = (6, 12, 24, 48)
  image = config.network("conv", widths=widths)
  sound = config.network("conv", widths=(*widths, 96, 192), modality="sound")
  return Pair(
    teacher=config.network(
      "fusion",
      encoders={"image": image, "sound": sound},
      width=50,
      num_classes=10,
    ),
    student=config.network("conv", widths=widths, num_classes=10),
    batch_size=128,
    columns=_noise(image=(28, 28, 1), sound=(112, 112, 1)),
    classes=10,
    variants=("eager", "cl"),
    differs=(
      "first kernels of 3x3, not 5x5; mean of the last feature map, not its"
      " maximum; a layer of width 50 per modality, not one of 100 for both"
    ),
  )
