"""``densityguide train`` and ``densityguide export``: thin wiring of densityguide.training."""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from densityguide.app.commands.endings import ended
from densityguide.app.commands.extras import needs
from densityguide.app.names import shown
from densityguide.disk import folders as folder
from densityguide.disk.interrupts import Preempted, interruptible
from densityguide.disk.storage import StorageError

__all__ = ["export", "train", "train_tables"]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _is_run(path: Path) -> bool:
    """Whether this is a run folder. Others, as of diffusers, hold a config.json too; that of a run
    has its log beside it, or says what its data were."""
    try:
        own = "checksum" in json.loads((path / "config.json").read_text("utf-8"))["data"]
    except (OSError, ValueError, KeyError, TypeError):
        own = False
    return own or ((path / "config.json").is_file() and (path / "log.jsonl").is_file())


def _is_model(path: Path) -> bool:
    return (path / "card.json").is_file()


def train(config: Path, out: Path | None, font: Path | None, stop_at: int | None) -> int:
    """Train or resume; returns the exit status. ValueError or FileNotFoundError for a bad
    configuration or folder, KeyboardInterrupt once Ctrl-C has saved."""
    with needs("train", "training"):
        from densityguide import training

        settings = training.read(config)
        out = Path("runs") / settings.name if out is None else out
        if stop_at is not None and stop_at < 1:
            raise ValueError(f"--stop-at must be at least 1, got {stop_at}")
        status, _ = ended(partial(_train, settings, out, font, stop_at))
    return status


def train_tables(values: dict[str, Any], out: Path) -> None:
    """Train with these settings; Preempted or KeyboardInterrupt once a signal has saved."""
    with needs("train", "training"):
        from densityguide import training

        _train(training.from_dict(values), out, None, None)


def _train(settings: Any, out: Path, font: Path | None, stop_at: int | None) -> None:
    from densityguide import training

    folder.check(out, ours=_is_run)
    stop = training.Stop()
    with interruptible(), _room(out):
        state = training.train(settings, out, font=font, stop_at=stop_at, stop=stop)
    total = settings.optimiser.steps
    if int(state.step) < (total if stop_at is None else min(total, stop_at)):
        # The status must stop a shell script that would go on.
        raise KeyboardInterrupt if stop.signal == signal.SIGINT else Preempted
    where = shown(out)
    print(f"step {int(state.step)} in {where}: densityguide export {where} FOLDER makes a model")


def export(run: Path, out: Path, storage: str, samples: int, font: Path | None) -> int:
    """Write a model folder; returns the exit status. ValueError or FileNotFoundError for a bad run
    or folder."""
    with needs("train", "export"):
        if storage not in ("float16", "float32"):
            raise ValueError(f"--storage must be float16 or float32, got {storage!r}")
        if samples < 0:
            raise ValueError(f"--samples must be 0 or more, got {samples}")
        folder.check(out, ours=_is_model)
        status, _ = ended(partial(_export, run, out, storage, samples, font))
    return status


def _export(run: Path, out: Path, storage: str, samples: int, font: Path | None) -> None:
    from densityguide import training

    with interruptible(), _room(out):
        card = training.export(run, out, storage=storage, samples=samples, font=font)
    print(
        f"{shown(card.name)}: {card.parameters} parameters after {card.training['steps']} steps in "
        f"{shown(out)}"
    )
    if not card.training["annealed"]:
        print("cut before the learning rate had fallen: train to the end for a better model")
    print(f"try it: densityguide sample --model {shown(out)}")


@contextmanager
def _room(out: Path) -> Iterator[None]:
    """Turn a full disk into StorageError."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise StorageError(f"cannot write {out} ({error.strerror})") from None
