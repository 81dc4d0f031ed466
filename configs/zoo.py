"""Every method of the zoo, with one teacher, three seeds and one budget.

Which method when: all of `kdjax/methods`, on the digits of configs/digits.py,
where everybody has the same three labels a class. A network that sees image
and hint (`senses`) teaches a teacher of each family on pairs without labels;
these see the image alone (the towers: image and hint), are larger than the
students, and know more than the labels say.

  senses     image and hint; cross-entropy on the labelled
  teacher    conv 32-64; taught by `senses`; teaches conv 16-32 students
  alone      conv 16-32; cross-entropy on the labelled
  <method>   the same network, from the teacher

  sight-*    the same for methods of Transformers: depth 4 teaches depth 2
  towers-*   the same for methods of two towers, image and text

  kdjax run --config=configs/zoo.py --workdir=runs/zoo
  kdjax run --config=configs/zoo.py:smoke --workdir=runs/zoo-smoke

Weights and schedules are the papers'; where one is not, `CHANGED` says why. The
report ends in a table and a figure of the methods by their gain over the
student alone.

To expect, of three seeds: teacher .883 +- .013, alone .718 +- .062, kd .873 +-
.009, and what the README lists of the others; 21 minutes on two CPU
cores.
"""

from kdjax.config import (
  ConfigDict,
  data,
  experiment,
  extended,
  kind_of,
  method,
  methods,
  mode_of,
  network,
  optimizer,
  schedule,
  stage,
  teacher,
  term,
)

CLASSES = 10
# Ids of the words of the training hints; `data/digits.py` says which.
WORDS = 17

# Of an image, for the methods that read more than one.
VIEWS = ("strong", "rotate90", "rotate180", "rotate270", "masked")

# method -> its options that differ from the paper's, and why.
CHANGED: dict[str, tuple[dict, str]] = {
  "crd": (
    {"data_size": 1797, "negatives": 255},
    "Negatives in proportion: 255 of 1,797 examples.",
  ),
  "adversarial": (
    {"form": "least_squares"},
    "The least-squares form, whose game is bounded.",
  ),
  "clip_kd": ({"labels": 1.0}, "With labels beside: they train the classes."),
  "tinyclip": ({"labels": 1.0}, "With labels beside: they train the classes."),
}

# method -> the share of all steps of its last stage, and why.
SHORTER: dict[str, tuple[float, str]] = {
  "hallucination": (
    0.125,
    "Its last stage, labels alone, starts from a trained student: 100 steps.",
  ),
}

# method -> why it ends more than 3 points under the student alone.
REASONS: dict[str, str] = {
  "at": (
    "At its weight the maps are most of the loss, and cross-entropy falls more"
    " slowly than alone."
  ),
  "dark_rank": (
    "The ranks are learned by heart: the term falls in training and hardly on"
    " validation, and takes the embedding with it."
  ),
  "skd": (
    "Labels weigh 0.1 and the divergence, without T^2, a sixteenth of KD's: the"
    " direction term is nine tenths of the loss, and teaches no class."
  ),
}


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; the argument is "" or "smoke"."""
  smoke = mode_of(argument, "smoke") == "smoke"
  families = {
    "": (conv(16, 32), conv(32, 64), "classes"),
    "sight-": (sight(16, 2), sight(32, 4), "transformers"),
    "towers-": (towers(8), towers(24), "towers"),
  }
  training = lambda steps: {
    "steps": 20 if smoke else steps,
    "batch_size": 64,
    "optimizer": optimizer(
      "adamw",
      learning_rate=schedule("cosine", 3e-3, warmup=4 if smoke else 20),
      weight_decay=1e-2,
    ),
    "eval_every": 10 if smoke else 50,
    "log_every": 10,
    "save_every": 0,
  }
  labels = {"cross_entropy": term("cross_entropy", label_smoothing=0.1)}
  stages = {"senses": stage(senses(), terms=labels, **training(300))}
  gains, notes = [], {}
  for prefix, (student, larger, kind) in families.items():
    taught = stage(
      larger,
      terms=labels,
      teachers={"senses": teacher("senses")},
      **training(800),
    )
    kd = term("kd", reads={"teacher": "senses/logits"})
    stages[f"{prefix}teacher"] = extended(taught, {"kd": kd}, labels=0.1)
    alone = stage(student, terms=labels, **training(800))
    stages[f"{prefix}alone"] = alone
    base = extended(
      alone, {}, teachers={"teacher": teacher(f"{prefix}teacher")}
    )
    gains.append((f"{prefix}teacher", f"{prefix}alone"))
    for name in filter(lambda name: kind_of(name) == kind, methods()):
      changes, why = CHANGED.get(name, ({}, ""))
      made = method(name, base, **changes)
      share, shorter = SHORTER.get(name, (1.0, ""))
      made[name].steps = int(made[name].steps * share)
      stages |= made
      gains.append((name, f"{prefix}alone"))
      said = (why, shorter, REASONS.get(name, ""))
      notes[name] = " ".join(filter(None, said))
  return experiment(
    "zoo",
    seeds=2 if smoke else 3,
    data=data(
      "digits", labels_per_class=3, labelled_fraction=0.25, views=VIEWS
    ),
    stages=stages,
    gains=tuple(gains),
    notes={name: note for name, note in notes.items() if note},
  )


def senses() -> ConfigDict:
  """Image and hint."""
  return network(
    "fusion",
    encoders={
      "image": network("conv", dropout=0.2),
      "text": network(
        "text_transformer", vocabulary=WORDS, width=16, dropout=0.4
      ),
    },
    num_classes=CLASSES,
    dropout=0.1,
  )


def conv(*widths: int) -> ConfigDict:
  """A convolutional network of the image."""
  return network("conv", widths=widths, num_classes=CLASSES)


def sight(width: int, depth: int) -> ConfigDict:
  """A Transformer of the image."""
  return network(
    "patch_transformer",
    width=width,
    depth=depth,
    heads=2,
    num_classes=CLASSES,
  )


def towers(width: int) -> ConfigDict:
  """Image and hint apart, in one space."""
  return network(
    "two_tower",
    encoders={
      "image": network("conv", widths=(width, 2 * width)),
      "text": network("text_transformer", vocabulary=WORDS, width=width),
    },
    width=2 * width,
    num_classes=CLASSES,
  )
