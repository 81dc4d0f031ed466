"""Spoken digits of a speaker nobody trained on: a large network, a small one.

Recordings of FSDD: four speakers train, one validates, and one is the test. The
teacher is a wide convolutional network of the spectrogram; the student has an
eighth of its parameters.

  teacher    cross-entropy
  alone      the student; cross-entropy
  distilled  the same, KD beside cross-entropy

  kdjax run --config=configs/fsdd.py --workdir=runs/fsdd \
    --config.data.root=../shared/data
  kdjax run --config=configs/fsdd.py:few --workdir=runs/fsdd-few \
    --config.data.root=../shared/data
  kdjax run --config=configs/fsdd.py:smoke --workdir=runs/fsdd-smoke \
    --config.data.root=../shared/data

The folder holds `fsdd/fsdd.npz`, see `kdjax/data/fsdd.py`.

To expect, three seeds, the 500 recordings of a speaker nobody heard, 17 minutes
on two busy CPU cores:

  teacher    .742 +- .042, nll .688
  alone      .637 +- .056, nll 1.038
  distilled  .636 +- .018, nll .966; gain -.001 +- .031

Not two standard errors, nor any: the student of a speaker that it has not heard
is held back by what differs between speakers, of which the teacher says little.
Its seeds lie closer together, and its probabilities are better. After half of
the steps, and at temperature 2 beside all of the labels, it was alike.

"few": everybody has ten labels a digit, drawn anew by each seed; the student
learns from the teacher on the other recordings too. Five seeds:

  teacher    .472 +- .057, nll 1.531
  alone      .398 +- .027, nll 1.809
  distilled  .405 +- .036, nll 1.697

The gain in accuracy is +.007 +- .024, none; in negative log-likelihood, paired
by seed, it is .113 +- .043, better in 5 of 5: more than two standard errors.
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
HEARD = f"to_wave|{LOG_MEL}"
MASKS = "spec_augment(time_width=8, frequency_width=5, fill=-1.0)"
TRAIN = f"to_wave|time_shift|{LOG_MEL}|{MASKS}"


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
  teaching, learning, labelled = 800, 1600, {}
  if few:
    teaching, learning = 600, 600
    labelled = {"labels_per_class": 10, "labelled_fraction": 0.25}
  return experiment(
    "fsdd",
    seeds=2 if smoke else 5 if few else 3,
    data=data(
      "fsdd",
      held_out="theo",
      limit=64 if smoke else 0,
      **labelled,
      pipelines={"train": {"audio": TRAIN}, "evaluation": {"audio": HEARD}},
    ),
    stages={
      "teacher": stage(large, terms=labels(), **training(teaching)),
      "alone": stage(small, terms=labels(), **training(learning)),
      "distilled": stage(
        small,
        teachers={"teacher": teacher("teacher")},
        terms=labels(0.1) | kd,
        **training(learning),
      ),
    },
    gains=(("distilled", "alone"),),
  )
