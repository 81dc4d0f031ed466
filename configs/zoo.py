"""The zoo: all methods on one task, with one teacher and one budget.

All of `kdjax/methods`, on the digits of configs/digits.py with the same three
labels per class. A network with image and hint (`senses`) teaches the teacher
of each family, on pairs without labels. The teachers read the image alone (the
towers: image and hint) and are larger than the students.

  senses     image and hint; cross-entropy on labelled pairs
  teacher    conv 32-64, distilled from `senses`; teaches conv 16-32 students
  alone      conv 16-32; cross-entropy on labelled pairs
  <method>   conv 16-32, with the method

  sight-*    the same for methods for Transformers: depth 4 teaches depth 2
  towers-*   the same for methods for two towers, image and text

  kdjax run --config=configs/zoo.py --workdir=runs/zoo
  kdjax run --config=configs/zoo.py:smoke --workdir=runs/zoo-smoke

Weights and schedules are the papers', but for those in `CHANGED` and `SHORTER`,
with the reason. The report has a table and a figure of all methods by their
gain over the student alone.

Expected accuracy, 3 seeds, an hour beside other work: teacher 0.883 ± 0.013,
alone 0.718 ± 0.062, kd 0.873 ± 0.009; all others are in
kdjax/methods/README.md.
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
# Size of the vocabulary of the training hints; see `kdjax/data/digits.py`.
WORDS = 17

# Further views of an image, for the methods that read several.
VIEWS = ("strong", "rotate90", "rotate180", "rotate270", "masked")

# method -> its options that differ from the paper's, and the reason.
CHANGED: dict[str, tuple[dict, str]] = {
  "agglomerative": (
    {"labels": 1.0},
    "With labels beside: they train the classifier.",
  ),
  "crd": (
    {"data_size": 1797, "negatives": 255},
    "Negatives in proportion: 255 of 1,797 examples.",
  ),
  "adversarial": (
    {"form": "least_squares"},
    "The least-squares form, whose game is bounded.",
  ),
  "clip_kd": ({"labels": 1.0}, "With labels beside: they train the classes."),
  "matryoshka": (
    {"labels": 1.0},
    "With labels beside: they train the classes.",
  ),
  "seed": (
    {"labels": 1.0, "size": 1024},
    "With labels beside, and a queue of 1,024 embeddings.",
  ),
  "tinyclip": ({"labels": 1.0}, "With labels beside: they train the classes."),
}

# method -> its last stage's fraction of the steps, and the reason.
SHORTER: dict[str, tuple[float, str]] = {
  "hallucination": (
    0.125,
    "Its last stage, labels alone, starts from a trained student: 100 steps.",
  ),
}

# method -> the reason why it is more than 3 points below the student alone.
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
    "sight-": (transformer(16, 2), transformer(32, 4), "transformers"),
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
  stages = {"senses": stage(fusion(), terms=labels, **training(300))}
  gains, notes = [], {}
  for prefix, (student, larger, kind) in families.items():
    larger_alone = stage(
      larger,
      terms=labels,
      teachers={"senses": teacher("senses")},
      **training(800),
    )
    kd = term("kd", reads={"teacher": "senses/logits"})
    stages[f"{prefix}teacher"] = extended(larger_alone, {"kd": kd}, labels=0.1)
    alone = stage(student, terms=labels, **training(800))
    stages[f"{prefix}alone"] = alone
    base = extended(
      alone, {}, teachers={"teacher": teacher(f"{prefix}teacher")}
    )
    gains.append((f"{prefix}teacher", f"{prefix}alone"))
    for name in filter(lambda name: kind_of(name) == kind, methods()):
      changes, why = CHANGED.get(name, ({}, ""))
      method_stages = method(name, base, **changes)
      share, shorter = SHORTER.get(name, (1.0, ""))
      last = method_stages[name]
      last.steps = int(last.steps * share)
      stages |= method_stages
      gains.append((name, f"{prefix}alone"))
      remarks = (why, shorter, REASONS.get(name, ""))
      notes[name] = " ".join(filter(None, remarks))
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


def fusion() -> ConfigDict:
  """A network with image and hint."""
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
  """A convolutional network for images."""
  return network("conv", widths=widths, num_classes=CLASSES)


def transformer(width: int, depth: int) -> ConfigDict:
  """A Transformer for images."""
  return network(
    "patch_transformer",
    width=width,
    depth=depth,
    heads=2,
    num_classes=CLASSES,
  )


def towers(width: int) -> ConfigDict:
  """An image and a text encoder with one embedding space."""
  return network(
    "two_tower",
    encoders={
      "image": network("conv", widths=(width, 2 * width)),
      "text": network("text_transformer", vocabulary=WORDS, width=width),
    },
    width=2 * width,
    num_classes=CLASSES,
  )
