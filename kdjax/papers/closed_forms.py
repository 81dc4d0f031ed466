"""What theory says of distillation, and how far ours is from it.

Each function gives a distance, which is 0 but for rounding (or, where it is
said, for steps that are still to come).
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

# Of the logits on which losses are compared.
_SHAPE, _SEED = (64, 7), 11


def theorem_1(folder: pathlib.Path, stage: str) -> list[float]:
  """How far linear students are from where gradient descent must end.

    w = w* where the examples span all of space, else X'(XX')^-1 X w*

  with w the difference of the two classes' weights and bias, w* the teacher's,
  and X the training examples, each with a 1 for the bias.

  Phuong and Lampert, "Towards Understanding Knowledge Distillation", ICML 2019,
  arXiv:2105.13093, Theorem 1.

  Args:
    folder: the workdir.
    stage: whose student started from 0, its teacher likewise linear.

  Returns:
    |w - that| / |w*| of each seed.
  """
  config = workdir.read_config(folder)
  built = build.build(config, stage)
  (teacher,) = built.config["teachers"].values()
  modality = built.config["networks"]["student"]["modality"]
  found = []
  for place in range(config["seeds"]):
    seed = config["seed"] + place
    weights = lambda name, seed=seed: _weights(folder, name, seed)
    columns = built.load("train", seed).columns
    rows = np.asarray(columns[modality], np.float64)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    theirs = weights(teacher["stage"])
    expected = np.linalg.lstsq(rows, rows @ theirs, rcond=None)[0]
    away = np.linalg.norm(weights(stage) - expected)
    found.append(float(away / np.linalg.norm(theirs)))
  return found


def high_temperature(*_) -> list[float]:
  """How far the gradient of `kd` is from (z - v) / N at a high temperature.

  z and v are the student's and the teacher's logits, of mean 0 each, N the
  number of classes. What is left falls as 1 / T.

  Hinton, Vinyals and Dean, arXiv:1503.02531, Eq. (4).

  Returns:
    The largest difference, in units of the largest (z - v) / N.
  """
  kd = registry.find("losses", "kd")
  student, teacher, _ = _logits()
  total = lambda z: jnp.sum(kd(z, teacher, temperature=300.0))
  limit = np.asarray(student - teacher) / _SHAPE[1]
  away = np.abs(np.asarray(jax.grad(total)(student)) - limit)
  return [float(away.max() / np.abs(limit).max())]


def decoupled(*_) -> list[float]:
  """How far `kd` is from `tckd` + (1 - p) `nckd`.

  p is the teacher's probability of the label's class.

  Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679,
  Eq. (7).

  Returns:
    The largest difference, in units of the largest loss.
  """
  student, teacher, label = _logits()
  loss = lambda name, *more: registry.find("losses", name)(
    student, teacher, *more, temperature=2.0
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
  """The distance from a closed form, of every seed where there are some.

  Args:
    name: one of FORMS.
    folder: the workdir of a run.
    stage: of it.
  """
  if name not in FORMS:
    raise UserError(f"No closed form '{name}'.", exists=FORMS, near=name)
  return FORMS[name](folder, stage)


def _weights(folder: pathlib.Path, stage: str, seed: int) -> np.ndarray:
  """The difference of two classes' weights, and behind them of their biases."""
  _, variables = restore.restore(folder, stage, seed=seed, which="last")
  head = variables["params"]["head"]
  both = np.concatenate([head["kernel"], head["bias"][None]]).astype(np.float64)
  return both[:, 1] - both[:, 0]


def _logits():
  """Of a student and a teacher, of mean 0, and labels."""
  rng = np.random.default_rng(_SEED)
  made = rng.normal(scale=3.0, size=(2, *_SHAPE))
  made = jnp.asarray(made - made.mean(-1, keepdims=True), jnp.float32)
  label = jnp.asarray(rng.integers(_SHAPE[1], size=_SHAPE[0]), jnp.int32)
  return made[0], made[1], label
