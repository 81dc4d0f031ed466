"""Networks that know fewer ids than the texts have are found before a run."""

import examples
import numpy as np
import pytest

import kdjax
from kdjax import config, registry
from kdjax.data import digits, emoji, manifest
from kdjax.errors import UserError
from kdjax.stage import vocabulary as capacity
from kdjax.training import check, workdir


def reader(vocabulary, **options):
  return config.network(
    "text_transformer", vocabulary=vocabulary, num_classes=3, **options
  )


def planned(data, student):
  """An experiment of one step, up to where it would begin."""
  terms = {"cross_entropy": config.term("cross_entropy")}
  one = config.stage(student, terms=terms, steps=1, batch_size=8)
  whole = config.experiment("small", data=data, stages={"alone": one})
  plain = workdir.resolve(whole)
  check.plan(plain, list(plain["order"]))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
  return examples.manifest(tmp_path_factory.mktemp("table"))


def test_a_table_with_more_words_than_a_network_knows(table):
  (count,) = manifest.ids(**table).values()
  ids = [
    manifest.load(one, **table).take(np.arange(3))["text"]
    for one in ("train", "validation", "test")
  ]
  assert max(map(np.max, ids)) < count
  data = config.data("manifest", **table)
  planned(data, reader(count))
  with pytest.raises(
    UserError,
    match=rf"Stage 'alone'.*'student' has vocabulary={count - 1}, and.*'text'"
    rf" has {count} ids.*vocabulary={count}",
  ):
    planned(data, reader(count - 1))
  planned(
    config.data("manifest", **{**table, "vocabulary_size": count - 1}),
    reader(count - 1),
  )


def test_it_is_said_before_anything_is_written(table, tmp_path):
  terms = {"cross_entropy": config.term("cross_entropy")}
  one = config.stage(reader(2), terms=terms, steps=1, batch_size=8)
  whole = config.experiment(
    "small", data=config.data("manifest", **table), stages={"alone": one}
  )
  with pytest.raises(UserError, match="vocabulary=2"):
    kdjax.run(whole, tmp_path / "run", quiet=True)
  assert not (tmp_path / "run").exists()


def test_a_network_inside_of_another_is_looked_at(table):
  image = config.network("conv", widths=(4,))
  both = config.network(
    "fusion", encoders={"image": image, "text": reader(3)}, num_classes=3
  )
  with pytest.raises(UserError, match="vocabulary=3"):
    planned(config.data("manifest", **table), both)


def test_a_text_of_another_name_is_that_of_its_network(table):
  columns = {**table["columns"], "said": "text:caption"}
  data = config.data("manifest", **{**table, "columns": columns})
  with pytest.raises(UserError, match="'said' has"):
    planned(data, reader(3, modality="said"))
  planned(data, reader(50, modality="said"))


def test_a_network_shorter_than_the_texts_is_found_too(table):
  with pytest.raises(UserError, match=r"4 positions.*length=3"):
    planned(config.data("manifest", **table), reader(50, length=3))


def test_a_data_set_that_knows_no_ids_is_taken_as_it_is():
  network = registry.find("models", "text_transformer")(vocabulary=2)
  capacity.check("student", network, {})
  capacity.check("student", network, {"text": 2})
  with pytest.raises(UserError, match="'student' has vocabulary=2"):
    capacity.check("student", network, {"text": 3})


def test_the_hints_have_as_many_ids_as_the_networks_are_told():
  assert digits.ids() == {"text": digits.VOCABULARY}


def test_files_that_are_not_there_have_unknown_ids(tmp_path):
  assert emoji.ids(root=str(tmp_path)) == {}
  assert manifest.ids(root=str(tmp_path)) == {}
