"""Terms whose examples never count: a warning, or an error where all are so.

A term counts the examples that have a label and every modality that it reads.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Float

from kdjax.config import terminal
from kdjax.errors import UserError
from kdjax.stage.stage import Stage

# Records are put together until they have so many steps, or an epoch: few
# labels may be absent from one batch, and that is no mistake.
STEPS = 100


class IdleTerms:
  """Watches how many examples each term of a stage counts.

  Args:
    stage: that is trained.
    seeds: of its states.
    examples: of the training split.
  """

  def __init__(self, stage: Stage, seeds: Sequence[int], examples: int):
    self.stage, self.seeds = stage, seeds
    epoch = -(-examples // stage.config["batch_size"])
    self.enough = min(epoch, STEPS)
    grid = stage.config["grid"]
    # A term of weight 0 is only measured.
    self.names = [
      name
      for name, term in stage.config["terms"].items()
      if term["weight"] != 0.0 or f"{name}/weight" in grid
    ]
    self.warned: set[str] = set()
    self._restart()

  def _restart(self) -> None:
    self.steps = 0
    self.counts = {name: np.zeros(len(self.seeds)) for name in self.names}

  def add(
    self, step: int, named: Mapping[str, Float[np.ndarray, "N S"]]
  ) -> None:
    """Adds the counts of the steps of a record.

    Args:
      step: the last of them.
      named: metric -> [steps, seeds], with `count/<term>`.

    Raises:
      UserError: no term of a seed counted an example.
    """
    if not self.names:
      return
    for name in self.names:
      rows = named[f"count/{name}"]
      self.counts[name] += rows.sum(axis=0)
    self.steps += len(rows)
    if self.steps < self.enough and step < self.stage.config["steps"]:
      return
    idle = {name: self.counts[name] == 0 for name in self.names}
    everywhere = np.all([*idle.values()], axis=0)
    # A stage that ends before may have drawn no label yet: it is warned.
    if everywhere.any() and self.steps >= self.enough:
      seed = self.seeds[int(np.argmax(everywhere))]
      raise UserError(
        f"Stage '{self.stage.name}': no term counted an example in"
        f" {self.steps} steps up to step {step} of seed {seed}, and nothing is"
        f" learned: {self._reads(self.names)}.",
        "A term counts examples that have a label (not -1) and every modality"
        " and position that it reads. `kdjax inspect` shows the data.",
      )
    new = [name for name in self.names if idle[name].any()]
    self._warn(step, [name for name in new if name not in self.warned])
    self._restart()

  def _warn(self, step: int, names: list[str]) -> None:
    self.warned |= {*names}
    if names and jax.process_index() == 0:
      terminal.warn(
        f"stage '{self.stage.name}': in {self.steps} steps up to step"
        f" {step}, no example counted in {self._reads(names)}. It has no effect"
        " where examples lack its label or a modality that it reads."
      )

  def _reads(self, names: list[str]) -> str:
    terms = {term.name: term for term in self.stage.objective.terms}
    texts = []
    for name in names:
      reads = [
        str(at)
        for argument in terms[name].reads
        for at in terms[name].addresses(argument)
      ]
      texts.append(f"'{name}' (reads {', '.join(dict.fromkeys(reads))})")
    return "; ".join(texts)
