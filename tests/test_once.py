"""The view "once": transforms of a split when it is loaded."""

import json
import shutil

import examples
import jax
import numpy as np
import pytest
from test_transforms import Transform, keys_of

import kdjax
from kdjax import config, registry
from kdjax.bench.trainer import Trainer
from kdjax.cache.store import Reader
from kdjax.data import arrays, manifest
from kdjax.errors import UserError
from kdjax.feed import decoded_splits, loaders
from kdjax.stage import build, once_sources
from kdjax.stage.once import Once
from kdjax.step import state as states
from kdjax.step.pipeline import Pipeline, Step, parse
from kdjax.training import check, predictors, workdir
from kdjax.training.checkpoints import Checkpoints

N, K, LONG = 72, 3, 12

FIRST = {
  "image": "to_float|resize(size=4)",
  "series": "series_spectrogram(window=4, hop=2)",
}
NORMAL = "normalize(mean=(0.4,), std=(0.3,))"

# Of zeros, `unit` makes NaN.
FILE = '''
"""Transforms."""


def unit(key, x):
  """Divides by the length."""
  return x / (x**2).sum() ** 0.5


def dim(key, x, *, much=1.0):
  """Lowers all values."""
  return x * much


def halved(key, x):
  """Every other position, and no mask of them."""
  return x[::2]
'''


@pytest.fixture(scope="module", autouse=True)
def data():
  """Images, and series with padding, of which some are missing."""
  rng = np.random.default_rng(0)
  length, has = rng.integers(4, LONG + 1, N), rng.random(N) < 0.7
  mask = (np.arange(LONG) < length[:, None]) & has[:, None]
  series = rng.normal(size=(N, LONG, 2)).astype(np.float32)
  columns = {
    "image": rng.integers(256, size=(N, 8, 8, 1), dtype=np.uint8),
    "series": series * mask[..., None],
    "mask/series": mask,
    "has/series": has,
    "label": rng.integers(K, size=N),
    "split": np.array(["train", "validation", "test"])[np.arange(N) % 3],
  }
  arrays.hold("senses", columns)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
  path = tmp_path_factory.mktemp("transforms") / "mine.py"
  path.write_text(FILE)
  return str(path)


@pytest.fixture(autouse=True)
def _empty_caches():
  once_sources.clear()
  decoded_splits.clear()


def joined(*parts):
  return "|".join(filter(None, parts))


def plan_of(pipelines, corruption=NORMAL, sweeps="", **changes):
  """A teacher with both senses, and a student of its cached outputs."""
  knobs = {
    "batch_size": 8, "steps": 6, "log_every": 3, "eval_every": 3,
    "optimizer": config.optimizer("sgd", learning_rate=0.05),
  }  # fmt: skip
  image = lambda **options: config.network("conv", widths=(4,), **options)
  series = config.network("audio_cnn", widths=(3,), modality="series")
  both = config.network(
    "fusion", encoders={"image": image(), "series": series}, num_classes=K
  )
  labels = {"cross_entropy": config.term("cross_entropy")}
  dark = config.corruption("image", corruption, sweeps=sweeps, levels=(0.5,))
  options = {"pipelines": pipelines, **changes}
  return config.experiment(
    "once",
    seeds=2,
    data=config.data("arrays", held="senses", **options),
    stages={
      "large": config.stage(both, terms=labels, **knobs),
      "small": config.stage(
        image(num_classes=K),
        teachers={"teacher": config.teacher("large", cache="auto")},
        terms={"kd": config.term("kd")},
        robustness={"dark": dark} if sweeps else {},
        **knobs,
      ),
    },
  )


def built(plan, stage="large"):
  return build.build(workdir.resolve(plan), stage)


def stored(folder, stage):
  """A stage's parameters, and its predictions of the test examples."""
  with Checkpoints(folder / "stages" / stage / "checkpoints") as saved:
    found = saved.read()
  found = {key: it for key, it in found.items() if "params" in key}
  with np.load(folder / "stages" / stage / "predictions.npz") as file:
    return {**found, "index": file["index"], "logits": file["logits"]}


def close(one, two, tolerance=1e-4):
  assert one.keys() == two.keys() and one
  for key in one:
    np.testing.assert_allclose(
      one[key], two[key], rtol=tolerance, atol=tolerance, err_msg=key
    )


def test_examples_are_as_after_the_same_transforms_in_a_step():
  once = built(plan_of({"once": FIRST}))
  steps = built(plan_of({"train": FIRST, "evaluation": FIRST}))
  found, raw = once.load("train").columns, steps.load("train").columns
  zeros = np.zeros(len(raw["index"]), np.int32)
  for train in (True, False):
    expected = steps.objective.views({**raw, "view": zeros}, train=train)
    close(found, {key: np.asarray(expected[key]) for key in found})
  for key, column in found.items():
    shape = once.spec[key].shape
    assert (column.shape[1:], column.dtype) == (shape, once.spec[key].dtype)


