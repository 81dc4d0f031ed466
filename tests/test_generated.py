"""Views in which a network of the stage writes a text.

The network here is as small as one can be: its logits depend on its numbers
and on the ids before them, and it writes one id at a time.
"""

import json
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.step.addresses import Address
from kdjax.step.generated import Generated
from kdjax.step.step import key_of
from kdjax.step.views import Views
from kdjax.training import check, workdir

N, D, T, V = 96, 3, 5, 7


class Writer(nn.Module):
  """Logits of the next id from numbers and the id before; writes greedily."""

  vocabulary: int = V
  scale: float = 1.0
  num_classes: int | None = None
  dropout: float = 0.0
  axis_name: str | None = None
  dtype: Any = jnp.float32

  reads = ("x", "text", "mask/text")
  needs = ("x",)

  def needs_of(self, output):
    return ("x",) if "written" in output else ("x", "text")

  @nn.compact
  def __call__(self, inputs, *, train):
    """Reads `x` [B D], `text` int [B T] and its mask."""
    embed = nn.Embed(self.vocabulary, 8, name="embed")
    head = nn.Dense(self.vocabulary, name="head")
    of_x = nn.Dense(8, name="x")(inputs["x"])
    step = lambda before: self.scale * head(jnp.tanh(of_x + embed(before)))
    first = jnp.zeros(len(of_x), jnp.int32)
    before, written = first, []
    for _ in range(T):
      before = jnp.argmax(jax.lax.stop_gradient(step(before)), axis=-1)
      written.append(before.astype(jnp.int32))
    ids = jnp.stack(written, axis=1)
    going = jnp.cumprod(ids != 0, axis=1).astype(bool)
    outputs = {
      "embedding": of_x,
      "written": jnp.where(going, ids, 0),
      "mask/written": going,
    }
    if "text" in inputs:
      text = inputs["text"]
      shifted = jnp.concatenate([first[:, None], text[:, :-1]], axis=1)
      logits = [step(shifted[:, at]) for at in range(text.shape[1])]
      outputs["logits"] = jnp.stack(logits, axis=1)
      outputs["mask/logits"] = inputs["mask/text"]
    return outputs


