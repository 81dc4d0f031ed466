"""Students behind a server: the endpoint, bad requests, the page."""

import asyncio
import base64
import concurrent.futures
import html.parser
import io
import json
import re
import shutil
import signal
import struct
import sys
import time
import zlib

import numpy as np
import pytest
import serving
from PIL import Image

import kdjax
from kdjax import cli, export
from kdjax.errors import UserError
from kdjax.preprocess.tokenizer import Characters
from kdjax.preprocess.words import Vocabulary
from kdjax.serve import app, batches, examples, forms, opening, page, server
from kdjax.serve.service import Service
from kdjax.students import inputs as kinds
from kdjax.students.decoding import Decoder
from kdjax.students.inputs import Input
from kdjax.students.signature import Signature

testclient = pytest.importorskip("fastapi.testclient")

# A request of 1 MiB, which Starlette would write to a file, is allowed.
SIZE = 2 << 20


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return serving.train_digits(tmp_path_factory.mktemp("digits") / "run")


@pytest.fixture(scope="module")
def service(run):
  one = Service(opening.of_workdir(run))
  yield one
  one.close()


@pytest.fixture(scope="module")
def client(service):
  made = app.make(service, app.Limits(size=SIZE), ("testserver",))
  with testclient.TestClient(made) as one:
    yield one


def png(seed=0, size=(8, 8)):
  pixels = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "PNG")
  return file.getvalue()


def chunk(name, content):
  whole = name + content
  size = struct.pack(">I", len(content))
  return size + whole + struct.pack(">I", zlib.crc32(whole))


def bomb(side):
  """A small PNG of an image of many pixels."""
  header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
  rows = zlib.compress(b"\0" * 10_000)
  parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
  return b"\x89PNG\r\n\x1a\n" + parts


def boundary(body):
  return {"content-type": "multipart/form-data; boundary=b"}, body


# The endpoint


@pytest.mark.parametrize("stage", ["teacher", "alone", "distilled"])
@pytest.mark.parametrize("form", ["multipart", "json"])
def test_the_endpoint_says_what_the_student_says(run, client, stage, form):
  record = {"image": png(1), "text": "odd digit; no hole"}
  if form == "json":
    image = base64.b64encode(record["image"]).decode()
    answer = client.post("/predict", json={**record, "image": image})
  else:
    data = {"text": record["text"]}
    files = {"image": record["image"]}
    answer = client.post("/predict", files=files, data=data)
  assert answer.status_code == 200
  said = answer.json()["stages"][stage]
  student = kdjax.student(run, stage)
  if stage != "teacher":
    del record["text"]
  (expected,) = student.predict([record])
  assert said["inputs"] == list(record)
  assert said["milliseconds"] > 0
  assert said["probabilities"].keys() == expected.probabilities().keys()
  for name, probability in expected.probabilities().items():
    assert said["probabilities"][name] == pytest.approx(probability, abs=1e-5)


def test_a_student_that_gives_its_results_alone_says_the_same(run):
  whole = kdjax.student(run, "alone")
  alone = kdjax.student(run, "alone", results_alone=True)
  assert alone.signature.outputs == ("probabilities",)
  image = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
  said = alone(image=image)
  assert said.keys() == {"probabilities"}
  np.testing.assert_allclose(
    said["probabilities"], whole(image=image)["probabilities"], atol=1e-5
  )


def test_a_stage_without_an_input_that_it_needs_says_so(client):
  stages = client.post("/predict", json={"text": "odd"}).json()["stages"]
  assert stages["teacher"]["inputs"] == ["text"]
  assert stages["alone"] == {"missing": ["image"]}


