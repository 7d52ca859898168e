"""Damaged content, for hypothesis, and what is to come of it."""

from hypothesis import strategies as st

from alexnet_repro.common.errors import UserError


def bent(draw, content: bytes) -> bytes:
    """The bytes with a few of them cut out, exchanged or put in."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 0, 1, 1, 8, 100])))
        content = content[:start] + draw(st.binary(max_size=12)) + content[end:]
    return content


def one_line(error: UserError) -> None:
    """What a user reads of it: one line, and an exit code that says whose fault it is."""
    assert str(error).isprintable(), str(error)
    assert error.code in (1, 2)
