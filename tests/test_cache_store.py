"""A cache on disk: what is written is read back, and damage is named."""

import concurrent.futures
import dataclasses
import json
import pathlib
import pickle
import signal
import subprocess
import sys

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from limits import no_file_beyond

from kdjax.cache._layout import Layout
from kdjax.cache.manifest import Manifest, Output, check_equal, hash_of
from kdjax.cache.store import Reader, Writer
from kdjax.errors import ShapeError, UserError

ROOT = pathlib.Path(__file__).parent.parent

MANIFEST = Manifest(
  teacher="a1b2",
  data="c3d4",
  split="train",
  augmentation="crop(4) flip",
  augment_seed=7,
  augmentations=2,
  outputs={"logits": Output((5,), "float32", "float32")},
  batch_shape=(8, 3),
  kdjax="0.1.0",
  jax="0.10",
)
PARTS = {
  "logits.values": jax.ShapeDtypeStruct((5,), np.dtype(np.float32)),
  "image/tokens.values": jax.ShapeDtypeStruct((2, 3), jnp.dtype("bfloat16")),
  "image/tokens.classes": jax.ShapeDtypeStruct((), np.dtype(np.uint16)),
}
ROWS, VIEWS, CHUNK = 21, 2, 8
INDEX = np.random.default_rng(0).permutation(1000)[:ROWS] + 10**12


def outputs_of(view):
  """A teacher's outputs for all examples in a view, with some zeros."""
  rng = np.random.default_rng([1, view])
  found = {}
  for name, row in PARTS.items():
    values = rng.integers(0, 200, size=(ROWS, *row.shape))
    found[name] = (values * (values > 40)).astype(row.dtype)
  found["logits.values"][5:9] = 0
  return found


def writer_of(path, manifest=MANIFEST, **options):
  options = {
    "parts": PARTS,
    "index": INDEX,
    "views": VIEWS,
    "chunk_rows": CHUNK,
    **options,
  }
  return Writer(path, manifest, **options)


def fill(writer, chunks):
  for view, chunk in chunks:
    rows = writer.rows(chunk)
    parts = {name: all_[rows] for name, all_ in outputs_of(view).items()}
    writer.write(view, chunk, parts)


def filled(path, **options):
  writer = writer_of(path, **options)
  fill(writer, writer.missing())
  writer.finish()
  return path


def files_of(path):
  """{name: bytes} of the files in a folder, without locks left by a kill."""
  return {
    str(file.relative_to(path)): file.read_bytes()
    for file in sorted(path.rglob("*"))
    if file.is_file() and not file.name.endswith(".__lock")
  }


def assert_holds_all(reader):
  index = np.tile(INDEX, VIEWS)
  view = np.repeat(np.arange(VIEWS), ROWS)
  found = reader.take(index, view)
  for name in PARTS:
    want = np.concatenate([outputs_of(view)[name] for view in range(VIEWS)])
    assert found[name].dtype == want.dtype
    np.testing.assert_array_equal(found[name], want)


def test_what_was_written_is_read_in_any_order(tmp_path):
  reader = Reader(filled(tmp_path / "cache"))
  rng = np.random.default_rng(3)
  rows, views = rng.integers(ROWS, size=40), rng.integers(VIEWS, size=40)
  found = reader.take(INDEX[rows], views)
  assert found.keys() == PARTS.keys()
  for name, rows_of_all in found.items():
    assert rows_of_all.dtype == PARTS[name].dtype
    for got, row, view in zip(rows_of_all, rows, views, strict=True):
      np.testing.assert_array_equal(got, outputs_of(view)[name][row])


def test_a_reader_has_the_attributes_of_the_cache(tmp_path):
  reader = Reader(filled(tmp_path / "cache"))
  assert reader.manifest == MANIFEST
  assert reader.parts == PARTS
  assert reader.views == VIEWS
  assert reader.complete
  np.testing.assert_array_equal(reader.index, INDEX)
  np.testing.assert_array_equal(
    INDEX[reader.positions(INDEX[::-3])], INDEX[::-3]
  )


