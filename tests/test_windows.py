"""Whole recordings cut into windows: `manifest` with `window`, and `arrays`."""

import os
import pathlib

import numpy as np
import pytest

from kdjax import cli
from kdjax.data import arrays, har, manifest
from kdjax.errors import UserError
from kdjax.preprocess import recordings

SPLITS = ("train", "validation", "test")


# Resampling and labels


def test_a_value_is_the_mean_of_the_line_over_a_step():
  rng = np.random.default_rng(0)
  stamp = np.cumsum(rng.uniform(0.5, 1.5, 60))
  values = rng.normal(size=(60, 2))
  times = np.arange(5, 40, 2.5)
  made, there = recordings.resampled(stamp, values, times)
  assert there.all()
  for row, time in enumerate(times):
    fine = time + 2.5 * ((np.arange(20_000) + 0.5) / 20_000 - 0.5)
    expected = [np.interp(fine, stamp, it).mean() for it in values.T]
    np.testing.assert_allclose(made[row], expected, atol=1e-6)


def test_fast_changes_are_averaged_out_and_slow_ones_stay():
  stamp = np.arange(0, 10, 0.001)
  times = np.arange(0, 10, 0.02)
  waves = np.stack([np.sin(2 * np.pi * f * stamp) for f in (1, 50, 150)], 1)
  made, _ = recordings.resampled(stamp, waves, times)
  inner = slice(2, -2)
  slow = np.sinc(0.02) * np.sin(2 * np.pi * times)
  np.testing.assert_allclose(made[inner, 0], slow[inner], atol=1e-4)
  assert np.abs(made[inner, 1:]).max() < 1e-3


def test_what_is_not_measured_is_zero_and_not_there():
  stamp = np.array([1.0, 1.0, 2.0, 3.0, 7.0, 8.0])
  values = np.array([[1.0], [3.0], [np.nan], [2.0], [2.0], [2.0]])
  made, there = recordings.resampled(stamp, values, np.arange(0.0, 10.0), 2.5)
  assert there.tolist() == [it in (1, 2, 3, 7, 8) for it in range(10)]
  assert not made[~there].any()
  np.testing.assert_allclose(made[there], 2.0)
  _, there = recordings.resampled(stamp, values, np.arange(0.0, 10.0))
  assert there.tolist() == [1 <= it <= 8 for it in range(10)]
  none, there = recordings.resampled(stamp[:1], values[2:3], stamp)
  assert not there.any() and not none.any()


def test_the_label_of_a_window_is_the_commonest():
  labels = np.random.default_rng(0).integers(-1, 3, 40)
  first = recordings.starts(40, 7, 3)
  assert first.tolist() == [*range(0, 34, 3)]
  found, purity = recordings.majority(labels, first, 7)
  for row, start in enumerate(first):
    counts = np.bincount(labels[start : start + 7] + 1, minlength=4)[1:]
    assert found[row] == counts.argmax() and purity[row] == counts.max() / 7
  none, purity = recordings.majority(np.full(9, -1), np.array([0, 2]), 7)
  assert none.tolist() == [-1, -1] and not purity.any()
  assert not len(recordings.starts(6, 7, 1))


# A table of recordings


COLUMNS = {
  "acc": {
    "column": "sequence:phone",
    "fields": ("ax", "az"),
    "time": "ms",
    "time_unit": 0.001,
    "gap": 0.5,
  },
  "heart": {"column": "sequence:watch", "fields": ("bpm",), "stored_rate": 2},
  "label": {"column": "label:phone", "field": "activity"},
}


def phone(path, begin=1000, steps=300, lacking=(), without=(), label=None):
  """100 Hz: ax is the time in s, az is 10 times that; walk from 2.5 s on."""
  names = [
    it for it in ("ms", "ax", "ay", "az", "activity") if it not in lacking
  ]
  lines = [",".join(names)]
  for number in range(steps):
    if number in without:
      continue
    time = begin + 10 * number
    activity = label or ("sit" if time < 2500 else "walk")
    cells = {"ms": time, "ax": time / 1000, "ay": "", "az": time / 100}
    cells["activity"] = activity
    lines.append(",".join(str(cells[name]) for name in names))
  path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def lab(tmp_path):
  """Six recordings of three people, with options to read them."""
  for number in range(6):
    phone(tmp_path / f"p{number}.csv", begin=0, steps=401)
    beats = [f"{number},{60 + it}" for it in range(9)]
    text = "\n".join(["who,bpm", *beats]) + "\n"
    (tmp_path / f"w{number}.csv").write_text(text)
  rows = [
    f"p{it}.csv,w{it}.csv,{'abc'[it % 3]},{('train', 'train', 'val')[it % 3]}"
    for it in range(5)
  ]
  rows.append("p5.csv,w5.csv,d,test")
  table = "\n".join(["phone,watch,who,split", *rows]) + "\n"
  (tmp_path / "manifest.csv").write_text(table)
  return {
    "root": str(tmp_path),
    "columns": COLUMNS,
    "group_column": "who",
    "window": 1.0,
    "step": 0.5,
    "rate": 10.0,
  }