def test_an_empty_input_is_one_that_is_not_given(client):
  for given in ({"text": "", "image": None}, {"text": " \n"}):
    answer = client.post("/predict", json=given)
    assert answer.status_code == 422
    assert "No input is given" in answer.json()["error"]
  # As a browser sends a file input without a file.
  head = 'content-disposition: form-data; name="image"; filename=""'
  text = 'content-disposition: form-data; name="text"\r\n\r\nodd'
  body = f"--b\r\n{head}\r\n\r\n\r\n--b\r\n{text}\r\n--b--\r\n"
  headers, content = boundary(body)
  answer = client.post("/predict", headers=headers, content=content)
  assert answer.json()["stages"]["teacher"]["inputs"] == ["text"]


def test_stages_are_in_the_order_of_the_run_and_can_be_chosen(run, client):
  assert [*client.get("/health").json()["stages"]] == [
    "teacher",
    "alone",
    "distilled",
  ]
  assert [*opening.of_workdir(run, ["distilled"]).students] == ["distilled"]
  with pytest.raises(UserError, match=r"No stage 'alnoe'.*mean 'alone'"):
    opening.of_workdir(run, ["alnoe"])


def test_the_signature_is_that_of_the_students(client, service):
  said = client.get("/signature").json()
  for name, student in service.served.students.items():
    assert Signature.from_json(said["stages"][name]) == student.signature


def test_a_number_that_is_not_finite_is_null(client, service, monkeypatch):
  student = service.served.students["alone"]
  compute = student._compute
  nan = lambda batch: {k: np.nan * x for k, x in compute(batch).items()}
  monkeypatch.setattr(student, "_compute", nan)
  answer = client.post("/predict", files={"image": png()})
  assert {*answer.json()["stages"]["alone"]["probabilities"].values()} == {None}


# Exported students


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
  """Folders of two stages, of which the second has weights alone, too."""
  pytest.importorskip("onnxruntime", reason='needs pip install -e ".[export]"')
  folder = tmp_path_factory.mktemp("students")
  for stage in ("teacher", "alone"):
    formats = ("safetensors", "onnx", "stablehlo")
    export.export(run, stage, folder / stage, formats=formats, most=10)
  return folder


@pytest.mark.slow
@pytest.mark.parametrize("stages", [["alone"], ["teacher", "alone"]])
def test_exported_folders_answer_as_their_students(run, exported, stages):
  one = Service(opening.of_folders([f"{exported / it}" for it in stages]))
  assert not one.served.examples
  title = "digits/alone" if len(stages) == 1 else "Exported students"
  assert one.served.name == title
  made = app.make(one, app.Limits(size=SIZE))
  with testclient.TestClient(made) as client:
    said = client.post("/predict", files={"image": png(1)}).json()["stages"]
    assert f"<h1>{title}</h1>" in client.get("/").text
  one.close()
  assert [*said] == [f"digits/{stage}" for stage in stages]
  for stage in stages:
    (expected,) = kdjax.student(run, stage).predict([{"image": png(1)}])
    assert said[f"digits/{stage}"]["probabilities"] == pytest.approx(
      expected.probabilities(), abs=1e-5
    )


@pytest.mark.slow
def test_two_exports_of_one_student_are_told_by_their_folders(
  exported, tmp_path
):
  other = tmp_path / "other"
  shutil.copytree(exported / "alone", other)
  folders = [f"{exported / 'alone'}", f"{other}"]
  served = opening.of_folders([*folders, folders[0]])
  assert [*served.students] == [f"digits/alone ({it})" for it in folders]


@pytest.mark.slow
def test_a_student_without_a_result_is_not_served(run, tmp_path):
  export.export(
    run,
    "alone",
    tmp_path,
    formats=("stablehlo",),
    outputs=("embedding",),
    most=10,
  )
  with pytest.raises(UserError, match="no result to show"):
    opening.of_folders([f"{tmp_path}"])


# Bad requests

DEEP = "[" * 100_000