def test_views_repeat_after_the_last(tmp_path):
  reader = Reader(filled(tmp_path / "cache"))
  once = reader.take(INDEX[:4], np.array([0, 1, 0, 1]))
  again = reader.take(INDEX[:4], np.array([2, 1, 6, 7]))
  jax.tree.map(np.testing.assert_array_equal, again, once)


def test_read_all_returns_what_was_written(tmp_path):
  whole = Reader(filled(tmp_path / "cache")).read_all()
  for name, found in whole.items():
    want = np.stack([outputs_of(view)[name] for view in range(VIEWS)])
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("chunk_rows", [None, 1, 7, ROWS, 100])
def test_chunks_may_have_any_size(tmp_path, chunk_rows):
  assert_holds_all(Reader(filled(tmp_path, chunk_rows=chunk_rows)))


def test_a_path_may_be_a_url(tmp_path):
  filled(f"file://{tmp_path}/cache")
  assert_holds_all(Reader(tmp_path / "cache"))
  assert_holds_all(Reader(f"file://{tmp_path}/cache/"))


def test_zero_rows_are_taken(tmp_path):
  none = np.zeros(0, int)
  found = Reader(filled(tmp_path)).take(none, none)
  assert found["logits.values"].shape == (0, 5)


def test_several_threads_read_from_one_reader(tmp_path):
  reader = Reader(filled(tmp_path / "cache"), memory=0)
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    for done in [pool.submit(assert_holds_all, reader) for _ in range(24)]:
      done.result()


def test_a_reader_is_pickled(tmp_path):
  reader = Reader(filled(tmp_path / "cache"), memory=2**20)
  assert_holds_all(pickle.loads(pickle.dumps(reader)))


@pytest.mark.parametrize(
  ("index", "message"),
  [([5], "index 5[.]"), ([INDEX[0], 2 * 10**12, 7], "index 2000000000000 and")],
)
def test_an_example_that_the_cache_lacks_is_named(tmp_path, index, message):
  reader = Reader(filled(tmp_path / "cache"))
  with pytest.raises(UserError, match=message):
    reader.take(np.array(index), np.zeros(len(index), int))


# Unfinished caches.


def test_an_unfinished_cache_is_refused_with_what_is_missing(tmp_path):
  writer = writer_of(tmp_path)
  fill(writer, [(0, 0), (1, 2)])
  with pytest.raises(UserError, match="4 of 6 chunks are missing"):
    Reader(tmp_path)
  with pytest.raises(UserError, match="4 of 6 chunks are missing"):
    writer.finish()


def test_the_finished_chunks_of_an_unfinished_cache_are_read(tmp_path):
  fill(writer_of(tmp_path), [(0, 0), (1, 2)])
  reader = Reader(tmp_path, unfinished=True)
  assert not reader.complete
  found = reader.take(INDEX[[3, 20]], np.array([0, 1]))["logits.values"]
  want = [outputs_of(0)["logits.values"][3], outputs_of(1)["logits.values"][20]]
  np.testing.assert_array_equal(found, want)
  with pytest.raises(
    UserError, match=f"example {INDEX[8]} is missing in view 0"
  ):
    reader.take(INDEX[[3, 8]], np.array([0, 0]))
  with pytest.raises(UserError, match="4 of 6 chunks are missing"):
    reader.read_all()


def test_a_writer_continues_with_the_missing_chunks(tmp_path):
  fill(writer_of(tmp_path), [(0, 1), (1, 0)])
  writer = writer_of(tmp_path)
  assert writer.missing() == [(0, 0), (0, 2), (1, 1), (1, 2)]
  fill(writer, writer.missing())
  assert_holds_all(Reader(tmp_path))


def test_a_folder_without_a_cache_is_no_cache(tmp_path):
  with pytest.raises(UserError, match=r"No cache at .*`kdjax cache`"):
    Reader(tmp_path)


def test_an_invalidated_chunk_is_made_again(tmp_path):
  reader = Reader(filled(tmp_path))
  reader.invalidate(1, 1)
  assert not reader.complete
  writer = writer_of(tmp_path)
  assert writer.missing() == [(1, 1)]
  fill(writer, [(1, 1)])
  writer.invalidate(0, 2)
  assert writer.missing() == [(0, 2)]


