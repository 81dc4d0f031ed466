"""Networks that start from checkpoints, and frozen published teachers."""

import json
import pathlib
import shutil

import checkpoints
import flax
import jax
import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.teachers import cache_plan
from kdjax.training import check, initialization, placed, workdir

ROOT = pathlib.Path(__file__).parents[1]
N, T, K, BATCH = 40, 5, 3, 8
TERMS = {"cross_entropy": config.term("cross_entropy")}


@pytest.fixture(scope="module", autouse=True)
def data():
  """Images, and texts as word pieces with padding."""
  rng = np.random.default_rng(0)
  mask = np.arange(T) < rng.integers(2, T + 1, size=N)[:, None]
  ids = rng.integers(1, checkpoints.BERT["vocab_size"], size=(N, T))
  arrays.hold(
    "pairs",
    {
      "image": rng.normal(size=(N, 6, 6, 1)).astype(np.float32),
      "pieces": np.where(mask, ids, checkpoints.PADDING),
      "mask/pieces": mask,
      "label": np.arange(N) % K,
    },
  )


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
  """The folder of a checkpoint without a classifier, and its leaves."""
  folder = tmp_path_factory.mktemp("bert") / "checkpoint"
  leaves = checkpoints.write(folder, "bert", checkpoints.BERT, words=False)
  return folder, leaves


def network(folder, **options):
  """A BERT that starts from a checkpoint and reads pieces."""
  options = {"modality": "pieces", **options}
  return config.network("bert", pretrained=str(folder), **options)


def stage(student, teachers=None, terms=None, **knobs):
  knobs = {"steps": 2, "batch_size": BATCH, "log_every": 1, **knobs}
  return config.stage(
    student, teachers=teachers or {}, terms=TERMS | (terms or {}), **knobs
  )


def conv():
  return config.network("conv", widths=(4,), num_classes=K)


def embedding_terms():
  """A term on the embeddings of student and teacher."""
  return {
    "cosine": config.term(
      "cosine",
      reads={"student": "student/embedding", "teacher": "teacher/embedding"},
      heads={"student": config.head("linear")},
    )
  }


def distilled_stage(folder, **knobs):
  """A stage with a frozen teacher."""
  frozen = config.frozen(network(folder), **knobs)
  return stage(conv(), {"teacher": frozen}, embedding_terms(), steps=12)


def experiment(**stages):
  return config.experiment(
    "initialization",
    seeds=2,
    data=config.data("arrays", held="pairs"),
    stages=stages,
  )


def build_stage(name="one", **stages):
  """The config of an experiment, and one of its stages."""
  plain = workdir.resolve(experiment(**stages))
  return plain, build.build(plain, name)


def flat(variables):
  return flax.traverse_util.flatten_dict(dict(variables), sep="/")


def same(actual, expected):
  assert actual.keys() == expected.keys()
  for leaf, value in expected.items():
    np.testing.assert_array_equal(actual[leaf], value, err_msg=leaf)


def initial(folder, name="one", **stages):
  """The initial leaves of the student of two seeds."""
  plain, one = build_stage(name, **stages)
  found = initialization.initial_variables(plain, one, folder, [0, 1])
  return [flat(seed["networks"]["student"]) for seed in found]


# Frozen teachers


@pytest.mark.parametrize("chunks", [1, 2])
def test_a_frozen_teacher_has_the_variables_of_its_checkpoint(
  bert, tmp_path, chunks
):
  folder, leaves = bert
  plain, one = build_stage(one=distilled_stage(folder, chunks=chunks))
  fixed = initialization.load_fixed(one, [0, 1], config=plain, workdir=tmp_path)
  same(flat(fixed[0].teachers["teacher"]), leaves)
  # All seeds share one copy in memory.
  assert fixed[0].teachers["teacher"] is fixed[1].teachers["teacher"]


