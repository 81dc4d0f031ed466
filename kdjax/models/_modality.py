"""What a network of one modality says of its inputs."""


class OneModality:
  """Gives a network with a field `modality` its `reads` and `needs`.

  Attributes:
    USES: what it uses beside the modality itself: "mask", where it has
      positions that are no padding, and "has", in which rows it is there.
  """

  USES = ()

  @property
  def reads(self) -> tuple[str, ...]:
    """The keys of the inputs that it may use."""
    return (self.modality, *(f"{kind}/{self.modality}" for kind in self.USES))

  @property
  def needs(self) -> tuple[str, ...]:
    """The modalities without which its outputs mean nothing."""
    return (self.modality,)