def test_processes_share_all_chunks(tmp_path):
  writer = writer_of(tmp_path)
  fill(writer, [(0, 1)])
  shares = [writer.missing_of_process(process, 4) for process in range(4)]
  assert sorted(pair for share in shares for pair in share) == writer.missing()
  # A finished chunk moves no other chunk to another share.
  fill(writer, [(0, 0)])
  assert writer.missing_of_process(1, 4) == shares[1]


@pytest.mark.parametrize(
  ("part", "rows", "dtype"),
  [
    ("logits.values", 7, np.float32),
    ("logits.values", 8, np.float64),
    ("another", 8, np.float32),
  ],
)
def test_a_chunk_of_another_shape_is_refused(tmp_path, part, rows, dtype):
  writer = writer_of(tmp_path)
  parts = {name: all_[:8] for name, all_ in outputs_of(0).items()}
  parts[part] = np.zeros((rows, 5), dtype)
  with pytest.raises(ShapeError, match=f"{part} {dtype.__name__}"):
    writer.write(0, 0, parts)
  assert (0, 0) in writer.missing()


@pytest.mark.parametrize(
  "options",
  [{"index": INDEX[:0]}, {"views": 0}, {"parts": {}}, {"index": [1, 2, 1]}],
)
def test_an_empty_cache_or_a_repeated_index_is_refused(tmp_path, options):
  with pytest.raises(UserError):
    writer_of(tmp_path, **options)
  assert not files_of(tmp_path)


@pytest.mark.parametrize(
  ("field", "options"),
  [
    ("rows", {"index": INDEX[:-1]}),
    ("index", {"index": INDEX[::-1]}),
    ("views", {"views": 3}),
    ("chunk_rows", {"chunk_rows": 9}),
    ("parts", {"parts": {"logits.values": PARTS["logits.values"]}}),
  ],
)
def test_a_cache_begun_with_other_settings_is_not_continued(
  tmp_path, field, options
):
  writer_of(tmp_path)
  before = files_of(tmp_path)
  with pytest.raises(UserError, match=f"'{field}' is"):
    writer_of(tmp_path, **options)
  assert files_of(tmp_path) == before


# Several processes, and killed ones.

CHILD = """
import os, signal, sys
sys.path[:0] = [{root!r}, {tests!r}]
from kdjax.cache import _layout
import test_cache_store as here

chunks, last, ends = {chunks!r}, {last!r}, {ends!r}
mark = _layout.Layout.mark

def killed(self, view, chunk, parts):
  if (view, chunk) == last and ends == "before its mark":
    os.kill(os.getpid(), signal.SIGKILL)
  mark(self, view, chunk, parts)

_layout.Layout.mark = killed
writer = here.writer_of({path!r})
for pair in chunks or writer.missing_of_process(*{share!r}):
  if pair == last and ends == "while it is written":
    print("now", flush=True)
  here.fill(writer, [pair])
"""


def start(path, chunks=(), share=(0, 1), last=None, ends=""):
  code = CHILD.format(
    root=str(ROOT),
    tests=str(ROOT / "tests"),
    path=str(path),
    chunks=[*chunks],
    share=share,
    last=last,
    ends=ends,
  )
  return subprocess.Popen(
    [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
  )


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["before its mark", "while it is written"])
def test_a_killed_writer_continues_to_the_same_files(tmp_path, ends):
  chunks = [(0, 0), (0, 1), (1, 2)]
  child = start(tmp_path / "cut", chunks, last=(1, 2), ends=ends)
  if ends == "while it is written":
    child.stdout.readline()
    child.kill()
  assert child.wait() == -signal.SIGKILL
  writer = writer_of(tmp_path / "cut")
  missing = writer.missing()
  assert {*chunks[:2]}.isdisjoint(missing)
  if ends == "before its mark":
    assert (1, 2) in missing
    # The chunk is written, but not marked.
    with pytest.raises(UserError, match="missing"):
      Reader(tmp_path / "cut", unfinished=True).take(INDEX[20:], np.array([1]))
  fill(writer, missing)
  writer.finish()
  assert files_of(tmp_path / "cut") == files_of(filled(tmp_path / "whole"))


