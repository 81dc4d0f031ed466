"""A vocabulary smaller than the data's ids is found before a run."""

import examples
import numpy as np
import pytest

import kdjax
from kdjax import config, registry
from kdjax.data import digits, emoji, manifest
from kdjax.errors import UserError
from kdjax.stage import vocabulary
from kdjax.training import check, workdir


def reader(size, **options):
  return config.network(
    "text_transformer", vocabulary=size, num_classes=3, **options
  )


def check_plan(data, student):
  """Checks an experiment of one step, without running it."""
  terms = {"cross_entropy": config.term("cross_entropy")}
  stage = config.stage(student, terms=terms, steps=1, batch_size=8)
  plan = config.experiment("small", data=data, stages={"alone": stage})
  plain = workdir.resolve(plan)
  check.plan(plain, list(plain["order"]))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
  return examples.manifest(tmp_path_factory.mktemp("table"))


@pytest.mark.slow
def test_a_table_with_more_words_than_the_vocabulary(table):
  (count,) = manifest.ids(**table).values()
  ids = [
    manifest.load(split, **table).take(np.arange(3))["text"]
    for split in ("train", "validation", "test")
  ]
  assert max(map(np.max, ids)) < count
  data = config.data("manifest", **table)
  check_plan(data, reader(count))
  with pytest.raises(
    UserError,
    match=rf"Stage 'alone'.*'student' has vocabulary={count - 1}, and.*'text'"
    rf" has {count} ids.*vocabulary={count}",
  ):
    check_plan(data, reader(count - 1))
  check_plan(
    config.data("manifest", **{**table, "vocabulary_size": count - 1}),
    reader(count - 1),
  )


def test_the_error_is_raised_before_anything_is_written(table, tmp_path):
  terms = {"cross_entropy": config.term("cross_entropy")}
  stage = config.stage(reader(2), terms=terms, steps=1, batch_size=8)
  plan = config.experiment(
    "small", data=config.data("manifest", **table), stages={"alone": stage}
  )
  with pytest.raises(UserError, match="vocabulary=2"):
    kdjax.run(plan, tmp_path / "run", quiet=True)
  assert not (tmp_path / "run").exists()


def test_a_network_inside_another_is_checked(table):
  image = config.network("conv", widths=(4,))
  both = config.network(
    "fusion", encoders={"image": image, "text": reader(3)}, num_classes=3
  )
  with pytest.raises(UserError, match="vocabulary=3"):
    check_plan(config.data("manifest", **table), both)


def test_ids_are_compared_by_modality(table):
  columns = {**table["columns"], "spoken": "text:caption"}
  data = config.data("manifest", **{**table, "columns": columns})
  with pytest.raises(UserError, match="'spoken' has"):
    check_plan(data, reader(3, modality="spoken"))
  check_plan(data, reader(50, modality="spoken"))


def test_a_network_shorter_than_the_texts_is_found(table):
  with pytest.raises(UserError, match=r"4 positions.*length=3"):
    check_plan(config.data("manifest", **table), reader(50, length=3))


def test_unknown_ids_are_not_checked():
  network = registry.find("models", "text_transformer")(vocabulary=2)
  vocabulary.check("student", network, {})
  vocabulary.check("student", network, {"text": 2})
  with pytest.raises(UserError, match="'student' has vocabulary=2"):
    vocabulary.check("student", network, {"text": 3})


def test_the_hints_have_as_many_ids_as_the_vocabulary():
  assert digits.ids() == {"text": digits.VOCABULARY}


def test_missing_files_have_unknown_ids(tmp_path):
  assert emoji.ids(root=str(tmp_path)) == {}
  assert manifest.ids(root=str(tmp_path)) == {}
