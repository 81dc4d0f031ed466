"""Cases that no golden file has: other sizes, constants and names.

`recipes()` lists at least three for each method of the golden cases. Sizes are
odd where the public code allows them, and all dimensions of a case differ. What
is expected of a case comes from tests/public_forms.py; seeds are fixed.
"""

import dataclasses
import zlib
from typing import Any

import numpy as np
import public_forms

# Inputs that have a gradient, besides the student's and parameters.
LEARNED = {"W"}

RTOL = {"loss": 1e-5, "grad_of_max": 1e-4}


@dataclasses.dataclass(frozen=True)
class Recipe:
  """A case before its arrays are drawn; its name is the seed."""

  name: str  # method.number
  method: str
  hyper: dict[str, Any]
  inputs: dict[str, Any]  # name -> a function of a generator, or an array
  listed: bool = False  # whether each layer's loss is an output
  fixed: bool = False  # whether nothing has a gradient
  code: str = ""  # repository of the public code
  by_name: bool = False  # whether the inputs are sorted by name
  rtol: dict[str, float] = dataclasses.field(default_factory=lambda: RTOL)

  def build(self):
    """The case, as an entry of goldens.json, and its arrays by key."""
    random = np.random.default_rng(zlib.crc32(self.name.encode()))
    arrays = {
      name: make(random) if callable(make) else np.asarray(make)
      for name, make in self.inputs.items()
    }
    learned = [name for name in arrays if self._is_learned(name)]
    form = lambda cotangents: public_forms.evaluate(
      self.method,
      self.hyper,
      arrays,
      learned,
      cotangents,
      listed=self.listed,
      code=self.code,
    )
    outputs, gradients = form({})
    cotangents = {
      name: random.standard_normal(value.shape)
      for name, value in outputs.items()
      if value.shape
    }
    if cotangents:
      outputs, gradients = form(cotangents)
    expect = {
      name: {"f64": f"{name}.f64", "shape": value.shape, "cot": f"{name}.cot"}
      if value.shape
      else {"f64": float(value)}
      for name, value in outputs.items()
    }
    keys = {f"{n}.f64": v for n, v in outputs.items()}
    keys |= {f"{n}.cot": v for n, v in cotangents.items()}
    keys |= {f"{n}.grad": v for n, v in gradients.items()}
    case = {
      "id": self.name,
      "method": self.method,
      "repo": self.code,
      "hyper": self.hyper,
      "inputs": {
        name: {"key": name}
        for name in (sorted(arrays) if self.by_name else arrays)
      },
      "expect": expect,
      "grads": {name: f"{name}.grad" for name in gradients},
      "rtol": self.rtol,
    }
    return case, arrays | keys

  def _is_learned(self, name):
    if self.fixed:
      return False
    return name[0] == "s" or name.startswith("param:") or name in LEARNED


def n(*shape, scale=1.0, shift=0.0):
  """Normal numbers."""
  return lambda random: np.float32(
    shift + scale * random.standard_normal(shape)
  )


def w(*shape):
  """A kernel or a bias."""
  return n(*shape, scale=0.3)


def g(*shape):
  """A scale of BatchNorm, or another number near 1."""
  return n(*shape, scale=0.2, shift=1.0)


def positive(*shape):
  return lambda random: np.float32(np.exp(0.3 * random.standard_normal(shape)))


def unit(*shape):
  """Rows of length 1."""

  def make(random):
    rows = random.standard_normal(shape)
    return np.float32(rows / np.linalg.norm(rows, axis=-1, keepdims=True))

  return make


def label(*shape, classes):
  return lambda random: random.integers(0, classes, size=shape)


def mask(*lengths, total, dtype=np.float32):
  """A mask of as many tokens as each length."""
  return (np.arange(total)[None] < np.array(lengths)[:, None]).astype(dtype)


def params(**arrays):
  """Parameters; a double underscore is a dot of their names."""
  return {
    f"param:{name.lstrip('_').replace('__', '.')}": array
    for name, array in arrays.items()
  }


def maps(*pairs):
  """Maps s0, t0, s1, t1, .. of these shapes."""
  inputs = {f"s{i}": n(*pair[0]) for i, pair in enumerate(pairs)}
  return inputs | {f"t{i}": n(*pair[1]) for i, pair in enumerate(pairs)}


def pair(own, other=None, **more):
  """Inputs s and t of these shapes."""
  return {"s": n(*own), "t": n(*(other or own)), **more}


def labelled(size, classes, **more):
  """Logits of both, and labels."""
  return pair((size, classes), y=label(size, classes=classes), **more)


def recipes():
  """All cases."""
  found = []
  for table in (
    LOGITS,
    MIXED,
    TOKENS,
    MAPS,
    LAYERS,
    HEADS,
    RELATIONS,
    CONTRAST,
    CLIP,
    TRANSFORMERS,
  ):
    for method, cases in table.items():
      for hyper, inputs, *rest in cases:
        options = rest[0] if rest else {}
        number = len(
          [one for one in found if one.method == method and not one.by_name]
        )
        recipe = Recipe(f"{method}.{number}", method, hyper, inputs, **options)
        found.append(recipe)
        if number < 2 and any(name.startswith("param:") for name in inputs):
          name = f"{recipe.name}.by_name"
          found.append(dataclasses.replace(recipe, name=name, by_name=True))
  return found


def both(cases, *methods):
  """The same cases for several methods."""
  return dict.fromkeys(methods, cases)


LISTED = {"listed": True}
FIXED = {"fixed": True}
MDISTILLER = {"code": "megvii-research/mdistiller"}
ORIGINAL_ICKD = {"code": "ADLab-AutoDrive/ICKD"}
# As that of the golden case, with a margin for close singular values.
SINGULAR = {"rtol": {"loss": 5e-5, "grad_of_max": 1e-3}}

