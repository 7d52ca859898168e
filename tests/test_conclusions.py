import json
import subprocess
import tomllib
from functools import cache
from types import SimpleNamespace

import pytest

from alexnet_repro.analysis import rules
from alexnet_repro.analysis.conclusions import (
    Comparison,
    Conclusion,
    classify_two_sided,
    compare,
    conclude,
    corrected,
    finding,
    reading,
    without_rule,
)
from alexnet_repro.analysis.lookup import concluded, record_lookup
from alexnet_repro.analysis.rules import SETTINGS, Rule
from alexnet_repro.analysis.verdicts import scorecard
from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.study import SCALES
from alexnet_repro.paper.claims import claim, load
from alexnet_repro.records.store import Store

from .runs import record, tiny

RULE = Rule(
    claim="lrn", role="primary", metric="test_error", comparison="difference", arm="no_lrn", against="baseline",
    unit="points", threshold=1.0, why="a judgement", seeds={"cifar10": 5},
)  # fmt: skip


def errors(*percent, status="finished"):
    return {i: record(tiny(seed=i), status, metrics={"test_error": p / 100}) for i, p in enumerate(percent)}


BASE = errors(40.0, 40.3, 39.8, 40.1, 40.0)


@pytest.mark.parametrize(
    ("interval", "narrow", "name"),
    [
        ((1.0, 2.0), (1.1, 1.9), "supported"),
        ((0.1, 2.0), (0.2, 1.9), "direction only"),
        ((0.1, 0.9), (0.2, 0.8), "equivalent"),  # an effect that is there, and too small to matter
        ((-1.1, 1.1), (-0.9, 0.9), "equivalent"),  # two one-sided tests look at the 90 % interval alone
        ((-0.9, 0.9), (-1.0, 0.8), "inconclusive"),
        ((-0.5, 1.5), (-0.4, 1.4), "inconclusive"),
        ((-2.0, -0.1), (-1.9, -0.2), "opposite direction"),
        ((-2.0, -1.0), (-1.9, -1.1), "contradicted"),
    ],
)
def test_every_verdict(interval, narrow, name):
    assert classify_two_sided(interval, narrow, (-1.0, 1.0), 0.0) == name


def test_a_ratio_has_its_inverse_on_the_other_side():
    ratio = RULE.model_copy(update={"comparison": "ratio", "unit": "×", "threshold": 1.5})
    assert ratio.bounds == (1 / 1.5, 1.5)
    assert classify_two_sided((0.7, 1.4), (0.72, 1.35), ratio.bounds, ratio.null) == "equivalent"
    assert classify_two_sided((0.3, 0.6), (0.35, 0.55), ratio.bounds, ratio.null) == "contradicted"


def test_pairs_by_seed_in_points():
    judged = compare(RULE, "cifar10", errors(42.0, 42.1, 41.9, 42.2, 39.9), BASE)
    # differences 2.0, 1.8, 2.1, 2.1, -0.1: mean 1.58, sd 0.9471, t(4) at 95 % 2.7764
    assert judged.effect == pytest.approx(1.58)
    assert judged.interval == pytest.approx((1.58 - 1.1759, 1.58 + 1.1759), abs=1e-3)
    assert judged.narrow == pytest.approx((1.58 - 0.9029, 1.58 + 0.9029), abs=1e-3)
    assert (judged.verdict, judged.seeds, judged.side) == ("direction only", 5, 0.8)
    assert not judged.provisional


def test_only_declared_pairs_count():
    few = RULE.model_copy(update={"seeds": {"cifar10": 3}})
    arm = errors(42.0, 42.1, 41.9, 90.0, 90.0)
    assert compare(few, "cifar10", arm, BASE).effect == pytest.approx((2.0 + 1.8 + 2.1) / 3)


def test_fewer_than_three_pairs_are_not_run():
    judged = compare(RULE, "cifar10", errors(42.0, 42.1), BASE)
    assert (judged.verdict, judged.note) == ("not run", "2 of 5 pairs so far")


def test_a_diverged_run_counts_at_chance():
    arm = errors(42.0, 42.1, 41.9, 42.2) | {4: record(tiny(seed=4), "diverged", metrics={})}
    judged = compare(RULE, "cifar10", arm, BASE)
    assert judged.effect == pytest.approx((2.0 + 1.8 + 2.1 + 2.1 + 50.0) / 5)  # chance of ten classes is 90 %
    assert judged.note == "1 of 5 runs of 'no_lrn' diverged"


def test_the_gap_of_a_diverged_run_is_none():
    gap = RULE.model_copy(update={"metric": "gap"})
    arm = {i: record(tiny(seed=i), metrics={"gap": 0.2}) for i in range(4)}
    against = {i: record(tiny(seed=i), metrics={"gap": 0.1}) for i in range(5)}
    judged = compare(gap, "cifar10", arm | {4: record(tiny(seed=4), "diverged", metrics={})}, against)
    assert judged.effect == pytest.approx((4 * 10 - 10) / 5)


