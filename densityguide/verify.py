"""Is a model wired up right? Checks with a pass or fail, and the likely mistake by name."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide import priors, rewiring
from densityguide.alignment import score_alignment
from densityguide.divergence import exact, orthogonal
from densityguide.errors import floating, present, require
from densityguide.flows import Flow
from densityguide.sampling import sample

__all__ = ["Check", "Verification", "verify"]


class Check(NamedTuple):
    """One line of the table; ``passed`` is None where a check does not apply."""

    name: str
    passed: bool | None
    seen: str
    expected: str
    hint: str


class Verification(NamedTuple):
    """All checks; ``print`` it for a table. ``passed`` is True if none failed."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed is not False for check in self.checks)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do about the failures."""
        return tuple(c.hint for c in self.checks if c.passed is False and c.hint)

    def __str__(self) -> str:
        marks = {True: "pass", False: "FAIL", None: "-"}
        rows = [("check", "", "seen", "expected")]
        rows += [(c.name, marks[c.passed], c.seen, c.expected) for c in self.checks]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows
        ]
        lines += [f"likely mistake: {hint}" for hint in self.advice]
        return "\n".join(line.rstrip() for line in lines)


LEVELS = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0)
UNEXPLAINED = "no single change of prediction, sign, clock, path or input scale explains it"


def verify(
    flow: Flow,
    key: Array,
    *,
    data: Array | None = None,
    count: int = 64,
    steps: int = 24,
) -> Verification:
    """Check how a model is wired: prior, time, prediction, scale, score, smoothness, dtype.

    The main test: with the right wiring no noise level may be denoised worse than by the best
    isotropic linear denoiser, ``E|eps_hat - eps|^2 / D <= a^2 v / (a^2 v + sigma^2)``. It is made
    on ``data`` (as the model expects it, [n, *shape]) or, without, on the model's own samples.
    If it fails, other wirings are tried, and the one that passes names the mistake.

    Args:
        count: samples per check.
        steps: of each solve.

    Returns:
        A `Verification`; print it.

    Raises:
        ValueError: data of another shape, or integers (apply the model's transform first).
    """
    require(key is not None, "verify needs a key: pass jax.random.key(...)")
    if data is not None:
        data = floating(data, "data", "apply the model's transform first")
        require(
            data.shape[1:] == flow.shape and data.shape[0] >= 8,
            f"data must be [n >= 8, {', '.join(map(str, flow.shape))}], got {data.shape}",
        )
        data = data[:count]
    keys = jax.random.split(key, 7)
    checks = [_finite(flow, keys[0], count), _repeatable(flow, keys[0]), _precision(flow)]
    if checks[0].passed:
        drawn = _generate(flow, keys[1], count, steps)
        if flow.path is not None:
            checks += _gaussian_path(flow, keys[2], data, drawn, count, steps)
            checks.append(_noise_end(flow, data if data is not None else drawn))
        elif data is not None:
            checks.append(_encoding(flow, keys[2], data, steps))
        if data is not None:
            checks.append(_spread(data, drawn))
        checks += [_score_of_flow(flow, keys[3], steps), _kinks(flow, keys[4])]
    return Verification(tuple(_first_causes(checks)))


def _first_causes(checks: list[Check]) -> list[Check]:
    """Drop the advice of checks that a mistake already named explains."""
    failed = {c.name.partition(" (")[0]: c for c in checks if c.passed is False}
    explained: set[str] = set()
    if "denoising" in failed and not failed["denoising"].hint.startswith(UNEXPLAINED):
        explained = {"scale of the data", "score belongs to the flow", "noise end of the range"}
    elif "noise end of the range" in failed:
        explained = {"score of pure noise"}
    return [c._replace(hint="") if c.name in explained else c for c in checks]


def _generate(flow: Flow, key: Array, count: int, steps: int) -> Array:
    def one(key: Array) -> Array:
        return sample(flow, flow.prior.sample(key), divergence=None, steps=steps).x

    return jax.jit(jax.vmap(one))(jax.random.split(key, count))


