"""What a trained stage depends on: its data, its code and its teachers.

`stages/<stage>/provenance.json` is written before the first step of a stage and
holds hashes:

  data      split -> the fingerprint of its examples, one for each seed whose
            examples differ; `classes`, the names of the classes; `texts`, the
            state of the tokenizer
  sources   component -> the hash of its code, see `source_hashes`
  teachers  what it learns from -> its hash: a stage's variables, the files that
            a frozen network or a still part starts from, imported outputs
  accepted  differences that were accepted by name

`provenance_check` compares it with the present.
"""

import hashlib
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax

from kdjax.cache import imported
from kdjax.config import strict_json
from kdjax.config.files import write_atomically
from kdjax.preprocess import content
from kdjax.pretrained import files
from kdjax.stage import parts
from kdjax.stage.stage import Stage
from kdjax.training import dependencies, source_hashes

# The parts of a record that can differ, and be accepted.
PARTS = ("data", "sources", "teachers")

FILE = "provenance.json"

Record = dict[str, Any]


def of_stage(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  stage: Stage,
  seeds: Sequence[int],
) -> Record:
  """The provenance of a stage as it would be trained now.

  Args:
    config: of the experiment, as nested dicts.
    workdir: that holds the stages that it learns from.
    stage: to be trained or used.
    seeds: of the run.
  """
  return {
    "data": data_of(stage, seeds),
    "sources": source_hashes.of_stage(config, stage.name),
    "teachers": teachers_of(config, workdir, stage.name),
  }


def data_of(stage: Stage, seeds: Sequence[int]) -> dict[str, Any]:
  """Fingerprints of the splits, class names and the tokenizer's state."""
  data: dict[str, Any] = {}
  for split in stage.splits:
    if split == "train":
      sources = stage.load_per_seed(split, seeds)
    else:
      sources = stage.load_for_evaluation(split, seeds)
    # A source of a data set outside of the package may have none.
    found = [getattr(source, "fingerprint", None) for source in sources]
    data[split] = found[:1] if len(set(found)) == 1 else found
  state = getattr(stage.dataset, "text_state", None)
  texts = state(**stage.data_options) if state else ""
  # Of one label alone, the record is as before there were several.
  labels = {key: [*names] for key, names in stage.label_names().items()}
  return {
    **data,
    "classes": list(stage.class_names()),
    **({"labels": labels} if labels else {}),
    "texts": _hash(texts.encode()) if texts else None,
  }


def teachers_of(
  config: Mapping[str, Any], workdir: pathlib.Path, name: str
) -> dict[str, str | None]:
  """The hash of all that a stage learns from, by its stage or its path.

  It is that of the variables of a stage, of the files that a frozen network or
  a still part starts from, or of imported outputs.
  """
  stage = config["stages"][name]
  hashes = {
    source: trained_hash(workdir, source)
    for source in dependencies.sources(stage)
  }
  for teacher in stage["teachers"].values():
    if "outputs" in teacher:
      hashes[teacher["outputs"]] = imported.identity(teacher["outputs"])
    elif "frozen" in teacher:
      hashes |= _origins(teacher["frozen"])
  for network in stage["networks"].values():
    # What is held still is in no checkpoint: its origin is.
    if parts.still(network):
      hashes |= _origins(network)
  return hashes


def _origins(network: Mapping[str, Any]) -> dict[str, str]:
  """The hashes of the files that a network and its parts start from."""
  hashes = {}
  for part in parts.all_of(network):
    if path := part.spec.get("pretrained"):
      hashes[path] = published_hash(path)
    if path := (part.spec.get("arrays") or {}).get("path"):
      hashes[path] = content.digests([path])[0]
  return hashes


def published_hash(path: str) -> str:
  """The hash of a checkpoint's weights and config.json, wherever they lie."""
  folder = pathlib.Path(files.folder(path))
  found = {
    file for pattern in (*files.WEIGHTS, files.CONFIG)
    for file in folder.glob(pattern)
  }  # fmt: skip
  paths = sorted(found)
  hashes = content.digests([str(file) for file in paths])
  names = [file.name for file in paths]
  return _hash(repr([*zip(names, hashes, strict=True)]).encode())


def trained_hash(workdir: pathlib.Path, name: str) -> str | None:
  """The hash of the variables of a finished stage, from its result."""
  path = workdir / "stages" / name / "result.json"
  if not path.exists():
    return None
  return strict_json.read(path).get("variables")


def variables_hash(trees: Iterable[Any]) -> str:
  """The hash of trees of arrays, by the names of their leaves."""
  result = hashlib.blake2b(digest_size=16)
  for tree in trees:
    for place, leaf in jax.tree.leaves_with_path(jax.device_get(tree)):
      result.update(jax.tree_util.keystr(place).encode())
      result.update(f"{leaf.dtype}{leaf.shape}".encode())
      result.update(leaf.tobytes())
  return result.hexdigest()


def read(workdir: pathlib.Path, name: str) -> Record | None:
  """The record of a stage; None if it has none.

  Raises:
    UserError: the file is damaged.
  """
  path = workdir / "stages" / name / FILE
  return strict_json.read(path) if path.exists() else None


def write(workdir: pathlib.Path, name: str, record: Record) -> None:
  """Writes the record of a stage; the first process does."""
  if jax.process_index() == 0:
    text = strict_json.dumps(record, indent=2, sort_keys=True)
    write_atomically(workdir / "stages" / name / FILE, text + "\n")


def _hash(raw: bytes) -> str:
  return hashlib.blake2b(raw, digest_size=16).hexdigest()
