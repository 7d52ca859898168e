"""Format numbers, units and intervals, the same on the command line and in the book."""

import math
import re


def with_unit(text: str, unit: str) -> str:
    """A number with its unit: "6×", "1 point", "1.4 points"."""
    return f"{text}×" if unit == "×" else f"{text} {unit.removesuffix('s') if text == '1' and unit.isalpha() else unit}"


def probability(p: float) -> str:
    """A p-value as text: "p = 0.032", "p < 0.0001", "p > 0.99"."""
    return "p < 0.0001" if p < 0.0001 else "p > 0.99" if p > 0.99 else f"p = {p:.2g}"


NONE = "–"


def with_interval(effect: float | None, interval: tuple[float, float] | None, unit: str) -> str:
    """An effect with its unit and interval: "1.52× (1.40 to 1.66)", "3× (above 2)" if one end is open.

    A dash for None.
    """
    if effect is None:
        return NONE
    text = with_unit(number(effect), unit)
    if interval is None:
        return text
    low, high = interval
    if math.isinf(low) and math.isinf(high):
        return text
    if math.isinf(high):
        return f"{text} (above {number(low)})"
    return f"{text} (below {number(high)})" if math.isinf(low) else f"{text} ({number(low)} to {number(high)})"


def number(value: float) -> str:
    """A number with two decimals, or one digit if it is below 0.005; whole numbers without decimals, as "12,345"."""
    text = f"{value:,.0f}" if value == round(value) else f"{value:,.2f}" if abs(value) >= 0.005 else f"{value:.1g}"
    return text.replace("-", "−")


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def slug(text: str) -> str:
    """A name for a file: the letters and digits of a text in small letters, with hyphens between."""
    return "-".join(re.findall("[a-z0-9]+", text.lower()))