# A run with "once" equals one with the same transforms in each step


@pytest.fixture(scope="module")
def runs(tmp_path_factory, file):
  """Folders and results of runs: with "once", and with all in each step."""
  more = {"image": NORMAL}
  whole = {key: joined(FIRST[key], more.get(key)) for key in FIRST}
  ways = {
    "once": ({"once": FIRST, "train": more, "evaluation": more}, ""),
    "steps": ({"train": whole, "evaluation": whole}, FIRST["image"]),
  }
  ran = {}
  for name, (pipelines, first) in ways.items():
    folder = tmp_path_factory.mktemp(name)
    dark = joined(first, f"'{file}:dim'", NORMAL)
    plan = plan_of(pipelines, dark, f"{file}:dim.much")
    ran[name] = folder, kdjax.run(plan, folder, quiet=True)
  return ran


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["large", "small"])
def test_once_equals_the_same_transforms_in_each_step(runs, stage):
  """With a cached teacher, masks, missing examples and a corruption."""
  close(*(stored(folder, stage) for folder, _ in runs.values()))
  metrics = [result["stages"][stage] for _, result in runs.values()]
  same = [key for key in metrics[0] if key.startswith(("nll", "loss/"))]
  close(*({key: of[key]["seeds"] for key in same} for of in metrics))


@pytest.mark.slow
def test_a_student_with_its_head_reads_raw_inputs():
  """Of SimKD, which predicts through the teacher's classifier."""
  raw = arrays.load("test", held="senses").columns
  logits = []
  for pipelines in ({"once": FIRST}, {"train": FIRST, "evaluation": FIRST}):
    plan = plan_of(pipelines)
    with plan.unlocked():
      base = plan.stages["small"]
      base.teachers.teacher.cache = ""
      plan.stages["large"].networks = base.networks
      maps = {"student_map": "student/stage0", "teacher_map": "teacher/stage0"}
      (plan.stages["small"],) = config.method("simkd", base, **maps).values()
    stage = built(plan, "small")
    values = lambda leaf: np.full(leaf.shape, 0.1, leaf.dtype)
    fixed = stage.fixed(jax.tree.map(values, stage.teacher_shapes()))
    variables = {
      "stage": states.evaluated(stage.init(0, fixed)),
      "fixed": fixed,
    }
    student = predictors.StudentWithHead(stage)
    inputs = {"image": raw["image"][:5]}
    logits.append(student.apply(variables, inputs)["logits"])
  assert np.ptp(logits[0], axis=0).max() > 1e-4
  np.testing.assert_allclose(*logits, atol=1e-5)


@pytest.mark.slow
def test_a_corruption_acts_after_once(runs):
  found = [
    json.loads((folder / "stages/small/result.json").read_text())["robustness"]
    for folder, _ in runs.values()
  ]
  nll = [np.array(it["dark"]["nll"], float) for it in found]
  np.testing.assert_allclose(*nll, rtol=1e-4)


@pytest.mark.slow
def test_a_cached_teacher_is_known_by_its_raw_inputs_and_by_once(runs):
  logits, manifests = [], []
  for folder, _ in runs.values():
    readers = [Reader(path) for path in sorted((folder / "cache").iterdir())]
    assert len(readers) == 2
    manifests.append(readers[0].manifest)
    logits.append(
      sorted(float(it.read_all()["logits.values"].sum()) for it in readers)
    )
  np.testing.assert_allclose(*logits, rtol=1e-4)
  assert manifests[0].data == manifests[1].data
  for key, text in FIRST.items():
    assert f"once: {key}: {parse(text)}" in manifests[0].augmentation
  assert "once" not in manifests[1].augmentation


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["large", "small"])
def test_a_restored_network_reads_raw_inputs(runs, stage):
  raw = arrays.load("test", held="senses").columns
  folder, _ = runs["once"]
  for seed in (0, 1):
    network, variables = kdjax.restore(folder, stage, seed=seed)
    reads = {key: raw[key] for key in network.module.reads if key in raw}
    logits = network.apply(variables, reads, train=False)["logits"]
    expected = stored(folder, stage)["logits"][seed]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


# Files that are decoded


