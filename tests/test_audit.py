"""The audit's arithmetic, by hand: every value below was worked out from the rows of the log, on paper."""

import pandas as pd
import pytest

from alexnet_repro.analysis import audit
from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError
from alexnet_repro.networks.config import side_after
from alexnet_repro.paper.claims import Audited, load

# claim, label -> the log's value: errors and differences in percent.
BY_HAND = {
    ("two_gpu_error", "top-1"): 39.1680 - 37.4727,
    ("two_gpu_error", "top-5"): 18.2287 - 16.9987,
    ("column_links", "top-1"): 41.828 - 40.664,
    ("column_links", "top-5"): 19.330 - 18.210,
    ("lrn", "top-1"): 42.034 - 40.664,
    ("lrn", "top-5"): 19.362 - 18.210,
    ("overlapping_pooling", "top-1"): 41.058 - 40.664,
    ("overlapping_pooling", "top-5"): 18.510 - 18.210,
    ("ten_crop", "one view, top-1"): 39.0247,
    ("ten_crop", "one view, top-5"): 18.2953,
    ("ten_crop", "ten views, top-1"): 37.4727,
    ("ten_crop", "ten views, top-5"): 16.9987,
    ("lr_schedule", "epochs"): 91,
    ("lr_schedule", "drops"): 3,
    ("result_2010", "top-1"): 37.4727,
    ("result_2010", "top-5"): 16.9987,
    ("result_2012", "top-1"): 40.664,
    ("result_2012", "top-5"): 18.210,
    ("pretraining_2012", "top-1"): 38.990,
    ("pretraining_2012", "top-5"): 16.622,
    ("fall_2009", "top-1"): 69.4209,
    ("fall_2009", "top-5"): 43.7308,
    ("validation_test", "top-1"): 37.7960 - 37.6167,
    ("validation_test", "top-5"): 17.1020 - 17.1247,
    ("longer_training", "top-1"): 40.664 - 40.250,
    ("longer_training", "top-5"): 18.210 - 17.994,
}
# label -> what others published: errors in percent, and nets counted in the names of the submitted files.
PUBLISHED = {
    "sparse coding, top-1": 100 - 52.9,
    "sparse coding, top-5": 100 - 71.8,
    "seven nets, test, top-5": 15.315,
    "second-best, test, top-5": 26.172,
    "five nets, test, top-5": 16.422,
    "nets averaged": 7,
    "of these, among the five": 4,
    "of these, pre-trained on Fall 2011": 1,
}
ERROR = {"column": "top1_error", "train_set": "ILSVRC-2012", "net": "145", "unit": "%", "paper_value": 40.7}


def entry(**changes):
    return Audited.model_validate(ERROR | changes)


def test_every_number_by_hand():
    found = {(claim.id, each.label): audit.check(each) for claim in load() for each in claim.audited}
    assert {name: finding.value for name, finding in found.items()} == pytest.approx(BY_HAND, abs=1e-9)
    answers = {name: finding.verdict for name, finding in found.items()}
    assert {name for name, answer in answers.items() if answer == "audited: not in the log"} == {
        ("fall_2009", "top-1"),
        ("fall_2009", "top-5"),
    }
    assert [name for name, answer in answers.items() if answer == "audited: disagrees"] == [
        ("validation_test", "top-1")
    ]


def test_every_published_number_by_hand():
    found = {each.label: audit.check_published(each) for claim in load() for each in claim.published}
    assert {name: finding.value for name, finding in found.items()} == pytest.approx(PUBLISHED, abs=1e-9)
    wrong = {name for name, finding in found.items() if finding.verdict == "audited: disagrees"}
    assert wrong == {"of these, among the five", "of these, pre-trained on Fall 2011"}


def test_the_nets_of_a_submission_are_in_its_name():
    seven, five = (audit.nets_of(name) for name in ("SuperVision with extra images", "SuperVision"))
    assert seven == ("141", "146.2009", "131", "137", "145", "146.2011", "145f")
    assert five == ("131", "137", "145", "135", "145f")
    with pytest.raises(UserError, match=r"unknown entry of published_results\.csv 'ISSI': choose one of ISI, NEC-UIUC"):
        audit.nets_of("ISSI")


