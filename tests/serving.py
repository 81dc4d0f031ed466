"""A run to serve in tests, and `kdjax serve` in a process of its own."""

import contextlib
import csv
import os
import pathlib
import signal
import subprocess
import sys
import wave

import numpy as np
from PIL import Image

import kdjax
from kdjax import config
from kdjax.config import fields

ROOT = pathlib.Path(__file__).parents[1]


def train_digits(folder):
  """A workdir with the three stages of the digits, hardly trained."""
  plan = fields.load(str(ROOT / "configs/digits.py:smoke"))
  with plan.unlocked():
    plan.seeds = 1
    for stage in plan.stages.values():
      stage.steps = stage.eval_every = 4
  kdjax.run(plan, folder, quiet=True)
  return folder


def train_birds(folder):
  """A workdir with a stage that reads all kinds of files."""
  rng = np.random.default_rng(0)
  rows = []
  for number in range(30):
    name = folder / f"{number}"
    pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(f"{name}.png")
    samples = (8000 * np.sin(np.arange(4000) / (5 + number % 3))).astype("<i2")
    with wave.open(f"{name}.wav", "wb") as sound:
      sound.setparams((1, 2, 4000, 0, "NONE", ""))
      sound.writeframes(samples.tobytes())
    np.savetxt(f"{name}.csv", rng.normal(size=(9, 3)), delimiter=",")
    row = {"photo": f"{number}.png", "voice": f"{number}.wav"}
    row |= {"steps": f"{number}.csv", "height": number, "weight": -number}
    row |= {"caption": f"a bird of {number % 5}"}
    row["kind"] = ("owl", "<b>wren", "tit")[number % 3]
    row["split"] = ("train", "validation", "test")[number // 3 % 3]
    rows.append(row)
  with (folder / "birds.csv").open("w", newline="") as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
  net = config.network
  encoders = {
    "image": net("conv", widths=(4,)),
    "audio": net("audio_cnn", widths=(4,)),
    "sequence": net("series_cnn", widths=(4,), modality="sequence"),
    "text": net("text_cnn", vocabulary=20, channels=4),
    "numbers": net("mlp", widths=(4,), modality="numbers"),
  }
  log_mel = "log_mel(sample_rate=4000, window=256, hop=160, mels=16)"
  pipeline = {"audio": log_mel, "image": "to_float"}
  knobs = {"steps": 2, "batch_size": 8, "log_every": 1, "eval_every": 2}
  terms = {"ce": config.term("cross_entropy")}
  plan = config.experiment(
    "birds",
    seeds=1,
    data=config.data(
      "manifest",
      root=str(folder),
      table="birds.csv",
      columns={
        "image": "photo",
        "audio": "voice",
        "sequence": "steps",
        "text": "caption",
        "numbers": "numbers:height, weight",
        "label": "kind",
      },
      image_size=(12, 16),
      sample_rate=4000,
      seconds=1.0,
      steps=12,
      pipelines={"train": pipeline, "evaluation": pipeline},
    ),
    stages={
      "all": config.stage(
        net("fusion", encoders=encoders, num_classes=3), terms=terms, **knobs
      )
    },
  )
  kdjax.run(plan, folder / "run", quiet=True)
  return folder / "run"


@contextlib.contextmanager
def served(workdir, folder, *flags):
  """`kdjax serve` in an empty folder; gives its process and its address."""
  for name in ("here", "temporary"):
    (folder / name).mkdir(parents=True)
  environment = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "TMPDIR": str(folder / "temporary"),
  }
  command = [sys.executable, "-m", "kdjax", "serve", f"--workdir={workdir}"]
  process = subprocess.Popen(
    [*command, "--port=0", *flags],
    cwd=folder / "here",
    env=environment,
    stdout=subprocess.PIPE,
    stderr=(folder / "errors").open("w"),
    text=True,
  )
  try:
    address = ""
    for line in process.stdout:
      if "Serving at " in line:
        address = line.partition("Serving at ")[2].split()[0]
        break
    assert address, (folder / "errors").read_text()
    yield process, address
  finally:
    if process.poll() is None:
      process.send_signal(signal.SIGTERM)
      process.wait(30)
    process.stdout.close()
