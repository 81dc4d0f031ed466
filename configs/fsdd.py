"""Spoken digits (FSDD) of an unseen speaker: compression of an audio network.

Four speakers are for training, one for validation and one for test. The teacher
is a wide convolutional network on the spectrogram; the student has an eighth of
its parameters.

  teacher    cross-entropy
  alone      the student; cross-entropy
  distilled  the student; cross-entropy and KD

  kdjax run --config=configs/fsdd.py --workdir=runs/fsdd \
    --config.data.root=data
  kdjax run --config=configs/fsdd.py:few --workdir=runs/fsdd-few \
    --config.data.root=data
  kdjax run --config=configs/fsdd.py:smoke --workdir=runs/fsdd-smoke \
    --config.data.root=data

The folder holds `fsdd/fsdd.npz`, see `kdjax/data/fsdd.py`.

Expected accuracy and negative log-likelihood (nll) on the test speaker's 500
recordings, 3 seeds, 17 minutes on two busy CPU cores:

  teacher    0.742 ± 0.042, nll 0.688
  alone      0.637 ± 0.056, nll 1.038
  distilled  0.636 ± 0.018, nll 0.966; gain -0.001 ± 0.031

No gain: the differences between speakers limit the student, and the teacher
has little information about them. Distilled has a smaller deviation over seeds
and a better nll. Half of the steps, or temperature 2 with all labels, gave the
same result.

"few": ten labels per digit, drawn by each seed; the student also learns from
the teacher on unlabelled recordings. 5 seeds:

  teacher    0.472 ± 0.057, nll 1.531
  alone      0.398 ± 0.027, nll 1.809
  distilled  0.405 ± 0.036, nll 1.697

The accuracy's gain is +0.007 ± 0.024, not significant. The nll is lower by
0.113 ± 0.043, paired by seed, better in 5 of 5 seeds.
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
AUDIO = f"to_wave|{LOG_MEL}"
MASKS = "spec_augment(time_width=8, frequency_width=5, fill=-1.0)"
TRAIN_AUDIO = f"to_wave|time_shift|{LOG_MEL}|{MASKS}"


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; the argument is "", "few" or "smoke"."""
  mode = mode_of(argument, "few", "smoke")
  smoke, few = mode == "smoke", mode == "few"
  small = network("audio_cnn", widths=(8, 16), num_classes=CLASSES)
  large = network(
    "audio_cnn", widths=(16, 32, 32), num_classes=CLASSES, dropout=0.2
  )
  labels = lambda weight=1.0: {
    "cross_entropy": term("cross_entropy", weight=weight)
  }
  noise = corruption(
    "audio",
    f"to_wave|noise|{LOG_MEL}",
    sweeps="noise.snr",
    levels=(40, 10) if smoke else (40, 30, 20, 10, 0),
  )
  training = lambda steps: {
    "steps": 10 if smoke else steps,
    "batch_size": 64,
    "optimizer": optimizer(
      "adamw",
      learning_rate=schedule("cosine", 3e-3, warmup=5 if smoke else 50),
      weight_decay=1e-2,
    ),
    "robustness": {"noise, SNR in dB": noise},
    "eval_every": 5 if smoke else 100,
    "log_every": 5 if smoke else 20,
    "save_every": 0 if smoke else 200,
  }
  kd = {"kd": term("kd", weight=1.0 if few else 0.9, temperature=4.0)}
  teacher_steps, student_steps, labelled = 800, 1600, {}
  if few:
    teacher_steps, student_steps = 600, 600
    labelled = {"labels_per_class": 10, "labelled_fraction": 0.25}
  return experiment(
    "fsdd",
    seeds=2 if smoke else 5 if few else 3,
    data=data(
      "fsdd",
      held_out="theo",
      limit=64 if smoke else 0,
      **labelled,
      pipelines={
        "train": {"audio": TRAIN_AUDIO},
        "evaluation": {"audio": AUDIO},
      },
    ),
    stages={
      "teacher": stage(large, terms=labels(), **training(teacher_steps)),
      "alone": stage(small, terms=labels(), **training(student_steps)),
      "distilled": stage(
        small,
        teachers={"teacher": teacher("teacher")},
        terms=labels(0.1) | kd,
        **training(student_steps),
      ),
    },
    gains=(("distilled", "alone"),),
  )
