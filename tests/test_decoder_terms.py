"""Terms and methods between two networks that write texts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import config
from kdjax.bench.trainer import Trainer
from kdjax.data import arrays
from kdjax.stage import build
from kdjax.training import check, workdir

# Texts of at most T - 1 tokens, so that all have an end.
N, T, LONGER, V, TOP = 48, 6, 11, 9, 4
SPLITS = ("train", "validation", "test")


def hold(length, garbage=0):
  """The same images and texts, padded to a length; garbage after the end."""
  rng = np.random.default_rng(0)
  lengths = rng.integers(0, T, N)
  words = np.pad(rng.integers(1, V, (N, T)), [(0, 0), (0, length - T)])
  mask = np.arange(length) < lengths[:, None]
  after = np.arange(length) > lengths[:, None]
  columns = {
    "image": rng.normal(size=(N, 4, 4, 1)).astype(np.float32),
    "text": np.where(after, garbage, mask * words).astype(np.int32),
    "mask/text": mask,
    "split": np.array(SPLITS)[np.arange(N) % 3],
  }
  name = f"captions_{length}_{garbage}"
  arrays.hold(name, columns)
  return config.data("arrays", held=name)


def network(width, depth, heads=2):
  return config.network(
    "encoder_decoder",
    encoders={"image": config.network("conv", widths=(4,))},
    vocabulary=V,
    width=width,
    depth=depth,
    heads=heads,
    length=LONGER,
  )


def sides(output, other=None):
  return {
    "student": f"student/{output}",
    "teacher": f"teacher/{other or output}",
  }


WORDS = config.term("cross_entropy", reads={"label": "batch/text"})
PROJECTED = {"student": config.head("linear")}
TERMS = {
  "hidden": config.term(
    "hidden_mse", reads=sides("block01", "block03"), heads=PROJECTED
  ),
  "cosine": config.term("cosine", reads=sides("tokens"), heads=PROJECTED),
  "pkd": config.term("pkd", reads=sides("block00", "block01"), heads=PROJECTED),
  "scores": config.term("attention_mse", reads=sides("scores00", "scores02")),
  "attention": config.term(
    "attention_cross_entropy", reads=sides("scores01"), floor=-1e3
  ),
  "minilm": config.term(
    "minilm",
    relation_heads=2,
    reads={
      name: (f"{name}/query{at}", f"{name}/key{at}")
      for name, at in (("student", "01"), ("teacher", "03"))
    },
  ),
  "cross": config.term(
    "attention_mse", cross=True, reads=sides("cross01", "cross03")
  ),
  "kd": config.term("kd"),
  "topk_kd": config.term("topk_kd", top=TOP),
  "reverse_kl": config.term("reverse_kl"),
  "jsd": config.term("jsd"),
  "cross_entropy": WORDS,
}
KNOBS = {
  "steps": 6, "batch_size": 16, "log_every": 2, "eval_every": 3,
  "save_every": 0, "select": "loss/cross_entropy", "select_mode": "min",
  "metrics": {}, "predictions": False,
  "optimizer": config.optimizer("sgd", learning_rate=0.1),
}  # fmt: skip


def stages(terms, **teacher):
  """A teacher of other width and depth, and its student."""
  return {
    "teacher": config.stage(
      network(12, 4), terms={"cross_entropy": WORDS}, **KNOBS
    ),
    "student": config.stage(
      network(8, 2),
      terms=terms,
      teachers={"teacher": config.teacher("teacher", **teacher)},
      **KNOBS,
    ),
  }


def values_and_gradient(length, garbage=0):
  """Every term's value, and the gradient of their sum."""
  plan = config.experiment(
    "x", data=hold(length, garbage), stages=stages(TERMS)
  )
  built = build.build(workdir.resolve(plan), "student")
  source = built.load("train")
  rows = len(source)
  batch = {
    **source.take(np.arange(rows)),
    "view": np.zeros(rows, np.int32),
    "valid": np.ones(rows, bool),
  }
  objective = built.objective
  teacher = objective.teachers["teacher"]
  inputs = objective.flow({}, None, batch).inputs("teacher")
  fixed = built.fixed(
    {"teacher": teacher.init(jax.random.key(1), inputs, train=False)}
  )
  variables = objective.init(jax.random.key(0), fixed, batch)

  @jax.jit
  def run(variables):
    def total(variables):
      reader = objective.reader(objective.flow(variables, fixed, batch))
      found = objective.values(reader, jnp.zeros((), jnp.int32))
      means = {name: value.mean for name, value in found.items()}
      return sum(means.values()), means

    return jax.grad(total, has_aux=True)(variables)

  gradient, means = run(variables)
  return {name: float(it) for name, it in means.items()}, gradient