def test_a_chunk_that_is_being_overwritten_is_unfinished(tmp_path, monkeypatch):
  def cut(*_):
    raise KeyboardInterrupt

  writer = writer_of(tmp_path)
  fill(writer, writer.missing())
  monkeypatch.setattr(Layout, "mark", cut)
  with pytest.raises(KeyboardInterrupt):
    fill(writer, [(1, 1)])
  assert writer.missing() == [(1, 1)]


def test_of_two_processes_that_start_at_once_one_writes_the_header(tmp_path):
  one = writer_of(tmp_path / "one").header
  other = dataclasses.replace(
    one, manifest=dataclasses.replace(MANIFEST, teacher="ffff")
  )
  layout = Layout(tmp_path / "two")
  files, reads = layout.files, []

  class Late:
    """Another process writes right after this one found no header."""

    write = staticmethod(files.write)
    list = staticmethod(files.list)
    __truediv__ = lambda self, name: files / name

    def read(self, name):
      found = files.read(name)
      found.result()
      reads.append(name)
      if len(reads) == 2:
        files.write("cache.json", one.to_bytes()).result()
      return found

  layout.files = Late()
  with pytest.raises(UserError, match="'teacher'"):
    layout.write_header(other)
  assert Layout(tmp_path / "two").header() == one


@pytest.mark.parametrize("name", ["rows", "views", "chunk_rows"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "8", None, True, 10**9, 10**30])
def test_a_header_of_no_cache_is_an_error_at_once(tmp_path, name, value):
  """A header by hand has the right checksum."""
  filled(tmp_path)
  header = dataclasses.replace(writer_of(tmp_path).header, **{name: value})
  (tmp_path / "cache.json").write_bytes(header.to_bytes())
  with pytest.raises(UserError) as error:
    Reader(tmp_path)
  assert str(tmp_path) in str(error.value)


def test_the_files_of_a_chunk_without_a_mark_are_overwritten(tmp_path):
  filled(tmp_path)
  whole = files_of(tmp_path)
  for content in (b"", b"torn", b"x" * 10_000):
    (tmp_path / "marks/1.0.json").unlink()
    for part in PARTS:
      inner = "/0" * len(PARTS[part].shape)
      file = tmp_path / f"parts/{part}/c/1/0{inner}"
      assert file.exists()
      file.write_bytes(content)
    fill(writer_of(tmp_path), [(1, 0)])
    assert files_of(tmp_path) == whole


@pytest.mark.slow
def test_two_processes_write_one_cache(tmp_path):
  children = [start(tmp_path / "two", share=(i, 2)) for i in range(2)]
  assert [child.wait() for child in children] == [0, 0]
  writer_of(tmp_path / "two").finish()
  assert files_of(tmp_path / "two") == files_of(filled(tmp_path / "one"))


# Damage.


def trouble(path):
  """The error message of opening, reading or verifying a cache."""
  try:
    reader = Reader(path, memory=0)
    assert_holds_all(reader)
  except UserError as error:
    return str(error)
  return "; ".join(map(str, reader.verify_checksums()))


