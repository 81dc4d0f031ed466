"""Film reviews (SST-2), negative or positive: a text teacher, a small student.

The teacher is a bidirectional LSTM, the student a convolutional network with a
ninth of its parameters that reads the same words. Both have all labels. Words
are dropped at random in training; the teacher's probabilities show how the
sentiment of such a sentence changes.

  teacher    cross-entropy on all labels
  alone      the student; cross-entropy
  distilled  the student; cross-entropy and KD

  kdjax run --config=configs/sst2.py --workdir=runs/sst2 \
    --config.data.root=data
  kdjax run --config=configs/sst2.py:smoke --workdir=runs/sst2-smoke \
    --config.data.root=data

The folder holds `sst2`, see `kdjax/data/sst2.py`.

Expected accuracy on 1,821 test sentences, 5 seeds, 3.5 minutes on two busy CPU
cores:

  teacher    0.816 ± 0.004
  alone      0.680 ± 0.021
  distilled  0.712 ± 0.019, gain +0.032 ± 0.004, better in 5 of 5 seeds
"""

from kdjax.config import (
  ConfigDict,
  data,
  experiment,
  metric,
  mode_of,
  network,
  optimizer,
  schedule,
  stage,
  teacher,
  term,
)

CLASSES = 2
WORDS, LENGTH = 8000, 48


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; the argument is "" or "smoke"."""
  smoke = mode_of(argument, "smoke") == "smoke"
  labels = lambda weight=1.0: {
    "cross_entropy": term("cross_entropy", weight=weight)
  }
  large = network(
    "bilstm",
    vocabulary=WORDS,
    words=64,
    width=64,
    num_classes=CLASSES,
    dropout=0.5,
  )
  small = network(
    "text_cnn",
    vocabulary=WORDS,
    words=8,
    channels=8,
    num_classes=CLASSES,
    dropout=0.3,
  )

  def training(steps):
    return {
      "steps": 10 if smoke else steps,
      "batch_size": 64,
      "optimizer": optimizer(
        "adamw",
        learning_rate=schedule("cosine", 2e-3, warmup=5 if smoke else 50),
        weight_decay=1e-2,
      ),
      "metrics": {
        "classification": metric("classification"),
        "calibration": metric("calibration"),
      },
      "eval_every": 5 if smoke else 50,
      "log_every": 5 if smoke else 20,
      "save_every": 0 if smoke else 200,
    }

  kd = {"kd": term("kd", weight=0.9, temperature=2.0)}
  return experiment(
    "sst2",
    seeds=2 if smoke else 5,
    data=data(
      "sst2",
      vocabulary_size=WORDS,
      length=LENGTH,
      limit=64 if smoke else 0,
      pipelines={"train": {"text": "token_dropout(rate=0.1)"}},
    ),
    stages={
      "teacher": stage(large, terms=labels(), **training(600)),
      "alone": stage(small, terms=labels(), **training(1000)),
      "distilled": stage(
        small,
        teachers={"teacher": teacher("teacher")},
        terms=labels(0.1) | kd,
        **training(1000),
      ),
    },
    gains=(("distilled", "alone"),),
  )
