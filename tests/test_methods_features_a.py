"""The stages of methods that read feature maps.

`test_methods.py` traces them with a teacher of other widths.
"""

import pytest

from kdjax import config, registry
from kdjax.errors import UserError


def network(*widths):
  return config.network("conv", widths=widths, num_classes=10)


def stage():
  return config.stage(
    network(4, 6),
    teachers={"teacher": config.teacher("teacher")},
    terms={},
    batch_size=8,
    steps=80,
  )


def made(name, **options):
  return registry.find("methods", name)(stage(), **options)


@pytest.mark.parametrize("name", ["fsp", "ft", "ab", "kta"])
def test_a_first_stage_trains_its_terms_alone_for_its_share(name):
  first, last = made(name, share=0.25)
  assert "cross_entropy" not in first.terms
  assert first.steps == 20 and last.steps == 80
  assert last.terms.cross_entropy.weight == 1.0


@pytest.mark.parametrize("name", ["fsp", "ab"])
def test_labels_alone_follow_what_initialised_the_student(name):
  _, last = made(name)
  assert list(last.terms) == ["cross_entropy"]
  assert last.networks.student.init_from == config.earlier(0)


def test_ft_freezes_the_paraphraser_that_it_trained_first():
  first, last = made("ft", factors=0.75)
  trained, frozen = first.terms.ft.heads.teacher, last.terms.ft.heads.teacher
  assert not trained.still and frozen.still
  assert frozen.init_from == config.earlier(0)
  assert (
    trained.share == frozen.share == last.terms.ft.heads.student.share == 0.75
  )
  assert last.networks.student.init_from is None


def test_kta_compares_affinities_with_those_of_the_code():
  first, last = made("kta", factors=0.75, affinity=2.0)
  assert set(first.terms) == {"kta"}
  frozen = last.terms.kta.heads.teacher
  assert frozen.still and frozen.init_from == config.earlier(0)
  assert (last.terms.kta.weight, last.terms.kta_affinity.weight) == (50.0, 2.0)
  assert last.terms.kta_affinity.reads.teacher == "heads/kta/teacher"
  assert "kta_affinity" not in made("kta", affinity=0.0)[1].terms


@pytest.mark.parametrize(
  ("name", "option", "weights"),
  [
    ("at", "mode", {"code": 1000.0, "paper": 0.05}),
    ("ft", "form", {"map": 200.0, "paper": 1000.0}),
  ],
)
def test_every_form_has_its_own_default_weight(name, option, weights):
  for form, weight in weights.items():
    term = "at1" if name == "at" else name
    last = lambda form=form, **more: made(name, **{option: form}, **more)[-1]
    assert last().terms[term].weight == weight
    assert last(weight=3.0).terms[term].weight == 3.0
  with pytest.raises(UserError, match="nonsense"):
    made(name, **{option: "nonsense"})


def test_at_and_nst_and_vid_have_a_term_for_each_map():
  for name in ("at", "nst", "vid"):
    (one,) = made(name, weight=3.0)
    weights = {key: one.terms[key].weight for key in one.terms}
    assert weights == {"cross_entropy": 1.0, f"{name}0": 3.0, f"{name}1": 3.0}


def test_fsp_and_kdsvd_have_a_term_for_every_two_maps_in_a_row():
  maps = lambda owner: tuple(f"{owner}/stage{i}" for i in range(3))
  taps = {"student_maps": maps("student"), "teacher_maps": maps("teacher")}
  for name in ("fsp", "kdsvd"):
    terms = made(name, **taps)[0].terms
    assert terms[f"{name}1"].reads.teacher == maps("teacher")[1:]
    assert f"{name}2" not in terms


def test_ab_counts_the_last_layer_in_full_and_the_one_before_by_half():
  first, _ = made("ab", weight=2.0)
  assert first.terms.ab1.weight == pytest.approx(6e-3)
  assert first.terms.ab0.weight == pytest.approx(3e-3)


def test_unpaired_maps_are_an_error():
  with pytest.raises(UserError, match="2 student maps are paired with 1"):
    made("at", teacher_maps=("teacher/stage0",))
  one = {
    "student_maps": ("student/stage0",),
    "teacher_maps": ("teacher/stage0",),
  }
  with pytest.raises(UserError, match=r"1 student maps.*at least two"):
    made("fsp", **one)