@pytest.mark.parametrize(
  ("request_", "status", "reason"),
  [
    ({}, 415, "content type is ''"),
    ({"files": {"image": b""}}, 422, "'image': not an image"),
    ({"files": {"image": b"<!doctype html><p>7"}}, 422, "not an image"),
    ({"files": {"image": png()[:-30]}}, 422, "'image': a broken image"),
    ({"files": {"image": bomb(9_000)}}, 422, "above the limit"),
    ({"files": {"image": bomb(60_000)}}, 422, "too large to decode"),
    ({"files": {"imgae": png()}}, 422, "Did you mean 'image'?"),
    ({"files": {"image": bytes(SIZE + 1)}}, 413, "limit is 2,097,152"),
    ({"files": {"image": bytes(5 * SIZE)}}, 413, "limit is 2,097,152"),
    ({"files": {"text": b"\xff\xfe\0"}}, 422, "'text' is no UTF-8"),
    ({"files": {"text": b"a " * 60_000}}, 413, "120,000 characters"),
    ({"files": {"text": b"!?"}}, 422, "a text without a word"),
    ({"files": [("text", b"a"), ("text", b"b")]}, 400, "two parts 'text'"),
    ({"json": []}, 400, "no object"),
    ({"json": {}}, 422, "No input is given"),
    ({"json": {"text": 3}}, 422, "'text' is a number. Expected a string"),
    ({"json": {"text": {}}}, 422, "'text' is an object"),
    ({"json": {"image": [1]}}, 422, "'image' is a list. Expected a file in"),
    ({"json": {"image": "€"}}, 422, "'image' is no base64"),
    ({"json": {"image": "abc"}}, 422, "'image' is no base64"),
    ({"json": {"text": "\ud800"}}, 422, "half a character"),
    ({"json": {"\ud800": "a"}}, 422, "No input"),
    ({"content": b"{"}, 400, "No JSON"),
    ({"content": b"\xff"}, 400, "No JSON"),
    ({"content": DEEP}, 400, "No JSON"),
    ({"content": f'{{"text": {"9" * 5000}}}'}, 400, "No JSON"),
    ({"data": {"text": "odd"}}, 415, "application/x-www-form-urlencoded"),
    ({"form": b"--b\r\n"}, 400, "no end"),
    ({"form": b"--c\r\n\r\n--c--"}, 400, "No multipart form"),
    ({"form": b"--b\r\nx: y\r\n\r\nz\r\n--b--"}, 400, "without a name"),
    ({"form": b""}, 400, "no end"),
    ({"form": b"--b--"}, 422, "No input is given"),
  ],
  ids=lambda it: None if isinstance(it, dict) else f"{it}"[:30],
)
def test_a_bad_request_is_refused_with_a_reason(
  client, request_, status, reason
):
  if "form" in request_:
    headers, content = boundary(request_["form"])
    request_ = {"headers": headers, "content": content}
  elif "json" in request_:  # httpx refuses half a character
    request_ = {"content": json.dumps(request_["json"])}
  if "content" in request_:
    request_ = {"headers": {"content-type": "application/json"}, **request_}
  answer = client.post("/predict", **request_)
  assert answer.status_code == status, answer.text
  assert reason in answer.json()["error"]


@pytest.mark.parametrize(
  ("method", "path", "status"),
  [
    ("GET", "/predict", 405),
    ("DELETE", "/", 405),
    ("GET", "/docs", 404),
    ("GET", "/openapi.json", 404),
    ("GET", "/examples/8", 404),
    ("GET", "/examples/-1", 404),
    ("GET", "/examples/" + "9" * 5000, 404),
    ("GET", "/examples/..%2f..%2fetc%2fpasswd", 404),
    ("GET", "/../../etc/passwd", 404),
  ],
)
def test_another_path_or_method_is_refused(client, method, path, status):
  answer = client.request(method, path)
  assert answer.status_code == status
  assert answer.json()["error"]


def test_a_page_of_another_site_cannot_call_the_server(client):
  for host in ("evil.example", "testserver.evil.example", ""):
    answer = client.get("/health", headers={"host": host})
    assert answer.status_code == 400
  assert client.get("/health", headers={"host": "testserver:80"}).is_success


