"""Deep mutual learning: two students that teach each other."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict, own


def dml(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  temperature: float = 1.0,
  peer_network: ConfigDict | None = None,
) -> list[ConfigDict]:
  """A second network learns beside the student, each from the other.

    loss = CE(student, label) + weight T^2 KL(peer || student)
           + CE(peer, label) + weight T^2 KL(student || peer)

  with the first side of each divergence still.

  Zhang, Xiang, Hospedales and Lu, "Deep Mutual Learning", CVPR 2018,
  arXiv:1706.00384, Section 2, for two networks. Defaults: the paper's.
  Both are updated at once here, by one optimizer; the paper's take turns.
  Needs: no teacher.
  Costs: a second network to train.

  Args:
    stage: with a network `student`; `peer` is added.
    weight: of the other's classes.
    temperature: T, of both.
    peer_network: the peer, from `network()`; None is one like the student.

  Returns:
    One stage.
  """
  if peer_network is None:
    peer_network = own(stage.networks.student)
  soft = {"weight": weight, "temperature": temperature, "group": "kd"}
  terms = {
    "dml": term("kd", reads={"teacher": "peer/logits"}, **soft),
    "dml_peer": term(
      "kd",
      reads={"student": "peer/logits", "teacher": "student/logits"},
      **soft,
    ),
    "cross_entropy_peer": term(
      "cross_entropy", reads={"student": "peer/logits"}
    ),
  }
  return [extended(stage, terms, networks={"peer": peer_network})]