def test_a_bound_holds_on_either_side():
    twice = {"net": "137", "against": "137", "train_set": "ILSVRC-2010", "unit": "points", "comparison": "at most"}
    for sets in (("validation", "test"), ("test", "validation")):
        images = dict(zip(("eval_set", "against_eval_set"), sets, strict=True))
        assert audit.check(entry(**twice, **images, paper_value=0.18)).verdict == "audited: agrees"
        assert audit.check(entry(**twice, **images, paper_value=0.17)).verdict == "audited: disagrees"
    note = audit.check(entry(**twice, eval_set="validation", against_eval_set="test", paper_value=0.1)).note
    assert note == "net 137, validation against test images"
    assert audit.check(entry(net="137", train_set="ILSVRC-2010", eval_set="training")).value is None


@pytest.mark.parametrize(
    ("paper", "digits", "answer"),
    [
        (40.7, 1, "audited: agrees"),
        (40.6, 1, "audited: disagrees"),
        (40.66, 2, "audited: agrees"),
        (40.67, 2, "audited: disagrees"),
        (41, 0, "audited: agrees"),
        (40, 0, "audited: disagrees"),
        (40, -1, "audited: agrees"),
    ],
)
def test_agreement_is_to_the_printed_digit(paper, digits, answer):
    assert audit.check(entry(paper_value=paper, digits=digits)).verdict == answer


def test_a_half_rounds_either_way():
    # 39.10 is printed for 39.100 and could be for 39.05 to 39.15, ends included.
    half = entry(net="146-2012-2009", paper_value=39.15, digits=1)
    assert audit.check(half).verdict == "audited: agrees"


def test_what_the_log_lacks():
    assert audit.check(entry(net="999")).verdict == "audited: not in the log"
    assert audit.check(entry(net="145", views="center")).verdict == "audited: not in the log"
    assert audit.check(entry(train_set="ILSVRC-2010")).verdict == "audited: not in the log"
    assert audit.check(entry(net="145", against="999", unit="points")).value is None
    assert audit.check(entry(net=None, train_set="Places")).value is None
    assert audit.check(entry(net=None)).verdict == "audited: agrees"


def test_without_a_number_of_the_paper_the_sign_decides():
    links = entry(net="150", against="145", unit="points", paper_value=None)
    assert audit.check(links).verdict == "audited: agrees"
    assert audit.check(links.model_copy(update={"net": "145", "against": "150"})).verdict == "audited: disagrees"


def test_ten_variants_of_one_architecture():
    nets = list(audit.variants()["net"])
    assert nets == ["155", "156", "157", "158", "160", "165", "169", "170", "171", "174"]


def test_the_scatter_by_hand():
    # Deviations from 40.7986 in hundredths of a point: -5.46 -3.46 31.54 22.74 57.54 18.34 -20.26 -27.06 -37.86
    # -36.06; their squares add up to 9077.2, and sqrt(9077.2 / 9) is 31.76. t(9 df, 0.975) = 2.26216.
    scatter = audit.scatter()
    assert (scatter.n, scatter.low, scatter.high) == (10, pytest.approx(40.420), pytest.approx(41.374))
    assert scatter.sd == pytest.approx(0.3176, abs=5e-5)
    assert scatter.sd_range == pytest.approx((0.2184, 0.5798), abs=1e-4)  # s sqrt(9 / chi2) at 19.023 and 2.700
    assert scatter.clear_from == pytest.approx(2.26216 * 2**0.5 * 0.31758, abs=1e-4)
    assert audit.scatter("top5_error").sd == pytest.approx(0.3224, abs=5e-5)