def test_this_machine_calls_the_server_by_all_its_names(service):
  made = app.make(service, app.Limits(), app.LOOPBACK)
  for host in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]"):
    with testclient.TestClient(made) as client:
      assert client.get("/health", headers={"host": host}).is_success


def test_one_request_too_many_is_told_to_come_again(service):
  made = app.make(service, app.Limits(waiting=0))
  with testclient.TestClient(made) as client:
    answer = client.post("/predict", json={"text": "odd"})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert "Try again" in answer.json()["error"]
    assert client.get("/health").json()["waiting"] == 0


def body_of(chunks, waits=0.0, **limits):
  """What the server reads of a body that arrives in chunks."""

  class Request:
    headers = {}  # noqa: RUF012

    async def stream(self):
      for chunk in chunks:
        await asyncio.sleep(waits)
        yield chunk

  return asyncio.run(app._body(Request(), app.Limits(**limits)))


def test_a_body_has_a_size_and_a_time():
  assert body_of([b"ab", b"c"], size=3) == b"abc"
  with pytest.raises(forms.RefusedError, match="limit is 3 bytes"):
    body_of([b"ab", b"cd"], size=3)
  with pytest.raises(forms.RefusedError, match="did not arrive") as refused:
    body_of([b"a"] * 9, waits=0.1, seconds=0.25)
  assert refused.value.status == 408


def test_a_body_that_never_ends_is_not_read_to_its_end():
  read = []

  def endless():
    while True:
      read.append(1)
      yield b"a"

  with pytest.raises(forms.RefusedError, match="limit is 3 bytes"):
    body_of(endless(), size=3)
  assert len(read) == 13  # four times the limit


# Batches


def test_requests_that_are_batched_say_what_each_says_alone(client, service):
  given = [{"image": png(seed)} for seed in range(12)]
  ask = lambda files: client.post("/predict", files=files).json()["stages"]
  alone = [ask(files) for files in given]
  with concurrent.futures.ThreadPoolExecutor(12) as pool:
    together = [*pool.map(ask, given)]
  for one, other in zip(alone, together, strict=True):
    for stage in one:
      assert one[stage]["probabilities"] == pytest.approx(
        other[stage]["probabilities"], abs=1e-5
      )


class Slow:
  """A student that remembers the sizes of its batches."""

  def __init__(self, wrong=False):
    self.sizes, self.wrong = [], wrong

  def outputs(self, batch):
    self.sizes.append(len(batch["x"]))
    time.sleep(0.05)
    if self.wrong:
      raise RuntimeError("no memory")
    return {"y": 2 * batch["x"]}


def test_what_waits_while_a_batch_is_computed_is_the_next_batch():
  student = Slow()
  batcher = batches.Batcher({"a": student})
  futures = [batcher.submit({"a": {"x": np.float32(row)}}) for row in range(99)]
  said = [future.result(20)["a"].outputs["y"] for future in futures]
  assert said == [2 * row for row in range(99)]
  assert student.sizes == [64, 35]
  batcher.close()


def test_a_batch_that_fails_does_not_end_the_thread():
  student = Slow(wrong=True)
  batcher = batches.Batcher({"a": student})
  with pytest.raises(RuntimeError, match="no memory"):
    batcher.submit({"a": {"x": np.float32(1)}}).result(20)
  student.wrong = False
  assert batcher.submit({"a": {"x": np.float32(1)}}).result(20)
  cancelled = [batcher.submit({"a": {"x": np.float32(1)}}) for _ in range(2)]
  assert cancelled[1].cancel()
  batcher.close()
  assert len(student.sizes) == 3


def test_no_request_compiles_a_program(client, service):
  import jax

  student = service.served.students["alone"]
  with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
    logged = []
    patch.setattr(
      "jax._src.interpreters.pxla.logger.log",
      lambda level, text, *rest: logged.append(text % rest),
    )
    for count in (1, 3, 64):
      student.outputs({"image": np.zeros((count, 8, 8, 1), np.float32)})
    assert logged == []
    jax.jit(lambda x: x + 1)(np.zeros(3))
    assert logged  # so a compilation would have been seen


