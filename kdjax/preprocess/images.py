"""Image files as arrays: decoded by Pillow, upright, of one size."""

import os
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8

from kdjax.errors import UserError

FITS = ("crop", "stretch")

# Of one image: 64 megapixels are 192 MiB in memory. A file of some kilobytes
# can hold more, by mistake or by intent. Pillow's own limit is above.
MOST_PIXELS = 1 << 26

# What an image can say of itself that changes how it is shown. To ask Pillow
# for it costs as much as to decode a small image.
_SAID = frozenset(
  {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp", "transparency"}
)


def check(size: tuple[int, int], channels: int, fit: str) -> None:
  """Raises `UserError` for a size, channels or fit that cannot be."""
  if len(size) != 2 or min(size) < 1:
    raise UserError(f"image_size={size}.", "It is (height, width), from 1.")
  if channels not in (1, 3):
    raise UserError(f"channels={channels}.", "Grey has 1 and colour has 3.")
  if fit not in FITS:
    raise UserError(f"No fit '{fit}'.", exists=FITS, near=fit)


def decode(
  file: str | os.PathLike | BinaryIO,
  size: tuple[int, int] | None = None,
  *,
  channels: int = 3,
  fit: str = "crop",
) -> UInt8[np.ndarray, "H W C"]:
  """An image, turned as its EXIF says; what is transparent is white.

  Args:
    file: in any format that Pillow reads; of an animation, the first picture.
    size: (height, width); None is the image's own.
    channels: 3 is red, green, blue; 1 is grey.
    fit: "crop" scales the shorter side and cuts off both ends of the longer;
      "stretch" scales each side alone.

  Raises:
    ValueError: there is no such image in the file; it says why.
  """
  from PIL import Image, UnidentifiedImageError

  try:
    with Image.open(file) as image:
      if image.width * image.height > MOST_PIXELS:
        raise ValueError(
          f"an image of {image.width}x{image.height} pixels, above the limit"
          f" of {MOST_PIXELS}"
        )
      made = _fitted(_converted(image, channels), size, fit)
      pixels = np.frombuffer(made.tobytes(), np.uint8)
  except UnidentifiedImageError:
    raise ValueError("not an image") from None
  except Image.DecompressionBombError as error:
    raise ValueError(f"an image too large to decode: {error}") from None
  except ValueError:
    raise
  except Exception as error:
    # Pillow's decoders raise what they like: OSError, SyntaxError, zlib.error.
    raise ValueError(f"a broken image: {error}") from error
  return pixels.reshape(made.height, made.width, channels)


def _converted(image: Any, channels: int) -> Any:
  """An image in the colours asked for, upright."""
  image.load()  # what a PNG says of itself may stand at its end
  wanted = "RGB" if channels == 3 else "L"
  plain = not _SAID.intersection(image.info) and image.format != "TIFF"
  if plain and image.mode == wanted:
    return image
  from PIL import Image, ImageOps

  if not plain:
    image = ImageOps.exif_transpose(image)
  if image.mode.startswith("I") or image.mode == "F":
    # Pillow would cut 16 bits off at 255.
    deep = np.asarray(image, np.float64)
    most = 65535.0 if image.mode.startswith("I") else 1.0
    grey = np.clip(deep / most * 255, 0, 255).round().astype(np.uint8)
    image = Image.fromarray(grey)
  if image.has_transparency_data:
    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(ground, image)
  return image.convert(wanted)


def _fitted(image: Any, size: tuple[int, int] | None, fit: str) -> Any:
  """An image of the size asked for."""
  if size is None or (image.height, image.width) == tuple(size):
    return image
  from PIL import Image, ImageOps

  wanted = (size[1], size[0])  # Pillow has the width first
  method = Image.Resampling.BICUBIC
  if fit == "crop":
    return ImageOps.fit(image, wanted, method)
  return image.resize(wanted, method)
