"""Every network of `models/` in every format that runs, at its smallest."""

import json
import pathlib

import jax
import numpy as np
import pytest
import test_models

from kdjax import registry
from kdjax.export import formats, runner

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
OUTPUTS = ("embedding", "logits")
CASES = [
  (name, number)
  for name in registry.names("models")
  for number in range(1 + len(test_models.VARIANTS.get(name, ())))
]


class Network:
  """A network with random variables, as formats take a student's program."""

  outputs = OUTPUTS

  def __init__(self, name, options):
    self.example = test_models.Example(name, options)
    self.names = tuple(sorted(self.example.inputs))

  def __call__(self, *arrays):
    inputs = dict(zip(self.names, arrays, strict=True))
    made = self.example.model.apply(self.example.variables, inputs, train=False)
    return tuple(made[name] for name in self.outputs)

  def shapes(self, batch):
    inputs = self.example.inputs
    return [
      jax.ShapeDtypeStruct((batch, *inputs[name].shape[1:]), inputs[name].dtype)
      for name in self.names
    ]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case}")
def network(request):
  name, number = request.param
  options = ({}, *test_models.VARIANTS.get(name, ()))[number]
  return Network(name, options)


@pytest.mark.parametrize("name", ["stablehlo", "onnx", "litert"])
def test_a_network_says_the_same_in_a_format(network, name, tmp_path):
  module = formats.named(name)
  missing = formats.lacking((*module.PACKAGES, *module.RUNTIME))
  if missing:
    pytest.skip(f"{name} needs {missing}; test_export_environments.py has it.")
  (tmp_path / "student.json").write_text(
    json.dumps({"arguments": network.names, "outputs": OUTPUTS})
  )
  file = module.write(network, tmp_path)
  call, any_size = runner.opened(str(tmp_path / file), list(OUTPUTS))
  made = runner.run(call, any_size, network.example.inputs)
  for output in OUTPUTS:
    wanted = np.asarray(network.example.outputs[output])
    largest = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(made[output], wanted, atol=1e-4 * largest)
  # A batch of any size; a LiteRT file has one example.
  assert any_size == (name != "litert")
