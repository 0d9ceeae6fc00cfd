"""What the controls of the page do, as HTML for its pictures and its line of text; no gradio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from densityguide.app.commands.tables import number
from densityguide.app.play import board, given, look
from densityguide.app.play.board import Board, Measured, Turn
from densityguide.app.play.given import Evidence, Given
from densityguide.app.play.look import Figure

__all__ = ["INVITATION", "Find", "Newest", "edit", "turn"]

INVITATION = "Choose a picture of any size: its middle is cut out."
Find = Callable[[str], Board]  # of a model's name, each opened once


class Newest:
    """Which request of one visitor is the newest: an older one has nothing more to show."""

    def __init__(self) -> None:
        self.number = 0

    def take(self) -> Callable[[], bool]:
        """A new request: whether it is still the newest."""
        self.number += 1
        mine = self.number
        return lambda: self.number == mine


def turn(find: Find, newest: Newest, name: str, q: float, seed: int) -> Iterator[tuple[str, str]]:
    """The pictures at q with a line of text, and again with each log p as it becomes known.

    While the dial is dragged only its last place is computed, and of that alone log p is measured.
    """
    wanted = newest.take()
    known = find(name)
    with known.turning:
        if not wanted():
            return
        since = time.perf_counter()
        shown = board.turn(known, q, int(seed))
        took = time.perf_counter() - since
    text = (
        f"{_at(q)}: {board.COUNT} pictures in {took:.1f} s. Measuring log p{_first(known)} \u2026"
    )
    yield _pictures(known, shown, []), look.line(text)
    since, found = time.perf_counter(), list[Measured]()
    while wanted() and len(found) < board.COUNT:
        found.append(board.measure(known, shown, len(found)))
        if wanted():
            took = time.perf_counter() - since
            yield _pictures(known, shown, found), look.line(_so_far(shown, len(found), took))


def _first(known: Board) -> str:
    return "" if "encoder" in vars(known) else ", which compiles the first time"


def _so_far(shown: Turn, count: int, took: float) -> str:
    if count < board.COUNT:
        return f"{_at(shown.q)}: log p of {count} of {board.COUNT} pictures measured \u2026"
    return f"{_at(shown.q)}: log p measured by encoding each picture, in {took:.1f} s."


def _at(q: float) -> str:
    return f"q = {q:g}" + (", the plain model" if q == board.PLAIN else "")


def _pictures(known: Board, shown: Turn, found: list[Measured]) -> str:
    all_found = [*found, *[None] * (board.COUNT - len(found))]
    return look.board(
        [
            Figure(
                image, known.loaded.levels, f"Picture {n + 1} at q {shown.q:g}", look.caption(one)
            )
            for n, (image, one) in enumerate(zip(shown.images, all_found, strict=True))
        ]
    )


def edit(
    find: Find, newest: Newest, name: str, path: str | None, q: float, depth: float
) -> Iterator[tuple[str, str]]:
    """The user's own picture at q, and then what was measured of it; one line for one that cannot
    be read, or where there is none yet."""
    wanted = newest.take()
    if path is None:
        yield "", look.line(INVITATION)
        return
    try:
        known = find(name)
        picture = given.read(known, Path(path))
    except (ValueError, FileNotFoundError) as error:
        yield "", look.line(f"{error}".replace(path, Path(path).name), wrong=True)
        return
    with known.turning:
        if not wanted():
            return
        after = given.edited(known, picture, q, depth)
    waiting = f"{_at(q)}: measuring log p, which compiles the first time \u2026"
    yield _pair(known, picture, after, q, None), look.line(waiting)
    if not wanted():
        return
    found = given.evidence(known, picture, q, depth)
    if not wanted():
        return
    pair = _pair(known, picture, after, q, found)
    yield pair, look.line(_told(picture, found) + " How usual is it for the model? \u2026")
    usual = given.usual(known, picture)
    if not wanted():
        return
    yield pair, look.line(f"{_told(picture, found)} {usual[:1].upper()}{usual[1:]}.")


def _pair(known: Board, picture: Given, after: np.ndarray, q: float, found: Evidence | None) -> str:
    levels = known.loaded.levels
    before = look.caption(None if found is None else found.before)
    then = look.caption(None if found is None else found.after)
    return look.board(
        [
            Figure(picture.image, levels, "Your picture", ("Yours", *before)),
            Figure(after, levels, f"Your picture at q {q:g}", (f"At q = {q:g}", *then)),
        ]
    )


def _told(picture: Given, found: Evidence) -> str:
    cut = "" if picture.told is None else f"{picture.told}. "
    text = (
        f"{cut}Moved {number(found.moved, 3)}, of which the solver alone "
        f"{number(found.round_trip, 4)} (root mean square, pixels from -1 to 1)."
    )
    if found.lost:
        text += " The solver alone moves it far: take a depth nearer to the data, or --steps 256."
    return text
