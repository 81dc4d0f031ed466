"""What public implementations compute, written anew from their formulas.

One function per method of the golden cases, in float64 PyTorch, from METHODS.md
and the notes of the cases: `method(hyper, x)` takes the constants and inputs of
a case, in the layout of the public code (NCHW maps, OIHW kernels, (out, in)
matrices), and returns its outputs by name. Nothing here calls kdjax, and
nothing is taken from a public repository. tests/test_goldens_other.py compares
each with the golden values, and then kdjax with it on other cases.
"""

import ast
import itertools
import math
import re

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812


def evaluate(
  method, hyper, inputs, learned, cotangents=(), *, listed=False, code=""
):
  """Outputs of a method, and the gradient of their sum for `learned` inputs.

  Outputs that have a cotangent are multiplied by it first. `listed` is whether
  the losses of several layers are several outputs, and not their sum; `code`
  is the repository of the public code, where two of them differ.
  """
  hyper = dict(hyper, as_list=listed, code=code)
  x = {name: torch.as_tensor(np.array(array)) for name, array in inputs.items()}
  x = {
    name: array.double() if array.is_floating_point() else array
    for name, array in x.items()
  }
  for name in learned:
    x[name].requires_grad_(True)
  outputs = globals()[re.sub(r"\W", "_", method)](hyper, x)
  total = torch.zeros((), dtype=torch.float64)
  for name, value in outputs.items():
    part = value
    if name in cotangents:
      part = value * torch.as_tensor(np.array(cotangents[name])).double()
    total = total + part.sum()
  gradients = {name: np.zeros(x[name].shape) for name in learned}
  if total.requires_grad:
    found = torch.autograd.grad(
      total, [x[name] for name in learned], allow_unused=True
    )
    for name, array in zip(learned, found, strict=True):
      if array is not None:
        gradients[name] = array.numpy()
  return {k: v.detach().numpy() for k, v in outputs.items()}, gradients


def _of(hyper, default, *names):
  for name in names:
    if hyper.get(name) is not None:
      return hyper[name]
  return default


def _temperature(hyper, default):
  return _of(hyper, default, "T", "temperature", "temp", "tau")


def _reduce(values, name, batch=None):
  """The torch reductions of elements."""
  if name == "none":
    return values
  if name == "batchmean":
    return values.sum() / (batch or values.shape[0])
  return values.sum() if name == "sum" else values.mean()


def _layers(x, side):
  """Inputs s, s0, s1, .. in the order of their numbers."""
  names = [name for name in x if re.fullmatch(rf"{side}\d*", name)]
  return [x[n] for n in sorted(names, key=lambda n: int(n[1:] or 0))]


def _pairs(x):
  return list(zip(_layers(x, "s"), _layers(x, "t"), strict=True))


def _listed(hyper, values):
  """A list of losses, as loss0, loss1, ..; or their sum, as loss."""
  if hyper.get("as_list"):
    return {f"loss{index}": value for index, value in enumerate(values)}
  return {"loss": sum(values)}


def _params(x):
  """Parameters in their order, without the prefix."""
  return [(n, p) for n, p in x.items() if n.startswith("param:")]


def _kernels(x):
  return [array for _, array in _params(x) if array.ndim > 1]


def _vectors(x):
  return [array for _, array in _params(x) if array.ndim == 1]


def _linear(x, end):
  """weight and bias of the parameters whose names have a word."""
  found = [array for name, array in _params(x) if end in name]
  weight = next(array for array in found if array.ndim == 2)
  bias = [array for array in found if array.ndim == 1]
  return lambda rows: F.linear(rows, weight, bias[0] if bias else None)


def _norm(x, scale, shift, eps=1e-5):
  """BatchNorm in training."""
  axes = [0, *range(2, x.ndim)]
  shape = (1, -1) + (1,) * (x.ndim - 2)
  mean = x.mean(axes, keepdim=True)
  variance = ((x - mean) ** 2).mean(axes, keepdim=True)
  unit = (x - mean) / (variance + eps).sqrt()
  return unit * scale.reshape(shape) + shift.reshape(shape)


def _match(first, second):
  """The higher of two maps pooled to the height of the other, squared."""
  if first.ndim == second.ndim == 4 and first.shape[2] != second.shape[2]:
    size = min(first.shape[2], second.shape[2])
    if first.shape[2] > size:
      first = F.adaptive_avg_pool2d(first, (size, size))
    else:
      second = F.adaptive_avg_pool2d(second, (size, size))
  return first, second


# Logits


def _kl(student, teacher, T, reduction="batchmean"):
  log_q = torch.log_softmax(student / T, 1)
  log_p = torch.log_softmax(teacher / T, 1)
  return _reduce(log_p.exp() * (log_p - log_q), reduction)


def _ce(logits, label, reduction="mean"):
  return F.cross_entropy(logits, label, reduction=reduction)


def _mixed(hyper, x, student, teacher, default):
  T = _temperature(hyper, default)
  reduction = _of(hyper, "batchmean", "reduction")
  soft = _kl(student, teacher, T, reduction)
  if "alpha" not in hyper:
    return {"loss": T**2 * soft}
  if not hyper["alpha"] or "y" not in x:
    return {"loss": soft}
  hard = _ce(x["s"], x["y"], "mean" if reduction == "batchmean" else reduction)
  beta = _of(hyper, 1 - hyper["alpha"], "beta")
  return {"loss": hyper["alpha"] * hard + beta * T**2 * soft}


def kd(hyper, x):
  return _mixed(hyper, x, x["s"], x["t"], 4.0)


def kd_noT2(hyper, x):  # noqa: N802
  reduction = _of(hyper, "batchmean", "reduction")
  return {"loss": _kl(x["s"], x["t"], _temperature(hyper, 4.0), reduction)}


def kd_elementmean(hyper, x):
  T = _temperature(hyper, 4.0)
  soft = T**2 * _kl(x["s"], x["t"], T, "mean") * _of(hyper, 1.0, "multiplier")
  if "y" not in x:
    return {"loss": soft}
  a = _of(hyper, 0.5, "alpha", "lambda", "lambda_")
  return {"loss": (1 - a) * _ce(x["s"], x["y"]) + a * soft}


def kd_hard(hyper, x):
  return {"loss": _ce(x["s"], x["t"].argmax(1))}


def skd_instance(hyper, x):
  return kd_noT2(hyper, x)


def dml(hyper, x):
  return {"loss": _kl(x["s"], x["t"], _temperature(hyper, 1.0))}


def _tokens(hyper, x, divergence):
  """A sum over the tokens of [B T K]."""
  T = _of(hyper, 1.0, "temperature")
  log_q, log_p = (torch.log_softmax(x[n] / T, -1) for n in ("s", "t"))
  values = divergence(log_p, log_q).sum(-1)
  if "mask" in x:
    values = values * x["mask"].reshape(values.shape).double()
  return {"loss": values.sum()}


