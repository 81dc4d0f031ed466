"""`kdjax export --format=web`: what is written, and a browser's answers."""

import base64
import dataclasses
import functools
import http.server
import io
import json
import os
import pathlib
import re
import threading
import types
import wave

import numpy as np
import pytest
import serving
from PIL import Image

import kdjax
from kdjax import export
from kdjax.errors import UserError
from kdjax.export import folder as folders
from kdjax.export import tokenizers
from kdjax.export.formats import onnx, web
from kdjax.preprocess.tokenizer import Characters
from kdjax.preprocess.words import Vocabulary
from kdjax.students.inputs import IMAGE, TEXT, Input
from kdjax.students.signature import SOFTMAX, Result, Signature

pytest.importorskip("onnxruntime", reason='needs pip install -e ".[export]"')

# Where the npm package's files are, as .ci/run installs them.
DIST = pathlib.Path(os.environ.get("ONNXRUNTIME_WEB", web.DIST)).resolve()
SIZES = [(12, 16), (40, 60), (61, 33), (5, 7), (12, 90), (300, 16)]
TEXTS = [
  "A bird of 3, don't you SEE?",
  "  İstanbul ΟΔΟΣ ΟΔΟΣ. straße e\u0301\u0301 na\u00efve",
  "ク\u200dリ नमस्ते 漢字 🦉 wing's",
  "one two three four five six seven eight nine ten",
]


# What is written


@pytest.fixture
def runtime(tmp_path):
  """A folder with the names of all files that the npm package has, and more."""
  folder = tmp_path / "dist"
  folder.mkdir()
  for name in (*web.RUNTIME_FILES, "ort.all.js", "ort.wasm.bundle.min.mjs.map"):
    (folder / name).write_text(name)
  return folder


def program(*inputs):
  result = Result("probabilities", SOFTMAX, ("<owl>", "tit"))
  signature = Signature("birds/all", inputs, (result,), ("probabilities",))
  return types.SimpleNamespace(signature=signature)


def written(folder, runtime, monkeypatch, one, readers=None):
  """The subfolder of a student, whose model is not converted."""
  monkeypatch.setattr(
    onnx, "write", lambda _, to: (to / onnx.FILE).write_bytes(b"model")
  )
  folder.mkdir()
  texts = tokenizers.write(readers or {}, one.signature, folder)
  content = {"signature": one.signature.to_json(), "tokenizers": texts}
  folders.write_json(folder / folders.SIGNATURE, content)
  return folder / web.write(one, folder, runtime)


PHOTO = Input("photo", IMAGE, (8, 8, 3), "uint8", low=0, high=255)
WORDS = Input("text", TEXT, (6,), "int32", True, (6,), 0, 3)


def test_a_missing_runtime_is_named_with_the_npm_line(tmp_path):
  with pytest.raises(UserError, match="npm install onnxruntime-web@") as error:
    export.export(
      tmp_path, "any", tmp_path / "out", formats=("web",), runtime=tmp_path
    )
  for name in web.RUNTIME_FILES:
    assert name in f"{error.value}"
  assert not [*tmp_path.iterdir()]


def test_the_folder_has_what_the_page_loads_and_nothing_else(
  tmp_path, runtime, monkeypatch
):
  readers = {"text": Vocabulary(("owl", "tit"))}
  one = program(PHOTO, WORDS)
  made = written(tmp_path / "out", runtime, monkeypatch, one, readers)
  assert {it.name for it in made.iterdir()} == {
    *("index.html", "student.onnx", "student.json", "tokenizer.json"),
    *web.RUNTIME_FILES,
  }
  script = (made / "index.html").read_text()
  # The runtime finds its own .wasm.
  for name in ("student.onnx", "student.json", web.RUNTIME_FILES[0]):
    assert f'"{name}"' in script or f'"./{name}"' in script
  assert " disabled>" not in script


