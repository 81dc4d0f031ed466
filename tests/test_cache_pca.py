"""Outputs stored by their principal components, and the basis of a cache."""

import pathlib
import shutil

import jax
import numpy as np
import pytest
import sklearn.decomposition
import test_teacher_outputs
from test_teacher_outputs import N, plan_of, run

import kdjax
from kdjax import config
from kdjax.cache import codecs, imported, outputs, pca
from kdjax.cache.manifest import Output
from kdjax.cache.store import Reader
from kdjax.errors import ShapeError, UserError
from kdjax.teachers import cache_writer
from kdjax.training import experiment

data, taught = test_teacher_outputs.data, test_teacher_outputs.taught


def drawn(rows=300, width=20, rank=20, seed=0, positions=()):
  """Vectors of falling variance in random directions, far from 0."""
  random = np.random.default_rng(seed)
  scales = 5.0 * 0.7 ** np.arange(rank)
  mixing = np.linalg.qr(random.normal(size=(width, width)))[0][:rank]
  values = random.normal(size=(rows, *positions, rank)) * scales
  return (3.0 + values @ mixing).astype(np.float32)


def stored(x, k):
  """A codec with the basis of `x`, its parts, and what is decoded."""
  codec = pca.Pca(k, pca.fit([x], k))
  parts = codec.encode(x)
  decode = jax.jit(lambda parts: codec.decode(parts, x.shape[1:]))
  return codec, parts, np.asarray(decode(parts))


@pytest.mark.parametrize("positions", [(), (5,), (2, 3)])
def test_what_is_decoded_is_that_of_scikit_learn(positions):
  x = drawn(positions=positions)
  _, parts, decoded = stored(x, 6)
  flat = x.reshape(-1, 20)
  model = sklearn.decomposition.PCA(6).fit(flat)
  expected = model.inverse_transform(model.transform(flat)).reshape(x.shape)
  # float16 is off by a 2048th.
  np.testing.assert_allclose(decoded, expected, atol=3e-2)
  assert parts["values"].shape == (*x.shape[:-1], 6)
  assert parts["values"].dtype == np.float16
  share = pca.fit([x], 6).share
  np.testing.assert_allclose(share, model.explained_variance_ratio_.sum(), 1e-5)


def test_vectors_of_a_low_rank_are_stored_up_to_rounding():
  x = drawn(rank=4)
  codec, _, decoded = stored(x, 4)
  np.testing.assert_allclose(decoded, x, atol=2e-2)
  np.testing.assert_allclose(codec.basis.share, 1.0, atol=1e-6)
  errors = [np.abs(stored(drawn(), k)[2] - drawn()).max() for k in (2, 8, 16)]
  assert errors[0] > errors[1] > errors[2]


def test_a_basis_is_orthonormal_and_does_not_depend_on_the_batches():
  x = drawn()
  basis = pca.fit([x], 5)
  np.testing.assert_allclose(
    basis.directions @ basis.directions.T, np.eye(5), atol=1e-5
  )
  parts = pca.fit([x[:40], x[40:41], x[41:]], 5)
  for one, other in zip(basis, parts, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_of_many_vectors_some_are_skipped(monkeypatch):
  monkeypatch.setattr(pca, "MOST", 100)
  assert pca.fit([drawn(250), drawn(50, seed=1)], 3).vectors == 101


def test_constant_vectors_are_stored():
  x = np.full((9, 5), 2.0, np.float32)
  _, _, decoded = stored(x, 2)
  np.testing.assert_allclose(decoded, x, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (4,), (64,), (3, 64)])
def test_an_output_without_wide_vectors_is_refused(shape):
  with pytest.raises(ShapeError, match="pca64"):
    codecs.find("pca64").parts(shape)


@pytest.mark.parametrize("name", ["pca", "pca0", "pca-1", "pca5x"])
def test_an_unknown_codec_is_named_with_the_known_ones(name):
  with pytest.raises(UserError, match="pca<k>"):
    codecs.find(name)


def test_a_component_that_float16_cannot_hold_is_refused():
  codec = pca.Pca(2, pca.fit([drawn()], 2))
  with pytest.raises(UserError, match="float32"):
    codec.encode(1e6 * drawn())
  with pytest.raises(UserError, match="not finite"):
    codec.encode(np.full((2, 20), np.nan, np.float32))


