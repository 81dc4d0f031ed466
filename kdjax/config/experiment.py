"""An experiment and its stages."""

from kdjax.config.fields import ConfigDict, own
from kdjax.config.knobs import Knob, documented, values
from kdjax.config.parts import metric
from kdjax.config.rules import optimizer
from kdjax.errors import UserError

EXPERIMENT = {
  "seeds": Knob(
    5,
    "Number of repetitions. Each seed draws its own initialization, order of"
    " examples, dropout and, for some data sets, labels. Results are mean and"
    " deviation over seeds.",
  ),
  "seed": Knob(0, "The first seed; the others follow it."),
  "seed_axis": Knob(
    "auto",
    '"vmap": all seeds in one call of the step. "loop": one call a seed. Both'
    ' give the same numbers, to rounding. "auto": "loop" on a CPU, where it is'
    " faster.",
  ),
  "placement": Knob(
    "pmap",
    '"pmap": networks replicated, the batch split over all devices. "mesh": the'
    " same step under jit, parameters sharded too (FSDP).",
  ),
  "dtype": Knob(
    "float32", "Of activations; parameters and losses stay float32."
  ),
  "gains": Knob(
    (), "Pairs (better, worse) of stages whose paired differences are reported."
  ),
  "show": Knob(
    (),
    "Metrics with a column in the table of the report, after those that select;"
    " () are those of the task: accuracy and NLL, with macro F1 where classes"
    " are unbalanced; MAE and RMSE; recalls.",
  ),
  "test": Knob(
    True,
    "Whether finished stages are measured on the test split. Without, nothing"
    " reads it, and the report has no results of theirs.",
  ),
  "records": Knob(
    ("tensorboard",),
    'Where metrics are recorded beside metrics.jsonl: "tensorboard", "wandb"'
    " (Weights & Biases).",
  ),
  "notes": Knob(
    ConfigDict, "stage -> a remark next to its result in the report.", "{}"
  ),
}

STAGE = {
  "steps": Knob(
    1000,
    "Steps of the optimizer. A larger number than before continues a finished"
    " stage.",
  ),
  "batch_size": Knob(64, "Examples in a step, over all devices of all hosts."),
  "optimizer": Knob(optimizer, "From `optimizer()`.", "optimizer()"),
  "weighting": Knob(
    "fixed",
    '"fixed": the weights of terms are those of the config. "uncertainty":'
    " each is multiplied by a learned exp(-s), and s/2 is added, as of several"
    " tasks (Kendall et al., 2018); s is logged as log_variance/<term>. For"
    " losses that are never negative.",
  ),
  "quantize": Knob(
    "",
    '"int8": the trained networks compute with inputs and kernels rounded to'
    " int8 in every dense layer and convolution, in training and evaluation;"
    ' the gradient passes straight through. "": with floats.',
  ),
  "ema_decay": Knob(
    0.0,
    "Decay of an exponential average of the parameters and the batch"
    " statistics, which is then evaluated in their place; 0 is none.",
  ),
  "metrics": Knob(
    lambda: {"classification": metric("classification")},
    "name -> from `metric()`; measured on validation and test.",
    '{"classification": metric("classification")}',
  ),
  "robustness": Knob(
    ConfigDict,
    "name -> from `corruption()`; the best variables are measured under each.",
    "{}",
  ),
  "generated": Knob(
    ConfigDict,
    "view -> from `generated()`: further views, in which a network writes a"
    " modality; terms read them as in `student@sample/logits`.",
    "{}",
  ),
  "subsets": Knob(
    (),
    "Modalities, two or more: the best variables are measured on every"
    " non-empty subset of them with which the student predicts, the others"
    ' missing. Or subsets, (("x",), ("x", "y")): on these alone.',
  ),
  "impute": Knob(
    "",
    'A missing modality of the stage\'s networks. "": it is absent, and'
    ' networks that take it so leave it out. "mean": it is the mean over the'
    " training examples that have it, and counts as present.",
  ),
  "select": Knob(
    "accuracy",
    "The metric on validation that chooses the best variables of a seed.",
  ),
  "select_mode": Knob("max", '"max" or "min" of that metric.'),
  "eval_every": Knob(
    100, "Steps between evaluations on validation; 0 is only at the end."
  ),
  "patience": Knob(
    0,
    "Evaluations without a better `select` of any seed after which the stage"
    " stops; 0 is never. Schedules are those of all `steps`. A stage that"
    " stopped stays so with more steps, and goes on with a larger patience or"
    " 0.",
  ),
  "log_every": Knob(
    20, "Steps between records of training metrics, at least 1."
  ),
  "save_every": Knob(100, "Steps between checkpoints; 0 is only at the end."),
  "steps_per_call": Knob(
    0,
    "Most steps in one call of the device, between logging, evaluation and"
    " checkpoints; 0 is 16 on accelerators, 1 on a CPU.",
  ),
  "micro_batches": Knob(
    1,
    "Parts of a batch that pass through the networks one after another, to save"
    " memory. A batch norm then sees one part; whole-batch losses cannot be"
    " split.",
  ),
  "grid": Knob(
    ConfigDict,
    '{"kd/temperature": (1.0, 4.0), ..}: trains every seed at each point, in'
    " one program. The i-th point has the i-th value of each number; also of"
    ' "optimizer/learning_rate", the peak. The result is the mean over points,'
    " and a table of them; `chosen()` reads the point that is best on"
    " validation.",
    "{}",
  ),
  "predictions": Knob(
    True, "Whether the student's test predictions are kept (predictions.npz)."
  ),
  "data": Knob(
    ConfigDict, "Changes of the experiment's `data` for this stage alone.", "{}"
  ),
}