def manifest_plan(options, pipelines, **changes):
  """A network of the image and the sound of files, some of them missing."""
  encoders = {
    "image": config.network("conv", widths=(4,)),
    "audio": config.network("audio_cnn", widths=(3,)),
  }
  both = config.network("fusion", encoders=encoders, num_classes=K)
  one = config.stage(
    both,
    terms={"cross_entropy": config.term("cross_entropy")},
    steps=4,
    batch_size=8,
    eval_every=2,
  )
  return config.experiment(
    "files",
    seeds=2,
    data=config.data(
      "manifest", **{**options, "pipelines": pipelines, **changes}
    ),
    stages={"both": one},
  )


@pytest.fixture(scope="module")
def options(tmp_path_factory):
  """Those of a manifest of forty records, of which one is broken."""
  folder = tmp_path_factory.mktemp("files")
  stated = examples.manifest(folder)
  source = manifest.load("train", **stated)
  place = source.take(np.array([0]))["index"][0]
  (folder / f"img/{place}.png").write_bytes(b"no image")
  return {**stated, "on_error": "skip", "most_broken": 0.5}


def files_first(file):
  """Transforms of what a file holds; a silence or a black image becomes NaN."""
  return {
    "image": f"to_float|'{file}:unit'",
    "audio": f"'{file}:unit'|log_mel(window=80, hop=40, mels=8)",
  }


@pytest.mark.slow
def test_files_are_transformed_when_they_are_decoded(options, file, tmp_path):
  first = files_first(file)
  finite = {key: text.replace(":unit", ":dim") for key, text in first.items()}
  plans = {
    "once": manifest_plan(options, {"once": finite}),
    "streamed": manifest_plan(options, {"once": finite}, feed="stream"),
    "steps": manifest_plan(options, {"train": finite, "evaluation": finite}),
  }
  found = {}
  for name, plan in plans.items():
    kdjax.run(plan, tmp_path / name, quiet=True)
    found[name] = stored(tmp_path / name, "both")
  close(found["once"], found["steps"])
  for key in found["once"]:
    np.testing.assert_array_equal(found["once"][key], found["streamed"][key])


def test_what_is_missing_or_broken_does_not_become_nan(options, file):
  first = files_first(file)
  stage = built(manifest_plan(options, {"once": first}), "both")
  # Whichever split they are drawn into.
  columns = [
    loaders.columns(stage.load(split))
    for split in ("train", "validation", "test")
  ]
  absent = 0
  for of in columns:
    for key in first:
      assert of[key].shape[1:] == stage.spec[key].shape
      assert of[key].dtype == stage.spec[key].dtype
      gone = ~(of[f"has/{key}"] & of["valid"])
      assert np.isfinite(of[key]).all()
      assert (np.abs(of[key][~gone]).sum(axis=(1, 2)) > 0).all()
      absent += gone.sum()
  assert absent >= 3
  assert len(stage.load("train").records()) == 0
  train = stage.load("train")
  train.take(np.array([0]))
  assert len(train.records()) == 1
  np.testing.assert_array_equal(
    train.take(np.array([3, 1]))["audio"], columns[0]["audio"][[3, 1]]
  )
  np.testing.assert_array_equal(train[1]["audio"], columns[0]["audio"][1])


def test_buckets_of_what_once_may_cut_are_refused(options, file):
  pipelines = {"once": {"text": f"'{file}:dim'(much=1)"}}
  stage = built(manifest_plan(options, pipelines), "both")
  with pytest.raises(UserError, match="lengths of 'text'"):
    stage.load("train").lengths("text")


# Fingerprints and the cache


def test_a_fingerprint_is_of_the_raw_data_and_of_the_text(options, tmp_path):
  def of(pipelines, **changes):
    stage = built(manifest_plan(options, pipelines, **changes), "both")
    return stage.load("train").fingerprint

  mel = lambda count: {"once": {"audio": f"log_mel(mels={count})"}}
  moved = shutil.copytree(options["root"], tmp_path / "moved")
  assert of(mel(8)) == of(mel(8), root=str(moved))
  assert of({}) == manifest.load("train", **options).fingerprint
  assert (
    len({of({}), of(mel(8)), of(mel(9)), of(mel(8), sample_rate=4000)}) == 4
  )
  held = {
    text: built(plan_of({"once": {"image": text}})).load("train").fingerprint
    for text in ("to_float", "to_float|resize(size=4)")
  }
  assert (
    len({*held.values(), arrays.load("train", held="senses").fingerprint}) == 3
  )


