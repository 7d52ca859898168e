"""How high the text of a figure is on a phone."""

from matplotlib.figure import Figure
from matplotlib.text import Text

LEAST = 9
"""Pixels that every text of a figure has at least on a phone of 360 pixels."""
PHONE = 312
"""Width of the content of a page there, in pixels."""
PAD = 0.1
"""Inches that the book adds on each side of a notebook's figure, which it cuts to its content."""


def smallest(figure: Figure, cut: bool = True) -> float:
    """Font size of a figure's smallest text in pixels on a phone; cut: as in a notebook, to its content."""
    figure.canvas.draw()
    width = figure.get_tightbbox().width + 2 * PAD if cut else figure.get_figwidth()
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return min(sizes, default=float("inf")) * PHONE / (72 * width)
