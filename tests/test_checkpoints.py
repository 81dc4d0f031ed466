"""Damaged checkpoints: one sentence, and the one before is used."""

import random
import shutil

import numpy as np
import pytest

from kdjax.errors import UserError
from kdjax.training.checkpoints import Checkpoints

STEPS = (10, 20)


def facts_of(step):
  return {"seconds": step / 3, "steps": 60, "broken": []}


def state(step):
  return {"params": {"kernel": np.arange(6, dtype=np.float32) + step}}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
  """A folder with three checkpoints saved, of which two are kept."""
  folder = tmp_path_factory.mktemp("saved") / "checkpoints"
  with Checkpoints(folder, write=True) as checkpoints:
    for step in (5, *STEPS):
      checkpoints.save(step, [state(step)], facts_of(step))
      checkpoints.wait()
  return folder


@pytest.fixture
def folder(saved, tmp_path):
  return shutil.copytree(saved, tmp_path / "stage" / "checkpoints")


def newest(folder, **options):
  with Checkpoints(folder, **options) as checkpoints:
    step, arrays, facts = checkpoints.newest()
  assert facts == facts_of(step)
  np.testing.assert_array_equal(
    arrays["params.kernel"][0], state(step)["params"]["kernel"]
  )
  return step


def files(folder, step):
  found = sorted(it for it in (folder / str(step)).rglob("*") if it.is_file())
  assert len(found) > 5
  return [it.relative_to(folder / str(step)) for it in found]


def damages():
  return {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "halved": lambda path: path.write_bytes(
      path.read_bytes()[: path.stat().st_size // 2]
    ),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
  }


def test_the_newest_two_are_kept(folder):
  assert {it.name for it in folder.iterdir()} >= {"10", "20"}
  assert not (folder / "5").exists()
  assert newest(folder) == 20


@pytest.mark.slow
@pytest.mark.parametrize("how", damages())
def test_any_damaged_file_gives_the_checkpoint_before(
  folder, tmp_path, how, capsys
):
  fell_back = 0
  for file in files(folder, 20):
    copy = shutil.copytree(folder, tmp_path / "copy")
    damages()[how](copy / "20" / file)
    step = newest(copy)
    said = capsys.readouterr().err
    assert step == 20 or "20 is damaged" in said, file
    assert len(said.splitlines()) <= 1
    fell_back += step == 10
    shutil.rmtree(copy)
  assert fell_back >= 3


@pytest.mark.slow
def test_single_flipped_bits_are_never_silent(folder, tmp_path):
  rng = random.Random(0)
  for number in range(60):
    copy = shutil.copytree(folder, tmp_path / str(number))
    path = copy / "20" / rng.choice(files(folder, 20))
    raw = bytearray(path.read_bytes())
    if not raw:
      continue
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    path.write_bytes(raw)
    newest(copy)  # compares the arrays and the facts


def test_a_damaged_one_is_set_aside_by_the_run_that_continues(folder, capsys):
  shutil.rmtree(folder / "20")
  (folder / "20").mkdir()
  assert newest(folder, write=True) == 10
  assert (folder / "damaged-20").is_dir()
  assert "20 is damaged" in capsys.readouterr().err
  with Checkpoints(folder, write=True) as checkpoints:
    checkpoints.save(20, [state(20)], facts_of(20))
    checkpoints.wait()
  assert newest(folder) == 20


def test_without_one_that_can_be_read_it_is_one_sentence(folder):
  for step in STEPS:
    for path in (folder / str(step)).iterdir():
      shutil.rmtree(path) if path.is_dir() else path.unlink()
  with (
    pytest.raises(UserError, match=r"No checkpoint in .* Delete .*stage"),
    Checkpoints(folder) as checkpoints,
  ):
    checkpoints.newest()


def test_a_run_that_replaces_checkpoints_is_read_beside_it(folder, monkeypatch):
  with Checkpoints(folder) as reader:
    read, tried = reader._arrays, []

    def replaced(step, prefix):
      tried.append(step)
      if len(tried) < 2:
        with Checkpoints(folder, write=True) as writer:
          for later in (step + 10, step + 20):
            writer.save(later, [state(later)], facts_of(later))
            writer.wait()
        raise FileNotFoundError(step)
      return read(step, prefix)

    monkeypatch.setattr(reader, "_arrays", replaced)
    step, arrays, _ = reader.newest()
  assert step == 40
  assert arrays["params.kernel"][0, 0] == 40