def test_equal_arrays_are_transformed_once(monkeypatch):
  calls = []
  applied = once_sources._applied
  monkeypatch.setattr(
    once_sources, "_applied", lambda *a: calls.append(a) or applied(*a)
  )
  plan = plan_of({"once": {"image": "to_float"}}, labels_per_class=2)
  stage = built(plan)
  first, second = (stage.load("train", seed) for seed in (0, 1))
  assert len(first) == len(first.labels) and first.fingerprint and not calls
  assert (first.labels != second.labels).any()
  assert first.columns["image"] is second.columns["image"]
  assert len(calls) == 1
  with pytest.raises(ValueError, match="read-only"):
    first.columns["image"][0] = 0
  monkeypatch.setattr(loaders, "CPU_BYTES", 1)
  assert built(plan_of({"once": FIRST})).load("train").columns
  assert not once_sources._columns


def test_a_transform_that_is_defined_anew_is_computed_anew(
  options, monkeypatch
):
  def of(plan, stage):
    return loaders.columns(built(plan, stage).load("train"))["image"].max()

  first = {"once": {"image": "ours"}}
  pairs = lambda: (
    (plan_of(first), "large"),
    (manifest_plan(options, first), "both"),
  )

  def register(factor):
    def ours(key, x):
      """Multiplies."""
      return x * np.float32(factor)

    kdjax.register("transforms", "ours", ours)

  monkeypatch.setattr(registry, "_registered", {})
  for factor in (0, 1):
    register(factor)
    assert [of(*pair) > 0 for pair in pairs()] == [factor > 0] * 2


# What is refused


@pytest.mark.parametrize("name", registry.names("transforms"))
def test_what_depends_on_its_key_is_refused(name, tmp_path):
  """Every transform of the folder."""
  transform = Transform(name, tmp_path)
  x, *rest = transform.arrays()
  step = Step(
    name,
    tuple(transform.options.items()),
    transform.function,
    transform.takes,
    False,
    tuple(transform.about.options),
    transform.hides,
  )
  mask = rest[0] if transform.takes == ("mask",) else None
  spec = {"x": jax.ShapeDtypeStruct(x.shape, x.dtype)}
  if mask is not None:
    spec["mask/x"] = jax.ShapeDtypeStruct(mask.shape, mask.dtype)
  once = Once({"x": Pipeline((step,))})
  if transform.takes == ("partner",):
    with pytest.raises(UserError, match=f"'{name}' .*mixes.*to 'train'"):
      once.spec(spec)
    return
  if transform.hides:
    with pytest.raises(UserError, match=f"'{name}' .*hides.*to 'train'"):
      once.spec(spec)
    return
  one = lambda key: transform(key, x, *rest)
  drawn = jax.tree.leaves(jax.vmap(one)(keys_of(20)))
  if all((it == it[:1]).all() for it in drawn):
    made = once.spec(spec)
    found = jax.tree.leaves(jax.eval_shape(one, keys_of(1)[0]))
    assert made["x"].shape == found[0].shape
    if mask is not None:
      assert made["mask/x"].shape == found[1].shape
  else:
    with pytest.raises(UserError, match=f"'{name}' .*draws.*to 'train'"):
      once.spec(spec)


@pytest.mark.parametrize(
  ("first", "match"),
  [
    ({"sound": "to_float"}, "names 'sound'"),
    ({"label": "to_float"}, "names 'label'"),
    ({"has/series": "to_float"}, "names 'has/series'"),
    ({"image": "to_float|crop(padding=1)"}, "'crop' .* draws at random"),
    ({"image": "flop"}, "No 'flop' in transforms"),
    ({"image": "to_wave"}, "needs int16"),
    ({"series": "'{file}:halved'"}, "mask of"),
  ],
)
def test_a_mistake_says_what_to_do(first, match, file):
  first = {key: text.format(file=file) for key, text in first.items()}
  with pytest.raises(UserError, match=match):
    built(plan_of({"once": first}))


def test_once_is_no_view_and_not_for_processes(file):
  plan = plan_of({"once": FIRST})
  check.plan(workdir.resolve(plan), ["large"])
  with plan.unlocked():
    plan.stages["small"].terms.kd.reads.student = "student@once/logits"
  with pytest.raises(UserError, match="No view 'once'"):
    check.plan(workdir.resolve(plan), ["small"])
  dropped = {"once": config.drop("image", "series")}
  with pytest.raises(UserError, match=r"data.drops has the view 'once'"):
    built(plan_of({}, drops=dropped))
  with pytest.raises(UserError, match=r"data.workers is 2"):
    built(plan_of({"once": FIRST}, workers=2))
  assert built(
    plan_of({"once": FIRST}, workers=2, feed="device")
  ).once.pipelines


@pytest.mark.slow
def test_a_benchmark_of_feeds_has_no_processes_for_once():
  feeds = [
    [*Trainer(workdir.resolve(plan_of({view: FIRST})), "large").feeds(2)]
    for view in ("once", "train")
  ]
  assert feeds[0] == feeds[1][:-1] and len(feeds[0]) == 2