LOGITS = {
  "kd": [
    ({"T": 3.0}, pair((5, 9))),
    ({"temperature": 1.5}, pair((7, 37))),
    ({"temperature": 2.0}, pair((3, 9, 4, 5))),
    ({"temperature": 3.0, "alpha": 0.3, "reduction": "mean"}, labelled(5, 9)),
    ({"temperature": 2.0, "alpha": 0.3, "reduction": "sum"}, labelled(7, 11)),
    ({"temperature": 2.0, "alpha": 0.7, "beta": 2.5}, labelled(5, 13)),
    ({"temperature": 2.0, "alpha": None, "beta": 1.0}, labelled(5, 13)),
    ({"temperature": 5.0, "alpha": 0, "reduction": "mean"}, labelled(5, 9)),
    ({"T": 4, "alpha": 0.5, "reduction": "batchmean"}, pair((7, 9))),
    ({"T": 4}, {"s": n(7, 11, scale=30.0), "t": n(7, 11, scale=30.0)}),
    (
      {"temperature": 2.0, "alpha": 0.5},
      pair((3, 9, 4, 5), y=label(3, 4, 5, classes=9)),
    ),
    (
      {"temperature": 2.0, "alpha": 0.5, "reduction": "mean"},
      pair((3, 9, 4, 5), y=label(3, 4, 5, classes=9)),
    ),
    ({"temperature": 3.0, "reduction": "none", "alpha": 0}, labelled(5, 9)),
  ],
  "kd_noT2": [
    ({"temperature": 3.0, "alpha": None, "beta": 1.0}, pair((5, 9))),
    ({"temperature": 2.0, "reduction": "sum"}, pair((7, 37))),
    ({"T": 2.0, "reduction": "mean"}, pair((7, 13))),
    ({"T": 2.0}, pair((3, 9, 4, 5))),
    ({"temperature": 3.0, "reduction": "none"}, pair((5, 9))),
    ({"temperature": 3.0, "reduction": "none"}, pair((3, 9, 4, 5))),
  ],
  "kd_elementmean": [
    ({"alpha": 0.95, "temperature": 6.0, "multiplier": 50.0}, labelled(5, 9)),
    ({"T": 2.0, "lambda_": 0.3}, labelled(7, 13)),
    ({"T": 1.0}, pair((5, 37))),
  ],
  "kd_hard": [
    ({"loss_type": "hard"}, pair((5, 9))),
    ({}, pair((7, 37))),
    ({"loss_type": "hard"}, pair((3, 2))),
    ({}, pair((3, 9, 4, 5))),
  ],
  "skd_instance": [
    ({"temperature": 1.0}, pair((5, 9))),
    ({"temperature": 6.0}, pair((7, 37))),
    ({"T": 2.5}, pair((11, 3))),
  ],
  "dml": [
    ({}, pair((5, 9))),
    ({}, pair((7, 37))),
    ({"eps": 1e-8}, pair((11, 2))),
    ({}, pair((3, 9, 4, 5))),
  ],
  "dkd": [
    ({"alpha": 2.0, "beta": 0.5, "temperature": 2.0}, labelled(5, 9)),
    ({"alpha": 1.0, "beta": 6.0, "temperature": 3.0}, labelled(7, 37)),
    ({"alpha": 0.5, "beta": 2.0, "temperature": 1.0}, labelled(11, 3)),
    ({"temperature": 2.0}, labelled(5, 2)),
    (
      {},
      {
        "s": n(7, 11, scale=8.0),
        "t": n(7, 11, scale=8.0),
        "y": label(7, classes=11),
      },
    ),
  ],
  "dkd_tckd": [
    ({"alpha": 1.0, "beta": 0.0, "temperature": 2.0}, labelled(5, 9)),
    ({"alpha": 3.0, "beta": 0.0, "temperature": 1.0}, labelled(7, 37)),
    ({"temperature": 4.0}, labelled(11, 3)),
  ],
  "dkd_nckd": [
    ({"alpha": 0.0, "beta": 1.0, "temperature": 2.0}, labelled(5, 9)),
    ({"alpha": 0.0, "beta": 8.0, "temperature": 1.0}, labelled(7, 37)),
    ({"temperature": 4.0}, labelled(11, 3)),
  ],
  "nkd": [
    ({"temp": 3.0, "gamma": 0.7}, labelled(5, 9)),
    ({"temp": 1.0, "gamma": 1.5}, labelled(7, 37)),
    ({"temp": 2.0}, labelled(11, 3)),
    ({"temperature": 2.0}, labelled(5, 2)),
    (
      {},
      {
        "s": n(7, 11, scale=8.0),
        "t": n(7, 11, scale=8.0),
        "y": label(7, classes=11),
      },
    ),
  ],
  "wsld": [
    ({"temp": 2.0, "alpha": 2.5}, labelled(5, 9)),
    ({"temp": 4.0, "alpha": 1.0}, labelled(7, 37)),
    ({"temp": 1.0}, labelled(11, 3)),
  ],
  "ofa": [
    ({"eps": 1.0, "temperature": 1.0}, labelled(5, 9)),
    ({"eps": 1.3, "temperature": 2.0}, labelled(7, 37)),
    ({"eps": 2.0, "temperature": 1.0}, labelled(11, 3)),
    ({"temperature": 2.0}, labelled(5, 2)),
    (
      {},
      {
        "s": n(7, 11, scale=8.0),
        "t": n(7, 11, scale=8.0),
        "y": label(7, classes=11),
      },
    ),
  ],
  "dist": [
    ({"beta": 0.5, "gamma": 2.0, "eps": 1e-8}, pair((5, 9))),
    ({"beta": 2.0, "gamma": 1.0, "tau": 3, "eps": 1e-8}, pair((7, 37))),
    ({"beta": 1.0, "gamma": 1.5}, pair((3, 9, 4, 5))),
    ({"tau": 2.0}, pair((11, 3))),
    ({}, {"s": n(7, 11, scale=10.0), "t": n(7, 11, scale=10.0)}),
  ],
  "skd_direction": [
    ({"tikhonov": 0.5}, pair((5, 9))),
    ({"tikhonov": 0.01}, pair((7, 37))),
    ({}, pair((11, 3))),
  ],
  "mlkd_cc": [
    ({"temperature": 2.0}, pair((5, 9))),
    ({"temperature": 1.0}, pair((7, 37))),
    ({"temperature": 6.0}, pair((11, 3))),
    ({}, {"s": n(7, 11, scale=10.0), "t": n(7, 11, scale=10.0)}),
  ],
  "mlkd_bc": [
    ({"temperature": 2.0}, pair((5, 9))),
    ({"temperature": 1.0}, pair((7, 37))),
    ({"temperature": 6.0}, pair((11, 3))),
    ({}, {"s": n(7, 11, scale=10.0), "t": n(7, 11, scale=10.0)}),
  ],
  "tfkd_reg": [
    (
      {"reg_alpha": 0.1, "reg_temperature": 40.0, "multiplier": 50.0},
      {"s": n(5, 9), "y": label(5, classes=9)},
    ),
    (
      {"reg_alpha": 0.5, "reg_temperature": 10.0, "correct_prob": 0.9},
      {"s": n(7, 37), "y": label(7, classes=37)},
    ),
    ({}, {"s": n(11, 3), "y": label(11, classes=3)}),
  ],
  "label_smoothing": [
    ({"alpha": 0.3}, {"s": n(5, 9), "y": label(5, classes=9)}),
    ({"alpha": 0.05}, {"s": n(7, 37), "y": label(7, classes=37)}),
    ({}, {"s": n(11, 3), "y": label(11, classes=3)}),
  ],
  **both(
    [
      ({"alpha": 0.3, "tau": 1.0}, labelled(5, 9, s_dist=n(5, 9))),
      ({"alpha": 0.9, "tau": 2.0}, labelled(7, 37, s_dist=n(7, 37))),
      ({}, labelled(11, 3, s_dist=n(11, 3))),
    ],
    "deit_soft",
    "deit_hard",
  ),
  "logits_mse": [
    ({}, pair((5, 9))),
    ({}, pair((7, 37))),
    ({}, pair((3, 9, 4, 5))),
  ],
}

