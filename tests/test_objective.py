"""Terms over a flow: who counts, who learns, and what is computed."""

import inspect
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kdjax.errors import UserError
from kdjax.losses.cross_entropy import cross_entropy
from kdjax.losses.kd import kd
from kdjax.losses.mse import mse
from kdjax.step import state as states
from kdjax.step.adapter import Adapter
from kdjax.step.addresses import Address
from kdjax.step.objective import Objective
from kdjax.step.schedules import make as schedule
from kdjax.step.state import Fixed
from kdjax.step.step import make_eval_step, make_train_step
from kdjax.step.terms import Term

B, D, K = 6, 7, 5


class Net(nn.Module):
  """Two layers, of which both are recorded, and one that few terms read."""

  modality: str = "image"
  classes: int = K

  @property
  def reads(self):
    return (self.modality,)

  @property
  def needs(self):
    return (self.modality,)

  @nn.compact
  def __call__(self, inputs, *, train):
    del train
    hidden = nn.tanh(nn.Dense(4, name="first")(inputs[self.modality]))
    return {
      "stage0": hidden,
      "logits": nn.Dense(self.classes, name="head")(hidden),
      "text/part": 2 * hidden,
      "extra": nn.Dense(64, name="extra")(hidden) @ jnp.ones((64, 64)),
    }


def term(name, loss, reads, *, targets=("teacher",), heads=None):
  return Term(
    name=name,
    loss=loss,
    reads={key: Address.parse(read) for key, read in reads.items()},
    heads={
      key: head if isinstance(head, Adapter) else Adapter(f"{name}:{key}", head)
      for key, head in (heads or {}).items()
    },
    targets=targets,
    group="task",
    takes_mask="mask" in inspect.signature(loss).parameters,
    options={},
    schedules={},
  )


CE = term(
  "ce", cross_entropy, {"student": "student/logits", "label": "batch/label"}
)
KD = term("kd", kd, {"student": "student/logits", "teacher": "teacher/logits"})


@pytest.fixture
def batch():
  rng = np.random.default_rng(3)
  return {
    "image": rng.normal(size=(B, D)).astype(np.float32),
    "text": rng.normal(size=(B, D)).astype(np.float32),
    "label": np.array([2, -1, 0, 4, -1, 1], np.int32),
    "index": np.arange(B, dtype=np.int32),
    "valid": np.array([True] * 5 + [False]),
  }


def make(*terms, batch, teacher=None, weights=None):
  """An objective with its variables and what is fixed."""
  teacher = teacher or Net("text")
  objective = Objective({"student": Net()}, {"teacher": teacher}, terms)
  taught = teacher.init(jax.random.key(9), batch, train=False)
  numbers = {
    one.name: {"weight": jnp.float32((weights or {}).get(one.name, 1.0))}
    for one in terms
  }
  fixed = Fixed(teachers={"teacher": taught}, numbers=numbers)
  variables = objective.init(jax.random.key(1), fixed, batch)
  return objective, variables, fixed


def values(objective, variables, fixed, batch):
  reader = objective.reader(objective.flow(variables, fixed, batch))
  return objective.values(reader, jnp.int32(0))


def state_of(objective, variables, rule):
  names = tuple(one.name for one in objective.terms)
  return states.create(0, variables, rule, names, average=False, maximise=True)


def test_only_valid_labelled_examples_count(batch):
  found = values(*make(CE, batch=batch), batch)["ce"]
  assert found.count == 3  # of the labelled four, the last one is padding
  objective, variables, fixed = make(CE, batch=batch)
  rows = np.array([0, 2, 3])
  only = {key: value[rows] for key, value in batch.items()}
  np.testing.assert_allclose(
    found.mean, values(objective, variables, fixed, only)["ce"].mean, rtol=1e-6
  )


def test_a_term_does_not_count_where_a_modality_is_absent(batch):
  batch["has/text"] = np.array([True, False, True, False, True, True])
  found = values(*make(CE, KD, batch=batch), batch)
  assert found["kd"].count == 3  # the teacher reads text
  assert found["ce"].count == 3  # the student does not


