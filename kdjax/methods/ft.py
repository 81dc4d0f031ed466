"""FT: factor transfer with an autoencoder of the teacher's map."""

from kdjax.config import earlier, extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError
from kdjax.methods import _maps

# form -> its default weight: the forms differ in scale
WEIGHTS = {"map": 200.0, "paper": 1000.0}


def ft(
  stage: ConfigDict,
  *,
  weight: float | None = None,
  factors: float = 0.5,
  share: float = 0.125,
  form: str = "map",
  reduction: str = "mean",
  student_map: str = "student/stage1|last",
  teacher_map: str = "teacher/stage1|last",
) -> list[ConfigDict]:
  """FT: match factors of a map, from an autoencoder that is trained first.

    loss = MSE(decoder(encoder(teacher map)), teacher map),            first
    loss = CE(student, label)
         + weight |F(translator(student map)) - F(encoder(teacher map))|,  then

  Kim, Park and Kwak, "Paraphrasing Complex Network: Network Compression via
  Factor Transfer", NeurIPS 2018, arXiv:1802.04977. Defaults: RepDistiller's:
  30 epochs of the paraphraser (the autoencoder) before its 240, and weight 200
  with F a map's mean of squares over channels. The paper's form is "paper"; its
  weight here is torchdistill's for ImageNet, for the "mean" of all values.
  Needs: a map of each network; sizes and widths may differ.
  Costs: a first stage, which trains the paraphraser without labels and leaves
  the student untrained; then three convolutions on each side, dropped after
  training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term; None is 200 for "map" and 1000 for "paper".
    factors: number of factor channels, as a fraction of the teacher's.
    share: steps of the first stage, as a fraction of the steps that `stage` has
      when the method is applied; a later flag for `steps` does not change it.
    form: form of the loss 'ft', "map" or "paper".
    reduction: reduction of the loss 'ft', "mean", "sum" or "norm".
    student_map: address of the student's map.
    teacher_map: address of the teacher's map.

  Returns:
    Two stages: the paraphraser's, and the student's with it frozen.
  """
  if form not in WEIGHTS:
    raise UserError(f"No form '{form}'.", exists=WEIGHTS, near=form)
  paraphrase = term(
    "mse",
    reads={"student": teacher_map, "teacher": teacher_map},
    heads={"teacher": head("paraphraser", share=factors)},
  )
  transfer = term(
    "ft",
    weight=WEIGHTS[form] if weight is None else weight,
    reads={"student": student_map, "teacher": teacher_map},
    heads={
      "student": head("translator", share=factors),
      "teacher": head(
        "paraphraser",
        init_from=earlier(0),
        still=True,
        output="factors",
        share=factors,
      ),
    },
    form=form,
    reduction=reduction,
  )
  # Both terms are called `ft`: `init_from` takes the head of the same name.
  return [
    _maps.before(stage, {"ft": paraphrase}, share),
    extended(stage, {"ft": transfer}),
  ]
