"""What others wrote comes out of Markdown as it went in, and as nothing else."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

from alexnet_repro.common.errors import printable
from alexnet_repro.common.markup import escaped, escaped_but_code

EXTENSIONS = {"attrs_inline", "colon_fence", "deflist", "dollarmath"}  # as book/_config.yml has them
PARSER: MarkdownIt = create_md_parser(MdParserConfig(enable_extensions=EXTENSIONS), RendererHTML)
HOSTILE = [
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![x](https://example.org/x.png)",
    "{raw}`<b>x</b>`",
    "<https://example.org>",
    "&lt;b&gt;",
    "**x** __y__ ~~z~~ $a$ ^b^",
    "a|b",
    "`x",
    "[x]{.verdict onclick=x}",
    "x[^1]",
    "back\\\\slash\\\\",
]


def shown(text):
    """What a reader sees of the text in the middle of a line: none of it may be an element."""
    (_, inner) = re.fullmatch(r"<p>(a) (.*) b</p>\n", PARSER.render(f"a {escaped(text)} b"), re.DOTALL).groups()
    assert "<" not in inner, inner
    return html.unescape(inner)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(text):
    assert shown(text) == text


@given(st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: printable(text)))
def test_any_text_is_text(text):
    assert shown(f"x{text}x") == printable(f"x{text}x")


def test_a_cell_of_a_table_stays_one():
    table = f"|a|b|\n|---|---|\n|{escaped('x|y')}|{escaped('<b>')}|\n"
    assert PARSER.render(table).count("<td>") == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("`alexnet-repro --help`", "<code>alexnet-repro --help</code>"),
        ("`<b>` and <b>", "<code>&lt;b&gt;</code> and &lt;b&gt;"),
        ("{raw}`<b>`", "{raw}<code>&lt;b&gt;</code>"),
        ("`a`{.b}", "<code>a</code>{.b}"),
        ("``a` <b>", "`<code>a</code> &lt;b&gt;"),
        ("`", "`"),
    ],
)
def test_code_stays_code(text, said):
    assert PARSER.render(f"a {escaped_but_code(text)} b") == f"<p>a {said} b</p>\n"
