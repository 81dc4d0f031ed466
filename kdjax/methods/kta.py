"""KTA: knowledge translation and adaptation, with affinities (KTAAD)."""

from kdjax.config import earlier, extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _maps


def kta(
  stage: ConfigDict,
  *,
  weight: float = 50.0,
  affinity: float = 1.0,
  factors: float = 0.5,
  share: float = 0.125,
  form: str = "pixels",
  order: float = 1.0,
  unit_order: float = 2.0,
  student_map: str = "student/stage1",
  teacher_map: str = "teacher/stage1",
) -> list[ConfigDict]:
  """KTA: what an autoencoder keeps of a map, and which pixels are alike.

    loss = MSE(decoder(encoder(teacher map)), teacher map),            first
    loss = CE(student, label)
           + weight 1/N sum_n |s_n / |s|_q - e_n / |e|_q|^p
           + affinity |S - T| / (H W),                                 then

  with e = encoder(teacher map) and s the student's map through an adapter, all
  N = H W C numbers of each; S and T the cosines of all positions of the
  student's map, through an adapter of its own, and of e.

  He et al., "Knowledge Adaptation for Efficient Semantic Segmentation", CVPR
  2019, arXiv:1903.04688. Defaults: weights and orders of torchdistill's
  configs (KTAAD). They train the autoencoder for 1 epoch before 30, to a
  quarter of the channels, with a small L1 penalty of the code that is left out
  here, and "channels" is their affinity; their first adapter is one
  convolution, here the three of FT's translator.
  Needs: a map of each network, of any widths; the teacher's height and width
  not smaller than the student's, or by a whole factor.
  Costs: a stage before, which trains the autoencoder and reads no label (its
  student is left as it starts); then four convolutions on the student; for
  "pixels" the square of the positions of a map, for every example.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the adapted features.
    affinity: of the affinities; 0 leaves them out.
    factors: channels of the code, as a share of the teacher's.
    share: how long the first stage is, as a share of the given one's steps,
      which are taken when the method is applied; a later flag does not reach
      it.
    form: of the affinities, "pixels" or "channels".
    order: p, of the difference.
    unit_order: q, of the norm that is made 1.
    student_map: an address.
    teacher_map: an address.

  Returns:
    Two stages: the autoencoder's, and the student's, which holds it still.
  """
  translate = term(
    "mse",
    reads={"student": teacher_map, "teacher": teacher_map},
    heads={"teacher": head("paraphraser", share=factors)},
  )
  encoder = head(
    "paraphraser",
    init_from=earlier(0),
    still=True,
    output="factors",
    share=factors,
  )
  terms = {
    "kta": term(
      "ft",
      weight=weight,
      reads={"student": student_map, "teacher": teacher_map},
      heads={"student": head("translator", share=factors), "teacher": encoder},
      form="paper",
      reduction="mean",
      order=order,
      unit_order=unit_order,
    )
  }
  if affinity:
    terms["kta_affinity"] = term(
      "affinity",
      weight=affinity,
      reads={"student": student_map, "teacher": "heads/kta/teacher"},
      heads={"student": head("conv", kernel=3, batch_norm=False, relu=False)},
      form=form,
    )
  # Both are called `kta`: a head starts from that of the term of its name.
  first = _maps.before(stage, {"kta": translate}, share)
  return [first, extended(stage, terms)]
