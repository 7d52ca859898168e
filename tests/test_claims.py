import tomllib

import pytest

from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError
from alexnet_repro.paper import claims, source_code
from alexnet_repro.site import pages

IDS = (
    "relu_speed",
    "relu_consistent",
    "two_gpu_error",
    "equal_parameters",
    "two_gpu_time",
    "column_links",
    "lrn",
    "lrn_generalization",
    "lrn_cifar",
    "overlapping_pooling",
    "pooling_dimensions",
    "overlapping_pooling_overfit",
    "architecture",
    "overfitting",
    "augmentation",
    "augmentation_free",
    "pca_color",
    "ten_crop",
    "dropout_overfit",
    "dropout_convergence",
    "dropout_mean",
    "weight_decay",
    "decay_to_learn",
    "bias_one",
    "lr_schedule",
    "equal_rates",
    "throughput",
    "previous_best",
    "result_2010",
    "result_2012",
    "challenge_2012",
    "validation_test",
    "pretraining_2012",
    "ensemble",
    "fall_2009",
    "filters",
    "specialization_cause",
    "kernel_variety",
    "top5_reasonable",
    "features",
    "any_layer",
    "depth",
    "longer_training",
    "larger_net",
    "source",
)
MEASURED = """
[[claim]]
id = "lrn"
version = 1
section = "3.3"
title = "t"
statement = "s"
paper = "1.4"
[[claim.measured]]
study = "lrn"
setting = "s"
metric = "test_error"
comparison = "difference"
arm = "no_lrn"
against = "baseline"
unit = "points"
size = 0.7
rule = "r"
"""


def test_where_a_claim_stands_in_words():
    assert claims.claim("ten_crop").where == "sections 4.1 and 6"
    assert claims.claim("ensemble").where == "section 6, Table 2"
    assert claims.claim("lrn").where == "section 3.3"
    assert claims.claim("any_layer").where == "sections 1 and 7"
    assert claims.claim("source").where == "sections 3 to 5"


def test_every_claim_is_there_in_the_papers_order():
    assert tuple(claim.id for claim in claims.load()) == IDS


def test_the_evidence_is_that_of_the_list():
    kinds = {claim.id: "".join(kind[0] for kind in claims.KINDS if getattr(claim, kind)) for claim in claims.load()}
    assert len({kind[0] for kind in claims.KINDS}) == len(claims.KINDS)  # a letter tells them apart
    audited_only = {"lr_schedule", "result_2010", "result_2012", "pretraining_2012", "fall_2009", "validation_test"}
    both = {"two_gpu_error", "column_links", "lrn", "overlapping_pooling", "ten_crop"}
    assert {name for name, kind in kinds.items() if kind == "a"} == audited_only
    assert {name for name, kind in kinds.items() if kind == "ma"} == both
    derived = {"architecture", "augmentation", "two_gpu_time", "equal_parameters", "pooling_dimensions"}
    assert {name for name, kind in kinds.items() if "d" in kind} == derived | {"overfitting", "dropout_mean"}
    observed = {"relu_consistent", "lrn_generalization", "decay_to_learn", "specialization_cause", "larger_net"}
    assert {name for name, kind in kinds.items() if kind == "o"} == observed
    untested = {"augmentation_free", "kernel_variety", "top5_reasonable", "any_layer"}
    assert {name for name, kind in kinds.items() if kind == "u"} == untested
    assert {name: kind for name, kind in kinds.items() if "p" in kind or "s" in kind} == {
        "previous_best": "pu",
        "challenge_2012": "pu",
        "equal_rates": "s",
        "source": "s",
    }


def test_a_claim_without_a_rule_brings_no_measurement_of_its_own():
    """What stage one measured, by its rules: as many comparisons as before the list grew."""
    assert sum(len(claim.measured) for claim in claims.load()) == 28


def test_every_claim_has_a_page():
    links = pages.pages(claims.load())
    assert [name for name, link in links.items() if not link.startswith("pages/")] == []


def test_every_statement_that_the_source_can_answer_is_a_claim_once():
    items = [entry.item for claim in claims.load() for entry in claim.sourced]
    assert sorted(items) == sorted(row.item for row in source_code.rows() if row.says != "silent")


def test_every_measured_rule_is_complete():
    for claim in claims.load():
        for entry in claim.measured:
            assert "95 % interval" in entry.rule, claim.id
            assert f"{entry.size:g}" in entry.rule, claim.id