def kl(hyper, x):
  return _tokens(hyper, x, lambda p, q: p.exp() * (p - q))


def jsd(hyper, x):
  def divergence(p, q):
    middle = ((p.exp() + q.exp()) / 2).log()
    return (p.exp() * (p - middle) + q.exp() * (q - middle)) / 2

  return _tokens(hyper, x, divergence)


def tvd(hyper, x):
  return _tokens(hyper, x, lambda p, q: (p.exp() - q.exp()).abs() / 2)


def _dkd(hyper, x, student, teacher, alpha=1.0, beta=8.0):
  alpha, beta = _of(hyper, alpha, "alpha"), _of(hyper, beta, "beta")
  T = _temperature(hyper, 4.0)
  is_label = F.one_hot(x["y"], student.shape[1]).bool()
  hide = lambda z: (z / T).masked_fill(is_label, -torch.inf)
  two = lambda z: torch.stack(
    [
      torch.log_softmax(z / T, 1)[is_label],
      torch.logsumexp(hide(z), 1) - torch.logsumexp(z / T, 1),
    ],
    1,
  )
  log_q, log_p = two(student), two(teacher)
  target = (log_p.exp() * (log_p - log_q)).sum() / len(student)
  log_q, log_p = (
    torch.log_softmax(hide(z), 1).masked_fill(is_label, 0.0)
    for z in (student, teacher)
  )
  gap = (log_p.exp() * (log_p - log_q)).masked_fill(is_label, 0.0)
  others = gap.sum() / len(student)
  return {"loss": T**2 * (alpha * target + beta * others)}


def dkd(hyper, x):
  return _dkd(hyper, x, x["s"], x["t"])


def dkd_tckd(hyper, x):
  return _dkd(hyper, x, x["s"], x["t"], 1.0, 0.0)


def dkd_nckd(hyper, x):
  return _dkd(hyper, x, x["s"], x["t"], 0.0, 1.0)


def _standard(hyper, x):
  if not hyper.get("logit_stand", True):
    return x["s"], x["t"]
  eps = _of(hyper, 1e-7, "eps")
  return tuple(
    (z - z.mean(1, keepdim=True)) / (eps + z.std(1, keepdim=True))
    for z in (x["s"], x["t"])
  )


def logit_std_kd(hyper, x):
  return _mixed(hyper, x, *_standard(hyper, x), 2.0)


def logit_std_dkd(hyper, x):
  return _dkd(hyper, x, *_standard(hyper, x))


def _at_label(z, label):
  return z.gather(1, label[:, None])[:, 0]


def nkd(hyper, x):
  T, weight = _temperature(hyper, 1.0), _of(hyper, 1.5, "gamma")
  label = x["y"]
  log_q, log_p = (torch.log_softmax(x[n], 1) for n in ("s", "t"))
  target = -(_at_label(log_p, label).exp() * _at_label(log_q, label)).mean()
  is_label = F.one_hot(label, x["s"].shape[1]).bool()
  log_q, log_p = (
    torch.log_softmax((x[n] / T).masked_fill(is_label, -torch.inf), 1)
    for n in ("s", "t")
  )
  rest = -(log_p.exp() * log_q.masked_fill(is_label, 0.0)).sum(1).mean()
  return {"loss": target + weight * T**2 * rest}


def wsld(hyper, x):
  T = _temperature(hyper, 4.0)
  own, taught = (
    -_at_label(torch.log_softmax(x[n].detach(), 1), x["y"]) for n in ("s", "t")
  )
  weight = 1 - torch.exp(-(own / (taught + 1e-7)))
  p = torch.softmax(x["t"] / T, 1)
  soft = -(p * torch.log_softmax(x["s"] / T, 1)).sum(1)
  alpha = _of(hyper, 1.0, "alpha")
  return {"loss": alpha * T**2 * (weight * soft).mean()}


def ofa(hyper, x):
  T, eps = _temperature(hyper, 1.0), _of(hyper, 1.0, "eps")
  one = F.one_hot(x["y"], x["s"].shape[1]).double()
  target = (torch.softmax(x["t"] / T, 1) + one) ** eps - one
  soft = -(target * torch.log_softmax(x["s"] / T, 1)).sum(1)
  return {"loss": soft.mean()}


def _pearson(a, b, eps, clamp):
  a, b = (z - z.mean(1, keepdim=True) for z in (a, b))
  product, a, b = (a * b).sum(1), a.norm(dim=1), b.norm(dim=1)
  if clamp:
    return product / (a.clamp(min=eps) * b.clamp(min=eps))
  return product / (a * b + eps)


def _dist(hyper, student, teacher):
  T, eps = _of(hyper, 1.0, "tau"), _of(hyper, 1e-8, "eps")
  clamp = "tau" in hyper
  if student.ndim == 4:
    student, teacher = (
      z.transpose(1, 3).reshape(-1, z.shape[1]) for z in (student, teacher)
    )
  q, p = torch.softmax(student / T, 1), torch.softmax(teacher / T, 1)
  inter = 1 - _pearson(q, p, eps, clamp).mean()
  intra = 1 - _pearson(q.T, p.T, eps, clamp).mean()
  beta, gamma = _of(hyper, 1.0, "beta"), _of(hyper, 1.0, "gamma")
  return T**2 * (beta * inter + gamma * intra)


def dist(hyper, x):
  return {"loss": _dist(hyper, x["s"], x["t"])}


def dist_plus(hyper, x):
  eps = _of(hyper, 1e-8, "eps")
  logits = _dist({"tau": 1.0} | hyper, x["sl"], x["tl"])
  rows = lambda z: z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
  channels = _pearson(rows(x["s"]), rows(x["t"]), eps, True).mean()
  sums = lambda z: z.sum(1).flatten(1).T
  spatial = 1 - _pearson(sums(x["s"]), sums(x["t"]), eps, True).mean()
  iota, kappa = _of(hyper, 1.0, "iota"), _of(hyper, 1.0, "kappa")
  return {"loss": logits + iota * channels + kappa * spatial}


def skd_direction(hyper, x):
  grams = []
  for name in ("s", "t"):
    unit = F.normalize(x[name], dim=1)
    grams.append(unit @ unit.T)
  gap = grams[0] - grams[1]
  centred = gap - gap.mean(0, keepdim=True)
  covariance = centred.T @ centred / (len(gap) - 1)
  covariance = covariance + _of(hyper, 0.1, "tikhonov") * torch.eye(
    len(gap), dtype=gap.dtype
  )
  square = (gap @ torch.linalg.inv(covariance) * gap).sum(1)
  return {"loss": square.sqrt().mean()}


