"""Devices and settings."""

from dataclasses import dataclass, field
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from densityguide import parallel, settings


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0


@dataclass(frozen=True)
class Outer:
    steps: int = 1
    ends: tuple[float, ...] = ()
    inner: Inner = field(default_factory=Inner)


def add(shared, x):
    return shared + x


MISUSES = {
    # devices
    "together": (lambda: parallel.together(add, devices=()), r"empty: pass jax.devices\(\)"),
    "replicate": (lambda: parallel.replicate(1.0, ()), r"empty: pass jax.local_devices\(\)"),
    "samples": (lambda: parallel.pmap(add)(1.0), "expected arrays of samples after the shared"),
    "axes": (
        lambda: parallel.pmap(lambda shared, x, y: x)(1.0, jnp.ones(3), np.ones(4)),
        "needs the same leading axis, got shapes",
    ),
    # settings
    "absent": (lambda: settings.read("absent.toml"), "absent.toml does not exist"),
    "toml": (lambda: settings.read(Path(__file__)), "expected TOML in .*misuse_of_runs.py"),
    "assignment": (lambda: settings.override({}, ["steps"]), "KEY=VALUE to override.*got 'steps'"),
    "table": (
        lambda: settings.override({"steps": 1}, ["steps.rate=2"]),
        "expected a table steps to override steps.rate, it is 1",
    ),
    "type": (lambda: settings.build(Outer, {"steps": "many"}), "bad configuration: .*steps"),
    "key": (lambda: settings.build(Outer, {"setps": 1}), "unknown .* setps: did you mean 'steps'"),
    "key-within": (
        lambda: settings.build(Outer, {"inner": {"rat": 1.0}}),
        "unknown configuration key inner.rat: did you mean 'rate'",
    ),
    "true": (lambda: settings.build(Outer, {"steps": True}), "expected a whole number, got true"),
    "no-list": (
        lambda: settings.build(Outer, {"ends": 1.0}),
        "expected a list for ends, got ends = 1.0",
    ),
    "no-table": (
        lambda: settings.build(Outer, {"inner": 3}),
        r"expected a table \[inner\], got inner = 3",
    ),
}
