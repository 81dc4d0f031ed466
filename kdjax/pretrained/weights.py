"""The tensors of a checkpoint, one file or an index of shards, unread."""

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

# What is read of a tensor at once: beside its copy, no more is in memory.
SLAB = 1 << 23

# Only what PyTorch calls safe is unpickled; tensors that share values do not.
CONVERT = (
  'python -c "import torch; from safetensors.torch import save_file;'
  " save_file({{k: v.clone().contiguous() for k, v in"
  " torch.load('{old}', weights_only=True).items()}}, '{new}')\""
)


class Weights(Mapping[str, Tensor]):
  """Name -> where a tensor lies; its values are read by `copy`.

  Args:
    folder: with a model.safetensors, or a model.safetensors.index.json and the
      shards that it names.

  Raises:
    UserError: there is neither; a shard is missing, or a tensor in it; a file
      cannot be what it says.
  """

  def __init__(self, folder: str):
    single, index = (os.path.join(folder, one) for one in (SINGLE, INDEX))
    if os.path.isfile(single):
      self._tensors = header.read(single)
    elif os.path.isfile(index):
      self._tensors = _sharded(folder, index)
    else:
      refuse_pickles(folder)
      raise UserError(
        f"'{folder}' has no {SINGLE} and no {INDEX}.",
        "Other formats are not read: a pickle (pytorch_model.bin) runs the code"
        f" that is in it. Convert it: {_line('pytorch_model.bin')}",
      )

  def __getitem__(self, name: str) -> Tensor:
    return self._tensors[name]

  def __iter__(self) -> Iterator[str]:
    return iter(self._tensors)

  def __len__(self) -> int:
    return len(self._tensors)

  def copy(self, name: str, target: np.ndarray) -> None:
    """Writes a tensor into an array of its shape, in that array's dtype.

    Of the file, a few megabytes are in memory at a time.
    """
    tensor = self[name]
    if tensor.begin == tensor.end:
      return
    # A map begins at a page.
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
  """Slab by slab; what was read is let go."""
  dtype = DTYPES[tensor.dtype]
  if target.flags.c_contiguous:
    target = target.reshape(-1)
  rows, rest = len(target), target.shape[1:]
  row = (tensor.end - tensor.begin) // rows
  step = max(1, SLAB // row)
  for first in range(0, rows, step):
    count = min(step, rows - first)
    place = begin + first * row
    slab = np.frombuffer(
      pages, dtype, count * row // dtype.itemsize, offset=place
    )
    target[first : first + count] = slab.reshape(count, *rest)
    del slab  # the map cannot close while somebody looks at it
    done = (place + count * row) // mmap.PAGESIZE * mmap.PAGESIZE
    if done and hasattr(mmap, "MADV_DONTNEED"):
      pages.madvise(mmap.MADV_DONTNEED, 0, done)


def refuse_pickles(path: str) -> None:
  """Raises `UserError` where a file, or all that a folder has, is a pickle."""
  names = sorted(os.listdir(path)) if os.path.isdir(path) else [""]
  found = [os.path.join(path, name).rstrip(os.sep) for name in names]
  found = [one for one in found if one.endswith(PICKLES)]
  # Beside it may lie what an optimizer kept.
  found.sort(key=lambda one: "model" not in os.path.basename(one))
  if found:
    raise UserError(
      f"'{found[0]}' is a pickle: to read one runs the code that is in it.",
      f"Expected {SINGLE}. Convert it: {_line(found[0])}",
    )


def _line(old: str) -> str:
  """The command that converts a pickle."""
  new = os.path.join(os.path.dirname(old), SINGLE)
  return CONVERT.format(old=old, new=new)


def _sharded(folder: str, index: str) -> dict[str, Tensor]:
  """The tensors of all shards that an index names."""
  try:
    with open(index, encoding="utf-8") as file:
      places = json.load(file)["weight_map"]
    wrong = [
      one for one in places.values() if os.path.basename(one) != one or not one
    ]
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f"'{index}' is no index of shards: {type(error).__name__} {error}.",
      "It is JSON, with a weight_map of tensor -> file.",
    ) from error
  if wrong:
    raise UserError(
      f"'{index}' names the shard '{wrong[0]}'.",
      "A shard lies beside the index.",
    )
  files = sorted(set(places.values()))
  lost = [one for one in files if not os.path.isfile(os.path.join(folder, one))]
  if lost:
    raise UserError(
      f"'{folder}' lacks {len(lost)} of the {len(files)} shards of its index:"
      f" {', '.join(lost)}."
    )
  shards = {one: header.read(os.path.join(folder, one)) for one in files}
  lost = [name for name, one in places.items() if name not in shards[one]]
  other = [
    name
    for one, tensors in shards.items()
    for name in tensors
    if places.get(name) != one
  ]
  if lost or other:
    parts = [
      f"{what}: {', '.join(sorted(found))}."
      for what, found in (
        ("not in the shard that it names", lost),
        ("in a shard, unnamed", other),
      )
      if found
    ]
    raise UserError(f"'{index}' does not fit its shards. {' '.join(parts)}")
  return {name: shards[one][name] for name, one in places.items()}
