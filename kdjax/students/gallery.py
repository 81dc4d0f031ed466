"""Embeddings of named records, among which a student's own is looked up."""

import dataclasses
import io
import os
import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from kdjax.config import files
from kdjax.errors import UserError
from kdjax.metrics import retrieval
from kdjax.report import records
from kdjax.students.signature import EMBEDDING, Signature
from kdjax.training import predictors, restore
from kdjax.types import Array

# The file of a gallery in the folder of an exported student.
FILE = "gallery.npz"
# Examples that are computed at once.
BATCH = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Gallery:
  """Embeddings of named records.

  Attributes:
    names: of the records.
    embeddings: f32 [N D]; they are compared by cosine.
  """

  names: tuple[str, ...]
  embeddings: np.ndarray

  def nearest(self, embedding: np.ndarray, k: int) -> list[tuple[str, float]]:
    """Names and cosines of the k nearest records, the nearest first.

    Args:
      embedding: [D].
      k: fewer are returned where the gallery has fewer.

    Raises:
      UserError: the embedding has another width than those of the gallery.
    """
    embedding = np.asarray(embedding, np.float32)
    if embedding.shape != self.embeddings.shape[1:]:
      raise UserError(
        f"An embedding has the shape {[*embedding.shape]}, and those of the"
        f" gallery {[*self.embeddings.shape[1:]]}.",
        "Expected a gallery of the same student.",
      )
    directions = retrieval.directions
    cosines = directions(self.embeddings) @ directions(embedding)
    best = np.argsort(-cosines, kind="stable")[:k]
    return [(self.names[row], float(cosines[row])) for row in best]

  def save(self, path: str | os.PathLike) -> None:
    """Writes the gallery to an .npz, which `read` reads."""
    file = io.BytesIO()
    np.savez(file, names=self.names, embeddings=self.embeddings)
    files.write_atomically(pathlib.Path(path), file.getvalue())


def read(path: str | os.PathLike) -> Gallery:
  """The gallery of a file.

  Args:
    path: an .npz with `names` [N], texts, and `embeddings` [N D], floats.

  Raises:
    UserError: the file is no gallery.
  """
  expected = "Expected an .npz with names [N] and embeddings [N D]."
  held = records.archive(pathlib.Path(path), expected)
  for name in ("names", "embeddings"):
    if name not in held:
      raise UserError(
        f"'{path}' is no gallery: it has no array '{name}'.",
        expected,
        exists=held,
      )
  names, embeddings = held["names"], held["embeddings"]
  texts = names.dtype.kind == "U" and embeddings.dtype.kind == "f"
  if not texts or embeddings.ndim != 2 or names.shape != embeddings.shape[:1]:
    raise UserError(
      f"'{path}' has names {names.dtype} {[*names.shape]} and embeddings"
      f" {embeddings.dtype} {[*embeddings.shape]}.",
      expected,
    )
  return Gallery(tuple(names.tolist()), embeddings.astype(np.float32))


class OtherSide:
  """The side of a retrieval metric that the student does not compute.

  Args:
    workdir: of the run.
    stage: of the student.
    seed: one of the run's seeds; None is the first.
    which: "best" by validation, or "last".
    point: number of the grid point, if the stage has a grid.
    accept: as in `kdjax.student`.

  Raises:
    UserError: the stage has no metric `retrieval` with a side of the student.
  """

  def __init__(
    self,
    workdir: str | pathlib.Path,
    stage: str,
    *,
    seed: int | None = None,
    which: str = "best",
    point: int = 0,
    accept: Sequence[str] = (),
  ):
    chosen = {"seed": seed, "which": which, "point": point, "accept": accept}
    found = restore.state_of(workdir, stage, whole=True, **chosen)
    self.stage, self.seed = found.stage, found.seed
    self._variables = jax.device_put(found.variables)
    sides = {
      family: restore.retrieval_side(spec["reads"])
      for family, spec in found.metrics.items()
      if spec["name"] == restore.RETRIEVAL
    }
    sides = {family: side for family, side in sides.items() if side}
    if not sides:
      raise UserError(
        f"The stage '{stage}' has no metric 'retrieval' of its student.",
        "Expected one that reads student/.. or the student's head of a term.",
      )
    family, self.own = next(iter(sides.items()))
    self.other = "key" if self.own == "query" else "query"
    self._compute = jax.jit(
      lambda variables, batch: predictors.measured(
        self.stage, family, variables["stage"], variables["fixed"], batch
      )
    )

  def rows(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The other side's embeddings of examples.

    Args:
      arrays: examples [N ...], as the data set gives them.

    Returns:
      "query" or "key" [N D], "group" [N] where the metric reads it, and
      "counts" bool [N]: which examples have both sides.
    """
    count = len(next(iter(arrays.values())))
    parts: list[dict[str, np.ndarray]] = []
    for start in range(0, count, BATCH):
      # The last batch is filled with its last example: one program for all.
      rows = np.minimum(np.arange(start, start + BATCH), count - 1)
      batch = {key: x[rows] for key, x in arrays.items()}
      read, counts = self._compute(self._variables, self._whole(batch))
      kept = {key: read[key] for key in (self.other, "group") if key in read}
      part = {**kept, "counts": counts}
      parts.append({k: np.asarray(x)[: count - start] for k, x in part.items()})
    return {key: np.concatenate([it[key] for it in parts]) for key in parts[0]}

  def gallery(self, split: str) -> Gallery:
    """The other side of the examples of a split, named by their texts."""
    source = self.stage.dataset.load(
      split, self.seed, **self.stage.data_options
    )
    arrays = source.take(np.arange(len(source)))
    rows = self.rows(arrays)
    names = self._names(split, arrays)
    chosen = np.flatnonzero(rows["counts"])
    return Gallery(
      tuple(names[row] for row in chosen),
      np.asarray(rows[self.other][chosen], np.float32),
    )

  def score(self, output: np.ndarray, rows: Mapping[str, np.ndarray]) -> float:
    """Mean recall of the student's embeddings, as the stage measures it.

    Args:
      output: [N D], the student's embeddings.
      rows: from `rows`, of the same examples.
    """
    counts = rows["counts"]
    sides = {self.own: output, **rows}
    kept = {key: sides[key][counts] for key in sides if key != "counts"}
    return float(retrieval.result(kept)["mean_recall"])

  def _whole(self, batch: Mapping[str, Array]) -> dict[str, Array]:
    """A batch of raw examples as the stage's metrics read it."""
    zeros = np.zeros(BATCH, np.int32)
    valid = batch.get("valid", np.ones(BATCH, bool))
    return {**batch, "view": zeros, "valid": valid, **self.stage.once(batch)}

  def _names(self, split: str, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """The texts of examples, or their positions."""
    readers = getattr(self.stage.dataset, "readers", lambda **_: {})
    known = readers(**self.stage.data_options)
    for key in reversed([it for it in known if it in arrays]):
      ids, masks = arrays[key], arrays[f"mask/{key}"]
      if ids.ndim == 3:  # several captions, of which the first is read
        ids, masks = ids[:, 0], masks[:, 0]
      pairs = zip(ids, masks, strict=True)
      return [known[key].text(row[mask]) for row, mask in pairs]
    return [f"{split}[{row}]" for row in range(len(arrays["index"]))]


def result_of(signature: Signature) -> str:
  """The name of the result that is looked up in a gallery; "" without one."""
  found = (it.name for it in signature.results if it.kind == EMBEDDING)
  return next(found, "")
