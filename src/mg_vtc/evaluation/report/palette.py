"""Light and dark colours of the report, and conversion of matplotlib figures to SVG that supports both."""

import html
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Name: (on a light page, on a dark page). Blue and vermilion are distinguishable with every kind of colour blindness
# (Okabe and Ito, "Color Universal Design", 2008); the contrast of text is at least 4.5 : 1.
PALETTE = {
    "page": ("#ffffff", "#15181c"),
    "panel": ("#f3f5f7", "#1f242a"),
    "ink": ("#1b1f24", "#e6e9ec"),
    "black": ("#14171a", "#14171a"),
    "muted": ("#59636e", "#a2abb5"),
    "line": ("#d0d7de", "#3a424b"),
    "right": ("#0072b2", "#56b4e9"),
    "wrong": ("#b84a00", "#ff9a4d"),
}
PAGE, INK, BLACK, MUTED, LINE, RIGHT, WRONG = (
    PALETTE[name][0] for name in ("page", "ink", "black", "muted", "line", "right", "wrong")
)

# Style of all figures. Class names are never parsed as formulas.
STYLE: dict[Any, Any] = {
    "figure.dpi": 72,  # in an SVG one pixel is one point, so font sizes are pixels
    "figure.facecolor": "none",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


@contextmanager
def drawing(**settings: Any) -> Iterator[None]:
    """Apply the report's matplotlib style within a block or a decorated function."""
    with warnings.catch_warnings(), rc_context(STYLE | settings):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has fonts for them
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, size in pixels, whose texts can be measured."""
    figure = Figure(figsize=(width / 72, height / 72))
    FigureCanvasAgg(figure)
    return figure


def to_svg(figure: Figure, name: str, label: str) -> str:
    """Return a figure as a self-contained `<svg>` element to embed in an HTML page.

    Its colours follow the page, and its texts remain selectable text.

    Args:
        figure: Figure in the colours of the light page.
        name: Prefix of all ids, unique within the page.
        label: Text alternative for screen readers.
    """
    buffer = io.StringIO()
    with drawing(**{"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = re.sub(r"<style.*?</style>", "", buffer.getvalue())  # it would apply to the whole page
    svg = re.sub(r"<[^>]*>", lambda tag: _adapt_tag(tag[0], name), svg[svg.index("<svg") :])
    width, height = (figure.get_size_inches() * 72).round()
    head = (
        f'<svg role="img" aria-label="{html.escape(label)}" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}">'
    )
    return re.sub(r"^<svg[^>]*>", lambda _: head, svg)


def _adapt_tag(tag: str, name: str) -> str:
    """Adapt an SVG tag to an HTML page: unique ids, the page's colours, two decimals."""
    tag = tag.replace("font-family: 'DejaVu Sans'; ", "")  # used for measuring; wider than the page's fonts
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = tag.replace('xlink:href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    for colour, (light, _) in PALETTE.items():
        tag = tag.replace(light, f"var(--{colour})")
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag)
