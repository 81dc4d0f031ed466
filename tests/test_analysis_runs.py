"""`kdjax inspect --workdir`: a small run with a fused teacher, inspected."""

import importlib
import json
import pathlib
import re

import numpy as np
import pytest

import kdjax
from kdjax import analysis, cli, config
from kdjax.errors import UserError
from kdjax.report import records
from kdjax.report.document import AbsentError, Drawing

WORDS = 17
FIGURES = pathlib.Path(kdjax.__file__).parent / "report" / "figures"


def plan():
  """A teacher of digit and hint, a student of the digit, few steps."""
  steps = {"steps": 8, "batch_size": 16, "eval_every": 8, "save_every": 8}
  labels = {"cross_entropy": config.term("cross_entropy")}
  encoders = {
    "image": config.network("conv", widths=(4,)),
    "text": config.network("text_transformer", vocabulary=WORDS, width=8),
  }
  fused = config.network("fusion", encoders=encoders, num_classes=10, width=8)
  student = config.network(
    "patch_transformer", patch=2, width=8, num_classes=10
  )
  return config.experiment(
    "inspected",
    seeds=1,
    data=config.data("digits", labelled_fraction=0.25),
    stages={
      "fused": config.stage(fused, terms=labels, **steps),
      "taught": config.stage(
        student,
        teachers={"teacher": config.teacher("fused")},
        terms={**labels, "kd": config.term("kd")},
        **steps,
      ),
    },
  )


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
  folder = tmp_path_factory.mktemp("inspected") / "run"
  kdjax.run(plan(), folder, quiet=True)
  return folder


@pytest.fixture(scope="module")
def found(ran):
  """What the analyses said of the taught stage, and of the fused one."""
  few = {"examples": 40}
  return {
    "taught": analysis.inspect(ran, **few),
    "fused": analysis.inspect(
      ran, "fused", analyses=("modalities", "disagreement", "cka"), **few
    ),
  }


def figure_of(name):
  """The function that draws an analysis."""
  module = importlib.import_module(f"kdjax.report.figures.inspect_{name}")
  return getattr(module, f"inspect_{name}")


def arrays(ran, name, stage="taught"):
  with np.load(ran / "inspect" / stage / f"{name}.npz") as content:
    return dict(content)


def test_every_analysis_has_a_figure_and_every_figure_an_analysis():
  drawn = sorted(path.stem for path in FIGURES.glob("inspect_*.py"))
  assert drawn == [f"inspect_{name}" for name in analysis.names()]
  for name in analysis.names():
    assert callable(figure_of(name))
  assert {*analysis.find()} == {*analysis.summaries()} == {*analysis.names()}


@pytest.mark.slow
def test_every_analysis_applies_to_a_student_of_a_fused_teacher(ran, found):
  said = found["taught"]
  assert [*said] == analysis.names()
  for name, it in said.items():
    assert it.applies, it.sentence
    assert re.match(r"\S.*\.( .*\.)?$", it.sentence), name
    assert it.seconds > 0
  content = json.loads(
    (ran / "inspect" / "taught" / "summary.json").read_text()
  )
  assert content["analyses"]["cka"]["sentence"] == said["cka"].sentence
  assert content["analyses"]["cka"]["examples"] == 40


@pytest.mark.slow
def test_what_a_stage_lacks_is_one_sentence_and_the_rest_goes_on(ran, found):
  said = found["fused"]
  assert not said["disagreement"].applies
  assert said["disagreement"].sentence.count(".") == 1
  assert "no teacher" in said["disagreement"].sentence
  assert said["modalities"].applies and said["cka"].applies
  assert not (ran / "inspect" / "fused" / "disagreement.npz").exists()


@pytest.mark.slow
def test_shapley_values_add_up_and_their_network_is_the_teacher(ran, found):
  values = arrays(ran, "modalities")
  assert values["network"] == "teacher"
  assert values["modalities"].tolist() == ["image", "text"]
  assert values["shapley"].shape == (40, 2)
  assert values["error"] < 1e-6
  assert np.abs(values["shapley"]).min() > 0
  # The student of the stage `fused` is the same network.
  own = arrays(ran, "modalities", "fused")
  np.testing.assert_allclose(own["shapley"], values["shapley"], atol=1e-5)