@pytest.fixture(scope="module", autouse=True)
def data_set():
  """Numbers, and texts of random ids."""
  rng = np.random.default_rng(0)
  length = rng.integers(1, T + 1, N)
  mask = np.arange(T) < length[:, None]
  text = np.where(mask, rng.integers(1, V, (N, T)), 0).astype(np.int32)
  splits = np.array(["train", "validation", "test"])[np.arange(N) // 2 % 3]
  x = rng.normal(size=(N, D)).astype(np.float32)
  arrays.hold(
    "written", {"x": x, "text": text, "mask/text": mask, "split": splits}
  )


WORDS = config.term("cross_entropy", reads={"label": "batch/text"})


def term_in(view, label=True):
  if label:
    reads = {"student": f"student@{view}/logits", "label": f"batch/text@{view}"}
    return config.term("cross_entropy", reads=reads)
  reads = {
    "student": f"student@{view}/logits",
    "teacher": f"teacher@{view}/logits",
  }
  return config.term("kd", reads=reads, temperature=1.0)


def stage(terms, **changes):
  knobs = {
    "steps": 6, "batch_size": 16, "log_every": 2, "eval_every": 3,
    "save_every": 0, "select": "loss/words", "select_mode": "min",
    "metrics": {}, "predictions": False,
    "optimizer": config.optimizer("adamw", learning_rate=0.03),
  }  # fmt: skip
  return config.stage(
    config.network("test_generated:Writer"), terms=terms, **{**knobs, **changes}
  )


def plan(generated, terms, *, cache="", seeds=1, seed_axis="auto"):
  teacher = config.teacher("teacher", cache=cache)
  return config.experiment(
    "generated",
    seeds=seeds,
    seed_axis=seed_axis,
    data=config.data("arrays", held="written"),
    stages={
      "teacher": stage({"words": WORDS}),
      "student": stage(
        {"words": WORDS, **terms},
        teachers={"teacher": teacher},
        generated=generated,
      ),
    },
  )


SAMPLE = {"sample": config.generated("text", "student/written")}
BEAM = {"beam": config.generated("text", "teacher/written")}


def flow_of(experiment, rows=range(16), *, train=True):
  """The flow of a stage's first variables on some examples."""
  built = build.build(workdir.resolve(experiment), "student")
  shapes = built.teacher_shapes()
  module = built.objective.teachers["teacher"]
  example = built.example()
  inputs = {key: example[key] for key in module.reads}
  assert shapes
  fixed = built.fixed(
    {"teacher": module.init(jax.random.key(9), inputs, train=False)}
  )
  variables = built.objective.init(jax.random.key(1), fixed, example)
  source = built.load("train")
  batch = {
    key: jnp.asarray(it[list(rows)]) for key, it in source.columns.items()
  }
  batch["view"] = jnp.zeros(len(rows), jnp.int32)
  batch["valid"] = jnp.ones(len(rows), bool)
  objective = built.objective
  return objective.flow(
    variables, fixed, batch, key=key_of(0, 1), train=train
  ), objective


def at(text):
  return Address.parse(text)


@pytest.mark.parametrize("train", [True, False])
def test_networks_read_what_one_of_them_writes(train):
  experiment = plan(SAMPLE, {"kd": term_in("sample", label=False)})
  flow, objective = flow_of(experiment, train=train)
  text, mask = flow[at("batch/text@sample")], flow[at("batch/mask/text@sample")]
  written = flow[at("student/written")]
  np.testing.assert_array_equal(text, written)
  np.testing.assert_array_equal(mask, flow[at("student/mask/written")])
  assert (np.asarray(text) != np.asarray(flow.batch["text"])).any()
  for name, module in (
    ("student", objective.networks["student"]),
    ("teacher", objective.teachers["teacher"]),
  ):
    variables = (
      flow.fixed.teachers[name]
      if name == "teacher"
      else flow.variables["networks"][name]
    )
    inputs = {"x": flow.batch["x"], "text": text, "mask/text": mask}
    expected = module.apply(variables, inputs, train=False)["logits"]
    np.testing.assert_allclose(
      flow[at(f"{name}@sample/logits")], expected, atol=1e-6
    )


def test_a_view_that_nothing_reads_is_not_made():
  flow, _ = flow_of(plan(SAMPLE, {"kd": term_in("sample")}))
  flow.run("student")
  assert not any("@" in key for key in flow.batch)


def test_a_share_of_the_examples_keeps_its_own_text():
  views = Views({}, generated={"s": Generated("text", at("student/w"), 0.3)})
  count = 20_000
  batch = {
    "text": jnp.ones((count, T), jnp.int32),
    "index": jnp.arange(count),
    "view": jnp.zeros(count, jnp.int32),
  }
  kept = np.asarray(views(batch, train=True)["kept/s"])
  assert abs(kept.mean() - 0.7) < 4 * np.sqrt(0.21 / count)
  # It depends on the example and its epoch alone.
  rows = jnp.array([5, 3, 19_999])
  some = views({key: it[rows] for key, it in batch.items()}, train=False)
  np.testing.assert_array_equal(some["kept/s"], kept[rows])
  later = views({**batch, "view": batch["view"] + 1}, train=True)["kept/s"]
  assert abs((np.asarray(later) != kept).mean() - 0.42) < 0.02


def test_an_example_has_its_own_text_or_what_the_network_wrote():
  made = {"sample": config.generated("text", "student/written", share=0.5)}
  experiment = plan(made, {"kd": term_in("sample", label=False)})
  flow, _ = flow_of(experiment, range(32))
  text = np.asarray(flow[at("batch/text@sample")])
  mask = np.asarray(flow[at("batch/mask/text@sample")])
  kept = np.asarray(flow.batch["kept/sample"])
  assert 0 < kept.sum() < 32
  for own, key in ((text, "text"), (mask, "mask/text")):
    written = flow[at("student/" + key.replace("text", "written"))]
    np.testing.assert_array_equal(own[kept], np.asarray(flow.batch[key])[kept])
    np.testing.assert_array_equal(own[~kept], np.asarray(written)[~kept])


def test_what_is_written_has_no_gradient():
  """The gradient is that of the same ids as data."""
  experiment = plan(SAMPLE, {"kd": term_in("sample")})
  flow, objective = flow_of(experiment)
  fixed, raw = flow.fixed, dict(flow.batch)
  ids = flow[at("student/written")]
  mask = flow[at("student/mask/written")]

  def loss(variables, batch, view):
    flow = objective.flow(variables, fixed, batch, key=key_of(0, 1), train=True)
    logits = flow[at(f"student{view}/logits")]
    label = flow[at(f"batch/text{view}")]
    label = jnp.where(flow[at(f"batch/mask/text{view}")], label, -1)
    return jnp.sum(kdjax.find("losses", "cross_entropy")(logits, label))

  given = {**raw, "text": ids, "mask/text": mask}
  found = jax.grad(loss)(flow.variables, raw, "@sample")
  expected = jax.grad(loss)(flow.variables, given, "")
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, expected
  )