FILES = (
  "cache.json",
  "index/zarr.json",
  "index/c/0",
  "marks/1.2.json",
  "parts/logits.values/zarr.json",
  "parts/logits.values/c/1/2/0",
  "parts/image/tokens.values/c/0/1/0/0",
  "parts/image/tokens.classes/c/1/0",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  return filled(tmp_path_factory.mktemp("whole"))


def test_the_cache_has_a_file_of_each_kind(whole):
  assert {*FILES} <= files_of(whole).keys()
  assert trouble(whole) == ""


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found_and_named(whole, name):
  file = whole / name
  content = file.read_bytes()
  kind = name.split("/")[0]
  step = max(1, len(content) // 40)
  try:
    for place in [*range(0, len(content), step), len(content) - 1]:
      flipped = bytearray(content)
      flipped[place] ^= 1 << place % 8
      file.write_bytes(flipped)
      message = trouble(whole)
      # Not every byte of an array's metadata is read.
      if not (name.endswith("zarr.json") and message == ""):
        assert {"index": "index", "parts": name}.get(kind, name) in message, (
          place
        )
  finally:
    file.write_bytes(content)


@pytest.mark.parametrize(
  "damage",
  [
    lambda file: file.unlink(),
    lambda file: file.write_bytes(b""),
    lambda file: file.write_bytes(file.read_bytes()[:-7]),
    lambda file: file.write_bytes(file.read_bytes()[7:]),
  ],
  ids=["missing", "empty", "truncated", "beheaded"],
)
@pytest.mark.parametrize("name", FILES)
def test_a_torn_or_missing_file_is_found_and_named(whole, name, damage):
  file = whole / name
  content = file.read_bytes()
  try:
    damage(file)
    message = trouble(whole)
  finally:
    file.write_bytes(content)
  if name == "cache.json":
    assert "No cache at" in message or name in message
  elif name.startswith("marks"):
    assert "1 of 6 chunks are missing" in message or name in message
  else:
    assert ("index" if name.startswith("index") else name) in message


def test_damage_is_named_by_its_rows_and_repaired(tmp_path):
  # The part is so wide that a chunk has several blocks.
  parts = {"map": jax.ShapeDtypeStruct((512,), np.dtype(np.float32))}
  writer = Writer(tmp_path, MANIFEST, parts, INDEX, 1, chunk_rows=16)
  rng = np.random.default_rng(0)
  values = rng.normal(size=(ROWS, 512)).astype(np.float32)
  for view, chunk in writer.chunks():
    writer.write(view, chunk, {"map": values[writer.rows(chunk)]})
  file = tmp_path / "parts/map/c/0/0/0"
  content = bytearray(file.read_bytes())
  # Four blocks of four rows, one after the other.
  content[len(content) * 3 // 8] ^= 4
  file.write_bytes(content)
  reader = Reader(tmp_path)
  np.testing.assert_array_equal(
    reader.take(INDEX[12:], np.zeros(9, int))["map"], values[12:]
  )
  with pytest.raises(UserError) as error:
    reader.take(INDEX[[20, 5]], np.array([0, 0]))
  for text in ("'map'", "view 0, rows 4 to 7", "c/0/0/0", "marks/0.0.json"):
    assert text in str(error.value)
  (damage,) = reader.verify_checksums()
  assert (damage.view, damage.chunk, damage.part) == (0, 0, "map")
  reader.invalidate(damage.view, damage.chunk)
  writer.write(0, 0, {"map": values[:16]})
  assert Reader(tmp_path).verify_checksums() == []


def test_a_chunk_that_was_swapped_for_another_is_noticed(whole):
  one = whole / "parts/logits.values/c/0/0/0"
  content = one.read_bytes()
  try:
    one.write_bytes((whole / "parts/logits.values/c/1/0/0").read_bytes())
    (damage,) = Reader(whole).verify_checksums()
  finally:
    one.write_bytes(content)
  assert (damage.view, damage.chunk, damage.part) == (0, 0, "logits.values")


@pytest.mark.parametrize("name", ["index/zarr.json", "index/c/0", FILES[4]])
def test_a_writer_restores_metadata_and_index(tmp_path, name):
  filled(tmp_path)
  before = files_of(tmp_path)
  (tmp_path / name).unlink()
  writer_of(tmp_path).finish()
  assert files_of(tmp_path) == before


def test_marks_without_a_header_are_not_continued(tmp_path):
  filled(tmp_path)
  (tmp_path / "cache.json").unlink()
  with pytest.raises(UserError, match=r"has lost its 'cache.json'"):
    writer_of(tmp_path)


# Manifests.

OTHERS = {
  "format": 2,
  "teacher": "ffff",
  "data": "ffff",
  "split": "test",
  "augmentation": "crop(4)",
  "augment_seed": 8,
  "augmentations": 3,
  "outputs": {"logits": Output((5,), "float32", "int8")},
  "batch_shape": (16, 3),
}
INFORMATION = {"kdjax": "9.9", "jax": "9.9"}


def test_every_field_of_a_manifest_is_tried():
  fields = {field.name for field in dataclasses.fields(Manifest)}
  assert fields == OTHERS.keys() | INFORMATION.keys()


@pytest.mark.parametrize("field", OTHERS)
def test_a_cache_with_another_manifest_is_refused_with_the_field(
  tmp_path, field
):
  wanted = dataclasses.replace(MANIFEST, **{field: OTHERS[field]})
  with pytest.raises(UserError, match=f"'{field}") as error:
    check_equal(MANIFEST, wanted, "here.zarr")
  stored, expected = getattr(MANIFEST, field), OTHERS[field]
  if field == "outputs":
    stored, expected = "codec float32", "codec int8"
  elif isinstance(stored, tuple):
    stored, expected = list(stored), list(expected)
  for text in (stored, expected, "here.zarr"):
    assert str(text) in str(error.value)
  if field != "format":
    writer_of(tmp_path)
    with pytest.raises(UserError, match=f"'{field}"):
      writer_of(tmp_path, wanted)


@pytest.mark.parametrize("field", INFORMATION)
def test_a_cache_of_another_version_is_accepted(tmp_path, field):
  wanted = dataclasses.replace(MANIFEST, **{field: INFORMATION[field]})
  assert wanted != MANIFEST
  first, again = writer_of(tmp_path), writer_of(tmp_path, wanted)
  assert again.missing() == first.missing()


def test_a_cache_may_hold_more_outputs_than_a_run_reads():
  more = MANIFEST.outputs | {"embedding": Output((3,), "float32", "int8")}
  stored = dataclasses.replace(MANIFEST, outputs=more)
  check_equal(stored, MANIFEST, more=True)
  with pytest.raises(UserError, match=r"outputs\.embedding.* not stored here"):
    check_equal(stored, MANIFEST)
  with pytest.raises(UserError, match=r"outputs\.embedding.*not stored in the"):
    check_equal(MANIFEST, stored, more=True)


def test_a_manifest_is_written_to_json_and_read_back():
  stored = json.loads(json.dumps(MANIFEST.to_json()))
  assert Manifest.from_json(stored) == MANIFEST


def test_an_unknown_format_is_refused():
  stored = MANIFEST.to_json() | {"format": 99}
  with pytest.raises(UserError, match="format 99"):
    Manifest.from_json(stored)


TREE = {
  "dense": {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.zeros(3)},
  "scale": np.ones((), np.float32),
}


def test_a_hash_is_independent_of_the_order_of_a_dict():
  turned = {
    "scale": jnp.ones(()),
    "dense": dict(reversed(TREE["dense"].items())),
  }
  assert hash_of(turned) == hash_of(TREE)
  assert hash_of(flax.core.freeze(TREE)) == hash_of(TREE)


@pytest.mark.parametrize(
  "other",
  [
    TREE | {"scale": np.ones((), np.float32).view(np.int32)},
    TREE | {"scale": np.ones((1,), np.float32)},
    TREE | {"scale": np.full((), 1 + 1e-7, np.float32)},
    {"dense": TREE["dense"], "scales": TREE["scale"]},
    {"dense": TREE["dense"]},
    TREE | {"dense": {"kernel": np.arange(6.0).reshape(3, 2)}},
    TREE
    | {"dense": TREE["dense"] | {"kernel": np.arange(6.0).reshape(2, 3) * -1}},
    TREE | {"dense": TREE["dense"] | {"bias": np.zeros(3) * -1}},
  ],
  ids=range(8),
)
def test_a_hash_depends_on_paths_dtypes_shapes_and_bytes(other):
  assert hash_of(other) != hash_of(TREE)


def test_a_hash_depends_on_bfloat16_values_and_not_on_memory_order():
  kernel = np.arange(6.0).reshape(2, 3)
  assert hash_of(np.asfortranarray(kernel)) == hash_of(kernel)
  one = jnp.ones(3, jnp.bfloat16)
  assert hash_of(one) != hash_of(one + 1)


@pytest.mark.parametrize("limit", [0, 50, 150])
def test_a_full_disk_is_one_sentence_and_loses_no_chunk(tmp_path, limit):
  with (
    no_file_beyond(limit),
    pytest.raises(UserError, match="cannot be written"),
  ):
    fill(writer_of(tmp_path), [(0, 0)])
  writer = writer_of(tmp_path)
  assert writer.missing() == writer.chunks()
  fill(writer, writer.missing())
  assert not writer.missing()
