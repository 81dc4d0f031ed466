"""A checkpoint's tensors, from one file or from shards."""

import json
import mmap
import os
from collections.abc import Iterator, Mapping

import numpy as np

from kdjax.errors import UserError
from kdjax.pretrained import header
from kdjax.pretrained.header import DTYPES, Tensor

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

# Bytes of a file that are in memory at once.
SLAB = 1 << 23

# Unpickles weights only; copies tensors that share memory.
CONVERT = (
  'python -c "import torch; from safetensors.torch import save_file;'
  " save_file({{k: v.clone().contiguous() for k, v in"
  " torch.load('{old}', weights_only=True).items()}}, '{new}')\""
)


class Weights(Mapping[str, Tensor]):
  """Maps names to tensors' positions in files; `copy` reads their values.

  Args:
    folder: with a model.safetensors, or with a model.safetensors.index.json and
      its shards.

  Raises:
    UserError: both are missing, a shard or one of its tensors is missing, or a
      file is invalid.
  """

  def __init__(self, folder: str):
    single, index = (os.path.join(folder, name) for name in (SINGLE, INDEX))
    if os.path.isfile(single):
      self._tensors = header.read(single)
    elif os.path.isfile(index):
      self._tensors = _sharded(folder, index)
    else:
      refuse_pickles(folder)
      raise UserError(
        f"'{folder}' has no {SINGLE} and no {INDEX}.",
        "Other formats are not supported: a pickle (pytorch_model.bin) can run"
        f" arbitrary code. Convert it: {_conversion('pytorch_model.bin')}",
      )

  def __getitem__(self, name: str) -> Tensor:
    return self._tensors[name]

  def __iter__(self) -> Iterator[str]:
    return iter(self._tensors)

  def __len__(self) -> int:
    return len(self._tensors)

  def copy(self, name: str, target: np.ndarray) -> None:
    """Writes a tensor into an array of its shape, in the array's dtype.

    At most a few megabytes of the file are in memory at a time.
    """
    tensor = self[name]
    if tensor.begin == tensor.end:
      return
    # A memory map starts at a page boundary.
    start = tensor.begin - tensor.begin % mmap.ALLOCATIONGRANULARITY
    with (
      open(tensor.path, "rb") as file,
      mmap.mmap(
        file.fileno(), tensor.end - start, access=mmap.ACCESS_READ, offset=start
      ) as pages,
    ):
      _fill(target, pages, tensor, tensor.begin - start)


def _fill(
  target: np.ndarray, pages: mmap.mmap, tensor: Tensor, begin: int
) -> None:
  """Copies slab by slab and releases the pages of each slab."""
  dtype = DTYPES[tensor.dtype]
  if target.flags.c_contiguous:
    target = target.reshape(-1)
  rows, rest = len(target), target.shape[1:]
  row = (tensor.end - tensor.begin) // rows
  step = max(1, SLAB // row)
  for first in range(0, rows, step):
    count = min(step, rows - first)
    offset = begin + first * row
    slab = np.frombuffer(
      pages, dtype, count * row // dtype.itemsize, offset=offset
    )
    target[first : first + count] = slab.reshape(count, *rest)
    del slab  # the map cannot close while an array refers to it
    done = (offset + count * row) // mmap.PAGESIZE * mmap.PAGESIZE
    if done and hasattr(mmap, "MADV_DONTNEED"):
      pages.madvise(mmap.MADV_DONTNEED, 0, done)


def refuse_pickles(path: str) -> None:
  """Raises `UserError` if the file is, or the folder has, a pickle."""
  names = sorted(os.listdir(path)) if os.path.isdir(path) else [""]
  files = [os.path.join(path, name).rstrip(os.sep) for name in names]
  pickles = [file for file in files if file.endswith(PICKLES)]
  # The weights first: others may hold an optimizer's state.
  pickles.sort(key=lambda file: "model" not in os.path.basename(file))
  if pickles:
    raise UserError(
      f"'{pickles[0]}' is a pickle: reading it can run arbitrary code.",
      f"Expected {SINGLE}. Convert it: {_conversion(pickles[0])}",
    )


def _conversion(old: str) -> str:
  """The command that converts a pickle."""
  new = os.path.join(os.path.dirname(old), SINGLE)
  return CONVERT.format(old=old, new=new)


def _sharded(folder: str, index: str) -> dict[str, Tensor]:
  """The tensors of all shards of an index."""
  try:
    with open(index, encoding="utf-8") as file:
      shard_of = json.load(file)["weight_map"]
    wrong = [
      shard
      for shard in shard_of.values()
      if os.path.basename(shard) != shard or not shard
    ]
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f"'{index}' is not an index of shards: {type(error).__name__} {error}.",
      "Expected JSON with a weight_map, tensor -> file.",
    ) from error
  if wrong:
    raise UserError(
      f"'{index}' lists the shard '{wrong[0]}'.",
      "Expected a file in the folder of the index.",
    )
  files = {
    shard: os.path.join(folder, shard) for shard in sorted({*shard_of.values()})
  }
  missing = [shard for shard, file in files.items() if not os.path.isfile(file)]
  if missing:
    raise UserError(
      f"'{folder}' lacks {len(missing)} of the {len(files)} shards of its"
      f" index: {', '.join(missing)}.",
      "Download them again.",
    )
  shards = {shard: header.read(file) for shard, file in files.items()}
  absent = [name for name, s in shard_of.items() if name not in shards[s]]
  unlisted = [
    name
    for shard, tensors in shards.items()
    for name in tensors
    if shard_of.get(name) != shard
  ]
  if absent or unlisted:
    parts = [
      f"{kind}: {', '.join(sorted(names))}."
      for kind, names in (
        ("Tensors that their shard lacks", absent),
        ("Tensors that the index does not list", unlisted),
      )
      if names
    ]
    raise UserError(f"'{index}' does not fit its shards. {' '.join(parts)}")
  return {name: shards[shard][name] for name, shard in shard_of.items()}