@pytest.mark.parametrize(
  ("generated", "terms", "cache", "says"),
  [
    ({"sample": config.generated("words", "student/written")}, "sample", "",
     "the modality 'words', which the data lacks"),
    ({"sample": config.generated("text", "student/embedding")}, "sample", "",
     "it has no output 'mask/embedding'"),
    ({"sample": config.generated("text", "student/spoken")}, "sample", "",
     "it has no output 'spoken'"),
    ({"sample": config.generated("text", "student@sample/written")}, "sample",
     "", "made from itself"),
    ({"train": config.generated("text", "student/written")}, "train", "",
     "is one of the data"),
    ({"sample": config.generated("text", "student/written", share=0.0)},
     "sample", "", "Expected a number above 0"),
    ({**SAMPLE, **BEAM}, "sample", "", "has the view 'beam', which no term"),
    (SAMPLE, "sample", "auto", "Leave out `cache`"),
  ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(generated, terms, cache, says):
  experiment = plan(generated, {"kd": term_in(terms, label=False)}, cache=cache)
  plain = workdir.resolve(experiment)
  with pytest.raises(UserError, match=says.replace(".", r"\.")):
    check.plan(plain, ["student"])


@pytest.mark.slow
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_cached_teacher_writes_as_one_that_runs(tmp_path, share):
  """Sequence-level distillation: the beams are made once, and kept."""
  beam = {"beam": config.generated("text", "teacher/written", share=share)}
  terms = {"beam": term_in("beam")}
  read = {}
  for cache in ("", "auto"):
    experiment = plan(beam, terms, cache=cache, seeds=2)
    folder = tmp_path / f"cache-{cache}"
    kdjax.run(experiment, folder, quiet=True)
    model, variables = kdjax.restore(folder, "student", seed=1)
    assert isinstance(model, Writer)
    read[cache] = variables
    assert (folder / "cache").is_dir() == bool(cache)
  jax.tree.map(np.testing.assert_array_equal, read[""], read["auto"])


@pytest.mark.slow
def test_a_student_learns_from_its_teacher_on_what_it_writes(tmp_path):
  """Their divergence falls, with both seeds in one call of the step."""
  terms = {"gkd": term_in("sample", label=False)}
  experiment = plan(SAMPLE, terms, seeds=2, seed_axis="vmap")
  kdjax.run(experiment, tmp_path / "run", quiet=True)
  lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
  for seed in (0, 1):
    values = [
      it["value"]
      for it in map(json.loads, lines)
      if (it["stage"], it["seed"]) == ("student", seed)
      and it["name"] == "train/loss/gkd"
    ]
    assert len(values) == 3 and values[-1] < values[0]
