"""The confusion matrix as a picture."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

from maskmill.model.tasks.metrics import Confusion
from maskmill.pipeline.storage.storage import write_bytes

PICTURE = "confusion.png"
MOST_NUMBERS = 20  # labels, up to which each cell shows its number


def draw_confusion(folder: Path, confusion: Confusion, labels: Sequence[str]) -> None:
    """Writes `confusion.png`: a row for each label, a column for what it is taken for, colours by shares of a row."""
    from matplotlib.figure import Figure  # not pyplot, which looks for a display

    size = min(4 + 0.45 * len(labels), 24)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    shares = confusion / confusion.sum(axis=1, keepdims=True).clip(1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the label's rows")
    places = range(len(labels))
    names = [label if len(label) <= 24 else f"{label[:23]}…" for label in labels]
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(places, names, parse_math=False)
    axes.set(xlabel="taken for", ylabel="label")
    if len(labels) <= MOST_NUMBERS:
        for row in places:
            for column in places:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{confusion[row, column]:,}", ha="center", va="center", color=color)
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a script that the font has not; a box stands for it
        figure.savefig(picture, dpi=120)
    write_bytes(folder / PICTURE, picture.getvalue())
