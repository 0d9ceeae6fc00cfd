"""manifest.json: what the job is, where it ran and, when it is finished, all its shards."""

from __future__ import annotations

import hashlib
import json
import platform
from typing import Any

import jax
import numpy as np
from upath import UPath

from densityguide import __version__
from densityguide.app.jobs import config
from densityguide.disk import leases, locks, settings, storage

__all__ = ["PROGRAM", "begin", "environment", "facts", "finish", "is_finished", "is_whole", "met"]

NAME, SUMMARY = "manifest.json", "summary.json"
PROGRAM = "densityguide run"
OURS = {NAME, SUMMARY, "shards"}


def environment() -> dict[str, str]:
    """What the last bits of a result may depend on."""
    return {
        "densityguide": __version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": jax.local_devices()[0].device_kind,
    }


def begin(
    path: UPath, job: dict[str, Any], facts: dict[str, Any], *, repair: bool = False
) -> dict[str, Any]:
    """The manifest to go on with: a new one, or that of the same job begun before. Where it is
    damaged, ``repair`` takes the folder's shards for those of this job.

    ValueError for a folder of other files, of another job (saying which setting changed), or whose
    model or data changed since.
    """
    known = storage.read_json(path / NAME)
    if not is_whole(known):
        names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
        names = {name for name in names if not locks.is_leftover(name) and name != leases.FOLDER}
        readable = known is not None and not _is_ours(known)
        if names and (readable or NAME not in names or not names <= OURS):
            raise ValueError(
                f"{path} holds files but no {NAME} of a job: choose another --out, or an empty one"
            )
        if names and not repair:
            raise ValueError(
                f"{path / NAME} is damaged: put it back, choose another --out, or take what is "
                "finished there for shards of this very job by --repair"
            )
        known = {"program": PROGRAM, "job": job, "facts": facts, "environments": []}
    changed = settings.differences(config.completed(known["job"]), job)
    if changed:
        raise ValueError(
            f"{path} holds another job ({'; '.join(changed)}): set it back, or choose another --out"
        )
    for name, was in known["facts"].items():
        if facts.get(name) != was:
            raise ValueError(
                f"the {name} changed since the job in {path} was begun: choose another --out"
            )
    return met(known | {"job": job, "finished": False}, environment())


def met(known: dict[str, Any], here: dict[str, str]) -> dict[str, Any]:
    """The manifest with ``here`` as the last of the environments that worked on it."""
    others = [entry for entry in known["environments"] if entry != here]
    return known | {"environments": [*others, here]}


def facts(path: UPath) -> dict[str, Any]:
    """On what a job was begun in this folder; nothing where none was."""
    known = storage.read_json(path / NAME)
    found: dict[str, Any] = known["facts"] if is_whole(known) else {}
    return found


def _is_ours(known: Any) -> bool:
    return isinstance(known, dict) and known.get("program") == PROGRAM


def is_whole(known: Any) -> bool:
    """Whether this is the manifest of a job, finished or not."""
    kinds = {"job": dict, "facts": dict, "environments": list}
    whole = _is_ours(known) and all(isinstance(known.get(name), kinds[name]) for name in kinds)
    return whole and isinstance(known["job"].get("kind"), str)


def finish(
    path: UPath, manifest: dict[str, Any], shards: list[dict[str, Any]], summary: dict[str, Any]
) -> None:
    """Write the summary, then the manifest with every shard in it: the job is done."""
    storage.write_json(path / SUMMARY, summary)
    found = {"summary": _digest(summary), "list": _digest(shards), "shards": shards}
    begun = {name: value for name, value in manifest.items() if name not in found}
    storage.write_json(path / NAME, begun | {"finished": True} | found)


def _digest(summary: Any) -> str:
    return hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest()


def is_finished(path: UPath) -> bool:
    """Whether `finish` was called, and what it wrote is still there."""
    known = storage.read_json(path / NAME)
    if not (is_whole(known) and known.get("finished") and isinstance(known.get("shards"), list)):
        return False
    found = _digest(storage.read_json(path / SUMMARY)), _digest(known["shards"])
    return found == (known.get("summary"), known.get("list", found[1]))  # older ones have no list
