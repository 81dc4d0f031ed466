"""Distillation results with a closed form.

Linear students with initial weights 0 learn by gradient descent from the soft
labels of a linear teacher. With 200 examples of 51 numbers they converge to the
teacher, with 16 to its projection onto the span of the examples (Phuong and
Lampert, ICML 2019, arXiv:2105.13093, Theorem 1). In addition two identities of
losses: KD's gradient at a high temperature (Hinton et al., arXiv:1503.02531,
Eq. (4)), and the two parts of decoupled distillation (arXiv:2203.08679,
Eq. (7)).

  kdjax reproduce closed_forms
  kdjax run --config=configs/papers/closed_forms.py --workdir=runs/closed

RESULTS.md has the expected results: distances from theory, at rounding error.
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

# stage -> number of its training examples.
SIZES = {"many": 200, "few": 16}


def get_config() -> ConfigDict:
  """The experiment."""
  knobs = {
    "eval_every": 0,
    "save_every": 0,
    "steps_per_call": 50,
    "predictions": False,
  }
  stages = {
    "teacher": stage(
      _linear("pytorch"),
      terms={"cross_entropy": term("cross_entropy")},
      steps=100,
      log_every=100,
      batch_size=200,
      **knobs,
    )
  }
  for name, size in SIZES.items():
    stages[name] = stage(
      _linear("zeros"),
      teachers={"teacher": teacher("teacher", which="last")},
      terms={"kd": term("kd", temperature=1.0)},
      steps=4000,
      log_every=4000,
      batch_size=size,
      optimizer=optimizer("sgd", learning_rate=0.3, momentum=0.0),
      data=ConfigDict({"train_size": size}),
      **knobs,
    )
  return experiment(
    "closed_forms",
    seeds=3,
    seed_axis="vmap",
    data=data("lopez_paz"),
    stages=stages,
  )


def published() -> dict[str, list[dict]]:
  """The rows: distances from theory."""
  form = lambda text, name, tolerance, stage="": result(
    text, stage, 0.0, tolerance, metric=f"closed_forms:{name}"
  )
  return {
    "": [
      form("students of 200 examples, from w*", "theorem_1", 1e-4, "many"),
      form("students of 16, from its projection", "theorem_1", 1e-4, "few"),
      form(
        "gradient of KD, T = 300, from (z - v) / N", "high_temperature", 0.02
      ),
      form("KD, from TCKD + (1 - p) NCKD", "decoupled", 1e-5),
    ]
  }


def _linear(start: str) -> ConfigDict:
  """A linear classifier of 50 numbers, two classes."""
  return network(
    "mlp", num_classes=2, widths=(), modality="regular", start=start
  )
