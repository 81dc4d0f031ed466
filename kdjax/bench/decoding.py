"""A stream of small images compared with only decoding the same bytes.

A stream also opens files, checks records, stacks batches and transfers them
from other processes or threads.
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
from kdjax.bench.timing import interleaved, quartiles
from kdjax.devices.placement import Placement
from kdjax.feed import loaders
from kdjax.feed.index_stream import TrainFeed

# The number of images, and their height and width, as in CIFAR.
IMAGES, SIDE = 4096, 32

BATCH = 128

# Batches that a stream may have ready before a measurement starts.
PREFETCHED = 8 * loaders.AHEAD

# Steps of a stream without an end.
ENDLESS = 2**30

# In a worker process: the bytes of all images, and the source of their files.
_worker: dict[str, Any] = {}


def measure(
  *, seconds: float, workers: int, rounds: int
) -> list[dict[str, Any]]:
  """Images per second of several ways to decode the same PNGs.

  Args:
    seconds: of each way, over all rounds.
    workers: the number of decoding processes.
    rounds: each measures every way once.

  Returns:
    A row for each way: {"way", "images_per_second", "of_bare": its ratio to the
    first way in the same round}, both as `quartiles`.
  """
  with tempfile.TemporaryDirectory() as folder:
    encoded = write(pathlib.Path(folder), IMAGES)
    source = registry.find("data", "manifest").load(
      "train", root=folder, image_size=(SIDE, SIDE), validation=0.0, test=0.0
    )
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(workers, _init_worker, (encoded, source))
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
      "images_per_second": quartiles(values),
      "of_bare": quartiles(np.divide(values, bare)),
    }
    for way, values in rates.items()
  ]


def write(folder: pathlib.Path, images: int) -> list[bytes]:
  """Writes PNGs, crops of two photographs, and their manifest.

  Args:
    folder: to write to.
    images: the number of PNGs.

  Returns:
    The bytes of each PNG.
  """
  from PIL import Image
  from sklearn.datasets import load_sample_images

  photographs = load_sample_images().images
  rng = np.random.default_rng(0)
  encoded, rows = [], []
  for number in range(images):
    label = number % len(photographs)
    height, width, _ = photographs[label].shape
    top, left = rng.integers(height - SIDE), rng.integers(width - SIDE)
    file = io.BytesIO()
    crop = photographs[label][top : top + SIDE, left : left + SIDE]
    Image.fromarray(crop).save(file, "PNG")
    encoded.append(file.getvalue())
    rows.append((f"{number}.png", label, "train"))
    (folder / rows[-1][0]).write_bytes(encoded[-1])
  with open(folder / "manifest.csv", "w", newline="") as file:
    csv.writer(file).writerows([("image", "label", "split"), *rows])
  return encoded


def _stream(source: Any, workers: int) -> Iterator[Any]:
  """An endless stream of batches for one pmapped step."""
  order = TrainFeed(source, seed=0, batch_size=BATCH)
  placement = Placement("pmap", 1, "loop", {})
  return loaders.Stream(placement, [order], workers).batches(0, ENDLESS)


def _streamed(stream: Iterator[Any]) -> Callable[[float], float]:
  """(seconds to measure for) -> images per second of a stream."""

  def rate(seconds: float) -> float:
    for _ in range(PREFETCHED):
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
  """(seconds to measure for) -> images per second of all processes."""
  return lambda seconds: sum(pool.map(work, [seconds] * workers, chunksize=1))


def _init_worker(encoded: Sequence[bytes], source: Any) -> None:
  _worker.update(encoded=encoded, source=source)
  source.take(np.arange(2))  # runs lazy imports


def _decode(seconds: float) -> float:
  """Images per second that Pillow decodes from memory."""
  from PIL import Image

  return _rate(
    [[png] for png in _worker["encoded"]],
    lambda chunk: np.asarray(Image.open(io.BytesIO(chunk[0])).convert("RGB")),
    seconds,
  )


def _take(seconds: float) -> float:
  """Images per second that a source reads from files as batches."""
  order = np.random.default_rng(0).permutation(len(_worker["encoded"]))
  chunks = [
    order[start : start + BATCH] for start in range(0, len(order), BATCH)
  ]
  return _rate(chunks, _worker["source"].take, seconds)


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
