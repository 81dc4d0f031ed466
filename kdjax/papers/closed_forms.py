"""Distances of our results from theory.

Each function returns a distance that is 0 up to rounding, unless its docstring
says otherwise.
"""

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import registry
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.training import restore, workdir

# Shape and seed of the logits on which losses are compared.
_SHAPE, _SEED = (64, 7), 11


def theorem_1(folder: pathlib.Path, stage: str) -> list[float]:
  """Distance of linear students from the limit of gradient descent.

    w = w* if the examples span the input space, else X'(XX')^-1 X w*

  with w the difference between the weights and biases of two classes, w* that
  of the teacher, and X the training examples, each with a 1 for the bias. The
  distance falls with further steps.

  Phuong and Lampert, "Towards Understanding Knowledge Distillation", ICML 2019,
  arXiv:2105.13093, Theorem 1.

  Args:
    folder: the workdir of a run.
    stage: has a linear teacher and a linear student with initial weights 0.

  Returns:
    |w - limit| / |w*| for each seed.
  """
  config = workdir.read_config(folder)
  built = build.build(config, stage)
  (teacher,) = built.config["teachers"].values()
  modality = built.config["networks"]["student"]["modality"]
  distances = []
  for seed in range(config["seed"], config["seed"] + config["seeds"]):
    weights = lambda name, seed=seed: _weights(folder, name, seed)
    columns = built.load("train", seed).columns
    rows = np.asarray(columns[modality], np.float64)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    target = weights(teacher["stage"])
    limit = np.linalg.lstsq(rows, rows @ target, rcond=None)[0]
    distance = np.linalg.norm(weights(stage) - limit)
    distances.append(float(distance / np.linalg.norm(target)))
  return distances


def high_temperature(*_) -> list[float]:
  """Distance of the gradient of `kd` from (z - v) / N at a high temperature.

  z and v are the student's and the teacher's logits, each with mean 0, and N is
  the number of classes. The distance falls as 1 / T.

  Hinton, Vinyals and Dean, arXiv:1503.02531, Eq. (4).

  Returns:
    The largest difference divided by the largest (z - v) / N.
  """
  kd = registry.find("losses", "kd")
  student, teacher, _ = _logits()
  total = lambda z: jnp.sum(kd(z, teacher, temperature=300.0))
  limit = np.asarray(student - teacher) / _SHAPE[1]
  difference = np.abs(np.asarray(jax.grad(total)(student)) - limit)
  return [float(difference.max() / np.abs(limit).max())]


def decoupled(*_) -> list[float]:
  """Distance of `kd` from `tckd` + (1 - p) `nckd`.

  p is the probability that the teacher assigns to the label.

  Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679,
  Eq. (7).

  Returns:
    The largest difference divided by the largest loss.
  """
  student, teacher, label = _logits()
  loss = lambda name, *labels: registry.find("losses", name)(
    student, teacher, *labels, temperature=2.0
  )
  p = jax.nn.softmax(teacher / 2.0)[jnp.arange(len(label)), label]
  parts = loss("tckd", label) + (1.0 - p) * loss("nckd", label)
  whole = loss("kd")
  return [float(jnp.max(jnp.abs(whole - parts)) / jnp.max(whole))]


FORMS: dict[str, Callable] = {
  "theorem_1": theorem_1,
  "high_temperature": high_temperature,
  "decoupled": decoupled,
}


def distance(name: str, folder: pathlib.Path, stage: str) -> list[float]:
  """The distance from a closed form, for every seed of the run.

  Args:
    name: one of FORMS; an identity of losses has one distance and no run.
    folder: the workdir of the run.
    stage: the stage that is compared.

  Raises:
    UserError: no closed form has the name.
  """
  if name not in FORMS:
    raise UserError(
      f"The closed form '{name}' does not exist.", exists=FORMS, near=name
    )
  return FORMS[name](folder, stage)


def _weights(folder: pathlib.Path, stage: str, seed: int) -> np.ndarray:
  """The difference between the weights of two classes, with the bias last."""
  _, variables = restore.restore(folder, stage, seed=seed, which="last")
  head = variables["params"]["head"]
  both = np.concatenate([head["kernel"], head["bias"][None]]).astype(np.float64)
  return both[:, 1] - both[:, 0]


def _logits():
  """Random logits with mean 0 of a student and a teacher, and labels."""
  rng = np.random.default_rng(_SEED)
  logits = rng.normal(scale=3.0, size=(2, *_SHAPE))
  logits = jnp.asarray(logits - logits.mean(-1, keepdims=True), jnp.float32)
  label = jnp.asarray(rng.integers(_SHAPE[1], size=_SHAPE[0]), jnp.int32)
  return logits[0], logits[1], label
