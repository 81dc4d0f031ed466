"""Losses on logits."""

import jax
import jax.numpy as jnp

from goldens._case import Array, Case
from kdjax import registry
from kdjax.heads.standardize import Head as Standardize
from kdjax.numerics import times_log

_LOSS = lambda name: registry.find("losses", name)
CROSS_ENTROPY = _LOSS("cross_entropy")
KD = _LOSS("kd")
DKD = _LOSS("dkd")


def _mean(case, values):
  return case.answer(jnp.mean(values))


def _temperature(case, default):
  """T, by any of its public names."""
  return case.option(default, "T", "temperature", "temp", "tau")


def _standardized(case):
  head = Standardize(epsilon=case.option(1e-7, "eps"))
  if not case.hyper.get("logit_stand", True):
    return case["s"], case["t"]
  return head.apply({}, case["s"]), head.apply({}, case["t"])


def _divergence(case, student, teacher, temperature, *, scale=True):
  """KL, reduced by the torch name of the reduction.

  "batchmean" divides by the examples, also where each has many positions.
  """
  reduction = case.option("batchmean", "reduction")
  if reduction == "none":
    log_p, log_q = (
      jax.nn.log_softmax(x / temperature) for x in (teacher, student)
    )
    # The terms of the loss's sum over classes, in the layout of the inputs.
    terms = times_log(jnp.exp(log_p), log_p - log_q)
    terms = jnp.moveaxis(terms, 3, 1) if terms.ndim == 4 else terms
    return terms * (temperature**2 if scale else 1.0)
  values = KD(student, teacher, temperature=temperature, scale=scale)
  counts = {"batchmean": len(values), "sum": 1, "mean": student.size}
  return jnp.sum(values) / counts[reduction]


def kd(case: Case) -> dict[str, Array]:
  """T^2 KL, mixed with labels; torchdistill drops both T^2 and labels at 0."""
  return _mixed(case, case["s"], case["t"], _temperature(case, 4.0))


def _mixed(case, student, teacher, temperature):
  """KD on these logits, with the label part on the case's logits."""
  soft = lambda scale: _divergence(
    case, student, teacher, temperature, scale=scale
  )
  if "alpha" not in case.hyper:
    return case.answer(case.option(1.0, "beta") * soft(True))
  share = case.hyper["alpha"]
  if not share or "y" not in case:
    return case.answer(soft(False))
  hard = CROSS_ENTROPY(case["s"], case["y"])
  sums = case.option("batchmean", "reduction") == "sum"
  hard = jnp.sum(hard) if sums else jnp.mean(hard)
  weight = case.option(1 - share, "beta")
  return case.answer(share * hard + weight * soft(True))


def kd_noT2(case: Case) -> dict[str, Array]:  # noqa: N802
  """KL without the factor T^2."""
  temperature = _temperature(case, 4.0)
  return case.answer(
    _divergence(case, case["s"], case["t"], temperature, scale=False)
  )


def kd_elementmean(case: Case) -> dict[str, Array]:
  """(1 - a) CE + a T^2 KL / K, as KLDivLoss() divides by all elements."""
  soft = jnp.mean(
    KD(
      case["s"],
      case["t"],
      temperature=_temperature(case, 4.0),
      reduction="mean",
    )
  )
  soft *= case.hyper.get("multiplier", 1.0)
  if "y" not in case:
    return case.answer(soft)
  share = case.option(0.5, "alpha", "lambda", "lambda_")
  hard = jnp.mean(CROSS_ENTROPY(case["s"], case["y"]))
  return case.answer((1 - share) * hard + share * soft)


def kd_hard(case: Case) -> dict[str, Array]:
  """Cross-entropy with the teacher's class."""
  rows = lambda x: x.reshape(-1, x.shape[-1])
  return _mean(case, _LOSS("hard_label")(rows(case["s"]), rows(case["t"])))


def skd_instance(case: Case) -> dict[str, Array]:
  """KL; the authors' code keeps the less confident half, with T^2."""
  temperature = _temperature(case, 4.0)
  if case.hyper.get("mode", "paper") == "paper":
    return kd_noT2(case)
  loss = _LOSS("mlkd_instance")(
    case["s"], case["t"], temperatures=(temperature,), select="low"
  )
  return case.answer(loss)


def dml(case: Case) -> dict[str, Array]:
  """KL with the peer's probabilities."""
  temperature = _temperature(case, 1.0)
  return case.answer(_divergence(case, case["s"], case["t"], temperature))


