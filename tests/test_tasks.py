"""Runs of every task: classes, several classes, numbers, pairs."""

import json

import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.report import example_scores, figures
from kdjax.report.figures import robustness
from kdjax.training.checkpoints import Checkpoints

N, D, K = 120, 6, 3
STEPS = 12


@pytest.fixture(scope="module", autouse=True)
def data_sets():
  """Points with a class, several classes or a number as target."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(N, D)).astype(np.float32)
  scores = x @ rng.normal(size=(D, K))
  splits = np.array(["train", "validation", "test"])[np.arange(N) % 3]
  common = {"x": x, "split": splits}
  label = np.where(np.arange(N) % 4 > 0, 0, scores.argmax(1))
  several = (scores > 0).astype(np.int32)
  several[::7] = -1
  target = scores[:, 0].astype(np.float32)
  images = (rng.random((N, 6, 6, 3)) * 255).astype(np.uint8)
  arrays.hold("classes", {**common, "label": label})
  arrays.hold("several", {**common, "label": several})
  arrays.hold("number", {**common, "target": target})
  arrays.hold("images", {**common, "image": images, "label": label})


def data(name, **options):
  return config.data("arrays", held=name, **options)


def network(classes, modality="x"):
  return config.network(
    "mlp", widths=(16,), num_classes=classes, modality=modality
  )


def knobs(**changes):
  return {
    "steps": STEPS,
    "batch_size": 16,
    "optimizer": config.optimizer("adamw", learning_rate=1e-2),
    "eval_every": STEPS // 2,
    "log_every": 4,
    "save_every": STEPS // 2,
    **changes,
  }


def run(folder, data_config, stage, *, seeds=1, **further):
  """The results of the stage, and its result.json."""
  plan = config.experiment(
    "task",
    seeds=seeds,
    data=data_config,
    stages={"student": stage, **further},
  )
  results = kdjax.run(plan, folder, quiet=True)
  path = folder / "stages" / "student" / "result.json"
  return results["stages"]["student"], json.loads(path.read_text())


def assert_predictions_have(folder, metric, found):
  """Asserts that the stored predictions have the metric of the result."""
  with np.load(folder / "stages" / "student" / "predictions.npz") as arrays:
    scores = example_scores.of(dict(arrays), metric)
  np.testing.assert_allclose(scores.metric(), found[metric]["seeds"], rtol=1e-4)


@pytest.mark.slow
def test_multilabel_classification(tmp_path):
  stage = config.stage(
    network(K),
    terms={"bce": config.term("binary_cross_entropy")},
    metrics={
      "multilabel": config.metric("multilabel"),
      "ranking": config.metric("ranking"),
    },
    **knobs(select="f1_micro", steps=60, eval_every=10),
  )
  found, _ = run(tmp_path, data("several"), stage)
  assert found["f1_micro"]["mean"] > 0.75
  assert found["roc_auc"]["mean"] > 0.85
  assert_predictions_have(tmp_path, "f1_micro", found)
  by_class = kdjax.report.summarize(tmp_path)["by_class"]["student"][""]
  f1 = np.mean([it["f1"]["mean"] for it in by_class])
  assert f1 == pytest.approx(found["f1_macro"]["mean"], rel=1e-6)


@pytest.mark.slow
def test_regression(tmp_path):
  stage = config.stage(
    network(1),
    terms={"huber": config.term("huber")},
    metrics={"regression": config.metric("regression")},
    **knobs(select="r2", steps=100, eval_every=20),
  )
  found, _ = run(tmp_path, data("number"), stage)
  assert found["r2"]["mean"] > 0.8
  assert found["mse"]["mean"] == pytest.approx(found["rmse"]["mean"] ** 2)
  assert_predictions_have(tmp_path, "r2", found)
  results = kdjax.report.summarize(tmp_path)
  assert results["columns"][:3] == ["r2", "mae", "rmse"]


@pytest.mark.slow
def test_imbalance_is_read_from_the_training_labels_and_retrieval_measured(
  tmp_path,
):
  """The rows of all batches and devices are ranked together."""
  retrieval = config.metric(
    "retrieval",
    reads={"query": "student/embedding", "key": "student/embedding"},
  )
  metrics = {
    "classification": config.metric("classification"),
    "retrieval": retrieval,
  }
  terms = {
    name: config.term(name, **options)
    for name, options in (
      ("logit_adjustment", {}),
      ("weighted_cross_entropy", {"weighting": "effective"}),
      ("focal", {}),
    )
  }
  stage = config.stage(
    network(K), terms=terms, metrics=metrics, **knobs(select="mean_recall")
  )
  found, _ = run(tmp_path, data("classes", sampling="balanced"), stage)
  assert all(np.isfinite(found[f"loss/{name}"]["mean"]) for name in terms)
  assert np.isfinite(found["balanced_accuracy"]["mean"])
  # Every example ranks itself first among the 40 of the split.
  assert found["mean_recall"]["mean"] == 1.0
  assert found["query_to_key_median_rank"]["mean"] == 1.0
  # With other class counts, the loss would differ.
  labels = arrays.load("train", held="classes").labels
  model, variables = kdjax.restore(tmp_path, "student")
  test = arrays.load("test", held="classes")
  logits = model.apply(variables, {"x": test.columns["x"]}, train=False)
  logits = np.asarray(logits["logits"], np.float64)
  shifted = logits + np.log(np.bincount(labels, minlength=K) / len(labels))
  chosen = shifted[np.arange(len(test)), test.labels]
  loss = np.log(np.exp(shifted).sum(1)) - chosen
  np.testing.assert_allclose(
    found["loss/logit_adjustment"]["mean"], loss.mean(), rtol=1e-4
  )


def run_with_feed(folder, feed, workers=0):
  """A run with augmentation and mixup, with one kind of feed."""
  pipelines = {
    "train": {"image": "to_float|crop(padding=1)|flip|mixup"},
    "evaluation": {"image": "to_float"},
    "strong": {"image": "to_float|cutout(size=3)"},
  }
  terms = {
    "mixed": config.term("target_cross_entropy"),
    "consistency": config.term(
      "mse", weight=0.1, reads={"teacher": "student@strong/logits"}
    ),
  }
  images = data(
    "images",
    pipelines=pipelines,
    feed=feed,
    workers=workers,
    augmentations=2,
  )
  stage = config.stage(network(K, "image"), terms=terms, **knobs())
  return run(folder, images, stage, seeds=2)


def stored(folder):
  path = folder / "stages" / "student" / "checkpoints"
  with Checkpoints(path) as checkpoints:
    return checkpoints.read()


@pytest.mark.slow
def test_a_stream_trains_like_data_on_the_device(tmp_path):
  _, on_device = run_with_feed(tmp_path / "device", "device")
  _, stream = run_with_feed(tmp_path / "stream", "stream")
  assert on_device["test"] == stream["test"]
  expected = stored(tmp_path / "device")
  for key, leaf in stored(tmp_path / "stream").items():
    np.testing.assert_array_equal(leaf, expected[key], err_msg=key)


@pytest.fixture(scope="module")
def images_ran(tmp_path_factory):
  """A run on normalized images: its folder, results and result.json."""
  normalized = "normalize(mean=(0.3,), std=(0.1,))"
  pipelines = {
    name: {"image": f"to_float|{normalized}"}
    for name in ("train", "evaluation")
  }
  blur = config.corruption(
    "image",
    f"to_float|blur|{normalized}",
    sweeps="blur.sigma",
    levels=(1e-3, 0.5, 3.0),
  )
  missing = config.corruption("image", levels=(0.0, 1.0))
  stage = config.stage(
    network(K, "image"),
    terms={"cross_entropy": config.term("cross_entropy")},
    robustness={"blur": blur, "missing": missing},
    **knobs(),
  )
  folder = tmp_path_factory.mktemp("images")
  return folder, *run(
    folder, data("images", pipelines=pipelines), stage, seeds=2
  )


@pytest.mark.slow
def test_robustness_is_measured_with_the_best_variables(
  images_ran, monkeypatch
):
  folder, found, result = images_ran
  measured = result["robustness"]["blur"]
  assert measured["levels"] == [1e-3, 0.5, 3.0]
  assert np.shape(measured["accuracy"]) == (3, 2)
  # A blur of almost zero changes nothing.
  np.testing.assert_allclose(
    measured["nll"][0], found["nll"]["seeds"], atol=1e-4
  )
  assert measured["nll"][2] != pytest.approx(measured["nll"][0], abs=1e-3)
  monkeypatch.setattr(
    figures, "find", lambda: {"robustness": robustness.robustness}
  )
  kdjax.report.write(folder)
  page = (folder / "report.md").read_text()
  assert "Robustness" in page and "| blur | 0.001 | 0.5 | 3 |" in page
  assert (folder / "figures" / "robustness.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_student_without_its_only_modality_guesses(images_ran):
  _, found, result = images_ran
  accuracy = result["robustness"]["missing"]["accuracy"]
  assert accuracy[0] == found["accuracy"]["seeds"]
  # All examples without the modality get the same prediction.
  labels = arrays.load("test", held="images").labels
  shares = np.bincount(labels, minlength=K) / len(labels)
  for of_seed in accuracy[1]:
    assert any(np.isclose(of_seed, share) for share in shares)


@pytest.mark.slow
def test_a_restored_network_takes_raw_inputs(images_ran):
  folder, _, _ = images_ran
  kept = np.load(folder / "stages" / "student" / "predictions.npz")
  model, variables = kdjax.restore(folder, "student")
  raw = arrays.load("test", held="images").columns["image"]
  outputs = model.apply(variables, {"image": raw}, train=False)
  np.testing.assert_allclose(outputs["logits"], kept["logits"][0], atol=1e-4)
  bare = model.module.apply(variables, {"image": raw / 255.0}, train=False)
  assert not np.allclose(bare["logits"], outputs["logits"], atol=1e-2)


def test_a_view_that_no_term_reads_is_refused():
  images = data("images", pipelines={"evalution": {"image": "to_float"}})
  stage = config.stage(
    network(K, "image"), terms={"cross_entropy": config.term("cross_entropy")}
  )
  plan = config.experiment("task", data=images, stages={"student": stage})
  with pytest.raises(UserError, match="Did you mean 'evaluation'"):
    kdjax.run(plan, "nowhere", quiet=True)