def everything(split="train", **options):
  source = manifest.load(split, **options)
  return source.take(np.arange(len(source)))


def test_windows_of_two_devices_are_of_the_same_time(lab):
  assert manifest.spec(**lab)["acc"].shape == (10, 2)
  sizes = {split: len(everything(split, **lab)["index"]) for split in SPLITS}
  # 4 s, a window of 1 s every 0.5 s: 7 of each recording.
  assert sizes == {"train": 28, "validation": 7, "test": 7}
  part = everything(**lab)
  assert part["valid"].all() and part["mask/acc"].all()
  starts = 0.5 * np.tile(np.arange(7), 4)
  times = starts[:, None] + np.arange(10) / 10
  # The outermost steps have half a step of the recording.
  np.testing.assert_allclose(part["acc"][..., 0], times, atol=0.03)
  np.testing.assert_allclose(part["acc"][..., 1], 10 * times, atol=0.3)
  inner = part["acc"][1:6, :, 0]
  np.testing.assert_allclose(inner, times[1:6], atol=1e-5)
  np.testing.assert_allclose(part["heart"][..., 0], 60 + 2 * times, atol=0.06)
  assert manifest.class_names(**lab) == ("sit", "walk")
  expected = (times >= 2.5 - 1e-9).mean(axis=1)
  assert part["label"].tolist() == [int(it > 0.5) for it in expected]
  assert manifest.group_names(**lab) == ("a", "b", "c", "d")
  assert part["group"].tolist() == [0] * 7 + [1] * 7 + [0] * 7 + [1] * 7
  index = np.concatenate([everything(it, **lab)["index"] for it in SPLITS])
  assert sorted(index.tolist()) == [*range(42)]


def test_windows_of_two_classes_may_be_left_out(lab):
  part = everything(**lab, purity=0.8)
  starts = 0.5 * np.arange(7)
  times = starts[:, None] + np.arange(10) / 10
  share = (times >= 2.5 - 1e-9).mean(axis=1)
  kept = np.maximum(share, 1 - share) >= 0.8
  assert 0 < kept.sum() < 7 and len(part["index"]) == 4 * kept.sum()
  (remark,) = manifest.remarks(**lab, purity=0.8)
  assert f"{6 * (~kept).sum()} of 42 windows" in remark


def test_a_window_without_a_labelled_step_is_an_unlabelled_example(
  lab, tmp_path
):
  path = tmp_path / "p0.csv"
  path.write_text(path.read_text().replace("sit", "").replace("walk", ""))
  part = everything(**lab, purity=0.8)
  assert part["label"][:7].tolist() == [-1] * 7
  assert (part["label"][7:] >= 0).all()


def test_gaps_missing_fields_and_files_are_masked_and_zero(lab, tmp_path):
  phone(tmp_path / "p0.csv", begin=0, steps=401, without=range(111, 189))
  phone(tmp_path / "p1.csv", begin=0, steps=401, lacking=("az",))
  table = (tmp_path / "manifest.csv").read_text()
  table = table.replace("p3.csv,w3.csv", "p3.csv,")
  (tmp_path / "manifest.csv").write_text(table)
  part = everything(**lab)
  rows = lambda record: slice(7 * record, 7 * record + 7)
  starts = 0.5 * np.arange(7)
  times = starts[:, None] + np.arange(10) / 10
  missing = (times > 1.1 + 1e-6) & (times < 1.89)
  np.testing.assert_array_equal(part["mask/acc"][rows(0)], ~missing)
  assert not part["acc"][rows(0)][missing].any()
  assert not part["has/acc"][rows(1)].any() and part["has/heart"][rows(1)].all()
  assert not part["acc"][rows(1)].any()
  # Labels are in the phone's file, and still there.
  assert {*part["label"][rows(0)].tolist()} == {0, 1}
  assert not part["has/heart"][rows(2)].any() and part["has/acc"][rows(2)].all()
  remarks = manifest.remarks(**lab)
  assert any(
    "'acc': 1 recordings lack one of its fields" in it for it in remarks
  )
  assert any("% of the steps are not measured" in it for it in remarks)


