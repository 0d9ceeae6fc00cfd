"""Prediction, sign, clock, path, range: is every noise level denoised, and how else would it be?"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from densityguide.checks import present
from densityguide.flow import predictions
from densityguide.flow.build import GaussianField
from densityguide.verify import candidates as rewiring
from densityguide.verify.case import Case
from densityguide.verify.denoising import errors, gain, within
from densityguide.verify.result import Check
from densityguide.verify.wirings import score

__all__ = ["UNEXPLAINED", "centre", "clock", "denoising", "direction", "noise_end", "pure_noise"]

UNEXPLAINED = "no single change of prediction, sign, clock, path or input scale explains it"
SHIFTS = (-2.0, -1.0, 1.0, 2.0)  # of log-SNR
FAR, WIDE = 1e3, 10.0  # samples beyond, or with a wider spread, are of no wiring
OFF = 0.25  # of the spread: what the mean of the denoised may be off
DRIFT = 0.05  # of the noise: what the mean may be at the noise end


def denoising(case: Case) -> Check:
    found, source = case.denoising, "data" if case.data is not None else "own samples"
    worst, fine = found.worst, case.usable and found.passed
    ratio, allowed = (a[worst] / found.linear[worst] for a in (found.error, found.allowed))
    seen = f"{ratio:.3g} x linear at log-SNR {found.levels[worst]:g}"
    hint = "" if fine else _name_mistake(case)
    return Check(f"denoising ({source})", fine, seen, f"<= {allowed:.3g}", hint)


def _name_mistake(case: Case) -> str:
    """The sentence of the change that makes the denoising pass, of several the best."""
    scaled = None if case.data is None else rewiring.rescaled(case.data, case.drawn)
    if scaled is not None and case.judged(case.wiring, scaled[0]).passed:
        return f"the data seem to be on another scale than the model's: pass {scaled[1]}"
    if not isinstance(case.flow.field, GaussianField):
        return _unexplained(case)
    best, advice = np.inf, ""
    for wiring in rewiring.candidates(case.wiring, case.flow.shape):
        basis = case.data
        if basis is None:
            basis = case.drawn_as(wiring, 16)
            # nan as well. Where samples are huge even a network that says nothing denoises.
            if not bool(jnp.all(jnp.abs(basis) < FAR) & (jnp.std(basis) < WIDE)):
                continue
        found = case.judged(wiring, basis)
        # Of equivalent wirings, the first: rounding decides nothing.
        if found.passed and found.merit < best - 1e-3:
            best, advice = found.merit, wiring.advice
    return advice or _unexplained(case)


def _unexplained(case: Case) -> str:
    what = "" if case.data is not None else " (pass data= for a sharper test)"
    return f"{UNEXPLAINED}: check the weights, the data's scale and the order of the axes{what}"


def pure_noise(case: Case) -> Check:
    """At the noise end the score is that of the prior, ``-x / sigma^2``."""
    flow = case.flow
    start = flow.interval[0]
    found = score(flow, case.wiring, case.latents, start)
    variance = present(flow.path).sigma(start) ** 2
    slope = float(-variance * jnp.sum(found * case.latents) / jnp.sum(case.latents**2))
    near = abs(slope - 1.0) < 0.1
    advice = ""
    if slope < -0.5:
        advice = "the score points away from the origin in pure noise: its sign is wrong"
    elif not near:
        advice = "pure noise is not recognised: check the noise end of log_snr= and the prior"
    seen = f"{slope:.3f}"
    return Check("score of pure noise", near, seen, "-x / sigma^2 (1.000)", advice)


def clock(case: Case) -> Check:
    """A network denoises best when told the noise level that there is: others are tried."""
    flow, name, expected = case.flow, "clock fits the noise", "no better elsewhere"
    if not isinstance(flow.field, GaussianField):
        return Check(name, None, "left out: no network with a clock", "", "")
    if not case.usable or not case.denoising.passed:
        return Check(name, None, "left out: denoising failed", "", "")
    levels = within(flow, (0.0, 2.0, 4.0))
    data, noise = case.basis[:32], case.noise[:32]
    right = errors(flow, case.wiring, data, noise, levels)
    tried = [errors(flow, case.wiring, data, noise, levels, shift=s) for s in SHIFTS]
    gains = [gain(right, each) for each in tried]
    best = max(range(len(SHIFTS)), key=lambda i: gains[i][0])
    part, doubt = gains[best]
    seen = f"{round(100 * part):+d} % at log-SNR {SHIFTS[best]:+g}"
    if part < 0.1 or part < 4.0 * doubt:
        return Check(name, True, seen, expected, "")
    better = _better_clock(case, right, levels, part)
    hint = better or (
        f"the network denoises {part:.0%} better when told a log-SNR {SHIFTS[best]:+g} away from "
        "what it gets: check the betas or the schedule behind clock="
    )
    return Check(name, False, seen, expected, hint)


def _better_clock(case: Case, right: np.ndarray, levels: tuple[float, ...], part: float) -> str:
    """The advice of a known clock that gains as much as a shift does."""
    best, advice = 0.8 * part, ""
    for wiring in rewiring.candidates(case.wiring, case.flow.shape):
        if wiring.clock == case.wiring.clock or wiring.kind == predictions.VELOCITY:
            continue
        found, _ = gain(right, errors(case.flow, wiring, case.basis[:32], case.noise[:32], levels))
        if found > best + 1e-3:
            best, advice = found, wiring.advice
    return advice


def direction(case: Case) -> Check:
    """A velocity read backwards swaps data and noise. Where both are alike, as for a Gaussian, that
    is a right flow of samples of spread 1 / s, and denoises well: only the spread tells."""
    name, expected = "direction of time", "samples no wider than noise"
    if case.data is not None or case.wiring.kind != predictions.VELOCITY or not case.usable:
        why = "denoising on data tells" if case.data is not None else "a velocity alone is in doubt"
        return Check(name, None, f"left out: {why}", "", "")
    spread = float(jnp.std(case.drawn))
    seen = f"samples of std {spread:.3g}"
    if spread < 1.2 or not case.denoising.passed:
        return Check(name, True if spread < 1.2 else None, seen, expected, "")
    turned = _turned(case)
    if turned is None:
        return Check(name, True, seen, expected, "")
    hint = (
        f"the velocity's clock seems to run the wrong way round: reversed, the network fits as "
        f"well and its samples have std {turned:.2g}, not {spread:.2g}; swap clocks.flow_time and "
        "clocks.reversed_flow_time, or pass data= to tell"
    )
    return Check(name, False, seen, expected, hint)


def _turned(case: Case) -> float | None:
    """The spread of the samples with the clock reversed, if that is narrower and denoises too."""
    wiring = rewiring.turned(case.wiring)
    drawn = case.drawn_as(wiring, 16)
    narrow = bool(jnp.all(jnp.abs(drawn) < FAR)) and float(jnp.std(drawn)) < 1.0
    return float(jnp.std(drawn)) if narrow and case.judged(wiring, drawn).passed else None


def centre(case: Case) -> Check:
    """What is denoised has the mean of what was noised, ``E[E[x0 | x_t]] = E[x0]``: a bias of the
    network, far below the floor of its errors, moves all samples to one side."""
    flow, name, expected = case.flow, "mean is kept", f"<= {OFF:g}"
    if not case.usable or not case.denoising.passed:
        return Check(name, None, "left out: denoising failed", "", "")
    path, basis, spread = present(flow.path), case.basis, float(jnp.std(case.basis))
    found = []
    for level in within(flow, (-4.0, -2.0, 0.0)):
        log_snr = jnp.asarray(level, basis.dtype)
        alpha, sigma = path.alpha(log_snr), path.sigma(log_snr)
        x = alpha * basis + sigma * case.noise
        denoised = (x + sigma**2 * score(flow, case.wiring, x, log_snr)) / alpha
        off = jnp.mean(denoised - basis, axis=tuple(range(1, basis.ndim))) / spread
        doubt = 4.0 * float(jnp.std(off)) / len(off) ** 0.5
        found.append((max(abs(float(jnp.mean(off))) - doubt, 0.0), level))
    worst, level = max(found)
    seen = f"{worst:.2g} std off at log-SNR {level:g}"
    if worst <= OFF:
        return Check(name, True, seen, expected, "")
    hint = (
        f"denoised samples are {worst:.2g} standard deviations beside the noised ones on average "
        f"(log-SNR {level:g}), so that all samples drift to one side: look for a bias of the "
        "network's output, weights of another run, or a normalisation that is left out"
    )
    return Check(name, False, seen, expected, hint)


def noise_end(case: Case) -> Check:
    """How much signal is left where the prior takes over: nats of KL(p_T, prior), from the mean
    ``snr |m|^2 / 2`` and from the spread ``snr^2 D v^2 / 4``."""
    name, start = "noise end of the range", float(case.flow.interval[0])
    mean, basis = jnp.mean(case.basis, axis=0), case.basis
    far = float(jnp.sqrt(jnp.mean(mean**2)))
    variance = float(jnp.mean((basis - mean) ** 2))
    snr, size = float(np.exp(start)), case.flow.size
    nats = 0.5 * snr * size * far**2 + 0.25 * size * (snr * variance) ** 2
    most = max(0.1, 1e-4 * size)
    drift = float(np.sqrt(snr)) * far
    seen, expected = f"{nats:.2g} nats ignored", f"< {most:.2g}"
    if nats < most and drift < DRIFT:
        return Check(name, True, seen, expected, "")
    if nats < most:
        seen, expected = f"mean {drift:.2g} of the noise", f"< {DRIFT:g}"
    centre, std = float(jnp.mean(basis)), float(jnp.std(basis))
    if max(abs(centre), std) > 2.0:
        lower = min(start, 2.0 * float(np.log(0.02 / max(far, variance**0.5))))
        hint = (
            f"the data are not standardised (mean {centre:.3g}, std {std:.3g}), and the prior "
            "starts around zero: train on (x - mean) / std and pass standardise=(mean, std), or "
            f"start log_snr= at {lower:.0f} or lower"
        )
    else:
        hint = (
            f"the prior ignores signal worth {nats:.2g} nats: start log_snr= lower than "
            f"{start:g}, as the model was trained"
        )
    return Check(name, False, seen, expected, hint)
