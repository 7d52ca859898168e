"""The recorded runs as data frames: what the published CSV files say, study by study."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

import alexnet_repro
from alexnet_repro import claim, judge, load_curves, load_runs, study
from alexnet_repro.analysis.lookup import concluded, record_lookup
from alexnet_repro.analysis.verdicts import scorecard
from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments import registry
from alexnet_repro.experiments.study import SCALES
from alexnet_repro.records import query
from alexnet_repro.records.record import Measurement
from alexnet_repro.records.store import Store

from . import homes
from .runs import record

IDENTITY = ["study", "scale", "arm", "seed", "key"]


def published(study: str, table: str) -> pd.DataFrame:
    return pd.read_csv(paths.data() / "evidence" / study / f"{table}.csv")


def test_a_study_finds_the_shared_runs_of_the_baseline() -> None:
    runs = load_runs("lrn")
    assert list(runs.columns[:6]) == [*IDENTITY, "status"]
    assert list(runs["arm"].unique()) == ["baseline", "no_lrn", "strong_lrn"]
    assert set(runs["study"]) == {"lrn"}
    assert set(runs["scale"]) == {"cifar10"}
    assert runs.groupby("arm")["seed"].apply(list).tolist() == [list(range(20))] * 3


def test_runs_are_those_of_the_published_table() -> None:
    ours, theirs = load_runs("ablations").set_index("key"), published("ablations", "runs").set_index("key")
    assert set(ours.index) == set(theirs.index)
    assert list(ours["arm"]) == list(theirs["arm"].loc[ours.index])
    for name in ("test_error", "gap", "knn_features", "early_train_loss"):
        pd.testing.assert_series_equal(ours[name], theirs[f"metric.{name}"].loc[ours.index], check_names=False)
    wall = "provenance.wall_seconds"
    pd.testing.assert_series_equal(ours[wall], theirs[wall].loc[ours.index])


def test_curves_are_those_of_the_published_table() -> None:
    curves = load_curves("dropout_convergence")
    assert list(curves.columns) == [*IDENTITY, "epoch", "images", "train_loss", "train_error", "test_error"]
    theirs = published("dropout_convergence", "curves")
    columns = ["key", "epoch", "images", "train_loss", "train_error"]
    ordered = [table[columns].sort_values(["key", "epoch"], ignore_index=True) for table in (curves, theirs)]
    pd.testing.assert_frame_equal(*ordered)
    assert curves["test_error"].isna().all()
    assert load_curves("alexnet_convergence")["test_error"].notna().all()


def test_four_lines_give_the_effect_that_the_verdict_has() -> None:
    error = 100 * load_runs("lrn").pivot(index="seed", columns="arm", values="test_error")
    gain = error["no_lrn"] - error["baseline"]
    interval = stats.ttest_1samp(gain, 0).confidence_interval(0.95)
    verdict = next(each for each in scorecard(record_lookup(Store())) if each.claim == "lrn")
    assert gain.mean() == pytest.approx(verdict.effect)
    assert tuple(interval) == pytest.approx(verdict.interval)


def test_a_study_and_a_claim_are_found_by_name() -> None:
    plan = study("lrn")
    assert dict(plan.arms)["no_lrn"] == {"model.cross_map_norm": None}
    assert plan.seeds == tuple(range(20))
    assert plan.baseline == registry.study("lrn").baseline
    assert study("lrn", "smoke").seeds == (0, 1, 2)
    assert claim("lrn").where == "section 3.3"
    with pytest.raises(UserError, match=r"unknown claim 'lnr' \(did you mean 'lrn'\?\): choose one of "):
        claim("lnr")
    with pytest.raises(UserError, match=r"unknown study 'lnr' \(did you mean 'lrn'\?\): choose one of "):
        study("lnr")


def test_judge_gives_the_verdicts_of_both_stages() -> None:
    judged, scored = judge("lrn"), [each for each in scorecard(record_lookup(Store())) if each.claim == "lrn"]
    conclusion = next(each for each in concluded(Store()) if each.claim == "lrn")
    measured = [each for each in scored if each.evidence == "measured"]
    first = [each for each in judged.comparisons if each.stage == 1]
    assert [(each.effect, (each.low, each.high), each.verdict, each.pairs, each.threshold) for each in first] == [
        (each.effect, each.interval, each.verdict, each.seeds, each.size) for each in measured
    ]
    second = [each for each in judged.comparisons if each.stage == 2]
    theirs = [each for each in conclusion.comparisons if each.scale.startswith("cifar10") and "long" not in each.scale]
    assert [(each.effect, (each.low, each.high), each.verdict, each.pairs, each.threshold) for each in second] == [
        (each.effect, each.interval, each.verdict, each.seeds, each.threshold) for each in theirs
    ]
    assert (judged.conclusion, judged.reading) == (conclusion.conclusion, conclusion.reading)


def test_effects_are_found_by_their_arms() -> None:
    judged = judge("augmentation")
    gap, error = (judged.effects(metric) for metric in ("gap", "test_error"))
    assert list(gap.index) == list(error.index) == [("no_crops", "baseline")]
    assert gap.loc[("no_crops", "baseline"), "effect"] > 5 > error.loc[("no_crops", "baseline"), "effect"]
    assert list(judged.table["metric"]) == ["gap", "test_error", "test_error", "gap"]


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("lrn", "no_lrn - baseline"),
        ("relu_speed", "tanh / relu"),
        ("ten_crop", "baseline: test_error - ten_view_error"),
        ("longer_training", "baseline - baseline of longer"),
        ("throughput", "alexnet / 208.3"),
    ],
)
def test_a_comparison_has_a_formula(name: str, formula: str) -> None:
    assert judge(name).comparisons[0].name == formula


def test_a_judgement_reads_plainly() -> None:
    judged = judge("lrn")
    assert repr(judged).splitlines()[0] == (
        "Local response normalization lowers the error (section 3.3), at the scale cifar10, by test_error"
    )
    (row,) = [line for line in repr(judged).splitlines() if "strong_lrn" in line]
    shown = "1 no_lrn - strong_lrn 1.89 points (1.27 to 2.50) reproduced 0.70 points 20"
    assert re.sub(" +", " ", row).strip() == shown
    assert repr(judged).endswith("explained by its scaling, so far.")
    page = judged._repr_html_()
    assert page.count("<tr") == 9
    assert "1.89 points (1.27 to 2.50)" in page
    assert "CIFAR-10, 24 epochs, fresh seeds" in page
    assert "runs" not in judge("depth")._rows()  # one setting, at this scale
    assert {*judge("augmentation")._rows()["metric"]} == {"gap", "test_error"}  # two metrics: a column tells them apart
    assert "No comparison of runs." in repr(judge("result_2010"))
    assert "No comparison of runs." in judge("result_2010")._repr_html_()


def test_a_scale_without_runs_has_verdicts_that_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes.make(tmp_path, monkeypatch)
    judged = judge("lrn", "tiny-imagenet")
    assert {each.verdict for each in judged.comparisons} == {"not run"}
    assert judged.effects().isna().all(axis=None)
    assert judged.conclusion == judge("lrn").conclusion
    assert judge("lrn_cifar", "tiny-imagenet").comparisons == ()
    assert len(load_runs("lrn_cifar", "tiny-imagenet")) == 0


def test_a_rehearsal_has_no_conclusion(tmp_path: Path) -> None:
    plan = registry.study("lrn", "smoke")
    for arm, error in (("baseline", 0.5), ("no_lrn", 0.52)):
        for seed in range(3):
            metrics = {"test_error": error + seed / 100, "ten_view_error": 0.5, "clean_train_error": 0.4, "gap": 0.1}
            chance = {"color_gap": 0.1, "color_gap_shuffled": 0.1, "knn_features": 0.5, "knn_pixels": 0.3}
            Store(tmp_path).save(record(plan.config(arm, seed), metrics=metrics | chance))
    judged = judge("lrn", "smoke", tmp_path)
    assert judged.conclusion == judged.reading == ""
    assert "Conclusion" not in repr(judged) + judged._repr_html_()
    assert [each.stage for each in judged.comparisons] == [1, 1]
    assert tuple(judged.effects().iloc[0]) == pytest.approx((2, 2, 2))
    assert judged.comparisons[1].verdict == "not run"


def test_judge_names_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown claim 'lnr' \(did you mean 'lrn'\?\): choose one of "):
        judge("lnr")
    with pytest.raises(UserError, match="unknown scale 'cifar11': choose one of "):
        judge("lrn", "cifar11")
    with pytest.raises(UserError, match=f"no working store at {tmp_path / 'nowhere'}"):
        judge("lrn", store=tmp_path / "nowhere")


def test_without_a_study_every_published_run_stands_once() -> None:
    scales, known = [scale for scale in SCALES if scale != "smoke"], Store().published()
    runs = pd.concat([load_runs(scale=scale) for scale in scales])
    assert runs["key"].is_unique
    assert set(runs["key"]) == set(known)
    assert set(runs["study"]) == set(Store().published_in().values())
    assert {key for scale in scales for key in load_curves(scale=scale)["key"]} == set(known)


def test_a_store_of_ones_own_adds_its_runs(tmp_path: Path) -> None:
    plan = registry.study("lrn", "smoke")
    lost = record(plan.config("no_lrn", 1), status="diverged", metrics={"test_error": None})
    point = Measurement(epoch=1.0, images=1_000, train_loss=None, train_error=0.9, test_error=0.8)
    kept = record(
        plan.config("baseline", 1), curve=[point], metrics={"test_error": 0.4, "clean_train_error": 0.3, "gap": 0.1}
    )
    for each in (kept, lost):
        Store(tmp_path).save(each)
    runs = load_runs("lrn", "smoke", tmp_path)
    assert list(runs["arm"]) == ["baseline", "no_lrn"]
    assert list(runs["status"]) == ["finished", "diverged"]
    assert runs["test_error"].dtype == float
    assert list(runs["test_error"]) == [0.4, 0.9]  # that of guessing among ten classes, as in the verdicts
    assert list(runs["clean_train_error"]) == [0.3, 0.9]
    assert list(runs["gap"]) == [0.1, 0.0]
    curves = load_curves("lrn", "smoke", str(tmp_path))
    assert list(curves.loc[curves["arm"] == "baseline", "test_error"]) == [0.8]
    assert curves["train_loss"].isna().tolist() == [True, False]
    assert list(load_runs(None, "smoke", tmp_path)["study"]) == ["ablations"] * 2  # once, though "longer" shares one


def test_a_study_without_runs_is_a_frame_without_rows() -> None:
    runs, curves = load_runs("lrn", "smoke"), load_curves("lrn", "smoke")
    assert (len(runs), len(curves)) == (0, 0)
    assert list(runs.columns) == [*IDENTITY, "status", *query.USUAL]
    assert "test_error" in curves


@pytest.mark.parametrize("load", [load_runs, load_curves])
def test_unknown_names_list_the_valid_ones(load, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown study 'lnr' \(did you mean 'lrn'\?\): choose one of .*, lrn, "):
        load("lnr")
    for name in (None, "lrn"):
        with pytest.raises(UserError, match=r"unknown scale 'cifar11': choose one of cifar10, cifar10-long, smoke"):
            load(name, scale="cifar11")
    with pytest.raises(UserError, match=f"no working store at {tmp_path / 'nowhere'}"):
        load(store=tmp_path / "nowhere")


def test_public_names_are_there_and_no_others() -> None:
    assert set(alexnet_repro.__all__) <= set(dir(alexnet_repro))
    with pytest.raises(AttributeError, match="no attribute 'load_run'"):
        alexnet_repro.load_run  # noqa: B018


def test_reading_runs_needs_neither_torch_nor_ipython() -> None:
    code = (
        "import sys\n"
        "from alexnet_repro import claim, judge, load_curves, load_runs, study\n"
        "assert len(load_runs('lrn')) == 60 and len(load_curves('lrn'))\n"
        "assert study('lrn').arms and claim('lrn').measured\n"
        "heavy = {'torch', 'IPython', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert judge('lrn').comparisons\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
