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
  student_map: str = "student/stage1|last",
  teacher_map: str = "teacher/stage1|last",
) -> list[ConfigDict]:
  """KTA: match an autoencoder's code of a map, and pixel affinities.

    loss = MSE(decoder(encoder(teacher map)), teacher map),            first
    loss = CE(student, label)
           + weight 1/N sum_n |s_n / |s|_q - e_n / |e|_q|^p
           + affinity |S - T| / (H W),                                 then

  with e = encoder(teacher map), s the student's map through an adapter, and
  N = H W C values in each; S and T are the cosines between all positions of the
  student's map, through a second adapter, and of e.

  He et al., "Knowledge Adaptation for Efficient Semantic Segmentation", CVPR
  2019, arXiv:1903.04688. Defaults: weights and orders of torchdistill's
  configs (KTAAD). They train the autoencoder for 1 epoch before 30, to a
  quarter of the channels, with a small L1 penalty on the code that is omitted
  here, and use the "channels" affinity; their first adapter is one convolution,
  here it is the three of FT's translator.
  Needs: a map of each network; widths may differ; the teacher's height and
  width are no smaller than the student's, or divide them.
  Costs: a first stage, which trains the autoencoder without labels and leaves
  the student untrained; then four convolutions on the student; for "pixels" a
  matrix of positions by positions for each example.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the code term.
    affinity: weight of the affinities; 0 omits them.
    factors: number of the code's channels, as a fraction of the teacher's.
    share: steps of the first stage, as a fraction of the steps that `stage` has
      when the method is applied; a later flag for `steps` does not change it.
    form: form of the affinities, "pixels" or "channels".
    order: p, the exponent of the differences.
    unit_order: q, the order of the norm that features are divided by.
    student_map: address of the student's map.
    teacher_map: address of the teacher's map.

  Returns:
    Two stages: the autoencoder's, and the student's with it frozen.
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
  # Both terms are called `kta`: `init_from` takes the head of the same name.
  first = _maps.before(stage, {"kta": translate}, share)
  return [first, extended(stage, terms)]