def test_which_effects_stand_clear():
    table = audit.effects().set_index(["claim", "column"])
    top1 = table.xs("top1_error", level="column")
    assert dict(top1["clear"]) == {
        "two_gpu_error": True,
        "column_links": True,
        "lrn": True,
        "overlapping_pooling": False,
        "longer_training": False,
    }
    assert top1["points"]["longer_training"] == pytest.approx(40.664 - 40.250)
    assert top1["points"]["overlapping_pooling"] == pytest.approx(0.394)
    # Longer training alone gave what overlapping pooling gave.
    assert top1["points"]["longer_training"] > top1["points"]["overlapping_pooling"]


def test_an_audited_difference_says_whether_it_stands_clear():
    notes = {claim.id: audit.check(claim.audited[0]).note for claim in load() if claim.audited}
    assert (
        "one run each; does not stand clear of the scatter between runs (1.02 points)" in notes["overlapping_pooling"]
    )
    assert "one run each; stands clear" in notes["two_gpu_error"]
    assert "scatter" not in notes["ten_crop"] + notes["result_2012"]


def test_the_log_has_one_row_per_net_and_evaluation():
    log = audit.log()
    assert len(log) == 28
    assert not log.duplicated(["net", "train_set", "eval_set", "views"]).any()
    assert log[["top1_error", "top5_error"]].apply(lambda errors: errors.between(0, 1)).all(axis=None)
    assert (log["top5_error"] < log["top1_error"]).all()


def test_a_damaged_log_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*: restore it with 'git checkout"):
        audit.log(tmp_path / "none.csv")
    pd.read_csv(paths.data() / "author_log.csv").drop(columns="net").to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(UserError, match="must have the columns net, relation"):
        audit.log(tmp_path / "log.csv")


@pytest.mark.parametrize(
    ("read", "name", "old", "new", "said"),
    [
        (
            audit.log,
            "author_log.csv",
            "0.374727",
            "n/k",
            "has 'n/k' in row 2, column top1_error, where a number belongs",
        ),
        (audit.log, "author_log.csv", ",0.437308", ",", "has an empty cell in row 29, column top5_error"),
        (audit.schedule, "author_schedule.csv", ",25\n", ",25?\n", "has '25?' in row 2, column epoch, where a number"),
    ],
)
def test_text_where_a_number_belongs_is_one_line(tmp_path, read, name, old, new, said):
    text = (paths.data() / name).read_text()
    assert old in text
    path = tmp_path / name
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        read(path)
    assert str(error.value).startswith(f"{path} {said}")
    assert str(error.value).endswith(f": restore it with 'git checkout -- {path}'")


def test_the_schedules_of_the_compared_nets():
    events = audit.schedule()
    compared = {entry.net for claim in load() for entry in claim.audited if entry.against not in (None, entry.net)}
    assert compared <= set(events["net"])
    stops = events[events["event"] == audit.STOPPED].set_index("net")["epoch"]
    assert dict(stops) == {
        "145": 91,
        "145-longer": 135,
        "145-2010": 93,
        "145-half": 96,
        "147": 90,
        "148": 97,
        "150": 92,
    }
    assert not events.duplicated().any()
    assert (events.groupby("net")["epoch"].diff().dropna() >= 0).all()


def test_nets_that_share_their_first_epochs_change_no_answer():
    assert list(audit.independent()["net"]) == ["155", "156", "157", "158", "160", "165", "169", "171"]
    effects = audit.effects()
    for column in ("top1_error", "top5_error"):
        clear_from = audit.scatter(column, audit.independent()).clear_from
        rows = effects[effects["column"] == column]
        assert list(rows["points"] > clear_from) == list(rows["clear"])


def test_net_147_keeps_its_shapes_by_other_borders():
    # data/author_nets.csv: cuda-convnet rounds up, so pooling 2/2 leaves 28, not 27.
    pool1 = side_after(55, 2, 2, 0, "ceil")
    conv2 = side_after(pool1, 5, 1, 2 * 1)
    pool2 = side_after(conv2, 2, 2, 0, "ceil")
    conv5 = side_after(pool2, 3, 1, 0)
    assert (pool1, conv2, pool2, conv5, side_after(conv5, 2, 2, 0, "ceil")) == (28, 26, 13, 11, 6)