def _finite(flow: Flow, key: Array, count: int) -> Check:
    @jax.jit
    def finite(flow: Flow, key: Array) -> tuple[Array, Array]:
        times = jnp.linspace(*flow.interval, 9)

        def outputs(key: Array) -> Array:
            x = flow.prior.sample(key)
            out = jax.lax.map(lambda t: flow.field(flow.params, x * _scale(flow, t), t), times)
            fine = [jnp.all(jnp.isfinite(a), axis=range(1, a.ndim)) for a in jax.tree.leaves(out)]
            return jnp.all(jnp.stack(fine), axis=0)

        return times, jnp.all(jax.lax.map(outputs, jax.random.split(key, min(count, 8))), axis=0)

    times, fine = finite(flow, key)
    bad = np.asarray(times)[~np.asarray(fine)]
    seen = f"inf or nan at t = {bad[0]:.3g}" if bad.size else "finite at 9 times"
    hint = "the interval leaves the range the model can take: narrow it" if bad.size else ""
    return Check("finite outputs", not bad.size, seen, "finite", hint)


def _scale(flow: Flow, t: Array) -> Array:
    """Typical size of the state relative to the prior's, for unit-variance data."""
    if flow.path is None:
        return jnp.ones(())
    size = jnp.hypot(flow.path.alpha(t), flow.path.sigma(t))
    return size / flow.path.sigma(flow.interval[0])


def _repeatable(flow: Flow, key: Array) -> Check:
    @jax.jit
    def twice(flow: Flow, key: Array) -> tuple[Array, Array]:
        # Traced twice: randomness drawn while tracing shows as a difference.
        x = flow.prior.sample(key)
        first, second = (flow.field(flow.params, x, flow.interval[0])[0] for _ in range(2))
        return first, second

    first, second = twice(flow, key)
    same = bool(jnp.all((first == second) | ~jnp.isfinite(first)))
    hint = "" if same else "the network is random: switch dropout and other noise off (eval mode)"
    return Check("repeatable", same, "same twice" if same else "differs", "same twice", hint)


def _precision(flow: Flow) -> Check:
    field = flow.field
    apply = getattr(field, "apply", None) or getattr(field, "velocity", None)
    seen = "float32 or better"
    if apply is not None:
        x = jax.ShapeDtypeStruct(flow.shape, jnp.float32)
        out = jax.eval_shape(apply, flow.params, x, jax.ShapeDtypeStruct((), jnp.float32))
        fine = jnp.finfo(out.dtype).bits >= 32
        seen = str(out.dtype)
    else:
        fine = True
    hint = "" if fine else f"the network computes in {seen}: log p of many nats needs float32"
    return Check("precision", fine, seen, "float32 or better", hint)


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


