"""Factor transfer: the teacher paraphrased, the student translated."""

from kdjax.config import earlier, extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError
from kdjax.methods import _maps

# form -> the weight that goes with the size of its values
WEIGHTS = {"map": 200.0, "paper": 1000.0}


def ft(
  stage: ConfigDict,
  *,
  weight: float | None = None,
  factors: float = 0.5,
  share: float = 0.125,
  form: str = "map",
  reduction: str = "mean",
  student_map: str = "student/stage1",
  teacher_map: str = "teacher/stage1",
) -> list[ConfigDict]:
  """Factors of the teacher's map, which an autoencoder learned first.

    loss = MSE(decoder(encoder(teacher map)), teacher map),            first
    loss = CE(student, label)
         + weight |F(translator(student map)) - F(encoder(teacher map))|,  then

  Kim, Park and Kwak, "Paraphrasing Complex Network: Network Compression via
  Factor Transfer", NeurIPS 2018, arXiv:1802.04977. Defaults: RepDistiller's:
  30 epochs of the paraphraser before its 240, and the loss of F, a map's mean
  over channels of squares, with 200. The paper's form is "paper"; its weight
  here is torchdistill's for ImageNet, of the "mean" of all numbers.
  Needs: a map of each network, of any sizes and widths.
  Costs: a stage before, which trains the paraphraser and reads no label (its
  student is left as it starts); then three convolutions more on each side,
  dropped after training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the factors; None is 200 for "map" and 1000 for "paper".
    factors: their channels, as a share of the teacher's.
    share: how long the first stage is, as a share of the given one's steps,
      which are taken when the method is applied; a later flag does not reach
      it.
    form: of the loss 'ft', "map" or "paper".
    reduction: of the loss 'ft', "mean", "sum" or "norm".
    student_map: an address.
    teacher_map: an address.

  Returns:
    Two stages: the paraphraser's, and the student's, which holds it still.
  """
  if form not in WEIGHTS:
    raise UserError(f"No form '{form}'.", exists=WEIGHTS)
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
  # Both are called `ft`: a head starts from that of the term of its name.
  return [
    _maps.before(stage, {"ft": paraphrase}, share),
    extended(stage, {"ft": transfer}),
  ]
