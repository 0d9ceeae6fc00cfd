"""What ``--model`` names: a shipped network, an exported run, a folder saved by diffusers, or a
world with a closed form."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from densityguide import models
from densityguide.data import stored
from densityguide.disk.files import expanded, ordinary
from densityguide.flow import worlds
from densityguide.flow.conditions import Conditioned
from densityguide.flow.flow import Flow
from densityguide.models import card, pretrained

__all__ = ["Source", "Text", "load", "world_names"]

PREFIX = "world:"
DIFFUSERS = "diffusers:"
LEVELS = 256  # of a decoded picture


class Text(NamedTuple):
    """What a text-to-image model shall draw; None and empty where nothing was said."""

    prompt: str | None = None
    negative: str = ""
    scale: float | None = None


class Source(NamedTuple):
    """A flow and what to call it; ``levels`` counts the grey levels of an image model (or 0), and
    ``pictures`` turns samples [N, ...] into integer images."""

    name: str
    flow: Flow
    levels: int
    pictures: Callable[[Any], Any] | None = None

    @property
    def is_image(self) -> bool:
        """Whether samples are pictures."""
        return self.levels > 0

    @property
    def is_world(self) -> bool:
        """Whether the density has a closed form."""
        return self.flow.density is not None


SILENT = Text()


def _worlds() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("worlds.toml").read_text("utf-8"))


def world_names() -> list[str]:
    """Names that may follow ``world:``."""
    return sorted(_worlds())


def _world(name: str) -> Flow:
    known = _worlds()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1) or sorted(known)
        raise ValueError(f"unknown world {name!r}: did you mean {PREFIX}{near[0]}?")
    values = known[name]
    if "weights" in values:
        return worlds.mixture(values["weights"], values["means"], values["scales"])
    factor = jnp.asarray(values["factor"])
    covariance = factor @ factor.T + values["floor"] * jnp.eye(factor.shape[0])
    return worlds.gaussian(values["mean"], covariance)


def _condition(text: str, option: str) -> Any:
    """``"7"`` -> 7, ``"prompt.npy"`` -> its array."""
    if text.removeprefix("-").isdecimal():
        if len(text) > 9:
            raise ValueError(f"{option} must be a class number of a few digits, got {text:.40}")
        return int(text)
    path = expanded(text)
    if path.suffix.lower() != ".npy":
        raise ValueError(f"{option} must be a class number or a .npy file, got {text!r:.80}")
    return np.array(stored.npy(ordinary(path, f"an embedding for {option}")))


def _diffusers(spec: str, condition: str | None, option: str, text: Text) -> Source:
    from densityguide.models.diffusers import from_diffusers, image_decoder

    folder = expanded(spec.removeprefix(DIFFUSERS))
    given = None if condition is None else _condition(condition, option)
    flow = from_diffusers(folder, condition=given, **text._asdict())
    decode = image_decoder(folder)
    if decode is not None:
        return Source(DIFFUSERS + folder.name, flow, LEVELS, decode)
    drawable = flow.transform is not None and flow.shape[-1] in (1, 3)
    pictures = flow.transform.inverse if drawable else None
    return Source(DIFFUSERS + folder.name, flow, LEVELS if drawable else 0, pictures)


def _decoder(folder: Path) -> Callable[[Any], Any] | None:
    """From a model's latents to pictures, where the autoencoder lies in the folder."""
    if not (folder / "vae").is_dir():
        return None
    from densityguide.models.diffusers import image_decoder

    return image_decoder(folder)


def load(
    spec: str,
    condition: str | None = None,
    *,
    text: Text = SILENT,
    option: str = "--condition",
) -> Source:
    """The flow of ``emoji32``, ``digits8``, ``world:mixture``, ``diffusers:FOLDER`` or a model
    folder; ValueError or FileNotFoundError, one line, for anything else. ``option`` is what the
    condition is called where it was typed."""
    if spec.startswith(DIFFUSERS):
        return _diffusers(spec, condition, option, text)
    if text != SILENT:
        raise ValueError(
            "a prompt, a negative one and a scale belong to text-to-image models "
            f"({DIFFUSERS}FOLDER), {spec} takes none: drop them"
        )
    world = spec.startswith(PREFIX)
    flow = _world(spec.removeprefix(PREFIX)) if world else models.load(spec)
    if condition is not None:
        if not isinstance(flow.params, Conditioned):
            raise ValueError(
                f"{option} belongs to models trained with one, {spec} takes none: drop it"
            )
        told = _condition(condition, option)
        classes = card.read(pretrained.folder_of(spec) / "card.json").network["fields"]["classes"]
        if not isinstance(told, int) or not -1 <= told < classes:
            raise ValueError(
                f"{option} must be a class from 0 to {classes - 1}, or -1 for none, got {condition}"
            )
        # Without one for each class, the stored one is of no class.
        flow = flow.given(told) if flow.calibrations else flow.given(told, calibration=None)
    if world:
        return Source(spec, flow, 0)
    pictures = flow.transform is not None and len(flow.shape) == 3 and flow.shape[-1] in (1, 3)
    name = spec if spec in pretrained.names() else pretrained.folder_of(spec).resolve().name
    if not pictures:
        decode = _decoder(pretrained.folder_of(spec))
        return Source(name, flow, 0 if decode is None else LEVELS, decode)
    return Source(name, flow, flow.transform.levels, flow.transform.inverse)
