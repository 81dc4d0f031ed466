"""Texts cut to buckets: the same tokens in every feed, seed and process."""

import collections
import functools
import itertools
import json
import os
import pathlib
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from placed import collected
from test_models import OPTIONS_TO_TEST

import kdjax
from kdjax import config, registry
from kdjax.data import arrays
from kdjax.devices.placement import Placement
from kdjax.errors import UserError
from kdjax.feed import buckets, loaders, sampling
from kdjax.feed.index_stream import EvalFeed, TrainFeed
from kdjax.feed.sources import ArraySource, RecordSource
from kdjax.models import fusion, mlp
from kdjax.stage import build
from kdjax.step.pipeline import parse
from kdjax.step.state import Fixed
from kdjax.training import check, workdir

N, T, WORDS, BATCH, SEEDS = 103, 24, 13, 16, 2
ENDS = {"text": (6, 11, T)}

SHARED = pathlib.Path(__file__).parents[1] / "../shared/data"
ROOT = os.environ.get("KDJAX_DATA", str(SHARED.resolve()))


def texts(count=N, seed=0):
  """Ids and masks; few are long, some have holes, one is empty."""
  rng = np.random.default_rng(seed)
  mask = np.zeros((count, T), bool)
  for row in range(1, count):
    long = {20: 8, 33: T, 50: 19, 60: 11, 80: 9}.get(row, 0)
    mask[row, : long or rng.integers(1, 7)] = True
    if row % 5 == 0:
      mask[row, 0] = mask[row].sum() == 1
  ids = rng.integers(2, WORDS, mask.shape).astype(np.int32)
  # Anything may lie at padding.
  return {"text": ids, "mask/text": mask}


def source(seed=0):
  """What a seed trains on: the same texts, labels of its own."""
  label = (np.arange(N) + seed) % 3
  index = np.arange(N, dtype=np.int32) + 100
  return ArraySource({**texts(), "label": label.astype(np.int32)} | {
    "index": index
  })  # fmt: skip


def reaches(mask):
  """How far each text reaches, counted."""
  return np.array(
    [max([0] + [t + 1 for t, one in enumerate(row) if one]) for row in mask]
  )


def orders(seeds=SEEDS, **changes):
  options = {"batch_size": BATCH, "buckets": ENDS, **changes}
  return [
    TrainFeed(source(seed), seed=seed, **options) for seed in range(seeds)
  ]


def bucket_of(feeds_, step, partners=False):
  """The bucket of a step, from what every seed draws in it."""
  lengths = reaches(texts()["mask/text"])
  longest = 0
  for feed in feeds_:
    drawn = feed.draw(step)
    for place in [*drawn["position"], *(drawn["partner"] if partners else [])]:
      longest = max(longest, lengths[place])
  return min(end for end in ENDS["text"] if end >= longest)


def seen(kind, placement, made, start=0, stop=12, count=None):
  """The batches of the steps, as arrays on the host: one list per step."""
  if kind == "device":
    feed = loaders.Rows(placement, made)
  else:
    feed = loaders.Stream(placement, made)

  def noted(state, fixed, batch):
    if count is not None:
      count.append(batch["text"].shape)
    return batch

  step = placement.compile(
    feed.over(noted), ("state", "fixed", *feed.roles)
  )  # fmt: skip
  empty = Fixed(teachers={}, data={}, numbers={})
  nothing = (
    placement.put([{"x": np.zeros(1)}] * SEEDS),
    placement.put_fixed([empty] * SEEDS),
  )
  return [
    [collected(placement, one) for one in step(*nothing, *batch)]
    for batch in feed.batches(start, stop)
  ]


def by_seed(placement, step):
  """The batches of the seeds of a step."""
  if not placement.stacked:
    return step
  return [
    {key: leaf[seed] for key, leaf in step[0].items()} for seed in range(SEEDS)
  ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["device", "stream"])
@pytest.mark.parametrize("place", ["pmap", "mesh"])
@pytest.mark.parametrize("axis", ["loop", "vmap"])
def test_everywhere_a_batch_is_the_whole_one_cut_to_its_bucket(
  kind, place, axis
):
  placement = Placement(place, SEEDS, axis, {})
  partners = ("text", "mask/text", "index")
  made, traced = orders(partners=partners), []
  whole = orders(partners=partners, buckets=None)
  found = seen(kind, placement, made, count=traced)
  ends = [bucket_of(made, step, partners=True) for step in range(len(found))]
  for step, end in enumerate(ends):
    for feed, batch in zip(whole, by_seed(placement, found[step]), strict=True):
      expected = feed.batch(step)
      assert batch.keys() == expected.keys()
      for key, value in expected.items():
        value = value[:, :end] if "text" in key else value
        np.testing.assert_array_equal(batch[key], value, err_msg=key)
  assert len({*ends}) > 1
  # One program a bucket: under jit a step is traced once for each.
  assert len({*traced}) == len({*ends})
  assert place == "pmap" or len(traced) == len({*ends})


