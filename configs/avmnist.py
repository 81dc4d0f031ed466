"""Digits as image and audio (AV-MNIST-style); students with one modality.

MNIST images keep 23 % of their variance; FSDD recordings have ESC-10 noise at
10 dB. A teacher with both modalities is trained on the few labelled pairs.
Students with one modality learn from it on all pairs.

  teacher      image and audio; each is dropped from a tenth of the examples
  image-alone  image; cross-entropy on labelled pairs
  image        image; cross-entropy, and KD on all pairs
  audio-alone  audio; cross-entropy on labelled pairs
  audio        audio; cross-entropy, and KD on all pairs

The report has robustness curves of the stages: a modality is missing more and
more often, or has more noise than in training.

  kdjax run --config=configs/avmnist.py --workdir=runs/avmnist \
    --config.data.root=data
  kdjax run --config=configs/avmnist.py:smoke --workdir=runs/avmnist-smoke \
    --config.data.root=data

The folder holds `mnist`, `fsdd` and `esc10_noise`, see `kdjax/data/avmnist.py`.

Expected accuracy on 4,000 test pairs, 3 seeds, 4,000 training pairs with 500
labels; 21 minutes on two shared CPU cores:

  teacher      0.588 ± 0.010
  image-alone  0.436 ± 0.007
  image        0.422 ± 0.010, gain -0.014 ± 0.006: the audio does not help it
  audio-alone  0.304 ± 0.039
  audio        0.316 ± 0.046, gain +0.012 ± 0.004, better in 3 of 3 seeds
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

# At 8 kHz: windows of 32 ms every 20 ms; then log magnitudes from -1 to 1.
LOG_MEL = (
  "log_mel(sample_rate=8000, window=256, hop=160, mels=32)|dynamic_range"
)
MASKS = "spec_augment(time_width=8, frequency_width=5, fill=-1.0)"

TRAIN_IMAGE = "crop(padding=2)"
AUDIO = f"to_wave|{LOG_MEL}"
TRAIN_AUDIO = f"to_wave|time_shift|{LOG_MEL}|{MASKS}"


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

  def students(student, modality):
    """A student with one modality, alone and distilled."""
    robustness = _noisy(modality, smoke)
    alone = stage(
      student, terms=labels(), robustness=robustness, **training(600)
    )
    distilled = stage(
      student,
      teachers={"teacher": teacher("teacher")},
      terms={**labels(0.1), "kd": term("kd", temperature=4.0)},
      robustness=robustness,
      **training(600),
    )
    return {f"{modality}-alone": alone, modality: distilled}

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
    **students(image, "image"),
    **students(audio, "audio"),
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
        "train": {"image": TRAIN_IMAGE, "audio": TRAIN_AUDIO},
        "evaluation": {"audio": AUDIO},
      },
    ),
    stages=stages,
    gains=(("image", "image-alone"), ("audio", "audio-alone")),
  )


def _missing(modality: str, smoke: bool) -> dict[str, ConfigDict]:
  """A modality that is missing in more and more examples."""
  levels = (0.0, 1.0) if smoke else (0.0, 0.5, 1.0)
  return {f"{modality} missing": corruption(modality, levels=levels)}


def _noisy(modality: str, smoke: bool) -> dict[str, ConfigDict]:
  """A modality with more noise than in training."""
  with_noise = AUDIO.replace("|", "|noise|", 1)
  pipeline = "noise" if modality == "image" else with_noise
  levels = (20, 0) if smoke else (20, 10, 0, -10)
  noise = corruption(modality, pipeline, sweeps="noise.snr", levels=levels)
  return {f"{modality} with noise, SNR in dB": noise}
