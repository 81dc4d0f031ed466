"""Multimodal knowledge expansion, TwoMoon: Xue et al., ICCV 2021.

A teacher that sees one coordinate of two moons learns from 30 labels; students
learn from its pseudo-labels of 270 other points, under noise, and one that sees
both coordinates ends above it.

  kdjax reproduce twomoon
  kdjax run --config=configs/papers/twomoon.py --workdir=runs/twomoon

  teacher      the first coordinate; 30 labels, 1000 steps
  unimodal     the first coordinate; the teacher's pseudo-labels, 2000 steps
  multimodal   both coordinates; likewise
  supervised   both coordinates; the 270 true labels, 2000 steps

SGD of 0.01 on all points at once, 10 seeds. A student's input is x + m N(0, 1),
drawn anew in every step, with m the mean of |x| over the 270 points.

"stored=<.npz>" starts all networks from the arrays of a file, such as
../shared/goldens/mke_twomoon.npz; otherwise they start as PyTorch's do. What to
expect is in RESULTS.md; it takes half a minute.
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

# The mean of |x| over the unlabelled points: of one coordinate, and of both.
MEAN = {"first": 0.78009, "both": 0.82766}

WIDTHS = {"first": (32, 32), "both": (16, 16)}


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; "" or "stored=<path of an .npz>"."""
  path = argument.partition("stored=")[2]
  steps = 2000
  taught = {
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
      _network("first", path, "init.{seed}.um"), pseudo, steps, 270, **taught
    ),
    "multimodal": _stage(
      _network("both", path, "init.{seed}.mm"), pseudo, steps, 270, **taught
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
      data=taught["data"],
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
  """The table of the paper, from its weights and from others."""
  rows = lambda taught, tolerance: [
    result("teacher", "teacher", 0.695, taught),
    result("unimodal student", "unimodal", 0.724, tolerance),
    result("multimodal student", "multimodal", 0.777, tolerance),
    result("multimodal, supervised", "supervised", 0.876, tolerance),
  ]
  return {"stored": rows(1e-6, 0.006), "": rows(0.03, 0.03)}


def _network(view: str, path: str, name: str) -> ConfigDict:
  """A network of one view, and what it starts from."""
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
  """All points in one batch, filled up so that any few devices divide it."""
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
