"""Prediction, sign, clock, path, range: is every noise level denoised, and how else would it be?"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide import rewiring
from densityguide.errors import present
from densityguide.flows import Flow
from densityguide.sampling import sample
from densityguide.verify.result import Check

__all__ = ["UNEXPLAINED", "gaussian_path", "generate", "noise_end"]

LEVELS = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0)
UNEXPLAINED = "no single change of prediction, sign, clock, path or input scale explains it"


def generate(flow: Flow, key: Array, count: int, steps: int) -> Array:
    def one(key: Array) -> Array:
        return sample(flow, flow.prior.sample(key), divergence=None, steps=steps).x

    return jax.jit(jax.vmap(one))(jax.random.split(key, count))


def _denoising(flow: Flow, key: Array, data: Array, levels: tuple[float, ...]) -> np.ndarray:
    """Excess of the denoising error over the best isotropic linear denoiser's, per level."""
    centre = jnp.mean(data, axis=0)
    variance = jnp.mean((data - centre) ** 2)
    path = present(flow.path)

    @jax.jit
    def errors(flow: Flow, key: Array) -> Array:
        def level(t: Array, key: Array) -> Array:
            alpha, sigma = path.alpha(t), path.sigma(t)

            def one(x0: Array, key: Array) -> Array:
                eps = jax.random.normal(key, x0.shape, x0.dtype)
                score = present(flow.field(flow.params, alpha * x0 + sigma * eps, t)[1])
                return jnp.mean((-sigma * score - eps) ** 2)

            error = jnp.mean(jax.vmap(one)(data, jax.random.split(key, data.shape[0])))
            return error / (alpha**2 * variance / (alpha**2 * variance + sigma**2))

        times = jnp.asarray(levels, data.dtype)
        return jax.vmap(level)(times, jax.random.split(key, len(levels)))

    ratio = np.asarray(errors(flow, key), np.float64)
    return np.where(np.isfinite(ratio), ratio, np.inf)


def gaussian_path(
    flow: Flow, key: Array, data: Array | None, drawn: Array, count: int, steps: int
) -> list[Check]:
    start, stop = (float(end) for end in flow.interval)
    levels = tuple(level for level in LEVELS if start < level < stop) or (0.5 * (start + stop),)
    basis = drawn if data is None else data
    # A little slack: the levels' errors are averages over few samples.
    allowed = 1.0 + 3.0 / np.sqrt(basis.shape[0] * flow.size) + 0.05
    usable = bool(jnp.all(jnp.isfinite(basis)))
    ratio = _denoising(flow, key, basis, levels) if usable else np.full(len(levels), np.inf)
    fine = bool(np.all(ratio <= allowed))
    source = "data" if data is not None else "own samples"
    worst = int(np.argmax(ratio))
    hint = "" if fine else _name_mistake(flow, key, data, levels, allowed, count, steps)
    checks = [
        Check(
            f"denoising ({source})",
            fine,
            f"{ratio[worst]:.3g} x linear at log-SNR {levels[worst]:g}",
            f"<= {allowed:.2f}",
            hint,
        )
    ]

    @jax.jit
    def regress(flow: Flow, key: Array) -> Array:
        variance = present(flow.path).sigma(flow.interval[0]) ** 2
        x = jax.vmap(flow.prior.sample)(jax.random.split(key, count))
        score = jax.vmap(lambda x: flow.field(flow.params, x, flow.interval[0])[1])(x)
        return -variance * jnp.sum(score * x) / jnp.sum(x**2)

    slope = float(regress(flow, key))
    near = abs(slope - 1.0) < 0.1
    if near or not fine:
        advice = ""  # the denoising check names it better
    elif slope < -0.5:
        advice = "the score points away from the origin in pure noise: its sign is wrong"
    else:
        advice = "pure noise is not recognised: check the noise end of log_snr= and the prior"
    seen = f"{slope:.3f}"
    checks.append(Check("score of pure noise", near, seen, "-x / sigma^2 (1.000)", advice))
    return checks


def _name_mistake(
    flow: Flow,
    key: Array,
    data: Array | None,
    levels: tuple[float, ...],
    allowed: float,
    count: int,
    steps: int,
) -> str:
    best, advice = np.inf, ""
    for candidate in rewiring.candidates(flow):
        basis = data
        if basis is None:
            basis = generate(candidate.flow, key, min(count, 32), steps)
            if not bool(jnp.all(jnp.isfinite(basis))) or float(jnp.max(jnp.abs(basis))) > 1e3:
                continue
        ratio = _denoising(candidate.flow, key, basis, levels)
        score = float(np.mean(np.log(np.maximum(ratio, 1e-6))))
        # Of equivalent wirings, the first: rounding decides nothing.
        if np.all(ratio <= allowed) and score < best - 1e-3:
            best, advice = score, candidate.advice
    if advice:
        return advice
    what = "" if data is not None else " (pass data= for a sharper test)"
    return f"{UNEXPLAINED}: check the weights, the data's scale and the order of the axes{what}"


def noise_end(flow: Flow, data: Array) -> Check:
    """How much signal is left where the prior takes over."""
    variance = jnp.mean(jnp.sum((data) ** 2, axis=tuple(range(1, data.ndim)))) / flow.size
    left = float(jnp.exp(flow.interval[0]) * variance)
    # Divergence between the prior and the true marginal is about D left^2 / 4 nats.
    nats = 0.25 * flow.size * left**2
    fine = nats < 0.1
    hint = ""
    if not fine:
        hint = (
            f"the prior ignores signal worth {nats:.2g} nats: start log_snr= lower than "
            f"{float(flow.interval[0]):g}, as the model was trained"
        )
    return Check("noise end of the range", fine, f"{nats:.2g} nats ignored", "< 0.1", hint)
