"""Heads of terms: shared, still (frozen), gathered, chained."""

import functools

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
from kdjax.step.optimizer import make as make_optimizer
from kdjax.step.state import Fixed
from kdjax.step.step import make_train_step
from kdjax.step.terms import Term

B, D, K, DEVICES = 16, 7, 5, 8


class Net(nn.Module):
  """One smooth layer and a classifier."""

  axis_name: str | None = None
  reads = ("image",)
  needs = ("image",)

  @nn.compact
  def __call__(self, inputs, *, train):
    del train
    hidden = nn.tanh(nn.Dense(4, name="first")(inputs["image"]))
    return {"embedding": hidden, "logits": nn.Dense(K, name="head")(hidden)}


class Dense(nn.Module):
  """A learned head."""

  @nn.compact
  def __call__(self, x, like=None, *, train=False):
    del like, train
    return nn.Dense(3)(x)


class Queue(nn.Module):
  """Remembers the mean of what it saw, and compares rows with each other."""

  gathered = True

  @nn.compact
  def __call__(self, x, like=None, *, mask, train=False):
    del like
    seen = self.variable("memory", "mean", jnp.zeros, (x.shape[1],))
    steps = self.variable("memory", "steps", jnp.zeros, (), jnp.int32)
    weight = mask.astype(jnp.float32)[:, None]
    mean = jnp.sum(weight * x, axis=0) / jnp.maximum(jnp.sum(weight), 1)
    noise = jnp.zeros(x.shape)
    if train:
      noise = jax.random.normal(self.make_rng("draw"), x.shape)
    made = nn.Dense(3)(x) + noise[:, :3] + seen.value[None, :3]
    if train and not self.is_initializing():
      seen.value = jax.lax.stop_gradient(mean)
      steps.value += 1
    return made - jnp.mean(made, axis=0, keepdims=True)


class Both(nn.Module):
  """Exchanges the sides of a term."""

  both = True

  def __call__(self, x, like=None, *, train=False):
    del train
    return like, x


def term(name, loss, reads, *, heads=None, targets=("teacher",), group="task"):
  parse = lambda read: (
    tuple(map(Address.parse, read))
    if isinstance(read, tuple)
    else Address.parse(read)
  )
  return Term(
    name=name,
    loss=loss,
    reads={key: parse(read) for key, read in reads.items()},
    heads={
      key: head if isinstance(head, Adapter) else Adapter(f"{name}:{key}", head)
      for key, head in (heads or {}).items()
    },
    targets=targets,
    group=group,
    takes_mask=False,
    options={},
    schedules={},
  )


EMBEDDINGS = {"student": "student/embedding", "teacher": "teacher/embedding"}
LOGITS = {"student": "student/logits", "teacher": "teacher/logits"}
CE = term(
  "ce", cross_entropy, {"student": "student/logits", "label": "batch/label"}
)


@pytest.fixture
def batch():
  rng = np.random.default_rng(3)
  return {
    "image": rng.normal(size=(B, D)).astype(np.float32),
    "label": rng.integers(0, K, B).astype(np.int32),
    "valid": np.arange(B) < B - 3,
  }


def make(*terms, batch, axis_name=None, averages=None):
  averages = averages or {}
  objective = Objective(
    {"student": Net()},
    {"teacher": Net(), **dict.fromkeys(averages, Net())},
    terms,
    averages,
    axis_name,
  )
  taught = Net().init(jax.random.key(9), batch, train=False)
  fixed = Fixed(
    teachers={"teacher": taught},
    numbers={one.name: {"weight": jnp.float32(1)} for one in terms},
  )
  return objective, objective.init(jax.random.key(1), fixed, batch), fixed


def parts(variables):
  split = {
    kind: {name: states.split(tree) for name, tree in trees.items()}
    for kind, trees in variables.items()
  }
  return [
    {
      kind: {name: pair[place] for name, pair in trees.items()}
      for kind, trees in split.items()
    }
    for place in (0, 1)
  ]


def gradients(objective, variables, fixed, batch, groups=()):
  params, collections = parts(variables)
  return objective.gradients(
    params,
    collections,
    fixed,
    batch,
    key=jax.random.key(5),
    step=jnp.int32(0),
    groups=groups,
  )


def equal(one, other, tolerance=1e-5):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, tolerance, tolerance),
    one,
    other,
  )


def is_zero(tree):
  return not any(np.any(leaf) for leaf in jax.tree.leaves(tree))


def test_a_head_on_both_sides_makes_both_arguments(batch):
  directed = lambda student, teacher: jnp.sum(student - 2 * teacher, axis=1)
  plain = term("term", directed, EMBEDDINGS)
  swapped = term("term", directed, EMBEDDINGS, heads={"student": Both()})
  found = []
  for one in (plain, swapped):
    objective, variables, fixed = make(one, batch=batch)
    reader = objective.reader(objective.flow(variables, fixed, batch))
    found.append(reader.arguments(one)[0])
  equal(found[0]["student"], found[1]["teacher"])
  equal(found[0]["teacher"], found[1]["student"])


