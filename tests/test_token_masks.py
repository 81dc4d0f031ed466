"""Terms over positions skip padding where they read no mask."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import config, registry
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.step import arguments
from kdjax.training import check, workdir

N, WIDTH, LENGTHS = 12, 8, (8, 24)

LOSSES = [
  name
  for name in registry.names("losses")
  if arguments.can_skip_positions(registry.find("losses", name))
]
METHODS = [
  name
  for name in registry.names("methods")
  if "token_mask" in registry.describe("methods", name).options
]
OPTIONS = {
  "token_kd": {
    "student_logits": "student/tokens",
    "teacher_logits": "teacher/tokens",
  }
}
# Terms without a mask: one says so, and one reads classes.
HAND = {
  "unmasked": config.term(
    "hidden_mse",
    reads={
      "student": "student/block00",
      "teacher": "teacher/block00",
      "mask": "",
    },
  ),
  "logits": config.term("kd"),
}


def hold(length):
  """The same sentences, padded to a length."""
  rng = np.random.default_rng(7)
  lengths = rng.integers(2, 9, N)
  # Ids are classes of a loss of labels too: less than the width.
  words = rng.integers(1, WIDTH, (N, LENGTHS[0]))
  words = np.pad(words, [(0, 0), (0, length - LENGTHS[0])])
  mask = np.arange(length)[None] < lengths[:, None]
  columns = {
    "text": np.where(mask, words, 0).astype(np.int32),
    "mask/text": mask,
    "label": rng.integers(0, 5, N).astype(np.int32),
    "split": np.array(["train", "validation", "test"])[np.arange(N) % 3],
  }
  arrays.hold(f"padded_{length}", columns)


def network(depth, **options):
  return config.network(
    "text_transformer",
    vocabulary=20,
    width=WIDTH,
    heads=2,
    depth=depth,
    num_classes=5,
    length=LENGTHS[-1],
    **options,
  )


def reads_of(name):
  """Addresses of positions for every required argument of a loss."""
  about = registry.describe("losses", name)
  reads = {}
  for argument in about.reads:
    kind = about.annotations[argument]
    if argument in about.optional:
      continue
    if kind.startswith("Int"):
      reads[argument] = "batch/text"
    elif "T T" in kind or "T S" in kind:
      reads[argument] = f"{argument}/scores00"
    elif kind.startswith("tuple"):
      reads[argument] = (f"{argument}/block00", f"{argument}/block01")
    else:
      reads[argument] = f"{argument}/block01"
  return reads


def of_a_notebook(mask):
  """A term whose loss has no annotations, where it is registered."""
  if ("losses", "plain") not in registry._registered:
    return {}
  reads = reads_of("hidden_mse") | ({} if mask is None else {"mask": mask})
  return {"plain": config.term("plain", reads=reads)}


def plain_of(length, mask=None):
  hold(length)
  terms = {
    f"loss_{name}": config.term(
      name, reads=reads_of(name) | ({} if mask is None else {"mask": mask})
    )
    for name in LOSSES
  }
  supervised = {"cross_entropy": config.term("cross_entropy")}
  student = config.stage(
    network(2),
    teachers={"teacher": config.teacher("teacher")},
    terms=terms | HAND | of_a_notebook(mask) | supervised,
    batch_size=8,
    steps=2,
  )
  for name in METHODS:
    method = registry.find("methods", name)
    student = method(student, token_mask=mask, **OPTIONS.get(name, {}))[0]
  stages = {
    "teacher": config.stage(network(4), terms=supervised, batch_size=8),
    "student": student,
  }
  data = config.data("arrays", held=f"padded_{length}")
  return workdir.resolve(config.experiment("x", data=data, stages=stages))


def losses_of(length, mask=None):
  """The value of every term on the training examples."""
  built = build.build(plain_of(length, mask), "student")
  source = built.load("train")
  rows = len(source)
  batch = {
    **source.take(np.arange(rows)),
    "view": np.zeros(rows, np.int32),
    "valid": np.ones(rows, bool),
  }
  teacher = built.objective.teachers["teacher"]
  inputs = built.objective.flow({}, None, batch).inputs("teacher")
  fixed = built.fixed(
    {"teacher": teacher.init(jax.random.key(1), inputs, train=False)}
  )
  variables = built.objective.init(jax.random.key(0), fixed, batch)
  sums = jax.jit(built.eval_step)(variables, fixed, batch)["loss"]
  return {
    name: float(total / sums["count"][name])
    for name, total in sums["sum"].items()
  }


@pytest.fixture(scope="module")
def plain_loss():
  def plain(student, teacher):
    return jnp.mean((student - teacher) ** 2, axis=-1)

  registry.register("losses", "plain", plain)
  yield
  del registry._registered["losses", "plain"]


@pytest.fixture(scope="module")
def measured(plain_loss):
  short, long = LENGTHS
  cases = [(short, None)]
  cases += [(long, mask) for mask in (None, "", "batch/mask/text")]
  return {case: losses_of(*case) for case in cases}


def test_the_losses_and_methods_over_positions_are_known():
  assert {"hidden_mse", "kd", "minilm", "mmd", "attention_mse"} <= {*LOSSES}
  assert {*METHODS} == {
    "distilbert",
    "hidden_states",
    "minilm",
    "mmd",
    "tinybert",
    "token_kd",
  }
  for name in METHODS:
    method = registry.find("methods", name)
    assert inspect.signature(method).parameters["token_mask"].default is None


@pytest.mark.slow
def test_padding_changes_no_loss(measured):
  short, long = (measured[length, None] for length in LENGTHS)
  for name, value in short.items():
    assert np.isfinite(value), name
    if name != "unmasked":
      np.testing.assert_allclose(long[name], value, 2e-5, 1e-6, err_msg=name)


@pytest.mark.slow
def test_the_default_is_the_mask_of_the_modality(measured):
  named = measured[LENGTHS[-1], "batch/mask/text"]
  for name, value in measured[LENGTHS[-1], None].items():
    np.testing.assert_allclose(named[name], value, 1e-6, err_msg=name)


@pytest.mark.slow
def test_a_term_says_that_it_has_no_mask(measured):
  default, none = measured[LENGTHS[-1], None], measured[LENGTHS[-1], ""]
  assert not np.isclose(default["unmasked"], default["hidden_states0"], 0.01)
  for name, value in default.items():
    has_positions = name not in ("unmasked", "logits", "cross_entropy")
    if has_positions and name != "distilbert_kd":
      assert not np.isclose(none[name], value, 1e-3), name


def test_a_loss_called_by_hand_has_no_default():
  mse = registry.find("losses", "hidden_mse")
  assert mse(jnp.ones((2, 3, 4)), jnp.zeros((2, 3, 4))).shape == (2, 3)


@pytest.mark.slow
def test_a_term_without_a_mask_traces():
  check.plan(plain_of(LENGTHS[0], ""), ["student"])


def trace(*terms):
  plain = plain_of(LENGTHS[0])
  plain["stages"]["student"]["terms"] = {
    f"term{number}": one.to_dict() for number, one in enumerate(terms)
  }
  check.plan(plain, ["student"])


TOKENS = {"student": "student/tokens", "teacher": "teacher/tokens"}


REDUCED = ("mse", "l1", "hallucination", "srd", "sobolev", "ab")


@pytest.mark.slow
@pytest.mark.parametrize("name", REDUCED)
def test_a_loss_that_can_skip_no_padding_is_refused(name):
  with pytest.raises(UserError) as caught:
    trace(config.term(name, reads=TOKENS))
  assert f"the loss '{name}' cannot skip" in str(caught.value)
  assert "'student/tokens'" in str(caught.value)


@pytest.mark.slow
def test_a_loss_that_reads_no_padding_or_says_so_is_accepted():
  embeddings = {key: f"{key}/embedding" for key in TOKENS}
  trace(
    config.term("pkd", reads=TOKENS),  # of the first token
    config.term("mse", reads=embeddings),
    config.term("kd"),
    *(config.term(name, reads={**TOKENS, "mask": ""}) for name in REDUCED),
  )
