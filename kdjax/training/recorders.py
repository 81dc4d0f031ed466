"""Where the metrics of a stage are recorded beside metrics.jsonl.

The config's `records` names recorders. Each gets the scalars of a stage as they
are measured and, once it is finished, its numbers, images and embeddings.
"""

import contextlib
import dataclasses
import hashlib
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from tensorboardX import embedding, summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event

from kdjax.config.files import writing
from kdjax.errors import UserError

# The number of seeds in TensorBoard: each needs a file.
CURVES = 16

# The name that a finished stage's embeddings have.
EMBEDDINGS = "test_logits"

INSTALL_WANDB = 'pip install -e ".[wandb]"'


@dataclasses.dataclass(frozen=True)
class Finished:
  """What is recorded of a finished stage.

  Attributes:
    options: the numbers, words and switches of its config, by their paths.
    results: {seed: {metric: its value on test}}.
    images: u8 [N H W C] of test examples, with 1 or 3 channels, by modality.
    embeddings: f32 [M K], the first seed's test logits; None without.
    labels: of the rows of the embeddings, and what was predicted.
    step: the last one.
  """

  options: Mapping[str, Any]
  results: Mapping[int, Mapping[str, float]]
  images: Mapping[str, np.ndarray]
  embeddings: np.ndarray | None
  labels: Sequence[tuple[str, str]]
  step: int


class Recorder(Protocol):
  """One place to which metrics go."""

  def scalar(self, seed: int, step: int, name: str, value: float) -> None:
    """Records a number of a seed."""

  def finish(self, finished: Finished) -> None:
    """Records what a stage is once it is finished."""

  def flush(self) -> None:
    """Returns when all is on disk, or sent."""

  def close(self) -> None:
    """Ends the recording."""


class TensorBoard:
  """Event files: events/<stage>/seed<seed>.

  Args:
    folder: of the stage's events.
    seeds: of the run; the first 16 are recorded.
  """

  def __init__(self, folder: pathlib.Path, seeds: Sequence[int]):
    self.folder = folder
    self.events = {
      seed: _events(folder / f"seed{seed}") for seed in seeds[:CURVES]
    }

  def scalar(self, seed: int, step: int, name: str, value: float) -> None:
    """Records a number of one of the first seeds."""
    if seed in self.events:
      self._add(seed, step, summary.scalar(name, value))

  def finish(self, finished: Finished) -> None:
    """Writes hparams of every seed, images and embeddings of the first."""
    for seed in self.events:
      metrics = {
        f"test/{name}": value
        for name, value in finished.results.get(seed, {}).items()
      }
      for part in summary.hparams(dict(finished.options), metrics):
        self._add(seed, finished.step, part)
      for name, value in metrics.items():
        self.scalar(seed, finished.step, name, value)
    first = next(iter(self.events))
    for name, images in finished.images.items():
      sheet = np.concatenate(list(images), axis=1)
      image = summary.image(f"test/{name}", sheet, dataformats="HWC")
      self._add(first, finished.step, image)
    if finished.embeddings is not None:
      with writing(self.folder):
        self._project(self.folder / f"seed{first}", finished)

  def flush(self) -> None:
    """Returns when all events are on disk."""
    with writing(self.folder):
      for writer in self.events.values():
        writer.flush()

  def close(self) -> None:
    """Closes the files."""
    for writer in self.events.values():
      writer.close()

  def _add(self, seed: int, step: int, content: Any) -> None:
    event = Event(wall_time=time.time(), step=step, summary=content)
    with writing(self.folder):
      self.events[seed].write_event(event)

  def _project(self, folder: pathlib.Path, finished: Finished) -> None:
    """Writes what TensorBoard's projector reads."""
    made = folder / EMBEDDINGS
    made.mkdir(parents=True, exist_ok=True)
    embedding.make_mat(np.asarray(finished.embeddings), str(made))
    rows = [list(row) for row in finished.labels]
    embedding.make_tsv(rows, str(made), metadata_header=["label", "predicted"])
    (folder / "projector_config.pbtxt").unlink(missing_ok=True)
    embedding.append_pbtxt(
      rows, None, str(folder), EMBEDDINGS, finished.step, EMBEDDINGS
    )