MIXED = {
  "logit_std_kd": [
    ({"temperature": 3.0, "logit_stand": True}, pair((5, 9))),
    ({"temperature": 3.0, "logit_stand": False}, pair((7, 37))),
    ({"temperature": 2, "alpha": 0.5, "beta": 9, "eps": 0.1}, labelled(5, 9)),
    (
      {"temperature": 2.0, "alpha": 0.3, "beta": 2.0, "reduction": "sum"},
      labelled(7, 11),
    ),
    ({"temperature": 4.0, "alpha": 0.3, "reduction": "mean"}, labelled(5, 3)),
  ],
  "logit_std_dkd": [
    ({"alpha": 2.0, "beta": 0.5, "temperature": 3.0}, labelled(5, 9)),
    (
      {"alpha": 1, "beta": 6, "temperature": 2, "logit_stand": False},
      labelled(7, 37),
    ),
    ({"alpha": 1.0, "beta": 2.0, "temperature": 1.0}, labelled(11, 3)),
  ],
  "dist_plus": [
    (
      {"iota": 0.5, "kappa": 2.0},
      {"sl": n(5, 9), "tl": n(5, 9), **pair((5, 11, 7, 3))},
    ),
    (
      {"beta": 2.0, "gamma": 0.5, "tau": 2.0, "iota": 1.0, "kappa": 1.0},
      {"sl": n(7, 3), "tl": n(7, 3), **pair((7, 5, 1, 1))},
    ),
    ({}, {"sl": n(7, 37), "tl": n(7, 37), **pair((7, 13, 3, 5))}),
  ],
  "mlkd": [
    (
      {"TEMPERATURE": 2.0, "CE_WEIGHT": 0.1, "KD_WEIGHT": 9.0},
      {
        **{name: n(7, 9) for name in ("sw", "ss", "tw", "ts")},
        "y": label(7, classes=9),
      },
    ),
    (
      {"TEMPERATURE": 4, "KD_WEIGHT": 2.0, "temperatures": [4, 3, 5, 2, 6]},
      {
        **{name: n(5, 37) for name in ("sw", "ss", "tw", "ts")},
        "y": label(5, classes=37),
      },
    ),
    (
      {},
      {
        **{name: n(11, 3) for name in ("sw", "ss", "tw", "ts")},
        "y": label(11, classes=3),
      },
    ),
  ],
  "kd_mse": [
    ({"temperature": 3.0}, pair((5, 9))),
    ({}, pair((7, 37), temp=positive(7))),
    ({}, pair((3, 9, 5), temp=positive(3, 9))),
    ({"temperature": 2.0}, pair((3, 9, 5))),
  ],
  "kd_ce": [
    ({"temperature": 3.0}, pair((5, 9))),
    ({}, pair((7, 37), temp=positive(7))),
    ({}, pair((3, 9, 5), temp=positive(3, 9))),
    ({"temperature": 2.0}, pair((3, 9, 5))),
    ({}, pair((5, 3))),
  ],
  "c2kd_ntkl": [
    ({"temperature": 1.0}, labelled(5, 9)),
    (
      {"temperature": 2.0},
      labelled(7, 37, mask=np.array([1, 0, 1, 1, 0, 0, 1])),
    ),
    (
      {},
      labelled(5, 3, mask=np.array([True, False, True, True, False])),
    ),
  ],
}

TOKENS = both(
  [
    ({"temperature": 3.0}, pair((5, 9, 13))),
    (
      {"temperature": 1.0},
      pair((3, 9, 7), mask=mask(9, 4, 1, total=9, dtype=np.int64)),
    ),
    ({}, pair((3, 7, 11), mask=mask(5, 7, 2, total=7)[..., None])),
    ({"temperature": 2.0}, pair((7, 37))),
    (
      {"temperature": 2.0},
      {
        "s": n(3, 9, 7, scale=20.0),
        "t": n(3, 9, 7, scale=20.0),
        "mask": mask(9, 4, 1, total=9, dtype=bool),
      },
    ),
  ],
  "kl",
  "jsd",
  "tvd",
)