@pytest.mark.slow
def test_a_step_reads_the_frozen_teacher(bert, tmp_path):
  plain, one = build_stage(one=distilled_stage(bert[0]))
  fixed = initialization.load_fixed(one, [0], config=plain, workdir=tmp_path)[0]
  batch = one.train_feeds([0])[0].batch(0)
  step = jax.jit(one.train_step)
  _, metrics = step(one.init(0, fixed), fixed, batch)
  moved = fixed.replace(
    teachers=jax.tree.map(lambda leaf: leaf[..., ::-1], fixed.teachers)
  )
  _, other = step(one.init(0, fixed), moved, batch)
  assert np.isfinite(metrics["loss/cosine"])
  assert metrics["loss/cosine"] != other["loss/cosine"]


def test_a_classifier_that_a_checkpoint_lacks_cannot_be_frozen(bert):
  teacher = config.frozen(network(bert[0], num_classes=K))
  kd = {"kd": config.term("kd")}
  plan = experiment(one=stage(conv(), {"teacher": teacher}, kd))
  with pytest.raises(UserError, match=r"'teacher' is frozen.*head/kernel"):
    check.plan(workdir.resolve(plan), ["one"])


def test_a_frozen_network_needs_weights():
  with pytest.raises(UserError, match="frozen network 'conv' has no weights"):
    config.frozen(conv())


def test_teachers_with_different_pooling_have_different_caches(bert, tmp_path):
  paths = []
  for pooling in ("mean", "cls", "mean"):
    frozen = config.frozen(network(bert[0], pooling=pooling), cache="auto")
    plain, one = build_stage(
      one=stage(conv(), {"teacher": frozen}, embedding_terms())
    )
    fixed = initialization.load_fixed(one, [0], config=plain, workdir=tmp_path)
    orders = one.train_feeds([0])
    (plan,) = cache_plan.plan(one, tmp_path, "teacher", orders, fixed)
    paths.append(plan.path)
  assert paths[0] == paths[2] != paths[1]


def test_a_copy_of_a_checkpoint_shares_its_cache(bert, tmp_path):
  shutil.copytree(bert[0], tmp_path / "copy")
  paths = []
  for folder in (bert[0], tmp_path / "copy"):
    plain, one = build_stage(one=distilled_stage(folder, cache="auto"))
    fixed = initialization.load_fixed(one, [0], config=plain, workdir=tmp_path)
    orders = one.train_feeds([0])
    (plan,) = cache_plan.plan(one, tmp_path, "teacher", orders, fixed)
    paths.append(plan.path)
  assert paths[0] == paths[1]


# Networks that start from a checkpoint


def test_a_network_starts_from_its_checkpoint_and_a_head_from_its_seed(
  bert, tmp_path
):
  folder, leaves = bert
  student = stage(network(folder, num_classes=K))
  first, second = initial(tmp_path, one=student)
  head = {"params/head/kernel", "params/head/bias"}
  assert first.keys() == leaves.keys() | head
  for seed in (first, second):
    same({leaf: seed[leaf] for leaf in leaves}, leaves)
  assert (first["params/head/kernel"] != second["params/head/kernel"]).all()
  (again, _) = initial(tmp_path, one=student)
  same(again, first)


@pytest.mark.slow
def test_training_starts_from_the_initial_variables(bert, tmp_path):
  folder, leaves = bert
  plain, one = build_stage(one=stage(network(folder, num_classes=K)))
  found = initialization.initial_variables(plain, one, tmp_path, [0])[0]
  fixed = one.fixed({}, one.data_statistics(0))
  state = one.init(0, fixed, found)
  params = flat({"params": state.params["networks"]["student"]})
  same({leaf: params[leaf] for leaf in leaves}, leaves)


def test_options_override_those_of_the_checkpoint(bert):
  _, one = build_stage(one=stage(network(bert[0], num_classes=K, dropout=0.25)))
  student = one.objective.networks["student"]
  assert (student.dropout, student.num_classes) == (0.25, K)
  assert (student.width, student.depth, student.inner) == (8, 4, 12)


