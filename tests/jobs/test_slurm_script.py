"""When configs/slurm.sh puts its job back into the queue, with programs that stand for SLURM's."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "configs" / "slurm.sh"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.mark.parametrize(
    ("status", "restarts", "requeued"),
    [
        (0, "", False),
        (1, "", False),
        (2, "", False),  # refused: it would be again
        (74, "", False),  # somebody has to make room
        (75, "", True),
        (75, "19", True),
        (75, "20", False),
        (134, "", True),  # JAX ends a process whose peer died while they met
        (137, "", True),  # killed, or its node lost
        (137, "20", False),
    ],
)
def test_requeue(tmp_path, status, restarts, requeued):
    for name, text in {
        "srun": f'echo "$@" >> calls; exit {status}',
        "scontrol": 'echo "scontrol $@" >> calls',
    }.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    given = {"PATH": path, "SLURM_JOB_ID": "7", "SCRATCH": "/scratch"}
    if restarts:
        given["SLURM_RESTART_COUNT"] = restarts
    done = subprocess.run(["bash", SCRIPT, "--set", "count=9"], env=given, cwd=tmp_path)
    assert done.returncode == status
    first, *rest = (tmp_path / "calls").read_text().splitlines()
    assert first == (
        "--kill-on-bad-exit=0 densityguide run configs/emoji32-sweep.toml "
        "--out /scratch/emoji32-sweep --distributed --set count=9"
    )
    assert rest == (["scontrol requeue 7"] if requeued else [])
