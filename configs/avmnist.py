"""Digits as image and audio (AV-MNIST-style); students with one modality.

MNIST images keep 23 % of their variance; FSDD recordings have ESC-10 noise at
10 dB. A teacher with both modalities is trained on the few labelled pairs.
Students with one modality learn from it on all pairs.

  teacher       image and audio; each is dropped from a tenth of the examples
  image-alone   image; cross-entropy on labelled pairs
  image         image; cross-entropy, and KD on all pairs
  image-echoed  the same from the image student alone: self-distillation
  audio-..      the same three for audio

The report has robustness curves of the stages: a modality is missing more and
more often, or has more noise than in training.

  kdjax run --config=configs/avmnist.py --workdir=runs/avmnist \
    --config.data.root=data
  kdjax run --config=configs/avmnist.py:why --workdir=runs/avmnist-why \
    --config.data.root=data
  kdjax run --config=configs/avmnist.py:smoke --workdir=runs/avmnist-smoke \
    --config.data.root=data

The folder holds `mnist`, `fsdd` and `esc10_noise`, see `kdjax/data/avmnist.py`.

Expected accuracy on 4,000 test pairs, 5 labels a class on 4,000 training pairs,
5 seeds, 7 minutes beside other work on two CPU cores; gains are paired by seed,
with the 95 % t interval:

             teacher        alone          distilled      echoed
  image      0.486 ± 0.026  0.400 ± 0.014  0.414 ± 0.009  0.400 ± 0.011
  audio                     0.255 ± 0.016  0.328 ± 0.007  0.252 ± 0.017

             over alone                   over echoed
  image      +0.015 [-0.009, +0.038]      +0.015 [-0.003, +0.033]
  audio      +0.073 [+0.047, +0.100]      +0.076 [+0.049, +0.102]

Before, it had 50 labels a class, a finer spectrogram with masks, of which the
teacher made little (0.426 with 5 labels, 0.486 now), a CNN of images, and
labels at a weight of 0.1: to image -0.014 ± 0.006, to audio +0.012 ± 0.004.

With 50 labels a class an image student can hardly gain, and `why` shows it.
Accuracy of image students on 4,000 test pairs, 4,000 training pairs with 500
labels, 3 seeds, 600 steps; gains over the same student alone:

                                           CNN, 5 k         MLP, 55 k
  alone                                    0.431            0.487
  KD, T = 4, labels weigh 0.1              -0.014 ± 0.004   -0.030 ± 0.005
  KD, T = 4, labels weigh 1                -0.003 ± 0.003   +0.006 ± 0.004
  KD, T = 2, labels weigh 1                -0.001 ± 0.003   +0.005 ± 0.005
  KD, T = 1, labels weigh 1                +0.001 ± 0.002   +0.005 ± 0.003
  distilled from itself, T = 2             -0.002 ± 0.001   +0.001 ± 0.001
  the ceiling: labels of all 4,000 pairs   +0.012 ± 0.001   +0.026 ± 0.002

- The ceiling is near: an image is three numbers, and 500 labels teach most of
  what they say. No teacher can give what is not in the image.
- The CNN is the wrong network: it takes the mean over places. It is also
  under-trained, as 2,000 steps in place of 600 give it +0.032 ± 0.003.
- Labels that weigh 0.1 cost most: the teacher was trained on the same labels,
  and is right on 0.544 of the test pairs alone.
- The teacher's confidence is not the reason: one with an average of its
  parameters, chosen by its NLL on validation, gives -0.002 ± 0.002 to the CNN
  at T = 2. Neither are augmentations: without any, KD gives -0.015 ± 0.005.
"""

from kdjax.config import (
  ConfigDict,
  corruption,
  data,
  experiment,
  mode_of,
  network,
  optimizer,
  schedule,
  stage,
  teacher,
  term,
)

CLASSES = 10

# At 8 kHz: windows of 64 ms every 40 ms; then log magnitudes from -1 to 1.
AUDIO = (
  "to_wave|log_mel(sample_rate=8000, window=512, hop=320, mels=16)"
  "|dynamic_range"
)

# Images are sums of three components: their pixels' places tell the digit, and
# a CNN that means over places does not see them (`why`).
NETS = {
  "image": ("mlp", {"widths": (64, 64), "dropout": 0.1}),
  "audio": ("series_cnn", {"widths": (16, 32), "modality": "audio"}),
}


def get_config(argument: str = "few") -> ConfigDict:
  """The experiment: "few", "why" or "smoke"."""
  mode = mode_of(argument, "few", "why", "smoke") or "few"
  if mode == "why":
    return _why()
  smoke = mode == "smoke"
  labels = {"cross_entropy": term("cross_entropy", label_smoothing=0.1)}
  training = {
    "steps": 10 if smoke else 600,
    "optimizer": optimizer(
      "adamw",
      learning_rate=schedule("cosine", 3e-3, warmup=5 if smoke else 20),
      weight_decay=1e-2,
    ),
    "eval_every": 5 if smoke else 100,
    "log_every": 5 if smoke else 100,
    "save_every": 0,
  }

  def taught(modality, source):
    """A student with one modality, distilled."""
    return stage(
      network(NETS[modality][0], num_classes=CLASSES, **NETS[modality][1]),
      teachers={"teacher": teacher(source)},
      terms={**labels, "kd": term("kd", temperature=4.0)},
      robustness=_noisy(modality, smoke),
      **training,
    )

  stages = {
    "teacher": stage(
      _fusion(),
      terms=labels,
      robustness=_missing("image", smoke)
      | _missing("audio", smoke)
      | _noisy("image", smoke)
      | _noisy("audio", smoke),
      **training,
    )
  }
  for modality, (name, options) in NETS.items():
    alone = f"{modality}-alone"
    stages[alone] = stage(
      network(name, num_classes=CLASSES, **options),
      terms=labels,
      robustness=_noisy(modality, smoke),
      **training,
    )
    stages[modality] = taught(modality, "teacher")
    stages[f"{modality}-echoed"] = taught(modality, alone)
  return experiment(
    f"avmnist-{mode}",
    seeds=2 if smoke else 5,
    data=data(
      "avmnist",
      snr=10.0,
      labels_per_class=2 if smoke else 5,
      labelled_fraction=0.25,
      limit=640 if smoke else 4000,
      pipelines={"train": {"audio": AUDIO}, "evaluation": {"audio": AUDIO}},
    ),
    stages=stages,
    gains=tuple(
      (better, worse)
      for one in NETS
      for better, worse in (
        (one, f"{one}-alone"),
        (one, f"{one}-echoed"),
        (f"{one}-echoed", f"{one}-alone"),
      )
    ),
  )