@pytest.mark.slow
def test_padding_changes_no_term_between_decoders():
  """Neither its value nor its gradient, whatever ids are there."""
  values, gradient = values_and_gradient(T)
  assert all(np.isfinite(it) and it > 0 for it in values.values()), values
  norms = jax.tree.map(jnp.linalg.norm, gradient)
  assert sum(map(float, jax.tree.leaves(norms))) > 0
  other_values, other_gradient = values_and_gradient(LONGER, garbage=V - 1)
  for name, value in values.items():
    np.testing.assert_allclose(
      other_values[name], value, 2e-5, 1e-6, err_msg=name
    )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
    other_gradient,
    gradient,
  )


METHODS = {
  "tinybert": {"depths": (2, 4)},
  "minilm": {"relation_heads": 2},
  "hidden_states": {"depths": (2, 4)},
  "distilbert": {},
  "mmd": {},
  "token_kd": {},
  "topk_kd": {"top": TOP},
  "reverse_kl": {},
}


def plan_of_methods(names):
  known = stages({"cross_entropy": WORDS})
  student = known.pop("student")
  student.optimizer = config.optimizer("adamw", learning_rate=0.01)
  for name in names:
    known |= config.method(name, student, **METHODS[name])
  return config.experiment("x", data=hold(T), stages=known)


@pytest.mark.slow
def test_methods_for_texts_accept_decoders_unchanged():
  plan = plan_of_methods(METHODS)
  check.plan(workdir.resolve(plan), list(plan.order))


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "stage"), [("tinybert", "tinybert-1"), ("minilm", "minilm")]
)
def test_methods_for_layers_train_a_decoder(name, stage):
  trainer = Trainer(workdir.resolve(plan_of_methods([name])), stage)
  batch = trainer.first_batch(trainer.feed())
  step, _ = trainer.compiled(None)
  losses = [trainer.advance(step, batch)[0] for _ in range(4)]
  terms = [it for it in losses[0] if it.startswith(f"loss/{name}_")]
  assert len(terms) == {"tinybert": 5, "minilm": 3}[name]
  first, last = (sum(np.min(it[key]) for key in terms) for it in losses[::3])
  assert 0 < last < first


@pytest.mark.slow
def test_the_largest_logits_of_a_cached_teacher_train_as_all_of_them(tmp_path):
  """They are stored by token; the others have no part in the loss."""
  terms = {"topk": config.term("topk_kd", top=TOP, weight=3.0)}
  losses, updates = {}, {}
  for store in ("", f"top{TOP}"):
    cached = {"cache": "auto", "store": {"logits": store}} if store else {}
    plan = config.experiment(
      "x", seeds=1, data=hold(LONGER), stages=stages(terms, **cached)
    )
    trainer = Trainer(workdir.resolve(plan), "student", tmp_path)
    assert trainer.precomputed == (("teacher",) if store else ())
    feed = trainer.feed()
    step, _ = trainer.compiled(feed)
    params = lambda trainer=trainer: jax.tree.map(
      np.array, trainer.state[0].params
    )
    before = params()
    (first,) = trainer.advance(step, *next(feed.batches(0, 1)))
    losses[store] = np.asarray(first["loss/topk"])  # of each device
    updates[store] = jax.tree.map(np.subtract, params(), before)
  assert losses[""].min() > 1e-3
  # The gaps between the logits are rounded to float16.
  np.testing.assert_allclose(*losses.values(), rtol=2e-3)
  # A step of SGD is the gradient.
  full, stored = (jax.tree.leaves(it) for it in updates.values())
  norm = lambda leaves: np.sqrt(sum(np.sum(leaf**2) for leaf in leaves))
  assert norm(full) > 0
  assert norm([a - b for a, b in zip(full, stored, strict=True)]) < 0.01 * norm(
    full
  )