def _grams(pair, T, classes):
  """Squared distance of products of probabilities, per class or example."""
  P, Q = (torch.softmax(z / T, 1) for z in pair)
  if classes:
    P, Q = P.T, Q.T
  return ((P @ P.T - Q @ Q.T) ** 2).sum() / len(P)


def mlkd_cc(hyper, x):
  T = _temperature(hyper, 4.0)
  return {"loss": _grams((x["s"], x["t"]), T, True)}


def mlkd_bc(hyper, x):
  T = _temperature(hyper, 4.0)
  return {"loss": _grams((x["s"], x["t"]), T, False)}


def mlkd(hyper, x):
  temperatures = _of(hyper, None, "temperatures")
  if temperatures is None:
    temperatures = [_of(hyper, 4.0, "TEMPERATURE"), 3.0, 5.0, 2.0, 6.0]
  weak, strong = (x["sw"], x["tw"]), (x["ss"], x["ts"])
  p = torch.softmax(x["tw"], 1).detach().numpy()
  share = lambda v: float((v <= np.percentile(v, 50)).mean())
  examples, classes = share(p.max(1)), share(p.sum(0))
  kl_of = lambda pair, T: T**2 * _kl(*pair, T)
  kd_weight, ce_weight = (
    _of(hyper, 1.0, "KD_WEIGHT"),
    _of(hyper, 1.0, "CE_WEIGHT"),
  )
  soft = examples * sum(kl_of(weak, T) for T in temperatures)
  soft = soft + sum(kl_of(strong, T) for T in temperatures[:3])
  soft = soft + sum(kl_of(weak, T) for T in temperatures[3:])
  cc = classes * sum(_grams(weak, T, True) for T in temperatures)
  bc = examples * sum(_grams(weak, T, False) for T in temperatures)
  hard = _ce(x["sw"], x["y"]) + _ce(x["ss"], x["y"])
  return {
    "loss_ce": ce_weight * hard,
    "loss_kd": kd_weight * soft,
    "loss_cc": kd_weight * cc,
    "loss_bc": kd_weight * bc,
  }


def tfkd_reg(hyper, x):
  a = _of(hyper, 0.1, "reg_alpha", "alpha")
  T = _of(hyper, 20.0, "reg_temperature", "temperature")
  correct = _of(hyper, 0.99, "correct_prob")
  K = x["s"].shape[1]
  one = F.one_hot(x["y"], K).double()
  virtual = one * correct + (1 - one) * (1 - correct) / (K - 1)
  p = torch.softmax(virtual / T, 1)
  soft = (p * (p.log() - torch.log_softmax(x["s"], 1))).mean()
  soft = _of(hyper, 1.0, "multiplier") * soft
  return {"loss": (1 - a) * _ce(x["s"], x["y"]) + a * soft}


def label_smoothing(hyper, x):
  a, K = _of(hyper, 0.1, "alpha"), x["s"].shape[1]
  one = F.one_hot(x["y"], K).double()
  target = one * (1 - a) + (1 - one) * a / (K - 1)
  return {"loss": -(target * torch.log_softmax(x["s"], 1)).sum(1).mean()}


def _deit(hyper, x, soft):
  a = _of(hyper, 0.5, "alpha")
  return {"loss": (1 - a) * _ce(x["s"], x["y"]) + a * soft}


def deit_soft(hyper, x):
  T = _temperature(hyper, 1.0)
  return _deit(hyper, x, T**2 * _kl(x["s_dist"], x["t"], T, "mean"))


def deit_hard(hyper, x):
  return _deit(hyper, x, _ce(x["s_dist"], x["t"].argmax(1)))


def logits_mse(hyper, x):
  return {"loss": ((x["s"] - x["t"]) ** 2).mean()}


def _divided(hyper, x):
  T = x["temp"][..., None] if "temp" in x else _temperature(hyper, 1.0)
  return x["s"] / T, x["t"] / T


def kd_mse(hyper, x):
  student, teacher = _divided(hyper, x)
  return {"loss": ((student - teacher) ** 2).mean()}


def kd_ce(hyper, x):
  student, teacher = _divided(hyper, x)
  p = torch.softmax(teacher, -1)
  return {"loss": -(p * torch.log_softmax(student, -1)).sum(-1).mean()}


def c2kd_ntkl(hyper, x):
  T = _temperature(hyper, 1.0)
  keep = 1 - F.one_hot(x["y"], x["s"].shape[1]).double()
  log_q, log_p = (torch.log_softmax(x[n] * keep / T, 1) for n in ("s", "t"))
  values = (log_p.exp() * (log_p - log_q)).sum(1)
  if "mask" in x:
    values = values * x["mask"].double()
  return {"loss": values.mean()}


# Features


def _mse(a, b):
  return ((a - b) ** 2).mean()


def fitnet(hyper, x):
  if not _params(x):
    return _listed(hyper, [_mse(s, t) for s, t in _pairs(x)])
  (weight,), vectors = _kernels(x), _vectors(x)
  bias = None if len(vectors) in (0, 2) else vectors[0]
  student, teacher = x["s"], x["t"]
  own, other = (x[n].shape[2] if x[n].ndim == 4 else 1 for n in ("s", "t"))
  if student.ndim == 2:
    student, teacher = student[..., None, None], teacher[..., None, None]
  if own == 2 * other:
    adapted = F.conv2d(student, weight, bias, stride=2, padding=1)
  elif 2 * own == other:
    adapted = F.conv_transpose2d(student, weight, bias, stride=2, padding=1)
  elif own >= other:
    adapted = F.conv2d(student, weight, bias)
  else:
    adapted = F.conv2d(student, weight, bias, padding=1)
    teacher = F.adaptive_avg_pool2d(teacher, (own, own))
  if len(vectors) > 1:
    adapted = _norm(adapted, *vectors[-2:])
    if hyper.get("use_relu", True):
      adapted = F.relu(adapted)
  return {"loss": _mse(adapted, teacher)}


def inter_linear(hyper, x):
  return _listed(hyper, [_mse(s, t) for s, t in _pairs(x)])


def _attention(a, p):
  return F.normalize((a**p).mean(1).flatten(1), dim=1)


def at(hyper, x):
  p = int(_of(hyper, 2, "p"))
  values = []
  for pair in _pairs(x):
    student, teacher = _match(*pair)
    values.append(_mse(_attention(student, p), _attention(teacher, p)))
  return _listed(hyper, values)


def inter_attention(hyper, x):
  return at({}, x)


def at_paper(hyper, x):
  values = []
  for pair in _pairs(x):
    gap = _attention(pair[0], 2) - _attention(pair[1], 2)
    code = hyper.get("mode") == "code"
    values.append((gap**2).mean() if code else gap.norm(dim=1).mean())
  return _listed(hyper, values)


