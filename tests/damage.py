"""Damaged content, for hypothesis, and what is to come of it."""

import os
from collections.abc import Callable
from typing import NoReturn

from hypothesis import strategies as st

from alexnet_repro.common.errors import UserError


def bent(draw, content: bytes) -> bytes:
    """The bytes with a few of them cut out, exchanged or put in."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 0, 1, 1, 8, 100])))
        content = content[:start] + draw(st.binary(max_size=12)) + content[end:]
    return content


def flipped(content: bytes, place: int) -> bytes:
    """The bytes with one bit of the byte at ``place`` flipped."""
    spoiled = bytearray(content)
    spoiled[place] ^= 1 << place % 8
    return bytes(spoiled)


def failing(number: int) -> Callable[..., NoReturn]:
    """A call of the operating system that fails with this number."""

    def call(*args: object, **kwargs: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return call


def one_line(error: UserError) -> None:
    """What a user reads of it: one line, and an exit code that says whose fault it is."""
    assert str(error).isprintable(), str(error)
    assert error.code in (1, 2)
