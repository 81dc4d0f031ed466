"""One device, eight by pmap and eight on a mesh do the same."""

import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import config, registry
from kdjax.devices import placement as devices
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.feed.index_stream import TrainFeed
from kdjax.stage import build
from kdjax.training import workdir

SEEDS, BATCH, STEPS = 2, 32, 20


def gram(student, teacher):
  """A loss of the whole batch: squared differences of the Gram matrices."""
  matrix = lambda rows: rows @ rows.T / rows.shape[1]
  return jnp.mean((matrix(student) - matrix(teacher)) ** 2)


class Smooth(nn.Module):
  """Convolution and BatchNorm, and nothing that has a kink.

  At a kink, as ReLU's, the rounding of a sum over eight devices now and then
  takes the other side, and the gradient is another: by 1e-4, not by 1e-7.
  """

  width: int
  num_classes: int = 10
  axis_name: str | None = None
  dtype: Any = jnp.float32

  reads = needs = ("image",)

  @nn.compact
  def __call__(self, inputs, *, train):
    x = nn.Conv(self.width, (3, 3), strides=2)(inputs["image"])
    x = nn.tanh(
      nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis_name)(x)
    )
    embedding = jnp.mean(x, (1, 2))
    return {
      "embedding": embedding,
      "logits": nn.Dense(self.num_classes)(embedding),
    }


@pytest.fixture(autouse=True, scope="module")
def registered():
  """What is above, under names that a config can use."""
  registry.register("losses", "gram", gram)
  registry.register("models", "smooth", Smooth)
  yield
  registry._registered.pop(("losses", "gram"))
  registry._registered.pop(("models", "smooth"))


def experiment(optimizer):
  """A stage with BatchNorm, few labels, a head and three kinds of terms."""
  terms = {
    "cross_entropy": config.term("cross_entropy"),
    "kd": config.term("kd"),
    "gram": config.term("gram", weight=0.1),
    "hint": config.term(
      "mse",
      reads={"student": "student/embedding", "teacher": "teacher/embedding"},
      heads={"student": config.head("linear")},
    ),
  }
  return workdir.resolve(
    config.experiment(
      "devices",
      seeds=SEEDS,
      data=config.data("digits", labelled_fraction=0.125),
      stages={
        "teacher": config.stage(
          config.network("smooth", width=12),
          terms={"cross_entropy": config.term("cross_entropy")},
        ),
        "distilled": config.stage(
          config.network("smooth", width=16),
          teachers={"teacher": config.teacher("teacher")},
          terms=terms,
          optimizer=optimizer,
          batch_size=BATCH,
        ),
      },
    )
  )


def train(plain, kind, count, axis, *, paired=True):
  """The states of all seeds and their losses after some steps."""
  placement = Placement(
    kind, SEEDS, axis, {"teacher": paired}, devices=jax.devices()[:count]
  )
  stage = build.build(plain, "distilled", placement.axis_name)
  inputs = stage.objective.flow({}, None, stage.example()).inputs("teacher")
  teacher = stage.objective.teachers["teacher"]
  taught = [
    teacher.init(jax.random.key(100 + seed), inputs, train=False)
    for seed in range(SEEDS)
  ]
  fixed = [
    stage.fixed({"teacher": taught[seed if paired else 0]})
    for seed in range(SEEDS)
  ]
  init = jax.jit(stage.init)
  state = placement.put([init(seed, one) for seed, one in enumerate(fixed)])
  fixed = placement.put_fixed(fixed)
  feeds = [
    TrainFeed(
      stage.load("train", seed),
      seed=seed,
      batch_size=BATCH,
      labelled_fraction=0.125,
    )
    for seed in range(SEEDS)
  ]
  # The labelled come first in a batch: one device of eight has them all.
  labelled = feeds[0].batch(0)["label"].reshape(8, -1) >= 0
  assert labelled.sum(1).tolist() == [4, 0, 0, 0, 0, 0, 0, 0]
  step = placement.compile(
    stage.train_step, ("state", "fixed", "batch"), donate=True
  )
  losses = []
  for number in range(STEPS):
    batches = placement.put_batch([feed.batch(number) for feed in feeds])
    done = step(state, fixed, batches)
    state = [new for new, _ in done]
    recorded = placement.fetch([metrics for _, metrics in done])
    losses.append([one["loss"] for one in recorded])
  return placement.fetch(state), np.array(losses)


