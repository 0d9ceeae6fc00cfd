"""Checkpoints of a run folder (orbax) and its configuration."""

from __future__ import annotations

import gc
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from densityguide.data import Dataset
from densityguide.disk import atomic, settings
from densityguide.disk.storage import StorageError
from densityguide.training.config import Config, from_dict, to_dict

__all__ = ["latest_step", "read_run", "require_same_data", "restore", "save", "write_config"]


def _manager(out: str | os.PathLike[str]) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    return ocp.CheckpointManager(Path(out).resolve() / "checkpoints", options=options)


def latest_step(out: str | os.PathLike[str]) -> int | None:
    """Newest complete checkpoint of the run, None without one; ValueError for a file in place of
    their folder."""
    folder = Path(out) / "checkpoints"
    if folder.is_file():
        raise ValueError(f"expected a folder of checkpoints, {folder} is a file: move it away")
    steps = [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.is_dir() else []
    return max(steps, default=None)


def _held(state: Any) -> dict[str, Any]:
    """The parts of a state that hold anything, by name."""
    return {name: part for name, part in state._asdict().items() if jax.tree.leaves(part)}


def save(out: str | os.PathLike[str], state: Any) -> None:
    """Write `state` under its step and keep the newest two checkpoints. StorageError where that
    fails; earlier checkpoints then stay."""
    step = int(state.step)
    with ExitStack() as stack, _silent():
        try:
            manager = stack.enter_context(_manager(out))
            if step not in manager.all_steps():
                manager.save(step, args=ocp.args.StandardSave(_held(state)))
                manager.wait_until_finished()
        except (OSError, ValueError) as error:  # of tensorstore, which names the system's reason
            said = re.search(r": ([^:\[]+) \[os_error_code", str(error))
            if said is None and not isinstance(error, OSError):
                raise
            reason = said[1] if said else getattr(error, "strerror", None) or error
            raise StorageError(f"cannot write checkpoint {step} in {out} ({reason})") from None


@contextmanager
def _silent() -> Iterator[None]:
    """Without the tracebacks that orbax's threads log."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        gc.collect()  # failed tasks are logged when they are collected
        logging.disable(before)


def _fixed(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that a run keeps to its end, beside its network and its data."""
    state = {key: config["optimiser"][key] for key in ("kind", "profiles")}
    return {key: config[key] for key in ("seed", "loss", "flips", "start")} | {"optimiser": state}


def restore(out: str | os.PathLike[str], like: Any, config: Config) -> Any:
    """The newest checkpoint as a state shaped like `like`; ValueError for another network, data,
    loss, seed or kind of optimiser."""
    step = latest_step(out)
    if step is None:
        raise FileNotFoundError(f"expected checkpoints in folder {out}, found none: train first")
    theirs, stored = read_run(out)
    ours = to_dict(config)
    for key in ("data", "model"):
        if stored["config"][key] != json.loads(json.dumps(ours[key])):
            raise ValueError(
                f"expected the [{key}] of the run in {out}, got another: "
                "restore it in the configuration or choose an empty folder"
            )
    adapt = stored["config"]["loss"].get("adapt", 0.0)
    if bool(adapt) != bool(config.loss.adapt):
        raise ValueError(
            f"expected loss.adapt as in the run in {out}, which has {adapt}, got "
            f"{config.loss.adapt}: restore it in the configuration or choose an empty folder"
        )
    changed = settings.differences(_fixed(to_dict(theirs)), _fixed(ours))
    if changed:
        raise ValueError(
            f"expected the settings of the run in {out} ({'; '.join(changed)}): set them back, or "
            "choose an empty folder"
        )
    with _manager(out) as manager:
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _held(like))
        try:
            values = manager.restore(step, args=ocp.args.StandardRestore(abstract))
        except Exception as error:  # orbax and tensorstore raise many kinds for damaged files
            raise ValueError(
                f"expected a whole checkpoint, step {step} in {out} cannot be read "
                f"({type(error).__name__}): delete {out}/checkpoints/{step} to go on from the one "
                "before"
            ) from None
    return like._replace(**values)


def require_same_data(record: dict[str, Any], dataset: Dataset) -> None:
    """ValueError unless the run of `record` was trained on this very data."""
    theirs, ours = record["data"]["checksum"], dataset.checksum
    if theirs != ours:
        raise ValueError(
            f"expected the run's own data (SHA-256 {theirs[:12]}), {dataset.name} here is "
            f"{ours[:12]}: use the same source of the data"
        )
    for part in ("train", "heldout"):
        was, now = record["data"][part], len(getattr(dataset, part))
        if was != now:
            raise ValueError(
                f"expected the run's own split of {dataset.name}, its {part} part had {was} "
                f"samples and has {now}: use the same source of the data"
            )


def write_config(out: str | os.PathLike[str], config: Config, dataset: Dataset) -> None:
    """config.json: the configuration and what the data was."""
    record = {
        "config": to_dict(config),
        "data": {
            "name": dataset.name,
            "licence": dataset.licence,
            "checksum": dataset.checksum,
            "levels": dataset.levels,
            "shape": list(dataset.shape),
            "train": len(dataset.train),
            "heldout": len(dataset.heldout),
        },
    }
    atomic.write(Path(out) / "config.json", json.dumps(record, indent=1) + "\n")


def read_run(out: str | os.PathLike[str]) -> tuple[Config, dict[str, Any]]:
    """(configuration, record) of a run folder."""
    path = Path(out) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"expected a training run folder, {out} has no config.json")
    try:
        record = json.loads(path.read_text())
        config, _ = from_dict(record["config"]), record["data"]["checksum"]
        return config, record
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        reason = type(error).__name__
        raise ValueError(
            f"expected the record of a training run, {path} is damaged ({reason}): "
            "restore it, or choose an empty folder"
        ) from None