def _gaussian_path(
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
            basis = _generate(candidate.flow, key, min(count, 32), steps)
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


def _noise_end(flow: Flow, data: Array) -> Check:
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


def _spread(data: Array, drawn: Array) -> Check:
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
    return Check("scale of the data", fine, f"samples / data {ratio:.2f}", "0.7 .. 1.4", hint)


def _encoding(flow: Flow, key: Array, data: Array, steps: int) -> Check:
    """A CNF must carry data to typical points of its prior."""
    back = flow.replace(interval=flow.interval[::-1], path=None)

    def encode(x: Array) -> Array:
        return flow.prior.log_prob(sample(back, x, divergence=None, steps=steps).x)

    seen = jax.vmap(encode)(data)
    typical = jax.vmap(lambda k: flow.prior.log_prob(flow.prior.sample(k)))(
        jax.random.split(key, 256)
    )
    off = float((jnp.mean(seen) - jnp.mean(typical)) / (jnp.std(typical) + 1e-12))
    fine = bool(np.isfinite(off)) and abs(off) < 1.0
    hint = ""
    if not fine:
        hint = "data do not land on the prior: interval= must be (prior end, data end); swap it?"
    return Check("data reach the prior", fine, f"{off:+.2f} std of log p", "|.| < 1", hint)


def _score_of_flow(flow: Flow, key: Array, steps: int) -> Check:
    """Both forms of score alignment must agree if the score is the gradient of log p.

    On a Gaussian path the score is tied to the velocity, and the denoising check judges both: what
    is left is how far the network is from the gradient of a density, which no wiring can mend. It
    is shown, not judged.
    """
    name, expected = "score belongs to the flow", "ratio 1 +- 0.15"
    tied = flow.path is not None
    if tied:
        expected = "1 for an exact model"
    if not flow.has_score:
        return Check(name, None, "no score", expected, "")
    trace = exact() if flow.is_small else orthogonal(4)

    @jax.jit
    def both(flow: Flow, keys: Array) -> tuple[Array, Array]:
        def one(key: Array) -> tuple[Array, Array]:
            x = flow.prior.sample(key)
            direction = priors.score(flow.prior, x)
            with_score = score_alignment(flow, x, direction=direction, steps=steps)
            without = score_alignment(
                flow,
                x,
                direction=direction,
                use_score=False,
                divergence=trace,
                key=key,
                steps=steps,
            )
            return with_score.value, without.value

        return jax.vmap(one)(keys)

    first, second = both(flow, jax.random.split(key, 8))
    ratio = float(jnp.sum(first * second) / jnp.sum(second**2))
    if tied:
        return Check(name, None, f"ratio {ratio:.3f}", expected, "")
    fine = bool(np.isfinite(ratio)) and abs(ratio - 1.0) < 0.15
    hint = ""
    if not fine:
        what = "the wrong sign" if ratio < -0.5 else "another scale or belongs to another density"
        hint = f"the score has {what}: it must be grad log p_t of the flow's own density"
    return Check(name, fine, f"ratio {ratio:.3f}", expected, hint)


def _kinks(flow: Flow, key: Array) -> Check:
    """Second derivatives along a segment must add up to the change of the first."""
    t = 0.5 * (flow.interval[0] + flow.interval[1])
    keys = jax.random.split(key, 8)
    size = 1.0 if flow.path is None else jnp.hypot(flow.path.alpha(t), flow.path.sigma(t))

    @jax.jit
    @jax.vmap
    def mismatch(key: Array) -> tuple[Array, Array, Array]:
        key_x, key_d = jax.random.split(key)
        x = size * jax.random.normal(key_x, flow.shape)
        d = 0.5 * size * jax.random.normal(key_d, flow.shape)

        def slope(tau: Array) -> Array:
            along = lambda tau: flow.field(flow.params, x + tau * d, t)[0]  # noqa: E731
            return jax.jvp(along, (tau,), (jnp.ones_like(tau),))[1]

        def curve(tau: Array) -> Array:
            return jax.jvp(slope, (tau,), (jnp.ones_like(tau),))[1]

        n = 32
        middles = (jnp.arange(n) + 0.5) / n
        total = jax.lax.map(curve, middles)
        first = slope(jnp.zeros(()))
        change = slope(jnp.ones(())) - first
        off = jnp.mean(total, axis=0) - change
        return jnp.sum(off**2), jnp.sum(change**2), jnp.sum(first**2)

    off, change, first = (jnp.sum(parts) for parts in mismatch(keys))
    # Of a linear field, as a Gaussian's, the curvature is rounding: less than 1% counts as none.
    part = float(jnp.sqrt(off / jnp.maximum(change, 1e-4 * first + 1e-20)))
    fine = part < 0.2
    hint = ""
    if not fine:
        hint = (
            "the network has kinks (ReLU or max-pooling): its traces are right, but alignment "
            "without the score and other second-order results are not; use SiLU or GELU"
        )
    return Check("smooth (no kinks)", fine, f"{part:.1%} of curvature lost", "< 20%", hint)
