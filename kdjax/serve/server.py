"""The server's process: its packages, its address, its beginning and end."""

import contextlib
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from kdjax.errors import UserError

INSTALL = 'pip install -e ".[serve]"'


def check_packages() -> None:
  """Raises `UserError` if a package of the extra `serve` is missing."""
  try:
    import fastapi  # noqa: F401
    import python_multipart  # noqa: F401
    import uvicorn  # noqa: F401
  except ImportError as error:
    raise UserError(
      f"kdjax serve needs the package '{error.name}', which is not installed.",
      f"Install it: {INSTALL}",
    ) from None


def bound(host: str, port: int) -> socket.socket:
  """A socket at an address; port 0 is any that is free.

  Raises:
    UserError: the address is taken, or not this machine's.
  """
  if not 0 <= port <= 65535:
    raise UserError(f"--port={port} is no port.", "Expected 0 to 65535.")
  family = socket.AF_INET6 if ":" in host else socket.AF_INET
  bound = socket.socket(family, socket.SOCK_STREAM)
  bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    bound.bind((host, port))
  except (OSError, UnicodeError) as error:
    bound.close()
    raise UserError(
      f"The address {host}:{port} cannot be used: {error}.",
      "Expected an address of this machine and a free port: --port=0.",
    ) from None
  return bound


def is_loopback(at: socket.socket) -> bool:
  """Whether only this machine reaches a socket."""
  return ipaddress.ip_address(at.getsockname()[0]).is_loopback


def run(app: Any, at: socket.socket, say: Callable[[str], None]) -> None:
  """Serves until Ctrl-C or a signal to terminate.

  Args:
    app: of `app.make`.
    at: a bound socket.
    say: is called with sentences for the user.
  """
  import uvicorn

  host, port = at.getsockname()[:2]
  host = f"[{host}]" if ":" in host else host
  config = uvicorn.Config(
    app,
    http="h11",
    loop="asyncio",
    ws="none",
    lifespan="off",
    access_log=False,
    log_level="warning",
    server_header=False,
    timeout_graceful_shutdown=3,
  )
  at.listen(config.backlog)
  if not is_loopback(at):
    say("Every machine that reaches this address can use it: it asks nobody.")
  say(f"Serving at http://{host}:{port}/ - Ctrl-C ends it.")
  # Once it has ended, uvicorn raises the signal that ended it again.
  with contextlib.suppress(KeyboardInterrupt):
    uvicorn.Server(config).run(sockets=[at])
