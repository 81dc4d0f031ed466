"""The page of the server: that of `kdjax/export/web`, which asks this one."""

import pathlib

from kdjax.export.web import page
from kdjax.serve.service import Service

SCRIPT = pathlib.Path(__file__).parent / "server.js"


def render(service: Service, most_bytes: int) -> str:
  """The page of a service.

  Args:
    service: of the students.
    most_bytes: the limit of a request.
  """
  served = service.served
  return page.render(
    served.name,
    {name: one.signature for name, one in served.students.items()},
    service.inputs,
    SCRIPT,
    colours=served.colours,
    by="kdjax serve",
    subtitle="The same inputs to every stage. Each reads those that it was"
    " trained with.",
    examples=len(served.examples),
    most_bytes=most_bytes,
  )