def test_a_network_may_report_the_needs_of_each_part(batch):
  class Parts(Net):
    def needs_of(self, output):
      return ("text",) if output.startswith("text/") else ()

  batch["has/text"] = np.array([True, False, True, False, True, True])
  for output, count in (("text/part", 3), ("stage0", 5)):
    part = term(
      "part", mse, {"student": "student/stage0", "teacher": f"teacher/{output}"}
    )
    made = make(part, batch=batch, teacher=Parts())
    assert values(*made, batch)["part"].count == count


def test_the_values_of_a_missing_modality_have_no_effect(batch):
  batch["has/text"] = np.array([True, False, True, False, True, True])
  objective, variables, fixed = make(KD, batch=batch)
  expected = values(objective, variables, fixed, batch)["kd"].mean
  absent = np.where(batch["has/text"][:, None], batch["text"], np.nan)
  found = values(objective, variables, fixed, {**batch, "text": absent})
  assert found["kd"].mean == expected


def test_positions_are_masked_though_the_loss_takes_no_mask(batch):
  def absolute(student, teacher):
    return jnp.abs(student - teacher)

  masked = term(
    "masked",
    absolute,
    {
      "student": "student/stage0",
      "teacher": "teacher/stage0",
      "mask": "batch/mask/image",
    },
  )
  batch["mask/image"] = np.zeros((B, 4), bool)
  batch["mask/image"][1, 2] = True
  objective, variables, fixed = make(masked, batch=batch)
  flow = objective.flow(variables, fixed, batch)
  reader = objective.reader(flow)
  found = objective.values(reader, jnp.int32(0))["masked"]
  assert found.count == 1
  difference = flow.run("student")["stage0"] - flow.run("teacher")["stage0"]
  np.testing.assert_allclose(found.mean, np.abs(difference[1, 2]), rtol=1e-6)


def test_a_whole_batch_loss_without_a_mask_counts_only_full_batches(batch):
  def gram(student, teacher):
    return jnp.mean((student @ student.T - teacher @ teacher.T) ** 2)

  whole = term(
    "whole", gram, {"student": "student/logits", "teacher": "teacher/logits"}
  )
  made = make(whole, batch=batch)
  padded = values(*made, batch)["whole"]
  assert (padded.count, padded.mean) == (0, 0)
  full = values(*made, {**batch, "valid": np.ones(B, bool)})["whole"]
  assert full.count == 1 and full.mean > 0


def test_a_memory_of_one_devices_rows_is_an_error(batch):
  class Memory(nn.Module):
    @nn.compact
    def __call__(self, x, like=None, *, train=False):
      del like, train
      return x + self.variable("memory", "last", jnp.zeros, (1, K)).value

  kept = term(
    "kd",
    kd,
    {"student": "student/logits", "teacher": "teacher/logits"},
    heads={"student": Memory()},
  )
  with pytest.raises(UserError, match=r"'kd:student' keeps memory.*gathered"):
    make(kept, batch=batch)


def test_a_batch_in_which_nothing_counts_gives_zero_and_no_nan(batch):
  batch["label"][:] = -1
  objective, variables, fixed = make(CE, batch=batch)
  split = {
    kind: {name: states.split(tree) for name, tree in trees.items()}
    for kind, trees in variables.items()
  }
  part = lambda place: {
    kind: {name: pair[place] for name, pair in trees.items()}
    for kind, trees in split.items()
  }
  gradients, _, metrics = objective.gradients(
    part(0),
    part(1),
    fixed,
    batch,
    key=jax.random.key(0),
    step=jnp.int32(0),
  )
  assert metrics["loss"] == 0 and metrics["count/ce"] == 0
  assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradients))


def test_the_teacher_receives_exactly_zero_gradient(batch):
  # Joint training: the teacher is trained too, but is a target of this term.
  networks = {"student": Net(), "teacher": Net("text")}
  objective = Objective(networks, {}, (KD,))
  fixed = Fixed(teachers={}, numbers={"kd": {"weight": jnp.float32(1)}})
  variables = objective.init(jax.random.key(1), fixed, batch)

  def total(variables, objective):
    return values(objective, variables, fixed, batch)["kd"].mean

  gradient_of = lambda objective: jax.jit(
    jax.grad(lambda variables: total(variables, objective))
  )(variables)["networks"]
  gradient = gradient_of(objective)
  assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradient["teacher"]))
  assert optax.tree.norm(gradient["student"]) > 1e-4
  # The same term without targets teaches both: the zero above is no accident.
  both = term(
    "kd",
    kd,
    {"student": "student/logits", "teacher": "teacher/logits"},
    targets=(),
  )
  gradient = gradient_of(Objective(networks, {}, (both,)))
  assert optax.tree.norm(gradient["teacher"]) > 1e-4