# Shapes of maps: of 7x5, and of two different heights.
TALL = (5, 11, 7, 5)
MAPS = {
  "fitnet": [
    ({}, pair(TALL)),
    ({}, maps((TALL, TALL), ((5, 13, 3, 3),) * 2, ((5, 9),) * 2)),
    ({}, maps((TALL, TALL), ((5, 13, 9),) * 2), LISTED),
    (
      {"s_shape": [5, 11, 7, 5], "t_shape": [5, 13, 7, 5]},
      pair(TALL, (5, 13, 7, 5))
      | params(
        _0__weight=w(13, 11, 1, 1),
        _0__bias=w(13),
        _1__weight=g(13),
        _1__bias=w(13),
      ),
    ),
    (
      {},
      pair((5, 11, 10, 10), (5, 13, 5, 5))
      | params(
        regressor__conv__weight=w(13, 11, 3, 3),
        regressor__conv__bias=w(13),
        regressor__bn__weight=g(13),
        regressor__bn__bias=w(13),
      ),
    ),
    (
      {"use_relu": False},
      pair((3, 7, 5, 5), (3, 9, 10, 10))
      | params(
        conv__weight=w(7, 9, 4, 4),
        conv__bias=w(9),
        bn__weight=g(9),
        bn__bias=w(9),
      ),
    ),
    (
      {},
      pair((5, 7, 7, 7), (5, 9, 5, 4))
      | params(
        layers__0__weight=w(9, 7, 3, 4),
        layers__0__bias=w(9),
        layers__1__weight=g(9),
        layers__1__bias=w(9),
      ),
    ),
    (
      {},
      pair((5, 7, 5, 5), (5, 9, 7, 7))
      | params(
        conv__weight=w(9, 7, 3, 3),
        conv__bias=w(9),
        bn__weight=g(9),
        bn__bias=w(9),
      ),
    ),
    ({}, pair(TALL, (5, 13, 7, 5)) | params(transform__weight=w(13, 11, 1, 1))),
    (
      {},
      pair(TALL, (5, 13, 7, 5))
      | params(
        conv1__weight=w(13, 11, 1, 1), bn1__weight=g(13), bn1__bias=w(13)
      ),
    ),
    ({}, pair((7, 11), (7, 13)) | params(transform__weight=w(13, 11, 1, 1))),
  ],
  "inter_linear": [
    ({"transform_type": "linear"}, pair(TALL)),
    ({}, pair((3, 9, 13))),
    ({}, maps((TALL, TALL), ((5, 13, 3, 3),) * 2)),
  ],
  "inter_attention": [
    ({"transform_type": "attention"}, pair(TALL)),
    ({}, pair(TALL, (5, 13, 7, 5))),
    ({}, maps((TALL, TALL), ((5, 13, 3, 3),) * 2)),
  ],
  "inter_similarity": [
    ({"transform_type": "similarity"}, pair(TALL)),
    ({}, pair((7, 11))),
    ({}, pair(TALL, (5, 13, 3, 3))),
    ({}, maps((TALL, TALL), ((5, 13), (5, 3)))),
  ],
  "at": [
    ({"p": 3}, pair(TALL, (5, 13, 7, 5))),
    ({"p": 1}, maps((TALL, TALL), ((5, 13, 7, 7), (5, 3, 4, 4)))),
    (
      {"p": 2},
      maps(
        (TALL, TALL),
        ((5, 13, 7, 7), (5, 3, 4, 4)),
        ((5, 3, 5, 5), (5, 9, 7, 7)),
      ),
      LISTED,
    ),
    ({}, pair((5, 11, 9), (5, 7, 9))),
    ({"p": 4}, pair((7, 3, 5, 5))),
    (
      {"p": 2},
      {
        "s": n(*TALL),
        "s2": n(5, 3, 4, 4),
        "t": n(*TALL),
        "t2": n(5, 4, 5, 5),
      },
      LISTED,
    ),
  ],
  "at_paper": [
    ({"mode": "paper"}, pair(TALL, (5, 13, 7, 5))),
    ({"mode": "code"}, pair(TALL)),
    (
      {},
      maps((TALL, TALL), ((5, 13, 3, 3), (5, 4, 3, 3)), ((5, 9, 1, 2),) * 2),
    ),
  ],
  "at_zoo": [
    ({"p": 1, "eps": 0.1}, pair(TALL, (5, 13, 7, 5))),
    ({"p": 3}, pair((7, 3, 5, 5))),
    ({"p": 4, "eps": 1e-6}, pair((3, 5, 1, 7))),
    ({"p": 2}, maps((TALL, TALL), ((5, 13, 3, 3), (5, 4, 3, 3)))),
  ],
  "nst": [
    ({}, pair(TALL, (5, 13, 7, 5))),
    ({}, pair((5, 11, 7, 7), (5, 3, 4, 4))),
    ({}, maps((TALL, TALL), ((5, 13, 3, 3), (5, 4, 7, 7))), LISTED),
    ({}, pair((5, 11, 9), (5, 7, 9))),
  ],
  "ft": [
    ({"p1": 1, "p2": 1}, pair(TALL, (5, 13, 7, 5))),
    ({"p1": 3, "p2": 2}, pair((5, 11, 7, 7), (5, 3, 4, 4))),
    ({"p1": 2, "p2": 1}, maps((TALL, TALL), ((5, 13, 3, 3),) * 2)),
    ({"p": 2, "reduction": "sum"}, pair(TALL)),
    ({"p": 1, "reduction": "sum"}, pair((5, 11, 3, 3))),
    ({"p": 3, "reduction": "mean"}, pair((7, 13))),
  ],
  "kta": [
    ({"p": 2, "q": 1, "reduction": "mean"}, pair(TALL)),
    ({"p": 1, "q": 3, "reduction": "sum"}, pair((5, 13, 3, 3))),
    ({"p": 2, "q": 2, "reduction": "sum"}, pair((7, 3, 5, 5))),
    ({}, pair((5, 9))),
  ],
  "ft_plain": [
    ({}, pair(TALL)),
    ({}, pair((7, 13))),
    ({}, pair((3, 5, 9))),
  ],
  "vid": [
    (
      {"eps": 1e-3},
      pair(TALL, (5, 13, 7, 5))
      | params(
        log_scales=n(13),
        conv1__weight=w(9, 11, 1, 1),
        conv2__weight=w(9, 9, 1, 1),
        conv3__weight=w(13, 9, 1, 1),
      ),
    ),
    (
      {"init_pred_var": 2.0, "mid": 3},
      pair((5, 11, 7, 7), (5, 9, 4, 4))
      | params(
        regressor__0__weight=w(3, 11, 1, 1),
        regressor__2__weight=w(3, 3, 1, 1),
        regressor__4__weight=w(9, 3, 1, 1),
        soft_plus_param=n(9),
      ),
    ),
    (
      {},
      pair((5, 7, 4, 4), (5, 7, 9, 9))
      | params(
        log_scale=n(7),
        _0__weight=w(7, 7, 1, 1),
        _2__weight=w(7, 7, 1, 1),
        _4__weight=w(7, 7, 1, 1),
      ),
    ),
    ({}, pair(TALL, svar=positive(1, 11, 1, 1))),
    ({}, pair(TALL, svar=positive(11))),
    ({}, pair((7, 13), svar=positive(1, 13))),
    (
      {},
      maps(((5, 7, 7, 7), (5, 9, 4, 4)), ((5, 3, 3, 5), (5, 4, 3, 5)))
      | params(
        regressors__0__0__weight=w(9, 7, 1, 1),
        regressors__0__2__weight=w(9, 9, 1, 1),
        regressors__0__4__weight=w(9, 9, 1, 1),
        regressors__1__0__weight=w(4, 3, 1, 1),
        regressors__1__2__weight=w(4, 4, 1, 1),
        regressors__1__4__weight=w(4, 4, 1, 1),
        log_scales__0=n(9),
        log_scales__1=n(4),
      ),
    ),
    (
      {"eps": 1e-6, "init_var": 5.0},
      pair(TALL, (5, 13, 7, 5))
      | params(
        regressor__0__weight=w(9, 11, 1, 1),
        regressor__1__weight=g(9),
        regressor__1__bias=w(9),
        regressor__3__weight=w(9, 9, 1, 1),
        regressor__4__weight=g(9),
        regressor__4__bias=w(9),
        regressor__6__weight=w(13, 9, 1, 1),
        alpha=n(13),
      ),
    ),
  ],
  "srrl_fm": [
    ({}, pair(TALL)),
    ({}, pair((7, 3, 5, 5))),
    ({}, pair((3, 13, 1, 2))),
    ({}, pair((5, 11, 9))),
  ],
  "ickd": [
    ({}, pair(TALL)),
    ({}, pair((7, 3, 5, 5), (7, 3, 4, 4))),
    ({}, maps((TALL, TALL), ((5, 13, 3, 3),) * 2)),
    ({}, pair(TALL), ORIGINAL_ICKD),
    (
      {"feat_dim": 13},
      pair(TALL, (5, 13, 4, 3))
      | params(
        embed_s__conv2d__weight=w(13, 11, 1, 1),
        embed_s__l2norm__weight=g(13),
        embed_s__l2norm__bias=w(13),
        embed_t__conv2d__weight=w(13, 11, 1, 1),
        embed_t__l2norm__weight=g(13),
        embed_t__l2norm__bias=w(13),
      ),
      ORIGINAL_ICKD,
    ),
    ({}, pair((5, 11, 9))),
  ],
  "pad_l2": [
    ({"eps": 0.1, "reduction": "sum"}, pair((5, 9), slogvar=n(5, 9))),
    ({"reduction": "mean"}, pair((7, 13), slogvar=n(7, 13))),
    ({}, pair((5, 11, 3, 2), slogvar=n(5, 66))),
    ({"reduction": "sum"}, pair((3, 11, 1, 1), slogvar=n(3, 11))),
    ({"reduction": "batchmean"}, pair((5, 9), slogvar=n(5, 9))),
  ],
  "cwd": [
    (
      {"norm_type": "channel", "divergence": "kl", "temperature": 2.0},
      pair(TALL),
    ),
    (
      {"norm_type": "spatial", "divergence": "kl", "temperature": 3.0},
      pair((7, 3, 5, 5)),
    ),
    (
      {"norm_type": "channel", "divergence": "mse", "temperature": 3.0},
      pair(TALL),
    ),
    ({"norm_type": "spatial", "divergence": "mse"}, pair((3, 9, 4, 5))),
    ({"norm_type": "channel_mean", "divergence": "mse"}, pair(TALL)),
    ({"norm_type": "none", "divergence": "mse"}, pair(TALL)),
    ({}, pair((3, 9, 4, 5))),
  ],
  "affinity": [
    ({"reduction": "sum"}, pair(TALL)),
    ({"reduction": "mean"}, pair((7, 3, 5, 5))),
    ({}, pair((3, 13, 1, 7))),
    ({}, pair((5, 11, 9))),
  ],
}

