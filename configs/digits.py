"""Digits."""

from kdjax.config import (
  data,
  experiment,
  network,
  optimizer,
  schedule,
  stage,
  teacher,
  term,
)


def get_config(arg: str = ""):
  smoke = arg == "smoke"
  encoder = network("conv", widths=(16, 32))
  student = network("conv", widths=(16, 32), num_classes=10)
  common = dict(
    steps=40 if smoke else 300,
    batch_size=64,
    optimizer=optimizer(
      learning_rate=schedule("cosine", 3e-3, warmup=20), weight_decay=1e-2
    ),
    eval_every=20 if smoke else 50,
    log_every=10,
    save_every=20 if smoke else 100,
  )
  ce = term("cross_entropy")
  return experiment(
    "digits",
    seeds=2 if smoke else 5,
    data=data("digits", labelled_fraction=0.25),
    stages={
      "teacher": stage(
        network(
          "fusion",
          num_classes=10,
          encoders={
            "image": encoder,
            "text": network("text_transformer", vocabulary=30),
          },
        ),
        terms={"cross_entropy": ce},
        **common,
      ),
      "alone": stage(student, terms={"cross_entropy": ce}, **common),
      "distilled": stage(
        student,
        teachers={"teacher": teacher("teacher")},
        terms={"cross_entropy": ce, "kd": term("kd")},
        **common,
      ),
    },
    gains=(("distilled", "alone"),),
  )
