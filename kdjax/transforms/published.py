"""The input preprocessing of a published checkpoint."""

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

# By PIL's numbers of its filters; all are antialiased.
FILTERS = {1: "lanczos3", 2: "linear", 3: "cubic"}

# Image processors that read a single size as the shorter side, not as both.
SHORTER = ("CLIP", "ConvNext")

# Below this size, ConvNext and ResNet crop the centre of a larger image; the
# crop has this fraction of its side.
WHOLE, SHARE = 384, 224 / 256

# Whisper's dynamic range, in powers of ten.
BELOW = 8.0


def published(
  key: Key[Array, ""],
  x: Shaped[Array, "..."],
  *,
  path: str,
  sample_rate: int | None = None,
) -> Float[Array, "..."]:
  """Preprocesses the input as a checkpoint's preprocessor_config.json says.

  Images are resized, centre-cropped, scaled to 0..1 and normalized. Waveforms
  become Whisper's log-mel frames of fixed duration (Radford et al.,
  arXiv:2212.04356, Section 2.2, as in `transformers`) or are normalized as for
  Wav2Vec2.

  Put it first in a pipeline, or after augmentation. If the student has a
  pipeline of its own, the teacher reads this one in a view:
  `teacher@large/logits`.

  Args:
    key: not used.
    x: an image [H W C], uint8 or in 0..1; or a waveform [N].
    path: of the checkpoint: a folder, "package:name/folder" or "name@revision"
      of the hub.
    sample_rate: of a waveform, in Hz; None is the checkpoint's. In a stage, it
      is that of the data.

  Raises:
    ShapeError: x is neither, or too small.
    UserError: the checkpoint lacks this file, is of an unknown kind, or has
      another sample rate.
  """
  del key
  config = files.config(path, files.PREPROCESSOR)
  kind = config.get("image_processor_type", "")
  kind = config.get("feature_extractor_type", kind)
  rate = config.get("sampling_rate")
  if sample_rate is not None and rate not in (None, sample_rate):
    raise UserError(
      f"The checkpoint '{path}' reads waveforms of {rate} Hz, and these have"
      f" {sample_rate} Hz.",
      f"Set sample_rate={rate} of the data, if it has such an option, which"
      " resamples them.",
    )
  if kind == "WhisperFeatureExtractor":
    return _whisper(waveform(x, "published"), config)
  if kind == "Wav2Vec2FeatureExtractor":
    x = floats(waveform(x, "published"), "published")
    scaled = (x - jnp.mean(x)) / jnp.sqrt(jnp.var(x) + 1e-7)
    return scaled if config.get("do_normalize", True) else x
  if "image_mean" not in config and "size" not in config:
    raise UserError(
      f"The {files.PREPROCESSOR} of '{path}' has the kind"
      f" '{kind or 'unknown'}', which is not supported.",
      exists=("images", "WhisperFeatureExtractor", "Wav2Vec2FeatureExtractor"),
    )
  return _image(image(x, "published"), config, kind)


def _image(x, config: Mapping[str, Any], kind: str) -> Float[Array, "H W C"]:
  if not jnp.issubdtype(x.dtype, jnp.floating):
    x = x / 255.0
  if config.get("do_resize", True):
    size, crop = _need(config, "size"), None
    if isinstance(size, int) and kind.startswith(SHORTER):
      size = {"shortest_edge": size}
    if kind.startswith("ConvNext"):
      edge = _need(size, "shortest_edge")
      share = config.get("crop_pct") or SHARE
      size, crop = {"shortest_edge": int(edge / share)}, edge
      if edge >= WHOLE:
        size = edge
    x = _scaled(x, _sides(size, x.shape), config.get("resample", 2))
    x = x if crop is None else _centre(x, (crop, crop))
  if config.get("do_center_crop", False):
    x = _centre(x, _sides(_need(config, "crop_size"), x.shape))
  if not config.get("do_normalize", True):
    return x
  mean, std = (tuple(_need(config, f"image_{key}")) for key in ("mean", "std"))
  return normalize(None, x, mean=mean, std=std)


def _scaled(x, sides, resample: int) -> Float[Array, "H W C"]:
  method = FILTERS.get(resample)
  if method is None:
    raise UserError(
      f"resample={resample} of the {files.PREPROCESSOR} is not supported.",
      exists=map(str, FILTERS),
    )
  rows, _, colors = x.shape
  for shape in ((rows, sides[1], colors), (*sides, colors)):
    x = jax.image.resize(x, shape, method, antialias=True)
    # A filter overshoots 0..1; PIL's uint8 images are clipped after each axis.
    x = jnp.clip(x, 0.0, 1.0)
  return x


def _centre(x, sides: tuple[int, int]) -> Float[Array, "H W C"]:
  height, width = sides
  if height > x.shape[0] or width > x.shape[1]:
    raise ShapeError(
      f"The transform 'published' cannot crop {height} by {width} out of an"
      f" image that is resized to {x.shape[0]} by {x.shape[1]}.",
      "Expected larger images.",
    )
  top, left = (x.shape[0] - height) // 2, (x.shape[1] - width) // 2
  return x[top : top + height, left : left + width]


def _sides(size: Any, shape: tuple[int, ...]) -> tuple[int, int]:
  """Height and width from the `size` of a checkpoint."""
  if isinstance(size, int):
    return size, size
  if "shortest_edge" in size:
    short, edge = min(shape[:2]), size["shortest_edge"]
    return tuple(int(edge * side / short) for side in shape[:2])
  return _need(size, "height"), _need(size, "width")


def _need(config: Mapping[str, Any], key: str) -> Any:
  if key not in config:
    raise UserError(
      f"The {files.PREPROCESSOR} has no '{key}'.", exists=config, near=key
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