def at_zoo(hyper, x):
  p, eps = _of(hyper, 2, "p"), _of(hyper, 1e-6, "eps")

  def attention(a):
    a = a.abs().pow(p).sum(1).flatten(1)
    return a / (a.norm(dim=1, keepdim=True) + eps)

  return _listed(
    hyper, [_mse(attention(s), attention(t)) for s, t in _pairs(x)]
  )


def nst(hyper, x):
  def kernel(a, b):
    return torch.einsum("bih,bjh->bij", a, b) ** 2

  values = []
  for pair in _pairs(x):
    s, t = (F.normalize(z.flatten(2), dim=2) for z in _match(*pair))
    value = kernel(t, t).mean().detach() + kernel(s, s).mean()
    values.append(value - 2 * kernel(s, t).mean())
  return _listed(hyper, values)


def _flow(first, second, pool):
  size = [min(pair) for pair in zip(first.shape, second.shape, strict=True)][2:]
  first, second = (
    pool(z, size) if list(z.shape[2:]) != size else z for z in (first, second)
  )
  return torch.einsum("bchw,bdhw->bcd", first, second) / math.prod(size)


def _flows(x, pool):
  for (s, t), (s_next, t_next) in itertools.pairwise(_pairs(x)):
    yield _flow(s, s_next, pool), _flow(t, t_next, pool)


def fsp(hyper, x):
  pairs = _flows(x, F.adaptive_avg_pool2d)
  return _listed(hyper, [_mse(s, t) for s, t in pairs])


def fsp_l2(hyper, x):
  pairs = _flows(x, F.adaptive_max_pool2d)
  return _listed(hyper, [(s - t).norm(dim=1).sum() / len(s) for s, t in pairs])


def _singular(matrix, count):
  """Singular values and right vectors; the largest component is positive."""
  _, values, right = torch.linalg.svd(matrix, full_matrices=False)
  right = right.transpose(1, 2)
  most = right.abs().argmax(1, keepdim=True)
  right = right * torch.sign(right.gather(1, most)).detach()
  return values[:, :count], F.normalize(right[:, :, :count], dim=1)


def kdsvd(hyper, x):
  k = _of(hyper, 1, "k")
  if "mdistiller" in hyper["code"]:
    matrix = lambda a: a.reshape(len(a), -1, a.shape[3])
  else:
    matrix = lambda a: a.flatten(2).transpose(1, 2)
  vectors = []
  for student, teacher in _pairs(x):
    sigma, target = _singular(matrix(teacher), k)
    sigma = F.normalize(sigma, dim=1)[:, None]
    _, own = _singular(matrix(student), k + 3)
    cosine = own.transpose(1, 2) @ target
    largest = cosine.abs() == cosine.abs().max(1, keepdim=True).values
    own = own @ (largest * torch.sign(cosine)).detach()
    vectors.append((own * sigma.detach(), (target * sigma).detach()))
  losses = []
  for first, second in itertools.pairwise(vectors):
    own, target = (
      torch.exp(-((b[:, :, None] - a[:, None]) ** 2) / 8)
      for a, b in zip(first, second, strict=True)
    )
    losses.append(((own - target) ** 2).sum() / len(own))
  return _listed(hyper, losses)


def ft(hyper, x):
  values = []
  for student, teacher in _pairs(x):
    if "p1" in hyper:
      p1, p2 = hyper["p1"], hyper["p2"]
      pair = _match(student, teacher)
      gap = _attention(pair[0], int(p1)) - _attention(pair[1], int(p1))
      values.append((gap.abs() if p2 == 1 else gap**p2).mean())
      continue
    p, q = _of(hyper, 1, "p"), _of(hyper, 2, "q")
    unit = lambda a, q=q: a.flatten(1) / a.flatten(1).norm(q, 1, True)
    gap = unit(student) - unit(teacher)
    value = gap.abs() if p == 1 else gap.norm(p, dim=1)
    values.append(_reduce(value, _of(hyper, "mean", "reduction")))
  return _listed(hyper, values)


def kta(hyper, x):
  return ft(hyper, x)


def ft_plain(hyper, x):
  return ft(hyper, x)


def ab(hyper, x):
  m, values = _of(hyper, 1.0, "margin"), []
  for s, t in _pairs(x):
    up = (s + m) ** 2 * ((s > -m) & (t <= 0))
    down = (s - m) ** 2 * ((s <= m) & (t > 0))
    values.append((up + down).sum())
  if "feat_num" in hyper:
    n, batch = hyper["feat_num"], len(_pairs(x)[0][0])
    values = [
      2.0 ** (i - n + 1) * value / batch * 3 / 1000
      for i, value in enumerate(values)
    ]
  elif hyper.get("reduction") is None:
    sizes = [pair[0].numel() for pair in _pairs(x)]
    values = [v / size for v, size in zip(values, sizes, strict=True)]
  elif hyper["reduction"] == "mean":
    values = [value / len(_pairs(x)[0][0]) for value in values]
  return _listed(hyper, values)


def vid(hyper, x):
  if "svar" in x:
    variance, mean, target = x["svar"], x["s"], x["t"]
    if variance.ndim == 1:
      variance = variance.reshape(1, -1, *(1 for _ in mean.shape[2:]))
    loss = 0.5 * ((mean - target) ** 2 / variance + variance.log())
    return {"loss": loss.mean()}
  kernels, scales, values = _kernels(x), _vectors(x), []
  norms = []
  if len(scales) > len(_pairs(x)):  # BatchNorm of two layers
    norms, scales = scales[:4], scales[4:]
  for pair, scale in zip(_pairs(x), scales, strict=True):
    mean, target = _match(*pair)
    for index in range(3):
      kernel = kernels.pop(0)
      mean = F.relu(mean) if index else mean
      kernel = kernel.reshape(*kernel.shape[:2])
      mean = torch.einsum("oc,bc...->bo...", kernel, mean)
      if index < 2 and norms:
        mean = _norm(mean, norms.pop(0), norms.pop(0))
    variance = F.softplus(scale) + _of(hyper, 1e-5, "eps")
    variance = variance.reshape(1, -1, *(1 for _ in mean.shape[2:]))
    loss = 0.5 * ((mean - target) ** 2 / variance + variance.log())
    values.append(loss.mean())
  return _listed(hyper, values)


def ofd(hyper, x):
  margin = x["margin"].reshape(1, -1, 1, 1)
  target = torch.maximum(x["t"], margin)
  kept = (x["s"] > target) | (target > 0)
  total = ((x["s"] - target) ** 2 * kept).sum()
  mean = "mdistiller" in hyper["code"]
  return {"loss": total / len(target) if mean else total}


