"""Recorders of a finished stage: TensorBoard, Weights & Biases."""

import json
import os
import time

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from kdjax import config
from kdjax.errors import UserError
from kdjax.training import check, recorders, workdir


def content():
  rng = np.random.default_rng(0)
  return recorders.Finished(
    options={"steps": 12, "optimizer.name": "sgd", "terms.kd.weight": 0.5},
    results={3: {"accuracy": 0.75}, 4: {"accuracy": 0.5}},
    images={"image": rng.integers(256, size=(3, 6, 5, 1), dtype=np.uint8)},
    embeddings=rng.normal(size=(4, 2)).astype(np.float32),
    labels=[("cat", "dog"), ("dog", "dog"), ("cat", "cat"), ("dog", "cat")],
    step=12,
  )


def events(folder):
  """All summaries of a folder's event files."""
  found = []
  for path in sorted(folder.glob("events*")):
    data, start = path.read_bytes(), 0
    while start < len(data):
      size = int.from_bytes(data[start : start + 8], "little")
      event = Event.FromString(data[start + 12 : start + 12 + size])
      found += [(event.step, value) for value in event.summary.value]
      start += 12 + size + 4
  return found


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
  folder = tmp_path_factory.mktemp("recorded")
  names, seeds = ("tensorboard",), [3, 4]
  with recorders.opened(names, folder, "student", seeds, "mine") as (one,):
    one.scalar(3, 10, "train/loss", 0.25)
    one.finish(content())
  return folder / "events" / "student"


def test_tensorboard_has_scalars_hparams_and_images(recorded):
  found = {
    value.tag: (step, value) for step, value in events(recorded / "seed3")
  }
  assert found["train/loss"][1].simple_value == 0.25
  assert found["test/accuracy"][1].simple_value == 0.75
  image = found["test/image"][1].image
  assert (image.height, image.width) == (6, 15)
  kinds = {tag for tag in found if tag.startswith("_hparams_/")}
  assert kinds == {
    "_hparams_/experiment",
    "_hparams_/session_start_info",
    "_hparams_/session_end_info",
  }
  started = found["_hparams_/session_start_info"][1].metadata.plugin_data
  assert b"terms.kd.weight" in started.content
  other = {value.tag for _, value in events(recorded / "seed4")}
  assert "test/accuracy" in other and "test/image" not in other


def test_tensorboard_has_embeddings_with_their_labels(recorded):
  folder = recorded / "seed3"
  settings = (folder / "projector_config.pbtxt").read_text()
  assert f"{recorders.EMBEDDINGS}/tensors.tsv" in settings
  rows = (folder / recorders.EMBEDDINGS / "tensors.tsv").read_text().split("\n")
  values = [list(map(float, row.split("\t"))) for row in rows if row]
  np.testing.assert_allclose(values, content().embeddings, rtol=1e-5)
  labels = (folder / recorders.EMBEDDINGS / "metadata.tsv").read_text()
  assert labels.split("\n")[:2] == ["label\tpredicted", "cat\tdog"]


def test_an_unknown_recorder_is_refused_before_a_run():
  terms = {"cross_entropy": config.term("cross_entropy")}
  network = config.network("mlp", num_classes=2, modality="both")
  plan = config.experiment(
    "small",
    data=config.data("two_moons"),
    records=("tensorbord",),
    stages={"alone": config.stage(network, terms=terms)},
  )
  with pytest.raises(UserError, match="Did you mean 'tensorboard'"):
    check.plan(workdir.resolve(plan), ["alone"])


def test_a_missing_wandb_is_named_with_the_line_that_installs_it(monkeypatch):
  monkeypatch.setitem(__import__("sys").modules, "wandb", None)
  with pytest.raises(UserError, match=r"\.\[wandb\]"):
    recorders.check(["wandb"])


@pytest.mark.slow
def test_weights_and_biases_record_a_run_offline(tmp_path, monkeypatch):
  pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
  monkeypatch.setitem(os.environ, "WANDB_MODE", "offline")
  with recorders.opened(("wandb",), tmp_path, "student", [3, 4], "mine") as (
    one,
  ):
    for seed in (3, 4):
      one.scalar(seed, 10, "train/loss", 0.25)
    one.finish(content())
    run = one.run
    assert run.summary["test/accuracy/seed4"] == 0.5
    assert run.config["terms.kd.weight"] == 0.5
  (made,) = (tmp_path / "wandb").glob("offline-run-*")
  (stored,) = made.glob("run-*.wandb")
  # Its service writes the file.
  until = time.monotonic() + 20
  while stored.stat().st_size < 1000 and time.monotonic() < until:
    time.sleep(0.05)
  data = stored.read_bytes()
  assert b"train/loss/seed3" in data and b"test/accuracy/seed3" in data
  (table,) = (made / "files" / "media" / "table").glob("*.json")
  held = json.loads(table.read_text())
  assert (
    held["columns"][:2] == ["label", "predicted"] and len(held["data"]) == 4
  )
  assert [*(made / "files" / "media" / "images" / "test").glob("image*.png")]
