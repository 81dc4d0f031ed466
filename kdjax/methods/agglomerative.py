"""One student of several teachers of different kinds, each balanced."""

from kdjax.config import earlier, extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _maps


def agglomerative(
  stage: ConfigDict,
  *,
  summary: float = 1.0,
  dense: float = 1.0,
  labels: float = 0.0,
  balance: str = "phi_s",
  share: float = 0.1,
  student_embedding: str = "student/embedding",
  student_tokens: str = "student/tokens",
  embeddings: tuple[str, ...] = ("teacher/embedding",),
  tokens: tuple[str, ...] = (),
) -> list[ConfigDict]:
  """Features of several teachers from one student, with a head for each.

    loss = summary sum_t (1 - cos(g_t(embedding), A_t (embedding_t - mean_t)))
           + dense sum_t [0.9 (1 - cos) + 0.1 smooth L1](h_t(tokens), tokens_t)
           + labels CE

  over teachers t; g_t and h_t are two-layer perceptrons to the teacher's width,
  and tokens_t are balanced by matrices of their own. Every teacher has a term
  of its own, so that an example counts for those whose modality it has.

  Ranzinger et al., "AM-RADIO: Agglomerative Vision Foundation Model - Reduce
  All Domains Into One", CVPR 2024, arXiv:2312.06709, balanced as in Ranzinger
  et al., "PHI-S: Distribution Balancing for Label-Free Multi-Teacher
  Distillation", 2024, arXiv:2410.01680. Defaults: the losses and weights of
  the first, the balancing of the second. Differs: embeddings are balanced too;
  a teacher has the student's resolution; and mean and covariance are of the
  batches of a first stage.
  Needs: an embedding of each network; for `tokens` as many positions as the
  student has. Teachers may have any width. No labels.
  Costs: a first stage that runs the teachers alone, with one eigendecomposition
  a step and teacher; then a perceptron for each teacher, dropped after
  training.

  Args:
    stage: with a network `student` and all teachers.
    summary: weight of the terms on embeddings.
    dense: weight of the terms on tokens or maps.
    labels: weight of cross-entropy.
    balance: a form of the head 'balance': "phi_s", "whiten", "standardize" or
      "isotropic".
    share: the first stage's fraction of the steps.
    student_embedding: address of the student's embedding.
    student_tokens: address of its tokens or map.
    embeddings: addresses of the teachers' embeddings.
    tokens: addresses of the teachers' tokens or maps.

  Returns:
    Two stages: the one that measures the teachers, and the student's, with the
    terms `summary0`, .. and `dense0`, ..
  """
  parts = {
    f"{kind}{i}": (loss, weight, ours, theirs)
    for kind, loss, weight, ours, addresses in (
      ("summary", "cosine", summary, student_embedding, embeddings),
      ("dense", "cosine_smooth_l1", dense, student_tokens, tokens),
    )
    for i, theirs in enumerate(addresses)
  }
  measured = {
    name: term(
      loss,
      reads={"student": theirs, "teacher": theirs},
      heads={"teacher": head("balance", form=balance)},
      targets=("student", "teacher"),
    )
    for name, (loss, _, _, theirs) in parts.items()
  }
  known = {"init_from": earlier(0), "still": True, "form": balance}
  terms = {
    name: term(
      loss,
      weight=weight,
      reads={"student": ours, "teacher": theirs},
      heads={"student": head("mlp"), "teacher": head("balance", **known)},
    )
    for name, (loss, weight, ours, theirs) in parts.items()
  }
  return [
    _maps.before(stage, measured, share),
    extended(stage, terms, labels=labels),
  ]
