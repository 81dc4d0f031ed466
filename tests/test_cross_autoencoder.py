"""Features of a missing modality, decoded from those of another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_methods import base
from test_objective import B, D, K, Net

from kdjax import config, registry
from kdjax.errors import UserError
from kdjax.heads.autoencoder import Head
from kdjax.stage import build
from kdjax.stage.grids import numbers_of
from kdjax.step.addresses import Address
from kdjax.step.objective import Objective
from kdjax.step.state import Fixed

CLASSIFIER = ("teacher/params/head/kernel", "teacher/params/head/bias")
DECODED = Address.parse("heads/cross_autoencoder/student")


def drawn(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def made(**options):
  return registry.find("methods", "cross_autoencoder")(
    base("cross_autoencoder"), **options
  )[0]


def trial():
  """The method's objective, its variables, what is fixed and a batch."""
  terms = made(
    student_embedding="student/stage0",
    teacher_embedding="teacher/stage0",
    classifier=CLASSIFIER,
  ).terms.to_dict()
  batch = {
    "image": drawn(0, B, D),
    "text": drawn(1, B, D),
    "label": np.array([2, 1, 0, 4, 3, 1], np.int32),
    "valid": np.ones(B, bool),
  }
  common = {"axis_name": None, "dtype": jnp.float32}
  teacher = Net("text")
  objective = Objective(
    {"student": Net()},
    {"teacher": teacher},
    tuple(build._term(name, terms, common, 10) for name in terms),
  )
  fixed = Fixed(
    teachers={"teacher": teacher.init(jax.random.key(9), batch, train=False)},
    numbers=jax.tree.map(jnp.float32, numbers_of(terms)),
  )
  variables = objective.init(jax.random.key(1), fixed, batch)
  return objective, variables, fixed, batch


def test_what_is_decoded_does_not_depend_on_the_missing_modality():
  objective, variables, fixed, batch = trial()

  def read(batch):
    reader = objective.reader(objective.flow(variables, fixed, batch))
    values = objective.values(reader, jnp.int32(0))
    counts = {name: float(one.count) for name, one in values.items()}
    return reader.at(DECODED), reader.present(DECODED), counts, values

  whole, _, _, _ = read(batch)
  has = np.array([True, False, True, False, False, True])
  text = np.where(has[:, None], batch["text"], np.nan)
  decoded, present, counts, values = read(
    {**batch, "text": text, "has/text": has}
  )
  np.testing.assert_array_equal(decoded, whole)
  assert present.all()
  # Labels teach every example; the distance, those with both.
  assert counts == {"cross_entropy": 6, "cross_autoencoder": 3, "decoded": 6}
  assert all(np.isfinite(one.mean) for one in values.values())


def test_decoded_predictions_are_those_of_the_teachers_classifier():
  objective, variables, fixed, batch = trial()
  reader = objective.reader(objective.flow(variables, fixed, batch))
  (decoded,) = (term for term in objective.terms if term.name == "decoded")
  logits = reader.arguments(decoded)[0]["student"]
  layer = jax.tree.map(np.asarray, fixed.teachers["teacher"]["params"]["head"])
  expected = np.asarray(reader.at(DECODED)) @ layer["kernel"] + layer["bias"]
  np.testing.assert_allclose(logits, expected, 1e-5, 1e-5)
  assert logits.shape == (B, K)


def test_a_parameter_is_there_whatever_the_example_lacks():
  objective, variables, fixed, batch = trial()
  flow = objective.flow(
    variables, fixed, {**batch, "has/text": np.zeros(B, bool)}
  )
  assert flow.present(Address.parse(CLASSIFIER[0])).all()
  assert not flow.present(Address.parse("teacher/logits")).any()


def test_the_head_is_three_linear_layers_through_a_code():
  x, like = drawn(0, 3, 8), drawn(1, 3, 5)
  head = Head(code=2, hidden=6)
  output, variables = head.init_with_output(jax.random.key(0), x, like)
  params = jax.tree.map(np.asarray, variables["params"])
  layer = lambda x, name: x @ params[name]["kernel"] + params[name]["bias"]
  code = np.maximum(layer(x, "encode"), 0)
  assert code.shape == (3, 2)
  expected = layer(np.maximum(layer(code, "hidden"), 0), "decode")
  np.testing.assert_allclose(output, expected, 1e-5, 1e-6)
  assert Head.keep
  with pytest.raises(UserError, match="'width'"):
    Head().init(jax.random.key(0), x)


def test_metrics_are_of_the_decoded_predictions():
  one = made(code=3)
  measured = one.metrics.classification
  assert measured.reads.student == (str(DECODED), *CLASSIFIER)
  assert measured.heads.student.name == "classifier"
  assert one.terms.cross_autoencoder.heads.student.code == 3
  assert one.terms.cross_entropy.weight == 0.0
  plain = config.metric("classification")
  assert measured.reads.label == plain.reads.label
