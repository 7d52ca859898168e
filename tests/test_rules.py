import pytest

from alexnet_repro.analysis import rules
from alexnet_repro.common import paths
from alexnet_repro.common.errors import UserError
from alexnet_repro.experiments.registry import study
from alexnet_repro.paper.claims import claim

TEXT = (paths.data() / rules.FILE).read_text()


def test_every_rule_is_on_a_claim_and_arms_that_exist():
    for rule in rules.load():
        assert claim(rule.claim)
        for setting in rule.seeds:
            where = rules.SETTINGS[setting]
            assert {rule.arm, rule.against} <= study(where.study, where.scale).arms.keys()


def test_lrn_has_its_control_on_twenty_pairs():
    (control,) = [rule for rule in rules.load() if rule.role == "control"]
    assert (control.claim, control.arm) == ("lrn", "lrn_scale")
    assert (control.seeds["cifar10"], control.seen["cifar10"]) == (20, 5)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("threshold = 1.0", "threshold = -1.0", "threshold=-1.0 is not on the paper's side"),
        ('unit = "points"', 'unit = "×"', "a difference cannot be in '×'"),
        ('role = "primary"', 'role = "main"', "role"),
        ('role = "primary"', 'role = "control"', "a control, and no other, explains"),
        ("seeds = { cifar10 = 20,", "seeds = { cifar = 20,", "seeds"),
        ("seen = { cifar10 = 20 }", "seen = { cifar10 = 21 }", "seen 21 pairs at cifar10, and seeds has 20"),
        ('arm = "no_lrn"', 'arm = "baseline"', "'baseline' is compared with itself"),
        ("version = 2", "version = 3", "must hold version = 2"),
        ("version = 2", "version = 2\nnote = 1", "and nothing else"),
        ('claim = "two_gpu_error"', 'claim = "lrn"', "is the second for cifar10"),
        ("threshold = 1.0", "threshold 1.0", "is no TOML"),
    ],
)
def test_a_damaged_file_names_the_fault(tmp_path, old, new, said):
    path = tmp_path / "rules.toml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(UserError, match=r"rules\.toml") as caught:
        rules.load(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        rules.load(tmp_path / "none.toml")