def test_subtle_effects_get_twenty_seeds():
    by_id = {claim.id: claim for claim in claims.load()}
    for name in ("overlapping_pooling", "lrn", "two_gpu_error", "column_links", "depth", "pca_color"):
        assert all(entry.seeds >= 20 for entry in by_id[name].measured)


def test_the_first_rule_stands_as_it_was_written():
    (entry,) = claims.claim("relu_speed").measured
    assert (entry.size, entry.paper_value, entry.seeds) == (3.0, 6.0, 5)


def test_an_unknown_claim_lists_the_valid_ones():
    with pytest.raises(
        UserError, match=r"unknown claim 'relu': choose one of any_layer, architecture, .*relu_speed"
    ) as error:
        claims.claim("relu")
    assert all(name in str(error.value) for name in IDS)


def _load(tmp_path, text):
    path = tmp_path / "claims.toml"
    path.write_text(text)
    return claims.load(path)


def test_a_minimal_file_loads(tmp_path):
    (claim,) = _load(tmp_path, MEASURED)
    (entry,) = claim.measured
    assert (entry.null, entry.seeds, entry.label, entry.against_metric) == (0, 5, "", None)
    assert _load(tmp_path, MEASURED.replace('"baseline"', "208"))[0].measured[0].against == 208.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "t"\n', "", r"claim 'lrn' at title: Field required"),
        ('title = "t"\n', 'title = ""\n', r"claim 'lrn' at title: String should have at least 1 character"),
        ("version = 1", 'version = "1"', r"claim 'lrn' at version: .*integer"),
        ("size = 0.7", "size = 0.7\nsizes = 1", r"claim 'lrn' at measured\.0\.sizes: Extra inputs"),
        ("size = 0.7", "size = nan", r"claim 'lrn' at measured\.0\.size: .*finite"),
        ("size = 0.7", "size = -0.7", r"claim 'lrn' at measured\.0: size=-0\.7 is not on the paper's side"),
        ("size = 0.7", "size = 0.7\nseeds = 2", r"measured\.0\.seeds: .*greater than or equal to 3"),
        ('unit = "points"', 'unit = "×"', r"measured\.0: a difference cannot be in '×'"),
        ('unit = "points"', 'unit = "%"', r"measured\.0\.unit: Input should be 'points'"),
        ('comparison = "difference"', 'comparison = "quotient"', r"measured\.0\.comparison: "),
        ('"baseline"', '"no_lrn"', r"measured\.0: 'no_lrn' is compared with itself"),
        ("[[claim.measured]]", "[[claim.meassured]]", r"claim 'lrn' at meassured: Extra inputs"),
        ('id = "lrn"\n', "", r"claim 'number 1' at id: Field required"),
        ('id = "lrn"', 'id = "LRN!"', r"claim 'LRN!' at id: String should match"),
        ("version = 1", "version = 1979-05-27", r"claim 'lrn' at version: "),
        ("[[claim]]", "[claim", r"is no TOML"),
        ("[[claim]]", "[[claims]]", r"must hold \[\[claim\]\] entries"),
    ],
)
def test_a_malformed_file_is_one_line_with_entry_and_field(tmp_path, old, new, message):
    assert old in MEASURED
    with pytest.raises(UserError, match=message) as error:
        _load(tmp_path, MEASURED.replace(old, new, 1))
    assert "\n" not in str(error.value)
    assert "claims.toml" in str(error.value)


def test_a_claim_needs_evidence_labels_and_its_own_id(tmp_path):
    head, entry = MEASURED.split("[[claim.measured]]")
    with pytest.raises(UserError, match="claim 'lrn': has no evidence"):
        _load(tmp_path, head)
    with pytest.raises(UserError, match="claim 'lrn': labels"):
        _load(tmp_path, MEASURED + "[[claim.measured]]" + entry)
    with pytest.raises(UserError, match="'lrn' stands there twice"):
        _load(tmp_path, MEASURED + MEASURED)
    with pytest.raises(UserError, match="cannot read"):
        claims.load(tmp_path / "none.toml")


AUDITED = """
[[claim.audited]]
column = "top1_error"
train_set = "ILSVRC-2012"
net = "148"
against = "145"
unit = "points"
paper_value = 1.4
"""


DERIVED = '[[claim.derived]]\nquantity = "crops"\nunit = "variants"\npaper_value = 2048\nrule = "r"\n'
OBSERVED = """
[[claim.observed]]
study = "lrn"
setting = "s"
metric = "gap"
comparison = "difference"
arm = "half as wide"
against = "baseline"
unit = "points"
"""
PUBLISHED = """
[[claim.published]]
label = "l"
entry = "e"
quantity = "shared nets"
others = "o"
unit = "nets"
paper_value = 5.0
"""


