"""Digits in int8: what rounding costs a distilled student, and training it.

Data: scikit-learn's 1,797 handwritten digits, 3 labels a class; the other
images have none. A small network learns from a large one as usual, then goes on
for a sixth of the steps while its inputs and kernels are rounded to int8
(`quantize="int8"`), under the same teacher and terms. All its results are those
of the rounded network.

  teacher    a large network; cross-entropy on labelled images
  distilled  a small one; cross-entropy, and KD on all images
  longer     starts from `distilled`, goes on in floats
  rounded    starts from `distilled`, with int8 and a learning rate of 0: only
             the ranges of activations are measured
  quantized  starts from `distilled`, goes on with int8

  kdjax run --config=configs/quantized.py --workdir=runs/quantized
  kdjax run --config=configs/quantized.py:smoke --workdir=runs/quantized-smoke

Expected accuracy on 400 test digits, 3 seeds, about 50 s of one CPU core:

  teacher    0.772 ± 0.047
  distilled  0.735 ± 0.055
  longer     0.741 ± 0.054, over distilled +0.006
  rounded    0.735 ± 0.057, over distilled +0.000 ± 0.001
  quantized  0.739 ± 0.054, over distilled +0.004 ± 0.001
                            over longer -0.002 ± 0.001

int8 costs this network at most 0.002, with or without training; what
`quantized` gains over `rounded` (+0.004 ± 0.002) are its further steps.
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

CLASSES = 10


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; "" or "smoke"."""
  smoke = mode_of(argument, "smoke") == "smoke"
  large = network("conv", widths=(32, 64), num_classes=CLASSES, dropout=0.1)
  small = lambda **origin: network(
    "conv", widths=(8, 16), num_classes=CLASSES, **origin
  )
  labels = lambda weight=1.0: {
    "cross_entropy": term("cross_entropy", weight=weight)
  }

  def training(steps, rate):
    steps = 20 if smoke else steps
    return {
      "steps": steps,
      "batch_size": 64,
      "optimizer": optimizer(
        "adamw", learning_rate=schedule("cosine", rate), weight_decay=1e-2
      ),
      "eval_every": steps // 4,
      "log_every": 10,
      "save_every": 0,
    }

  def taught(steps, rate, origin="", **knobs):
    return stage(
      small(init_from=origin) if origin else small(),
      teachers={"teacher": teacher("teacher")},
      terms={**labels(weight=0.1), "kd": term("kd", temperature=4.0)},
      **training(steps, rate),
      **knobs,
    )

  return experiment(
    "int8 digits",
    seeds=2 if smoke else 3,
    data=data("digits", labels_per_class=3, labelled_fraction=0.25),
    stages={
      "teacher": stage(large, terms=labels(), **training(300, 3e-3)),
      "distilled": taught(600, 3e-3),
      "longer": taught(100, 1e-3, "distilled"),
      "rounded": taught(100, 0.0, "distilled", quantize="int8"),
      "quantized": taught(100, 1e-3, "distilled", quantize="int8"),
    },
    gains=(
      ("rounded", "distilled"),
      ("quantized", "distilled"),
      ("quantized", "longer"),
      ("quantized", "rounded"),
    ),
  )
