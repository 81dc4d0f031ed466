"""Teacher sees and hears, the student sees or hears: digits, AV-MNIST-style.

Images of MNIST keep 23 % of their variance, recordings of FSDD have a noise of
the ESC-10 over them at 10 dB. A teacher of both is trained on the few labelled
pairs; students of one sense learn from it on all pairs, without further labels.

  teacher      image and audio, joined; a tenth of its examples lack a sense
  image-alone  the image; cross-entropy on the labelled
  image        the same, from the teacher
  audio-alone  the audio
  audio        the same, from the teacher

The report ends in robustness curves: each stage where a sense is missing more
and more often, and where image or audio are worse than in training.

  kdjax run --config=configs/avmnist.py --workdir=runs/avmnist \
    --config.data.root=../shared/data
  kdjax run --config=configs/avmnist.py:smoke --workdir=runs/avmnist-smoke \
    --config.data.root=../shared/data

The folder holds `mnist`, `fsdd` and `esc10_noise`, see `kdjax/data/avmnist.py`.

To expect, three seeds, 4,000 training pairs of which 500 are labelled, 4,000
for test; 21 minutes on two CPU cores that other jobs shared:

  teacher      .588 +- .010
  image-alone  .436 +- .007
  image        .422 +- .010, gain -.014 +- .006: it learns nothing from sounds
  audio-alone  .304 +- .039
  audio        .316 +- .046, gain +.012 +- .004, better in 3 of 3 seeds
"""

from kdjax.config import (
  ConfigDict,
  corruption,
  data,
  experiment,
  mode_of,
  network,
  optimizer,
  schedule,
  stage,
  teacher,
  term,
)

CLASSES = 10

# 8 kHz: frames of 32 ms every 20 ms; then loudness, from -1 to 1.
LOG_MEL = (
  "log_mel(sample_rate=8000, window=256, hop=160, mels=32)|dynamic_range"
)
MASKS = "spec_augment(time_width=8, frequency_width=5, fill=-1.0)"

IMAGE = "crop(padding=2)"
HEARD = f"to_wave|{LOG_MEL}"
AUDIO = f"to_wave|time_shift|{LOG_MEL}|{MASKS}"


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; the argument is "" or "smoke"."""
  smoke = mode_of(argument, "smoke") == "smoke"
  labels = lambda weight=1.0: {
    "cross_entropy": term("cross_entropy", weight=weight, label_smoothing=0.1)
  }
  image = network("conv", widths=(16, 32), num_classes=CLASSES, dropout=0.1)
  audio = network("audio_cnn", widths=(12, 24), num_classes=CLASSES)

  def training(steps):
    return {
      "steps": 10 if smoke else steps,
      "batch_size": 64,
      "optimizer": optimizer(
        "adamw",
        learning_rate=schedule("cosine", 3e-3, warmup=5 if smoke else 20),
        weight_decay=1e-2,
      ),
      "eval_every": 5 if smoke else 100,
      "log_every": 5 if smoke else 20,
      "save_every": 0 if smoke else 100,
    }

  def of(student, sense):
    """A student of one sense, alone and taught."""
    robustness = _noisy(sense, smoke)
    alone = stage(
      student, terms=labels(), robustness=robustness, **training(600)
    )
    taught = stage(
      student,
      teachers={"teacher": teacher("teacher")},
      terms={**labels(0.1), "kd": term("kd", temperature=4.0)},
      robustness=robustness,
      **training(600),
    )
    return {f"{sense}-alone": alone, sense: taught}

  stages = {
    "teacher": stage(
      network(
        "fusion",
        encoders={
          "image": network("conv", widths=(16, 32), dropout=0.1),
          "audio": network("audio_cnn", widths=(12, 24)),
        },
        num_classes=CLASSES,
        dropout=0.2,
        modality_dropout=0.1,
      ),
      terms=labels(),
      robustness=_missing("image", smoke)
      | _missing("audio", smoke)
      | _noisy("image", smoke)
      | _noisy("audio", smoke),
      **training(600),
    ),
    **of(image, "image"),
    **of(audio, "audio"),
  }
  return experiment(
    "avmnist",
    seeds=2 if smoke else 3,
    data=data(
      "avmnist",
      snr=10.0,
      labels_per_class=2 if smoke else 50,
      labelled_fraction=0.25,
      limit=640 if smoke else 4000,
      pipelines={
        "train": {"image": IMAGE, "audio": AUDIO},
        "evaluation": {"audio": HEARD},
      },
    ),
    stages=stages,
    gains=(("image", "image-alone"), ("audio", "audio-alone")),
  )


def _missing(sense: str, smoke: bool) -> dict[str, ConfigDict]:
  """A sense that more and more examples lack."""
  levels = (0.0, 1.0) if smoke else (0.0, 0.5, 1.0)
  return {f"{sense} missing": corruption(sense, levels=levels)}


def _noisy(sense: str, smoke: bool) -> dict[str, ConfigDict]:
  """A sense that is worse than in training."""
  pipeline = "noise" if sense == "image" else HEARD.replace("|", "|noise|", 1)
  levels = (20, 0) if smoke else (20, 10, 0, -10)
  noise = corruption(sense, pipeline, sweeps="noise.snr", levels=levels)
  return {f"{sense} with noise, SNR in dB": noise}
