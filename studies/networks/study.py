"""Measures the rows, keeps them in networks.json, and writes the table into docs/networks.md.

A row that is kept is not measured again; one whose packages are not installed is left as it is.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import densityguide as dg
from studies.benchmarks import report
from studies.networks.subjects import SUBJECTS, Subject

__all__ = ["run"]

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "networks.md"
QUANTILES, SEED, PLAIN = (0.3, 0.5, 0.7), 0, 1
HEADS = [
    "network",
    "what it needed",
    "lines",
    "verify",
    "log p rises with q",
    "encoded - tracked, RMS (nats)",
    "probes (nats)",
    "D",
]
HEADING = """# Networks that others wrote

```sh
python -m studies networks            # measures what is not in networks.json yet
python -m studies networks NAME ...   # those rows, anew
```

One row a network: what its user had to say, in how many lines after the imports; whether `verify`
passes without data; for how many latents log p rises at each of the quantiles {quantiles}; and how
far what guidance tracks at 0.5 lies from the log p of the encoded sample, beside what the probes
leave open. The MNIST networks and their weights are those of `studies/third_party`. Networks of
diffusers, azula, flaxdiff, gensbi and hackable-diffusion were trained for this table, minutes
each, by their libraries' losses and schedules (`studies/networks/trained.py`): on 8x8 digits,
gensbi's and hackable-diffusion's on a ring. Rows called *closed form* have the exact network of
Gaussian data inside a module: they are about the framework. hackable-diffusion needs Python 3.12:
its row was measured there, with JAX 0.12.

What has no row is tried in the tests with random weights, of which `verify` has nothing to say:
text to image by Stable Diffusion, XL, 3, Flux, PixArt and DiT, every stage and the whole loop
against the pipeline of diffusers itself; azula's plugins against their own posterior means; EDM2
against a network of PyTorch. NumPyro, BlackJAX and distrax are samplers and priors, not networks.

<!-- networks -->
<!-- /networks -->
"""


def run(
    names: Sequence[str], small: bool, out: Path, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Measures the rows and writes both files into ``out``; all rows that are kept.

    ValueError for an unknown name.
    """
    unknown = [name for name in names if name not in SUBJECTS]
    if unknown:
        raise ValueError(f"unknown network {unknown[0]!r}: choose among {'; '.join(SUBJECTS)}")
    out.mkdir(parents=True, exist_ok=True)
    file = out / "networks.json"
    kept = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for name in names or [name for name in SUBJECTS if name not in kept]:
        absent = [package for package in SUBJECTS[name].packages if find_spec(package) is None]
        if absent:
            tell(f"{name}: left out, {absent[0]} is not installed")
            continue
        kept[name] = measured(SUBJECTS[name], small)
        file.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
        tell(f"{name}: {kept[name]}")
    page = PAGE if out.resolve() == HERE.resolve() else out / "networks.md"
    if not page.exists():
        page.write_text(HEADING.format(quantiles=", ".join(map(str, QUANTILES))), "utf-8")
    rows = [(name, kept[name]) for name in SUBJECTS if name in kept]
    report.write("networks", HEADS, [cells(*row) for row in rows], page=page)
    return [row for _, row in rows]


def measured(subject: Subject, small: bool) -> dict[str, Any]:
    """One row."""
    given = () if subject.network is None else (subject.network(),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layouts that were found
        flow = subject.make(*given)
    key = jax.random.key(SEED)
    checks = dg.verify(flow, key, count=32 if small else None)
    count, steps = (2, 16) if small else (4, 24)
    trace = dg.exact() if flow.is_small else dg.orthogonal(2)

    def one(flow: dg.Flow, key: jax.Array, q: jax.Array) -> Any:
        latent, guidance = dg.latent(flow, key), dg.quantile(q)
        out = dg.sample(flow, latent, guidance=guidance, divergence=trace, key=key, steps=steps)
        return out.log_density, out.tracked, out.standard_error, out.status

    grid = jax.jit(jax.vmap(jax.vmap(one, (None, None, 0)), (None, 0, None)))
    found = grid(flow, jax.random.split(key, count), jnp.asarray(QUANTILES))
    log_p, tracked, error, status = map(np.asarray, found)
    rises = (np.diff(log_p, axis=1) > 0).all(axis=1)
    return {
        "needed": subject.needed,
        "lines": subject.lines,
        "failed": [check.name for check in checks.checks if check.passed is False],
        "rises": int(rises.sum()),
        "latents": count,
        "apart": float(np.sqrt(np.mean((log_p - tracked)[:, PLAIN] ** 2))),
        "probes": float(np.median(error[:, PLAIN])),
        "unusable": int(np.sum((status & int(dg.Status.NON_FINITE | dg.Status.INVALID)) != 0)),
        "size": flow.size,
    }


def cells(name: str, row: dict[str, Any]) -> list[Any]:
    """A row of the table."""
    verdict = "passes" if not row["failed"] else "FAIL: " + ", ".join(row["failed"])
    rises = f"{row['rises']} of {row['latents']}"
    figures = (f"{row['apart']:.2g}", f"{row['probes']:.2g}", row["size"])
    return [name, row["needed"], row["lines"], verdict, rises, *figures]
