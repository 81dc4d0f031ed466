"""A first step that is not finite: the error says which number, and where."""

import jax
import numpy as np
import pytest

import kdjax
from kdjax.config import (
  data,
  experiment,
  network,
  optimizer,
  stage,
  teacher,
  term,
)
from kdjax.data import _arrays, arrays
from kdjax.training import initialization
from kdjax.training.faults import DivergedError

N = 48
MASKED = '''
"""A classifier that only allows the first classes."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp


class Model(nn.Module):
  """Linear, with the last class at -inf.

  Attributes:
    num_classes: K.
    broken: whether its weights start as NaN.
    axis_name: unused.
    dtype: unused.
  """

  num_classes: int = 5
  broken: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @property
  def reads(self):
    return ("image",)

  @property
  def needs(self):
    return ("image",)

  @nn.compact
  def __call__(self, inputs, *, train):
    x = inputs["image"].reshape(inputs["image"].shape[0], -1)
    first = nn.initializers.constant(jnp.nan if self.broken else 0.1)
    z = nn.Dense(self.num_classes, name="head", bias_init=first)(x)
    last = jnp.arange(self.num_classes) == self.num_classes - 1
    return {"logits": jnp.where(last[None], -jnp.inf, z)}
'''


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
  path = tmp_path_factory.mktemp("networks") / "masked.py"
  path.write_text(MASKED.lstrip())
  return str(path)


def hold(name, change=lambda image, label: None, classes=4):
  random = np.random.default_rng(0)
  image = random.normal(size=(N, 2, 2, 1)).astype(np.float32)
  label = (np.arange(N) % classes).astype(np.int32)
  change(image, label)
  split = np.array(["train", "train", "validation", "test"] * (N // 4))
  arrays.hold(name, {"image": image, "label": label, "split": split})
  return data("arrays", held=name, classes=tuple("abcde"))


def run(workdir, source, stages):
  # All training examples are in the first batch.
  kdjax.run(experiment("x", data=source, stages=stages, seeds=1), workdir)


def trained(net, terms, **options):
  return stage(
    net,
    terms=terms,
    steps=2,
    optimizer=optimizer("sgd", learning_rate=0.1),
    batch_size=24,
    eval_every=0,
    log_every=1,
    **options,
  )


def message(workdir, source, stages):
  with pytest.raises(DivergedError) as raised:
    run(workdir, source, stages)
  said = str(raised.value)
  assert "learning rate" not in said and "step 1 of seed" in said
  return said


MLP = network("mlp", num_classes=5, widths=(4,))
CE = {"ce": term("cross_entropy")}


@pytest.mark.slow
def test_a_pixel_that_is_nan_is_named(tmp_path, monkeypatch):
  # A data set of arrays refuses it; others may not look.
  monkeypatch.setattr(_arrays, "_check", lambda *_: None)

  def change(image, label):
    image[13, 1, 0, 0] = np.nan

  source = hold("nan_pixel", change)
  said = message(tmp_path, source, {"s": trained(MLP, CE)})
  assert "'batch/image' of example" in said and "is nan at [1, 0, 0]" in said
  assert "(index 13)" in said


@pytest.mark.slow
def test_inputs_that_are_too_large_are_named(tmp_path):
  def change(image, label):
    image *= 1e28
    image[13] = 1e30

  source = hold("large", change)
  said = message(tmp_path, source, {"s": trained(MLP, CE)})
  assert "The largest input is 1e+30, in 'batch/image' of example" in said
  assert "(index 13). Scale the inputs" in said


@pytest.mark.slow
def test_a_transform_that_divides_by_zero_is_named(tmp_path):
  source = hold("flat")
  source["pipelines"] = {"train": {"image": "normalize(std=(0.0,))"}}
  said = message(tmp_path, source, {"s": trained(MLP, CE)})
  assert "'batch/image' of example 0" in said
  assert "after its pipeline. Correct the transforms" in said


@pytest.mark.slow
def test_a_label_of_an_excluded_class_is_named(tmp_path, masked):
  def change(image, label):
    label[13] = 4

  source = hold("excluded_label", change)
  said = message(tmp_path, source, {"s": trained(network(masked), CE)})
  assert "logit of class 4 ('e'), the label of example" in said
  assert "(index 13), is -inf: the term 'ce' is infinite" in said


@pytest.mark.slow
def test_a_class_of_the_teacher_that_the_student_excludes_is_named(
  tmp_path, masked
):
  stages = {
    "t": trained(MLP, CE),
    "s": trained(
      network(masked),
      {"kd": term("kd"), **CE},
      teachers={"teacher": teacher("t")},
    ),
  }
  said = message(tmp_path, hold("excluded_class"), stages)
  assert "The student's logit of class 4 ('e') of example 0" in said
  assert "is -inf and the teacher gives it 0." in said
  assert "the term 'kd' is infinite" in said


@pytest.mark.slow
def test_a_loss_that_has_no_excluded_class_names_the_head(tmp_path, masked):
  net, terms = network(masked), {"mse": term("mse")}
  stages = {
    "t": trained(net, CE),
    "s": trained(net, terms, teachers={"teacher": teacher("t")}),
  }
  said = message(tmp_path, hold("no_class"), stages)
  assert "'student/logits', which the term reads as 'student'" in said
  assert "is -inf at [4]" in said and "with a head 'select'" in said


@pytest.mark.slow
def test_a_network_that_starts_with_nan_is_named(tmp_path, masked):
  stages = {"s": trained(network(masked, broken=True), CE)}
  said = message(tmp_path, hold("broken"), stages)
  assert "The network 'student' starts with weights that are not finite" in said
  assert "'params/head/bias', 5 of 5 numbers" in said


@pytest.mark.slow
@pytest.mark.parametrize("separate", [False, True])
def test_a_teacher_with_weights_that_are_nan_is_named(
  tmp_path, monkeypatch, separate
):
  load = initialization.load_fixed

  def broken(*arguments, **options):
    nan = lambda leaf: np.full_like(leaf, np.nan) if leaf.ndim == 1 else leaf
    return [
      fixed.replace(teachers=jax.tree.map(nan, fixed.teachers))
      for fixed in load(*arguments, **options)
    ]

  monkeypatch.setattr(initialization, "load_fixed", broken)
  teachers = {"teacher": teacher("t", separate=separate)}
  stages = {
    "t": trained(MLP, CE),
    "s": trained(MLP, {"kd": term("kd"), **CE}, teachers=teachers),
  }
  said = message(tmp_path, hold("nan_teacher"), stages)
  assert "The teacher 'teacher' starts with weights that are not finite" in said
  assert "'params/dense0/bias', 4 of 4 numbers" in said


@pytest.mark.slow
def test_an_infinite_option_is_named(tmp_path):
  # An infinite number is refused in a config; in float32 this one is.
  terms = {"ce": term("cross_entropy", weight=1e39)}
  said = message(tmp_path, hold("option"), {"s": trained(MLP, terms)})
  assert "The option 'weight' of the term 'ce' is inf" in said
