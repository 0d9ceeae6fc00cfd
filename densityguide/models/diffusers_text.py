"""From a prompt to what a text-to-image network is told, by the folder's own tokenizers and text
encoders: once, in PyTorch, before anything is traced."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import require
from densityguide.models.diffusers_folder import index_of, listed, read_json
from densityguide.models.diffusers_load import encoder, engine, tokenizer, transformers

__all__ = ["PIPELINES", "Told", "read"]

ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast")
TEXT = "encoder_hidden_states"

Pair = tuple[dict[str, Any], dict[str, Any]]


class Told(NamedTuple):
    """Keyword arguments of the network for ONE sample: those of the prompt, and of the negative
    one."""

    prompt: dict[str, Any]
    negative: dict[str, Any]


class Pipeline(NamedTuple):
    """How a class of pipelines encodes: ``(pipeline, prompt, negative or None, (H, W) in pixels) ->
    (told, told of the negative)``, each with a leading axis of one sample; and the components that
    it can do without."""

    encode: Callable[[Any, str, str | None, tuple[int, int]], Pair]
    spare: tuple[str, ...] = ()


def _stable_diffusion(pipe: Any, prompt: str, negative: str | None, _: Any) -> Pair:
    one, other = pipe.encode_prompt(prompt, "cpu", 1, True, negative_prompt=negative)
    return {TEXT: one}, {TEXT: other}


def _xl(pipe: Any, prompt: str, negative: str | None, pixels: tuple[int, int]) -> Pair:
    found = pipe.encode_prompt(prompt, device="cpu", negative_prompt=negative)
    # The original size, the corner of the crop and the size wanted.
    size = np.asarray([[*pixels, 0, 0, *pixels]], np.float32)

    def told(text: Any, pooled: Any) -> dict[str, Any]:
        return {TEXT: text, "added_cond_kwargs": {"text_embeds": pooled, "time_ids": size}}

    return told(found[0], found[2]), told(found[1], found[3])


def _three(pipe: Any, prompt: str, negative: str | None, _: Any) -> Pair:
    found = pipe.encode_prompt(prompt, None, None, device="cpu", negative_prompt=negative)
    one, other = ({TEXT: found[n], "pooled_projections": found[n + 2]} for n in (0, 1))
    return one, other


def _flux(pipe: Any, prompt: str, negative: str | None, _: Any) -> Pair:
    def told(text: str) -> dict[str, Any]:
        found = pipe.encode_prompt(text, device="cpu")
        return {TEXT: found[0], "pooled_projections": found[1]}

    return told(prompt), told(negative or "")


def _pixart(pipe: Any, prompt: str, negative: str | None, pixels: tuple[int, int]) -> Pair:
    found = pipe.encode_prompt(prompt, negative_prompt=negative or "", device="cpu")
    more: dict[str, Any] = {}
    if pipe.transformer.config.sample_size == 128:
        ratio = np.asarray([[pixels[0] / pixels[1]]], np.float32)
        sizes = {"resolution": np.asarray([pixels], np.float32), "aspect_ratio": ratio}
        more = {"added_cond_kwargs": sizes}
    one, other = ({TEXT: found[n], "encoder_attention_mask": found[n + 1], **more} for n in (0, 2))
    return one, other


PIPELINES = {
    "StableDiffusionPipeline": Pipeline(_stable_diffusion),
    "StableDiffusionXLPipeline": Pipeline(_xl),
    "StableDiffusion3Pipeline": Pipeline(_three, ("text_encoder_3", "tokenizer_3")),
    "FluxPipeline": Pipeline(_flux),
    "PixArtAlphaPipeline": Pipeline(_pixart),
    "PixArtSigmaPipeline": Pipeline(_pixart),
}
# What their constructors would otherwise warn of or import.
QUIET = {"requires_safety_checker": False, "add_watermarker": False}


def read(folder: Path, prompt: Any, negative: Any, size: tuple[int, int]) -> Told:
    """What the network is told for a prompt; ``size`` is (H, W) of its latents.

    Raises:
        ValueError: something else than a text, a pipeline without text encoders or of a class that
            is not understood, damaged or pickled weights.
        FileNotFoundError: a tokenizer or a text encoder is not in the folder.
    """
    for text in (prompt, negative):
        require(isinstance(text, str), f"a prompt must be one text, got {text!r:.80}")
    index = index_of(folder)
    name: Any = index.get("_class_name")
    require(
        bool(index),
        f"a prompt needs the whole pipeline, there is no model_index.json in {folder}: save the "
        "pipeline, not its network alone",
    )
    require(
        any(part.startswith("text_encoder") and listed(index, part) for part in index),
        f"{name} in {folder} has no text encoder: drop the prompt, see condition",
    )
    require(
        name in PIPELINES,
        f"unknown pipeline class {name!r} in {folder}: expected one of {', '.join(PIPELINES)}; for "
        "others encode the prompt yourself and pass condition=",
    )
    torch = engine().torch
    pipe = _pipeline(folder, index, name)
    _say_what_is_cut(pipe, prompt, negative)
    pixels = _pixels(folder / "vae", size)
    with torch.no_grad():
        pairs = PIPELINES[name].encode(pipe, prompt, negative or None, pixels)
    one, other = (jax.tree.map(lambda a: _array(a)[0], pair) for pair in pairs)
    return Told(one, other)


def _pixels(vae: Path, size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the picture: the autoencoder halves it between its blocks."""
    blocks: Any = read_json(vae / "config.json").get("block_out_channels")
    require(isinstance(blocks, list), f"{vae} names no block_out_channels: copy it again")
    scale = 2 ** (len(blocks) - 1)
    return scale * size[0], scale * size[1]


