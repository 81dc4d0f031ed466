"""A network with a classifier for each of several tasks."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.types import Array, Outputs


class Model(nn.Module):
  """A network shared by several tasks, with a linear classifier for each.

  The classifiers read the embedding, as in hard parameter sharing: Caruana,
  "Multitask Learning", Machine Learning 28, 1997. Terms and metrics read the
  logits and the labels of a task by address: `student/logits/kind` and
  `batch/label/kind`.

  Outputs: those of the network, and `logits/<task>` [B K_task] (float32). With
  `num_classes` also logits [B K], in place of the network's own.

  Attributes:
    network: with the output `embedding`.
    tasks: name -> number of classes, or of values of a regression:
      {"kind": 3, "colour": 5}.
    num_classes: K of one more task, whose label is `batch/label`; None has
      the network's own logits, if any.
    dropout: rate; of the embedding, before all classifiers.
    axis_name: unused; the network has its own.
    dtype: unused; the network has its own, and classifiers are float32.
  """

  network: Any
  tasks: Any
  num_classes: int | None = None
  dropout: float = 0.0
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @property
  def reads(self) -> tuple[str, ...]:
    """The keys of the inputs that the network may use."""
    return self.network.reads

  @property
  def needs(self) -> tuple[str, ...]:
    """The modalities that the network requires."""
    return self.network.needs

  def needs_of(self, output: str) -> tuple[str, ...]:
    """The modalities that an output requires."""
    if output.startswith("logits/"):
      output = "embedding"
    needs_of = getattr(self.network, "needs_of", lambda _: self.network.needs)
    return needs_of(output)

  @nn.compact
  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Reads the inputs of the network."""
    for task, classes in self.tasks.items():
      if not isinstance(classes, int) or classes < 1:
        raise UserError(
          f"The task '{task}' has {classes!r} classes.",
          'Expected numbers of at least 1: {"kind": 3, "colour": 5}.',
        )
    outputs = dict(self.network(inputs, train=train))
    if "embedding" not in outputs:
      raise UserError(
        "The network of `tasks` has no output 'embedding'.", exists=outputs
      )
    embedding = outputs["embedding"].astype(jnp.float32)
    x = nn.Dropout(self.dropout, deterministic=not train)(embedding)
    # Sorted: independent of a config's order.
    for task in sorted(self.tasks):
      outputs[f"logits/{task}"] = nn.Dense(
        self.tasks[task], name=f"head_{task}"
      )(x)
    if self.num_classes is not None:
      outputs["logits"] = nn.Dense(self.num_classes, name="head")(x)
    return outputs