FLOW = (
  ((5, 11, 7, 7), (5, 11, 7, 7)),
  ((5, 3, 7, 7), (5, 3, 7, 7)),
  ((5, 13, 4, 4), (5, 13, 4, 4)),
  ((5, 9, 3, 3), (5, 9, 3, 3)),
)
LAYERS = {
  "fsp": [
    ({}, maps(*FLOW), LISTED),
    ({}, maps(*FLOW[1:3])),
    ({}, maps((TALL, TALL), ((5, 3, 7, 5), (5, 3, 7, 5)))),
    ({}, maps(*FLOW[:3])),
  ],
  "fsp_l2": [
    ({}, maps(*FLOW[1:3])),
    ({}, maps((TALL, TALL), ((5, 3, 4, 3),) * 2)),
    ({}, maps((TALL, TALL), ((5, 3, 7, 5),) * 2)),
  ],
  "kdsvd": [
    ({"k": 2}, maps(*[((3, 11, 5, 5),) * 2] * 2), SINGULAR),
    ({"k": 1}, maps(*[((3, 7, 4, 4),) * 2] * 3), SINGULAR),
    (
      {"k": 1},
      maps(((3, 7, 5, 5), (3, 7, 4, 4)), ((3, 9, 3, 3), (3, 9, 5, 5))),
      SINGULAR | LISTED,
    ),
    (
      {"k": 1},
      maps(((3, 7, 5, 5), (3, 9, 4, 5)), ((3, 9, 3, 4), (3, 5, 5, 4))),
      SINGULAR | MDISTILLER,
    ),
    (
      {"k": 2},
      maps(*[((3, 4, 7, 7),) * 2] * 2, ((3, 9, 5, 5),) * 2),
      SINGULAR | MDISTILLER,
    ),
  ],
  "ab": [
    ({"feat_num": 2, "margin": 0.5}, maps(*FLOW[:2]), LISTED),
    ({"feat_num": 4, "margin": 2.0}, maps(*FLOW), LISTED),
    ({"feat_num": 3, "margin": 1.0}, maps(*FLOW[:3])),
    ({"margin": 2.0, "reduction": "sum"}, pair(TALL)),
    ({"margin": 1.0, "reduction": "mean"}, maps(*FLOW[:2])),
    ({}, pair((7, 13))),
  ],
  "reviewkd_hcl": [
    ({"levels": [4, 2, 1]}, maps(*FLOW)),
    ({"output_sizes": [3, 1]}, pair(TALL)),
    ({"output_sizes": [4, 2, 1], "reduction": "sum"}, pair((5, 11, 9, 9))),
    ({}, maps(((5, 9, 1, 1),) * 2, ((5, 3, 2, 2),) * 2), LISTED),
    ({}, pair((5, 11, 7, 3))),
    ({"reduction": "sum"}, pair((5, 11, 7, 3))),
  ],
  "semckd": [
    (
      {},
      {
        **{
          f"s{i}{j}": n(5, 3 + i + j, 3, 2) for i in range(3) for j in range(2)
        },
        **{
          f"t{i}{j}": n(5, 3 + i + j, 3, 2) for i in range(3) for j in range(2)
        },
        "sw": n(5, 3, 2),
      },
    ),
    (
      {},
      {"s00": n(7, 5, 3, 3), "t00": n(7, 5, 3, 3), "sw": n(7, 1, 1)},
    ),
    (
      {},
      {
        **{f"s0{j}": n(5, 3 + j, 3, 5) for j in range(3)},
        **{f"t0{j}": n(5, 3 + j, 3, 5) for j in range(3)},
        "sw": n(5, 1, 3),
      },
    ),
  ],
  "srd": [
    (
      {"exponent": 1.0, "temperature": 1.0},
      {**pair((5, 11)), "sl": n(5, 9), "tl": n(5, 9)},
    ),
    (
      {"exponent": 2.0, "temperature": 3.0},
      {**pair((7, 3)), "sl": n(7, 37), "tl": n(7, 37)},
    ),
    ({}, {**pair((5, 13)), "sl": n(5, 3), "tl": n(5, 3)}),
  ],
}


def _abf(channels, inner, outer, names=("conv1", "conv2"), gate=None, **more):
  """Parameters of ReviewKD's fusion."""
  first, last = names
  found = {
    f"{first}__0__weight": w(inner, channels, 1, 1),
    f"{first}__1__weight": g(inner),
    f"{first}__1__bias": w(inner),
    f"{last}__0__weight": w(outer, inner, 3, 3),
    f"{last}__1__weight": g(outer),
    f"{last}__1__bias": w(outer),
  }
  if gate:
    found[f"{gate}__0__weight"] = w(2, 2 * inner, 1, 1)
    found[f"{gate}__0__bias"] = w(2)
  return params(**found)


def _simkd(own, inner, other, name="transfer"):
  found = {}
  shapes = ((inner, own, 1, 1), (inner, inner, 3, 3), (other, inner, 1, 1))
  for layer, shape in enumerate(shapes):
    found[f"{name}{3 * layer}__weight"] = w(*shape)
    found[f"{name}{3 * layer + 1}__weight"] = g(shape[0])
    found[f"{name}{3 * layer + 1}__bias"] = w(shape[0])
  return params(**found)


def _classifier(classes, width):
  return {"cls_w": w(classes, width), "cls_b": w(classes)}