def test_imported_outputs_have_a_basis_and_print_it(tmp_path):
  x = drawn(rows=50, positions=(3,))
  source = tmp_path / "outputs.npz"
  np.savez(source, index=np.arange(50), tokens=x, logits=x[:, 0, :4] - 9.0)
  lines = []
  imported.import_file(
    str(source),
    str(tmp_path / "cache"),
    store={"tokens": "pca8"},
    log=lines.append,
  )
  assert "tokens as pca8: 8 of 20 directions hold 9" in lines[0]
  reader = Reader(tmp_path / "cache")
  bases = pca.all_of(reader.layout, reader.manifest.outputs)
  rows = reader.take(np.arange(50), np.zeros(50, int))
  found = outputs.decode(reader.manifest.outputs, rows, bases)
  np.testing.assert_allclose(found["tokens"], stored(x, 8)[2], atol=1e-3)
  np.testing.assert_array_equal(found["logits"], x[:, 0, :4] - 9.0)


def test_the_first_basis_is_kept_and_a_damaged_one_is_named(tmp_path):
  x = drawn(rows=20)
  source = tmp_path / "outputs.npz"
  np.savez(source, index=np.arange(20), embedding=x)
  imported.import_file(str(source), str(tmp_path / "cache"), store="pca3")
  reader = Reader(tmp_path / "cache")
  read = lambda: pca.all_of(reader.layout, reader.manifest.outputs)
  before = read()["embedding"]
  pca.write(reader.layout, "embedding", pca.fit([drawn(seed=1)], 3))
  np.testing.assert_array_equal(read()["embedding"].mean, before.mean)
  file = tmp_path / "cache" / "bases" / "embedding.npz"
  whole = file.read_bytes()
  for content in (b"", whole[:50], whole[:-30]):
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"embedding\.npz.*damaged"):
      read()
  file.unlink()
  with pytest.raises(UserError, match="lacks 'bases/embedding"):
    read()


EMBEDDING = {
  "feature": config.term(
    "mse",
    reads={"student": "student/embedding", "teacher": "teacher/embedding"},
    heads={"student": config.head("linear")},
  )
}


@pytest.mark.slow
def test_a_run_reads_its_embeddings_by_components(taught, tmp_path, capsys):
  changes = {"terms": EMBEDDING, "cache": "auto"}
  exact = run(taught, tmp_path / "exact", **changes)
  capsys.readouterr()
  small = tmp_path / "small"
  shutil.copytree(taught, small)
  plan = plan_of(**changes, store={"embedding": "pca5"})
  kdjax.run(plan, small, stage="student")
  printed = capsys.readouterr().out
  assert "embedding as pca5: 5 of 6 directions hold" in printed
  assert "largest difference" in printed
  found = test_teacher_outputs.parameters(small)
  errors = [np.abs(value - exact[key]).max() for key, value in found.items()]
  assert 0 < max(errors) < 0.1
  (folder,) = (small / "cache").iterdir()
  reader = Reader(folder)
  assert pathlib.Path(folder, "bases", "embedding.npz").exists()
  basis = pca.all_of(reader.layout, reader.manifest.outputs)["embedding"]
  assert basis.directions.shape == (5, 6) and basis.vectors == N // 3


@pytest.mark.slow
def test_a_basis_for_each_seed_is_refused(taught, tmp_path):
  teachers = {"teacher": config.teacher("large", cache="auto", store="pca5")}
  with pytest.raises(UserError, match="paired=False"):
    run(taught, tmp_path, terms=EMBEDDING, teachers=teachers)


@pytest.mark.slow
def test_a_cache_that_lost_its_basis_is_not_continued(taught, tmp_path):
  changes = {"terms": EMBEDDING, "cache": "auto", "store": "pca5"}
  run(taught, tmp_path, **changes)
  ((stage, (plan,)),) = experiment.caches(
    plan_of(**changes), tmp_path, "student"
  )
  cache_writer.verify(stage, plan, batches=2)
  Reader(plan.path).invalidate(0, 0)
  lines = []
  cache_writer.write(stage, plan, log=lines.append)
  assert not any("directions hold" in line for line in lines)
  cache_writer.verify(stage, plan, batches=2)
  Reader(plan.path).invalidate(0, 0)
  pathlib.Path(plan.path, "bases", "embedding.npz").unlink()
  with pytest.raises(UserError, match="lacks 'bases/embedding"):
    cache_writer.write(stage, plan)


def test_outputs_without_a_basis_are_as_before():
  x = drawn(rows=4)
  of = {"logits": Output((20,), "float32", "float32")}
  np.testing.assert_array_equal(
    outputs.decode(of, outputs.encode(of, {"logits": x}))["logits"], x
  )
