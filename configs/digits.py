"""Digits: an image student, and a teacher that also reads an English hint.

Data: 1,797 real handwritten digits (scikit-learn's), each with an English hint
that states three facts about it; one fact in ten is wrong. All networks have
the same three labels per class, drawn by each seed; 1,167 more pairs of digit
and hint have no label. The hints are the teacher's only advantage: their facts
are simple enough to be learned from few labels.

  teacher    image and hint; cross-entropy on labelled pairs
  alone      image; cross-entropy on labelled pairs
  distilled  image; cross-entropy, and KD on all pairs

  kdjax run --config=configs/digits.py --workdir=runs/digits
  kdjax run --config=configs/digits.py:smoke --workdir=runs/smoke
  kdjax run --config=configs/digits.py:control --workdir=runs/control
  kdjax run --config=configs/digits.py:method=rkd --workdir=runs/rkd

Expected accuracy on 400 test digits, 5 seeds, 41 s on two CPU cores: teacher
0.841 ± 0.016, alone 0.822 ± 0.035, distilled 0.901 ± 0.011, gain +0.080 ±
0.017, better in 5 of 5 seeds.

`smoke` is two seeds of a few steps, to see that it runs. `control` adds the
stage `echoed`: the same student distilled from the student alone, without
hints. It gains +0.013 ± 0.003: the part of unlabelled images and soft labels.
`method=<name>` replaces `distilled` by a method of `kdjax list methods` for
classifiers.
"""

from kdjax.config import (
  ConfigDict,
  data,
  experiment,
  extended,
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
VIEWS = ("strong", "rotate90", "rotate180", "rotate270")

# Addresses of the teacher's maps: outputs of its image encoder.
ENCODER = "teacher/image/"
NORMS = "teacher/params/encoders_image/"
TAPS = {
  "teacher_map": f"{ENCODER}stage1",
  "teacher_maps": (f"{ENCODER}stage0", f"{ENCODER}stage1"),
  "teacher_preacts": (f"{ENCODER}preact0", f"{ENCODER}preact1"),
  "teacher_norms": (f"{NORMS}norm0", f"{NORMS}norm1"),
}
# Methods that apply the teacher's classifier match its joint embedding.
CLASSIFIED = {"teacher_map": "teacher/embedding"}


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; "", "smoke", "control" or "method=<name>"."""
  method_name = argument.partition("method=")[2]
  mode = "" if method_name else mode_of(argument, "smoke", "control")
  smoke = mode == "smoke"
  student = network("conv", num_classes=CLASSES, dropout=0.1)
  # Dropout on both modalities: 30 labels are easy to overfit, and without it
  # the network may use one modality alone.
  encoders = {
    "image": network("conv", dropout=0.2),
    "text": network(
      "text_transformer", vocabulary=WORDS, width=16, dropout=0.4
    ),
  }
  labels = lambda weight=1.0: {
    "cross_entropy": term("cross_entropy", weight=weight, label_smoothing=0.1)
  }

  def training(steps):
    return {
      "steps": 40 if smoke else steps,
      "batch_size": 64,
      "optimizer": optimizer(
        "adamw",
        learning_rate=schedule("cosine", 3e-3, warmup=20),
        weight_decay=1e-2,
      ),
      "eval_every": 20 if smoke else 50,
      "log_every": 10,
      "save_every": 20 if smoke else 100,
    }

  def distilled_from(name):
    # A low weight for labels: the teacher was trained on the same ones.
    kd = {"kd": term("kd", temperature=4.0)}
    return stage(
      student,
      teachers={"teacher": teacher(name)},
      terms={**labels(weight=0.1), **kd},
      **training(600),
    )

  stages = {
    "teacher": stage(
      network("fusion", encoders=encoders, num_classes=CLASSES, dropout=0.1),
      terms=labels(),
      **training(300),
    ),
    "alone": stage(student, terms=labels(), **training(600)),
    "distilled": distilled_from("teacher"),
  }
  if mode == "control":
    stages["echoed"] = distilled_from("alone")
  gains = [("distilled", "alone")]
  if method_name:
    base = extended(
      stages["alone"], {}, teachers={"teacher": teacher("teacher")}
    )
    classified = "classifier" in methods().get(method_name, ())
    taps = TAPS | (CLASSIFIED if classified else {})
    del stages["distilled"]
    stages |= method(method_name, base, taps=taps)
    gains = [(list(stages)[-1], "alone")]
  if mode == "control":
    gains += [("echoed", "alone"), ("distilled", "echoed")]
  return experiment(
    "digits",
    seeds=2 if smoke else 5,
    # A quarter of each batch is labelled; of the 1,197 examples, 30 are.
    data=data(
      "digits",
      labels_per_class=3,
      labelled_fraction=0.25,
      views=VIEWS if method_name else (),
    ),
    stages=stages,
    gains=tuple(gains),
  )
