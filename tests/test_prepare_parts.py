"""What `kdjax prepare har` and `hanzi` compute, against other programs."""

import numpy as np
import pytest
from matplotlib.path import Path

from kdjax.errors import UserError
from kdjax.prepare import _strokes, hanzi, har

BRUSH = (
  "M 120 500 Q 300 470 520 520 Q 760 560 900 500 Q 960 470 940 560 L 880 620"
  " Q 700 640 480 600 Q 300 560 140 590 Q 60 600 120 500 Z"
)
CURVED = "M 100 100 C 300 900 700 900 900 100 L 700 50 Q 500 500 300 50 Z"


def covered(paths, side, parts=16):
  """The share of each pixel inside of paths, by matplotlib."""
  fine = side * parts
  down, right = np.mgrid[:fine, :fine] + 0.5
  points = np.stack([right, fine - down], -1).reshape(-1, 2) * 1024 / fine
  points[:, 1] -= 124
  codes = {"M": [1], "L": [2], "Q": [3, 3], "C": [4, 4, 4], "Z": [79]}
  inside = np.zeros(fine * fine, bool)
  for path in paths:
    vertices, kinds, words = [], [], path.split()
    while words:
      command = words.pop(0)
      kinds += codes[command]
      if command == "Z":
        vertices.append((0.0, 0.0))
      for _ in codes[command] if command != "Z" else ():
        vertices.append((float(words.pop(0)), float(words.pop(0))))
    inside |= Path(vertices, kinds).contains_points(points)
  return inside.reshape(side, parts, side, parts).mean(axis=(1, 3))


@pytest.mark.parametrize("paths", [[BRUSH], [CURVED], [CURVED, BRUSH]])
def test_strokes_cover_what_another_program_says(paths):
  made = _strokes.drawn(paths, 32) / 255
  assert np.abs(made - covered(paths, 32)).max() < 0.1
  assert made.mean() == pytest.approx(covered(paths, 32).mean(), rel=0.01)


@pytest.mark.parametrize(
  ("path", "match"),
  [
    ("M 1 2 A 3 4 5", "command 'A'"),
    ("L 1 2", "command 'L'"),
    ("M 1 2 L 3", "within the command 'L'"),
    ("M 1 2 # 3", "cannot be read"),
  ],
)
def test_a_path_that_cannot_be_drawn_says_why(path, match, tmp_path):
  with pytest.raises(ValueError, match=match):
    _strokes.drawn([path], 8)
  file = tmp_path / "1-still.svg"
  file.write_text(f'<svg><path d="{path}"/></svg>')
  with pytest.raises(UserError, match=r"1-still\.svg' has"):
    hanzi._glyph(file)


@pytest.mark.parametrize(
  ("pinyin", "expected"),
  [
    ("mā", ("ma", 1)),
    ("má", ("ma", 2)),
    ("lǚ", ("lü", 3)),
    ("jué", ("jue", 2)),
    ("zhòng", ("zhong", 4)),
    ("de", ("de", 5)),
  ],
)
def test_the_tone_is_the_mark_of_the_vowel(pinyin, expected):
  assert hanzi.syllable_of(pinyin) == expected


def test_a_recording_is_resampled_without_what_50_hz_cannot_hold():
  rng = np.random.default_rng(0)
  stamp = np.cumsum(rng.integers(8, 12, 600))
  slow = np.sin(2 * np.pi * 3 * stamp / 1000)
  fast = np.sin(2 * np.pi * 48 * stamp / 1000)
  zeros = np.zeros((600, 4))
  values = np.column_stack([slow, fast, zeros])
  device = har.Device(values, stamp, np.zeros(600, int))
  grid = device.on_grid(int(stamp[5]), 250)
  assert grid.shape == (250, 6)
  times = (stamp[5] + 20 * np.arange(250)) / 1000
  # (1 + cos(2 pi f / 100)) / 2 of a frequency f passes.
  passed = (1 + np.cos(2 * np.pi * 3 / 100)) / 2
  expected = passed * np.sin(2 * np.pi * 3 * times)
  np.testing.assert_allclose(grid[:, 0], expected, atol=0.03)
  assert np.abs(grid[:, 1]).max() < 0.5
  # Equal stamps are averaged.
  doubled = har.Device(
    np.repeat(values, 2, axis=0) + np.tile([[1.0], [-1.0]], (600, 1)),
    np.repeat(stamp, 2),
    np.zeros(1200, int),
  )
  np.testing.assert_allclose(
    doubled.on_grid(int(stamp[5]), 250), grid, atol=1e-9
  )


def test_a_broken_line_and_a_lonely_phone_are_named(tmp_path):
  folder = tmp_path / "DATA/s01"
  folder.mkdir(parents=True)
  head = "x,y,z,a,b,c,t,label\n1,2,3,4,5,6,1000,SEATED\n"
  (folder / "s01_01_sp.csv").write_text(head)
  with pytest.raises(UserError, match=r"has no 's01_01_sw\.csv' beside"):
    har.prepare(tmp_path, tmp_path / "out")
  for line, match in (
    ("1,2,3,4,5,6,1010,RUNNING", "line 3"),
    ("1,2,3,4,5,6,1010", "line 3"),
    ("1,2,x,4,5,6,1010,SEATED", "'x'"),
  ):
    (folder / "s01_01_sw.csv").write_text(f"{head}{line}\n")
    with pytest.raises(UserError, match=match):
      har.prepare(tmp_path, tmp_path / "out")
  (folder / "s01_01_sw.csv").write_text(head.replace("1000", "99000"))
  with pytest.raises(UserError, match="share no time"):
    har.prepare(tmp_path, tmp_path / "out")