def test_recordings_that_are_too_short_are_named(lab, tmp_path, capsys):
  phone(tmp_path / "p3.csv", begin=0, steps=60)
  (remark,) = manifest.remarks(**lab)
  assert "1 of 6 recordings are shorter than window=1.0" in remark
  assert "'p3.csv' (0.6)" in remark
  assert len(everything(**lab)["index"]) == 21
  config = tmp_path / "c.py"
  config.write_text(
    "from kdjax.config import data, experiment, network, stage, term\n"
    "def get_config():\n"
    f"  mine = data('manifest', **{lab!r})\n"
    "  net = network('audio_cnn', modality='acc', num_classes=2)\n"
    "  one = stage(net, terms={'cross_entropy': term('cross_entropy')})\n"
    "  return experiment('c', data=mine, stages={'one': one})\n"
  )
  cli.main(["inspect", "data", f"--config={config}", "--out="])
  said = " ".join(capsys.readouterr().out.split())
  assert "manifest: 35 records" in said and "'p3.csv' (0.6)" in said
  assert "walk" in said and "float32 [10, 2]" in said


def test_a_broken_recording_is_one_fault_and_the_others_are_cut(lab, tmp_path):
  (tmp_path / "p1.csv").write_text("ms,ax,az,activity\n0,1,x,sit\n")
  (tmp_path / "p3.csv").write_text("time,ax,az,activity\n0,1,2,sit\n")
  with pytest.raises(UserError, match=r"column 'az' has 'x' in line 2"):
    manifest.load("train", **lab)
  source = manifest.load("train", on_error="skip", most_broken=0.5, **lab)
  part = source.take(np.arange(len(source)))
  assert len(source) == 16 and part["valid"].sum() == 14
  reasons = [fault.reason for fault in source.records()]
  assert "column 'az' has 'x'" in reasons[0]
  assert "without the column 'ms'; it has time, ax, az" in reasons[1]


def test_a_class_that_training_lacks_is_a_fault(lab, tmp_path):
  phone(tmp_path / "p5.csv", begin=0, steps=401, label="swim")
  with pytest.raises(UserError, match="no class is called 'swim'"):
    manifest.load("test", **lab)
  stated = {
    **COLUMNS,
    "label": {**COLUMNS["label"], "classes": ("walk", "sit")},
  }
  with pytest.raises(UserError, match="'swim'"):
    manifest.load("test", **{**lab, "columns": stated})
  label = COLUMNS["label"] | {"classes": ("swim", "walk", "sit")}
  stated = lab | {"columns": COLUMNS | {"label": label}}
  assert {*everything("test", **stated)["label"].tolist()} == {0}
  assert {*everything("train", **stated)["label"].tolist()} == {1, 2}