class WeightsAndBiases:
  """One run of Weights & Biases for a stage, with the seeds in its names.

  WANDB_MODE=offline keeps it in the workdir's folder wandb/. A stage that is
  continued has the same run id, and records its history again; the server
  leaves out the steps that it has.

  Args:
    workdir: of the experiment; its name is the group.
    stage: name of the stage.
    project: the experiment's name.

  Raises:
    UserError: the package is missing.
  """

  def __init__(self, workdir: pathlib.Path, stage: str, project: str):
    check(["wandb"])
    import wandb

    self.wandb = wandb
    identity = f"{workdir.resolve()}/{stage}".encode()
    workdir.mkdir(parents=True, exist_ok=True)
    self.run = wandb.init(
      project=project,
      group=workdir.resolve().name,
      name=stage,
      id=hashlib.blake2b(identity, digest_size=8).hexdigest(),
      resume="allow",
      reinit="create_new",
      dir=str(workdir),
      settings=wandb.Settings(silent=True),
    )

  def scalar(self, seed: int, step: int, name: str, value: float) -> None:
    """Records a number of a seed."""
    self.run.log({f"{name}/seed{seed}": value}, step=step)

  def finish(self, finished: Finished) -> None:
    """Records config, results, images and a table of embeddings."""
    self.run.config.update(dict(finished.options), allow_val_change=True)
    for seed, results in finished.results.items():
      for name, value in results.items():
        self.run.summary[f"test/{name}/seed{seed}"] = value
    content: dict[str, Any] = {
      f"test/{name}": [self.wandb.Image(image.squeeze()) for image in images]
      for name, images in finished.images.items()
    }
    if finished.embeddings is not None:
      width = finished.embeddings.shape[1]
      content[EMBEDDINGS] = self.wandb.Table(
        columns=["label", "predicted", *(f"logit{i}" for i in range(width))],
        data=[
          [*words, *map(float, row)]
          for words, row in zip(
            finished.labels, finished.embeddings, strict=True
          )
        ],
      )
    if content:
      self.run.log(content, step=finished.step)

  def flush(self) -> None:
    """Does nothing: the run's own process writes."""

  def close(self) -> None:
    """Ends the run."""
    self.run.finish()


NAMES = ("tensorboard", "wandb")


def check(names: Sequence[str]) -> None:
  """Checks the recorders of a config before a run.

  Raises:
    UserError: there is no such recorder, or its package is missing.
  """
  for name in names:
    if name not in NAMES:
      raise UserError(f"No recorder '{name}'.", exists=NAMES, near=name)
  if "wandb" not in names:
    return
  try:
    import wandb  # noqa: F401
  except ImportError as error:
    raise UserError(
      f"records has 'wandb', and the package '{error.name}' is not installed.",
      f"Install it: {INSTALL_WANDB}",
    ) from None


def make(
  names: Sequence[str],
  workdir: pathlib.Path,
  stage: str,
  seeds: Sequence[int],
  project: str,
) -> list[Recorder]:
  """The recorders of a stage.

  Args:
    names: of the config's `records`.
    workdir: of the experiment.
    stage: name of the stage.
    seeds: of the run.
    project: the experiment's name.

  Raises:
    UserError: there is no such recorder, its package is missing, or its folder
      cannot be written.
  """
  check(names)
  made: list[Recorder] = []
  if "tensorboard" in names:
    made.append(TensorBoard(workdir / "events" / stage, seeds))
  if "wandb" in names:
    made.append(WeightsAndBiases(workdir, stage, project))
  return made


@contextlib.contextmanager
def opened(*arguments: Any) -> Iterator[list[Recorder]]:
  """The recorders of `make`, which are closed in the end."""
  made = make(*arguments)
  try:
    yield made
  finally:
    for recorder in made:
      recorder.flush()
      recorder.close()


def _events(folder: pathlib.Path) -> EventsWriter:
  """Events are written by the caller's thread, so that errors arrive here."""
  with writing(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return EventsWriter(str(folder / "events"))
