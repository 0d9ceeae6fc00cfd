"""Float64 for the laws in this folder, and the pinned reference worlds.

Subfolders, and modules that say ``X64 = False``, run in JAX's default float32.
"""

import builtins
import os
import shutil
from pathlib import Path

import pytest

from densityguide import xla

xla.prepare()  # before JAX starts: see the module
# Tests are small programs, most of whose time is compilation: this part of the compiler takes a
# third to a half of it, and makes them no faster. Jobs in processes of their own have the default.
EMITTERS = "xla_cpu_use_fusion_emitters"
given = os.environ.get("XLA_FLAGS", "")
if EMITTERS not in given and xla.is_known(EMITTERS):
    os.environ["XLA_FLAGS"] = f"{given} --{EMITTERS}=false".strip()

import jax  # noqa: E402

HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def float64(request):
    wanted = request.path.parent == HERE and getattr(request.module, "X64", True)
    with jax.enable_x64(wanted):
        yield


@pytest.fixture(scope="module", autouse=True)
def quick_compiles(request):
    """The laws are small programs: most of their time is compilation, so leave out its passes.

    Subfolders run networks, whose programs are worth optimising.
    """
    yield from optimised(request.path.parent != HERE)


@pytest.fixture
def unoptimised():
    """The same for one test of a subfolder, of a world or another small network."""
    yield from optimised(False)


def optimised(wanted):
    """Compile with or without the passes, for as long as the generator is held."""
    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, not wanted)
    yield
    jax.config.update(name, before)


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Compiled programs hold memory maps, of which Linux gives a process 65530."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 40_000:
        jax.clear_caches()


@pytest.fixture(scope="session")
def worlds():
    """The pinned mixtures by name: ``worlds("mixture12", path)``; see ``oracles.world``."""
    from oracles import world

    return world


@pytest.fixture(scope="module")
def small(worlds):
    """(flow, latents): a mixture in 12 dimensions over a short range, with a calibration made up to
    tell the rules apart."""
    import jax.numpy as jnp
    from oracles import latents

    import densityguide as dg

    flow = worlds("mixture12", "vp", (-6.0, 4.0))
    times = jnp.linspace(-6.0, 4.0, 5)
    spread = jnp.asarray([1.0, 0.9, 0.6, 0.4, 0.2])
    flow = flow.replace(calibration=dg.Calibration(times, -3.0 * times, spread))
    return flow, latents(flow, 12)


@pytest.fixture
def hide(monkeypatch):
    """``hide("torch")``: from here on the package is one that is not installed."""

    def hide(package):
        find = builtins.__import__

        def hidden(name, *args, **kwargs):
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)
            return find(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", hidden)

    return hide


@pytest.fixture(scope="session")
def browser():
    """A real one, which keeps what its console and its network say."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs chromium and chromedriver: Debian has them")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()