def kl(case: Case) -> dict[str, Array]:
  """KL of each token, summed over tokens and examples, without T^2."""
  temperature = _temperature(case, 1.0)
  loss = KD(case["s"], case["t"], temperature=temperature, scale=False)
  if "mask" in case:
    mask = case["mask"].reshape(loss.shape)
    loss = jnp.where(mask.astype(bool), loss, 0.0)
  return case.answer(jnp.sum(loss))


def dkd(case: Case) -> dict[str, Array]:
  """Weighted TCKD and NCKD."""
  return _dkd(case, case["s"], case["t"])


def dkd_tckd(case: Case) -> dict[str, Array]:
  """TCKD with weight 1."""
  return _dkd(case, case["s"], case["t"], others=0.0)


def dkd_nckd(case: Case) -> dict[str, Array]:
  """NCKD with weight 1."""
  return _dkd(case, case["s"], case["t"], target=0.0, others=1.0)


def _dkd(case, student, teacher, target=1.0, others=8.0):
  target, others = case.option(target, "alpha"), case.option(others, "beta")
  temperature = _temperature(case, 4.0)
  if others == 0 and target == 1:
    loss = _LOSS("tckd")(student, teacher, case["y"], temperature=temperature)
  elif target == 0 and others == 1:
    loss = _LOSS("nckd")(student, teacher, case["y"], temperature=temperature)
  else:
    loss = DKD(
      student,
      teacher,
      case["y"],
      temperature=temperature,
      tckd_weight=target,
      nckd_weight=others,
    )
  return _mean(case, loss)


def logit_std_kd(case: Case) -> dict[str, Array]:
  """KD of standardised logits, with labels if the case has them."""
  return _mixed(case, *_standardized(case), _temperature(case, 2.0))


def logit_std_dkd(case: Case) -> dict[str, Array]:
  """DKD of standardised logits."""
  return _dkd(case, *_standardized(case))


def nkd(case: Case) -> dict[str, Array]:
  """Normalised KD."""
  loss = _LOSS("nkd")(
    case["s"],
    case["t"],
    case["y"],
    temperature=_temperature(case, 1.0),
    others_weight=case.option(1.5, "gamma"),
  )
  return _mean(case, loss)


def wsld(case: Case) -> dict[str, Array]:
  """Weighted soft labels; the weights have no gradient."""
  loss = _LOSS("wsld")(
    case["s"],
    case["t"],
    case["y"],
    jax.lax.stop_gradient(case["s"]),
    temperature=_temperature(case, 4.0),
  )
  return _mean(case, case.hyper.get("alpha", 1.0) * loss)


def ofa(case: Case) -> dict[str, Array]:
  """OFA with its enhanced target."""
  loss = _LOSS("ofa")(
    case["s"],
    case["t"],
    case["y"],
    temperature=_temperature(case, 1.0),
    power=case.option(1.0, "eps"),
  )
  return _mean(case, loss)


def dist(case: Case) -> dict[str, Array]:
  """DIST; torchdistill, which has a tau, clamps norms as torch does."""
  return case.answer(_dist(case, case["s"], case["t"]))


def _dist(case, student, teacher):
  if student.ndim == 4:  # logits of every position: each is an example
    student, teacher = (x.reshape(-1, x.shape[-1]) for x in (student, teacher))
  return _LOSS("dist")(
    student,
    teacher,
    temperature=float(_temperature(case, 1.0)),
    inter_weight=float(case.hyper.get("beta", 1.0)),
    intra_weight=float(case.hyper.get("gamma", 1.0)),
    epsilon=case.hyper.get("eps", 1e-8),
    guard="clamp" if "tau" in case.hyper else "add",
  )


def dist_plus(case: Case) -> dict[str, Array]:
  """DIST on logits, and torchdistill's two parts on maps."""
  maps = _LOSS("dist_plus")(
    case["s"],
    case["t"],
    channel_weight=case.option(1.0, "iota"),
    spatial_weight=case.option(1.0, "kappa"),
    epsilon=case.hyper.get("eps", 1e-8),
    mode="code",
  )
  hyper = {"tau": 1.0, **case.hyper}
  logits = _dist(Case(hyper, case.inputs, case.outputs), case["sl"], case["tl"])
  return case.answer(logits + maps)


