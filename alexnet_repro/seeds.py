"""Curves of single seeds, one by one: a figure with a line per seed, as a page's reader can take it apart."""

import re

from IPython.display import HTML
from matplotlib.figure import Figure

from .figures import close, svg

LINE = re.compile(r'<g id="seed-(\d+)">')
ID = re.compile(r' id="([^"]+)"')
REFERENCE = re.compile(r"#([^\")\s]+)")


def one_by_one(figure: Figure) -> HTML:
    """The figure as a drawing that unfolds; the site's script lets a reader choose a seed, whose lines then stand out.

    The lines of seed N carry the gid "seed-N", as those of ``figures.training_curves`` do.
    """
    drawing = svg(figure)
    close(figure)
    drawing = drawing[drawing.index("<svg") :].replace(
        "<svg ", '<svg role="img" aria-label="Curves, a line per seed" ', 1
    )
    drawing = LINE.sub(r'<g data-seed="\1">', drawing)
    # Several drawings share a page: of their ids stay those that the drawing itself points to.
    used = set(REFERENCE.findall(drawing))
    drawing = ID.sub(lambda match: match[0] if match[1] in used else "", drawing)
    return HTML(f'<details class="seeds"><summary>Look at single seeds</summary>\n{drawing}</details>')
