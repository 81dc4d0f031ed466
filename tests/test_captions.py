"""Several captions of a record: one a training epoch, all in evaluation."""

import json

import jax
import layouts
import numpy as np
import pytest
from examples import image_file

import kdjax
from kdjax.config import (
  data,
  experiment,
  metric,
  network,
  optimizer,
  stage,
  term,
)
from kdjax.data import manifest
from kdjax.errors import ShapeError, UserError
from kdjax.stage import build
from kdjax.transforms.one_caption import one_caption


def write(folder, cells, name="table.jsonl"):
  """A table of texts, half in train and half in test."""
  rows = []
  for place, cell in enumerate(cells):
    image_file(folder / f"{place}.png", place, (8, 8))
    split = ("train", "test", "val")[place % 3]
    row = {"image": f"{place}.png", "text": cell, "split": split}
    rows.append(row | {"label": "ab"[place % 2]})
  if name.endswith(".csv"):
    layouts.table(folder / name, rows)
  else:
    layouts.lines(folder / name, rows)
  return {
    "root": str(folder),
    "table": name,
    "image_size": (8, 8),
    "length": 3,
    "on_error": "skip",
    "most_broken": 1.0,
  }


CELLS = [
  ["red round", "green"],
  ["blue square", "tall", "small old"],
  "new cold",
  ["blue square tall small old"],
  ["red", "green tall"],
  ["old", "new"],
]


def test_a_record_has_all_its_captions_in_training(tmp_path):
  options = write(tmp_path, CELLS)
  source = manifest.load("train", **options)
  batch = source.take(np.arange(len(source)))
  assert batch["text"].shape == batch["mask/text"].shape == (2, 3, 3)
  assert batch["mask/text"].sum(axis=2).tolist() == [[2, 1, 0], [3, 0, 0]]
  assert batch["index"].tolist() == batch["record"].tolist() == [0, 3]
  assert manifest.captions(**options) == ("text",)


def test_each_caption_is_an_example_of_evaluation(tmp_path):
  options = write(tmp_path, CELLS)
  source = manifest.load("test", **options)
  batch = source.take(np.arange(len(source)))
  # Record 1 has three captions, record 4 two.
  assert batch["record"].tolist() == [1, 1, 1, 4, 4]
  assert len(set(batch["index"].tolist())) == 5
  assert batch["index"][[0, 3]].tolist() == [1, 4]
  assert batch["mask/text"].sum(axis=2).tolist() == [
    [2, 0, 0],
    [1, 0, 0],
    [2, 0, 0],
    [1, 0, 0],
    [2, 0, 0],
  ]
  for place in (1, 2):
    np.testing.assert_array_equal(batch["image"][0], batch["image"][place])
  assert len({tuple(ids) for ids in batch["text"][:3, 0].tolist()}) == 3


@pytest.mark.parametrize("most", [1, 2])
def test_the_first_captions_are_kept(tmp_path, most):
  options = write(tmp_path, CELLS) | {"captions": most}
  assert manifest.spec(**options)["text"].shape == (most, 3)
  assert len(manifest.load("test", **options)) == 2 * most


def test_a_cell_of_csv_is_the_json_of_a_list_where_captions_are_stated(
  tmp_path,
):
  cells = [json.dumps(it) if isinstance(it, list) else it for it in CELLS]
  options = write(tmp_path, cells, "table.csv")
  assert manifest.spec(**options)["text"].shape == (3,)
  options["captions"] = 5
  assert manifest.spec(**options)["text"].shape == (3, 3)
  assert manifest.load("test", **options).fingerprint


@pytest.mark.parametrize(
  "cell, reason",
  [
    ([], "[] has no text"),
    (["red", ""], "'' in a list is no text"),
    (["red", 3], "3 in a list is no text"),
    (["red", ["green"]], "['green'] in a list is no text"),
    (["red", None], "None in a list is no text"),
    ({"a": "red"}, "is no text"),
    (["red", "?!"], "in a list is a text without a word"),
  ],
)
def test_a_caption_that_is_no_text_is_a_fault_of_the_record(
  tmp_path, cell, reason
):
  options = write(tmp_path, [*CELLS, cell])
  faults = manifest.load("train", **options).records()
  assert len(faults) == 1 and reason in str(faults[0])
  assert faults[0].line == 7
  with pytest.raises(UserError, match="1 of 7 records are broken"):
    manifest.load("train", **options | {"on_error": "raise"})