def test_the_page_has_no_address_of_another_place(
  tmp_path, runtime, monkeypatch
):
  made = written(tmp_path / "out", runtime, monkeypatch, program(PHOTO))
  text = (made / "index.html").read_text()
  assert not re.search(r"https?:|[\"'(]/\w|//\w|@import|url\(", text)
  for value in re.findall(r'(?:src|href)="([^"]*)"', text):
    assert value == "data:,"
  assert str(tmp_path) not in text
  assert "default-src &#39;none&#39;" in text


def test_a_tokenizer_that_the_page_does_not_read_needs_a_server(
  tmp_path, runtime, monkeypatch
):
  made = written(tmp_path / "no", runtime, monkeypatch, program(PHOTO, WORDS))
  assert "needs a server" in (made / "index.html").read_text()
  assert not (made / "tokenizer.json").exists()
  needed = Input("text", TEXT, (6,), "int32", False, (6,), 0, 3)
  with pytest.raises(UserError, match="needs a server: kdjax serve --model"):
    written(tmp_path / "text", runtime, monkeypatch, program(needed))


@pytest.mark.parametrize(
  ("change", "is_read"),
  [
    ({}, True),
    ({"model": {"type": "WordPiece"}}, False),
    ({"normalizer": {"type": "Lowercase"}}, False),
    ({"normalizer": None}, False),
    ({"pre_tokenizer": {"type": "Whitespace"}}, False),
    ({"pre_tokenizer": None}, False),
    ({"post_processor": {"type": "TemplateProcessing"}}, False),
  ],
)
def test_only_tokenizers_of_words_are_read(tmp_path, change, is_read):
  content, _ = tokenizers._content(Vocabulary(("owl",)))
  path = tmp_path / "tokenizer.json"
  path.write_text(json.dumps(json.loads(content) | change))
  assert web._is_read(path) == is_read
  path.write_text(tokenizers._content(Characters("owl"))[0])
  assert web._is_read(path)


def test_a_student_without_a_result_has_no_page(tmp_path, runtime, monkeypatch):
  signature = Signature("birds/all", (PHOTO,), (), ("embedding",))
  one = types.SimpleNamespace(signature=signature)
  with pytest.raises(UserError, match="no result to show"):
    written(tmp_path / "out", runtime, monkeypatch, one)


# In a browser


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
  """A run of a student of all kinds of inputs."""
  try:
    web.check(DIST)
  except UserError as error:
    pytest.skip(f"{error} ONNXRUNTIME_WEB is this folder for tests.")
  return serving.train_birds(tmp_path_factory.mktemp("birds"))


KINDS = ("image", "audio", "sequence", "text", "numbers")


@pytest.fixture(scope="module")
def students(birds, tmp_path_factory):
  """Exported folders of the student, and of it with one input alone."""
  root = tmp_path_factory.mktemp("students")
  for name in ("all", "image", "text"):
    left = [key for key in KINDS if name not in ("all", key)]
    options = {"formats": ("web",), "runtime": DIST, "without": left}
    made = export.export(birds, "all", root / name, **options)
    (it,) = made.files
    assert it.difference < 1e-5
    assert not it.seconds
    assert it.bytes > sum(
      (root / name / "web" / file).stat().st_size for file in web.RUNTIME_FILES
    )
    assert "`web`" in (root / name / folders.CARD).read_text()
  return root


@pytest.fixture(scope="module")
def address(students):
  """Of a server of plain files."""
  quiet = type(
    "Quiet",
    (http.server.SimpleHTTPRequestHandler,),
    {"log_message": lambda *_: None},
  )
  server = http.server.ThreadingHTTPServer(
    ("127.0.0.1", 0), functools.partial(quiet, directory=f"{students}")
  )
  threading.Thread(target=server.serve_forever, daemon=True).start()
  yield f"http://127.0.0.1:{server.server_port}"
  server.shutdown()


