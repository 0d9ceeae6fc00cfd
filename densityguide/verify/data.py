"""Data beside the model: their scale, the order of their axes, their classes."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jax import Array

from densityguide.verify.candidates import reordered, rescaled
from densityguide.verify.case import Case
from densityguide.verify.denoising import errors, gain, within
from densityguide.verify.result import Check
from densityguide.verify.wirings import label_of

__all__ = ["classes", "order", "spread"]

MISSING = "left out: needs data="


def spread(case: Case) -> Check:
    name, data, drawn = "scale of the data", case.data, case.drawn
    if data is None:
        return Check(name, None, MISSING, "", "")
    ratio = float(jnp.std(drawn) / jnp.std(data))
    shift = float(abs(jnp.mean(drawn) - jnp.mean(data)) / jnp.std(data))
    fine = 0.7 < ratio < 1.4 and shift < 0.5
    hint = ""
    if not fine:
        hint = (
            f"data and samples differ in scale (std {float(jnp.std(data)):.3g} against "
            f"{float(jnp.std(drawn)):.3g}) or offset: "
            "apply the transform the model was trained with"
        )
        fitting = rescaled(data, drawn)
        hint += "" if fitting is None else f", {fitting[1]} would fit"
    return Check(name, fine, f"samples / data {ratio:.2f}", "0.7 .. 1.4", hint)


def order(case: Case) -> Check:
    """Noise is told from pictures best in the order of axes that the network knows."""
    name, data = "order of the axes", case.data
    others = reordered(case.flow.shape)
    if not others:
        return Check(name, None, "left out: no pictures", "", "")
    if data is None:
        return Check(name, None, MISSING, "", "")
    levels = within(case.flow, (-2.0, 0.0, 2.0))
    right = errors(case.flow, case.wiring, data, case.noise, levels)
    found = []
    for other in others:
        # The noise in the same order: the very same numbers, moved.
        changed = other.change(data), other.change(case.noise)
        found.append((*gain(right, errors(case.flow, case.wiring, *changed, levels)), other))
    part, doubt, best = max(found, key=lambda each: each[0])
    seen = f"{100 * part:+.0f} % with {best.name} exchanged"
    fine = part < 0.05 or part < 4.0 * doubt
    hint = ""
    if not fine:
        hint = f"the data's {best.name} seem to be in another order than in training: {best.remedy}"
    return Check(name, fine, seen, "no better otherwise", hint)


def classes(case: Case) -> Check:
    """Pictures of a class are denoised best when the network is told that class."""
    name, flow, told, data = "classes of the data", case.flow, _labels(case), case.data
    if flow.classes is None:
        return Check(name, None, "left out: no classes", "", "")
    if told is None or data is None:
        return Check(name, None, "left out: needs data= and their labels=", "", "")
    levels = within(flow, (-3.0, -1.0, 1.0))

    error = partial(errors, flow, case.wiring, data, case.noise, levels)
    right = error(labels=told)
    found = []
    for step in (-1, 1):
        other = told + step
        inside = (other >= max(flow.classes.start, 0)) & (other < flow.classes.stop)
        found.append((*gain(right, error(labels=jnp.where(inside, other, told))), step))
    part, doubt, step = max(found, key=lambda each: each[0])
    seen = f"{100 * part:+.1f} % with labels {step:+d}"
    fine = part < 4.0 * doubt or part < 0.003
    hint = ""
    if not fine:
        hint = (
            f"the labels seem to be off by one: data are denoised better when told their class "
            f"{step:+d}; give the network the labels it was trained with"
        )
    return Check(name, fine, seen, "no better otherwise", hint)


def _labels(case: Case) -> Array | None:
    """The class of each of the data: as given, or the flow's own if it is one."""
    if case.labels is not None or case.data is None:
        return case.labels
    label = label_of(case.flow)
    if label is None or int(label) < 0:
        return None
    return jnp.broadcast_to(label, case.data.shape[:1])
