"""Captions: the teacher sees a picture and reads keywords, the student sees it.

Encoder-decoders write the names of emoji, word by word. The teacher's encoders
read the picture and the keywords that people gave it, a privileged text; the
student reads the picture alone. Pictures of the test split have names that are
not in training.

On the test split, CIDEr-D, BLEU-4 and ROUGE-L; "nearest" is the name of the
training picture with the nearest pixels:

  nearest   0.757  0.171  0.224

  teacher   picture and keywords; cross-entropy with the names
  alone     picture; the same
  token     and KD at each word of the names (`token_kd`)
  sequence  and the names that the teacher's beam search writes (`sequence_kd`)
  on_policy and KD on names that the student samples (`gkd`)

  kdjax run --config=configs/caption.py --workdir=runs/caption \
    --config.data.root=data
  kdjax run --config=configs/caption.py:smoke --workdir=runs/caption-smoke \
    --config.data.root=data
"""

from kdjax.config import (
  ConfigDict,
  data,
  experiment,
  extended,
  method,
  metric,
  mode_of,
  network,
  optimizer,
  schedule,
  stage,
  teacher,
  term,
)

# Ids of words: in names of training pictures, and in keywords at most.
NAMES, WORDS = 1249, 4000

LENGTH = 10  # words of a text

# Every way to distil, and the stage without.
DISTILLED, ALONE = ("token", "sequence", "on_policy"), "alone"


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; "smoke" is a short one."""
  smoke = mode_of(argument, "smoke") == "smoke"
  keywords = network(
    "text_transformer",
    vocabulary=WORDS,
    width=64,
    length=LENGTH,
    dropout=0.1,
    modality="keywords",
  )
  label = term(
    "cross_entropy", reads={"label": "batch/text"}, label_smoothing=0.1
  )
  training = {"terms": {"cross_entropy": label}, **_training(smoke)}
  alone = stage(_writer(depth=1), **training)
  base = extended(alone, {}, teachers={"teacher": teacher("teacher")})
  token, sequence, on_policy = DISTILLED
  return experiment(
    "caption",
    seeds=2 if smoke else 3,
    data=data(
      "emoji",
      size=32,
      vocabulary_size=WORDS,
      length=LENGTH,
      apart=True,
      limit=64 if smoke else 0,
      pipelines={
        "train": {
          # Names say colours, and left and right: neither is changed.
          "image": "to_float|crop(padding=2, mode='reflect')",
          "keywords": "token_dropout(rate=0.2)",
        },
      },
    ),
    stages={
      "teacher": stage(_writer(depth=2, keywords=keywords), **training),
      ALONE: alone,
      **method("token_kd", base, labels=1.0, called=token),
      **method("sequence_kd", base, labels=1.0, called=sequence),
      **method("gkd", base, labels=1.0, called=on_policy),
    },
    show=("bleu4", "rouge_l", "exact_match", "perplexity"),
    gains=tuple((name, ALONE) for name in DISTILLED),
  )


def _writer(*, depth: int, **encoders: ConfigDict) -> ConfigDict:
  """A network that writes names of pictures."""
  return network(
    "encoder_decoder",
    encoders={"image": network("conv", widths=(16, 32, 64)), **encoders},
    vocabulary=NAMES,
    width=64,
    depth=depth,
    length=LENGTH,
    dropout=0.1,
  )


def _training(smoke: bool) -> dict:
  texts = {"generated": "student/greedy", "reference": "batch/text"}
  forced = {"student": "student/logits", "text": "batch/text"}
  return {
    "steps": 10 if smoke else 1200,
    "batch_size": 64,
    "optimizer": optimizer(
      "adamw",
      learning_rate=schedule("cosine", 4e-3, warmup=5 if smoke else 50),
      weight_decay=5e-2,
    ),
    "metrics": {
      "captions": metric("captions", reads=texts),
      "perplexity": metric("perplexity", reads=forced),
    },
    "select": "cider_d",
    "eval_every": 5 if smoke else 150,
    "log_every": 5 if smoke else 30,
    "save_every": 0 if smoke else 600,
  }