def test_captions_are_drawn_alike_and_none_is_empty():
  x = np.arange(12).reshape(4, 3)
  mask = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [1, 1, 1]], bool)
  keys = jax.random.split(jax.random.key(0), 900)
  drawn, masks = jax.vmap(lambda key: one_caption(key, x, mask))(keys)
  rows, counts = np.unique(drawn[:, 0] // 3, return_counts=True)
  assert rows.tolist() == [0, 2, 3] and counts.min() > 240
  np.testing.assert_array_equal(masks, mask[np.asarray(drawn[:, 0]) // 3])
  ids, none = one_caption(keys[0], x, np.zeros_like(mask))
  assert ids.shape == (3,) and not none.any()
  same, _ = one_caption(keys[0], x[0], mask[0])
  np.testing.assert_array_equal(same, x[0])
  with pytest.raises(ShapeError, match="several captions"):
    one_caption(keys[0], x[None], mask[None])


def plan(options, **pipelines):
  """A classifier of texts."""
  return experiment(
    "captions",
    seeds=1,
    data=data("manifest", **options, pipelines=pipelines),
    stages={
      "alone": stage(
        network("text_cnn", vocabulary=40, channels=4, words=3, num_classes=2),
        terms={"ce": term("cross_entropy")},
        metrics={"classification": metric("classification")},
        optimizer=optimizer("sgd", learning_rate=0.1),
        steps=4,
        batch_size=8,
        log_every=1,
        eval_every=2,
      )
    },
  )


@pytest.mark.parametrize(
  "pipelines", [{}, {"train": {"text": "token_dropout(rate=0.5)"}}]
)
def test_a_network_reads_one_of_them_in_every_view(tmp_path, pipelines):
  options = write(tmp_path, CELLS)
  config = plan(options, **pipelines).to_dict()
  views = build.build(config, "alone").objective.views
  source = manifest.load("train", **options)
  batch = {**source.take(np.arange(2)), "view": np.zeros(2, np.int32)}
  seen = set()
  for view in range(20):
    batch["view"] = np.full(2, view, np.int32)
    viewed = views(batch, train=True)
    assert viewed["text"].shape == viewed["mask/text"].shape == (2, 3)
    seen.add(int(viewed["mask/text"][0].sum()))
  assert seen == {1, 2}, "one caption alone was drawn"
  test = manifest.load("test", **options)
  batch = {**test.take(np.arange(5)), "view": np.zeros(5, np.int32)}
  viewed = views(batch, train=False)
  np.testing.assert_array_equal(viewed["text"], batch["text"][:, 0])


@pytest.mark.slow
def test_a_run_on_captions_is_trained_evaluated_and_restored(tmp_path):
  options = write(tmp_path, CELLS * 4)
  results = kdjax.run(plan(options), tmp_path / "run", quiet=True)
  assert np.isfinite(results["stages"]["alone"]["loss/ce"]["mean"])
  again = kdjax.evaluate(tmp_path / "run", "alone")
  accuracy = results["stages"]["alone"]["accuracy"]["mean"]
  assert again["accuracy"] == [pytest.approx(accuracy)]
  model, variables = kdjax.restore(tmp_path / "run", "alone")
  test = manifest.load("test", **options)
  batch = test.take(np.arange(4))
  inputs = {key: batch[key] for key in ("text", "mask/text")}
  one = {key: value[:, 0] for key, value in inputs.items()}
  several = model.apply(variables, inputs, train=False)["logits"]
  single = model.apply(variables, one, train=False)["logits"]
  np.testing.assert_allclose(several, single, atol=1e-6)