def ofd_margin(hyper, x):
  normal = torch.distributions.Normal(
    torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
  )
  deviation, mean = x["bn_weight"].abs(), x["bn_bias"]
  rare = normal.cdf(-mean / deviation)
  density = normal.log_prob(mean / deviation).exp()
  inside = -deviation * density / rare + mean
  return {"margin": torch.where(rare > 0.001, inside, -3 * deviation)}


def ofd_zoo(hyper, x):
  (weight,), (scale, shift) = _kernels(x), _vectors(x)
  student = _norm(F.conv2d(x["s"], weight), scale, shift)
  negative = (x["t"] < 0).double()
  margin = (x["t"] * negative).sum((0, 2, 3)) / (negative.sum((0, 2, 3)) + 1e-6)
  target = torch.maximum(x["t"], margin.reshape(1, -1, 1, 1))
  kept = ((student > target) | (target > 0)).detach()
  return {"loss": ((student - target) ** 2 * kept).mean()}


def reviewkd_hcl(hyper, x):
  levels = _of(hyper, (4, 2, 1), "levels", "output_sizes")
  reduction, values = _of(hyper, "mean", "reduction"), []
  for s, t in _pairs(x):
    loss, weight, total = _reduce((s - t) ** 2, reduction), 1.0, 1.0
    for level in levels:
      if level >= s.shape[2]:
        continue
      weight /= 2
      gap = F.adaptive_avg_pool2d(s, (level, level)) - F.adaptive_avg_pool2d(
        t, (level, level)
      )
      loss = loss + weight * _reduce(gap**2, reduction)
      total += weight
    values.append(loss / total)
  return _listed(hyper, values)


def reviewkd_abf(hyper, x):
  kernels, vectors = _kernels(x), _vectors(x)
  deeper = [n for n in x if n != "s" and not n.startswith("param:")]
  size = lambda n: (hyper[n], hyper[n])
  if deeper:
    # The gate's kernel gives 2 channels, and its bias has 2 numbers.
    gate = next(k for k in kernels if k.shape[0] == 2)
    shift = next(v for v in vectors if len(v) == 2)
    kernels = [k for k in kernels if k is not gate]
    vectors = [v for v in vectors if v is not shift]
  a = _norm(F.conv2d(x["s"], kernels[0]), *vectors[:2])
  if deeper:
    b = F.interpolate(x[deeper[0]], size("shape"), mode="nearest")
    z = torch.sigmoid(F.conv2d(torch.cat([a, b], 1), gate, shift))
    a = a * z[:, :1] + b * z[:, 1:]
  if a.shape[-1] != hyper["out_shape"]:
    a = F.interpolate(a, size("out_shape"), mode="nearest")
  y = _norm(F.conv2d(a, kernels[1], padding=1), *vectors[2:])
  return {"y": y, "x": a}