def test_evaluation_is_cut_batch_by_batch_and_whole_together():
  placement = Placement("pmap", SEEDS, "loop", {})
  made = [EvalFeed(source(), BATCH, ENDS)]
  found = seen("device", placement, made, stop=len(made[0]))
  streamed = seen("stream", placement, made, stop=len(made[0]))
  rows = texts()
  for step, groups in enumerate(found):
    start = step * BATCH
    end = bucket_of(made, step)
    for batch, other in zip(groups, streamed[step], strict=True):
      valid = batch["valid"]
      expected = rows["text"][start : start + BATCH, :end]
      np.testing.assert_array_equal(batch["text"][valid], expected)
      for key in batch:
        np.testing.assert_array_equal(batch[key], other[key], err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["uniform", "similar_length"])
@pytest.mark.parametrize("kind", ["device", "stream"])
def test_a_feed_that_goes_on_sees_what_it_would_have_seen(kind, way):
  placement = Placement("pmap", SEEDS, "loop", {})
  whole = seen(kind, placement, orders(sampling=way))
  later = seen(kind, placement, orders(sampling=way), start=7)
  for groups, others in zip(whole[7:], later, strict=True):
    for one, other in zip(groups, others, strict=True):
      for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def test_processes_make_parts_with_the_bucket_of_the_whole_batch(monkeypatch):
  placement = Placement("pmap", SEEDS, "loop", {})
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  made, parts, shorter = orders(), [], 0
  for process in range(2):
    monkeypatch.setattr(jax, "process_index", lambda process=process: process)
    part = placement.part(BATCH)
    parts.append(
      [
        buckets.aligned([one.draw(step, part) for one in made])
        for step in range(9)
      ]
    )
  lengths = reaches(texts()["mask/text"])
  for step in range(9):
    end = bucket_of(made, step)
    for process, seed in itertools.product(range(2), range(SEEDS)):
      own = parts[process][step][seed]
      assert own["span/text"].shape == (BATCH // 2, end)
      shorter += lengths[own["position"]].max() <= 6 < end
  # It is a test only where a part alone would have had another bucket.
  assert shorter


def test_a_feed_in_another_process_draws_the_same():
  here = orders(sampling="similar_length")[0]
  there = pickle.loads(pickle.dumps(here))
  for step in (0, 9, 40):
    one, other = here.batch(step), there.batch(step)
    for key in one:
      np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize(
  ("size", "batch"), [(N, 16), (96, 16), (7, 16), (16, 7), (200, 3)]
)
def test_every_example_comes_once_an_epoch_whatever_is_grouped(size, batch):
  rows = texts(size)
  one = TrainFeed(
    ArraySource({**rows, "index": np.arange(size)}),
    seed=3,
    batch_size=batch,
    sampling="similar_length",
    buckets=ENDS,
  )
  steps = 5 * size // batch + 1
  drawn = np.concatenate([one.indices(step) for step in range(steps)])
  epochs = drawn[: 5 * size].reshape(5, size)
  for epoch in epochs:
    np.testing.assert_array_equal(np.sort(epoch), np.arange(size))
  assert len({tuple(epoch) for epoch in epochs}) == 5


def test_a_batch_that_lies_in_one_window_has_its_lengths_to_itself(monkeypatch):
  monkeypatch.setattr(sampling, "WINDOW", 4)
  lengths = reaches(texts()["mask/text"])
  one = orders(sampling="similar_length")[0]
  plain = orders()[0]
  for epoch in range(3):
    # Batches that lie in the epoch, and in its windows as they were drawn.
    first = -(-epoch * N // BATCH)
    steps = range(first, (epoch + 1) * N // BATCH)
    drawn = [set(one.indices(step)) for step in steps]
    for start in range(0, len(steps), 4):
      window = {
        place
        for step in steps[start : start + 4]
        for place in plain.indices(step)
      }
      own = [batch for batch in drawn if batch <= window]
      assert len(own) == len(steps[start : start + 4])
      spans = sorted(
        (min(lengths[[*batch]]), max(lengths[[*batch]])) for batch in own
      )
      for (_, most), (least, _) in itertools.pairwise(spans):
        assert most <= least


def test_texts_of_one_length_stay_in_the_batches_they_were_drawn_in():
  rows = {"text": np.zeros((64, 4), np.int32), "mask/text": np.ones((64, 4))}
  rows["mask/text"] = rows["mask/text"] > 0
  options = {"seed": 5, "batch_size": 8, "buckets": {"text": (4,)}}
  table = ArraySource({**rows, "index": np.arange(64)})
  alike = TrainFeed(table, sampling="similar_length", **options)
  plain = TrainFeed(table, **options)
  drawn = lambda feed: [tuple(feed.indices(step)) for step in range(8)]
  assert sorted(drawn(alike)) == sorted(drawn(plain))
  assert drawn(alike) != drawn(plain)


def padding(table, seeds, batch, ends, way, steps):
  """The share of positions that hold no word, counted over some steps."""
  made = [
    TrainFeed(
      table, seed=seed, batch_size=batch, sampling=way, buckets={"text": ends}
    )
    for seed in range(seeds)
  ]
  words = cells = 0
  for step in range(steps):
    for at in buckets.aligned([one.draw(step) for one in made]):
      words += int(table.columns["mask/text"][at["position"]].sum())
      cells += at["span/text"].size
  return 1 - words / cells


@pytest.mark.skipif(
  not (pathlib.Path(ROOT) / "sst2").exists(), reason="no SST-2 (KDJAX_DATA)"
)
@pytest.mark.parametrize("seeds", [1, 5])
def test_padding_of_real_sentences_falls_where_batches_are_of_one_length(seeds):
  table = registry.find("data", "sst2").load("train", root=ROOT)
  ends = (16, 24, 32, 48)
  whole = padding(table, seeds, 64, (48,), "uniform", 108)
  random = padding(table, seeds, 64, ends, "uniform", 108)
  alike = padding(table, seeds, 64, ends, "similar_length", 108)
  assert 0.6 < whole < 0.65
  # Of 64 sentences one is long, nearly always.
  assert whole - 0.03 < random <= whole
  assert alike < 0.3


class Decoded:
  """Records with texts that are known, or only when they are read."""

  index, labels = np.arange(N), np.zeros(N, np.int32)

  def __init__(self, known):
    self.spec = {"text": np.zeros(T, "i4"), "mask/text": np.zeros(T, bool)}
    self.faults = {}
    self.values = texts() if known else {}

  def read(self, positions):
    rows = {} if self.values else texts()
    return [
      {key: value[place] for key, value in rows.items()} for place in positions
    ]


def test_records_know_their_lengths_before_they_are_decoded_or_are_refused():
  options = {"seed": 0, "batch_size": BATCH, "buckets": ENDS}
  feed, table = TrainFeed(RecordSource(Decoded(True)), **options), orders()[0]
  for step in range(9):
    one, other = feed.batch(step), table.batch(step)
    np.testing.assert_array_equal(one["text"], other["text"])
  with pytest.raises(UserError, match="'text' are known only after decoding"):
    TrainFeed(RecordSource(Decoded(False)), **options)
  TrainFeed(RecordSource(Decoded(False)), seed=0, batch_size=BATCH)


def test_a_source_without_lengths_is_an_error_only_with_buckets():
  bare = collections.UserList([0] * 20)
  TrainFeed(bare, seed=0, batch_size=4)
  with pytest.raises(UserError, match="UserList has no method `lengths`"):
    TrainFeed(bare, seed=0, batch_size=4, buckets=ENDS)


@pytest.fixture(scope="module", autouse=True)
def held():
  """A data set of texts and images, with labels that can be learned."""
  rows = texts(90, seed=4)
  rng = np.random.default_rng(0)
  splits = np.array(["train", "validation", "test"])[np.arange(90) % 3]
  label = (rows["text"] * rows["mask/text"]).sum(1) % 3
  rows["image"] = rng.normal(size=(90, 8, 8, 1)).astype(np.float32)
  arrays.hold("sentences", {**rows, "label": label, "split": splits})


def network(name="text_transformer", **options):
  if name == "text_transformer":
    options = {"width": 8, "depth": 1, "heads": 2, **options}
  options = {"vocabulary": WORDS, "num_classes": 3, **options}
  return config.network(name, **options)


def experiment(ends=None, *, way="uniform", terms=None, student=None, **more):
  """A teacher of texts, and a student that learns from all its tokens."""
  knobs = {
    "steps": 8, "batch_size": 16, "log_every": 2, "eval_every": 4,
    "save_every": 0, "optimizer": config.optimizer("sgd", learning_rate=0.1),
  }  # fmt: skip
  labels = {"cross_entropy": config.term("cross_entropy")}
  tokens = {
    name: config.term(
      loss,
      reads={
        "student": f"student/{output}",
        "teacher": f"teacher/{output}",
        "mask": "batch/mask/text",
      },
    )
    for name, loss, output in (
      ("hidden", "hidden_mse", "tokens"),
      ("attention", "attention_mse", "scores00"),
      ("looks", "attention_cross_entropy", "scores00"),
    )
  }
  pipelines = {"train": {"text": "token_dropout(rate=0.3)"}}
  terms = labels | tokens if terms is None else terms
  return config.experiment(
    "sentences",
    seeds=2,
    data=config.data(
      "arrays",
      held="sentences",
      buckets=ends,
      sampling=way,
      pipelines=pipelines,
    ),
    stages={
      "teacher": config.stage(network(), terms=labels, **knobs),
      "distilled": config.stage(
        student or network(),
        teachers={"teacher": config.teacher("teacher")},
        terms=terms,
        **knobs,
        **more,
      ),
    },
  )


def planned(made):
  check.plan(workdir.resolve(made), ["teacher", "distilled"])


@pytest.mark.slow
@pytest.mark.parametrize(
  ("ends", "message"),
  [
    ({"txt": (6,)}, "names 'txt'.*Did you mean 'text'.*There are: text"),
    ({"image": (6,)}, "names 'image', which is not a text"),
    ({"text": (11, 6)}, r"\(11, 6\).*Expected increasing lengths"),
    ({"text": (6, 6)}, "Expected increasing lengths"),
    ({"text": (6, T + 1)}, f"Expected at most {T}, the length"),
    ({"text": (0, 6)}, "Expected lengths"),
    ({"text": (1.5,)}, "Expected lengths"),
    ({"text": 6}, "Expected lengths"),
  ],
)
def test_impossible_buckets_are_an_error_before_data_is_read(ends, message):
  with pytest.raises(UserError, match=f"(?s)Stage 'teacher': .*{message}"):
    planned(experiment(ends))


@pytest.mark.slow
def test_similar_length_needs_buckets():
  with pytest.raises(UserError, match="'similar_length' needs data with"):
    planned(experiment(way="similar_length"))
  planned(experiment({"text": (6,)}, way="similar_length"))


@pytest.mark.slow
def test_a_stage_that_needs_whole_texts_is_an_error_before_training():
  flat = config.network("mlp", modality="text", num_classes=3)
  labels = {"cross_entropy": config.term("cross_entropy")}
  made = lambda ends: experiment(ends, terms=labels, student=flat)
  planned(made(None))
  with pytest.raises(UserError, match=r"does not trace with.*'text' has 6 pos"):
    planned(made({"text": (6,)}))
  tokens = config.metric(
    "cka", reads={"student": "student/tokens", "teacher": "teacher/tokens"}
  )
  metrics = {"classification": config.metric("classification"), "cka": tokens}
  planned(experiment(metrics=metrics))
  with pytest.raises(UserError, match="'cka' keep a value per position"):
    planned(experiment({"text": (6,)}, metrics=metrics))


def readers():
  """Every network of texts, alone and as a part of each that has parts."""
  found = {}
  for name in registry.names("models"):
    known = registry.describe("models", name).options
    # A network that writes texts does not read them from `text`.
    if "vocabulary" in known and "encoders" not in known:
      small = OPTIONS_TO_TEST.get(name, {})
      found[name] = registry.find("models", name)(
        vocabulary=WORDS, num_classes=3, **small
      )
  image = mlp.Model(widths=(4,))
  for name in registry.names("models"):
    known = registry.describe("models", name).options
    if "encoders" not in known or "vocabulary" in known:
      continue
    parts = {"image": image, "text": found["text_transformer"]}
    joins = fusion._joins.JOINS if name == "fusion" else [None]
    for join in joins:
      more = {"join": join} if join else {}
      model = registry.find("models", name)
      found[f"{name}-{join}"] = model(parts, num_classes=3, **more)
  return found


READERS = readers()


def test_networks_of_texts_are_among_those_that_are_read():
  assert {"bilstm", "text_cnn", "text_transformer"} <= READERS.keys()
  assert {"fusion-bottleneck", "two_tower-None"} <= READERS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_outputs_and_gradients_are_equal_for_a_text_that_is_cut(name):
  model, rows = READERS[name], texts(6, seed=2)
  end = 9
  rows["mask/text"][:, end:] = False
  rows["mask/text"][5] = np.arange(T) < end  # up to the edge
  rng = np.random.default_rng(1)
  rows["image"] = rng.normal(size=(6, 8, 8, 1)).astype(np.float32)
  whole = {key: jnp.asarray(value) for key, value in rows.items()}
  short = {
    key: value[:, :end] if "text" in key else value
    for key, value in whole.items()
  }
  start = functools.partial(model.init, train=False)
  variables = jax.tree.map(
    lambda x: jnp.asarray(0.3 * rng.normal(size=x.shape), x.dtype),
    jax.eval_shape(start, jax.random.key(0), whole),
  )

  def objective(variables, inputs):
    outputs = model.apply(variables, inputs, train=False)
    return jnp.mean(jnp.sin(outputs["logits"])), outputs

  learned = jax.jit(jax.grad(objective, has_aux=True))
  gradient, outputs = learned(variables, whole)
  cut_gradient, cut = learned(variables, short)
  assert cut.keys() == outputs.keys()
  for key, value in cut.items():
    # The texts stand last on every axis that is shorter now.
    part = outputs[key][tuple(slice(0, size) for size in value.shape)]
    np.testing.assert_allclose(value, part, 1e-5, 1e-5, err_msg=key)
  for one, other in zip(
    jax.tree.leaves(cut_gradient), jax.tree.leaves(gradient), strict=True
  ):
    np.testing.assert_allclose(one, other, 1e-5, 1e-5)
  assert any(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_a_step_on_a_text_that_is_cut_is_the_step_on_the_whole():
  trained = {}
  for ends in (None, {"text": (6, 11)}):
    stage = build.build(workdir.resolve(experiment(ends)), "distilled")
    rng = np.random.default_rng(3)
    drawn = lambda leaf, rng=rng: jnp.asarray(
      0.3 * rng.normal(size=leaf.shape), leaf.dtype
    )
    fixed = stage.fixed(jax.tree.map(drawn, stage.teacher_shapes()))
    feed = stage.train_feed(stage.load("train", 0), 0)
    batch = next(
      one for one in map(feed.batch, range(9)) if reach_of(one) <= 11
    )
    state = jax.jit(stage.init)(0, fixed)
    state, metrics = jax.jit(stage.train_step)(state, fixed, batch)
    trained[ends is None] = batch, state.params, metrics
  (whole, params, metrics), (short, other, recorded) = (
    trained[True],
    trained[False],
  )
  assert (whole["text"].shape[1], short["text"].shape[1]) == (T, 11)
  np.testing.assert_array_equal(whole["index"], short["index"])
  for name, value in metrics.items():
    np.testing.assert_allclose(recorded[name], value, atol=1e-5, err_msg=name)
  for one, two in zip(
    jax.tree.leaves(params), jax.tree.leaves(other), strict=True
  ):
    np.testing.assert_allclose(one, two, atol=1e-5)


def reach_of(batch):
  return reaches(batch["mask/text"]).max()


@pytest.mark.slow
@pytest.mark.parametrize(
  "pipeline",
  [
    "token_dropout(rate=0.5)",
    f"token_corruption(vocabulary={WORDS}, rate=0.5)",
  ],
)
def test_the_augmentation_of_a_token_does_not_depend_on_the_bucket(
  pipeline,
):
  made, mask = parse(pipeline), jnp.ones(T, bool)
  ids = jnp.arange(T, dtype=jnp.int32) + 2
  for place in range(3):
    whole = made(jax.random.key(place), ids, mask)[0]
    assert 0 < jnp.sum(whole != ids) < T
    for end in (1, 7, 16):
      short = made(jax.random.key(place), ids[:end], mask[:end])[0]
      np.testing.assert_array_equal(short, whole[:end])


@pytest.mark.slow
def test_a_run_with_buckets_ends_as_one_of_whole_texts(tmp_path):
  found = []
  for name, ends in (("whole", None), ("cut", {"text": (6, 11)})):
    folder = tmp_path / name / "stages" / "teacher"
    kdjax.run(experiment(ends), tmp_path / name, stage="teacher", quiet=True)
    result = json.loads((folder / "result.json").read_text())
    logits = np.load(folder / "predictions.npz")["logits"]
    found.append((result["test"]["best"]["accuracy"], logits))
  (whole, logits), (cut, other) = found
  np.testing.assert_allclose(logits, other, atol=1e-5)
  assert whole == cut