def test_unseen_pairs_are_judged_alone_too():
    rule = RULE.model_copy(update={"seen": {"cifar10": 2}})
    judged = compare(rule, "cifar10", errors(60.0, 60.3, 39.8, 40.2, 40.0), BASE)
    assert (judged.verdict, judged.unseen) == ("inconclusive", "equivalent")
    assert compare(RULE, "cifar10", BASE | errors(42.0), BASE).unseen is None


def comparison(verdict, role="primary", scale="cifar10", **changes):
    return Comparison("lrn", role, "", scale, verdict, "points", 1.0, 5, **{"seeds": 5, **changes})


def test_holm_over_the_primary_comparisons_that_were_not_seen_in_advance():
    several = [
        comparison("supported", p=0.001),
        comparison("direction only", p=0.04),
        comparison("equivalent", p=0.03),
        comparison("supported", p=0.04, seen=5),
        comparison("direction only", "secondary", p=0.04),
    ]
    first, second, third, seen, secondary = corrected(several)
    assert [each.p_holm for each in (first, second, third)] == pytest.approx([0.003, 0.06, 0.06])
    assert (seen.p_holm, secondary.p_holm) == (None, None)
    assert [each.verdict for each in (first, second, third, seen, secondary)] == [
        "supported", "inconclusive", "equivalent", "supported", "direction only",
    ]  # fmt: skip
    assert second.remark == "direction only before correction, corrected p = 0.06"


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([], "not run"),
        (["supported"], "supported"),
        (["supported", "supported"], "supported at every scale"),
        (["supported", "direction only"], "right in direction"),
        (["equivalent", "equivalent"], "no effect"),
        (["contradicted", "opposite direction"], "contradicted"),
        (["supported", "equivalent"], "depends on scale"),
        (["direction only", "opposite direction", "inconclusive"], "depends on scale"),
        (["supported", "inconclusive"], "supported, with a scale inconclusive"),
        (["direction only", "inconclusive"], "not shown"),
        (["equivalent", "opposite direction"], "not supported at any scale"),
        (["supported", "not run"], "supported"),
        (["supported", "supported", "not run"], "supported at 2 scales"),
        (["equivalent", "contradicted"], "not supported at any scale"),
        (["equivalent", "contradicted", "inconclusive"], "not shown"),
    ],
)
def test_every_conclusion(verdicts, words):
    assert conclude("lrn", [comparison(each) for each in verdicts], "") == words


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (["equivalent", "equivalent"], "explained by its scaling"),
        (["contradicted"], "explained by its scaling"),
        (["equivalent", "inconclusive"], "explained by its scaling at 1 of 2 scales"),
        (["equivalent", "supported", "contradicted"], "explained by its scaling at 2 of 3 scales"),
        (["inconclusive"], "supported"),
        (["supported"], "supported"),
        (["not run"], "supported"),
    ],
)
def test_a_control_explains_an_effect(control, words):
    found = [comparison("supported"), *(comparison(each, "control") for each in control)]
    assert conclude("lrn", found, "its scaling") == words


def test_a_conclusion_on_fewer_pairs_than_declared_says_so():
    assert conclude("lrn", [comparison("supported", seeds=3)], "") == "supported, so far"
    assert conclude("lrn", [comparison("supported"), comparison("not run", seeds=0)], "") == "supported, so far"
    seen = comparison("supported", seeds=5, seen=5)
    assert conclude("lrn", [seen, comparison("not run", seeds=0)], "") == "supported, seen in advance, so far"
    assert conclude("lrn", [seen, comparison("supported")], "") == "supported at every scale"
    secondary = comparison("inconclusive", "secondary", seeds=3)
    assert conclude("lrn", [comparison("supported"), secondary], "") == "supported"


@cache
def every():
    return concluded(Store(paths.repository() / "nowhere"))


def test_every_claim_has_a_conclusion_and_a_sentence():
    assert [each.claim for each in every()] == [each.id for each in load()]
    for each in every():
        assert each.conclusion
        assert each.reading.endswith(".")
        assert not set("{}") & set(each.reading)
        json.dumps(each.row(), allow_nan=False)


def test_stage_one_stays_as_it_was():
    verdicts = scorecard(record_lookup(Store(paths.repository() / "nowhere")))
    assert [verdict for each in every() for verdict in each.verdicts] == verdicts


def test_a_placeholder_that_nothing_fills_is_named():
    said = claim("lrn").model_copy(update={"reading": "It is {no_such@cifar10}."})
    with pytest.raises(UserError, match=r"claim 'lrn': nothing fills \{no_such@cifar10\} of its reading"):
        reading(said, (), (), lambda study, arm: {})


