"""What a long job found, as one page: figures, histograms, tables and pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template
from typing import NamedTuple

import numpy as np

from densityguide.checks import require
from densityguide.plotting import histograms
from densityguide.plotting.dial import Page
from densityguide.plotting.histograms import Spread
from densityguide.plotting.pages import tile

__all__ = ["Figure", "Pictures", "Spread", "Table", "results"]


class Figure(NamedTuple):
    """A number that stands large at the top, with its ``name`` and a ``note``; ``alarm`` where it
    should worry."""

    name: str
    value: str
    note: str = ""
    alarm: bool = False


class Table(NamedTuple):
    """Rows of texts below ``heads``: the first ``words`` columns are words, the others numbers."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: int = 1


class Pictures(NamedTuple):
    """A row of pictures: integers [N, H, W, C], with a caption below each."""

    label: str
    images: np.ndarray
    captions: Sequence[str]


def results(
    title: str,
    subtitle: str,
    figures: Sequence[Figure],
    spreads: Sequence[Spread],
    unit: str,
    *,
    tables: Sequence[Table] = (),
    pictures: Sequence[Pictures] = (),
    levels: int = 256,
    told: str = "",
    settings: str = "",
) -> Page:
    """A page that asks nothing of any other place.

    Args:
        figures: the few numbers that matter.
        spreads: histograms of values in ``unit`` (such as "log p (nats)"), over one scale.
        pictures: rows of pictures with values 0 .. levels - 1.
        told: a sentence below the pictures.
        settings: a text that is folded away at the end.

    Raises:
        ValueError: pictures of another shape, or not as many as captions.
    """
    for row in pictures:
        shape = np.shape(row.images)
        require(
            len(shape) == 4 and shape[-1] in (1, 3) and len(row.captions) == shape[0],
            "results takes pictures [n, height, width, 1 or 3] with n captions, got "
            f"{shape} with {len(row.captions)}",
        )
    parts = [
        _figures(figures),
        _histograms(spreads, unit),
        _pictures(pictures, levels, told),
        *map(_table, tables),
        f"<details><summary>Settings</summary><pre>{escape(settings)}</pre></details>"
        if settings
        else "",
    ]
    template = resources.files(__package__).joinpath("results.html").read_text("utf-8")
    html = Template(template).substitute(
        title=escape(title), subtitle=escape(subtitle), body="\n".join(filter(None, parts))
    )
    return Page(html, title)


def _figures(figures: Sequence[Figure]) -> str:
    cells = [
        f'<div class="figure{" alarm" if one.alarm else ""}"><dt>{escape(one.name)}</dt>'
        f"<dd>{escape(one.value)}<small>{escape(one.note)}</small></dd></div>"
        for one in figures
    ]
    return f'<dl class="figures">{"".join(cells)}</dl>'


def _histograms(spreads: Sequence[Spread], unit: str) -> str:
    over = histograms.scale(spreads)
    rows, outside = [], 0
    for spread in spreads:
        drawn, out = histograms.svg(spread, over)
        outside += out
        first, *more = spread.told or ("",)
        lines = "".join(f"<small>{escape(line)}</small>" for line in more)
        rows.append(
            f'<div class="name">{escape(spread.label)}</div><div class="drawn">{drawn}</div>'
            f'<div class="told">{escape(first)}{lines}</div>'
        )
    note = f"{outside:,} values lie outside the scale. " if outside else ""
    marked = any(np.isfinite(spread.mean) for spread in spreads)
    note += "The line is the mean, the band its 95 % interval." if marked else ""
    return (
        f'<section><h2>{escape(unit)}</h2><div class="spreads">{"".join(rows)}'
        f'<div class="drawn last">{histograms.axis(over, unit)}</div></div>'
        f'<p class="note">{note}</p></section>'
    )


def _picture(image: np.ndarray, levels: int, caption: str) -> str:
    buffer = io.BytesIO()
    side = max(image.shape[:2])
    tile(image, levels, side).save(buffer, "PNG", optimize=True)
    source = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<figure><img alt="" src="data:image/png;base64,{source}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _pictures(rows: Sequence[Pictures], levels: int, told: str) -> str:
    if not rows:
        return ""
    across = max(len(row.images) for row in rows)
    parts = []
    for row in rows:
        drawn = "".join(
            _picture(image, levels, caption)
            for image, caption in zip(row.images, row.captions, strict=True)
        )
        parts.append(f'<div class="name">{escape(row.label)}</div><div class="row">{drawn}</div>')
    return (
        f'<section><h2>Pictures</h2><div class="pictures" style="--across:{across}">'
        f'{"".join(parts)}</div><p class="note">{escape(told)}</p></section>'
    )


def _table(table: Table) -> str:
    kinds = [' class="words"' if n < table.words else "" for n in range(len(table.heads))]
    heads = "".join(
        f'<th scope="col"{kind}>{escape(head)}</th>'
        for kind, head in zip(kinds, table.heads, strict=True)
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(
            f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds[1:], rest, strict=True)
        )
        + "</tr>"
        for first, *rest in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<section><h2>{escape(table.title)}</h2><div class="scroll" tabindex="0"><table><thead>'
        f"<tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{note}</section>"
    )
