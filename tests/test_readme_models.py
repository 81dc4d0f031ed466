"""READMEs of kdjax/models and kdjax/pretrained; messages of the contract."""

import re
from inspect import signature

import pytest
import test_models

from kdjax import pretrained, registry

FOLDER = registry.PACKAGE
MODELS = (FOLDER / "models" / "README.md").read_text()
PRETRAINED = (FOLDER / "pretrained" / "README.md").read_text()
(NETWORK,) = [
  block
  for block in re.findall(r"```python\n(.*?)```", MODELS, re.DOTALL)
  if "class Model" in block
]
CONTRACT = [
  test
  for name, test in vars(test_models).items()
  if name.startswith("test_") and [*signature(test).parameters] == ["example"]
]


def rows(text):
  """The first cells of a README's table: name -> linked file."""
  return dict(re.findall(r"^\| \[`(\w+)`\]\(([^)]+)\) \|", text, re.MULTILINE))


def row(text, name):
  return re.search(rf"^\| \[`{name}`\].*$", text, re.MULTILINE).group()


def test_every_network_has_a_row():
  table = rows(MODELS)
  assert table == {name: f"{name}.py" for name in registry.names("models")}


def test_every_network_with_published_weights_has_a_row_with_its_types():
  supported = pretrained.loading._supported()
  table = rows(PRETRAINED)
  assert table == {name: f"../models/{name}.py" for name in supported}
  for name, types in supported.items():
    assert row(PRETRAINED, name).split(" | ")[1].split(", ") == [*types]
  published = {n for n in rows(MODELS) if "published" in row(MODELS, n)}
  assert published == {*supported}


def check_contract(folder, source):
  path = folder / "mine.py"
  path.write_text(source)
  example = test_models.Example(str(path), {})
  for test in CONTRACT:
    test(example)


def test_the_network_of_the_readme_keeps_the_contract(tmp_path):
  assert len(CONTRACT) >= 10
  check_contract(tmp_path, NETWORK)


# Changes of the README's network, and a part of the contract's message.
BROKEN = {
  "no dropout": ({"self.dropout": "0.0"}, "must apply `dropout`"),
  "no field dropout": (
    {"  dropout: float = 0.0\n": "", "self.dropout": "0.0"},
    "must have the field `dropout`",
  ),
  "dropout in inference": (
    {"deterministic=not train": "deterministic=False"},
    "must not apply dropout when train is False",
  ),
  "no reads": (
    {"OneModality, nn.Module": "nn.Module"},
    "must have the property `reads`",
  ),
  "another dtype": (
    {"x.astype(jnp.float32)": "x"},
    "must return float32 embedding",
  ),
  "variables of another dtype": (
    {"width, dtype": "width, param_dtype"},
    "must be float32 for any `dtype`; found bfloat16",
  ),
  "no logits": ({'outputs["logits"]': 'outputs["a"]'}, "must return `logits`"),
  "no embedding": ({'"embedding": embedding': ""}, "must return `embedding`"),
  "nested": ({'"stage0": x': '"a": {"b": x}'}, "must return a flat dict"),
  "no batch axis": ({'"stage0": x': '"a": x.T'}, "must be the batch; 'a' has"),
  "batch mean": (
    {"x = nn.relu(x)": "x = x - x.mean(0, keepdims=True)"},
    "must not depend on the other examples",
  ),
  "no axis_name": (
    {"  axis_name: str | None = None\n": ""},
    "must have the field `axis_name`",
  ),
  "no docstring": (
    {"    width: D.\n": ""},
    "must describe the option `width`",
  ),
  "unused parameter": (
    {'"stage0": x': '"stage0": x * 0, "a": nn.Dense(3)(x) * 0'},
    "must change an output; unused: Dense_1/bias, Dense_1/kernel.",
  ),
  "more inputs": (
    {'"stage0": x': '"stage0": inputs.get("index", x)'},
    "must use the keys of `reads` only",
  ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_contract_says_what_to_do(name, tmp_path):
  changes, message = BROKEN[name]
  source = NETWORK
  for old, new in changes.items():
    assert old in source
    source = source.replace(old, new)
  with pytest.raises(AssertionError) as error:
    check_contract(tmp_path, source)
  text = " ".join(str(error.value).split())
  assert "`Model` of models/mine.py" in text and message in text
