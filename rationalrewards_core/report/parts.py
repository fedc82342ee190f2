"""Small pieces of HTML: pictures, bars, diffs, charts. Each function escapes what it is given."""

from __future__ import annotations

import difflib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from ..critique import Critique, Judgement
from ..images import data_url
from ..rubric import NOT_APPLICABLE, Rubric
from .plot import Plot

SMALL_PIXELS = 128
"""Images up to this width are enlarged without smoothing, so that their pixels can be seen."""
MOST_WIDTH = 512
"""Larger images are scaled down for the report."""


def escaped(text: str) -> str:
    return html.escape(text, quote=True)


def picture(image: Image.Image, description: str) -> str:
    """An inline image with an alternative text."""
    if image.width > MOST_WIDTH:
        image = image.resize((MOST_WIDTH, max(1, round(image.height * MOST_WIDTH / image.width))))
    kind = ' class="small"' if image.width <= SMALL_PIXELS else ""
    return f'<img{kind} src="{data_url(image)}" alt="{escaped(description)}">'


def dimension_bars(critique: Critique, rubric: Rubric) -> str:
    """Score, bar and justification of every dimension; N/A is said, never drawn as a bar."""
    return "".join(_dimension(critique.judgement(d.key), d.title, rubric) for d in rubric.dimensions)


def _dimension(judgement: Judgement, title: str, rubric: Rubric) -> str:
    if judgement.score is None:
        bar, score = "", NOT_APPLICABLE
    else:
        share = 100 * rubric.scale.normalise(judgement.score)
        bar = f'<i><s style="width:{share:.1f}%"></s></i>'
        sampled = judgement.samples and judgement.spread is not None
        score = f"{judgement.score:g}" + (f" ± {judgement.spread:.1f}" if sampled else "")
    return (
        f'<div class="dimension"><div><span>{escaped(title)}</span><b>{score}</b></div>{bar}'
        f"<p>{escaped(judgement.justification)}</p></div>"
    )


def word_diff(before: str, after: str) -> str:
    """`after` with added words marked and the words of `before` that went struck out."""
    old, new = _words(before), _words(after)
    pieces = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag in ("delete", "replace"):
            pieces.append(f"<del>{escaped(''.join(old[i1:i2]).strip())}</del> ")
        if tag in ("insert", "replace"):
            pieces.append(f"<ins>{escaped(''.join(new[j1:j2]).strip())}</ins> ")
        if tag == "equal":
            pieces.append(escaped("".join(new[j1:j2])))
    return "".join(pieces).strip()


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    values: Sequence[float]
    colour: str
    dashed: bool = False


def line_chart(lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """An SVG line chart; x is 1, 2, 3, ..., y is scaled to the data within 0..1."""
    width, height, left, bottom, top = 720, 260, 48, 40, 16
    values = [v for line in lines for v in line.values]
    count = max((len(line.values) for line in lines), default=0)
    if not values or count == 0:
        return ""
    low, high = max(0.0, min(values) - 0.05), min(1.0, max(values) + 0.05)
    high = high if high > low else low + 0.1

    plot = Plot(
        left=left,
        right=width - 16,
        top=top,
        bottom=height - bottom,
        x_range=(0, count - 1),
        y_range=(low, high),
    )
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escaped(y_label)} by {escaped(x_label)}">']
    parts += plot.levels(5, ".2f")
    for i in range(count):
        parts.append(f'<text x="{plot.x(i):.1f}" y="{height - 22}" text-anchor="middle">{i + 1}</text>')
    parts.append(f'<text x="{(left + width) / 2:.0f}" y="{height - 4}" text-anchor="middle">{escaped(x_label)}</text>')
    for number, line in enumerate(lines):
        dash = ' stroke-dasharray="6 5"' if line.dashed else ""
        parts.append(plot.curve(enumerate(line.values), f'stroke="{line.colour}" stroke-width="2.5"{dash}'))
        legend = left + 12 + 210 * number
        parts.append(
            f'<line x1="{legend}" x2="{legend + 22}" y1="8" y2="8" stroke="{line.colour}" stroke-width="3"{dash}/>'
        )
        parts.append(f'<text x="{legend + 28}" y="12">{escaped(line.name)}</text>')
    return "".join(parts) + "</svg>"
