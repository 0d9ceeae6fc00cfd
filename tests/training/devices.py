"""Print, as JSON, how training on two simulated devices compares with training on one.

Usage: python devices.py FOLDER; started by test_trainer.py, since devices are counted once a
process.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)

import jax
import numpy as np
from tiny import TINY

from densityguide.training import train

config = dataclasses.replace(TINY, log_steps=1)
folder, two = Path(sys.argv[1]), jax.local_devices()
assert len(two) == 2
alone = train(config, folder / "one", devices=two[:1], progress=False)
both = train(config, folder / "two", progress=False)
train(config, folder / "parts", stop_at=3, progress=False)
resumed = train(config, folder / "parts", progress=False)
moved = train(config, folder / "moved", stop_at=3, progress=False)
moved = train(config, folder / "moved", devices=two[1:], progress=False)


def same(a, b, **tolerance):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.allclose(one, other, **tolerance) for one, other in pairs)


def losses(name):
    return [json.loads(line)["loss"] for line in (folder / name / "log.jsonl").open()]


try:
    train(config, folder / "odd", devices=[*two, two[0]], progress=False)
    refusal = ""
except ValueError as error:
    refusal = str(error)
report = {
    "two are one": same(alone, both, rtol=1e-4, atol=1e-5),
    "losses": [losses("one"), losses("two")],
    "resume is exact": same(both, resumed, rtol=0, atol=0),
    "other devices go on": same(both, moved, rtol=1e-4, atol=1e-5),
    "refusal": refusal,
}
print(json.dumps(report))