def simkd(hyper, x):
  student, teacher = _match(x["s"], x["t"])
  vectors = _vectors(x)
  for index, kernel in enumerate(_kernels(x)):
    student = F.conv2d(student, kernel, padding=kernel.shape[2] // 2)
    student = F.relu(_norm(student, *vectors[2 * index : 2 * index + 2]))
  prediction = student.mean((2, 3)) @ x["cls_w"].T + x["cls_b"]
  return {"mse": _mse(student, teacher), "aux_pred": prediction}


def srrl(hyper, x):
  (weight,), (scale, shift) = _kernels(x), _vectors(x)
  student = x["s"] @ weight.reshape(*weight.shape[:2]).T
  student = F.relu(_norm(student, scale, shift))
  logits = student @ x["cls_w"].T + x["cls_b"]
  return {"feat_mse": _mse(student, x["t"]), "reg_mse": _mse(logits, x["tl"])}


def srrl_fm(hyper, x):
  return {"loss": _mse(*(x[n].flatten(2).mean(2) for n in ("s", "t")))}


def semckd(hyper, x):
  weights = torch.softmax(x["sw"], -1)
  total = 0.0
  for i in range(weights.shape[1]):
    for j in range(weights.shape[2]):
      gap = (x[f"s{i}{j}"] - x[f"t{i}{j}"]) ** 2
      mean = gap.flatten(1).mean(1)
      total = total + (mean * weights[:, i, j]).sum()
  return {"loss": total / len(weights) / weights.shape[1]}


def srd(hyper, x):
  p = _of(hyper, 1.0, "exponent")
  T = _of(hyper, 1.0, "temperature")
  features = (x["s"] - x["t"]).abs().pow(p).sum().log()
  return {"loss": 2 * features + _kl(x["sl"], x["tl"], T)}


def ickd(hyper, x):
  values = []
  for s, t in _pairs(x):
    if _params(x):
      s = _norm(F.conv2d(s, _kernels(x)[0]), *_vectors(x)[:2])
    B, C = s.shape[:2]
    grams = []
    for a in (s, t):
      a = a.reshape(B, C, -1)
      grams.append(F.normalize(a @ a.transpose(1, 2), dim=2))
    total = ((grams[0] - grams[1]) ** 2).sum() / (C * B)
    values.append(total if "ICKD" in hyper["code"] else total / B)
  return _listed(hyper, values)


def pad_l2(hyper, x):
  log_variance = x["slogvar"].flatten(1)
  square = (x["t"].flatten(1) - x["s"].flatten(1)) ** 2
  loss = square / (_of(hyper, 1e-6, "eps") + log_variance.exp()) + log_variance
  loss = loss.mean(1)
  mean = _of(hyper, "mean", "reduction") == "mean"
  return {"loss": loss.mean() if mean else loss.sum()}


def cwd(hyper, x):
  norm = _of(hyper, "none", "norm_type")
  is_kl = _of(hyper, "mse", "divergence") == "kl"
  T = _of(hyper, 1.0, "temperature") if is_kl else 1.0
  B, C, H, W = x["s"].shape
  pair = [x["s"], x["t"]]
  if norm == "channel":
    pair = [torch.softmax(a.flatten(2) / T, 2) for a in pair]
  elif norm == "spatial":
    pair = [torch.softmax(a / T, 1) for a in pair]
  elif norm == "channel_mean":
    pair = [a.flatten(2).mean(2) / T for a in pair]
  else:
    pair = [a[0] for a in pair]
  q, p = pair
  total = (p * (p.log() - q.log()) if is_kl else (p - q) ** 2).sum()
  count = B * C if norm in ("channel", "channel_mean") else B * H * W
  return {"loss": T**2 * total / count}


def afd(hyper, x):
  eps = _of(hyper, 1e-6, "eps")
  first, last = (k.reshape(*k.shape[:2]) for k in _kernels(x))
  first_bias, last_bias = _vectors(x)
  mean = x["t"].mean((2, 3))
  gate = torch.sigmoid(F.relu(mean @ first.T + first_bias) @ last.T + last_bias)
  gate = gate / gate.sum(1, keepdim=True)
  s, t = (
    a / (a.norm(dim=(2, 3), keepdim=True) + eps) for a in (x["s"], x["t"])
  )
  return {"loss": (gate * ((s - t) ** 2).mean((2, 3))).sum(1).mean()}


def sobolev(hyper, x):
  def slope(inner, outer):
    images = x["x"].detach().clone().requires_grad_(True)
    logits = torch.tanh(images.flatten(1) @ inner) @ outer
    own = _at_label(logits, x["y"]).sum()
    (found,) = torch.autograd.grad(own, images, create_graph=True)
    return F.normalize(found.flatten(1), dim=1)

  return {"loss": _mse(slope(x["W"], x["sV"]), slope(x["Wt"], x["tV"]))}


# Relations


def _similarity(a, p=2.0):
  a = a.flatten(1)
  return F.normalize(a @ a.T, p=p, dim=1)


def sp(hyper, x):
  reduction, values = _of(hyper, None, "reduction"), []
  p = 2.0 if reduction is None else 1.0  # torchdistill's norm
  for s, t in _pairs(x):
    total = ((_similarity(t, p) - _similarity(s, p)) ** 2).sum()
    whole = reduction not in (None, "batchmean")
    values.append(total if whole else total / len(s) ** 2)
  return _listed(hyper, values)


def inter_similarity(hyper, x):
  return sp({}, x)


def _distances(a, squared=False, eps=1e-12):
  """With an exact 0 on the diagonal."""
  gap = a.flatten(1)[:, None] - a.flatten(1)[None]
  square = (gap**2).sum(2)
  alone = torch.eye(len(a), dtype=torch.bool)
  square = square.masked_fill(alone, 1.0).clamp(min=eps)
  return (square if squared else square.sqrt()).masked_fill(alone, 0.0)


def _rkd(hyper, x, distance, angle):
  squared, eps = hyper.get("squared", False), _of(hyper, 1e-12, "eps")
  names = "w_d", "w_dist", "distance_weight", "dist_factor", "distance_factor"
  distance = _of(hyper, distance, *names)
  angle = _of(hyper, angle, "w_a", "w_angle", "angle_weight", "angle_factor")
  reduction = _of(hyper, "mean", "reduction")
  loss = 0.0 * x["s"].sum()
  if distance:
    s, t = (_distances(x[n], squared, eps) for n in ("s", "t"))
    s, t = (d / d[d > 0].mean() for d in (s, t))
    loss = loss + distance * F.smooth_l1_loss(s, t, reduction=reduction)
  if angle:
    cosines = []
    for name in ("s", "t"):
      a = x[name].flatten(1)
      unit = F.normalize(a[None] - a[:, None], dim=2)
      cosines.append(unit @ unit.transpose(1, 2))
    loss = loss + angle * F.smooth_l1_loss(*cosines, reduction=reduction)
  return {"loss": loss}


def rkd(hyper, x):
  return _rkd(hyper, x, 25.0, 50.0)


def rkd_distance(hyper, x):
  return _rkd(hyper, x, 1.0, 0.0)


def rkd_angle(hyper, x):
  return _rkd(hyper, x, 0.0, 1.0)


def darkrank(hyper, x):
  alpha, beta = _of(hyper, 3, "alpha"), _of(hyper, 3, "beta")
  length = _of(hyper, 4, "permute_len")
  s, t = (-alpha * _distances(x[n]) ** beta for n in ("s", "t"))
  order = t.argsort(1, descending=True)[:, 1 : length + 1]
  s = s.gather(1, order)
  rest = [torch.logsumexp(s[:, i:], 1) for i in range(s.shape[1])]
  return {"loss": -(s - torch.stack(rest, 1)).sum(1).mean()}


def _pkt(hyper, x, eps):
  eps = _of(hyper, eps, "eps")
  tables = []
  for name in ("s", "t"):
    a = x[name].flatten(1)
    a = a / (a.norm(dim=1, keepdim=True) + eps)
    table = (a @ a.T + 1) / 2
    tables.append(table / table.sum(1, keepdim=True))
  s, t = tables
  return {"loss": (t * ((t + eps) / (s + eps)).log()).mean()}


def pkt(hyper, x):
  return _pkt(hyper, x, 1e-7)


def pkt_eps1e_6(hyper, x):
  return _pkt(hyper, x, 1e-6)


def cc(hyper, x):
  student, teacher = x["s"].flatten(1), x["t"].flatten(1)
  if _params(x):
    student = _linear(x, "embed_s")(student)
    teacher = _linear(x, "embed_t")(teacher)
  gap = (student - teacher).abs()
  return {"loss": (gap[:-1] * gap[1:]).sum(1).mean()}


def _kernel(a, gamma, order):
  """Taylor terms of the Gaussian kernel of rows of length 1."""
  product = a @ a.T
  total = torch.ones_like(product)
  for p in range(1, order + 1):
    total = total + (2 * gamma) ** p / math.factorial(p) * product**p
  return math.exp(-2 * gamma) * total


def _cckd(hyper, x, table):
  distance = (table(x["s"]) - table(x["t"])).norm()
  whole = _of(hyper, "batchmean", "reduction") != "batchmean"
  return {"loss": distance if whole else distance / len(x["s"]) ** 2}


def cckd_bilinear(hyper, x):
  return _cckd(hyper, x, lambda a: a @ a.T)


def cckd_gaussian(hyper, x):
  gamma, order = _of(hyper, 0.4, "gamma"), _of(hyper, 2, "max_p")
  return _cckd(hyper, x, lambda a: _kernel(a, gamma, order))


def cc_gaussian(hyper, x):
  gamma, order = _of(hyper, 0.4, "gamma"), _of(hyper, 2, "P_order")
  s, t = (_kernel(F.normalize(x[n], dim=1), gamma, order) for n in ("s", "t"))
  return {"loss": _mse(s, t)}


def irg(hyper, x):
  def edge(name):
    square = _distances(x[name], squared=True)
    return square / square.max()

  def change(side):
    first, second = x[f"{side}0"], x[f"{side}1"]
    if first.shape[2] > second.shape[2]:
      first = F.adaptive_avg_pool2d(first, second.shape[2:])
    if first.shape[1] < second.shape[1]:
      second = (second[:, 0::2] + second[:, 1::2]) / 2
    square = ((first - second).flatten(1) ** 2).sum(1).clamp(min=1e-12)
    return square / square.max()

  edges = sum(_mse(edge(f"s{n}"), edge(f"t{n}")) for n in "01f") / 3
  loss = _of(hyper, 0.1, "w_irg_vert") * _mse(x["sl"], x["tl"])
  loss = loss + _of(hyper, 5.0, "w_irg_edge") * edges
  tran = _mse(change("s"), change("t"))
  return {"loss": loss + _of(hyper, 5.0, "w_irg_tran") * tran}


def affinity(hyper, x):
  s, t = (F.normalize(x[n].flatten(2), dim=2) for n in ("s", "t"))
  outer = lambda a: a[..., :, None] * a[..., None, :]
  gap = (outer(s) - outer(t)) / s.shape[2]
  values = gap.flatten(2).norm(dim=2).sum(1)
  return {"loss": _reduce(values, _of(hyper, "mean", "reduction"))}


# Contrastive


def _embedded(x):
  """Both sides as they enter the memory: of length 1."""
  rows = []
  for side in ("s", "t"):
    found = [n for n, _ in _params(x) if f"_{side}" in n]
    rows.append(
      F.normalize(_linear(x, f"_{side}")(x[side].flatten(1)), dim=1)
      if found
      else x[side]
    )
  return rows


def _memory(hyper, x):
  """Unscaled scores [B K+1] of both directions."""
  T = float(np.float32(_of(hyper, 0.07, "nce_t", "temperature")))
  student, teacher = _embedded(x)
  return [
    torch.exp(torch.einsum("bkd,bd->bk", x[bank][x["cidx"]], rows) / T)
    for bank, rows in (("mem2", student), ("mem1", teacher))
  ]


def _contrast(scores, n_data):
  noise = (scores.shape[1] - 1) / n_data
  positive = scores[:, 0] / (scores[:, 0] + noise + 1e-7)
  negative = noise / (scores[:, 1:] + noise + 1e-7)
  return -(positive.log().sum() + negative.log().sum()) / len(scores)


def crd(hyper, x):
  n = hyper["n_data"]
  return {
    "loss": sum(
      _contrast(scores / (scores.mean() * n).detach(), n)
      for scores in _memory(hyper, x)
    )
  }


def crd_contrast(hyper, x):
  return {"loss": _contrast(x["s"].flatten(1), hyper["n_data"])}


def crd_memory_update(hyper, x):
  m = _of(hyper, 0.5, "nce_m", "momentum")
  banks = []
  for bank, rows in zip(("mem1", "mem2"), _embedded(x), strict=True):
    new = x[bank].clone()
    new[x["idx"]] = F.normalize(m * new[x["idx"]] + (1 - m) * rows, dim=1)
    banks.append(new.detach())
  totals = [s.mean() * hyper["n_data"] for s in _memory(hyper, x)]
  return {
    "aux_memory_v1": banks[0],
    "aux_memory_v2": banks[1],
    "aux_Z": torch.stack(totals).detach(),
  }


def _cosines(rows):
  """[3n n]: of each changed view with each plain view, example by example."""
  plain = F.normalize(rows[0::4], dim=1)
  others = F.normalize(rows, dim=1)[torch.arange(len(rows)) % 4 != 0]
  return others @ plain.T


def _kept(scores, label, ratio):
  """Rows with the label first, and a share of the others, best ranks first."""
  ranks = (scores.argsort(1, descending=True) == label[:, None]).int().argmax(1)
  wrong = int((ranks > 0).sum())
  count = len(ranks) - wrong + int(wrong * ratio)
  return ranks.argsort(stable=True)[:count].sort().values


def sskd(hyper, x):
  reduction = _of(hyper, "batchmean", "reduction")
  hard = "mean" if reduction == "batchmean" else reduction
  plain = torch.arange(len(x["sl"])) % 4 == 0
  logits, taught = x["sl"], x["tl"]
  first = _ce(logits[plain], x["y"], hard)
  T = hyper["kl_temp"]
  second = T**2 * _kl(logits[plain], taught[plain], T, reduction)
  own, other = _cosines(x["s"]), _cosines(x["t"])
  rows = _kept(
    other, torch.arange(len(x["y"])).repeat_interleave(3), hyper["ss_ratio"]
  )
  T = hyper["ss_temp"]
  third = T**2 * _kl(own[rows], other[rows], T, reduction)
  T = hyper["tf_temp"]
  rows = _kept(
    torch.softmax(taught[~plain] / T, 1),
    x["y"].repeat_interleave(3),
    hyper["tf_ratio"],
  )
  last = T**2 * _kl(logits[~plain][rows], taught[~plain][rows], T, reduction)
  weights = _of(hyper, (1, 1, 1, 1), "loss_weights")
  parts = (first, second, third, last)
  return {"loss": sum(w * p for w, p in zip(weights, parts, strict=True))}


def sskd_aux(hyper, x):
  label = torch.arange(len(x["s"]) // 4).repeat_interleave(3)
  reduction = _of(hyper, "mean", "reduction")
  return {"loss": _ce(_cosines(x["s"]), label, reduction)}


def _matching(logits):
  return _ce(logits, torch.arange(len(logits)))


def _symmetric(images, texts, scale):
  logits = scale * images @ texts.T
  return (_matching(logits) + _matching(logits.T)) / 2


def clip(hyper, x):
  return {"loss": _symmetric(x["s_i"], x["s_t"], x["scale"])}


def clip_soft(hyper, x):
  logits = x["scale"] * x["s_i"] @ x["s_t"].T
  taught = x["tscale"] * x["t_i"] @ x["t_t"].T
  soft = lambda z, t: (
    -(torch.softmax(t, 1) * torch.log_softmax(z, 1)).sum(1).mean()
  )
  return {"loss": (soft(logits, taught) + soft(logits.T, taught.T)) / 2}


def _slopes(queries, keys, tau):
  """Gradients of the contrastive loss in both, with logits divided by tau."""
  count = len(queries)
  p = torch.softmax(queries @ keys.T / tau, 1)
  gap = (p - torch.eye(count, dtype=p.dtype)) / tau / count
  return gap @ keys, gap.T @ queries


def _clip_kd(hyper, x, names):
  unit = lambda a: F.normalize(a, dim=1)
  s_i, s_t, t_i, t_t = (x[n] for n in ("s_i", "s_t", "t_i", "t_t"))
  scale, taught = x["scale"], x["tscale"] * t_i @ t_t.T
  own = scale * unit(s_i) @ unit(s_t).T
  both = lambda a, a_t, b, b_t: (_kl(a, b, 1.0) + _kl(a_t, b_t, 1.0)) / 2
  out = {
    "task": (_matching(own) + _matching(own.T)) / 2,
    "ckd": both(own, own.T, taught, taught.T),
  }
  wide_i, wide_t = s_i, s_t
  if s_i.shape[1] != t_i.shape[1]:
    wide_i = _linear(x, "visual_proj")(s_i)
    wide_t = _linear(x, "text_proj")(s_t)
  u_i, u_t = unit(wide_i), unit(wide_t)
  cross = x["param:cross_logit_scale"]
  a, b = cross * u_i @ t_t.T, cross * u_t @ t_i.T
  out["icl"] = (_matching(a) + _matching(b)) / 2
  out["cross_kd"] = both(a, b, taught, taught.T)
  out["fd"] = _mse(u_i, t_i) + _mse(u_t, t_t)
  gaps = []
  for one, other in (("i", "t"), ("t", "i")):
    mine = {"i": u_i, "t": u_t}
    theirs = {"i": t_i, "t": t_t}
    gaps += [
      _mse(g, h)
      for g, h in zip(
        _slopes(mine[one], mine[other], scale),
        _slopes(theirs[one], theirs[other], x["tscale"]),
        strict=True,
      )
    ]
  out["gd"] = sum(gaps)
  if "afd" in names:
    f_i = unit(_linear(x, "visual_fusion")(torch.cat([u_i, t_i], 1)))
    f_t = unit(_linear(x, "text_fusion")(torch.cat([u_t, t_t], 1)))
    out["afd"] = _symmetric(f_i, f_t, x["param:fusion_logit_scale"])
  weight = _of(hyper, 1.0, "weight")
  return {
    n: (weight if n == "task" else _of(hyper, weight, f"alpha_{n}")) * out[n]
    for n in names
  }


def clip_kd(hyper, x):
  names = ["task", "ckd", "icl", "cross_kd", "fd", "gd", "afd"]
  fused = any("fusion_proj" in n for n, _ in _params(x))
  return _clip_kd(hyper, x, names if fused else names[:-1])


def clip_kd_task(hyper, x):
  return _clip_kd(hyper, x, ["task"])


def clip_kd_ckd(hyper, x):
  return _clip_kd(hyper, x, ["ckd"])


def clip_kd_icl(hyper, x):
  return _clip_kd(hyper, x, ["icl"])


def clip_kd_cross_kd(hyper, x):
  return _clip_kd(hyper, x, ["cross_kd"])


def clip_kd_fd(hyper, x):
  return _clip_kd(hyper, x, ["fd"])


def clip_kd_gd(hyper, x):
  return _clip_kd(hyper, x, ["gd"])


def clip_kd_afd(hyper, x):
  return _clip_kd(hyper, x, ["afd"])


# Transformers


def _mask(x):
  return x["mask"].double() if "mask" in x else None


def _square(mask):
  """1 for each pair of tokens that are no padding."""
  return mask[:, :, None] * mask[:, None]


def _floored(scores, values=None):
  return torch.where(scores <= -1e-3, 0.0, scores if values is None else values)


def _attention_mse(x, summed):
  s, t, mask = x["s"], x["t"], _mask(x)
  if s.ndim == 3:
    s, t = s[:, None], t[:, None]
  if summed:
    s, t = s.sum(1, keepdim=True), t.sum(1, keepdim=True)
  if mask is None:
    return {"loss": _mse(_floored(s), _floored(t))}
  count = s.shape[1] * (mask.sum(1) ** 2).sum()
  return {"loss": ((s - t) ** 2 * _square(mask)[:, None]).sum() / count}


def tb_att_mse(hyper, x):
  return _attention_mse(x, False)


def tb_att_mse_sum(hyper, x):
  return _attention_mse(x, True)


def _attention_ce(x, averaged):
  s, t, mask = x["s"], x["t"], _mask(x)
  if s.ndim == 3:
    s, t = s[:, None], t[:, None]
  if averaged:
    s, t = s.mean(1, keepdim=True), t.mean(1, keepdim=True)
  p, log_q = torch.softmax(t, -1), torch.log_softmax(s, -1)
  if mask is None:
    return {"loss": -(_floored(t, p) * log_q).sum(-1).mean()}
  total = -(p * log_q * _square(mask)[:, None]).sum()
  return {"loss": total / (mask.sum() * s.shape[1])}


def tb_att_ce(hyper, x):
  return _attention_ce(x, False)


def tb_att_ce_mean(hyper, x):
  return _attention_ce(x, True)


def _over_tokens(values, mask):
  if mask is None:
    return values.mean()
  return (values * mask).sum() / mask.sum()


def _hidden(s, t):
  return ((s - t) ** 2).mean(-1)


def _unlike(s, t):
  return 1 - F.cosine_similarity(s, t, dim=-1)


def tb_hid_mse(hyper, x):
  return _over_layers(x, _hidden)


def tb_cos(hyper, x):
  return _over_layers(x, _unlike)


def tb_pkd(hyper, x):
  s, t = (x[n][:, 0] if x[n].ndim == 3 else x[n] for n in ("s", "t"))
  s, t = F.normalize(s, dim=1), F.normalize(t, dim=1)
  return {"loss": ((s - t) ** 2).sum(1).mean()}


def tb_fsp(hyper, x):
  mask, grams = _mask(x), []
  for side in ("s", "t"):
    first, second = _layers(x, side)
    if mask is None:
      count = first.shape[1]
    else:
      first, second = first * mask[..., None], second * mask[..., None]
      count = mask.sum(1)[:, None, None]
    grams.append(first.transpose(1, 2) @ second / count)
  return {"loss": _mse(*grams)}


def tb_mmd(hyper, x):
  mask, grams = _mask(x), []
  for side in ("s", "t"):
    first, second = _layers(x, side)
    grams.append(first @ second.transpose(1, 2) / second.shape[2])
  square = (grams[0] - grams[1]) ** 2
  return {"loss": _over_tokens(square, None if mask is None else _square(mask))}


def _over_layers(x, values):
  pairs, mask = _pairs(x), _mask(x)
  if kernels := _kernels(x):
    pairs = [(s @ k.T, t) for (s, t), k in zip(pairs, kernels, strict=True)]
  found = [_over_tokens(values(s, t), mask) for s, t in pairs]
  return {"loss": sum(found) / len(found)}


def hs_mse(hyper, x):
  return _over_layers(x, _hidden)


def hs_cosine(hyper, x):
  return _over_layers(x, _unlike)


def minilm(hyper, x):
  heads, mask = int(hyper["A_r"]), _mask(x)

  def relation(side, pair):
    a, b = (
      z.reshape(*z.shape[:2], heads, -1).transpose(1, 2)
      for z in (x[side + "qkv"[n - 1]] for n in pair)
    )
    scores = a @ b.transpose(2, 3) / a.shape[-1] ** 0.5
    if mask is not None:
      scores = scores.masked_fill(mask[:, None, None] == 0, -1e30)
    return torch.log_softmax(scores, -1)

  total = 0.0
  for key, weight in hyper["relations"].items():
    pair = ast.literal_eval(key)
    log_p, log_q = relation("t", pair), relation("s", pair)
    rows = (log_p.exp() * (log_p - log_q)).sum(-1)
    tokens = torch.ones_like(rows[:, 0]) if mask is None else mask
    each = (rows * tokens[:, None]).sum((1, 2)) / (heads * tokens.sum(1))
    total = total + weight * each.mean()
  return {"loss": total}