def skd_direction(case: Case) -> dict[str, Array]:
  """Whitened differences of cosines."""
  loss = _LOSS("skd_direction")(
    case["s"],
    case["t"],
    tikhonov=case.option(0.1, "tikhonov"),
    mode=case.hyper.get("mode", "paper"),
  )
  return case.answer(loss)


def mlkd_cc(case: Case) -> dict[str, Array]:
  """MLKD's class correlation, at one temperature."""
  temperatures = (_temperature(case, 4.0),)
  loss = _LOSS("mlkd_class")(case["s"], case["t"], temperatures=temperatures)
  return case.answer(loss)


def mlkd_bc(case: Case) -> dict[str, Array]:
  """MLKD's batch correlation, at one temperature."""
  temperatures = (_temperature(case, 4.0),)
  loss = _LOSS("mlkd_batch")(case["s"], case["t"], temperatures=temperatures)
  return case.answer(loss)


def mlkd(case: Case) -> dict[str, Array]:
  """All levels, summed as in the released code.

  Of the strong view it has the instances alone, at three temperatures; at the
  others it takes the weak view again.
  """
  first = case.option(4.0, "TEMPERATURE", "temperature", "T")
  temperatures = case.option((first, 3, 5, 2, 6), "temperatures")
  temperatures = tuple(float(T) for T in temperatures)
  weight = case.option(1.0, "KD_WEIGHT", "kd_weight")
  weak = case["sw"], case["tw"]
  shared = {"temperatures": temperatures, "select": "share"}
  instances = _LOSS("mlkd_instance")
  mean = lambda logits: jnp.mean(CROSS_ENTROPY(logits, case["y"]))
  total = {
    "loss_ce": mean(case["sw"]) + mean(case["ss"]),
    "loss_kd": instances(*weak, **shared)
    + instances(case["ss"], case["ts"], temperatures=temperatures[:3])
    + instances(*weak, temperatures=temperatures[3:]),
    "loss_cc": _LOSS("mlkd_class")(*weak, **shared),
    "loss_bc": _LOSS("mlkd_batch")(*weak, **shared),
  }
  labels = case.option(1.0, "CE_WEIGHT", "ce_weight")
  weights = {name: labels if name == "loss_ce" else weight for name in total}
  return {name: weights[name] * total[name] for name in case.outputs}


def tfkd_reg(case: Case) -> dict[str, Array]:
  """(1 - a) CE + a times the virtual teacher's KL, divided as in its code."""
  share = case.option(0.1, "reg_alpha", "alpha")
  soft = _LOSS("tfkd")(
    case["s"],
    case["y"],
    temperature=case.option(20.0, "reg_temperature", "temperature"),
    correct=case.option(0.99, "correct_prob"),
    reduction="mean",
  )
  soft = case.hyper.get("multiplier", 1.0) * jnp.mean(soft)
  hard = jnp.mean(CROSS_ENTROPY(case["s"], case["y"]))
  return case.answer((1 - share) * hard + share * soft)


def label_smoothing(case: Case) -> dict[str, Array]:
  """Cross-entropy with label smoothing over the other classes."""
  loss = CROSS_ENTROPY(
    case["s"],
    case["y"],
    label_smoothing=case.option(0.1, "alpha"),
    smoothing="others",
  )
  return _mean(case, loss)


def deit_soft(case: Case) -> dict[str, Array]:
  """Labels for one head, T^2 KL / K for the other."""
  soft = KD(
    case["s_dist"],
    case["t"],
    temperature=_temperature(case, 1.0),
    reduction="mean",
  )
  return _deit(case, jnp.mean(soft))


def deit_hard(case: Case) -> dict[str, Array]:
  """Labels for one head, the teacher's class for the other."""
  return _deit(case, jnp.mean(_LOSS("hard_label")(case["s_dist"], case["t"])))


def _deit(case, distilled):
  share = case.option(0.5, "alpha")
  hard = jnp.mean(CROSS_ENTROPY(case["s"], case["y"]))
  return case.answer((1 - share) * hard + share * distilled)


def logits_mse(case: Case) -> dict[str, Array]:
  """Mean squared error."""
  return _mean(case, _LOSS("mse")(case["s"], case["t"]))


def kd_mse(case: Case) -> dict[str, Array]:
  """Mean squared error of logits / T, where T may be per logit."""
  if "temp" in case:
    temperature = case["temp"][..., None]
  else:
    temperature = _temperature(case, 1.0)
  return _mean(
    case, _LOSS("mse")(case["s"] / temperature, case["t"] / temperature)
  )
