"""Serves the students of a run: a page to try them, and a JSON endpoint.

  kdjax serve --workdir=runs/digits
  kdjax serve --workdir=runs/digits --stage=alone,distilled --port=0
  kdjax serve --model=students/digits,students/digits_small

Every stage that is finished answers the same inputs, side by side: an image, a
sound, a text, numbers. --model serves folders of `kdjax export` without their
run, and without its test examples. Only this machine reaches the server, unless
--host says otherwise; it asks nobody who they are. It needs
pip install -e ".[serve]". kdjax/serve/README.md describes the endpoint.
"""

from absl import flags

from kdjax import cli
from kdjax.errors import UserError
from kdjax.verbs import _model

# Of --max_mb: more than any image or sound of a few seconds.
MOST_MB = 1024


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines --workdir, --stage, --which, --accept, and those of the server."""
  del argv
  text = lambda name, default, meaning: flags.DEFINE_string(
    name, default, meaning, flag_values=values
  )
  number = lambda name, default, meaning: flags.DEFINE_integer(
    name, default, meaning, flag_values=values
  )
  text("workdir", None, "(required, or --model) the workdir of a run")
  flags.DEFINE_list(
    "stage", [], "stages, a,b; by default all finished", flag_values=values
  )
  flags.DEFINE_list(
    "model", [], "folders of exported students, a,b", flag_values=values
  )
  text("which", "best", "variables: best on validation, or last")
  text("host", "127.0.0.1", "the address to listen at")
  number("port", 8000, "the port to listen at; 0 is a free one")
  number("max_mb", 16, "the largest request, in MiB")
  cli.define_accept(values)


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Opens and compiles the students, and serves until Ctrl-C."""
  _model.check(values)
  if arguments or not (values.workdir or values.model):
    raise UserError(
      "kdjax serve needs --workdir or --model.",
      "For example: kdjax serve --workdir=runs/digits",
    )
  if not 1 <= values.max_mb <= MOST_MB:
    raise UserError(
      f"--max_mb={values.max_mb} is out of range.", f"Expected 1 to {MOST_MB}."
    )
  from kdjax.serve import server

  server.check_packages()
  at = server.bound(values.host, values.port)  # before the work of opening

  from kdjax.devices import compilation_cache
  from kdjax.serve import app, opening
  from kdjax.serve.service import Service

  say = lambda sentence: print(f"kdjax: {sentence}", flush=True)
  compilation_cache.enable()
  if values.model:
    served = opening.of_folders(values.model)
  else:
    served = opening.of_workdir(
      values.workdir,
      values.stage,
      which=values.which,
      accept=values.accept,
      say=say,
    )
  service = Service(served)
  hosts = (*app.LOOPBACK, values.host) if server.is_loopback(at) else ()
  limits = app.Limits(size=values.max_mb << 20)
  server.run(app.make(service, limits, hosts), at, say)
  service.close()
  say("Ended.")
