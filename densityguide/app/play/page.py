"""The page of ``densityguide play``: controls, and which action each of them takes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

from densityguide.app.play import actions, board, given, look
from densityguide.app.play.actions import Find
from densityguide.data.pictures import SUFFIXES

__all__ = ["page"]

HEAD = """<div class="dg-head"><h1>Log-density as a dial</h1><p>Every picture starts from its own
random numbers, and only the requested log-density changes. A smooth picture is the likelier one
because each of its pixels follows from its neighbours, while detail is one of very many
possibilities, which share their probability.</p></div>"""
ENDS = """<p class="dg-ends" aria-hidden="true"><span>&larr; more detail</span>
<span>smoother &rarr;</span></p>"""
SEEDS = 2**32
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# An action sees for itself that a newer one has come, also while it runs.
LIVE: dict[str, Any] = {"trigger_mode": "multiple", "concurrency_limit": None, **QUIET}


def page(gradio: ModuleType, find: Find, names: Sequence[str], name: str, seed: int) -> Any:
    """The page, a gradio.Blocks, with ``name`` chosen among the models ``names``."""
    options = {"analytics_enabled": False, "delete_cache": (3600, 3600)}
    with gradio.Blocks(title="densityguide play", **options) as made:
        gradio.HTML(HEAD)
        model = gradio.Dropdown(list(names), value=name, label="Model", elem_id="dg-model")
        with gradio.Tab("Samples"):
            _samples(gradio, made, find, model, seed)
        with gradio.Tab("Your picture"):
            _own(gradio, find, model)
    return made


def _dial(gradio: ModuleType, known: board.Board, name: str) -> Any:
    low, high = board.reach(known)
    slider = gradio.Slider(
        low,
        high,
        value=board.PLAIN,
        step=0.01,
        label="Requested log-density, as a quantile q (0.5: the plain model)",
        elem_id=name,
        buttons=[],
    )
    gradio.HTML(ENDS, elem_classes="dg-under")
    return slider


def _samples(gradio: ModuleType, made: Any, find: Find, model: Any, first: int) -> None:
    newest, seed = gradio.State(actions.Newest()), gradio.State(first)
    pictures = gradio.HTML(elem_id="dg-pictures", min_height=120)
    slider = _dial(gradio, find(model.value), "dg-dial")
    line = gradio.HTML(look.line("One moment \u2026"), elem_id="dg-line")
    other = gradio.Button("Other random numbers", elem_id="dg-other", size="sm")

    def select(name: str) -> tuple[Any, str]:
        low, high = board.reach(find(name))
        told = look.line(f"Compiling {name}, which takes a while the first time \u2026")
        return gradio.Slider(low, high, value=board.PLAIN), told

    turn = partial(actions.turn, find)
    how = [turn, [newest, model, slider, seed], [pictures, line]]
    slider.input(*how, **LIVE)
    other.click(lambda: random.randrange(SEEDS), None, seed, **QUIET).then(*how, **LIVE)
    model.input(select, model, [slider, line], **QUIET).then(*how, **LIVE)
    made.load(*how, **LIVE)


def _own(gradio: ModuleType, find: Find, model: Any) -> None:
    low, high = given.depths(find(model.value))
    newest = gradio.State(actions.Newest())
    file = gradio.File(file_types=list(SUFFIXES), label="A picture", elem_id="dg-file", height=120)
    pair = gradio.HTML(elem_id="dg-own")
    slider = _dial(gradio, find(model.value), "dg-own-dial")
    depth = gradio.Slider(
        low,
        high,
        value=low,
        step=0.5,
        label="Depth, as log-SNR (left: everything may change, right: detail alone)",
        elem_id="dg-depth",
        buttons=[],
    )
    line = gradio.HTML(look.line(actions.INVITATION), elem_id="dg-own-line")

    def select(name: str) -> tuple[Any, Any]:
        deep, shallow = given.depths(find(name))
        ends = board.reach(find(name))
        return gradio.Slider(*ends, value=board.PLAIN), gradio.Slider(deep, shallow, value=deep)

    how = [partial(actions.edit, find), [newest, model, file, slider, depth], [pair, line]]
    model.input(select, model, [slider, depth], **QUIET).then(*how, **LIVE)
    for trigger in (file.change, slider.input, depth.input):
        trigger(*how, **LIVE)
