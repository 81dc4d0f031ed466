"""Which network reads which modality, in two sizes, after which transforms."""

from typing import Any

from kdjax.new.facts import Facts, Modality
from kdjax.new.source import Call, Name

# kind -> the modality that its network reads without being told.
DEFAULTS = {
  "image": "image",
  "audio": "audio",
  "text": "text",
  "series": "sequence",
}
# Fewer labelled examples a class: sensors are read by their statistics.
FEW = 50
# Bands of a spectrogram, and frequencies of a series.
MELS, FREQUENCIES = 40, 16


def encoder(
  modality: Modality, facts: Facts, *, large: bool, **options: Any
) -> Call:
  """The network of a modality.

  Args:
    modality: that it reads.
    facts: of the data.
    large: whether it is a teacher's; a student's is smaller.
    **options: further ones, such as num_classes.
  """
  kind, key = modality.kind, modality.key
  if modality.checkpoint:
    name, path = modality.checkpoint
    options = {"still": True, "cache": "auto", "modality": key}
    return Call("network", name, pretrained=path, **options)
  if kind == "image":
    deep = min(modality.shape[:2]) > 16
    widths = (32, 64, 128) if deep else (32, 64)
    name, own = "conv", {"widths": widths if large else _half(widths)}
    options = {**own, **options, "dropout": 0.2 if large else 0.1}
  elif kind == "audio":
    widths = (32, 64) if large else (16, 32)
    name, options = "audio_cnn", {"widths": widths, **options, "dropout": 0.2}
  elif kind == "text":
    own = {"vocabulary": Name("WORDS"), "channels": 64 if large else 16}
    name, options = "text_cnn", {**own, **options, "dropout": 0.5}
  elif kind == "sequence" and not by_statistics(facts):
    widths = (32, 64, 64) if large else (16, 32, 32)
    name, options = "series_cnn", {"widths": widths, **options, "dropout": 0.2}
    kind = "series"
  else:
    widths = (128, 128) if large else (32, 32)
    own = {"widths": widths, "normalize": True}
    if large:
      own["dropout"] = 0.3
    name, options = "mlp", {**own, **options}
    kind = "vector"
  if DEFAULTS.get(kind) != key:
    options["modality"] = key
  return Call("network", name, **options)


def _half(widths: tuple[int, ...]) -> tuple[int, ...]:
  return tuple(width // 2 for width in widths)


def by_statistics(facts: Facts) -> bool:
  """Whether labels are too few for a network over the steps of a series."""
  each = facts.labelled["train"] / max(len(facts.classes), 1)
  return each < FEW


def pipelines(facts: Facts, modalities: tuple[Modality, ...]) -> dict[str, Any]:
  """view -> modality -> transforms; "once" is before all steps."""
  once, train = {}, {}
  for it in modalities:
    if it.checkpoint:
      if it.kind == "image":
        once[it.key] = f"published(path='{it.checkpoint[1]}')"
    elif it.kind == "image":
      padding = max(1, min(it.shape[:2]) // 8)
      train[it.key] = f"to_float|crop(padding={padding})"
    elif it.kind == "audio":
      once[it.key] = f"{_log_mel(facts)}|dynamic_range"
      train[it.key] = "spec_augment(time_width=8, frequency_width=5, fill=-1.0)"
    elif it.kind == "text":
      train[it.key] = "token_dropout(rate=0.1)"
    elif it.kind == "sequence" and by_statistics(facts):
      highest = min(FREQUENCIES, it.shape[0] // 2)
      once[it.key] = f"statistics(frequencies={highest})"
  mean, deviation = facts.scale
  if facts.task == "target" and not _is_standard(mean, deviation):
    once["target"] = f"normalize(mean=({mean:.6g},), std=({deviation:.6g},))"
  views = {"once": once, "train": train}
  return {view: texts for view, texts in views.items() if texts}


def _is_standard(mean: float, deviation: float) -> bool:
  """Whether a target has numbers that a network predicts as they are."""
  return (abs(mean) <= 3 and 0.2 <= deviation <= 3) or not deviation


def _log_mel(facts: Facts) -> str:
  """The spectrogram of windows of 25 to 32 ms, 10 or 20 ms apart."""
  if facts.options.get("sample_rate", 16000) == 16000:
    return f"log_mel(mels={MELS})"
  return f"log_mel(sample_rate=8000, window=256, mels={MELS})"