HEADS = {
  "reviewkd_abf": [
    (
      {"fuse": False, "shape": 7, "out_shape": 7},
      {"s": n(5, 11, 7, 7)} | _abf(11, 9, 13),
    ),
    (
      {"fuse": True, "shape": 7, "out_shape": 7},
      {"s": n(5, 11, 7, 7), "prev": n(5, 9, 4, 4)}
      | _abf(11, 9, 13, gate="att_conv"),
    ),
    (
      {"fuse": True, "shape": 5, "out_shape": 8},
      {"s": n(3, 7, 5, 5), "residual": n(3, 5, 2, 2)}
      | _abf(7, 5, 3, ("layer1", "layer2"), gate="attention_conv"),
    ),
    (
      {"shape": 8, "out_shape": 5},
      {"s": n(3, 7, 8, 8)} | _abf(7, 5, 3, ("_0", "_1")),
    ),
  ],
  "ofd": [
    ({}, {**pair(TALL), "margin": n(1, 11, 1, 1, scale=0.2, shift=-0.6)}),
    ({}, {**pair((7, 3, 5, 5)), "margin": n(3, scale=0.2, shift=-0.6)}),
    ({}, {**pair((3, 13, 1, 2)), "margin": n(13, 1, 1, scale=0.2, shift=-1)}),
    (
      {},
      {**pair(TALL), "margin": n(1, 11, 1, 1, scale=0.2, shift=-0.6)},
      MDISTILLER,
    ),
  ],
  "ofd_margin": [
    ({}, {"bn_weight": n(11), "bn_bias": n(11)}, FIXED),
    ({}, {"bn_weight": n(3), "bn_bias": n(3, shift=3.0)}, FIXED),
    ({}, {"bn_weight": g(37), "bn_bias": n(37, scale=2.0)}, FIXED),
  ],
  "ofd_zoo": [
    (
      {},
      pair(TALL, (5, 13, 7, 5))
      | params(conv__weight=w(13, 11, 1, 1), bn__weight=g(13), bn__bias=w(13)),
    ),
    (
      {},
      pair((7, 3, 5, 5), (7, 9, 5, 5))
      | params(_0__weight=w(9, 3, 1, 1), _1__weight=g(9), _1__bias=w(9)),
    ),
    (
      {"margin": "empirical mean of negatives"},
      pair((3, 13, 2, 3), (3, 5, 2, 3))
      | params(
        connector__0__weight=w(5, 13, 1, 1),
        connector__1__weight=g(5),
        connector__1__bias=w(5),
      ),
    ),
  ],
  "simkd": [
    (
      {"factor": 4},
      pair((5, 11, 7, 7), (5, 20, 4, 4))
      | _classifier(9, 20)
      | _simkd(11, 5, 20, "transfer__"),
    ),
    (
      {"factor": 2},
      pair(TALL, (5, 6, 7, 5)) | _classifier(37, 6) | _simkd(11, 3, 6, "_"),
    ),
    (
      {},
      pair((7, 5, 3, 3), (7, 14, 7, 7))
      | _classifier(3, 14)
      | _simkd(5, 7, 14, "transfer__"),
    ),
  ],
  "srrl": [
    (
      {},
      pair((5, 11), (5, 13), tl=n(5, 9))
      | _classifier(9, 13)
      | params(conv__weight=w(13, 11, 1, 1), bn__weight=g(13), bn__bias=w(13)),
    ),
    (
      {},
      pair((7, 13), (7, 3), tl=n(7, 37))
      | _classifier(37, 3)
      | params(
        connector__0__weight=w(3, 13, 1, 1),
        connector__1__weight=g(3),
        connector__1__bias=w(3),
      ),
    ),
    (
      {},
      pair((11, 5), (11, 7), tl=n(11, 3))
      | _classifier(3, 7)
      | params(_0__weight=w(7, 5), _1__weight=g(7), _1__bias=w(7)),
    ),
  ],
  "afd": [
    (
      {"att_f": 0.25, "eps": 1e-3},
      pair((5, 12, 7, 5))
      | params(
        attention__0__weight=w(3, 12, 1, 1),
        attention__0__bias=w(3),
        attention__2__weight=w(12, 3, 1, 1),
        attention__2__bias=w(12),
      ),
    ),
    (
      {},
      pair((7, 11, 3, 3))
      | params(
        fc1__weight=w(5, 11, 1, 1),
        fc1__bias=w(5),
        fc2__weight=w(11, 5, 1, 1),
        fc2__bias=w(11),
      ),
    ),
    (
      {"in_channels": 7, "att_f": 1.0},
      pair((3, 7, 1, 5))
      | params(
        _0__weight=w(7, 7), _0__bias=w(7), _2__weight=w(7, 7), _2__bias=w(7)
      ),
    ),
  ],
  "sobolev": [
    (
      {},
      {
        "x": n(5, 3, 4, 3),
        "W": w(36, 11),
        "sV": w(11, 9),
        "Wt": w(36, 13),
        "tV": w(13, 9),
        "y": label(5, classes=9),
      },
    ),
    (
      {},
      {
        "x": n(7, 1, 5, 5),
        "W": w(25, 3),
        "sV": w(3, 37),
        "Wt": w(25, 7),
        "tV": w(7, 37),
        "y": label(7, classes=37),
      },
    ),
    (
      {},
      {
        "x": n(3, 17),
        "W": w(17, 5),
        "sV": w(5, 2),
        "Wt": w(17, 5),
        "tV": w(5, 2),
        "y": label(3, classes=2),
      },
    ),
  ],
}

