"""Outputs that were made elsewhere teach like the network that made them."""

import types

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import kdjax
from kdjax import cli, config
from kdjax.cache import imported
from kdjax.cache.store import Reader
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.training import workdir
from kdjax.training.checkpoints import Checkpoints
from kdjax.verbs import cache as verb

N, K = 48, 3
BATCH, STEPS = 8, 6


@pytest.fixture(scope="module", autouse=True)
def held():
  rng = np.random.default_rng(0)
  images = rng.normal(size=(N, 6, 6, 1)).astype(np.float32)
  splits = np.array(["train", "validation", "test"])[np.arange(N) % 3]
  columns = {"image": images, "label": np.arange(N) // 3 % K, "split": splits}
  arrays.hold("drawn", columns)


def made(teacher, pipelines=None, **stage):
  network = lambda width: config.network("mlp", widths=(width,), num_classes=K)
  labels = {"cross_entropy": config.term("cross_entropy")}
  knobs = {"batch_size": BATCH, "eval_every": STEPS, "log_every": STEPS}
  return config.experiment(
    "imported",
    seeds=2,
    data=config.data("arrays", held="drawn", pipelines=pipelines or {}),
    stages={
      "large": config.stage(network(6), terms=labels, steps=3, **knobs),
      "student": config.stage(
        network(4),
        teachers={"teacher": teacher},
        terms={**labels, "kd": config.term("kd", temperature=2.0)},
        steps=STEPS,
        **knobs,
        **stage,
      ),
    },
  )


def parameters(folder):
  with Checkpoints(folder / "stages" / "student" / "checkpoints") as found:
    stored = found.read()
  return {key: value for key, value in stored.items() if "params" in key}


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
  """A run that reads a cache, and what the cache has."""
  folder = tmp_path_factory.mktemp("cached")
  teacher = config.teacher("large", paired=False, cache="auto")
  kdjax.run(made(teacher), folder, quiet=True)
  (cache,) = (folder / "cache").iterdir()
  reader = Reader(cache)
  logits = reader.whole()["logits.values"][0]
  return folder, {"index": reader.index, "logits": logits}


def stored(folder, name, **columns):
  """A cache of some arrays, by way of a file."""
  np.savez(folder / f"{name}.npz", **columns)
  imported.make(str(folder / f"{name}.npz"), str(folder / name))
  return str(folder / name)


def test_imported_outputs_teach_as_the_network_that_made_them(taught, tmp_path):
  folder, columns = taught
  order = np.random.default_rng(1).permutation(len(columns["index"]))
  path = stored(tmp_path, "t", **{k: v[order] for k, v in columns.items()})
  kdjax.run(made(config.outputs(path)), tmp_path / "run", quiet=True)
  found, expected = parameters(tmp_path / "run"), parameters(folder)
  assert found.keys() == expected.keys() and found
  for key, value in found.items():
    np.testing.assert_array_equal(value, expected[key], err_msg=key)


def test_what_is_not_known_is_not_measured(taught, tmp_path):
  path = stored(tmp_path, "t", **taught[1])
  kdjax.run(made(config.outputs(path)), tmp_path, quiet=True)
  metrics = workdir.finished(tmp_path, "student")["test"]["last"]
  assert np.isfinite(metrics["loss/cross_entropy"]).all()
  assert np.isnan(metrics["loss/kd"]).all()


def test_a_file_of_tensors_is_taken_too(taught, tmp_path):
  index, logits = taught[1]["index"], taught[1]["logits"]
  half = logits.astype(ml_dtypes.bfloat16)
  save_file({"index": index, "logits": half}, tmp_path / "t.safetensors")
  told = []
  imported.make(
    str(tmp_path / "t.safetensors"),
    str(tmp_path / "t"),
    store="bfloat16",
    said=told.append,
  )
  assert f"{len(index)} examples of logits [{K}]" in told[0]
  values = Reader(tmp_path / "t").whole()["logits.values"][0]
  np.testing.assert_array_equal(values, half)


def test_the_command_imports(taught, tmp_path, capsys):
  np.savez(tmp_path / "t.npz", **taught[1])
  path = str(tmp_path / "t")
  cli.main(["cache", "import", f"{tmp_path}/t.npz", f"--to={path}"])
  assert path in capsys.readouterr().out
  assert imported.model(path).shapes == {"logits": (K,)}


def test_the_command_says_what_it_lacks():
  values = types.SimpleNamespace(to=None, store="float32")
  with pytest.raises(UserError, match="--to"):
    verb.main(values, ["import", "t.npz"])


def test_labels_tell_that_other_examples_are_numbered(taught, tmp_path):
  columns = {**taught[1], "label": np.zeros(len(taught[1]["index"]), int)}
  teacher = config.outputs(stored(tmp_path, "t", **columns))
  with pytest.raises(UserError, match="another label than the data for"):
    kdjax.run(made(teacher), tmp_path / "run", quiet=True)


def test_labels_that_are_the_data_s_pass_and_are_no_output(tmp_path):
  index, label = np.arange(5), np.array([0, 1, 2, 0, 1])
  path = stored(tmp_path, "t", index=index, label=label, logits=np.eye(5))
  hidden = np.array([0, -1, 2])
  assert imported.read(path, index[:3], hidden).complete
  assert imported.model(path).shapes == {"logits": (5,)}


def test_examples_without_outputs_are_named(taught, tmp_path):
  part = {key: value[2:] for key, value in taught[1].items()}
  teacher = config.outputs(stored(tmp_path, "t", **part))
  with pytest.raises(UserError, match="and 1 more"):
    kdjax.run(made(teacher), tmp_path / "run", quiet=True)


def test_what_would_read_outputs_that_are_not_there_is_refused(
  taught, tmp_path
):
  teacher = config.outputs(stored(tmp_path, "t", **taught[1]))
  mixed = made(teacher, {"train": {"image": "mixup"}})
  with pytest.raises(UserError, match="mixes examples"):
    kdjax.run(mixed, tmp_path / "run", quiet=True)
  reads = {"student": "teacher/logits"}
  metric = {"accuracy": config.metric("classification", reads=reads)}
  with pytest.raises(UserError, match="metrics 'accuracy' read 'teacher'"):
    kdjax.run(made(teacher, metrics=metric), tmp_path / "run", quiet=True)


def test_a_cache_of_a_teacher_that_ran_is_no_import(taught):
  (cache,) = (taught[0] / "cache").iterdir()
  with pytest.raises(UserError, match="a teacher that kdjax ran"):
    imported.model(str(cache))


INDEX = np.arange(4)
BAD = {
  "lacks `index`": {"logits": np.zeros((4, 2))},
  "or outputs beside it": {"index": INDEX, "label": INDEX},
  "Expected integers": {"index": INDEX / 2, "logits": np.zeros((4, 2))},
  "has 4 examples": {"index": INDEX, "logits": np.zeros((3, 2))},
  r"is \[\]": {"index": INDEX, "logits": np.array(1.0)},
  "no numbers": {"index": INDEX, "logits": np.array(list("abcd"))},
  "stands for two": {"index": INDEX * 0, "logits": np.zeros((4, 2))},
  "nan": {"index": INDEX, "logits": np.full((4, 2), np.nan)},
}


@pytest.mark.parametrize("told", BAD)
def test_a_file_of_something_else_is_refused(told, tmp_path):
  with pytest.raises(UserError, match=told):
    stored(tmp_path, "t", **BAD[told])


@pytest.mark.parametrize(
  "name", ["none.npz", "t.txt", "t.npz", "t.safetensors"]
)
def test_a_file_that_cannot_be_read_is_refused(name, tmp_path):
  if name.startswith("t."):
    (tmp_path / name).write_bytes(b"PK\x03\x04 and nothing that follows")
  with pytest.raises(UserError, match=name):
    imported.make(str(tmp_path / name), str(tmp_path / "cache"))


def test_an_output_to_store_that_is_not_there_is_named(tmp_path):
  np.savez(tmp_path / "t.npz", index=INDEX, logits=np.zeros((4, 2)))
  with pytest.raises(UserError, match="'logit'"):
    imported.make(
      str(tmp_path / "t.npz"), str(tmp_path / "t"), store={"logit": "top1"}
    )


def test_the_network_that_stands_for_outputs_gives_no_number(tmp_path):
  path = stored(tmp_path, "t", index=INDEX, logits=np.zeros((4, 2)))
  model = imported.model(path)
  outputs = model.apply({}, {"index": INDEX}, train=False)
  assert jax.tree.map(np.shape, outputs) == {"logits": (4, 2)}
  assert np.isnan(outputs["logits"]).all()
