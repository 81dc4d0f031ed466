"""Six folders of other people's, each small and learnable, for `kdjax new`.

Each function of FOLDERS writes its files into a folder, and returns what
`kdjax new` is called with, beside --out.

  python -c "import strangers; strangers.write_all('folder')"   in tests/
"""

import pathlib

import numpy as np
from examples import audio_file
from layouts import parquet, table
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]
CLASSES = ("finch", "heron", "owl")
COUNT = 90
WORDS = ("small and quick", "tall and grey", "round and quiet")


def picture(path, place, size=16):
  """A noisy picture whose bright corner tells its class."""
  rng = np.random.default_rng(place)
  pixels = rng.integers(0, 120, size=(size, size, 3), dtype=np.uint8)
  row, column = divmod(place % 3, 2)
  half = size // 2
  pixels[row * half :, column * half :][:half, :half] += 80
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path)


def note(path, place, rate=8000):
  """A noisy tone whose pitch tells the class."""
  rng = np.random.default_rng(place)
  time = np.arange(rate // 4) / rate
  wave = np.sin(2 * np.pi * (300 + 400 * (place % 3)) * time)
  audio_file(path, 6000 * (wave + rng.normal(scale=0.5, size=len(time))), rate)


def told(place):
  """A text that tells the class in seven of eight records."""
  said = place + 1 if place % 8 == 7 else place
  return f"bird {place % 5}, {WORDS[said % 3]}, seen near the water"


def folder_of_pictures(folder):
  for place in range(COUNT):
    picture(folder / f"{CLASSES[place % 3]}/{place:03d}.png", place)
  return [f"--data={folder}"]


def two_tables_with_captions(folder):
  rows = []
  for place in range(COUNT):
    picture(folder / f"images/{place:03d}.png", place)
    known = place % 4 == 0 or place >= 72
    rows.append(
      {
        "file_name": f"images/{place:03d}.png",
        "caption": told(place),
        "species": CLASSES[place % 3] if known else "",
      }
    )
  table(folder / "train.csv", rows[:72])
  table(folder / "test.csv", rows[72:])
  return [f"--data={folder}", "--student=image", "--teacher=image,text"]


def sounds_with_a_table(folder):
  """As ESC-50 has it: the table and the files in two folders."""
  rows = []
  for place in range(COUNT):
    note(folder / f"audio/{place:03d}.wav", place)
    rows.append(
      {
        "filename": f"{place:03d}.wav",
        "category": CLASSES[place % 3],
        "remark": told(place),
        "take": place,
      }
    )
  table(folder / "meta/sounds.csv", rows)
  return [f"--data={folder}", "--student=audio"]


def sensors_of_people(folder):
  """A CSV a person and a step a line, with a phone and a watch."""
  for person in range(8):
    rng = np.random.default_rng(person)
    rows = []
    for step in range(600):
      walking = (step // 150) % 2
      phone = rng.normal(size=3) + walking * np.sin(step / 3)
      watch = rng.normal(size=3) * 0.5 + walking * np.sin(step / 3)
      cells = {
        f"{device}_{'xyz'[axis]}": f"{value:.3f}"
        for device, values in (("phone", phone), ("watch", watch))
        for axis, value in enumerate(values)
      }
      activity = ("sit", "walk")[walking]
      rows.append({"time_ms": 20 * step, **cells, "activity": activity})
    table(folder / f"p{person:02d}.csv", rows)
  return [f"--data={folder}", "--student=phone"]


def parquet_of_the_hub(folder):
  """Shards of the Hugging Face hub: bytes of pictures, named classes."""
  features = {"label": {"_type": "ClassLabel", "names": list(CLASSES)}}
  rows = []
  for place in range(COUNT):
    picture(folder / "made.png", place)
    content = (folder / "made.png").read_bytes()
    image = {"bytes": content, "path": None}
    rows.append({"image": image, "text": told(place), "label": place % 3})
  (folder / "made.png").unlink()
  name = "data/{}-0000{}-of-0000{}.parquet"
  parquet(folder / name.format("train", 0, 2), rows[:36], features)
  parquet(folder / name.format("train", 1, 2), rows[36:72], features)
  parquet(folder / name.format("test", 0, 1), rows[72:], features)
  return [f"--data={folder}"]


def numbers_with_text(folder):
  """Houses: numbers, a text, and a price to predict."""
  rng = np.random.default_rng(0)
  rows = []
  for place in range(COUNT):
    area, rooms = rng.uniform(40, 200), rng.integers(1, 7)
    quiet = place % 2
    price = 2000 * area + 9000 * rooms + 50_000 * quiet + rng.normal(scale=5000)
    rows.append(
      {
        "id": f"h{place:03d}",
        "area": f"{area:.1f}",
        "rooms": rooms,
        "description": f"a {('busy', 'quiet')[quiet]} street, house {place}",
        "price": f"{price:.0f}",
      }
    )
  table(folder / "houses.csv", rows)
  return [f"--data={folder / 'houses.csv'}", "--student=numbers"]


FOLDERS = {
  it.__name__: it
  for it in (
    folder_of_pictures,
    two_tables_with_captions,
    sounds_with_a_table,
    sensors_of_people,
    parquet_of_the_hub,
    numbers_with_text,
  )
}


def write_all(folder):
  """All folders, each of its name."""
  for name, write in FOLDERS.items():
    path = pathlib.Path(folder, name)
    path.mkdir(parents=True, exist_ok=True)
    write(path)
