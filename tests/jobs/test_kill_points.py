"""A job that is killed at any write goes on to the bytes of one that was not.

What a killed process leaves is the folder as it is at that moment, so the folder is copied before
every step that changes it, and the job started again in each of the copies.
"""

import os
import shutil
import tempfile

import pytest
from outputs import contents
from test_peers import cheap  # noqa: F401  (a fixture)

from densityguide.app import jobs
from densityguide.app.jobs import Output, Sampling

STEPS = ((tempfile, "mkdtemp"), (os, "fsync"), (os, "replace"))


def copied_at_every_step(out, folder, monkeypatch):
    """The copies, one more for each step from now on."""
    copies = []

    def watched(step):
        def first_copied(*given, **more):
            copies.append(folder / str(len(copies)))
            shutil.copytree(out, copies[-1])
            return step(*given, **more)

        return first_copied

    for module, name in STEPS:
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    return copies


@pytest.mark.parametrize("kind", ["npz", pytest.param("zarr", marks=pytest.mark.slow)])
def test_killed_at_any_write(cheap, tmp_path, kind):  # noqa: F811
    job = Sampling("world:gaussian", count=6, output=Output(2, 2, kind))
    out, folder = tmp_path / "out", tmp_path / "copies"
    jobs.run(job, out)
    whole = contents(out)
    (out / "manifest.json").write_bytes(  # begun, and not at its end
        whole["manifest.json"].replace(b'"finished": true', b'"finished": false')
    )
    shutil.rmtree(out / "shards" / "000000.zarr", ignore_errors=True)
    for name in ("000000.npz", "000000.json", "000001.json"):  # of the second the arrays are there
        (out / "shards" / name).unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        copies = copied_at_every_step(out, folder, patch)
        jobs.run(job, out)
    assert contents(out) == whole
    assert len(copies) > 20
    assert any(list(copy.rglob("*.part/*")) for copy in copies)  # half-written files among them
    for copy in copies:
        jobs.run(job, copy)
        assert contents(copy) == whole, copy