@pytest.fixture(scope="module")
def opened(browser, address):
  """name -> the page of a student; it may load from its own folder alone."""
  pages, faults = {}, []

  def open_(name):
    if name not in pages:
      page = browser.new_page()
      page.set_default_timeout(120_000)
      own = f"{address}/{name}/web/"
      page.on(
        "request",
        lambda it: (
          it.url.startswith((own, "blob:", "data:")) or faults.append(it.url)
        ),
      )
      page.on("console", lambda it: it.type == "error" and faults.append(it))
      page.on("pageerror", lambda error: faults.append(error))
      page.goto(f"{own}index.html")
      said_to_be(page, "Ready.")
      pages[name] = page
    return pages[name]

  yield open_
  assert not faults


def said_to_be(page, status):
  from playwright.sync_api import expect

  expect(page.locator("#status")).to_have_text(status, timeout=120_000)


def png(size, mode="RGB", seed=0):
  channels = {"RGB": 3, "RGBA": 4}.get(mode)
  shape = size if channels is None else (*size, channels)
  pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, "PNG")
  return file.getvalue()


def wav(seed=0):
  samples = np.random.default_rng(seed).integers(-9000, 9000, 3000)
  file = io.BytesIO()
  with wave.open(file, "wb") as sound:
    sound.setparams((1, 2, 4000, 0, "NONE", ""))
    sound.writeframes(samples.astype("<i2").tobytes())
  return file.getvalue()


def csv(seed=0):
  rows = np.random.default_rng(seed).normal(size=(9, 3)).round(4)
  return "\n".join(["x,y,z", *(",".join(map(str, row)) for row in rows)])


def file_of(content, name):
  return {"name": name, "mimeType": "", "buffer": content}


def shown(page):
  """Class -> percent, as the bars of the page have it."""
  page.wait_for_selector(".bars li")
  names = page.locator(".bars .name").all_text_contents()
  percent = page.locator(".bars .number").all_text_contents()
  return {
    name: float(text.partition(" ")[0])
    for name, text in zip(names, percent, strict=True)
  }


def same(bars, said):
  assert next(iter(bars)) == said.top()[0][0]
  for name, value in said.probabilities().items():
    assert bars[name] == pytest.approx(100 * value, abs=0.11)


@pytest.mark.slow
def test_arrays_give_the_probabilities_of_python(opened, students, birds):
  student = kdjax.student(birds, "all")
  decode = student.decoder.record
  image, text = png((40, 60)), "a bird of 3"
  of_all = {
    "image": image,
    "audio": wav(),
    "sequence": [[1.0, 2, 3], [4, 5, 6]],
    "text": text,
    "numbers": [3.0, -3.0],
  }
  for name, record in {
    "all": of_all,
    "image": {"image": image},
    "text": {"text": text},
  }.items():
    own = {it.key for it in folders.read(students / name)[1].inputs}
    arrays = decode(record)
    given = {
      key: array.tolist()
      for key, array in arrays.items()
      if key.rpartition("/")[2] in own
    }
    made = opened(name).evaluate("given => window.student.run(given)", given)
    expected = student.outputs({key: x[None] for key, x in arrays.items()})
    np.testing.assert_allclose(
      made["probabilities"], expected["probabilities"][0], atol=1e-4
    )


@pytest.mark.slow
def test_files_and_fields_give_the_classes_of_python(opened, birds):
  record = {
    "image": png((40, 60)),
    "audio": wav(),
    "sequence": csv().encode(),
    "text": "A bird of 3",
    "numbers": [3.0, -3.0],
  }
  page = opened("all")
  page.set_input_files("[name=image]", file_of(record["image"], "owl.png"))
  page.set_input_files("[name=audio]", file_of(record["audio"], "owl.wav"))
  page.fill("[name=sequence]", csv())
  page.fill("[name=text]", record["text"])
  page.fill("[name=numbers]", "3, -3")
  page.evaluate("predict()")
  assert page.locator(".senses .used").count() == len(KINDS)
  student = kdjax.student(birds, "all")
  (said,) = student.predict([record])
  assert not said.fault
  same(shown(page), said)
  assert " ms" in page.text_content(".time")