# Files

WRITING = []


def note_writing(event, arguments):
  if event == "open" and WRITING and WRITING[0] is not None:
    _, mode, flags = arguments
    if (mode and set(mode) & set("wax+")) or (flags or 0) & 3:
      WRITING.append(arguments[0])


sys.addaudithook(note_writing)


def test_a_request_writes_no_file(client):
  WRITING[:] = [True]
  try:
    image = png(0, (1000, 1200))  # noise: 1.2 MB
    assert len(image) > 1 << 20
    assert client.post("/predict", files={"image": image}).is_success
    assert client.post("/predict", files={"image": bytes(SIZE + 1)}).is_error
    assert client.post("/predict", json={"text": "odd"}).is_success
    assert WRITING == [True]
    with open("/dev/null", "w"):  # the hook sees it
      assert WRITING[1:] == ["/dev/null"]
  finally:
    WRITING.clear()


# Examples


def test_an_example_is_a_request_that_gives_the_arrays_of_its_row(client):
  from kdjax.data import digits

  rows = digits.load("test")
  answer = client.get("/examples/7").json()
  row = rows[len(rows) - 1]
  assert answer["label"] == str(row["label"])
  assert client.post("/predict", json=answer["inputs"]).is_success
  decoded = base64.b64decode(answer["inputs"]["image"])
  pixels = np.asarray(Image.open(io.BytesIO(decoded))) / 255
  np.testing.assert_allclose(pixels, row["image"][..., 0], atol=1 / 500)
  ids, _ = digits.vocabulary().encode([answer["inputs"]["text"]], digits.LENGTH)
  np.testing.assert_array_equal(ids[0], row["text"])


RNG = np.random.default_rng(0)
ROWS = [
  (
    Input("image", kinds.IMAGE, (5, 4, 3), "uint8", low=0, high=255),
    RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8),
  ),
  (
    Input(
      "audio",
      kinds.AUDIO,
      (400,),
      "float32",
      low=-1,
      high=1,
      decoding={"sample_rate": 400},
    ),
    RNG.integers(-(2**15), 2**15, 400).astype(np.float32) / 2**15,
  ),
  (
    Input("audio", kinds.AUDIO, (400,), "int16", decoding={"sample_rate": 400}),
    RNG.integers(-(2**15), 2**15, 400).astype(np.int16),
  ),
  (
    Input("steps", kinds.SEQUENCE, (7, 2), "float32", mask=(7,)),
    RNG.normal(size=(7, 2)).astype(np.float32),
  ),
  (
    Input("numbers", kinds.NUMBERS, (3,), "float32"),
    RNG.normal(size=3).astype(np.float32),
  ),
  (Input("number", kinds.NUMBERS, (), "float32"), np.float32(0.5)),
  (
    Input("maps", kinds.ARRAY, (2, 3, 4), "float32"),
    RNG.normal(size=(2, 3, 4)).astype(np.float32),
  ),
  (Input("codes", kinds.ARRAY, (2,), "int32"), np.array([3, 4], np.int32)),
]


@pytest.mark.parametrize(("it", "array"), ROWS, ids=lambda it: f"{it}"[:20])
def test_the_value_of_an_example_decodes_to_its_array(it, array):
  value = examples._given({it.key: array}, [it], None)[it.key]
  body = json.dumps({it.key: value}).encode()
  given = forms.read(forms.JSON, body, [it])
  decoder = Decoder(Signature("a", (it,), (), ()), {})
  found = decoder.record(given)[it.key]
  assert found.dtype == array.dtype
  np.testing.assert_allclose(found, array, rtol=1e-6)