def test_without_a_rate_windows_are_of_stored_steps(tmp_path):
  rng = np.random.default_rng(0)
  whole = {}
  for number in range(4):
    for label in ("left", "right"):
      path = tmp_path / f"s{number}/{label}_{number}.npy"
      path.parent.mkdir(exist_ok=True)
      whole[str(path.relative_to(tmp_path))] = rng.normal(size=(20 + number, 3))
      np.save(path, whole[str(path.relative_to(tmp_path))])
  options = {
    "root": str(tmp_path),
    "table": "{person}/{label}_*.npy",
    "columns": {"acc": "sequence:file", "label": "label"},
    "group_column": "person",
    "folds": "groups",
    "window": 8,
    "step": 5,
  }
  parts = [everything(split, **options) for split in SPLITS]
  assert [len({*part["group"].tolist()}) for part in parts] == [2, 1, 1]
  made = np.concatenate([part["acc"] for part in parts])
  expected = [
    values[start : start + 8].astype(np.float32)
    for values in whole.values()
    for start in range(0, len(values) - 7, 5)
  ]
  key = lambda rows: sorted(row.tobytes() for row in np.asarray(rows))
  assert key(made) == key(expected)
  label = np.concatenate([part["label"] for part in parts])
  assert np.bincount(label).tolist() == [len(made) // 2] * 2
  assert all(part["mask/acc"].all() for part in parts)


def test_a_pattern_of_csv_is_of_recordings_if_they_are_cut(tmp_path):
  for person in "abc":
    (tmp_path / person).mkdir()
    phone(tmp_path / person / "1.csv", begin=5000 if person == "a" else 0)
  acc = {"column": "sequence:file", "fields": ("ax",)}
  options = {
    "root": str(tmp_path),
    "table": "{person}/*.csv",
    "columns": {
      "acc": acc,
      "label": {"column": "label:file", "field": "activity"},
    },
    "group_column": "person",
    "folds": "groups",
    "window": 100,
  }
  parts = [everything(split, **options) for split in SPLITS]
  assert [len(part["index"]) for part in parts] == [3, 3, 3]
  assert manifest.group_names(**options) == ("a", "b", "c")
  of_a = next(part for part in parts if part["group"][0] == 0)
  np.testing.assert_allclose(of_a["acc"][0, :, 0], 5 + np.arange(100) / 100)
  assert manifest.class_names(**options) == ("sit", "walk")


@pytest.mark.parametrize(
  ("change", "match"),
  [
    (
      {"window": 0.0, "step": 0.0, "rate": 0.0},
      "fields is stated, and window=0",
    ),
    ({"window": 0.0}, "step is stated, and window=0"),
    ({"window": 0.01}, "window=0.01"),
    ({"rate": 0.0}, "step=0.5"),
    ({"purity": 1.5}, "purity=1.5"),
    (
      {"columns": {"label": "label:who"}},
      "no column is of the kind 'sequence'",
    ),
    (
      {"columns": {**COLUMNS, "label": {"column": "label:who", "field": "x"}}},
      "reads a field of 'who', of which no sequence is",
    ),
    (
      {"columns": {"acc": {"column": "sequence:phone", "fields": ("ax",)}}},
      "'acc', which has no times",
    ),
  ],
)
def test_options_that_do_not_fit_are_named(lab, change, match):
  with pytest.raises(UserError, match=match):
    manifest.load("train", **{**lab, **change})


# Arrays of steps


@pytest.fixture
def steps():
  """Five recordings of 30 steps and more, one after the other."""
  sizes = np.array([30, 33, 36, 39, 42])
  rng = np.random.default_rng(0)
  count = sizes.sum()
  named = {
    "acc": rng.normal(size=(count, 3)).astype(np.float32),
    "audio": rng.normal(size=count).astype(np.float32),
    "label": rng.integers(-1, 2, count),
    "who": np.repeat([*"ababc"], sizes),
    "take": np.repeat(np.arange(5), sizes),
  }
  arrays.hold("steps", named)
  options = {"held": "steps", "window": 8, "step": 4, "recording": "take"}
  expected = []
  for begin, end in zip(np.cumsum([0, *sizes]), np.cumsum(sizes), strict=False):
    for start in range(begin, end - 7, 4):
      rows = slice(start, start + 8)
      counts = np.bincount(named["label"][rows] + 1, minlength=3)[1:]
      one = {"label": counts.argmax(), "purity": counts.max() / 8}
      one |= {key: named[key][rows] for key in ("acc", "audio")}
      expected.append(one | {"who": named["who"][start]})
  return options, expected


def test_arrays_of_steps_are_cut_within_recordings(steps):
  options, expected = steps
  options = options | {"group_column": "who", "folds": "groups"}
  spec = arrays.spec(**options)
  assert spec["acc"].shape == (8, 3) and spec["audio"].shape == (8,)
  assert spec["label"].shape == () and "take" not in spec and "who" not in spec
  assert arrays.group_names(**options) == ("a", "b", "c")
  seen = []
  for split in SPLITS:
    part = arrays.load(split, **options).columns
    assert part.keys() == spec.keys()
    assert len({*part["group"].tolist()}) == 1
    for row, number in enumerate(part["index"].tolist()):
      one = expected[number]
      np.testing.assert_array_equal(part["acc"][row], one["acc"])
      np.testing.assert_array_equal(part["audio"][row], one["audio"])
      assert part["label"][row] == one["label"]
      assert arrays.group_names(**options)[part["group"][row]] == one["who"]
      seen.append(number)
  assert sorted(seen) == [*range(len(expected))]
  pure = {**options, "purity": 0.6}
  sizes = [len(arrays.load(split, **pure)) for split in SPLITS]
  # Windows without any label are unlabelled examples.
  kept = [it["purity"] >= 0.6 or not it["purity"] for it in expected]
  assert sum(sizes) == sum(kept) < len(kept)


def test_a_recording_is_in_one_split_if_nothing_else_divides(steps):
  columns = {"acc": "acc", "label": "label"}
  options = steps[0] | {"folds": 5, "columns": columns}
  parts = [arrays.load(split, 2, **options).columns for split in SPLITS]
  groups = [{*part["group"].tolist()} for part in parts]
  assert [len(it) for it in groups] == [3, 1, 1]
  assert set.union(*groups) == {*range(5)}
  with pytest.raises(UserError, match="nothing divides the recordings"):
    arrays.load("train", **{**options, "recording": ""})


def test_files_of_steps_are_cut_as_held_arrays_are(steps, tmp_path):
  options = steps[0] | {"group_column": "who", "folds": "groups"}
  np.savez(tmp_path / "mine.npz", **arrays._array_options._held["steps"])
  again = options | {"held": "", "root": str(tmp_path / "mine.npz")}
  assert arrays.spec(**again) == arrays.spec(**options)
  for split in SPLITS:
    first, second = (arrays.load(split, **it) for it in (options, again))
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
  ("change", "match"),
  [
    ({"window": 50}, r"has window=50 steps.*42"),
    ({"window": 0}, "do not fit"),
    ({"step": -1}, "do not fit"),
    ({"window": 0.5}, "do not fit"),
    ({"recording": "tale"}, r"no array 'tale'.*Did you mean 'take'"),
  ],
)
def test_windows_of_arrays_that_do_not_fit_are_named(steps, change, match):
  with pytest.raises(UserError, match=match):
    arrays.load("train", **{**steps[0], **change})


