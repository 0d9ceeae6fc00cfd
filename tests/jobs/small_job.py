"""A job of three small shards, and what it leaves."""

import numpy as np

from densityguide.app.jobs import Guidance, Output, Sampling, Solve

SMALL = Sampling(
    "world:gaussian",
    count=5,
    seed=3,
    guidance=Guidance("quantile", (0.45, 0.55)),
    solve=Solve(steps=6),
    output=Output(shard=4, block=2),
)


def arrays(out) -> dict[str, np.ndarray]:
    parts = [np.load(path) for path in sorted((out / "shards").glob("*.npz"))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0].files}
