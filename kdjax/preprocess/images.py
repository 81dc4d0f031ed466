"""Image files as arrays: decoded by Pillow, upright, in one size."""

import functools
import os
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8

from kdjax.errors import UserError
from kdjax.preprocess import content

FITS = ("crop", "stretch")

# Largest image: 64 megapixels take 192 MiB of memory. A file of some kilobytes
# can decode to more, by mistake or on purpose. Pillow's own limit is higher.
MOST_PIXELS = 1 << 26

# Raster formats. Pillow would start Ghostscript for EPS.
_FORMATS = (
  *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000"),
  *("PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF", "WEBP", "XBM"),
)

# Metadata that changes how an image is shown. Pillow's own test for it takes as
# long as decoding a small image.
_METADATA = frozenset(
  {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp", "transparency"}
)


# Formats of 16 bits whose values Pillow gives as 32.
_SIXTEEN = ("PNG", "PPM", "JPEG2000")


def checked_range(values: Sequence[float]) -> tuple[float, float]:
  """(low, high) as floats; raises `UserError` if it is none."""
  if not (
    len(values) == 2 and np.isfinite(values).all() and values[0] < values[1]
  ):
    raise UserError(
      f"range={values} is no range.", "Expected (low, high), as in (0, 255)."
    )
  return float(values[0]), float(values[1])


def check(
  size: tuple[int, int],
  channels: int,
  fit: str,
  values: tuple[float, float] | None = None,
) -> None:
  """Raises `UserError` for an impossible size, channels, fit or range."""
  if values is not None:
    checked_range(values)
  if len(size) != 2 or min(size) < 1:
    raise UserError(
      f"image_size={size} is no size.", "Expected (height, width), from 1."
    )
  if channels not in (1, 3):
    raise UserError(
      f"channels={channels} is not supported.",
      "Expected 1 for grey or 3 for colour.",
    )
  if fit not in FITS:
    raise UserError(f"No fit '{fit}'.", exists=FITS, near=fit)


def decode(
  file: str | os.PathLike | BinaryIO,
  size: tuple[int, int] | None = None,
  *,
  channels: int = 3,
  fit: str = "crop",
  values: tuple[float, float] | None = None,
) -> UInt8[np.ndarray, "H W C"]:
  """An image, rotated by its EXIF orientation; transparency becomes white.

  Args:
    file: in any format that Pillow reads; of an animation, the first frame.
    size: (height, width); None keeps the image's size.
    channels: 3 is red, green, blue; 1 is grey.
    fit: "crop" scales the image to cover `size` and crops both ends of the
      longer side; "stretch" scales each side by its own factor.
    values: (low, high), black and white of a grey image of more than 8 bits;
      None is 0 to 65535 for 16 bits, and 0 to 1 for floats.

  Raises:
    ValueError: the file has no readable image; the message has the reason.
  """
  from PIL import Image, UnidentifiedImageError

  try:
    with Image.open(file, formats=_readable()) as image:
      if image.width * image.height > MOST_PIXELS:
        raise ValueError(
          f"an image of {image.width}x{image.height} pixels, above the limit"
          f" of {MOST_PIXELS}"
        )
      fitted = _fitted(_converted(image, channels, values), size, fit)
      pixels = np.frombuffer(fitted.tobytes(), np.uint8)
  except UnidentifiedImageError:
    hint = ""
    if content.is_mpeg4(file):
      hint = ": HEIC is not read; convert it to JPEG or PNG"
    raise ValueError(f"not an image{hint}") from None
  except Image.DecompressionBombError as error:
    raise ValueError(f"an image too large to decode: {error}") from None
  except ValueError:
    raise
  except Exception as error:
    # Pillow's decoders raise OSError, SyntaxError, zlib.error and others.
    raise ValueError(f"a broken image: {error}") from error
  return pixels.reshape(fitted.height, fitted.width, channels)


def size_of(file: str | os.PathLike | BinaryIO) -> tuple[int, int]:
  """(width, height) of an image file, from its header.

  Raises:
    ValueError: it has no readable header.
  """
  from PIL import Image

  try:
    with Image.open(file, formats=_readable()) as image:
      return image.size
  except Exception as error:  # as in `decode`
    raise ValueError(f"not an image: {error}") from error


@functools.cache
def endings() -> frozenset[str]:
  """Endings of image files, in lower case; also of HEIC, which is not read."""
  from PIL import Image

  known = Image.registered_extensions()
  read = {ending for ending, name in known.items() if name in _readable()}
  return frozenset(read | {".heic", ".heif"})


@functools.cache
def _readable() -> tuple[str, ...]:
  """The raster formats that this Pillow has."""
  from PIL import Image

  Image.init()
  return tuple(name for name in _FORMATS if name in Image.OPEN)


def _converted(
  image: Any, channels: int, values: tuple[float, float] | None
) -> Any:
  """An image with this many channels, upright."""
  image.load()  # a PNG's metadata may be at its end
  kind = image.format
  mode = "RGB" if channels == 3 else "L"
  plain = not _METADATA.intersection(image.info) and image.format != "TIFF"
  if plain and image.mode == mode:
    return image
  from PIL import Image, ImageOps

  if not plain:
    image = ImageOps.exif_transpose(image)
  if image.mode.startswith("I") or image.mode == "F":
    # Pillow would clip 16-bit values at 255.
    deep = np.asarray(image, np.float64)
    sixteen = image.mode.startswith("I;16") or (kind in _SIXTEEN)
    low, high = values or _usual(deep, image.mode, sixteen)
    if not (deep.min() >= low and deep.max() <= high):  # also of NaN
      wrong = deep[~((deep >= low) & (deep <= high))]
      raise ValueError(
        f"an image with a value of {wrong[0]:g}, outside of its range {low:g}"
        f" to {high:g}; range=(low, high) states another"
      )
    grey = ((deep - low) / (high - low) * 255).round().astype(np.uint8)
    image = Image.fromarray(grey)
  if image.has_transparency_data:
    image = image.convert("RGBA")
    background = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(background, image)
  return image.convert(mode)


def _usual(deep: np.ndarray, mode: str, sixteen: bool) -> tuple[float, float]:
  """The range of an image of more than 8 bits, if none is stated."""
  if mode == "F":
    return 0.0, 1.0
  if not sixteen and deep.max() <= 255:
    raise ValueError(
      f"an image of 32 bits with values from {deep.min():g} to"
      f" {deep.max():g}, whose range is not known; range=(low, high) states it"
    )
  return 0.0, 65535.0


def _fitted(image: Any, size: tuple[int, int] | None, fit: str) -> Any:
  """An image scaled to a size."""
  if size is None or (image.height, image.width) == tuple(size):
    return image
  from PIL import Image, ImageOps

  size = (size[1], size[0])  # Pillow has the width first
  method = Image.Resampling.BICUBIC
  if fit == "crop":
    return ImageOps.fit(image, size, method)
  return image.resize(size, method)
