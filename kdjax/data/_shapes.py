"""Shapes and dtypes of a manifest's examples."""

import jax
import numpy as np

from kdjax.data import _captions, _columns, _splits, _windows
from kdjax.data._columns import Column
from kdjax.data._manifest import open_table
from kdjax.data._whole import Options
from kdjax.preprocess import audio, images, sequences
from kdjax.types import Spec


def spec(chosen: Options) -> Spec:
  """Shapes and dtypes of one example."""
  leaves: Spec = {}
  for column in chosen.columns or open_table(chosen).columns:
    key, kind = column.key, column.kind
    shape, dtype = _form(chosen, column)
    leaves[key] = jax.ShapeDtypeStruct(shape, dtype)
    if kind in ("text", "sequence", "frames"):
      shape = shape if kind == "text" else shape[:1]
      leaves[f"mask/{key}"] = jax.ShapeDtypeStruct(shape, np.bool_)
    if kind not in _columns.LABELS:
      leaves[f"has/{key}"] = jax.ShapeDtypeStruct((), np.bool_)
  if chosen.there and open_table(chosen).captions:
    leaves[_captions.RECORD] = jax.ShapeDtypeStruct((), np.int32)
  if chosen.group_column:
    _splits.check_group_key(leaves, "columns")
    leaves[_splits.GROUP] = jax.ShapeDtypeStruct((), np.int32)
  return {**leaves, "index": jax.ShapeDtypeStruct((), np.int32)}


def _form(chosen: Options, column: Column) -> tuple[tuple[int, ...], type]:
  """Shape and dtype of a column's value in an example."""
  kind = column.kind
  options = {
    name: column.option(name, chosen) for name in _columns.OWN.get(kind, ())
  }
  if kind in ("image", "frames"):
    size, channels = options["image_size"], options["channels"]
    images.check(size, channels, options["fit"], options["range"])
    sequences.check(options.get("steps", 1))
    steps = (options["steps"],) if kind == "frames" else ()
    return (*steps, *size, channels), np.uint8
  if kind == "audio":
    audio.check(options["scale"])
    samples = audio.samples_of(options["sample_rate"], options["seconds"])
    return (samples,), np.float32
  if kind == "sequence":
    sequences.check(options["steps"])
    features = 1
    if chosen.there:
      features = open_table(chosen).features[column.key]
    steps = options["steps"]
    if chosen.window:
      steps, _ = _windows.lengths(chosen)
      features = len(options["fields"]) or features
    return (steps, features), np.float32
  if kind == "text":
    several = open_table(chosen).captions.get(column.key) if chosen.there else 0
    return (*[several] * bool(several), options["length"]), np.int32
  if kind == "label":
    return (), np.int32
  if kind == "labels":
    names = options["classes"] or open_table(chosen).classes[column.key]
    return (len(names),), np.int32
  if len(column.names) > 1:
    return (len(column.names),), np.float32
  # A cell may be a list, whose length is in the table.
  if not chosen.there:
    return (() if kind == "target" else (1,)), np.float32
  return open_table(chosen).values[column.key].shape[1:], np.float32
