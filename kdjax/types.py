"""The shared words, and the shape alphabet of every public signature.

  B  batch          K  classes        D  width
  T  tokens, time   H W C  image      F  frequency
  S  seeds

A batch is a flat dict of arrays with a leading axis B. Its keys:

  <modality>        what a network reads: image, text, audio, ...
  mask/<modality>   bool [B T], where a modality has positions: not padding
  hidden/<modality> bool [B T], in a view that hides positions: those that are
                    hidden, which are never padding
  has/<modality>    bool [B], where a modality can be missing
  has/record        bool [B], where a record can be broken: False is one that
                    cannot be read, which no batch statistic sees
  label             int [B], -1 where unlabelled
  label/<task>      the same, where examples have labels of several tasks
  index             int [B], stable over epochs and machines
  group             int [B], the person, place .. of an example, where the data
                    has them; its name is in the data set's `group_names`
  view              int [B], the number of the example's augmentation
  valid             bool [B], False on rows that pad the last batch, and on
                    records that cannot be read

Outputs are a flat dict of named arrays: logits, embedding, tokens, stage0, ...
and, for a part of a network, image/tokens, text/embedding.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np

Array = jax.Array
Batch = Mapping[str, Array]
Outputs = dict[str, Array]
Spec = dict[str, jax.ShapeDtypeStruct]
Variables = Mapping[str, Any]


class Source(Protocol):
  """Examples by number, in any order, as often as asked."""

  def __len__(self) -> int: ...

  def __getitem__(self, position: int) -> dict[str, np.ndarray]:
    """One example: the keys of the data set's `spec()`, no batch axis."""
    ...

  def take(self, positions: np.ndarray) -> dict[str, np.ndarray]:
    """Several examples, stacked on a leading axis."""
    ...

  @property
  def fingerprint(self) -> str:
    """What it would give, as a hash in hex.

    Two sources of which it is equal give equal examples in the same order.
    Other content, another option that changes an example, another split or
    order is another one; where the data lie is not seen. A source without it is
    decoded anew wherever it is held.
    """
    ...

  @property
  def index(self) -> np.ndarray:
    """int [len(self)]: the index of every example, as in a batch."""
    ...

  @property
  def labels(self) -> np.ndarray:
    """int [len(self)]: classes, -1 where there is none; where labels are."""
    ...

  @property
  def labelled(self) -> np.ndarray:
    """bool [len(self)]: which examples carry a label."""
    ...
