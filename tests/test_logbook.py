"""The page of the 2012 notebook says what the audit found."""

import pytest

from alexnet_repro.analysis import audit
from alexnet_repro.report import author_log


def test_the_words_count_the_table():
    words, table = author_log.audited_words().data, author_log.audited_table()
    assert "22 comparisons below check a number that the paper prints against the log. 19 agree" in words
    assert "1 disagree (Validation and test error are alike, top-1), and 2 are not in the log" in words
    assert all(f"(../_generated/records/{name})" in words for name in audit.TABLES)
    assert len(table) == 26
    assert "39.0 %" in set(table["paper"])  # as printed


def test_what_others_published_is_a_row_each_with_its_place():
    text = author_log.published_rows().data
    assert text.count("<https://image-net.org/challenges/LSVRC/2012/results.html>") == 6
    assert text.count("<https://doi.org/10.1109/CVPR.2011.5995477>") == 2
    assert "| seven nets, test, top-5 | 15.3 % | 15.31 % | [agrees]" in text
    assert text.count("The competition of 2012") == 1


def test_nets_by_name_with_their_errors():
    text = author_log.nets_table("166", "167").data
    assert "| 167 | no cross-map normalization over conv2 | 40.49 | 18.12 |" in text
    assert text.count("\n") == 3


def test_scatter_and_effects_in_words():
    scatter, effects = author_log.scatter_words().data, author_log.effects_words().data
    assert "170 from 169, 174 from 169" in scatter
    assert "40.42 to 41.37 %" in scatter
    assert "stand clear of the scatter: half net, no links, no normalization" in effects
    assert "do not: 2 × 2 pooling, shorter training" in effects
    assert "gained 0.41 points: more than the 0.39 points" in effects


@pytest.mark.parametrize("column", ["top1_error", "top5_error"])
def test_the_bars_are_the_effects(column):
    axes = author_log.figure(column).axes[0]
    effects = audit.effects().query("column == @column")
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(effects["points"].tolist())
    dots = [x for line in axes.lines[:2] for x in line.get_xdata()]
    assert len(dots) == len(audit.variants())
    assert len(axes.lines[2].get_xdata()) == 45  # pairs of ten


def test_compared_nets_and_what_else_differs():
    table = author_log.compared_table().set_index("net")
    assert table.loc["145", "rate / 10 at epochs"] == "25, 51, 79"
    assert "160 kernels" in table.loc["150", "its layer file also has"]
    assert table.loc["147", "bias rate left behind"] == "0.002"
    assert list(author_log.variants_table()["goes on from"]).count("169") == 2
