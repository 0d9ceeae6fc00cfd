"""Configurations to copy, which ``--example`` prints."""

from __future__ import annotations

from importlib import resources

__all__ = ["text"]


def text(name: str) -> str:
    """The commented configuration ``"train"`` or ``"job"``."""
    folder = resources.files("densityguide.app").joinpath("examples")
    return folder.joinpath(f"{name}.toml").read_text("utf-8")
