"""The pages: one for each question, and the summary of all claims."""

from __future__ import annotations

import io
import re
from typing import Any

from upath import UPath

from densityguide.disk import storage
from studies.evidence import statistics, tables
from studies.evidence.config import model_of
from studies.evidence.study import Claim, Question, Reading
from studies.evidence.subjects import AGAIN

__all__ = ["summarise", "write"]

HEADS = ("claim", "found", "rule", "verdict")
SUMMARY = "index.md"
BLOCK = re.compile(r"(<!-- claims -->\n).*?(<!-- /claims -->)", re.DOTALL)


def write(
    path: UPath, name: str, question: Question, record: dict[str, Any], reading: Reading
) -> None:
    """``name.md`` with its figures, and ``data/name-claims.csv``."""
    lines = [f"# {question.title}", "", question.method.strip(), ""]
    claims = tables.from_rows([claim._asdict() for claim in reading.claims])
    lines += [tables.markdown(HEADS, reading.claims, words=True), ""]
    for number, section in enumerate(reading.sections, 1):
        lines += [f"## {section.title}", ""]
        lines += [section.text.strip(), ""] if section.text else []
        if section.rows:
            lines += [tables.markdown(section.heads, section.rows, words=section.words), ""]
        if section.figure is not None:
            picture = f"{name}-{number}.png"
            storage.write(path / picture, _png(section.figure))
            lines += [f"![{section.title}]({picture})", ""]
    lines += ["## How to measure it again", "", *_provenance(name, record)]
    storage.write(path / "data" / f"{name}-claims.csv", tables.to_csv(claims))
    storage.write(path / f"{name}.md", ("\n".join(lines) + "\n").encode())


def _png(figure: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90)
    return content.getvalue()


def _provenance(name: str, record: dict[str, Any]) -> list[str]:
    settings, parts = record["settings"], record["parts"]
    models = ", ".join(
        f"[{_words(stem)}](data/{name}-{stem}.csv) "
        f"({settings['models'][model_of(stem)]:,} samples, "
        f"{part['seconds'] / 60:.1f} minutes{_elsewhere(part)})"
        for stem, part in parts.items()
    )
    others = {key: value for key, value in settings.items() if key != "models"}
    words = ", ".join(f"{key} = {value}" for key, value in others.items())
    environment = record["environment"]
    return [
        "```sh",
        f"python -m studies evidence configs/evidence/{name}.toml",
        "```",
        "",
        f"Rows as measured: {models}. Settings: {words}. Python {environment['python']}, JAX "
        f"{environment['jax']}, densityguide {environment['densityguide']}, on "
        f"{environment['device']}.{_missing(record)} Intervals are of 95 %: percentiles of a "
        f"bootstrap of {statistics.DRAWS:,} draws, Wilson's for shares, where the page says "
        "nothing else.",
    ]


def _missing(record: dict[str, Any]) -> str:
    """The models of the settings that have no rows yet."""
    known = {model_of(stem) for stem in record["parts"]}
    others = [name for name in record["settings"]["models"] if name not in known]
    return f" Not measured yet: {', '.join(others)}." if others else ""


def _words(stem: str) -> str:
    return stem.replace("-seed", ", seed ").replace(AGAIN, " trained again")


def _elsewhere(part: dict[str, Any]) -> str:
    other = part.get("environment")
    return f", with JAX {other['jax']} on {other['device']}" if other else ""


def summarise(path: UPath, names: dict[str, str]) -> None:
    """All claims that were judged so far, question by question, into the summary's own block; a
    summary that is not there is begun. ``names``: question -> title."""
    lines = []
    for name, title in names.items():
        file = path / "data" / f"{name}-claims.csv"
        if file.is_file():
            claims = tables.from_csv(file.read_bytes())
            rows = [Claim(*cells) for cells in zip(*claims.values(), strict=True)]
            lines += [f"### [{title}]({name}.md)", "", tables.markdown(HEADS, rows, words=True), ""]
    summary = path / SUMMARY
    text = summary.read_text("utf-8") if summary.is_file() else ""
    if not BLOCK.search(text):
        text += "# Evidence\n\n<!-- claims -->\n<!-- /claims -->\n"
    block = "\n".join(lines)
    text = BLOCK.sub(lambda match: match[1] + block + match[2], text)
    storage.write(summary, text.encode())