RELATIONS = {
  "sp": [
    ({}, pair(TALL, (5, 3, 4, 4))),
    ({"reduction": "batchmean"}, pair((7, 11), (7, 9))),
    ({"reduction": "sum"}, pair(TALL)),
    ({"reduction": "mean"}, pair((7, 13))),
    ({}, maps((TALL, TALL), ((5, 13), (5, 3))), LISTED),
    ({}, maps((TALL, TALL), ((5, 13), (5, 3)))),
  ],
  "rkd": [
    ({"w_d": 5, "w_a": 7}, pair((5, 11), (5, 9))),
    (
      {"distance_weight": 1, "angle_weight": 2, "eps": 1e-9, "squared": True},
      pair((7, 3), (7, 13)),
    ),
    (
      {"dist_factor": 1.0, "angle_factor": 2.0, "reduction": "sum"},
      pair((5, 9)),
    ),
    (
      {"distance_factor": 2.0, "angle_factor": 0.0, "reduction": "mean"},
      pair((5, 3, 2, 2), (5, 9)),
    ),
    ({}, pair((5, 3, 2, 2), (5, 9))),
    ({"w_dist": 3.0, "w_angle": 1.0}, pair((5, 9))),
    ({"dist_factor": None, "angle_factor": 2.0}, pair((5, 9))),
  ],
  "rkd_distance": [
    ({"w_d": 3, "w_a": 0}, pair((5, 11), (5, 9))),
    ({"reduction": "sum"}, pair((7, 3))),
    ({"distance_weight": 25, "angle_weight": 0}, pair((11, 5))),
  ],
  "rkd_angle": [
    ({"w_d": 0, "w_a": 3}, pair((5, 11), (5, 9))),
    ({"reduction": "sum"}, pair((7, 3))),
    ({"distance_weight": 0, "angle_weight": 50}, pair((9, 5))),
  ],
  "darkrank": [
    ({"alpha": 1, "beta": 2, "permute_len": 3}, pair((5, 11), (5, 9))),
    ({"alpha": 0.5, "beta": 1, "permute_len": 6}, pair((7, 3))),
    ({"alpha": 0.1, "beta": 3}, pair((11, 5))),
  ],
  "pkt": [
    ({"eps": 1e-7}, pair((5, 11), (5, 9))),
    ({"eps": 1e-3}, pair((7, 3))),
    ({}, pair((11, 37))),
  ],
  "pkt_eps1e-6": [
    ({"eps": 1e-6}, pair((5, 11), (5, 9))),
    ({"eps": 1e-2}, pair((7, 3))),
    ({}, pair((11, 37))),
  ],
  "cc": [
    ({}, pair((5, 11))),
    ({}, pair((7, 3))),
    ({}, pair((2, 37))),
    (
      {"feat_dim": 9},
      pair((5, 11), (5, 13))
      | params(
        embed_s__linear__weight=w(9, 11),
        embed_s__linear__bias=w(9),
        embed_t__linear__weight=w(9, 13),
        embed_t__linear__bias=w(9),
      ),
    ),
  ],
  "cckd_bilinear": [
    ({"type": "bilinear", "reduction": "batchmean"}, pair((5, 11))),
    ({"type": "bilinear", "reduction": "sum"}, pair((7, 3), (7, 9))),
    ({"reduction": "mean"}, pair((11, 5))),
  ],
  "cckd_gaussian": [
    (
      {"type": "gaussian", "gamma": 0.1, "max_p": 3, "reduction": "batchmean"},
      pair((5, 11)),
    ),
    ({"gamma": 0.4, "max_p": 1, "reduction": "sum"}, pair((7, 3), (7, 9))),
    ({"reduction": "mean"}, pair((11, 5))),
  ],
  "cc_gaussian": [
    ({"gamma": 0.2, "P_order": 3}, pair((5, 11), (5, 9))),
    ({"gamma": 0.4, "P_order": 1}, pair((7, 3))),
    ({}, pair((11, 37))),
  ],
  "irg": [
    (
      {"w_irg_vert": 1.0, "w_irg_edge": 2.0, "w_irg_tran": 3.0},
      maps(((5, 3, 7, 7),) * 2, ((5, 6, 4, 4),) * 2)
      | {"sf": n(5, 11), "tf": n(5, 9), "sl": n(5, 3), "tl": n(5, 3)},
    ),
    (
      {},
      maps(((7, 5, 3, 5), (7, 3, 3, 5)), ((7, 5, 3, 5), (7, 6, 3, 5)))
      | {"sf": n(7, 13), "tf": n(7, 13), "sl": n(7, 37), "tl": n(7, 37)},
    ),
    (
      {"w_irg_edge": 0.0},
      maps(((3, 4, 5, 5), (3, 2, 7, 7)), ((3, 8, 5, 5), (3, 4, 5, 5)))
      | {"sf": n(3, 5), "tf": n(3, 7), "sl": n(3, 2), "tl": n(3, 2)},
    ),
  ],
  "tb_mmd": [
    ({}, maps(((3, 9, 11), (3, 9, 13)), ((3, 9, 11), (3, 9, 13)))),
    (
      {},
      maps(((5, 7, 3), (5, 7, 9)), ((5, 7, 3), (5, 7, 9)))
      | {"mask": mask(7, 3, 1, 5, 2, total=7)},
    ),
    (
      {},
      maps(((2, 5, 6),) * 2, ((2, 5, 6),) * 2)
      | {"mask": mask(5, 4, total=5, dtype=np.int64)},
    ),
  ],
}


def _memory(size, data, width, count, own, other, **names):
  """Inputs of CRD: the first column of `cidx` is the example itself."""

  def rows(random):
    found = random.integers(0, data, size=(size, count))
    found[:, 0] = np.arange(size) * 2
    return found

  inputs = {
    **pair((size, own), (size, other)),
    "idx": np.arange(size) * 2,
    "cidx": rows,
    "mem1": w(data, width),
    "mem2": w(data, width),
  }
  return inputs | params(**names)


def _embed(width, own, other, bias=True, end="__linear"):
  found = {}
  for side, size in (("s", own), ("t", other)):
    found[f"embed_{side}{end}__weight"] = w(width, size)
    if bias:
      found[f"embed_{side}{end}__bias"] = w(width)
  return found


def _views(examples, width, classes, other):
  size = 4 * examples
  return {
    "sl": n(size, classes),
    "tl": n(size, classes),
    **pair((size, width), (size, other)),
    "y": label(examples, classes=classes),
  }


CONTRAST = {
  **both(
    [
      (
        {"nce_k": 6, "nce_t": 0.1, "nce_m": 0.9, "n_data": 23, "feat_dim": 9},
        _memory(5, 23, 9, 7, 11, 13, **_embed(9, 11, 13)),
      ),
      (
        {"nce_k": 2, "nce_t": 0.5, "nce_m": 0.3, "n_data": 37, "feat_dim": 5},
        _memory(7, 37, 5, 3, 13, 3, **_embed(5, 13, 3, bias=False, end="")),
      ),
      (
        {"temperature": 0.2, "momentum": 0.5, "n_data": 19},
        _memory(3, 19, 4, 5, 4, 4) | {"s": unit(3, 4), "t": unit(3, 4)},
      ),
      (
        {"nce_k": 2, "nce_t": 0.07, "nce_m": 0.5, "n_data": 11},
        _memory(3, 11, 4, 3, 12, 10, **_embed(4, 12, 10))
        | {"s": n(3, 3, 2, 2), "t": n(3, 10, 1, 1)},
      ),
    ],
    "crd",
  ),
  "crd_contrast": [
    ({"n_data": 23}, {"s": positive(5, 8, 1)}),
    ({"n_data": 1000}, {"s": positive(7, 3, 1)}),
    ({"n_data": 11}, {"s": positive(3, 6)}),
  ],
  "sskd": [
    (
      {
        "kl_temp": 2.0,
        "ss_temp": 0.7,
        "tf_temp": 3.0,
        "ss_ratio": 0.5,
        "tf_ratio": 0.4,
        "loss_weights": [0.5, 1.0, 2.0, 3.0],
      },
      _views(5, 11, 9, 13),
    ),
    (
      {
        "kl_temp": 4.0,
        "ss_temp": 0.5,
        "tf_temp": 4.0,
        "ss_ratio": 0.75,
        "tf_ratio": 1.0,
        "reduction": "mean",
      },
      _views(3, 5, 37, 7),
    ),
    (
      {
        "kl_temp": 1.0,
        "ss_temp": 0.5,
        "tf_temp": 2.0,
        "ss_ratio": 1.0,
        "tf_ratio": 0.0,
        "loss_weights": [1.0, 0.9, 10.0, 2.7],
        "reduction": "sum",
      },
      _views(7, 13, 3, 13),
    ),
  ],
  "sskd_aux": [
    ({"reduction": "mean"}, {"s": n(20, 11)}),
    ({"reduction": "sum"}, {"s": n(12, 5)}),
    ({}, {"s": n(28, 3)}),
    ({"reduction": "none"}, {"s": n(12, 7)}),
  ],
}
CONTRAST["crd_memory_update"] = [(*case, FIXED) for case in CONTRAST["crd"]]


