"""What a published checkpoint wants done to its inputs."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key, Shaped

from kdjax.errors import ShapeError, UserError
from kdjax.pretrained import files
from kdjax.transforms._arrays import floats, image, waveform
from kdjax.transforms.log_mel import log_mel
from kdjax.transforms.normalize import normalize
from kdjax.types import Array

# By the numbers that PIL gives its filters; each is antialiased.
FILTERS = {1: "lanczos3", 2: "linear", 3: "cubic"}

# Processors to which a size of one number is the shorter side, not both sides.
SHORTER = ("CLIP", "ConvNext")

# Smaller sizes than this, ConvNext and ResNet cut out of a larger picture, of
# which they are this share of a side.
WHOLE, SHARE = 384, 224 / 256

# So far below the loudest, in powers of ten, Whisper hears silence.
BELOW = 8.0


def published(
  key: Key[Array, ""], x: Shaped[Array, "..."], *, path: str
) -> Float[Array, "..."]:
  """The input as the preprocessor_config.json of a checkpoint describes it.

  Images are scaled, cut in their centre, put between 0 and 1 and normalised.
  Waveforms become what Whisper hears (log-mel frames of a fixed time, Radford
  et al., arXiv:2212.04356, Section 2.2, as `transformers` has it) or are
  normalised, as for Wav2Vec2.

  It stands first, or behind what augments: the teacher of a student that has
  pipelines of its own reads it in a view, `teacher@large/logits`.

  Args:
    key: not used.
    x: an image [H W C], of bytes or between 0 and 1; or a waveform [N].
    path: of the checkpoint: a folder, "package:name/folder" or "name@revision"
      of the hub.

  Raises:
    ShapeError: x is neither, or too small.
    UserError: the checkpoint has no such file, or one that is not known here.
  """
  del key
  config = files.config(path, files.PREPROCESSOR)
  kind = config.get("image_processor_type", "")
  kind = config.get("feature_extractor_type", kind)
  if kind == "WhisperFeatureExtractor":
    return _whisper(waveform(x, "published"), config)
  if kind == "Wav2Vec2FeatureExtractor":
    x = floats(waveform(x, "published"), "published")
    scaled = (x - jnp.mean(x)) / jnp.sqrt(jnp.var(x) + 1e-7)
    return scaled if config.get("do_normalize", True) else x
  if "image_mean" not in config and "size" not in config:
    raise UserError(
      f"The {files.PREPROCESSOR} of '{path}' is of {kind or 'no known kind'}.",
      exists=("images", "WhisperFeatureExtractor", "Wav2Vec2FeatureExtractor"),
    )
  return _image(image(x, "published"), config, kind)


def _image(x, config: Mapping[str, Any], kind: str) -> Float[Array, "H W C"]:
  if not jnp.issubdtype(x.dtype, jnp.floating):
    x = x / 255.0
  if config.get("do_resize", True):
    size, cut = _need(config, "size"), None
    if isinstance(size, int) and kind.startswith(SHORTER):
      size = {"shortest_edge": size}
    if kind.startswith("ConvNext"):
      edge = _need(size, "shortest_edge")
      share = config.get("crop_pct") or SHARE
      size, cut = {"shortest_edge": int(edge / share)}, edge
      if edge >= WHOLE:
        size = edge
    x = _scaled(x, _sides(size, x.shape), config.get("resample", 2))
    x = x if cut is None else _centre(x, (cut, cut))
  if config.get("do_center_crop", False):
    x = _centre(x, _sides(_need(config, "crop_size"), x.shape))
  if not config.get("do_normalize", True):
    return x
  mean, std = (tuple(_need(config, f"image_{one}")) for one in ("mean", "std"))
  return normalize(None, x, mean=mean, std=std)


def _scaled(x, sides, resample: int) -> Float[Array, "H W C"]:
  method = FILTERS.get(resample)
  if method is None:
    raise UserError(f"resample={resample}.", exists=map(str, FILTERS))
  rows, _, colors = x.shape
  for shape in ((rows, sides[1], colors), (*sides, colors)):
    x = jax.image.resize(x, shape, method, antialias=True)
    # Where a filter swings beyond black and white, a picture of bytes does not:
    # neither in the end nor, as PIL scales it, between its two directions.
    x = jnp.clip(x, 0.0, 1.0)
  return x


def _centre(x, sides: tuple[int, int]) -> Float[Array, "H W C"]:
  height, width = sides
  if height > x.shape[0] or width > x.shape[1]:
    raise ShapeError(
      f"'published' of an image of {x.shape[0]} by {x.shape[1]}, as it is"
      f" scaled, of which {height} by {width} are cut out.",
      "Give it larger images.",
    )
  top, left = (x.shape[0] - height) // 2, (x.shape[1] - width) // 2
  return x[top : top + height, left : left + width]


def _sides(size: Any, shape: tuple[int, ...]) -> tuple[int, int]:
  """Height and width, of what a checkpoint calls a size."""
  if isinstance(size, int):
    return size, size
  if "shortest_edge" in size:
    short, edge = min(shape[:2]), size["shortest_edge"]
    return tuple(int(edge * side / short) for side in shape[:2])
  return _need(size, "height"), _need(size, "width")


def _need(config: Mapping[str, Any], key: str) -> Any:
  if key not in config:
    raise UserError(
      f"A {files.PREPROCESSOR} says nothing of {key}.", exists=config
    )
  return config[key]


def _whisper(x, config: Mapping[str, Any]) -> Float[Array, "T F"]:
  rate, length = config["sampling_rate"], config["n_samples"]
  x = floats(x, "published")[:length]
  x = jnp.pad(x, (0, length - len(x)))
  loudness = log_mel(
    None,
    x,
    sample_rate=rate,
    window=config["n_fft"],
    hop=config["hop_length"],
    mels=config["feature_size"],
    scale="slaney",
    area=True,
  )
  loudness = loudness[:-1] / np.log(10)
  loudness = jnp.maximum(loudness, jnp.max(loudness) - BELOW)
  return (loudness + 4) / 4