BOUND = AUDITED + 'comparison = "at most"\n'


@pytest.mark.parametrize(
    ("entry", "old", "new", "message"),
    [
        (AUDITED, 'unit = "points"', 'unit = "%"', r"audited\.0: unit='%' does not fit .*'points'"),
        (AUDITED, 'net = "148"\n', "", r"audited\.0: '145' is compared with no net"),
        (AUDITED, 'against = "145"\nunit = "points"\npaper_value = 1.4', 'unit = "%"', r"\.0: without a paper_value"),
        (AUDITED, 'column = "top1_error"', 'column = "top1"', r"audited\.0\.column: "),
        (BOUND, "paper_value = 1.4\n", "", r"audited\.0: at most is of a difference"),
        (DERIVED, "2048", '2048\ncomparison = "above"\ntolerance = 0.1', r"\.0: tolerance=0\.1 has no meaning above a"),
        (DERIVED, "2048", "2048\ntolerance = 1.0", r"derived\.0\.tolerance: .*less than 1"),
        (OBSERVED, 'unit = "points"', 'unit = "×"', r"observed\.0: a difference cannot be in '×'"),
        (
            OBSERVED,
            '"half as wide"',
            '"baseline"',
            r"observed\.0: 'baseline' is compared with itself: name another arm",
        ),
        (OBSERVED, 'unit = "points"', 'unit = "points"\nrule = "r"', r"observed\.0\.rule: Extra inputs"),
        (PUBLISHED, 'unit = "nets"', 'unit = "%"', r"published\.0: unit='%' does not fit 'shared nets'"),
        (PUBLISHED, 'others = "o"\n', "", r"published\.0: others goes with 'shared nets', and only there"),
        (PUBLISHED, '"shared nets"', '"nets"', r"published\.0: others goes with 'shared nets', and only there"),
        ('[[claim.untested]]\nreason = "r"\n', 'reason = "r"', "", r"untested\.0\.reason: Field required"),
        ('[[claim.sourced]]\nitem = "i"\n', '"i"', '""', r"sourced\.0\.item: String should have at least 1"),
    ],
)
def test_a_malformed_entry_of_each_kind_is_named(tmp_path, entry, old, new, message):
    assert _load(tmp_path, MEASURED + entry)
    assert old in entry
    with pytest.raises(UserError, match=message):
        _load(tmp_path, MEASURED + entry.replace(old, new))


def test_an_observed_arm_may_be_compared_with_itself_in_another_study(tmp_path):
    same = OBSERVED.replace('"half as wide"', '"baseline"')
    assert _load(tmp_path, MEASURED + same + 'against_study = "longer"\n')
    with pytest.raises(UserError, match="is compared with itself"):
        _load(tmp_path, MEASURED + same + 'against_study = "lrn"\n')


def test_no_number_of_the_list_is_lost():
    """The paper's values, literally, as read in the paper."""
    values = {
        claim.id: [entry.paper_value for entry in (*claim.measured, *claim.audited, *claim.published)]
        for claim in claims.load()
    }
    assert values["two_gpu_error"] == [1.7, 1.7, 1.2]
    assert values["lrn"] == [1.4, 1.4, 1.4, 1.2]
    assert values["lrn_cifar"] == [2.0, 2.0]
    assert values["overlapping_pooling"] == [0.4, 0.4, 0.3]
    assert values["pca_color"] == [1.0, 1.0]
    assert values["ten_crop"] == [1.5, 39.0, 18.3, 37.5, 17.0]
    assert values["dropout_convergence"] == [2.0]
    assert values["result_2010"] == [37.5, 17.0]
    assert values["result_2012"] == [40.7, 18.2]
    assert values["pretraining_2012"] == [39.0, 16.6]
    assert values["fall_2009"] == [67.4, 40.9]
    assert values["depth"] == [2.0, 2.0, 2.0]
    assert values["previous_best"] == [47.1, 28.2]
    assert values["challenge_2012"] == [15.3, 26.2, 16.4, 7.0, 5.0, 2.0]
    assert values["validation_test"] == [0.1, 0.1]


def test_the_file_is_plain_toml():
    assert set(tomllib.loads((paths.data() / "claims.toml").read_text())) == {"claim"}