def _fusion(**image) -> ConfigDict:
  """The teacher, with an image network of its own or that of `NETS`."""
  encoders = {name: network(net, **of) for name, (net, of) in NETS.items()}
  return network(
    "fusion",
    encoders=encoders | image,
    num_classes=CLASSES,
    dropout=0.2,
    modality_dropout=0.1,
  )


def _why() -> ConfigDict:
  """Hypotheses on the image student, each a stage of its own."""
  labels = {"cross_entropy": term("cross_entropy", label_smoothing=0.1)}
  conv = network("conv", widths=(16, 32), num_classes=CLASSES, dropout=0.1)
  mlp = network("mlp", widths=(64, 64), num_classes=CLASSES, dropout=0.1)
  fused = _fusion(image=network("conv", widths=(16, 32), dropout=0.1))

  def knobs(steps, **changes):
    rule = optimizer(
      "adamw",
      learning_rate=schedule("cosine", 3e-3, warmup=20),
      weight_decay=1e-2,
    )
    return {
      "steps": steps,
      "optimizer": rule,
      "log_every": 100,
      "save_every": 0,
      **changes,
    }

  # Temperature and weight of the labels: the default, hotter and colder, and
  # labels that weigh as much as in the student alone.
  grid = {
    "kd/temperature": (4.0, 4.0, 2.0, 1.0),
    "cross_entropy/weight": (0.1, 1.0, 1.0, 1.0),
  }
  taught = lambda student, source="teacher", **changes: stage(
    student,
    teachers={"teacher": teacher(source, cache="auto")},
    terms={**labels, "kd": term("kd", temperature=2.0)},
    **knobs(600, **changes),
  )
  every_label = ConfigDict({"labels_per_class": 0, "labelled_fraction": None})
  # What this experiment had at first: a finer spectrogram, and augmentations.
  fine = {
    "audio": "to_wave|log_mel(sample_rate=8000, window=256, hop=160, mels=32)"
    "|dynamic_range"
  }
  masks = "spec_augment(time_width=8, frequency_width=5, fill=-1.0)"
  plain = ConfigDict({"pipelines": {"once": fine}})
  calm = knobs(600, ema_decay=0.98, select="nll", select_mode="min")
  stages = {
    "teacher": stage(fused, terms=labels, **knobs(600)),
    "calm-teacher": stage(fused, terms=labels, **calm),
    "alone": stage(conv, terms=labels, **knobs(600)),
    "image": taught(conv, grid=grid),
    "alone-long": stage(conv, terms=labels, **knobs(2000)),
    "image-calm": taught(conv, "calm-teacher"),
    "alone-plain": stage(conv, terms=labels, data=plain, **knobs(600)),
    "image-plain": taught(conv, data=plain),
    "self": taught(conv, "alone"),
    "ceiling": stage(conv, terms=labels, data=every_label, **knobs(600)),
    "mlp-alone": stage(mlp, terms=labels, **knobs(600)),
    "mlp": taught(mlp, grid=grid),
    "mlp-self": taught(mlp, "mlp-alone"),
    "mlp-ceiling": stage(mlp, terms=labels, data=every_label, **knobs(600)),
  }
  return experiment(
    "avmnist-why",
    seeds=3,
    data=data(
      "avmnist",
      snr=10.0,
      labels_per_class=50,
      labelled_fraction=0.25,
      limit=4000,
      augmentations=4,  # of each image, so that the teacher is computed once
      pipelines={
        "once": fine,
        "train": {"image": "crop(padding=2)", "audio": masks},
      },
    ),
    stages=stages,
    gains=(
      ("image", "alone"),
      ("alone-long", "alone"),
      ("image-calm", "alone"),
      ("image-plain", "alone-plain"),
      ("self", "alone"),
      ("ceiling", "alone"),
      ("mlp", "mlp-alone"),
      ("mlp-self", "mlp-alone"),
      ("mlp-ceiling", "mlp-alone"),
    ),
  )


def _missing(modality: str, smoke: bool) -> dict[str, ConfigDict]:
  """A modality that is missing in more and more examples."""
  levels = (0.0, 1.0) if smoke else (0.0, 0.5, 1.0)
  return {f"{modality} missing": corruption(modality, levels=levels)}


def _noisy(modality: str, smoke: bool) -> dict[str, ConfigDict]:
  """A modality with more noise than in training."""
  with_noise = AUDIO.replace("|", "|noise|", 1)
  pipeline = "noise" if modality == "image" else with_noise
  levels = (20, 0) if smoke else (20, 10, 0, -10)
  noise = corruption(modality, pipeline, sweeps="noise.snr", levels=levels)
  return {f"{modality} with noise, SNR in dB": noise}