@pytest.mark.parametrize(
  ("kind", "shape", "part", "expected"),
  [
    (kinds.NUMBERS, (3,), b"1, 2,3\r\n", [1, 2, 3]),
    (kinds.NUMBERS, (3,), b"1\n2\n3", [1, 2, 3]),
    (kinds.NUMBERS, (1,), b"0.5", [0.5]),
    (kinds.SEQUENCE, (2, 2), b"a,b\n1,2\n3,4", [[1, 2], [3, 4]]),
    (kinds.ARRAY, (2, 1), b"[[1], [2.5]]", [[1], [2.5]]),
  ],
)
def test_numbers_can_be_typed_in_a_form(kind, shape, part, expected):
  it = Input("x", kind, shape, "float32")
  head = b'content-disposition: form-data; name="x"'
  body = b"--b\r\n" + head + b"\r\n\r\n" + part + b"\r\n--b--\r\n"
  given = forms.read("multipart/form-data; boundary=b", body, [it])
  decoder = Decoder(Signature("a", (it,), (), ()), {})
  np.testing.assert_array_equal(decoder.record(given)["x"], expected)


@pytest.mark.parametrize(
  ("kind", "value"),
  [
    (kinds.SEQUENCE, [[1, 2], [3]]),
    (kinds.SEQUENCE, "a,b"),
    (kinds.SEQUENCE, "\ud800"),
    (kinds.SEQUENCE, [[1e999, 1]]),
    (kinds.SEQUENCE, [["a", "b"]]),
    (kinds.SEQUENCE, [[[1, 2]]]),
    (kinds.NUMBERS, [1, None]),
    (kinds.NUMBERS, {}),
    (kinds.NUMBERS, [10**400, 1]),
    (kinds.ARRAY, [[1, 2], [3]]),
    (kinds.ARRAY, [["a", "b"], ["c", "d"]]),
    (kinds.ARRAY, [[10**400, 1], [1, 1]]),
    (kinds.ARRAY, [[float("nan"), 1], [1, 1]]),
    (kinds.ARRAY, "x"),
    (kinds.SEQUENCE, "1,2\n" * 1_000_000),
  ],
)
def test_numbers_that_do_not_fit_are_refused(kind, value):
  shape = (2,) if kind == kinds.NUMBERS else (2, 2)
  it = Input("x", kind, shape, "float32")
  body = json.dumps({"x": value}).encode()
  with pytest.raises((forms.RefusedError, ValueError, UserError)):
    Decoder(Signature("a", (it,), (), ()), {}).record(
      forms.read(forms.JSON, body, [it])
    )


@pytest.mark.parametrize(
  ("reader", "text"),
  [
    (Vocabulary(("odd", "even")), "even odd odd"),
    (Vocabulary(("odd", "even")), "no odd"),
    (Characters("abc "), "a cab xx"),
  ],
)
def test_the_text_of_ids_has_these_ids(reader, text):
  ids, mask = reader.encode([text], 10)
  again, _ = reader.encode([reader.text(ids[0])], 10)
  np.testing.assert_array_equal(again, ids)
  assert reader.text(ids[0][mask[0]]) == reader.text(ids[0])


def test_a_data_set_that_does_not_load_leaves_the_examples_out(
  run, monkeypatch
):
  from kdjax.data import digits

  def missing(*_, **__):
    raise OSError("no such file")

  monkeypatch.setattr(digits, "load", missing)
  said = []
  served = opening.of_workdir(run, ["alone"], say=said.append)
  assert not served.examples
  assert said == [
    "Without examples: the test split does not load (no such file)."
  ]


# The page


class Elements(html.parser.HTMLParser):
  """The tags of a page, with their attributes."""

  def __init__(self, text):
    super().__init__()
    self.found = []
    self.feed(text)

  def handle_starttag(self, tag, attributes):
    self.found.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def html_(client):
  return client.get("/").text