def blocks_are(actual, expected, layers):
  """Asserts that blocks are the leading slices of those of a network."""
  for i, layer in enumerate(layers):
    leaves = [leaf for leaf in actual if f"/block{i:02d}_" in leaf]
    assert len(leaves) == 16
    for leaf in leaves:
      value = expected[leaf.replace(f"/block{i:02d}", f"/block{layer:02d}")]
      cut = tuple(slice(size) for size in actual[leaf].shape)
      np.testing.assert_array_equal(actual[leaf], value[cut], err_msg=leaf)
  assert not any(f"/block{len(layers):02d}_" in leaf for leaf in actual)


LAYERS = [("first", [0, 1]), ("even", [0, 3]), ((1, 3), [1, 3])]


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "expected"), LAYERS)
@pytest.mark.parametrize("sizes", [{}, {"width": 4, "heads": 1, "inner": 6}])
def test_a_shallower_and_narrower_network_starts_from_layers_of_a_checkpoint(
  bert, tmp_path, layers, expected, sizes
):
  folder, leaves = bert
  student = network(folder, depth=2, from_layers=layers, num_classes=K, **sizes)
  first, second = initial(tmp_path, one=stage(student))
  blocks_are(first, leaves, expected)
  width = sizes.get("width", 8)
  words = first["params/words/embedding"]
  np.testing.assert_array_equal(
    words, leaves["params/words/embedding"][:, :width]
  )
  kernels = [one["params/head/kernel"] for one in (first, second)]
  assert kernels[0].shape == (width, K) and (kernels[0] != kernels[1]).all()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"depth": 5, "from_layers": "even"}, "has 5 blocks, the source 4"),
    ({"depth": 2, "from_layers": (1, 4)}, "Expected 2 indices from 0 to 3"),
    ({"width": 16, "from_layers": "first"}, "cannot inherit"),
    ({"depth": 2}, "2 unexpected|32 unexpected"),
  ],
)
def test_layers_that_a_checkpoint_lacks_are_refused_before_training(
  bert, options, message
):
  plan = experiment(one=stage(network(bert[0], num_classes=K, **options)))
  with pytest.raises(UserError, match=message):
    check.plan(workdir.resolve(plan), ["one"])


def test_layers_without_a_source_are_refused():
  with pytest.raises(UserError, match="from_layers='even' and no source"):
    config.network("bert", vocabulary=9, from_layers="even")


def test_an_empty_name_is_no_checkpoint():
  with pytest.raises(UserError, match=r"pretrained=''.*name of a checkpoint"):
    config.network("bert", pretrained="")


# Checkpoints that do not fit


def lacking(folder):
  checkpoints.write(
    folder,
    "bert",
    checkpoints.BERT,
    words=False,
    without=("encoder.layer.2.output.dense.bias",),
  )


def of_other_sizes(folder):
  checkpoints.write(folder, "bert", checkpoints.BERT, words=False)
  other = {**checkpoints.BERT, "intermediate_size": 13}
  checkpoints.write_json(folder / "config.json", other)


def of_another_kind(folder):
  checkpoints.write(folder, "clip", checkpoints.clip(8, 8), words=False)


def without_weights(folder):
  folder.mkdir()
  checkpoints.write_json(folder / "config.json", checkpoints.BERT)


