"""--model, a folder of `kdjax export`, in place of a workdir and its flags."""

from absl import flags

from kdjax.errors import UserError

# Flags that choose a student of a workdir.
OF_WORKDIR = ("workdir", "stage", "seed", "which", "accept")


def check(values: flags.FlagValues) -> None:
  """Raises `UserError` if --model is given with flags of a workdir."""
  stated = [
    f"--{name}"
    for name in OF_WORKDIR
    if name in values and values[name].present
  ]
  if values.model and stated:
    raise UserError(
      f"Both --model and {', '.join(stated)} are given.",
      "Expected one: --model is an exported student by itself; the others"
      " choose one of a run.",
    )
