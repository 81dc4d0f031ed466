import sys; sys.path.insert(0, "/work/main/tests")
import numpy as np, pytest, jax
import test_devices as td
from test_devices import train, furthest, registered
from kdjax import config, rooms, workdir

def exp(name, views=(), network=None, terms=None, **options):
  network = network or (lambda w: config.network("smooth", width=w))
  terms = terms or {"cross_entropy": config.term("cross_entropy")}
  stage = config.stage(network(16), teachers={"teacher": config.teacher("teacher")}, terms={}, optimizer=config.optimizer("sgd", learning_rate=0.005), batch_size=32)
  made = rooms.find("methods", name)(stage, **options)
  return workdir.resolve(config.experiment("d", seeds=2, data=config.data("digits", labelled_fraction=0.125, views=views),
    stages={"teacher": config.stage(network(12), terms=terms), "distilled": made[-1]} if len(made)==1 else {"teacher": config.stage(network(12), terms=terms), "distilled-1": made[0], "distilled": config.named("distilled", made)["distilled"]}))

def towers(width):
  return config.network("two_tower", encoders={"image": config.network("smooth", width=8), "text": config.network("text_transformer", vocabulary=17, width=8, depth=1, heads=2)}, width=width, num_classes=10)

CASES = {
 "crd": dict(name="crd", data_size=1800, negatives=32, width=8),
 "queue": dict(name="crd", memory="queue", data_size=1800, negatives=48, width=8),
 "batch": dict(name="crd", memory="batch", data_size=1800, width=8),
 "sskd": dict(name="sskd", views=("rotate90","rotate180","rotate270")),
 "clip_kd": dict(name="clip_kd", views=("masked",), network=towers, terms={"cross_entropy": config.term("cross_entropy")}, cross_kd=1.0, gd=1e2, mfd=20.0, fd=20.0, afd=1.0),
 "tinyclip": dict(name="tinyclip", network=towers, task=1.0, labels=1.0),
}

@pytest.mark.parametrize("case", CASES)
def test_same(case, monkeypatch):
  plain = exp(**CASES[case])
  expected, losses = train(plain, "pmap", 1, "loop")
  assert np.all(np.isfinite(losses))
  print(case, losses[0], losses[-1])
  for kind in ("pmap",):
    states, here = train(plain, kind, 8, "vmap")
    for state, want in zip(states, expected, strict=True):
      p, c = furthest(state.params, want.params), furthest(state.collections, want.collections)
      print(case, kind, p, c, np.abs(here-losses).max())
      assert p < 1e-4 and c < 1e-4
