"""What the rows of ``sample`` differ by: a quantile, a budget, or a log p to land on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from densityguide.app.requests import BITS, amount, check_range
from densityguide.flow.flow import Flow
from densityguide.steer import rules
from densityguide.steer.guidance import Guidance

__all__ = ["Dial", "parse", "quantiles", "short", "spaced", "usual"]

WIDE = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
FEW = (0.3, 0.4, 0.5, 0.6, 0.7)  # up to 256 dimensions, where guidance goes too far sooner
FRAMES = 1000
PLAIN = {"q": 0.5, "budget": 0.0}  # what asks for nothing
GUIDANCE: dict[str, Callable[[Any], Guidance]] = {
    "q": rules.quantile,
    "target": rules.target,
    "budget": rules.budget,
}


@dataclass(frozen=True)
class Dial:
    """``kind`` of `GUIDANCE` at each of ``values``, in bits/dim where ``bits`` says so and else in
    nats (quantiles have no unit); without values at the usual ones of the model, see `fitted`;
    ``land``: search until the encoded log p is the target; ``frames``: that many values, evenly
    from the smallest to the largest."""

    kind: str
    values: tuple[float, ...]
    bits: tuple[bool, ...]
    land: bool = False
    frames: int | None = None

    @property
    def guidance(self) -> Callable[[Any], Guidance]:
        """The constructor of the guidance."""
        return GUIDANCE[self.kind]

    @property
    def name(self) -> str:
        """The key of rows and arrays."""
        return self.kind if self.kind == "q" else f"{self.kind}_nats"

    def fitted(self, flow: Flow) -> Dial:
        """With values: where none were given, the usual ones of this flow."""
        if self.values:
            return self
        values = usual(flow)
        return replace(self, values=values, bits=(False,) * len(values))

    def asked(self, flow: Flow) -> tuple[float, ...]:
        """The values as guidance takes them; ValueError for bits/dim of data without a scale."""
        values = tuple(
            self._nats(value, flow) if bits else value
            for value, bits in zip(self.values, self.bits, strict=True)
        )
        return values if self.frames is None else spaced(values, self.frames, self.kind == "q")

    def _nats(self, value: float, flow: Flow) -> float:
        if self.kind == "budget":
            return value * flow.size * math.log(2.0)
        if flow.transform is None:
            raise ValueError(
                f"--target in {BITS} needs a model of integer data; this one takes nats, e.g. "
                "--target -20"
            )
        # bits/dim counts the data in integer units, the model its own scale.
        return -value * flow.size * math.log(2.0) - float(flow.transform.log_jacobian(flow.size))

    def label(self, row: dict[str, Any]) -> str:
        """A title of one row of the report."""
        value = row[self.name]
        if self.kind == "q":
            return f"q = {short(value)}" + (", the plain model" if value == PLAIN["q"] else "")
        if self.kind == "budget":
            return f"budget {value:+,.5g} nats" if value else "no budget"
        return f"{'landed on' if self.land else 'target'} {value:,.5g} nats"

    def position(self, value: float) -> str:
        """A value where there is little room."""
        if self.kind == "q":
            return f"q {short(value)}"
        return f"{self.kind} {value:{'+' if self.kind == 'budget' else ''},.5g} nats"

    def words(self) -> str:
        """The options that ask for this dial again."""
        units = [BITS if bits else "" for bits in self.bits]
        values = ",".join(f"{v!r}{unit}" for v, unit in zip(self.values, units, strict=True))
        frames = "" if self.frames is None else f" --frames {self.frames}"
        return f"--{self.kind} {values}{' --land' if self.land else ''}{frames}"


def usual(flow: Flow) -> tuple[float, ...]:
    """Quantiles wide enough to be seen, as far as the flow's own log p was seen to rise with q."""
    values = FEW if flow.is_small else WIDE
    calibration = flow.calibration
    if calibration is None or calibration.dial is None:
        return values
    low, high = np.asarray(calibration.dial, np.float64).round(6).tolist()
    return tuple(sorted({min(max(value, low), high) for value in values}))


def short(q: float) -> str:
    """A quantile with three digits of its distance from the nearer end: 0.0617, 0.9383."""
    decimals = 2 - math.floor(math.log10(min(q, 1.0 - q)))
    return np.format_float_positional(q, decimals, trim="-")


def spaced(values: Sequence[float], count: int, normal: bool) -> tuple[float, ...]:
    """``count`` values from the smallest to the largest: evenly, or for quantiles evenly on the
    scale of a standard normal, which is that of the nats they ask for."""
    low, high = min(values), max(values)
    if not normal:
        return tuple(np.linspace(low, high, count).tolist())
    scale = NormalDist()
    inner = np.linspace(scale.inv_cdf(low), scale.inv_cdf(high), count)[1:-1]
    # Twelve digits: the middle of a symmetric range is the plain model, not nearly.
    return (low, *(float(f"{scale.cdf(z):.12g}") for z in inner.tolist()), high)


def quantiles(texts: Sequence[str]) -> tuple[float, ...]:
    """``("0.3,0.5", "0.7")`` -> ``(0.3, 0.5, 0.7)``; ValueError outside (0, 1)."""
    values = []
    for text in ",".join(texts).split(","):
        try:
            value = float(text)
        except ValueError:
            raise ValueError(
                f"--q must be numbers between 0 and 1, got {text!r}: write e.g. --q 0.3,0.5,0.7"
            ) from None
        if not 0.0 < np.float32(value) < 1.0:
            raise ValueError(
                f"--q must lie strictly between 0 and 1, got {text}: 0.5 is the plain model, "
                "larger is smoother"
            )
        values.append(value)
    return tuple(values)


def parse(
    q: Sequence[str] | None = None,
    target: Sequence[str] | None = None,
    budget: Sequence[str] | None = None,
    land: bool = False,
    frames: int | None = None,
) -> Dial:
    """The dial as typed; ValueError, one line, for options that make none."""
    made = replace(_parse(q, target, budget, land), frames=frames)
    check_range("--frames", frames, 2, FRAMES)
    if (
        frames is not None
        and made.values
        and len(set(zip(made.values, made.bits, strict=True))) < 2
    ):
        raise ValueError(
            f"--frames runs from the smallest to the largest --{made.kind}, got one value: give "
            "two, separated by a comma"
        )
    return made


def _parse(
    q: Sequence[str] | None,
    target: Sequence[str] | None,
    budget: Sequence[str] | None,
    land: bool,
) -> Dial:
    given = {"--q": q, "--target": target, "--budget": budget}
    names = [name for name, texts in given.items() if texts]
    if len(names) > 1:
        raise ValueError(f"{' and '.join(names)} exclude each other: pass one of them")
    if land and not target:
        raise ValueError("--land needs a log p to land on: add --target, e.g. --target 2.5bpd")
    for kind, texts in (("target", target), ("budget", budget)):
        if texts:
            pairs = [amount(f"--{kind}", text) for text in ",".join(texts).split(",")]
            return Dial(kind, tuple(v for v, _ in pairs), tuple(b for _, b in pairs), land)
    values = quantiles(q) if q else ()
    return Dial("q", values, (False,) * len(values))