def _array(value: Any) -> Array:
    array = np.asarray(value)
    # A mask in whole numbers would be taken for class labels.
    return jnp.asarray(array, jnp.float32)


def _pipeline(folder: Path, index: dict[str, Any], name: str) -> Any:
    """The pipeline with nothing but its text parts; of the network its config."""
    kind = getattr(engine().diffusers, name)
    parts = inspect.signature(kind.__init__).parameters
    spared = [part for part in PIPELINES[name].spare if not listed(index, part)]
    wanted = [part for part in parts if part.startswith(("tokenizer", "text_encoder"))]
    found = {part: _part(folder, index, part) for part in wanted if part not in spared}
    empty = {p.name: None for p in parts.values() if p.default is p.empty and p.name != "self"}
    options = {key: QUIET[key] for key in QUIET if key in parts}
    options |= {key: index[key] for key in ("force_zeros_for_empty_prompt",) if key in index}
    pipe = kind(**{**empty, **options, **found})
    if "transformer" in parts:
        config = read_json(folder / "transformer" / "config.json")
        pipe.transformer = SimpleNamespace(config=SimpleNamespace(**config))
    return pipe


def _part(folder: Path, index: dict[str, Any], part: str) -> Any:
    """One tokenizer or text encoder."""
    where = folder / part
    if not listed(index, part) or not where.is_dir():
        raise FileNotFoundError(f"expected the {part} in {where}: save the whole pipeline")
    kind = index[part][1]
    words = part.startswith("tokenizer")
    known = TOKENIZERS if words else ENCODERS
    require(
        kind in known, f"unknown {part} {kind!r} in {folder}: expected one of {', '.join(known)}"
    )
    transformers()
    return tokenizer(kind, where) if words else encoder(kind, where)


def _say_what_is_cut(pipe: Any, *texts: str) -> None:
    """One warning for a text of which every encoder leaves a part out."""
    names = [name for name in ("tokenizer_3", "tokenizer_2", "tokenizer") if getattr(pipe, name, 0)]
    words = getattr(pipe, names[0])
    t5 = inspect.signature(pipe.encode_prompt).parameters.get("max_sequence_length")
    limit = min(words.model_max_length, words.model_max_length if t5 is None else t5.default)
    for text in texts:
        length = len(words(text).input_ids)
        if length > limit:
            warnings.warn(
                f"the prompt has {length} tokens and the text encoder reads {limit}: the rest is "
                "left out, shorten it",
                stacklevel=5,
            )
