"""Devices and settings."""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import jax.numpy as jnp
import numpy as np

from densityguide import locks, parallel, settings


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0


@dataclass(frozen=True)
class Outer:
    name: str
    steps: int = 1
    pair: tuple[int, int] = (0, 0)
    counts: dict[str, int] = field(default_factory=dict)
    ends: tuple[float, ...] = ()
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True)
class Unhashed:
    rate: np.ndarray

    def __call__(self, shared, x):
        return shared + self.rate * x


def add(shared, x):
    return shared + x


def held_twice():
    with TemporaryDirectory() as folder, locks.held(Path(folder)), locks.held(Path(folder)):
        pass


def held_by_a_folder():
    with TemporaryDirectory() as folder:
        (Path(folder) / locks.LOCK).mkdir()
        with locks.held(Path(folder)):
            pass


MISUSES = {
    # folders
    "held": (held_twice, "another run is at work in .*: wait until it ends"),
    "lock": (held_by_a_folder, r"\.lock to be the lock of a run, it is a folder: move it away"),
    # devices
    "together": (lambda: parallel.together(add, devices=()), r"empty: pass jax.devices\(\)"),
    "replicate": (lambda: parallel.replicate(1.0, ()), r"empty: pass jax.local_devices\(\)"),
    "number-of-devices": (
        lambda: parallel.pmap(add, devices=2),
        r"list of devices, got 2: pass jax.local_devices\(\), or some",
    ),
    "no-hash": (
        lambda: parallel.pmap(Unhashed(np.ones(2))),
        "fn must be a function that can be hashed, got Unhashed",
    ),
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
    "type": (
        lambda: settings.build(Outer, {"steps": "many"}),
        "expected a whole number for steps, got 'many'",
    ),
    "key": (lambda: settings.build(Outer, {"setps": 1}), "unknown .* setps: did you mean 'steps'"),
    "key-within": (
        lambda: settings.build(Outer, {"inner": {"rat": 1.0}}),
        "unknown configuration key inner.rat: did you mean 'rate'",
    ),
    "true": (lambda: settings.build(Outer, {"steps": True}), "a whole number for steps, got true"),
    "no-list": (
        lambda: settings.build(Outer, {"ends": 1.0}),
        "expected a list for ends, got 1.0",
    ),
    "lost": (lambda: settings.build(Outer, {}), "bad configuration: .*name"),
    "no-number": (
        lambda: settings.build(Outer, {"inner": {"rate": True}}),
        "expected a number for inner.rate, got true",
    ),
    "no-pair": (
        lambda: settings.build(Outer, {"pair": [1]}),
        r"expected a list of 2 for pair, got \[1\]",
    ),
    "no-count": (
        lambda: settings.build(Outer, {"counts": {"a": 0.5}}),
        "expected a whole number for counts.a, got 0.5",
    ),
    "no-table": (
        lambda: settings.build(Outer, {"inner": 3}),
        r"expected a table \[inner\], got inner = 3",
    ),
}
