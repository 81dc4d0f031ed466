"""CLIP-KD on your own pictures and captions, from a published CLIP to another.

Two checkpoints of Hugging Face, a large one that teaches and a small one that
goes on learning, on a table with a column `image` and a column `caption`. Each
network sees the picture as its own preprocessor_config.json says: the teacher's
is a view of its own, of another resolution. The words are cut once, by the
student's tokenizer, as all CLIPs of OpenAI's and LAION's cut them alike.

  alone      the student; CLIP's loss
  distilled  the same, with the terms of CLIP-KD

  kdjax run --config=configs/clip_kd.py --workdir=runs/clip-kd \
    --config.data.root=photos --config.data.table=photos/table.csv

Teacher and student are openai/clip-vit-large-patch14 and -base-patch32, of the
hub, or the argument: configs/clip_kd.py:teacher=checkpoints/mine,student=..
What a checkpoint says of itself is read when the run begins; nothing is
downloaded before.

No accelerator was at hand: it is run here on checkpoints of a few thousand
random parameters alone (`tests/test_starts.py`), and expects no number.
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
  chosen = {"teacher": TEACHER, "student": STUDENT}
  for part in argument.split(",") if argument else ():
    key, _, path = part.partition("=")
    chosen[mode_of(key, *chosen)] = path
  student = network("clip", pretrained=chosen["student"])
  towers = {
    "image": "student/image/embedding",
    "text": "student/text/embedding",
    "scale": "student/scale",
  }
  found = {"query": towers["image"], "key": towers["text"]}
  knobs = {
    "steps": 2000,
    "batch_size": 64,
    "optimizer": optimizer(
      "adamw",
      learning_rate=schedule("cosine", 1e-5, warmup=100),
      weight_decay=0.1,
    ),
    "metrics": {"retrieval": metric("retrieval", reads=found)},
    "select": "mean_recall",
    "eval_every": 200,
    "log_every": 20,
    "save_every": 200,
  }
  taught = stage(
    student,
    teachers={"teacher": frozen(network("clip", pretrained=chosen["teacher"]))},
    terms={},
    **knobs,
  )
  seen = lambda key: {"image": f"to_float|published(path='{chosen[key]}')"}
  return experiment(
    "clip-kd",
    seeds=1,
    data=data(
      "manifest",
      columns={"image": "image", "text": "caption"},
      image_size=(PIXELS, PIXELS),
      tokenizer=chosen["student"],
      length=LENGTH,
      pipelines={
        "train": seen("student"),
        "evaluation": seen("student"),
        "large": seen("teacher"),
      },
    ),
    stages={
      "alone": stage(
        student, terms={"clip": term("clip", reads=towers)}, **knobs
      ),
      **method(
        "clip_kd",
        taught,
        called="distilled",
        teacher_image="teacher@large/image/embedding",
        teacher_text="teacher@large/text/embedding",
        teacher_scale="teacher@large/scale",
      ),
    },
    gains=(("distilled", "alone"),),
  )
