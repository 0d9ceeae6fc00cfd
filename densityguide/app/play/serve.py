"""The server of the page: on this machine alone, and silent towards every other."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import warnings
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType

from densityguide.app.commands.extras import needs
from densityguide.app.play import board, look
from densityguide.app.play.board import Board
from densityguide.app.play.page import page
from densityguide.app.requests import Request, check_range

__all__ = ["PORT", "run"]

HERE = "127.0.0.1"
PORT = 7860
# Read by gradio and its parts when they are imported.
SILENCE = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}


def run(
    request: Request, port: int | None, share: bool, browser: bool, say: Callable[[str], None]
) -> None:
    """Serve the page until Ctrl-C; ValueError or FileNotFoundError, one line, before that for a
    model that is none or makes no pictures, a busy port, and a missing gradio."""
    check_range("--port", port, 1, 65535)
    port, find = _free(port), cache(partial(_opened, request))
    first = find(request.model)
    gradio = _gradio()
    names = dict.fromkeys([*board.named(), request.model])
    made = page(gradio, find, list(names), request.model, request.seed)
    say(f"compiling {first.loaded.name}")
    board.turn(first, board.PLAIN, request.seed)
    theme = gradio.themes.Default(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace"]
    )
    made.launch(
        server_name=HERE,
        server_port=port,
        share=share,
        inbrowser=browser,
        inline=False,
        quiet=True,
        prevent_thread_lock=True,
        theme=theme,
        css=look.style(),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        root_path="",
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
    )
    say(f"http://{HERE}:{port} (Ctrl-C ends it)")
    try:
        # Not gradio's own wait, which takes Ctrl-C for an orderly end: see `cli.program`.
        threading.Event().wait()
    finally:
        made.close(verbose=False)


def _opened(request: Request, name: str) -> Board:
    """A class is told to the model that it was typed for."""
    condition = request.condition if name == request.model else None
    return board.opened(dataclasses.replace(request, model=name, condition=condition))


def _free(port: int | None) -> int:
    """The port itself, or without one the first from `PORT` on that nobody listens to."""
    for one in [port] if port is not None else range(PORT, PORT + 100):
        with socket.socket() as place:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                place.bind((HERE, one))
            except OSError:
                continue
            return one
    if port is None:
        raise ValueError(f"no free port from {PORT} to {PORT + 99}: pass --port")
    raise ValueError(f"--port {port} is in use or not permitted: pass another, or none")


def _gradio() -> ModuleType:
    os.environ |= SILENCE
    with needs("play", "play"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import gradio
    return gradio
