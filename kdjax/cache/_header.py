"""The content of cache.json."""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.cache.manifest import Manifest, checksum
from kdjax.types import Spec

# A cache has some thousands; more is a header that was not written by kdjax.
_MOST_CHUNKS = 2**22


@dataclasses.dataclass(frozen=True)
class Header:
  """The content of cache.json.

  Attributes:
    manifest: teacher, data and augmentation of the cache.
    parts: name -> shape and dtype of a row.
    rows: number of examples.
    views: number of stored views of each example.
    chunk_rows: rows in a chunk.
    index: checksum of the examples' indices.
  """

  manifest: Manifest
  parts: Spec
  rows: int
  views: int
  chunk_rows: int
  index: str

  def to_bytes(self) -> bytes:
    """The header as JSON, with a checksum of the content."""
    content = vars(self) | {
      "manifest": self.manifest.to_json(),
      "parts": {
        name: {"shape": list(row.shape), "dtype": row.dtype.name}
        for name, row in self.parts.items()
      },
    }
    return json.dumps(content | {"checksum": _sum(content)}, indent=1).encode()

  @classmethod
  def from_bytes(cls, stored: bytes) -> "Header":
    """The inverse of `to_bytes`; raises ValueError for wrong content."""
    content = json.loads(stored)
    if content.pop("checksum", None) != _sum(content):
      raise ValueError("its checksum does not match")
    for name in ("rows", "views", "chunk_rows"):
      size = content[name]
      if type(size) is not int or not 1 <= size < 2**40:
        raise ValueError(f"'{name}' is {size!r}, not 1 or more")
    chunks = content["views"] * -(-content["rows"] // content["chunk_rows"])
    if chunks > _MOST_CHUNKS:
      raise ValueError(f"it states {chunks:,} chunks")
    content["manifest"] = Manifest.from_json(content["manifest"])
    content["parts"] = {
      name: jax.ShapeDtypeStruct(tuple(row["shape"]), jnp.dtype(row["dtype"]))
      for name, row in content["parts"].items()
    }
    return cls(**content)


def _sum(content: dict[str, Any]) -> str:
  text = json.dumps(content, sort_keys=True).encode()
  return checksum(np.frombuffer(text, np.uint8))
