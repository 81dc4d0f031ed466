"""Multimodal knowledge expansion, TwoMoon: Xue et al., ICCV 2021.

A teacher that reads one coordinate of two moons is trained on 30 labels.
Students are trained on its pseudo-labels of 270 other points, with input noise;
the student that reads both coordinates is better than the teacher.

  kdjax reproduce twomoon
  kdjax run --config=configs/papers/twomoon.py --workdir=runs/twomoon

  teacher      the first coordinate; 30 labels, 1000 steps
  unimodal     the first coordinate; the teacher's pseudo-labels, 2000 steps
  multimodal   both coordinates; the teacher's pseudo-labels, 2000 steps
  supervised   both coordinates; the 270 true labels, 2000 steps

SGD with learning rate 0.01 on all points, 10 seeds. A student's input is
x + m N(0, 1), drawn in each step, with m the mean of |x| over the 270 points.

"stored=<.npz>" initialises all networks from the arrays of a file, such as
data/mke_twomoon.npz; otherwise the initialisation is PyTorch's.
RESULTS.md has the expected results; it takes half a minute.
"""

from kdjax.config import (
  ConfigDict,
  data,
  experiment,
  network,
  optimizer,
  result,
  stage,
  teacher,
  term,
)

# The mean of |x| over the unlabelled points: one coordinate, and both.
MEAN = {"first": 0.78009, "both": 0.82766}

WIDTHS = {"first": (32, 32), "both": (16, 16)}


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; "" or "stored=<path of an .npz>"."""
  path = argument.partition("stored=")[2]
  steps = 2000
  distillation = {
    "teachers": {"teacher": teacher("teacher", which="last")},
    "data": ConfigDict({"part": "unlabelled"}),
  }
  pseudo = {
    "hard_label": term("hard_label", reads={"student": "student@noisy/logits"})
  }
  true = {"cross_entropy": term("cross_entropy")}
  stages = {
    "teacher": _stage(_network("first", path, "teacher_init"), true, 1000, 30),
    "unimodal": _stage(
      _network("first", path, "init.{seed}.um"),
      pseudo,
      steps,
      270,
      **distillation,
    ),
    "multimodal": _stage(
      _network("both", path, "init.{seed}.mm"),
      pseudo,
      steps,
      270,
      **distillation,
    ),
    "supervised": _stage(
      _network("both", path, "init.{seed}.mm"),
      {
        "cross_entropy": term(
          "cross_entropy", reads={"student": "student@noisy/logits"}
        )
      },
      steps,
      270,
      data=distillation["data"],
    ),
  }
  return experiment(
    "twomoon",
    seeds=10,
    seed_axis="vmap",
    data=data(
      "two_moons",
      last_batch="short",
      pipelines={
        "noisy": {key: f"noise(deviation={mean})" for key, mean in MEAN.items()}
      },
    ),
    stages=stages,
    gains=(("multimodal", "unimodal"), ("multimodal", "teacher")),
  )


def published() -> dict[str, list[dict]]:
  """The paper's table, for its initial weights and for our own."""
  rows = lambda teacher_tolerance, tolerance: [
    result("teacher", "teacher", 0.695, teacher_tolerance),
    result("unimodal student", "unimodal", 0.724, tolerance),
    result("multimodal student", "multimodal", 0.777, tolerance),
    result("multimodal, supervised", "supervised", 0.876, tolerance),
  ]
  return {"stored": rows(1e-6, 0.006), "": rows(0.03, 0.03)}


def _network(view: str, path: str, name: str) -> ConfigDict:
  """A network that reads one view, with its initial weights."""
  layers = {"dense0": f"{name}.0", "dense1": f"{name}.2", "head": f"{name}.4"}
  return network(
    "mlp",
    num_classes=2,
    widths=WIDTHS[view],
    modality=view,
    arrays=(path, layers) if path else None,
  )


def _stage(
  student: ConfigDict, terms: dict, steps: int, count: int, **more
) -> ConfigDict:
  """A stage with all points in one batch, padded to a multiple of 16."""
  return stage(
    student,
    terms=terms,
    steps=steps,
    batch_size=-(-count // 16) * 16,
    optimizer=optimizer("sgd", learning_rate=0.01, momentum=0.0),
    eval_every=0,
    save_every=0,
    log_every=steps,
    steps_per_call=50,
    predictions=False,
    **more,
  )