def furthest(one, other):
  """The largest difference of two trees."""
  leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  return max(
    np.abs(np.subtract(a, b, dtype=np.float64)).max() for a, b in leaves
  )


@pytest.fixture(scope="module")
def one_device():
  """SGD on one device, one call per seed."""
  sgd = experiment(config.optimizer("sgd", learning_rate=0.1))
  return sgd, *train(sgd, "pmap", 1, "loop")


@pytest.mark.parametrize(
  ("kind", "count", "axis"),
  [("pmap", 8, "loop"), ("pmap", 8, "vmap"), ("mesh", 8, "loop"),
   ("mesh", 8, "vmap"), ("pmap", 1, "vmap")],
)  # fmt: skip
def test_sgd_gives_the_parameters_of_one_device(
  one_device, kind, count, axis, monkeypatch
):
  monkeypatch.setattr(devices, "SHARD_FROM", 64)
  plain, expected, losses = one_device
  states, here = train(plain, kind, count, axis)
  for state, want in zip(states, expected, strict=True):
    assert furthest(state.params, want.params) < 1e-5
    assert furthest(state.collections, want.collections) < 1e-5
    assert state.step == STEPS
  np.testing.assert_allclose(here, losses, atol=1e-5)


def test_adamw_gives_the_losses_of_one_device():
  plain = experiment(config.optimizer("adamw", learning_rate=1e-3))
  _, expected = train(plain, "pmap", 1, "loop")
  _, losses = train(plain, "pmap", 8, "loop")
  np.testing.assert_allclose(losses, expected, atol=1e-4)


def test_a_shared_teacher_teaches_all_seeds_alike_on_both_axes(one_device):
  plain, expected, _ = one_device
  looped, _ = train(plain, "pmap", 1, "loop", paired=False)
  stacked, _ = train(plain, "pmap", 8, "vmap", paired=False)
  for one, other in zip(looped, stacked, strict=True):
    assert furthest(one.params, other.params) < 1e-5
  assert furthest(looped[0].params, expected[0].params) < 1e-6
  assert furthest(looped[1].params, expected[1].params) > 1e-3


def test_the_mesh_shards_large_parameters(monkeypatch):
  monkeypatch.setattr(devices, "SHARD_FROM", 64)
  placement = Placement("mesh", 1, "loop", {})
  (placed,) = placement.put(
    [{"kernel": np.zeros((8, 16)), "bias": np.zeros(3)}]
  )
  assert placed["kernel"].addressable_data(0).shape == (8, 2)
  assert placed["bias"].addressable_data(0).shape == (3,)


def test_a_step_is_compiled_once(one_device):
  plain, *_ = one_device
  for kind, axis in itertools.product(("pmap", "mesh"), ("loop", "vmap")):
    traces = []

    def counted(state, batch, traces=traces):
      traces.append(1)
      return jax.tree.map(lambda leaf: leaf + 1, state), batch["image"].sum()

    placement = Placement(kind, SEEDS, axis, {})
    step = placement.compile(counted, ("state", "batch"), donate=True)
    state = placement.put([{"x": np.zeros(3, np.float32)}] * SEEDS)
    batch = placement.put_batch(
      [{"image": np.ones((8, 2), np.float32)}] * SEEDS
    )
    for _ in range(3):
      state = [new for new, _ in step(state, batch)]
    assert len(traces) == 1, (kind, axis)
  del plain


def test_a_batch_that_devices_do_not_divide_is_an_error():
  with pytest.raises(UserError, match="12 cannot be split over 8 devices"):
    Placement("pmap", 1, "loop", {}).check(12)


def test_unknown_placements_are_errors_that_list_all():
  with pytest.raises(UserError, match="mesh, pmap"):
    Placement("pmapp", 1, "loop", {})
  with pytest.raises(UserError, match="auto, loop, vmap"):
    Placement("pmap", 1, "looop", {})
