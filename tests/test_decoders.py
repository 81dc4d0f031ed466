"""Files as arrays: images by Pillow, recordings by libsndfile and SciPy."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image
from scipy import signal

from kdjax.errors import UserError
from kdjax.preprocess import audio, images

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(256, size=(9, 14, 3), dtype=np.uint8)


def file_of(image, kind="PNG", **options):
  file = io.BytesIO()
  image.save(file, kind, **options)
  file.seek(0)
  return file


def sound_of(values, rate=8000, kind="WAV", subtype="FLOAT"):
  file = io.BytesIO()
  soundfile.write(file, values, rate, format=kind, subtype=subtype)
  file.seek(0)
  return file


# Images


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_an_image_is_its_pixels(kind):
  options = {"lossless": True} if kind == "WEBP" else {}
  file = file_of(Image.fromarray(PIXELS), kind, **options)
  np.testing.assert_array_equal(images.decode(file), PIXELS)


def test_grey_is_the_luminance_of_a_colour_and_fills_all_three():
  grey = images.decode(file_of(Image.fromarray(PIXELS)), channels=1)
  # ITU-R 601-2, as Pillow documents.
  expected = PIXELS.astype(float) @ (0.299, 0.587, 0.114)
  assert grey.shape == (9, 14, 1)
  np.testing.assert_allclose(grey[..., 0], expected, atol=1)
  colour = images.decode(file_of(Image.fromarray(grey[..., 0])))
  np.testing.assert_array_equal(colour, np.repeat(grey, 3, axis=2))


def test_the_middle_of_a_longer_side_remains():
  # 8 x 24 in three squares; the one in the middle is what a square shows.
  squares = np.zeros((8, 24, 3), np.uint8)
  squares[:, 8:16] = (10, 200, 30)
  found = images.decode(file_of(Image.fromarray(squares)), (8, 8))
  assert (found[:, 2:6] == (10, 200, 30)).all()
  stretched = images.decode(
    file_of(Image.fromarray(squares)), (8, 8), fit="stretch"
  )
  assert not stretched[:, 0].any() and not stretched[:, -1].any()


def test_an_image_is_turned_as_its_camera_says():
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned by 90 degrees to the right
  file = file_of(Image.fromarray(PIXELS), exif=exif)
  np.testing.assert_array_equal(images.decode(file), np.rot90(PIXELS, -1))


def test_what_is_transparent_is_white():
  pixels = np.zeros((2, 2, 4), np.uint8)
  pixels[0, 0] = (9, 8, 7, 255)
  found = images.decode(file_of(Image.fromarray(pixels)))
  assert found[0, 0].tolist() == [9, 8, 7]
  assert (found[1] == 255).all() and (found[0, 1] == 255).all()


def test_sixteen_bits_become_eight():
  deep = np.array([[0, 256 * 64], [256 * 128, 65535]], np.uint16)
  found = images.decode(file_of(Image.fromarray(deep)), channels=1)
  assert found[..., 0].tolist() == [[0, 64], [128, 255]]


def deep(values, kind="TIFF"):
  """A grey image of more than 8 bits."""
  return file_of(Image.fromarray(values), kind)


RAMP = np.tile(np.linspace(0, 1, 64), (4, 1))


@pytest.mark.parametrize(
  ("values", "limits"),
  [
    (RAMP.astype(np.float32), None),
    ((RAMP * 255).astype(np.float32), (0, 255)),
    ((RAMP * 4 - 2).astype(np.float32), (-2, 2)),
    ((RAMP * 255).astype(np.int32), (0, 255)),
    ((RAMP * 65535).astype(np.int32), None),
    ((RAMP * 65535).astype(np.uint16), None),
    ((RAMP * 4095).astype(np.uint16), (0, 4095)),
  ],
)
def test_a_deep_image_goes_from_black_to_white_over_its_range(values, limits):
  found = images.decode(deep(values), channels=1, values=limits)
  np.testing.assert_allclose(found[..., 0], RAMP * 255, atol=1.01)


@pytest.mark.parametrize(
  ("values", "limits", "match"),
  [
    ((RAMP * 255).astype(np.float32), None, "outside of its range 0 to 1"),
    ((RAMP * 255).astype(np.int32), None, "0 to 255, whose range is not known"),
    ((RAMP * 1e6).astype(np.int32), None, "outside of its range 0 to 65535"),
    ((RAMP - 0.5).astype(np.float32), None, "a value of -0.5"),
    ((RAMP * 5000).astype(np.uint16), (0, 4095), "range 0 to 4095"),
    (np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32), None, "of nan"),
    (np.where(RAMP > 0.5, np.inf, RAMP).astype(np.float32), None, "of inf"),
  ],
)
def test_a_value_outside_of_an_images_range_is_a_fault(values, limits, match):
  with pytest.raises(ValueError, match=match) as error:
    images.decode(deep(values), values=limits)
  assert "range=(low, high)" in str(error.value)


@pytest.mark.parametrize("limits", [(1, 0), (0, 0), (0,), (0, np.inf)])
def test_an_impossible_range_is_a_mistake(limits):
  with pytest.raises(UserError, match="is no range"):
    images.check((8, 8), 1, "crop", limits)


def test_a_palette_is_its_colours():
  image = Image.fromarray(PIXELS).quantize(8)
  expected = np.asarray(image.convert("RGB"))
  np.testing.assert_array_equal(images.decode(file_of(image, "GIF")), expected)


# Recordings


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_recording_is_its_samples_with_zeros_after_them(kind):
  wave = RNG.integers(-(2**15), 2**15, size=700) / 2**15
  found = audio.decode(sound_of(wave, kind=kind, subtype="PCM_16"), 8000, 0.1)
  assert found.dtype == np.float32 and found.shape == (800,)
  np.testing.assert_array_equal(found[:700], wave.astype(np.float32))
  assert not found[700:].any()


def test_channels_are_averaged():
  stereo = RNG.uniform(-1, 1, size=(800, 2)).astype(np.float32)
  found = audio.decode(sound_of(stereo), 8000, 0.1)
  np.testing.assert_allclose(found, stereo.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100])
def test_another_rate_is_resampled_to_the_same_sound(rate):
  seconds, pitch = 0.5, 440.0
  time = np.arange(rate) / rate  # twice what is kept
  found = audio.decode(
    sound_of(np.sin(2 * np.pi * pitch * time), rate), 8000, seconds
  )
  expected = np.sin(2 * np.pi * pitch * np.arange(4000) / 8000)
  # The filter has nothing to go by before the first sample.
  np.testing.assert_allclose(found[100:], expected[100:], atol=2e-3)


@pytest.mark.parametrize("rate", [4000, 11025, 44100])
def test_only_what_is_kept_is_read_and_nothing_else_changes(rate):
  wave = RNG.uniform(-1, 1, size=3 * rate).astype(np.float32)
  found = audio.decode(sound_of(wave, rate), 8000, 0.25)
  shared = np.gcd(rate, 8000)
  whole = signal.resample_poly(wave, 8000 // shared, rate // shared)
  np.testing.assert_allclose(found, whole[:2000], atol=1e-6)


def test_a_pitch_that_a_rate_cannot_hold_is_gone():
  time = np.arange(44100) / 44100
  high = np.sin(2 * np.pi * 9000 * time)
  found = audio.decode(sound_of(high, 44100), 8000, 0.5)
  assert np.abs(found[100:-100]).max() < 0.01


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1.0), (8000, 0.0)])
def test_a_length_that_cannot_be_is_a_mistake(rate, seconds):
  with pytest.raises(UserError, match="one sample or more"):
    audio.samples_of(rate, seconds)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_floats_beyond_their_scale_are_a_fault(subtype):
  wave = np.sin(np.arange(800) / 9) * 32767
  with pytest.raises(ValueError, match=r"outside of -1 to 1; scale="):
    audio.decode(sound_of(wave, subtype=subtype), 8000, 0.1)
  found = audio.decode(sound_of(wave, subtype=subtype), 8000, 0.1, 32767)
  np.testing.assert_allclose(found, wave / 32767, atol=1e-6)
  with pytest.raises(ValueError, match="a sample of 3276"):
    audio.decode(sound_of(wave, subtype=subtype), 8000, 0.1, 30000)


@pytest.mark.parametrize("scale", [0, -1, np.inf, np.nan])
def test_an_impossible_scale_is_a_mistake(scale):
  with pytest.raises(UserError, match="is no scale"):
    audio.check(scale)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize(
  ("kind", "subtype"),
  [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("W64", "PCM_16"),
    ("RF64", "PCM_16"),
    ("MP3", "MPEG_LAYER_III"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
  ],
)
def test_a_recording_that_ends_early_is_a_fault(kind, subtype, share):
  wave = 0.5 * np.sin(np.arange(16000) / 9)
  whole = sound_of(wave, kind=kind, subtype=subtype).getvalue()
  assert len(audio.decode(io.BytesIO(whole), 8000, 2.0)) == 16000
  with pytest.raises(ValueError, match="audio"):
    audio.decode(io.BytesIO(whole[: int(len(whole) * share)]), 8000, 2.0)


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0xFFFFFFFF])
def test_a_recording_that_was_streamed_may_not_know_its_length(size):
  wave = 0.5 * np.sin(np.arange(800) / 9)
  content = bytearray(sound_of(wave, subtype="PCM_16").getvalue())
  start = content.find(b"data") + 4
  content[start : start + 4] = size.to_bytes(4, "little")
  found = audio.decode(io.BytesIO(bytes(content)), 8000, 0.1)
  np.testing.assert_allclose(found, wave, atol=1e-4)