def test_an_array_that_changes_within_a_window_is_no_group(steps):
  named = arrays._array_options._held["steps"]
  arrays.hold("mixed", named | {"who": np.arange(len(named["take"])) // 10})
  options = {"held": "mixed", "window": 8, "recording": "take"}
  with pytest.raises(UserError, match="'who' of 'mixed' changes within"):
    arrays.load("train", **options, group_column="who")


# The same windows by three ways


BESIDE = pathlib.Path(__file__).parents[1] / "../shared/data"
ROOT = os.environ.get("KDJAX_DATA", str(BESIDE.resolve()))


def test_windows_of_real_recordings_are_the_same_by_every_way(tmp_path):
  if not os.path.isdir(f"{ROOT}/har"):
    pytest.skip(f"no folder {ROOT}/har (KDJAX_DATA)")
  with np.load(f"{ROOT}/har/recordings.npz") as file:
    whole = dict(file)
  options = {"standardized": False, "purity": 0.75}
  ready = har.load("validation", root=ROOT, **options).columns
  recorded = np.flatnonzero(whole["split"] == 1)
  ends = whole["offsets"]
  steps = np.concatenate([np.arange(ends[it], ends[it + 1]) for it in recorded])
  lengths = np.diff(ends)[recorded]
  named = {
    "phone": (whole["phone"] * whole["scale"])[steps],
    "label": whole["label"][steps],
    "take": np.repeat(recorded, lengths),
    "split": np.repeat(["train"], lengths.sum()),
  }
  arrays.hold("har", named)
  cut = {"window": 64, "step": 32, "purity": 0.75}
  held = {"held": "har", "recording": "take", "validation": 0.0, "test": 0.0}
  made = arrays.load("train", **held, **cut).columns
  np.testing.assert_array_equal(made["phone"], ready["phone"])
  np.testing.assert_array_equal(made["label"], ready["label"])
  lines = ["file"]
  for number in recorded[:8]:
    rows = slice(ends[number], ends[number + 1])
    values = whole["phone"][rows] * whole["scale"]
    classes = whole["label_names"][whole["label"][rows]]
    text = [",".join(f"c{it}" for it in range(6)) + ",activity"]
    for value, name in zip(values.tolist(), classes, strict=True):
      text.append(",".join([*map(repr, value), name]))
    (tmp_path / f"{number}.csv").write_text("\n".join(text) + "\n")
    lines.append(f"{number}.csv")
  (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
  label = {"column": "label:file", "field": "activity"}
  label["classes"] = tuple(whole["label_names"].tolist())
  source = manifest.load(
    "train",
    root=str(tmp_path),
    columns={"phone": "sequence:file", "label": label},
    validation=0.0,
    test=0.0,
    **cut,
  )
  part = source.take(np.arange(len(source)))
  np.testing.assert_array_equal(part["phone"], ready["phone"][: len(source)])
  np.testing.assert_array_equal(part["label"], ready["label"][: len(source)])
