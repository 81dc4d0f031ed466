"""The view "once": transforms when a split is loaded, before all other views."""

import examples
import jax
import numpy as np
import pytest
from test_transforms import Transform, keys_of

import kdjax
from kdjax import config, registry
from kdjax.cache.store import Reader
from kdjax.data import arrays, manifest
from kdjax.errors import UserError
from kdjax.feed import decoded_splits, loaders
from kdjax.stage import build, once_sources
from kdjax.stage.once import Once
from kdjax.step.pipeline import Pipeline, Step, parse
from kdjax.training import check, workdir
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


@pytest.mark.parametrize("stage", ["large", "small"])
def test_once_equals_the_same_transforms_in_each_step(runs, stage):
  """With a cached teacher, masks, missing examples and a corruption."""
  close(*(stored(folder, stage) for folder, _ in runs.values()))
  metrics = [result["stages"][stage] for _, result in runs.values()]
  same = [key for key in metrics[0] if key.startswith(("nll", "loss/"))]
  close(*({key: of[key]["seeds"] for key in same} for of in metrics))
  if stage == "small":
    print(metrics[0].keys())


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
