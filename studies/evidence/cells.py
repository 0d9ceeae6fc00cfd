"""Sets of samples, each by one sampler at one place of its dial, and what they are worth."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from densityguide.density.log_density import log_density
from densityguide.steer import sample as sampling
from studies.evidence import measures
from studies.evidence.judge import Judge
from studies.evidence.samplers import PLAIN, samplers
from studies.evidence.subjects import Subject

__all__ = ["HELDOUT", "Cells"]

HELDOUT = "held-out data"

Rows = list[dict[str, Any]]


class Cells:
    """All cells of a model start from the same latents and are judged by the same `Judge`: a row of
    all samples, draw 0, and one of each random half. ``bytes`` is the mean size as PNG."""

    def __init__(self, subject: Subject, count: int, steps: int, draws: int, seed: int) -> None:
        self.subject, self.seed = subject, seed
        self.data = subject.heldout(count)
        count = len(self.data)
        self.judge = Judge(subject, count, draws, seed)
        self.keys = jax.random.split(jax.random.key(seed), (3, count))
        self.latents = subject.each(sampling.latent, self.keys[0])
        self.samplers = samplers(steps, subject.trace)

        def encoded(flow: Any, x: Any, key: Any) -> Any:
            found = log_density(flow, x, divergence=subject.trace, key=key, steps=steps)
            return found.value

        self.encoded = encoded

    def heldout(self) -> Rows:
        """Those of held-out data."""
        states = self.subject.states(self.data, self.seed + 1)
        nothing = dict.fromkeys(("dial", "evaluations", "tangents", "unmet"), 0.0)
        return self._rows({"method": HELDOUT} | nothing, self.data, states)

    def of(self, method: str, dial: float, asked: float, *given: np.ndarray) -> Rows:
        """Those of a sampler whose ``dial`` means ``asked`` for this model; it is ``given`` columns
        beside."""
        column = np.full(len(self.data), asked, np.float32)
        sampler = self.samplers[method]
        out = self.subject.each(sampler, self.latents, self.keys[1], column, *given)
        shared = {
            "method": method,
            "dial": dial,
            "evaluations": float(np.mean(out.evaluations)),
            "tangents": float(np.mean(out.tangents)),
            "unmet": float(np.nanmean(out.unmet)),
        }
        return self._rows(shared, self.subject.pictures(out.x), out.x)

    def swept(self, dials: dict[str, tuple[float, ...]]) -> tuple[Rows, float, float]:
        """Those of held-out data, of the plain model, and of samplers at every place of their
        dials; with the plain mean of log p and its spread."""
        plain = self.of(PLAIN, 1.0, 1.0)
        rows = self.heldout() + plain
        for method, values in dials.items():
            for value in values:
                rows += self.of(method, value, value)
        return rows, plain[0]["log_density"], plain[0]["spread"]

    def _rows(self, shared: dict[str, Any], found: np.ndarray, states: np.ndarray) -> Rows:
        log_p = self.subject.each(self.encoded, states, self.keys[2])
        sizes = np.full(len(found), np.nan)
        if self.subject.is_image:
            size = measures.MEASURES["png"][1]
            sizes = np.asarray([size(image, self.subject.levels) for image in found])
        judged = zip(self.judge.rows(found, log_p), self.judge.draws, strict=True)
        return [shared | row | {"bytes": sizes[mine].mean()} for row, (mine, _) in judged]