def test_frozen_teachers_receive_exactly_zero_gradient(batch):
  objective, variables, fixed = make(CE, KD, batch=batch)

  def total(fixed):
    found = values(objective, variables, fixed, batch)
    return found["ce"].mean + found["kd"].mean

  gradient = jax.jit(jax.grad(total))(fixed)
  assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradient.teachers))


def test_a_train_step_leaves_the_teacher_as_it_is(batch):
  objective, variables, fixed = make(CE, KD, batch=batch)
  rule = optax.sgd(0.1)
  step = jax.jit(make_train_step(objective, rule, ema_decay=0.0))
  before = jax.tree.map(np.array, fixed)
  state, _ = step(state_of(objective, variables, rule), fixed, batch)
  jax.tree.map(np.testing.assert_array_equal, fixed, before)
  assert state.step == 1


def operations(objective, variables, fixed, batch):
  """Matrix products, convolutions and custom calls of the compiled step."""
  rule = optax.sgd(0.1)
  step = jax.jit(make_train_step(objective, rule, ema_decay=0.0))
  state = state_of(objective, variables, rule)
  text = step.lower(state, fixed, batch).compile().as_text()
  return len(re.findall(r"\b(?:dot|convolution|custom-call)\(", text))


def test_what_no_term_reads_is_not_compiled(batch):
  feature = term(
    "feature", mse, {"student": "student/stage0", "teacher": "teacher/stage0"}
  )
  extra = term(
    "extra", mse, {"student": "student/extra", "teacher": "teacher/extra"}
  )
  alone = operations(*make(CE, batch=batch), batch)
  # Student: two products forwards; backwards the first layer's kernel, and
  # the head's kernel and input. No teacher, no `extra`.
  assert alone == 5
  # The teacher's first layer; nothing of its head.
  assert operations(*make(CE, feature, batch=batch), batch) == alone + 1
  # Two of the teacher.
  assert operations(*make(CE, KD, batch=batch), batch) == alone + 2
  # Three of the teacher's; of the student's two forwards, and backwards the
  # constant product's input, `extra`'s kernel and its input.
  assert operations(*make(CE, extra, batch=batch), batch) == alone + 3 + 5


def test_a_networks_outputs_are_computed_once_for_all_terms(batch):
  again = term(
    "again", kd, {"student": "student/logits", "teacher": "teacher/logits"}
  )
  assert operations(*make(CE, KD, batch=batch), batch) == operations(
    *make(CE, KD, again, batch=batch), batch
  )


def test_weights_are_arrays_and_changing_one_compiles_nothing(batch):
  objective, variables, fixed = make(CE, KD, batch=batch)
  rule = optax.sgd(0.1)
  step = jax.jit(make_train_step(objective, rule, ema_decay=0.0))
  state = state_of(objective, variables, rule)
  _, first = step(state, fixed, batch)
  heavier = fixed.replace(
    numbers={**fixed.numbers, "kd": {"weight": jnp.float32(3)}}
  )
  _, second = step(state, heavier, batch)
  np.testing.assert_allclose(
    second["loss"] - first["loss"], 2 * first["loss/kd"], rtol=1e-5
  )
  assert step._cache_size() == 1


def test_a_weight_may_follow_a_schedule(batch):
  fading = {"kind": "linear", "value": 2.0, "end": 0.0, "warmup": 0, "steps": 4}
  faded = Term(
    **{**vars(KD), "schedules": {"weight": schedule(fading, steps=100)}}
  )
  objective, variables, fixed = make(faded, batch=batch)
  reader = objective.reader(objective.flow(variables, fixed, batch))
  weights = [
    float(objective.values(reader, jnp.int32(step))["kd"].weight)
    for step in range(6)
  ]
  np.testing.assert_allclose(weights, [2, 1.5, 1, 0.5, 0, 0])


@pytest.mark.parametrize(
  ("loss", "message"),
  [
    (lambda student: student.mean(axis=0), r"returned \[5\] for a batch of 6"),
    (lambda student: (student, student), "returned tuple"),
  ],
)
def test_a_loss_with_another_result_is_an_error(batch, loss, message):
  wrong = term("wrong", loss, {"student": "student/logits"})
  with pytest.raises(UserError, match=message):
    values(*make(wrong, batch=batch), batch)