@pytest.mark.slow
def test_a_dropped_image_gives_the_class_of_python(opened, birds):
  page, student = opened("image"), kdjax.student(birds, "all")
  for seed in range(3):
    content = png((61, 33), seed=seed)
    page.set_input_files("[name=image]", file_of(content, "owl.png"))
    page.evaluate("predict()")
    said_to_be(page, "Done.")
    (said,) = student.predict([{"image": content}])
    same(shown(page), said)


DECODE = """async ([it, content]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  return Array.from((await DECODED[it.kind](it, new File([bytes], "x")))[0]);
}"""


def decoded(page, it, content):
  given = [dataclasses.asdict(it), base64.b64encode(content).decode()]
  return np.reshape(page.evaluate(DECODE, given), it.shape)


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize(
  ("mode", "channels"), [("RGB", 3), ("RGB", 1), ("L", 1), ("RGBA", 3)]
)
def test_images_become_the_pixels_of_pillow(opened, mode, channels, fit):
  from kdjax.preprocess import images

  it = Input(
    *("image", IMAGE, (12, 16, channels), "uint8"), decoding={"fit": fit}
  )
  for size in SIZES:
    content = png(size, mode)
    expected = images.decode(
      io.BytesIO(content), (12, 16), channels=channels, fit=fit
    )
    found = decoded(opened("image"), it, content)
    # Versions of Pillow round between the two axes in another order, and a
    # browser blends transparency with other rounding.
    limit = 2 if mode == "RGBA" else 1
    assert np.abs(found - expected.astype(int)).max() <= limit, size


@pytest.mark.slow
def test_an_image_is_upright_by_its_exif(opened):
  from kdjax.preprocess import images

  ramp = np.add.outer(np.arange(48) * 4, np.arange(30) * 2).astype(np.uint8)
  for orientation in (1, 3, 6, 8):
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(ramp).save(file, "JPEG", exif=exif, quality=95)
    expected = images.decode(io.BytesIO(file.getvalue()), (12, 16), channels=1)
    it = Input("image", IMAGE, (12, 16, 1), "uint8")
    found = decoded(opened("image"), it, file.getvalue())
    assert np.abs(found - expected.astype(int)).max() <= 2


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["words", "characters"])
def test_texts_become_the_ids_of_python(opened, reader):
  from kdjax.preprocess import tokenizer

  made = tokenizer.make(reader, TEXTS[:3])
  content, padding = tokenizers._content(made)
  call = """([whole, padding, texts, length]) => {
    const read = readerOf(JSON.parse(whole), padding);
    return texts.map((text) => read(text, length).ids);
  }"""
  for length in (3, 60):
    expected, _ = made.encode(TEXTS, length)
    found = opened("text").evaluate(call, [content, padding, TEXTS, length])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("field", "value", "reason"),
  [
    ("text", "!?", "'text': a text without a word."),
    ("sequence", "1,2\n", "'sequence': a step of 2 numbers, expected 3."),
    ("sequence", "1,2,3\n1,b,3", "'sequence': 'b' is no number."),
    ("numbers", "1", "'numbers': 1 numbers, expected 2."),
  ],
)
def test_a_wrong_input_is_one_sentence(opened, field, value, reason):
  page = opened("all")
  page.evaluate("form.reset()")
  page.fill(f"[name={field}]", value)
  page.click("[type=submit]")
  said_to_be(page, reason)


@pytest.mark.slow
def test_no_input_and_no_image_are_sentences(opened):
  page = opened("image")
  page.evaluate("form.reset()")
  page.click("[type=submit]")
  said_to_be(page, "No input is given.")
  page.set_input_files("[name=image]", file_of(b"no image", "owl.png"))
  said_to_be(page, "'image': not an image that this browser reads.")
  with pytest.raises(Exception, match=r"has 3 numbers. Expected uint8"):
    page.evaluate("window.student.run({image: [1, 2, 3]})")


@pytest.mark.slow
def test_an_opened_file_says_why_it_does_not_work(browser, students):
  page = browser.new_page()
  page.goto((students / "text/web/index.html").as_uri())
  page.wait_for_selector("#status.wrong")
  assert "python -m http.server" in page.text_content("#status")
  page.close()
