"""MiniLM: relations of tokens in the self-attention of one layer."""

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
    "student/query01|last",
    "student/key01|last",
    "student/value01|last",
  ),
  teacher_qkv: tuple = (
    "teacher/query03|last",
    "teacher/key03|last",
    "teacher/value03|last",
  ),
  token_mask: str | None = None,
) -> list[ConfigDict]:
  """MiniLM: match relations between queries, keys and values.

    loss = labels CE + weight/3 (R(q, q) + R(k, k) + R(v, v))    version 2
    loss = labels CE + weight   (R(q, k) + R(v, v))              version 1

  with R(a, b) the divergence between softmax(a b' / sqrt(d)) of teacher and
  student, for each of `relation_heads` equal parts of the width.

  Wang et al., "MiniLMv2: Multi-Head Self-Attention Relation Distillation for
  Compressing Pretrained Transformers", Findings of ACL 2021, arXiv:2012.15828;
  version 1: "MiniLM", NeurIPS 2020, arXiv:2002.10957.
  Defaults: weights of Bloomberg's code. The paper has 48 relation heads for a
  teacher of width 768; 4 also divide small networks. The paper has no labels:
  its student is trained on them later (`labels=0` and a further stage).
  Needs: two Transformers with equal numbers of tokens; widths and numbers of
  heads may differ, but the relation heads divide the widths. For version 1
  they are the attention's heads, as many in both.
  Costs: unfused attention, two relations for each head; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of all relations.
    labels: weight of cross-entropy with labels.
    version: 2 or 1.
    relation_heads: number of parts that the width is divided into.
    student_qkv: addresses of queries, keys and values; in the paper those of
      the last layer.
    teacher_qkv: the teacher's; in version 2 an upper layer of a large teacher.
    token_mask: address of a mask, False at padding; None is that of the
      modality of the tokens, "" no mask.

  Returns:
    One stage: `stage` with a term `minilm_<relation>` for each relation.
  """
  if version not in (1, 2):
    raise UserError(f"No version {version} of 'minilm'.", exists=("1", "2"))
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
          "student": tuple(student_qkv[i] for i in pair),
          "teacher": tuple(teacher_qkv[i] for i in pair),
        },
        token_mask,
      ),
    )
    for name, pair in relations.items()
  }
  return [extended(stage, terms, labels=labels)]
