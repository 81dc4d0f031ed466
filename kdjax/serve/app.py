"""The routes of the server and its limits."""

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from kdjax.serve import forms, page
from kdjax.serve.forms import RefusedError
from kdjax.serve.service import Service

# Everything that the page needs is in it; it speaks to its own server alone.
POLICY = (
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
  " img-src blob: data:; media-src blob: data:; connect-src 'self';"
  " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# Names of this machine. A page of another site whose name leads to this address
# sends its own name, and is refused.
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclasses.dataclass(frozen=True)
class Limits:
  """Limits of requests.

  Attributes:
    size: bytes of a body.
    waiting: requests at once; further ones are refused with 429.
    seconds: in which a body has to arrive.
  """

  size: int = 16 << 20
  waiting: int = 64
  seconds: float = 30.0


def make(service: Service, limits: Limits, hosts: tuple[str, ...] = ()):
  """The application.

  Args:
    service: of the students.
    limits: of requests.
    hosts: names by which the server may be called; () are any.
  """
  import fastapi
  from fastapi.middleware.trustedhost import TrustedHostMiddleware
  from starlette.exceptions import HTTPException

  # The documentation pages of FastAPI load scripts from elsewhere.
  app = fastapi.FastAPI(openapi_url=None)
  busy = _Busy(limits.waiting)
  _add_reading(app, service, limits, busy)

  @app.post("/predict")
  async def predict(request: fastapi.Request):
    try:
      with busy:
        body = await _body(request, limits)
        kind = request.headers.get("content-type", "")
        given = forms.read(kind, body, service.inputs)
        del body  # it may be large, and is not needed while it is computed
        return _answer(await service.predict(given))
    except RefusedError as error:
      retry = {"Retry-After": "1"} if error.status == 429 else {}
      return _answer({"error": error.reason}, error.status, retry)

  @app.exception_handler(HTTPException)
  async def refused(request, error):
    return _answer({"error": error.detail}, error.status_code, error.headers)

  if hosts:
    app.add_middleware(
      TrustedHostMiddleware, allowed_hosts=[*hosts], www_redirect=False
    )
  return app


def _add_reading(
  app: Any, service: Service, limits: Limits, busy: "_Busy"
) -> None:
  """Adds the routes that compute nothing."""
  import fastapi

  html = page.render(service, limits.size)
  examples = {f"{row}": it for row, it in enumerate(service.served.examples)}

  @app.get("/")
  async def page_():
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
    return fastapi.Response(html, 200, headers, "text/html; charset=utf-8")

  @app.get("/health")
  async def health():
    stages = list(service.served.students)
    return _answer({"status": "ok", "stages": stages, "waiting": busy.count})

  @app.get("/signature")
  async def signature():
    return _answer(service.signature())

  @app.get("/examples/{number}")
  async def example(number: str):
    if number not in examples:
      reason = f"No such example. There are {len(examples)}, from 0."
      return _answer({"error": reason}, 404)
    return _answer(dataclasses.asdict(examples[number]))


def _answer(
  content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Any:
  """A response of JSON, in ASCII: a client may have sent half a character."""
  import fastapi

  plain = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
  return fastapi.Response(
    json.dumps(content), status, plain | dict(headers or {}), "application/json"
  )


class _Busy:
  """Counts the requests that are worked on, and refuses one too many."""

  def __init__(self, most: int):
    self.count, self._most = 0, most

  def __enter__(self):
    if self.count >= self._most:
      raise RefusedError(
        429, f"{self._most} requests are waiting. Try again in a second."
      )
    self.count += 1

  def __exit__(self, *error):
    self.count -= 1


async def _body(request: Any, limits: Limits) -> bytes:
  """The body of a request, in memory.

  Raises:
    RefusedError: it is too large, or does not arrive.
  """
  from starlette.requests import ClientDisconnect

  too_large = RefusedError(
    413, f"The body is too large. The limit is {limits.size:,} bytes."
  )
  # A body somewhat too large is read to its end and dropped: a client that is
  # still sending does not read the answer.
  most = 4 * limits.size
  declared = request.headers.get("content-length", "")
  if declared.isdecimal() and int(declared[:20]) > most:
    raise too_large
  chunks, size = [], 0
  try:
    async with asyncio.timeout(limits.seconds):
      async for chunk in request.stream():
        size += len(chunk)
        chunks.append(chunk)
        if size > limits.size:
          chunks.clear()
        if size > most:
          break
  except TimeoutError:
    raise RefusedError(
      408, f"The body did not arrive in {limits.seconds:g} seconds."
    ) from None
  except ClientDisconnect:
    raise RefusedError(400, "The client left.") from None
  if size > limits.size:
    raise too_large
  return b"".join(chunks)
