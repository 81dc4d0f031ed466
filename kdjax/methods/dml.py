"""DML: deep mutual learning of two networks."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict, own


def dml(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  temperature: float = 1.0,
  peer_network: ConfigDict | None = None,
) -> list[ConfigDict]:
  """DML: the student and a peer network learn from each other.

    loss = CE(student, label) + weight T^2 KL(peer || student)
           + CE(peer, label) + weight T^2 KL(student || peer)

  with no gradient for the first side of each divergence.

  Zhang, Xiang, Hospedales and Lu, "Deep Mutual Learning", CVPR 2018,
  arXiv:1706.00384, Section 2, for two networks. Defaults: the paper's.
  Both networks are updated in one step here; the paper alternates.
  Needs: no teacher.
  Costs: the training of a second network.

  Args:
    stage: with a network `student`; `peer` is added.
    weight: weight of the divergences.
    temperature: T, for student and teacher.
    peer_network: from `network()`; None is the student's architecture.

  Returns:
    One stage: `stage` with the network `peer` and the terms `dml`, `dml_peer`
    and `cross_entropy_peer`.
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