@pytest.mark.slow
def test_saliency_of_a_run_is_complete_and_of_both_modalities(ran, found):
  values = arrays(ran, "saliency")
  assert values["places"].tolist() == [
    "student/image",
    "teacher/image",
    "teacher/text",
  ]
  for place in values["places"]:
    # A network of ReLUs is not smooth: the sum has few points.
    assert values[f"{place}/error"].mean() < 0.1, place
  assert values["student/image/integrated"].shape == (6, 8, 8)
  assert values["student/image/mean"].shape == (8, 8)
  words = values["teacher/text/value"]
  assert values["teacher/text/occlusion"].shape == words.shape
  # Words of padding change nothing.
  padding = words == ""
  assert padding.any()
  assert np.abs(values["teacher/text/occlusion"][padding]).max() < 1e-5
  assert np.abs(values["teacher/text/occlusion"][~padding]).max() > 1e-4


@pytest.mark.slow
def test_attention_is_on_the_patches_of_a_digit_and_on_words(ran, found):
  values = arrays(ran, "attention")
  assert values["places"].tolist() == ["student", "teacher/text"]
  assert values["student/grid"].tolist() == [4, 4, 0]
  assert values["student/mask"].all()
  np.testing.assert_allclose(values["student/rollout"].sum(1), 1, rtol=1e-5)
  words = values["teacher/text/words"]
  np.testing.assert_array_equal(words != "", values["teacher/text/mask"])
  for place in values["places"]:
    spread = values[f"{place}/entropy"]
    assert ((spread > 0) & (spread <= 1 + 1e-5)).all(), place


@pytest.mark.slow
def test_a_subject_runs_the_networks_that_the_workdir_has(ran, found):
  subject = analysis.load(ran, "taught", examples=40)
  model, variables = kdjax.restore(ran, "taught")
  rows = subject.collect(
    lambda flow, viewed: {
      "image": viewed["image"],
      "student": subject.run(flow, "student")["logits"],
      "teacher": subject.run(flow, "teacher")["logits"],
    }
  )
  assert len(rows["index"]) == len({*rows["index"]}) == 40
  wanted = model.apply(variables, {"image": rows["image"]}, train=False)
  np.testing.assert_allclose(rows["student"], wanted["logits"], atol=1e-5)
  counts = arrays(ran, "disagreement")["confusion"]
  agree = rows["student"].argmax(1) == rows["teacher"].argmax(1)
  assert np.trace(counts) == agree.sum()
  assert counts.sum() == 40


@pytest.mark.slow
def test_cka_of_a_stage_without_a_teacher_is_with_itself(ran, found):
  values = arrays(ran, "cka", "fused")
  assert values["network"] == "student"
  np.testing.assert_allclose(np.diag(values["cka"]), 1, atol=1e-4)
  np.testing.assert_allclose(values["cka"], values["cka"].T, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", analysis.names())
def test_the_figure_of_an_analysis_draws_what_it_found(name, ran, found):
  drawing = figure_of(name)(records.read(ran), {})
  assert isinstance(drawing, Drawing)
  assert "taught" in drawing.caption


@pytest.mark.slow
def test_the_command_ends_with_a_summary_and_the_page(ran, found, capsys):
  cli.main(
    [
      *("inspect", f"--workdir={ran}", "--analyses=cka,channels"),
      "--examples=40",
    ]
  )
  lines = capsys.readouterr().out.strip().splitlines()
  assert "stage taught" in lines[0]
  assert [line.split()[0] for line in lines[2:4]] == ["cka", "channels"]
  assert lines[-1] == f"{ran}/report.html"


def test_wrong_names_are_answered_with_those_there_are(tmp_path):
  with pytest.raises(UserError, match=r"No analysis 'cak'.*cka"):
    analysis.inspect(tmp_path, analyses=("cak",))
  with pytest.raises(SystemExit) as ended:
    cli.main(["inspect"])
  assert ended.value.code == 2


def test_a_figure_of_a_run_that_was_not_inspected_is_absent(tmp_path):
  record = records.Record(tmp_path, {"order": ["alone"]}, {}, {})
  with pytest.raises(AbsentError, match=r"^$"):
    figure_of("cka")(record, {})
