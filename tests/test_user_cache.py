"""The user's cache, and hashes of files' contents that are kept in it."""

import os

import pytest

from kdjax.config import user_cache
from kdjax.errors import UserError
from kdjax.preprocess import content


@pytest.fixture
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv(user_cache.VARIABLE, str(tmp_path / "cache"))
  return tmp_path / "cache"


def test_the_folder_is_the_users_alone(cache):
  folder = user_cache.folder("compiled")
  assert folder == cache / "compiled"
  for path in (folder, cache):
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("shared", [".", "compiled"])
def test_a_folder_that_others_can_write_to_is_refused(cache, shared):
  user_cache.folder("compiled")
  (cache / shared).chmod(0o777)
  with pytest.raises(UserError, match=r"Others can write.*KDJAX_CACHE"):
    user_cache.folder("compiled")


def test_it_follows_the_standard_variables(tmp_path, monkeypatch):
  monkeypatch.delenv(user_cache.VARIABLE)
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
  assert user_cache.folder("x") == tmp_path / "xdg" / "kdjax" / "x"
  monkeypatch.delenv("XDG_CACHE_HOME")
  monkeypatch.setenv("HOME", str(tmp_path))
  assert user_cache.folder("x") == tmp_path / ".cache" / "kdjax" / "x"


def test_off_and_a_read_only_home_store_nothing(tmp_path, monkeypatch):
  (tmp_path / "file").write_text("hello")
  for value in (user_cache.OFF, str(tmp_path / "file" / "below")):
    monkeypatch.setenv(user_cache.VARIABLE, value)
    assert user_cache.folder("x") is None
    (found,) = content.digests([str(tmp_path / "file")])
    assert len(found) == 32


def test_a_file_is_read_once_until_it_changes(cache, tmp_path, monkeypatch):
  del cache
  path = tmp_path / "file"
  path.write_bytes(b"one")
  read, opened = content.pathlib.Path.open, []

  def counting(self, *arguments, **named):
    opened.append(self.name)
    return read(self, *arguments, **named)

  monkeypatch.setattr(content.pathlib.Path, "open", counting)
  first = content.digests([str(path)])
  assert content.digests([str(path)]) == first
  assert opened == [path.name]
  state = path.stat()
  path.write_bytes(b"two")
  os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
  assert content.digests([str(path)]) != first


def test_equal_contents_are_equal_and_what_is_no_file_has_none(cache, tmp_path):
  del cache
  for name in ("a", "b"):
    (tmp_path / name).write_bytes(b"same" * 1_000_000)
  os.mkfifo(tmp_path / "pipe")
  paths = [str(tmp_path / name) for name in ("a", "b", "pipe", "gone", "\0")]
  first, second, *others = content.digests([*paths, str(tmp_path)])
  assert first == second
  assert others == [None] * 4


def test_a_damaged_store_is_left_alone(cache, tmp_path):
  (tmp_path / "file").write_bytes(b"one")
  user_cache.folder("hashes")
  (cache / "hashes" / "files.sqlite").write_bytes(b"no database" * 500)
  assert content.digests([str(tmp_path / "file")])[0]