def test_the_page_loads_nothing_else(client, html_):
  assert not re.search(
    r"https?:|//\w|@import|url\(", re.sub("// .*", "", html_)
  )
  loads = ("src", "href", "srcset", "action", "data", "poster")
  for _, attributes in Elements(html_).found:
    for key in loads:
      assert attributes.get(key, "data:,") == "data:,"
  policy = client.get("/").headers["content-security-policy"]
  assert "default-src 'none'" in policy


def test_every_input_of_the_page_has_a_label_and_every_button_a_name(html_):
  elements = Elements(html_).found
  labelled = {it["for"] for tag, it in elements if tag == "label"}
  fields = [it for tag, it in elements if tag in ("input", "textarea")]
  assert [it["name"] for it in fields] == ["image", "text"]
  assert {it["id"] for it in fields} == labelled
  for text in re.findall(r"<button[^>]*>([^<]*)</button>", html_):
    assert text.strip()
  assert ("html", {"lang": "en"}) in elements


def test_the_page_refers_only_to_its_own_ids(html_):
  elements = Elements(html_).found
  ids = [it["id"] for _, it in elements if "id" in it]
  assert len(ids) == len({*ids})
  refers = ("for", "aria-labelledby", "aria-describedby", "data-clear")
  for _, attributes in elements:
    for key in (*refers, "data-record"):
      assert attributes.get(key, ids[0]) in ids
  for name in re.findall(r'getElementById\("(.*?)"\)', html_):
    assert name in ids


def test_the_page_shows_names_as_text(service, monkeypatch):
  served = service.served
  named = opening.Served(
    "<script>alert(1)</script>", served.students, served.colours, ()
  )
  monkeypatch.setattr(service, "served", named)
  text = page.render(service, SIZE)
  assert "<script>alert" not in text
  assert "data-example=" not in text.partition("<script>")[0]


def test_the_page_is_for_light_and_dark_and_narrow_screens(html_):
  assert "prefers-color-scheme: dark" in html_
  assert 'name="viewport"' in html_
  assert "max-width: 480px" in html_


# The command


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "python_multipart"])
def test_a_missing_package_names_the_line_that_installs_it(
  package, monkeypatch, capsys, run
):
  monkeypatch.setitem(sys.modules, package, None)
  with pytest.raises(SystemExit) as stop:
    cli.main(["serve", f"--workdir={run}"])
  assert stop.value.code == 2
  said = capsys.readouterr().err
  assert f"'{package}'" in said
  assert 'pip install -e ".[serve]"' in said


@pytest.mark.parametrize(
  ("flags", "reason"),
  [
    ([], "needs --workdir"),
    (["--workdir=x", "stray"], "needs --workdir"),
    (["--workdir=x", "--model=y"], "Both --model and --workdir are given"),
    (["--model=y", "--stage=a"], "Both --model and --stage are given"),
    (["--model=nowhere", "--port=0"], "'nowhere' is no exported student"),
    (["--workdir=x", "--max_mb=0"], "--max_mb=0 is out of range"),
    (["--workdir=x", "--port=70000"], "--port=70000 is no port"),
    (["--workdir=x", "--port=0", "--host=192.0.2.1"], "192.0.2.1:0 cannot"),
    (["--workdir=x", "--port=0"], "x is no workdir"),
  ],
)
def test_a_mistake_in_the_command_is_one_sentence(flags, reason, capsys):
  with pytest.raises(SystemExit) as stop:
    cli.main(["serve", *flags])
  assert stop.value.code == 2
  error = capsys.readouterr().err
  assert reason in error
  assert error.count("\n") == 1


def test_a_taken_port_is_one_sentence():
  with server.bound("127.0.0.1", 0) as first:
    first.listen()
    port = first.getsockname()[1]
    assert server.is_loopback(first)
    with pytest.raises(UserError, match=r"in use.*--port=0"):
      server.bound("127.0.0.1", port)


# A process of its own


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
  return serving.train_birds(tmp_path_factory.mktemp("birds"))


