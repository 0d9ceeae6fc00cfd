"""Traces, guidance, noise and solves."""

import diffrax
import jax
import jax.numpy as jnp
from makers import bare, key, scored, wide, world, x

import densityguide as dg
from densityguide import solve
from densityguide.solve import solver_named
from densityguide.verify.measures import measures


def sampled(flow=world, **options):
    return dg.sample(flow(), x(), **options)


def noisy(noise, flow=world, **options):
    return sampled(flow, noise=noise, key=key(), **options)


MISUSES = {
    # traces
    "divergence-integers": (lambda: dg.divergence(jnp.sin, jnp.arange(3)), "must be a float array"),
    "divergence-shape": (lambda: dg.divergence(lambda x: x[:1], x()), "outputs of the shape"),
    "chunk": (lambda: dg.exact(0), "chunk must be an integer of at least 1, got 0"),
    "probes": (lambda: dg.hutchinson(1), "one probe has no error bar"),
    "probes-float": (lambda: dg.orthogonal(2.5), "probes must be an integer"),
    "distribution": (lambda: dg.hutchinson(2, "cauchy"), "'rademacher' or 'gaussian'"),
    "divergence-key": (lambda: dg.divergence(jnp.sin, x(), dg.hutchinson(2)), "needs key="),
    "trace-key": (lambda: sampled(divergence=dg.hutchinson(2)), "needs key="),
    "trace-type": (lambda: sampled(divergence=3), "divergence must be exact"),
    "no-trace": (lambda: dg.log_density(world(), x(), divergence=None), "needs a trace"),
    "large": (lambda: dg.log_density(wide(), jnp.ones(300)), "D = 300 is above 256"),
    # knots
    "knots-shape": (lambda: dg.knots([0.0, 1.0], [1.0]), r"one shape \[n >= 2\]"),
    "knots-order": (lambda: dg.knots([1.0, 0.0], [1.0, 2.0]), "strictly rising times"),
    "knots-number": (lambda: dg.knots("ab", [1.0, 2.0]), "expected a number, got .ab."),
    # guidance
    "q": (lambda: dg.quantile(1.5), r"q must lie in \(0, 1\)"),
    "q-end": (lambda: dg.quantile(0.0), r"q must lie in \(0, 1\)"),
    "q-nan": (lambda: dg.pinned(float("nan")), r"q must lie in \(0, 1\)"),
    "q-knots": (lambda: dg.calibrated(dg.knots([0.0, 1.0], [0.5, 2.0])), r"q must lie in \(0, 1\)"),
    "q-complex": (lambda: dg.quantile(1j), "q must be a real number"),
    "cap": (lambda: dg.quantile(0.5, cap=-1.0), "cap must be positive"),
    "target-inf": (lambda: dg.target(float("inf")), "target must be a finite number"),
    "budget-both": (lambda: dg.budget(1.0, bits_per_dim=1.0), "exactly one"),
    "budget-none": (lambda: dg.budget(), "exactly one"),
    "rate": (lambda: dg.rate(3.0), "rate needs a function"),
    "schedule": (lambda: dg.schedule([1.0, 2.0]), "schedule needs densityguide.knots"),
    "guidance-type": (lambda: sampled(guidance=0.7), "guidance must come from"),
    "guidance-score": (
        lambda: sampled(bare, guidance=dg.budget(1.0)),
        "budget guidance needs a score",
    ),
    "guidance-path": (
        lambda: sampled(scored, guidance=dg.quantile(0.7)),
        "needs a Gaussian path.*use budget, rate, schedule or target",
    ),
    "pinned-path": (
        lambda: sampled(scored, guidance=dg.pinned(0.7)),
        "needs a Gaussian path.*use budget",
    ),
    "calibration": (lambda: sampled(guidance=dg.calibrated(0.7)), "needs a calibration"),
    "q-array": (lambda: dg.quantile(jnp.asarray([0.3, 0.5])), "one number.*jax.vmap"),
    "target-array": (lambda: dg.target(jnp.ones(2)), "target must be one number"),
    "budget-nan": (lambda: dg.budget(float("nan")), "nats must be a number, got nan"),
    "gain": (lambda: dg.target(1.0, gain=-3.0), "gain must not be negative"),
    "cap-array": (lambda: dg.quantile(0.5, cap=jnp.ones(2)), "cap must be one number"),
    "schedule-span": (
        lambda: sampled(guidance=dg.schedule(dg.knots([0, 1], [0, 1]))),
        "must span the flow's interval",
    ),
    # noise
    "form": (lambda: dg.noise.constant(0.3, form="heun"), "form must be one of stratonovich"),
    "band": (lambda: dg.noise.band(3.0, -3.0, 0.3), "must have start < stop"),
    "level": (lambda: dg.noise.constant(-0.3), "must not be negative"),
    "noise-type": (lambda: sampled(noise=0.3, key=key()), "noise must be"),
    "noise-key": (lambda: sampled(noise=dg.noise.constant(0.3)), "needs key="),
    "noise-score": (lambda: noisy(dg.noise.constant(0.3), bare), "noise needs a score"),
    "noise-adaptive": (
        lambda: noisy(dg.noise.constant(0.3), rtol=1e-3),
        "stochastic solves use a fixed grid",
    ),
    # solve
    "steps": (lambda: sampled(steps=0), "integer of at least 1, got 0"),
    "steps-float": (lambda: sampled(steps=4.0), "integer of at least 1, got 4.0"),
    "both": (lambda: sampled(steps=4, rtol=1e-3), "pass one or the other"),
    "max-steps": (lambda: sampled(max_steps=4), "belongs to adaptive solves"),
    "adjoint": (lambda: sampled(rtol=1e-3, adjoint="both"), "'reverse' or"),
    "solver": (lambda: sampled(solver="heun"), "explicit Runge-Kutta"),
    "implicit": (lambda: sampled(solver=diffrax.Kvaerno3()), "Runge-Kutta"),
    "euler": (lambda: sampled(solver=diffrax.Euler(), rtol=1e-3), "no error estimate"),
    "grid-function": (
        lambda: sampled(grid=lambda a, b, n: jnp.linspace(b, a, n + 1)),
        "grid must move from the prior's end",
    ),
    "solver-name": (lambda: solver_named("rk4"), "unknown solver 'rk4': choose one of"),
    "order": (lambda: dg.Adams(7), "order must be 1 to 6, got 7"),
    "order-float": (lambda: dg.Adams(2.0), "order must be 1 to 6, got 2.0"),
    "stratonovich": (
        lambda: noisy(dg.noise.constant(0.3), solver=diffrax.Euler()),
        "Euler does not converge to the Stratonovich solution.*diffrax.Heun",
    ),
    "ito": (
        lambda: noisy(dg.noise.constant(0.3, form="ito"), solver=diffrax.Heun()),
        "Heun does not converge to the Ito solution.*diffrax.Euler",
    ),
    "solver-class": (lambda: sampled(solver=diffrax.Tsit5), "add parentheses"),
    "tolerance": (lambda: sampled(rtol=-1e-3), "rtol must be positive"),
    "atol": (lambda: sampled(rtol=1e-3, atol=0.0), "atol must be positive"),
    "max-steps-zero": (
        lambda: sampled(rtol=1e-3, max_steps=0),
        "max_steps must be an integer of at least 1",
    ),
    "grid-shape": (lambda: sampled(grid=[1.0]), "at least two knots"),
    "grid-steps": (lambda: sampled(grid=[-4.0, 3.0], steps=2), "drop steps="),
    "grid-order": (lambda: sampled(grid=[-4, 3, 2, 3]), "must move from"),
    "grid-ends": (lambda: sampled(grid=[-9.0, 3.0]), "must run from -4 to 3"),
    "ladder-tolerance": (
        lambda: solve.climb(lambda steps: (steps, 0.0), 0.0),
        "tolerance must be positive, got 0.0",
    ),
    "ladder-last": (
        lambda: solve.climb(lambda steps: (steps, 0.0), 0.1, last=4),
        "starts at 8 steps, got last=4",
    ),
    "tolerance-steps": (
        lambda: dg.log_density(world(), x(), tolerance=0.1, steps=8),
        "drop steps=",
    ),
    "tolerance-traced": (
        lambda: jax.jit(lambda x: dg.log_density(world(), x, tolerance=0.1))(x()),
        "jit, vmap and grad must know beforehand",
    ),
    "neither": (
        lambda: sampled(measure=False, tracking=None),
        "measure=False and tracking=None leave no log p",
    ),
    "tracking-trace": (
        lambda: sampled(tracking="exact"),
        "tracking must be exact",
    ),
    "tolerance-trace": (lambda: sampled(tolerance=0.1, divergence=None), "of measured log p"),
    "steps-for-traced": (
        lambda: jax.jit(lambda t: dg.steps_for(world(), key(), t))(jnp.ones(())),
        "outside jit and vmap",
    ),
    "monotone-values": (
        lambda: dg.monotone_range(world(), key(), values=(0.5, 0.4)),
        "two or more rising numbers",
    ),
    "measures-values": (
        lambda: measures(world(), key(), values=(0.6, 0.7)),
        "must rise and hold 0.5, the plain model",
    ),
}
