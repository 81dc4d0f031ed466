"""Imported outputs teach like the network that computed them."""

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
def data():
  rng = np.random.default_rng(0)
  images = rng.normal(size=(N, 6, 6, 1)).astype(np.float32)
  splits = np.array(["train", "validation", "test"])[np.arange(N) % 3]
  columns = {"image": images, "label": np.arange(N) // 3 % K, "split": splits}
  arrays.hold("random", columns)


def experiment(teacher, pipelines=None, **stage):
  network = lambda width: config.network("mlp", widths=(width,), num_classes=K)
  labels = {"cross_entropy": config.term("cross_entropy")}
  knobs = {"batch_size": BATCH, "eval_every": STEPS, "log_every": STEPS}
  return config.experiment(
    "imported",
    seeds=2,
    data=config.data("arrays", held="random", pipelines=pipelines or {}),
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


def run_student(plan, folder):
  """Runs the only stage that reads imported outputs."""
  kdjax.run(plan, folder, stage="student", quiet=True)


def parameters(folder):
  with Checkpoints(folder / "stages" / "student" / "checkpoints") as saved:
    stored = saved.read()
  return {key: value for key, value in stored.items() if "params" in key}


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
  """The workdir of a run that reads a cache, and the cached outputs."""
  folder = tmp_path_factory.mktemp("cached")
  teacher = config.teacher("large", paired=False, cache="auto")
  kdjax.run(experiment(teacher), folder, quiet=True)
  (cache,) = (folder / "cache").iterdir()
  reader = Reader(cache)
  logits = reader.read_all()["logits.values"][0]
  return folder, {"index": reader.index, "logits": logits}


def stored(folder, name, **columns):
  """The path of a cache that is imported from a file of some arrays."""
  np.savez(folder / f"{name}.npz", **columns)
  imported.import_file(str(folder / f"{name}.npz"), str(folder / name))
  return str(folder / name)


@pytest.fixture(scope="module")
def taught(cached, tmp_path_factory):
  """The workdir of a student of imported outputs in another order."""
  _, columns = cached
  folder = tmp_path_factory.mktemp("taught")
  order = np.random.default_rng(1).permutation(len(columns["index"]))
  path = stored(folder, "t", **{k: v[order] for k, v in columns.items()})
  plan = experiment(config.outputs(path))
  run_student(plan, folder / "run")
  return folder / "run"


@pytest.mark.slow
def test_imported_outputs_teach_like_the_network_bit_for_bit(cached, taught):
  trained, expected = parameters(taught), parameters(cached[0])
  assert trained.keys() == expected.keys() and trained
  for key, value in trained.items():
    np.testing.assert_array_equal(value, expected[key], err_msg=key)


@pytest.mark.slow
def test_terms_without_outputs_are_not_measured(taught):
  metrics = workdir.stage_result(taught, "student")["test"]["last"]
  assert np.isfinite(metrics["loss/cross_entropy"]).all()
  assert np.isnan(metrics["loss/kd"]).all()


@pytest.mark.slow
def test_a_safetensors_file_is_imported(cached, tmp_path):
  index, logits = cached[1]["index"], cached[1]["logits"]
  half = logits.astype(ml_dtypes.bfloat16)
  save_file({"index": index, "logits": half}, tmp_path / "t.safetensors")
  lines = []
  imported.import_file(
    str(tmp_path / "t.safetensors"),
    str(tmp_path / "t"),
    store="bfloat16",
    log=lines.append,
  )
  assert f"{len(index)} examples of logits [{K}]" in lines[0]
  values = Reader(tmp_path / "t").read_all()["logits.values"][0]
  np.testing.assert_array_equal(values, half)


@pytest.mark.slow
def test_the_command_imports(cached, tmp_path, capsys):
  np.savez(tmp_path / "t.npz", **cached[1])
  path = str(tmp_path / "t")
  cli.main(["cache", "import", f"{tmp_path}/t.npz", f"--to={path}"])
  assert path in capsys.readouterr().out
  assert imported.placeholder(path).shapes == {"logits": (K,)}


def test_the_command_names_a_missing_flag():
  values = types.SimpleNamespace(to=None, store="float32")
  with pytest.raises(UserError, match="--to"):
    verb.main(values, ["import", "t.npz"])


@pytest.mark.slow
def test_other_labels_are_refused(cached, tmp_path):
  columns = {**cached[1], "label": np.zeros(len(cached[1]["index"]), int)}
  teacher = config.outputs(stored(tmp_path, "t", **columns))
  with pytest.raises(UserError, match="differ from the data's for"):
    run_student(experiment(teacher), tmp_path / "run")


def test_equal_labels_are_accepted_and_are_no_output(tmp_path):
  index, label = np.arange(5), np.array([0, 1, 2, 0, 1])
  path = stored(tmp_path, "t", index=index, label=label, logits=3 * np.eye(5))
  hidden = np.array([0, -1, 2])
  assert imported.open_for(path, index[:3], hidden).complete
  assert imported.placeholder(path).shapes == {"logits": (5,)}


@pytest.mark.slow
def test_examples_without_outputs_are_named(cached, tmp_path):
  part = {key: value[2:] for key, value in cached[1].items()}
  teacher = config.outputs(stored(tmp_path, "t", **part))
  with pytest.raises(UserError, match="and 1 more"):
    run_student(experiment(teacher), tmp_path / "run")


def test_reading_outputs_that_do_not_exist_is_refused(cached, tmp_path):
  teacher = config.outputs(stored(tmp_path, "t", **cached[1]))
  mixed = experiment(teacher, {"train": {"image": "mixup"}})
  with pytest.raises(UserError, match="Training mixes examples"):
    run_student(mixed, tmp_path / "run")
  reads = {"student": "teacher/logits"}
  metric = {"accuracy": config.metric("classification", reads=reads)}
  with pytest.raises(UserError, match="'accuracy' read the teacher 'teacher'"):
    kdjax.run(experiment(teacher, metrics=metric), tmp_path / "run", quiet=True)


def test_a_cache_of_a_teacher_that_kdjax_ran_is_refused(cached):
  (cache,) = (cached[0] / "cache").iterdir()
  with pytest.raises(UserError, match="a teacher that kdjax ran"):
    imported.placeholder(str(cache))


INDEX = np.arange(4)
BAD = {
  "has no `index`": {"logits": np.zeros((4, 2))},
  "no outputs in addition to it": {"index": INDEX, "label": INDEX},
  "Expected integers": {"index": INDEX / 2, "logits": np.zeros((4, 2))},
  "has 4 examples": {"index": INDEX, "logits": np.zeros((3, 2))},
  r"is \[\]": {"index": INDEX, "logits": np.array(1.0)},
  "Expected numbers": {"index": INDEX, "logits": np.array(list("abcd"))},
  "Two examples have the same index": {
    "index": INDEX * 0,
    "logits": np.zeros((4, 2)),
  },
  "nan": {"index": INDEX, "logits": np.full((4, 2), np.nan)},
}


@pytest.mark.parametrize("message", BAD)
def test_a_file_of_wrong_arrays_is_refused(message, tmp_path):
  with pytest.raises(UserError, match=message):
    stored(tmp_path, "t", **BAD[message])


@pytest.mark.parametrize(
  "name", ["none.npz", "t.txt", "t.npz", "t.safetensors"]
)
def test_a_file_that_cannot_be_read_is_refused(name, tmp_path):
  if name.startswith("t."):
    (tmp_path / name).write_bytes(b"PK\x03\x04 and nothing that follows")
  with pytest.raises(UserError, match=name):
    imported.import_file(str(tmp_path / name), str(tmp_path / "cache"))


def test_an_unknown_output_in_store_is_named(tmp_path):
  np.savez(tmp_path / "t.npz", index=INDEX, logits=np.zeros((4, 2)))
  with pytest.raises(UserError, match="'logit'"):
    imported.import_file(
      str(tmp_path / "t.npz"), str(tmp_path / "t"), store={"logit": "top1"}
    )


def test_the_outputs_of_the_placeholder_are_nan(tmp_path):
  path = stored(tmp_path, "t", index=INDEX, logits=np.zeros((4, 2)))
  model = imported.placeholder(path)
  outputs = model.apply({}, {"index": INDEX}, train=False)
  assert jax.tree.map(np.shape, outputs) == {"logits": (4, 2)}
  assert np.isnan(outputs["logits"]).all()


PROBABILITIES = np.random.default_rng(3).dirichlet(np.ones(K), N)


@pytest.mark.parametrize(
  ("name", "values"),
  [
    ("logits", PROBABILITIES),
    ("logits", PROBABILITIES.astype(np.float16)),
    ("logits", np.eye(K)[np.arange(N) % K]),
    ("image/logits", PROBABILITIES),
    ("distillation_logits", PROBABILITIES[:, None]),
    ("logits", np.eye(K, dtype=np.int64)[np.arange(N) % K]),
  ],
)
def test_probabilities_that_are_called_logits_are_refused(
  tmp_path, name, values
):
  with pytest.raises(UserError) as caught:
    stored(tmp_path, "t", index=np.arange(N), **{name: values})
  assert f"'{name}' {list(values.shape)} of" in str(caught.value)
  assert f"{name} = np.log(" in str(caught.value)
  assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
  ("name", "values"),
  [
    ("logits", np.log(PROBABILITIES)),
    ("logits", np.append(PROBABILITIES[1:], [[0.5, 1.5, -1.0]], axis=0)),
    ("logits", np.append(PROBABILITIES[1:], [[0.2, 0.2, 0.2]], axis=0)),
    ("logits", np.full((N, 1), 0.5)),
    ("probabilities", PROBABILITIES),
  ],
)
def test_logits_and_outputs_of_another_name_are_imported(
  tmp_path, name, values
):
  path = stored(tmp_path, "t", index=np.arange(N), **{name: values})
  assert imported.placeholder(path).shapes == {name: values.shape[1:]}
