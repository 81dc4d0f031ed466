"""A student that sees a digit learns from a teacher that also reads a hint.

Data: 1,797 real handwritten digits (scikit-learn's), each with an English hint
that states three facts about it, one in ten of them wrong. Everybody has the
same three labels a class, which each seed draws anew; 1,167 more pairs of digit
and hint carry none. The hints are the whole advantage: their facts are so
simple that few labels suffice to use them.

  teacher    image and hint; cross-entropy on the labelled
  alone      image; cross-entropy on the labelled
  distilled  image; that, and what the teacher says of all pairs

  kdjax run --config=configs/digits.py --workdir=runs/digits
  kdjax run --config=configs/digits.py:smoke --workdir=runs/smoke
  kdjax run --config=configs/digits.py:control --workdir=runs/control
  kdjax run --config=configs/digits.py:method=rkd --workdir=runs/rkd

To expect, of five seeds on two CPU cores: teacher .841 +- .016, alone
.822 +- .035, distilled .901 +- .011, gain +.080 +- .017, in 41 s.

`smoke` is two seeds of a few steps, to see that it runs. `control` adds the
stage `echoed`: the same student distilled from the student alone, which has no
hints. It gains +.013 +- .003: what unlabelled images and soft labels give by
themselves. `method=<name>` puts a method of `kdjax list methods` in the place
of `distilled`, one that is for any networks of classes.
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
# Ids of the words of the training hints; `data/digits.py` says which.
WORDS = 17


# Of an image, for the methods that read more than one.
VIEWS = ("strong", "rotate90", "rotate180", "rotate270")

# Where methods find the teacher's maps: inside of the encoder that sees.
SIGHT = "teacher/image/"
NORMS = "teacher/params/encoders_image/"
TAPS = {
  "teacher_map": f"{SIGHT}stage1",
  "teacher_maps": (f"{SIGHT}stage0", f"{SIGHT}stage1"),
  "teacher_preacts": (f"{SIGHT}preact0", f"{SIGHT}preact1"),
  "teacher_norms": (f"{NORMS}norm0", f"{NORMS}norm1"),
}
# These put the teacher's classifier on what they match: its joint embedding.
CLASSIFIED = {"teacher_map": "teacher/embedding"}


def get_config(argument: str = "") -> ConfigDict:
  """The experiment; "", "smoke", "control" or "method=<name>"."""
  chosen = argument.partition("method=")[2]
  mode = "" if chosen else mode_of(argument, "smoke", "control")
  smoke = mode == "smoke"
  student = network("conv", num_classes=CLASSES, dropout=0.1)
  # Thirty labels are soon learned by heart: dropout on both senses keeps
  # either from being the only one that is used.
  senses = {
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

  def taught_by(name):
    # The teacher has seen the labels too: it says most of what they do.
    kd = {"kd": term("kd", temperature=4.0)}
    return stage(
      student,
      teachers={"teacher": teacher(name)},
      terms={**labels(weight=0.1), **kd},
      **training(600),
    )

  stages = {
    "teacher": stage(
      network("fusion", encoders=senses, num_classes=CLASSES, dropout=0.1),
      terms=labels(),
      **training(300),
    ),
    "alone": stage(student, terms=labels(), **training(600)),
    "distilled": taught_by("teacher"),
  }
  if mode == "control":
    stages["echoed"] = taught_by("alone")
  gains = [("distilled", "alone")]
  if chosen:
    base = extended(
      stages["alone"], {}, teachers={"teacher": teacher("teacher")}
    )
    classified = "classifier" in methods().get(chosen, ())
    taps = TAPS | (CLASSIFIED if classified else {})
    del stages["distilled"]
    stages |= method(chosen, base, taps=taps)
    gains = [(list(stages)[-1], "alone")]
  if mode == "control":
    gains += [("echoed", "alone"), ("distilled", "echoed")]
  return experiment(
    "digits",
    seeds=2 if smoke else 5,
    # A quarter of a batch is labelled, though 30 examples of 1,197 are.
    data=data(
      "digits",
      labels_per_class=3,
      labelled_fraction=0.25,
      views=VIEWS if chosen else (),
    ),
    stages=stages,
    gains=tuple(gains),
  )