BROKEN = {
  "not there": (lambda folder: None, "No folder '/"),
  "no weights": (without_weights, r"no model\.safetensors"),
  "a missing tensor": (
    lacking,
    r"1 missing:\n  encoder\.layer\.2\.output\.dense\.bias",
  ),
  "other sizes": (of_other_sizes, "of another shape"),
  "another kind": (of_another_kind, "model_type 'clip'.*network 'clip'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("use", ["trained", "frozen", "a part"])
def test_a_checkpoint_that_does_not_fit_stops_before_anything_is_trained(
  tmp_path, kind, use
):
  make, message = BROKEN[kind]
  folder = tmp_path / "checkpoint"
  make(folder)
  later = {
    "trained": lambda: stage(network(folder, num_classes=K)),
    "frozen": lambda: distilled_stage(folder),
    "a part": lambda: stage(
      network(folder, num_classes=K, depth=2, from_layers="last")
    ),
  }[use]()
  with pytest.raises(UserError, match=message):
    kdjax.run(experiment(early=stage(conv()), late=later), tmp_path / "run")
  assert not (tmp_path / "run").exists()


# Two stages, from a checkpoint to a frozen teacher's student


SMALL = {"depth": 2, "width": 4, "heads": 1, "inner": 6, "num_classes": K}


def whole(folder):
  """A stage continues training; another learns from the frozen network."""
  options = {
    "modality": "pieces",
    "vocabulary": checkpoints.BERT["vocab_size"],
    "length": checkpoints.BERT["max_position_embeddings"],
  }
  small = config.network(
    "bert", init_from="large", from_layers="even", **options, **SMALL
  )
  frozen = config.frozen(network(folder), cache="auto")
  return experiment(
    large=stage(network(folder, num_classes=K)),
    small=stage(small, {"teacher": frozen}, embedding_terms(), steps=12),
  )


def change(plan, **options):
  """Changes options of the small network."""
  student = plan.stages.small.networks.student
  with student.ignore_type():
    student.update(options)


@pytest.fixture(scope="module")
def ran(bert, tmp_path_factory):
  folder = tmp_path_factory.mktemp("run")
  return folder, kdjax.run(whole(bert[0]), folder, quiet=True)


@pytest.fixture(scope="module")
def large(ran):
  """The large network's variables at its best, of each seed."""
  seeds = (0, 1)
  return [flat(kdjax.restore(ran[0], "large", seed=one)[1]) for one in seeds]


@pytest.mark.slow
def test_an_experiment_runs_from_a_checkpoint_to_a_report(ran):
  folder, results = ran
  for name in ("large", "small"):
    assert len(results["stages"][name]["accuracy"]["seeds"]) == 2
  text = (folder / "report.md").read_text()
  assert "with its published weights" in text
  assert "initialized from stage `large`" in text
  assert (folder / "report.html").is_file()


@pytest.mark.slow
def test_outputs_of_the_frozen_teacher_are_cached_once_for_all_seeds(ran):
  (cache,) = (ran[0] / "cache").iterdir()
  assert cache.name.startswith("teacher-")


@pytest.mark.slow
def test_a_network_that_started_from_a_checkpoint_is_restored(ran):
  folder, results = ran
  found = [
    kdjax.restore(folder, "large", seed=seed, which="last") for seed in (0, 1)
  ]
  source = arrays.load("test", held="pairs").columns
  inputs = {key: source[key] for key in ("pieces", "mask/pieces")}
  logits = [
    model.apply(variables, inputs, train=False)["logits"]
    for model, variables in found
  ]
  accuracy = [np.mean(np.argmax(x, 1) == source["label"]) for x in logits]
  expected = results["stages"]["large"]["accuracy_last"]["seeds"]
  np.testing.assert_allclose(accuracy, expected, atol=1e-6)
  again = kdjax.evaluate(folder, "small")["accuracy"]
  np.testing.assert_allclose(
    again, results["stages"]["small"]["accuracy"]["seeds"]
  )


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "expected"), LAYERS)
def test_a_network_starts_from_layers_of_an_earlier_stage(
  ran, large, bert, layers, expected
):
  # "even" keeps the width; the other selections are narrower.
  wide = {"width": 8, "heads": 2, "inner": 12} if layers == "even" else {}
  plan = whole(bert[0])
  change(plan, from_layers=layers, **wide)
  plain = workdir.resolve(plan)
  found = initialization.initial_variables(
    plain, build.build(plain, "small"), ran[0], [0, 1]
  )
  for own, other in zip(found, large, strict=True):
    own = flat(own["networks"]["student"])
    blocks_are(own, other, expected)
    cut = tuple(slice(size) for size in own["params/head/kernel"].shape)
    np.testing.assert_array_equal(
      own["params/head/kernel"], other["params/head/kernel"][cut]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"from_layers": (0, 4)}, "Expected 2 indices from 0 to 3"),
    ({"width": 16}, "cannot inherit"),
    ({"init_from": "large/peer"}, "'large' has no network 'peer'.*student"),
  ],
)
def test_layers_that_an_earlier_stage_lacks_are_refused_before_it_is_trained(
  bert, tmp_path, changes, message
):
  plan = whole(bert[0])
  change(plan, **changes)
  with pytest.raises(UserError, match=message):
    kdjax.run(plan, tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_stage_after_one_with_inherited_layers_has_them_already(
  bert, tmp_path
):
  # Methods with two stages set `init_from` of such a student.
  part = network(bert[0], depth=2, from_layers=(1, 3), num_classes=K)
  plan = experiment(first=stage(part, steps=1), second=stage(part, steps=1))
  plan.seeds = 1
  plan.stages.second.networks.student.init_from = "first"
  kdjax.run(plan, tmp_path, quiet=True, stage="first")
  plain = workdir.resolve(plan)
  check.plan(plain, ["second"])
  one = build.build(plain, "second")
  found = initialization.initial_variables(plain, one, tmp_path, [0])
  _, first = kdjax.restore(tmp_path, "first")
  same(flat(found[0]["networks"]["student"]), flat(first))


# The config of CLIP-KD


@pytest.mark.slow
def test_the_config_of_clip_kd_runs_on_two_checkpoints_of_other_sizes(tmp_path):
  argument = checkpoints.clip_pair(tmp_path)
  plan = kdjax.load(f"{ROOT / 'configs' / 'clip_kd.py'}:{argument}")
  plan.data.root = str(tmp_path)
  plan.data.image_size, plan.data.length = (20, 20), 8
  for one in plan.stages.values():
    one.steps, one.batch_size, one.eval_every, one.log_every = 2, 8, 1, 1
  # The terms of the other stage are among those of this one.
  results = kdjax.run(plan, tmp_path / "run", quiet=True, stage="distilled")
  assert np.isfinite(results["stages"]["distilled"]["mean_recall"]["mean"])
  lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").open())
  terms = {
    line["name"]: line["value"]
    for line in lines
    if line["stage"] == "distilled" and line["name"].startswith("train/")
  }
  parts = {f"train/loss/{name}" for name in ("clip", "ckd", "icl", "fd")}
  assert parts <= terms.keys()
  assert all(np.isfinite(value) for value in terms.values())


def test_each_network_of_clip_kd_has_its_own_image_size(tmp_path):
  argument = checkpoints.clip_pair(tmp_path)
  plan = kdjax.load(f"{ROOT / 'configs' / 'clip_kd.py'}:{argument}")
  plan.data.root = str(tmp_path)
  plain = workdir.resolve(plan)
  one = build.build(plain, "distilled")
  assert one.objective.networks["student"].image_size == (8, 8)
  assert one.objective.teachers["teacher"].image_size == (16, 16)
  batch = jax.eval_shape(
    lambda batch: one.objective.views(batch, train=True)["image"],
    one.example(),
  )
  assert batch.shape[1:] == (8, 8, 3)
  assert placed.seeds_of(plain) == [0]


def test_the_config_of_clip_kd_refuses_an_unknown_argument():
  with pytest.raises(UserError, match=r"'pupil'.*student, teacher"):
    kdjax.load(f"{ROOT / 'configs' / 'clip_kd.py'}:pupil=x")