def test_an_unknown_address_is_an_error_with_the_nearest(batch):
  wrong = term(
    "kd", kd, {"student": "student/logit", "teacher": "teacher/logits"}
  )
  with pytest.raises(UserError) as error:
    values(*make(wrong, batch=batch), batch)
  text = str(error.value)
  assert "No 'student/logit'" in text
  assert "Did you mean 'student/logits'" in text
  for near in ("Nearest of 13", "student/stage0", "student/extra"):
    assert near in text


def test_an_unknown_network_is_an_error_with_the_nearest(batch):
  wrong = term(
    "kd", kd, {"student": "studnet/logits", "teacher": "teacher/logits"}
  )
  with pytest.raises(UserError, match="Did you mean 'student'"):
    values(*make(wrong, batch=batch), batch)


def test_an_address_needs_a_network_and_an_output():
  for text in ("logits", "/logits", "student/", ""):
    with pytest.raises(UserError, match="is not an address"):
      Address.parse(text)


def test_different_numbers_of_classes_name_the_term_and_the_way_out(batch):
  with pytest.raises(UserError, match=r"Term 'kd'.*select") as error:
    values(*make(KD, batch=batch, teacher=Net("text", classes=K + 2)), batch)
  assert f"{K}]" in str(error.value) and f"{K + 2}]" in str(error.value)


def test_a_modality_that_the_data_lacks_is_named(batch):
  objective, variables, fixed = make(CE, KD, batch=batch)
  del batch["text"]
  with pytest.raises(UserError, match="'teacher' reads 'text'") as error:
    values(objective, variables, fixed, batch)
  assert "image" in str(error.value)


def test_a_view_reads_its_own_keys_and_shares_the_rest(batch):
  strong = term(
    "kd", kd, {"student": "student@strong/logits", "teacher": "teacher/logits"}
  )
  with pytest.raises(UserError, match="No view 'strong'"):
    make(strong, batch=batch)
  both = {**batch, "image@strong": batch["image"][::-1]}
  objective, variables, fixed = make(strong, batch=both)
  turned = {**batch, "image": batch["image"][::-1]}
  plain = make(KD, batch=batch)
  np.testing.assert_allclose(
    values(objective, variables, fixed, both)["kd"].mean,
    values(plain[0], variables, fixed, turned)["kd"].mean,
    rtol=1e-6,
  )


def test_a_parameter_can_be_read_by_address(batch):
  shrink = term(
    "shrink",
    mse,
    {
      "student": "student/params/head/kernel",
      "teacher": "teacher/params/head/kernel",
    },
  )
  objective, variables, fixed = make(shrink, batch=batch)
  flow = objective.flow(variables, fixed, batch)
  kernel = flow[Address.parse("teacher/params/head/kernel")]
  assert kernel is fixed.teachers["teacher"]["params"]["head"]["kernel"]
  with pytest.raises(UserError, match="Did you mean 'params/head/kernel'"):
    flow[Address.parse("teacher/params/head/kernl")]


def test_the_first_fault_is_kept_with_every_terms_value(batch):
  objective, variables, fixed = make(CE, KD, batch=batch)
  rule = optax.sgd(0.1)
  step = jax.jit(make_train_step(objective, rule, ema_decay=0.0))
  state, _ = step(state_of(objective, variables, rule), fixed, batch)
  assert state.fault.step == -1
  bad = {**batch, "text": batch["text"] * np.inf}
  for _ in range(2):
    state, _ = step(state, fixed, bad)
  assert state.fault.step == 2
  assert np.isfinite(state.fault.terms["ce"])
  assert not np.isfinite(state.fault.terms["kd"])


def test_evaluation_sums_add_up_over_batches(batch):
  objective, variables, fixed = make(CE, KD, batch=batch)
  evaluate = make_eval_step(objective, {})
  whole = evaluate(variables, fixed, batch)["loss"]
  halves = [
    evaluate(
      variables, fixed, {key: value[rows] for key, value in batch.items()}
    )["loss"]
    for rows in (slice(0, 2), slice(2, None))
  ]
  added = jax.tree.map(np.add, *halves)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, added
  )