def memory_of(process):
  with open(f"/proc/{process.pid}/status") as file:
    (line,) = [line for line in file if line.startswith("VmRSS")]
  return int(line.split()[1]) / 1024


def mutated(content, rng):
  """Some bytes changed, taken out, doubled, or all after a place cut."""
  content = bytearray(content)
  for _ in range(rng.integers(1, 6)):
    if not content:
      break
    place = int(rng.integers(len(content)))
    kind = rng.integers(4)
    if kind == 0:
      content[place] = rng.integers(256)
    elif kind == 1:
      del content[place : place + int(rng.integers(1, 40))]
    elif kind == 2:
      content[place:place] = content[place : place + int(rng.integers(1, 40))]
    else:
      content[place : place + 4] = rng.bytes(4)
  if rng.random() < 0.1:
    del content[int(rng.integers(len(content) + 1)) :]
  return bytes(content)


def fuzzed(good, rng):
  """A request with something wrong in it, mostly."""
  inputs = {
    key: base64.b64decode(value) if key in ("image", "audio") else value
    for key, value in good.items()
  }
  parts = {
    key: value if isinstance(value, bytes) else json.dumps(value).encode()
    for key, value in inputs.items()
  }
  key = list(parts)[rng.integers(len(parts))]
  kind = rng.integers(4)
  if kind == 0:
    return {"files": {key: rng.bytes(int(rng.integers(3000)))}}
  if kind == 1:
    return {"files": {key: mutated(parts[key], rng)}}
  if kind == 2:
    body = json.dumps(good).encode()
    head = {"content-type": "application/json"}
    return {"headers": head, "content": mutated(body, rng)}
  body = b"".join(
    b'--b\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    % (key.encode(), part)
    for key, part in parts.items()
  )
  headers, content = boundary(mutated(body + b"--b--\r\n", rng))
  return {"headers": headers, "content": content}


@pytest.mark.slow
def test_thousands_of_broken_uploads_are_answered_and_leave_nothing(
  birds, tmp_path
):
  httpx = pytest.importorskip("httpx")
  rng = np.random.default_rng(0)
  with (
    serving.served(birds, tmp_path) as (process, address),
    httpx.Client(base_url=address, timeout=60) as client,
  ):
    good = client.get("/examples/0").json()["inputs"]
    assert good.keys() == {"image", "audio", "sequence", "text", "numbers"}
    assert client.post("/predict", json=good).is_success
    statuses = []
    for number in range(2000):
      answer = client.post("/predict", **fuzzed(good, rng))
      assert 200 <= answer.status_code < 300 or (
        400 <= answer.status_code < 500 and answer.json()["error"]
      ), answer.text
      statuses.append(answer.status_code)
      if number == 499:
        before = memory_of(process)
    grown = memory_of(process) - before
    assert grown < 30, f"{grown:.1f} MiB"
    assert {200, 400, 422} <= {*statuses}
    assert client.get("/health").json()["waiting"] == 0
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert "Ended." in process.stdout.read()
  assert (tmp_path / "errors").read_text().count("Traceback") == 0
  assert not [*(tmp_path / "here").iterdir()]
  assert not [*(tmp_path / "temporary").iterdir()]


@pytest.mark.slow
def test_many_requests_at_once_are_answered_or_told_to_come_again(
  run, tmp_path
):
  httpx = pytest.importorskip("httpx")
  with serving.served(run, tmp_path) as (_, address):
    limits = httpx.Limits(max_connections=200)
    with httpx.Client(base_url=address, timeout=60, limits=limits) as client:
      ask = lambda seed: client.post("/predict", files={"image": png(seed)})
      with concurrent.futures.ThreadPoolExecutor(200) as pool:
        answers = [*pool.map(ask, range(200))]
      assert {it.status_code for it in answers} <= {200, 429}
      for it in answers:
        assert it.status_code == 200 or it.headers["retry-after"] == "1"
      assert answers[0].status_code == 200
      assert client.post("/predict", files={"image": png()}).is_success