@pytest.mark.slow
def test_a_gathered_head_is_the_same_on_eight_devices_as_on_one(batch):
  queue = term(
    "queue", mse, EMBEDDINGS, heads={"student": Queue(), "teacher": Queue()}
  )
  one = make(queue, CE, batch=batch)
  found, kept, metrics = gradients(*one, batch)
  objective, variables, fixed = make(queue, CE, batch=batch, axis_name="d")
  split = jax.tree.map(lambda leaf: leaf.reshape(8, -1, *leaf.shape[1:]), batch)
  many = jax.pmap(
    functools.partial(gradients, objective),
    axis_name="d",
    in_axes=(None, None, 0),
  )(variables, fixed, split)
  assert metrics["count/queue"] == B - 3
  assert kept["heads"]["queue:student"]["memory"]["steps"] == 1
  assert not is_zero(found["heads"]["queue:student"])
  for device in (0, 5):
    pick = lambda leaf, device=device: leaf[device]
    equal(jax.tree.map(pick, many), (found, kept, metrics))


def test_a_memory_keeps_its_dtypes(batch):
  queue = term(
    "queue", mse, EMBEDDINGS, heads={"student": Queue(), "teacher": Queue()}
  )
  made = make(queue, batch=batch)
  _, kept, _ = gradients(*made, batch)
  dtypes = lambda tree: jax.tree.map(lambda leaf: leaf.dtype, tree)
  before = made[1]["heads"]["queue:student"]["memory"]
  after = kept["heads"]["queue:student"]["memory"]
  assert dtypes(before) == dtypes(after)


def test_a_shared_head_has_one_set_of_parameters_and_learns_from_both(batch):
  first = term(
    "first", mse, EMBEDDINGS, heads={"student": Dense(), "teacher": Dense()}
  )
  same = Adapter("first:student", Dense())
  second = term(
    "second", mse, EMBEDDINGS, heads={"student": same, "teacher": same}
  )
  made = make(first, second, batch=batch)
  assert made[1]["heads"].keys() == {"first:student", "first:teacher"}
  alone, _, _ = gradients(*make(first, batch=batch), batch)
  both, _, _ = gradients(*made, batch)
  name = "first:student"
  assert not np.allclose(
    alone["heads"][name]["Dense_0"]["kernel"],
    both["heads"][name]["Dense_0"]["kernel"],
  )


def test_a_still_head_passes_the_gradient_and_keeps_none(batch):
  owner = term(
    "owner",
    mse,
    EMBEDDINGS,
    heads={"student": Dense(), "teacher": Dense()},
    targets=("student", "teacher"),
  )
  still = Adapter("owner:student", Dense(), still=True)
  other = term(
    "other",
    lambda student: jnp.sum(student**2, axis=1),
    {"student": "student/embedding"},
    heads={"student": still},
  )
  alone, _, _ = gradients(*make(owner, batch=batch), batch)
  both, _, _ = gradients(*make(owner, other, batch=batch), batch)
  assert is_zero(alone["networks"])
  assert not is_zero(both["networks"]["student"]["first"])
  equal(alone["heads"], both["heads"])


def test_the_output_of_a_head_has_an_address(batch):
  first = term(
    "z_first", mse, EMBEDDINGS, heads={"student": Dense(), "teacher": Dense()}
  )
  second = term(
    "second",
    lambda student: jnp.sum(student, axis=1),
    {"student": "heads/z_first/student"},
  )
  objective, variables, fixed = make(second, first, batch=batch)
  reader = objective.reader(objective.flow(variables, fixed, batch))
  equal(
    reader.arguments(second)[0]["student"],
    reader.arguments(first)[0]["student"],
  )
  wrong = term("wrong", mse, {"student": "heads/z_first/studnt"})
  with pytest.raises(UserError, match="Did you mean 'heads/z_first/student'"):
    make(first, wrong, batch=batch)


def test_terms_that_read_each_other_are_an_error(batch):
  circle = [
    term(
      name, mse, {"student": f"heads/{other}/student"}, heads={"student": Both}
    )
    for name, other in (("one", "two"), ("two", "one"))
  ]
  with pytest.raises(UserError, match="one, two read each other's heads"):
    make(*circle, batch=batch)


def test_gradients_by_group_add_up_to_the_gradient(batch):
  distil = term("kd", kd, LOGITS, group="kd")
  made = make(CE, distil, batch=batch)
  whole, _, metrics = gradients(*made, batch)
  grouped, _, same = gradients(*made, batch, groups=("task", "kd"))
  task, _, _ = gradients(*make(CE, batch=batch), batch)
  equal(grouped["task"], task)
  equal(jax.tree.map(jnp.add, grouped["task"], grouped["kd"]), whole)
  equal(metrics, same)