def test_a_part_in_brackets_waits_for_its_numbers_and_few_pairs_are_counted():
    text = "Error {primary@cifar10}[[, later {primary@cifar10-long}]][[, on photographs {primary@tiny-imagenet}]]."
    said = claim("lrn").model_copy(update={"reading": text})
    found = (
        comparison("supported", effect=4.0, interval=(3.0, 5.0)),
        comparison("supported", scale="cifar10-long", effect=2.0, interval=(1.0, 3.0), seeds=3),
        comparison("not run", scale="tiny-imagenet"),
    )
    told = "Error 4 points (3 to 5), later 2 points (1 to 3; 3 of 5 pairs so far)."
    assert reading(said, (), found, lambda study, arm: {}) == told


def test_a_finding_stands_while_its_conclusion_holds():
    said = claim("lrn").model_copy(update={"finding": "it costs {primary@cifar10}", "holds": "supported"})
    whole = comparison("supported", effect=4.0, interval=(3.0, 5.0))
    few = comparison("supported", effect=4.0, interval=(3.0, 5.0), seeds=3)

    def told(conclusion, each):
        return finding(said, conclusion, (), (each,), lambda study, arm: {})

    assert told("supported, so far", whole) == ("it costs 4 points (3 to 5)", "it costs 4 points")
    assert told("supported", few) == ("it costs 4 points (3 to 5; 3 of 5 pairs so far)", "it costs 4 points, so far")
    assert told("supported", comparison("not run")) == told("no effect", whole) == ("", "")


def git(*words):
    done = subprocess.run(["git", "-C", str(paths.repository()), *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def entries(text):
    """What each rule of a version of the file says, without its reasons, for each of its scales -> how many pairs."""
    found = {}
    for rule in tomllib.loads(text)["rule"]:
        for scale, count in rule["seeds"].items():
            fixed = {name: value for name, value in rule.items() if name not in ("seeds", "seen", "why", "explains")}
            found[json.dumps(fixed | {"scale": scale, "seen": rule.get("seen", {}).get(scale, 0)})] = count
    return found


@cache
def declared():
    """(rule, number of the pair) -> the commit that wrote the rule as it is today, for at least so many pairs."""
    file = f"data/{rules.FILE}"
    code, out = git("log", "--reverse", "--format=%H", "--", file)
    commits = out.split()
    if code or not commits or git("rev-parse", "--is-shallow-repository")[1].strip() == "true":
        pytest.skip("needs the project's whole git history")
    now = entries((paths.data() / rules.FILE).read_text())
    since = {}
    for commit in commits:
        there = entries(git("show", f"{commit}:{file}")[1])
        pairs = [(entry, i) for entry in there.keys() & now.keys() for i in range(there[entry])]
        since = {pair: since.get(pair, commit) for pair in pairs}
    return since


def test_every_rule_is_older_than_the_runs_that_it_judges():
    """Of a pair that was not seen in advance, at least one run was made of a commit that has the rule."""
    store, since, checked = Store(paths.repository() / "nowhere"), declared(), 0
    for rule in rules.load():
        for scale, count in rule.seeds.items():
            setting = SETTINGS[scale]
            if setting.scale not in SCALES:
                continue
            find = record_lookup(store, setting.scale)
            arm, against = find(setting.study, rule.arm), find(setting.study, rule.against)
            (entry,) = [
                each for each in entries((paths.data() / rules.FILE).read_text())
                if (said := json.loads(each))["scale"] == scale
                and (said["claim"], said.get("label", "")) == (rule.claim, rule.label)
            ]  # fmt: skip
            for i, seed in [*enumerate(sorted(arm.keys() & against.keys()))][rule.seen.get(scale, 0) : count]:
                if (entry, i) not in since:
                    assert git("status", "--porcelain", "--", f"data/{rules.FILE}")[1], f"{entry} is in no commit"
                    continue
                made = {arm[seed].provenance.commit, against[seed].provenance.commit}
                assert any(git("merge-base", "--is-ancestor", since[entry, i], commit)[0] == 0 for commit in made), (
                    f"{rule.claim} {rule.label} at {scale}: seed {seed} was trained before its rule stood"
                )
                checked += 1
    if not checked:
        pytest.skip("no run of stage two is published yet")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("measured/reproduced, measured/inconclusive, audited/agrees", "1 reproduced, 1 inconclusive in stage one"),
        ("audited/agrees, audited/agrees, audited/disagrees", "audited: 2 agree, 1 disagrees"),
        ("derived/agrees, untested/", "derived: agrees; not testable here"),
        ("observed/no rule", "observed, without a rule"),
    ],
)
def test_without_a_rule_of_stage_two_the_evidence_is_counted(found, said):
    pairs = [each.split("/") for each in found.split(", ")]
    assert without_rule([SimpleNamespace(evidence=kind, verdict=name) for kind, name in pairs]) == said


def test_scales_seen_in_advance_are_named_where_others_were_not():
    seen, new = comparison("supported", seen=5), comparison("supported", scale="tiny-imagenet")
    said = "supported (CIFAR-10, 24 epochs: seen in advance)"
    assert Conclusion("lrn", "supported", "", (seen, new), ()).in_full == said
    assert Conclusion("lrn", "supported", "", (seen,), ()).in_full == "supported"
