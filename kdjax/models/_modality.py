"""The inputs of a network of one modality."""


class OneModality:
  """Provides `reads` and `needs` for a network with a field `modality`.

  Attributes:
    USES: further keys that the network reads: "mask" for `mask/<modality>`
      (False at padding), "has" for `has/<modality>` (False in rows without the
      modality). One with a field `visible` that is not 0 reads
      `hidden/<modality>` too.
  """

  USES = ()

  @property
  def reads(self) -> tuple[str, ...]:
    """The keys of the inputs that the network may use."""
    uses = self.USES + ("hidden",) * bool(getattr(self, "visible", 0))
    return (self.modality, *(f"{kind}/{self.modality}" for kind in uses))

  @property
  def needs(self) -> tuple[str, ...]:
    """The modalities that the network requires."""
    return (self.modality,)