def _towers(size, own, other=None, **more):
  other = other or own
  return {
    "s_i": unit(size, own),
    "s_t": unit(size, own),
    "scale": positive(),
    "t_i": unit(size, other),
    "t_t": unit(size, other),
    "tscale": lambda random: np.float32(5.0 + random.random()),
    **more,
  }


def _clip_kd(size, own, other=None, fused=False):
  found = {"cross_logit_scale": positive(), "fusion_logit_scale": positive()}
  if fused:
    for tower in ("visual", "text"):
      found[f"{tower}_fusion_proj__weight"] = w(own, own + (other or own))
      found[f"{tower}_fusion_proj__bias"] = w(own)
  if other:
    for tower in ("visual", "text"):
      found[f"{tower}_proj__weight"] = w(other, own)
      found[f"{tower}_proj__bias"] = w(other)
  return _towers(size, own, other) | params(**found)


ALPHAS = {f"alpha_{name}": 1.0 for name in ("ckd", "icl", "cross_kd", "afd")}
CLIP = {
  "clip": [
    ({}, {"s_i": unit(5, 11), "s_t": unit(5, 11), "scale": positive()}),
    ({}, {"s_i": n(7, 3), "s_t": n(7, 3), "scale": positive()}),
    ({}, {"s_i": unit(2, 37), "s_t": unit(2, 37), "scale": positive()}),
  ],
  "clip_soft": [
    ({}, _towers(5, 11)),
    ({}, _towers(7, 3, 13)),
    ({}, _towers(2, 37)),
  ],
  "clip_kd": [
    (
      {**ALPHAS, "alpha_fd": 20.0, "alpha_gd": 1e3},
      _clip_kd(5, 11, fused=True),
    ),
    ({"alpha_fd": 2000.0, "alpha_gd": 1e4}, _clip_kd(7, 11, 13)),
    ({"alpha_ckd": 0.5, "alpha_icl": 2.0}, _clip_kd(3, 9, 5)),
  ],
  **both(
    [
      ({"weight": 2.0}, _clip_kd(5, 11, fused=True)),
      ({"weight": 1.0}, _clip_kd(7, 11, 13)),
      ({}, _clip_kd(3, 9, 5)),
    ],
    "clip_kd_task",
    "clip_kd_ckd",
    "clip_kd_icl",
    "clip_kd_cross_kd",
    "clip_kd_fd",
    "clip_kd_gd",
  ),
  "clip_kd_afd": [
    ({"weight": 2.0}, _clip_kd(5, 11, fused=True)),
    ({"weight": 1.0}, _clip_kd(7, 3, fused=True)),
    ({}, _clip_kd(2, 13, fused=True)),
  ],
}

SCORES = [
  ({}, pair((3, 2, 5, 5), mask=mask(5, 4, 1, total=5, dtype=bool))),
  ({}, pair((3, 5, 9, 9))),
  ({}, pair((3, 2, 7, 7), mask=mask(7, 4, 1, total=7))),
  ({}, pair((5, 1, 4, 4), mask=mask(4, 3, 1, 2, 4, total=4, dtype=np.int64))),
]
ALONE = [
  ({}, pair((3, 9, 9))),
  ({}, pair((3, 7, 7), mask=mask(7, 4, 1, total=7))),
]
STATES = [
  (
    {},
    pair((3, 9, 11), (3, 9, 13), mask=mask(9, 4, 1, total=9))
    | params(proj__weight=w(13, 11)),
  ),
  ({}, pair((3, 9, 11))),
  ({}, pair((5, 7, 3), mask=mask(7, 3, 1, 5, 2, total=7))),
  ({}, pair((2, 5, 13), mask=mask(5, 4, total=5, dtype=np.int64))),
  ({}, pair((2, 5, 7), mask=mask(5, 4, total=5, dtype=bool))),
]


def _qkv(size, length, own, other, **more):
  return {
    **{f"t{name}": n(size, length, other) for name in "qkv"},
    **{f"s{name}": n(size, length, own) for name in "qkv"},
    **more,
  }


TRANSFORMERS = {
  **both(SCORES, "tb_att_mse", "tb_att_ce"),
  **both([*SCORES, *ALONE], "tb_att_mse_sum", "tb_att_ce_mean"),
  **both(STATES, "tb_hid_mse"),
  "tb_cos": [*STATES, ({}, pair((7, 11)))],
  "tb_pkd": [
    ({}, pair((3, 9, 11))),
    ({}, pair((7, 13))),
    ({}, pair((5, 1, 3), mask=mask(1, 1, 1, 1, 1, total=1))),
  ],
  "tb_fsp": [
    ({}, maps(((3, 9, 11),) * 2, ((3, 9, 11),) * 2)),
    (
      {},
      maps(((5, 7, 3),) * 2, ((5, 7, 4),) * 2)
      | {"mask": mask(7, 3, 1, 5, 2, total=7)},
    ),
    (
      {},
      maps(((2, 5, 6),) * 2, ((2, 5, 6),) * 2)
      | {"mask": mask(5, 4, total=5, dtype=np.int64)},
    ),
  ],
  **both(
    [
      (
        {},
        maps(*[((3, 9, 11),) * 2] * 3) | {"mask": mask(9, 4, 1, total=9)},
      ),
      (
        {},
        maps(((3, 9, 11), (3, 9, 13)), ((3, 9, 5), (3, 9, 7)))
        | params(
          projections__0__weight=w(13, 11), projections__1__weight=w(7, 5)
        ),
      ),
      ({}, maps(((5, 7, 3),) * 2)),
      (
        {},
        maps(*[((2, 5, 13),) * 2] * 12)
        | {"mask": mask(5, 4, total=5, dtype=np.int64)},
      ),
    ],
    "hs_mse",
    "hs_cosine",
  ),
  "minilm": [
    (
      {"relations": {"(1, 2)": 1.0, "(3, 3)": 0.5}, "A_r": 2},
      _qkv(3, 9, 6, 10, mask=mask(9, 4, 1, total=9, dtype=np.int64)),
    ),
    ({"relations": {"(1, 1)": 1.0}, "A_r": 1}, _qkv(5, 7, 3, 11)),
    (
      {"relations": {"(2, 3)": 0.3, "(1, 3)": 0.7}, "A_r": 5},
      _qkv(2, 5, 5, 15, mask=mask(3, 5, total=5)),
    ),
    (
      {"relations": {"(1, 1)": 0.5, "(2, 2)": 0.5}, "A_r": 3},
      _qkv(3, 6, 9, 12, mask=mask(6, 4, 1, total=6, dtype=bool)),
    ),
  ],
}