DOT = {
  "name": "dot",
  "learning_rate": 0.1,
  "weight_decay": 0.01,
  "momentum": 0.9,
  "delta": 0.075,
  "clip_norm": 0.0,
}


def test_batch_statistics_are_averaged_as_the_parameters_are():
  """The averaged network has the average of both; memories have none."""
  statistic = lambda value: {"batch_stats": {"norm": {"mean": value}}}
  variables = {
    "networks": {"student": {"params": {"w": 1.0}, **statistic(0.0)}},
    "heads": {"bank": {"params": {}, "memory": {"rows": 5.0}}},
  }
  variables = jax.tree.map(jnp.float32, variables)
  rule = optax.sgd(1.0)
  state = states.create(0, variables, rule, (), average=True, maximise=True)

  class Recorder:
    """Parameters fall by 1 a step, statistics and memories grow by 1."""

    terms = ()

    def averaged(self, fixed, variables):
      return fixed

    def gradients(self, params, collections, fixed, batch, **_):
      grown = jax.tree.map(lambda x: x + 1, collections)
      ones = jax.tree.map(jnp.ones_like, params)
      return ones, grown, {"loss": jnp.float32(0)}

  step = make_train_step(Recorder(), rule, ema_decay=0.5)
  average, statistics = 1.0, 0.0
  for done in range(4):
    state, _ = step(state, Fixed({}, {}), None)
    decay = min(0.5, (1 + done) / (10 + done))
    average = decay * average + (1 - decay) * (0.0 - done)
    statistics = decay * statistics + (1 - decay) * (1.0 + done)
  evaluated = states.evaluated(state)
  student = evaluated["networks"]["student"]
  equal(student["params"]["w"], average)
  equal(student["batch_stats"]["norm"]["mean"], statistics)
  equal(evaluated["heads"]["bank"]["memory"]["rows"], 9.0)
  equal(
    state.collections["networks"]["student"]["batch_stats"]["norm"]["mean"], 4.0
  )


def test_dot_keeps_one_momentum_per_group():
  rule = make_optimizer(DOT, steps=10)
  params = {"kernel": np.full((2, 2), 2.0, np.float32)}
  state = rule.init(params)
  task, distil, value = 0.0, 0.0, 2.0
  for step in range(3):
    gradient = {"task": 1.0 + step, "kd": 0.5 - step}
    update, state = rule.update(
      {
        name: {"kernel": np.full((2, 2), one, np.float32)}
        for name, one in gradient.items()
      },
      state,
      params,
    )
    params = optax.apply_updates(params, update)
    task = (0.9 - 0.075) * task + gradient["task"] + 0.01 * value
    distil = (0.9 + 0.075) * distil + gradient["kd"]
    value -= 0.1 * (task + distil)
    equal(params["kernel"], np.full((2, 2), value, np.float32))


def test_dot_trains_terms_of_two_groups_and_refuses_a_third(batch):
  rule = make_optimizer(DOT, steps=10)
  objective, variables, fixed = make(
    CE, term("kd", kd, LOGITS, group="kd"), batch=batch
  )
  step = jax.jit(make_train_step(objective, rule, ema_decay=0.0))
  names = ("ce", "kd")
  state = states.create(0, variables, rule, names, average=False, maximise=True)
  losses = []
  for _ in range(5):
    state, metrics = step(state, fixed, batch)
    losses.append(float(metrics["loss"]))
  assert losses[-1] < losses[0]
  objective, _, _ = make(term("kd", kd, LOGITS, group="kds"), batch=batch)
  with pytest.raises(UserError, match=r"group 'kds'.*Did you mean 'kd'"):
    make_train_step(objective, rule, ema_decay=0.0)


def test_an_averaged_teacher_is_the_average_of_the_student(batch):
  follow = term(
    "follow", mse, {"student": "student/logits", "teacher": "mean/logits"}
  )
  made = make(CE, follow, batch=batch, averages={"mean": "student"})
  objective, variables, fixed = made
  rule = optax.sgd(0.5)
  step = jax.jit(make_train_step(objective, rule, ema_decay=0.9))
  state = states.create(
    0, variables, rule, ("ce", "follow"), average=True, maximise=True
  )
  state, first = step(state, fixed, batch)
  assert first["loss/follow"] == 0
  state, second = step(state, fixed, batch)
  apply = lambda params: Net().apply(
    {"params": params["networks"]["student"]}, batch, train=False
  )["logits"]
  # The second step compared these two; run a third by hand.
  gap = np.mean((apply(state.params) - apply(state.average)) ** 2, axis=1)
  _, third = step(state, fixed, batch)
  assert second["loss/follow"] > 0
  equal(third["loss/follow"], gap[batch["valid"]].mean())
