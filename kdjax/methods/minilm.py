"""MiniLM: how tokens relate inside of one layer's self-attention."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError
from kdjax.methods import _layers


def minilm(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  labels: float = 1.0,
  version: int = 2,
  relation_heads: int = 4,
  student_qkv: tuple = (
    "student/query01",
    "student/key01",
    "student/value01",
  ),
  teacher_qkv: tuple = (
    "teacher/query03",
    "teacher/key03",
    "teacher/value03",
  ),
  token_mask: str | None = None,
) -> list[ConfigDict]:
  """Relations of queries, of keys and of values, beside the labels.

    loss = labels CE + weight/3 (R(q, q) + R(k, k) + R(v, v))    version 2
    loss = labels CE + weight   (R(q, k) + R(v, v))              version 1

  with R(a, b) the divergence of softmax(a b' / sqrt(d)) from the teacher's, in
  `relation_heads` equal parts of the widths.

  Wang et al., "MiniLMv2: Multi-Head Self-Attention Relation Distillation for
  Compressing Pretrained Transformers", Findings of ACL 2021, arXiv:2012.15828;
  version 1: "MiniLM", NeurIPS 2020, arXiv:2002.10957.
  Defaults: weights of Bloomberg's code. The paper has 48 relation heads where
  the teacher is 768 wide: 4 divide small networks too. It has no labels: the
  student is trained on them later (`labels=0` and a further stage).
  Needs: two Transformers with as many tokens; any widths and numbers of heads,
  as long as the relation heads divide the widths. For version 1 these are the
  attention's heads, of which both have as many.
  Costs: two relations a head, unfused; nothing to learn.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the relations together.
    labels: of cross-entropy with labels.
    version: 2 or 1.
    relation_heads: into how many parts widths are cut.
    student_qkv: queries, keys and values, in the paper of the last layer.
    teacher_qkv: the same; in version 2 of an upper layer of a large teacher.
    token_mask: where tokens are no padding; None is everywhere.

  Returns:
    One stage.
  """
  if version not in (1, 2):
    raise UserError(f"No version {version} of MiniLM.", exists=("1", "2"))
  relations = {
    1: {"queries_keys": (0, 1), "values": (2, 2)},
    2: {"queries": (0, 0), "keys": (1, 1), "values": (2, 2)},
  }[version]
  part = weight / 3 if version == 2 else weight
  terms = {
    f"minilm_{name}": term(
      "minilm",
      weight=part,
      relation_heads=relation_heads,
      reads=_layers.masked(
        {
          "student": tuple(student_qkv[place] for place in pair),
          "teacher": tuple(teacher_qkv[place] for place in pair),
        },
        token_mask,
      ),
    )
    for name, pair in relations.items()
  }
  return [extended(stage, terms, labels=labels)]
