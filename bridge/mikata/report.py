"""Self-contained HTML pages: one file with its pictures inside, which opens offline on any machine.

Sentences and headings are in the user's language; class names and names of columns stay as they are.
"""

from __future__ import annotations

import base64
import io
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mikata.evaluation import Figure as ScoreFigure
from mikata.evaluation import Report, ValueReport, words
from mikata.language import language, say
from mikata.types import Table

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_JAPANESE_FONTS = (  # of Windows, macOS and Linux
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
    "Hiragino Sans",
    "Hiragino Kaku Gothic ProN",
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "IPAexGothic",
    "IPAGothic",
    "VL Gothic",
    "TakaoGothic",
)

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", "Hiragino Sans", "Yu Gothic UI", Meiryo,
       "Noto Sans CJK JP", sans-serif;
       color: #1c2733; margin: 0 auto; max-width: 60rem; padding: 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
.notice { background: #fff4d6; border-left: 4px solid #d99a00; padding: .4rem .8rem; margin: .8rem 0 1.2rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; } figure img { max-width: 100%; height: auto; display: block; border: 1px solid #d5dce3; }
figcaption { font-size: .85rem; color: #52606d; max-width: 34rem; margin-top: .3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { border-bottom: 1px solid #d5dce3; padding: .3rem .7rem; text-align: left; }
th { word-break: keep-all; } td.number { text-align: right; }
.matrix td { text-align: center; min-width: 4rem; height: 2.4rem; } .matrix td.dark { color: white; }
.figure-value { font-size: 1.6rem; font-weight: 600; }
"""


def page(title: str, lead: str, sections: Iterable[tuple[str, str]]) -> str:
    """A whole page; `lead` is plain text, sections are (heading, HTML)."""
    notice = escape(say("Research use, not for diagnosis."))
    body = "".join(f"<section><h2>{escape(heading)}</h2>{html}</section>" for heading, html in sections)
    return (
        f'<!DOCTYPE html><html lang="{language()}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f'<h1>{escape(title)}</h1><p>{escape(lead)}</p><p class="notice">{notice}</p>{body}</body></html>\n'
    )


def paragraph(text: str) -> str:
    """Plain text as a paragraph."""
    return f"<p>{escape(text)}</p>"


def headline(value: str, meaning: str) -> str:
    """A large figure with what it means under it."""
    return f'<p><span class="figure-value">{escape(value)}</span><br>{escape(meaning)}</p>'


def table(content: Table) -> str:
    """A table; floats with four significant digits (the CSV has them all)."""
    head = "".join(f"<th>{escape(str(c))}</th>" for c in content.columns)
    rows = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in content.rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td class="number">{value}</td>'
    return f"<td>{escape('' if value is None else str(value))}</td>"


def scores(found: Report | ValueReport) -> str:
    """Every score with its interval, in a table."""
    return figures(found.figures(say))


def figures(found: Iterable[ScoreFigure]) -> str:
    """Figures with their intervals, in a table."""
    columns = (
        say("figure"), say("value"), say("low"), say("high"), say("level"), say("interval"), say("n"),
        say("independent"),
    )  # fmt: skip
    rows = [
        (
            f.name,
            *map(_defined, (f.value, f.low, f.high)),
            f.level,
            words.method(f.method),
            f.n,
            words.unit(f.unit),
        )
        for f in found
    ]
    return table(Table("", columns, tuple(rows)))


def _defined(value: float) -> float | str:
    return value if math.isfinite(value) else say("not defined")


def pairs(content: Mapping[str, object]) -> str:
    """Names and values in two columns."""
    return table(Table("", ("", ""), tuple((k, str(v)) for k, v in content.items())))


def pictures(items: Iterable[str]) -> str:
    """Pictures side by side, as the width allows."""
    return f'<div class="pictures">{"".join(items)}</div>'


def picture(pixels: NDArray[np.uint8], caption: str, width: int | None = None) -> str:
    """An image (H, W) or (H, W, 3) as PNG, shown `width` CSS px wide."""
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "PNG")
    return _figure("image/png", buffer.getvalue(), caption, width)


def plot(figure: Figure, caption: str) -> str:
    """A matplotlib figure as SVG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return _figure("image/svg+xml", buffer.getvalue(), caption, None)


def _figure(kind: str, data: bytes, caption: str, width: int | None) -> str:
    size = f' width="{width}"' if width else ""
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return (
        f'<figure><img src="{source}"{size} alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """The confusion matrix as a table: rows are the truth, columns the prediction, shades the share of a row.

    A table and not a plot: class names in any script are then shown in the reader's own fonts.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in classes)
    predicted, truth = escape(say("predicted")), escape(say("truth"))
    rows = ""
    for name, counts in zip(classes, confusion, strict=True):
        total = max(sum(counts), 1)
        rows += f"<tr><th>{escape(name)}</th>"
        for count in counts:
            dark = ' class="dark"' if count / total > 0.5 else ""
            rows += f'<td{dark} style="background: rgb(8 48 107 / {count / total:.3f})">{count}</td>'
        rows += "</tr>"
    return (
        '<div class="wide"><table class="matrix"><thead>'
        f'<tr><th></th><th colspan="{len(classes)}">{predicted}</th></tr><tr><th>{truth}</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>" + paragraph(say("Numbers of test images."))
    )


def curves_plot(history: Sequence[Mapping[str, Any]], best_epoch: int, unit: str = "") -> Figure:
    """Loss and accuracy (of values, mean absolute error in `unit`) over the epochs, with the epoch that was kept."""
    from matplotlib.figure import Figure

    names = {
        "loss": say("loss"),
        "accuracy": say("accuracy"),
        "mae": say("mean absolute error"),
        "dice": say("Dice"),
        "f1": say("F1"),
        "training": say("training"),
        "selection": say("selection"),
        "kept": say("kept"),
        "epoch": say("epoch"),
    }
    font: dict[str, list[str]] = {}
    if language() == "ja":
        found = _japanese_font()
        # without a font that has the letters matplotlib draws a box for each
        names, font = (names, {"family": [found]}) if found else ({name: name for name in names}, {})
    epochs = [row["epoch"] for row in history]
    other = next(
        (w for w in ("mae", "dice", "f1") if any(f"selection_{w}" in row for row in history)), "accuracy"
    )
    figure = Figure(figsize=(8, 3))
    for axes, what in zip(figure.subplots(1, 2), ("loss", other), strict=True):
        for part in ("training", "selection"):
            values = [row.get(f"{part}_{what}") for row in history]
            if any(v is not None for v in values):
                axes.plot(epochs, values, marker=".", label=names[part])
        axes.axvline(best_epoch, color="grey", linestyle=":", label=names["kept"])
        axes.set_xlabel(names["epoch"], **font)
        measured = f" [{unit}]" if what == "mae" and unit and (font or _everywhere(unit)) else ""
        axes.set_ylabel(names[what] + measured, **font)
    axes.legend(prop=font or None)
    figure.tight_layout()
    return figure


def agreement_plot(found: ValueReport) -> Figure:
    """Left: predicted against true values, with the line of equality; right: the plot of Bland and Altman.

    Bland and Altman's (1986, doi 10.1016/S0140-6736(86)90837-8) shows the difference of the two (predicted less true)
    against their mean, with the bias and the limits of agreement.
    """
    from matplotlib.figure import Figure

    true, predicted, agreed = found.true, found.predicted, found.agreement
    unit = f" [{found.value_unit}]" if found.value_unit else ""
    names = [say("true value"), say("predicted value"), say("mean of both"), say("predicted - true")]
    font: dict[str, list[str]] = {}
    if not _everywhere(unit, *names):
        japanese = _japanese_font()
        if japanese:
            font = {"family": [japanese]}
        else:  # matplotlib would draw a box for each letter
            names = ["true value", "predicted value", "mean of both", "predicted - true"]
            unit = unit if _everywhere(unit) else ""
    x_name, y_name, mean_name, difference_name = (name + unit for name in names)
    figure = Figure(figsize=(9, 4))
    left, right = figure.subplots(1, 2)
    both = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    left.plot(both, both, color="grey", linestyle=":")
    left.plot(true, predicted, linestyle="", marker=".")
    left.set_xlabel(x_name, **font)
    left.set_ylabel(y_name, **font)
    right.plot((true + predicted) / 2, predicted - true, linestyle="", marker=".")
    for line, style in ((agreed.bias, "-"), (agreed.lower_limit, "--"), (agreed.upper_limit, "--")):
        if math.isfinite(line.value):
            right.axhline(line.value, color="grey", linestyle=style)
    right.axhline(0, color="grey", linestyle=":", linewidth=0.8)
    right.set_xlabel(mean_name, **font)
    right.set_ylabel(difference_name, **font)
    figure.tight_layout()
    return figure


def _everywhere(*texts: str) -> bool:
    """Whether matplotlib's own font has the letters: Latin and Greek, so that mm² and µm are shown."""
    return all(ord(letter) < 0x400 for text in texts for letter in text)


class Letters(NamedTuple):
    """Words for a plot, and the font that has their letters (keywords for matplotlib's texts)."""

    words: list[str]
    font: dict[str, list[str]]


def letters(words: Sequence[str]) -> Letters:
    """Words that a plot can show: numbers from 1 where no font of this machine has their letters."""
    if all(word.isascii() for word in words):
        return Letters(list(words), {})
    found = _japanese_font()
    if found:
        return Letters(list(words), {"family": [found]})
    return Letters([word if word.isascii() else str(n) for n, word in enumerate(words, 1)], {})


def _japanese_font() -> str | None:
    """The first of the usual Japanese fonts that this machine has."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    # matplotlib keeps a list of the fonts it once found, which lacks those installed since
    for path in set(findSystemFonts()) - {font.fname for font in fontManager.ttflist}:
        with suppress(OSError, RuntimeError):  # a font that cannot be read is none
            fontManager.addfont(path)
    installed = {font.name for font in fontManager.ttflist if Path(font.fname).is_file()}
    return next((name for name in _JAPANESE_FONTS if name in installed), None)


def versions() -> dict[str, str]:
    """Versions of what makes the figures."""
    names = ("mikata", "torch", "torchvision", "lightning", "numpy", "tifffile", "roifile", "bioimageio.core")
    return {"Python": platform.python_version(), say("system"): platform.platform(terse=True)} | {
        name: version(name) for name in names
    }