def mode_of(argument: str, *modes: str) -> str:
  """The argument of a config file, checked: "" or one of its modes.

  Raises:
    UserError: it is another one.
  """
  if argument and argument not in modes:
    raise UserError(
      f"The config has no mode '{argument}'.", exists=modes, near=argument
    )
  return argument


@documented(EXPERIMENT)
def experiment(
  name: str, *, data: ConfigDict, stages: dict[str, ConfigDict], **changes
) -> ConfigDict:
  """A whole experiment; its stages run in their order.

  Args:
    name: the title of the report.
    data: from `data()`.
    stages: name -> from `stage()`. A stage may use earlier ones.
    **changes: knobs that differ from their defaults.
  """
  knobs = values(EXPERIMENT, changes, "the knobs of an experiment")
  knobs["notes"] = ConfigDict(knobs["notes"])
  config = ConfigDict(
    {
      "name": name,
      **knobs,
      "data": own(data),
      "stages": {key: own(value) for key, value in stages.items()},
      # ConfigDict sorts its keys; the order of the stages is not alphabetical.
      "order": tuple(stages),
    }
  )
  return config.lock()


@documented(STAGE)
def stage(
  student: ConfigDict,
  *,
  terms: dict[str, ConfigDict],
  teachers: dict[str, ConfigDict] | None = None,
  networks: dict[str, ConfigDict] | None = None,
  **changes,
) -> ConfigDict:
  """One training run: a student, its teachers, its loss terms, its optimizer.

  Args:
    student: from `network()`; the network that the stage is for.
    terms: metric name -> from `term()`.
    teachers: name -> from `teacher()`, `frozen()`, `outputs()` or `average()`;
      they are not trained.
    networks: name -> from `network()`; trained together with the student.
    **changes: knobs that differ from their defaults.
  """
  knobs = values(STAGE, changes, "the knobs of a stage")
  knobs["grid"] = ConfigDict(knobs["grid"])
  if "student" in (networks or {}):
    raise UserError(
      "`networks` has a network called 'student'.",
      "The student is the stage's first argument; choose another name.",
    )
  return ConfigDict(
    {
      "networks": {"student": student, **(networks or {})},
      "teachers": teachers or {},
      "terms": terms,
      **knobs,
    }
  )
