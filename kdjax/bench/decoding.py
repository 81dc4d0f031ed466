"""A stream of small images beside bare decoding of the same bytes.

What a stream costs beyond the decoder: files are opened, checked and put
together as batches, and these come from other processes or threads.
"""

import csv
import io
import itertools
import multiprocessing
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kdjax import registry
from kdjax.bench.timing import interleaved, spread
from kdjax.devices.placement import Placement
from kdjax.feed import loaders
from kdjax.feed.index_stream import TrainFeed

# How many images, and of what size: those of CIFAR.
PICTURES, SIDE = 4096, 32

BATCH = 128

# Batches that a stream may have made while others had their turn.
MADE_BEFORE = 8 * loaders.AHEAD

# Steps of a stream without an end.
ENDLESS = 2**30

# Of a worker process: the bytes of all images, and the source over their files.
_held: dict[str, Any] = {}


def measure(
  *, seconds: float, workers: int, rounds: int
) -> list[dict[str, Any]]:
  """Images a second of every way to decode the same PNGs.

  Args:
    seconds: of each way, over all rounds.
    workers: processes that decode.
    rounds: in each of which every way has its turn.

  Returns:
    A row for each way: {"way", "images_per_second": see `spread`, "of_bare":
    likewise, in the same round of the first way}.
  """
  with tempfile.TemporaryDirectory() as folder:
    encoded = write(pathlib.Path(folder), PICTURES)
    source = registry.find("data", "manifest").load(
      "train", root=folder, image_size=(SIDE, SIDE), validation=0.0, test=0.0
    )
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(workers, _hold, (encoded, source))
    streams = [_stream(source, count) for count in (workers, 0)]
    try:
      rates = interleaved(
        {
          f"bare, {workers} processes": _pooled(pool, workers, _decode),
          f"files, {workers} processes": _pooled(pool, workers, _take),
          f"stream, {workers} processes": _streamed(streams[0]),
          "stream, threads": _streamed(streams[1]),
        },
        rounds,
        seconds / rounds,
      )
    finally:
      for stream in streams:
        stream.close()
      pool.terminate()
      pool.join()
  bare = next(iter(rates.values()))
  return [
    {
      "way": way,
      "images_per_second": spread(found),
      "of_bare": spread(np.divide(found, bare)),
    }
    for way, found in rates.items()
  ]


def write(folder: pathlib.Path, pictures: int) -> list[bytes]:
  """PNGs cut out of two photographs, and their manifest; returns their bytes.

  Args:
    folder: where they are written.
    pictures: how many.
  """
  from PIL import Image
  from sklearn.datasets import load_sample_images

  photographs = load_sample_images().images
  rng = np.random.default_rng(0)
  encoded, rows = [], []
  for place in range(pictures):
    label = place % len(photographs)
    height, width, _ = photographs[label].shape
    top, left = rng.integers(height - SIDE), rng.integers(width - SIDE)
    made = io.BytesIO()
    piece = photographs[label][top : top + SIDE, left : left + SIDE]
    Image.fromarray(piece).save(made, "PNG")
    encoded.append(made.getvalue())
    rows.append((f"{place}.png", label, "train"))
    (folder / rows[-1][0]).write_bytes(encoded[-1])
  with open(folder / "manifest.csv", "w", newline="") as file:
    csv.writer(file).writerows([("image", "label", "split"), *rows])
  return encoded


def _stream(source: Any, workers: int) -> Iterator[Any]:
  """Batches as a step on the host's devices is called with, without an end."""
  order = TrainFeed(source, seed=0, batch_size=BATCH)
  placement = Placement("pmap", 1, "loop", {})
  return loaders.Stream(placement, [order], workers).batches(0, ENDLESS)


def _streamed(stream: Iterator[Any]) -> Callable[[float], float]:
  """Images a second of a stream, in some seconds."""

  def rate(seconds: float) -> float:
    for _ in range(MADE_BEFORE):
      next(stream)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
      next(stream)
      count += BATCH
    return count / (time.perf_counter() - start)

  return rate


def _pooled(
  pool: Any, workers: int, work: Callable[[float], float]
) -> Callable[[float], float]:
  """Images a second of all processes, each at work for some seconds."""
  return lambda seconds: sum(pool.map(work, [seconds] * workers, chunksize=1))


def _hold(encoded: Sequence[bytes], source: Any) -> None:
  _held.update(encoded=encoded, source=source)
  source.take(np.arange(2))  # what is imported late


def _decode(seconds: float) -> float:
  """Images a second from memory by Pillow, and nothing else."""
  from PIL import Image

  return _rate(
    [[one] for one in _held["encoded"]],
    lambda chunk: np.asarray(Image.open(io.BytesIO(chunk[0])).convert("RGB")),
    seconds,
  )


def _take(seconds: float) -> float:
  """Images a second from their files, as batches that stay here."""
  order = np.random.default_rng(0).permutation(len(_held["encoded"]))
  chunks = [
    order[start : start + BATCH] for start in range(0, len(order), BATCH)
  ]
  return _rate(chunks, _held["source"].take, seconds)


def _rate(
  chunks: Sequence[Any], work: Callable[[Any], Any], seconds: float
) -> float:
  count, start = 0, time.perf_counter()
  for chunk in itertools.cycle(chunks):
    work(chunk)
    count += len(chunk)
    spent = time.perf_counter() - start
    if spent > seconds:
      return count / spent
  return 0.0
