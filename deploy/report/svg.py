"""A matplotlib figure to an SVG that belongs into a page: its colours and fonts are the page's, and it can be read out.

Matplotlib draws in colours that stand for roles; here each becomes a variable of the page's style sheet, which has
other values in light and in dark. Nothing in the SVG depends on the time, on chance or on what was drawn before.
"""

import io
import re
import warnings
import xml.etree.ElementTree as ET
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from maskmill.deploy.terminal.printable import visible

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"

# What matplotlib is told to draw with, and the variable of the style sheet that it becomes. Black is left out, because
# matplotlib does not write it down.
INK, MUTED, GRID, PAPER, FIRST, SECOND = COLOURS = [f"#00000{number}" for number in range(1, 7)]
VARIABLES = dict(zip(COLOURS, ("--ink", "--muted", "--grid", "--card", "--first", "--second")))

TEXT = 12
WIDTH, HEIGHT = 360, 240  # of a chart, in the units of its text, which has TEXT of them

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: the reader's own font, to be searched and read out
    "svg.hashsalt": "maskmill",  # else its ids are drawn at random
    "figure.dpi": 72,  # so that a point is a unit
    "font.size": TEXT,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a token begins no formula
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def new_figure(height: float = HEIGHT) -> Figure:
    """An empty chart, to be filled and turned into SVG within `in_style()`."""
    return Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")


def to_svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    """A figure as an `<svg>` element for an HTML page.

    Args:
        figure: made by `new_figure`.
        name: of the chart, unlike any other's on the page: the ids within begin with it.
        title: what the chart shows, for screen readers.
        description: what there is to see in it, in words.
    """
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # in matplotlib's font, in which the page is not written
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ET.fromstring(file.getvalue())
    for parent in list(root.iter()):
        for tag in ("metadata", "style"):  # a style sheet in an SVG would be one of the whole page
            for child in parent.findall(f"{{{SVG}}}{tag}"):
                parent.remove(child)
    for element in root.iter():
        _restyle(element)
    _rename_ids(root, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-description")
    for tag, text in (("desc", description), ("title", title)):
        child = ET.Element(f"{{{SVG}}}{tag}", id=f"{name}-{'title' if tag == 'title' else 'description'}")
        child.text = visible(text)
        root.insert(0, child)
    return Markup(_serialise(root))


def _restyle(element: ET.Element) -> None:
    """Gives an element the page's colours and font."""
    style = element.get("style", "")
    for colour, variable in VARIABLES.items():
        style = style.replace(colour, f"var({variable})")
    style = re.sub(r"font: (?:[a-z]+ )*([\d.]+px)[^;]*", r"font-size: \1", style)
    style = re.sub(r"font-family: [^;]*;? ?", "", style)
    if style:
        element.set("style", style)


def _rename_ids(root: ET.Element, name: str) -> None:
    """Puts the chart's name before the ids that are referred to, and takes the others away."""
    attributes = ("clip-path", "style", f"{{{XLINK}}}href", "href")
    used = {
        id for element in root.iter() for key in attributes for id in re.findall(r"#([\w-]+)", element.get(key, ""))
    }
    for element in root.iter():
        if element.get("id") in used:
            element.set("id", f"{name}-{element.get('id')}")
        else:
            element.attrib.pop("id", None)
        for key in attributes:
            if key in element.attrib:
                element.set(key, re.sub(r"#([\w-]+)", rf"#{name}-\1", element.attrib[key]))


def _serialise(root: ET.Element) -> str:
    """Its text as HTML has it, without namespaces, each number with as many digits as can be seen."""
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        if link := element.attrib.pop(f"{{{XLINK}}}href", None):
            element.set("href", link)
        for key in ("d", "x", "y", "transform", "width", "height", "points"):
            if key in element.attrib:
                element.set(key, re.sub(r"-?\d+\.\d+(?:e-?\d+)?", _shorten, element.attrib[key]))
        element.tail = None
        if element.text and not element.text.strip():
            element.text = None
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _shorten(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def in_style() -> AbstractContextManager[None]:
    """Our style over matplotlib as it came, whatever the user has set."""
    return matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE})  # type: ignore[dict-item]
