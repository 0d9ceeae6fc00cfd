"""Devices and settings."""

import os
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import jax.numpy as jnp
import numpy as np

from densityguide import parallel
from densityguide.disk import files, locks, settings


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


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def read_text(text):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.toml"
        path.write_text(text)
        return settings.read(path)


def opened(make):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        make(path)
        return files.read(path, "a card", 3)


MISUSES = {
    # files
    "no-file": (lambda: opened(lambda path: None), "expected a card, .*/a does not exist"),
    "a-folder": (lambda: opened(Path.mkdir), "expected a card, .*/a is a folder"),
    "a-pipe": (lambda: opened(os.mkfifo), "expected a card, .*/a is a device or a pipe"),
    "a-link": (
        lambda: opened(lambda path: path.symlink_to("nowhere")),
        "expected a card, .*/a is a link to nothing",
    ),
    "too-large": (
        lambda: opened(lambda path: path.write_text("four")),
        "expected a card of at most 3 bytes, .*/a is larger",
    ),
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
    "no-default": (
        lambda: settings.build(Outer, {}),
        "bad configuration: expected name, which has no default, got none: set it",
    ),
    "fractional": (
        lambda: settings.build(Outer, {"name": "a", "steps": 8.0}),
        "expected a whole number for steps, got 8.0",
    ),
    "too-many": (
        lambda: settings.build(Outer, {"name": "a", "pair": [1, 2, 3]}),
        r"expected a list of 2 for pair, got \[1, 2, 3\]",
    ),
    "no-text": (
        lambda: settings.build(Outer, {"name": [1]}),
        r"expected a text for name, got \[1\]",
    ),
    "no-name": (
        lambda: settings.build(Outer, {"name": "a", "ends": ["b"]}),
        r"expected a number for ends\[0\], got 'b'",
    ),
    "date": (
        lambda: settings.build(Outer, {"name": date(2000, 1, 1)}),
        "datetime.date.* is no number, text, list or table",
    ),
    "deep": (lambda: settings.build(Outer, {"name": nested(10**5)}), "nested too deeply"),
    "deep-file": (lambda: read_text("a = " + "[" * 10**5), "nested too deeply"),
    "large-file": (lambda: read_text("#" * 2**21), "of at most 1 MB"),
    "folder": (lambda: settings.read(Path(__file__).parent), "is a folder: name the file in it"),
    "device": (lambda: settings.read("/dev/null"), "/dev/null is none"),
    "no-table": (
        lambda: settings.build(Outer, {"inner": 3}),
        r"expected a table \[inner\], got inner = 3",
    ),
}
