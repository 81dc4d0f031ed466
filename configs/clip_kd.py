"""CLIP-KD on your own images and captions, between two published CLIPs.

A large Hugging Face checkpoint is the teacher, a small one is the student and
is trained further, on a table with the columns `image` and `caption`. Each
network reads images preprocessed by its own preprocessor_config.json: the
teacher's are a second view with another resolution. Captions are tokenised
once, by the student's tokenizer; OpenAI's and LAION's CLIPs share one.

  alone      the student; CLIP's loss
  distilled  the student; CLIP's loss and the terms of CLIP-KD

  kdjax run --config=configs/clip_kd.py --workdir=runs/clip-kd \
    --config.data.root=photos --config.data.table=photos/table.csv

Teacher and student are openai/clip-vit-large-patch14 and -base-patch32 from
the hub, or the argument: configs/clip_kd.py:teacher=checkpoints/mine,student=..
Checkpoints are read, and downloaded, when the run begins.

No expected numbers: it is tested only with checkpoints of a few thousand
random parameters (`tests/test_initialization.py`), as it needs an accelerator.
"""

from kdjax.config import (
  ConfigDict,
  data,
  experiment,
  frozen,
  method,
  metric,
  mode_of,
  network,
  optimizer,
  schedule,
  stage,
  term,
)

TEACHER = "openai/clip-vit-large-patch14"
STUDENT = "openai/clip-vit-base-patch32"
LENGTH, PIXELS = 77, 256


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; "teacher=..,student=.." are checkpoints."""
  checkpoints = {"teacher": TEACHER, "student": STUDENT}
  for part in argument.split(",") if argument else ():
    key, _, path = part.partition("=")
    checkpoints[mode_of(key, *checkpoints)] = path
  student = network("clip", pretrained=checkpoints["student"])
  towers = {
    "image": "student/image/embedding",
    "text": "student/text/embedding",
    "scale": "student/scale",
  }
  pair = {"query": towers["image"], "key": towers["text"]}
  knobs = {
    "steps": 2000,
    "batch_size": 64,
    "optimizer": optimizer(
      "adamw",
      learning_rate=schedule("cosine", 1e-5, warmup=100),
      weight_decay=0.1,
    ),
    "metrics": {"retrieval": metric("retrieval", reads=pair)},
    "select": "mean_recall",
    "eval_every": 200,
    "log_every": 20,
    "save_every": 200,
  }
  teacher = frozen(network("clip", pretrained=checkpoints["teacher"]))
  base = stage(
    student,
    teachers={"teacher": teacher},
    terms={},
    **knobs,
  )
  images = lambda role: {
    "image": f"to_float|published(path='{checkpoints[role]}')"
  }
  return experiment(
    "clip-kd",
    seeds=1,
    data=data(
      "manifest",
      columns={"image": "image", "text": "caption"},
      image_size=(PIXELS, PIXELS),
      tokenizer=checkpoints["student"],
      length=LENGTH,
      pipelines={
        "train": images("student"),
        "evaluation": images("student"),
        "large": images("teacher"),
      },
    ),
    stages={
      "alone": stage(
        student, terms={"clip": term("clip", reads=towers)}, **knobs
      ),
      **method(
        "clip_kd",
        base,
        called="distilled",
        teacher_image="teacher@large/image/embedding",
        teacher_text="teacher@large/text/embedding",
        teacher_scale="teacher@large/scale",
      ),
    },
    gains=(("distilled", "alone"),),
  )
