"""Answer one question: measure what is missing, then read all of it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from upath import UPath

from densityguide.app.jobs import hosts, manifest
from densityguide.disk import leases, settings, storage
from densityguide.disk.interrupts import interruptible
from studies.evidence import page, tables
from studies.evidence.config import Put, check, model_of
from studies.evidence.questions import QUESTIONS
from studies.evidence.study import Question, agreed

__all__ = ["run"]

Tell = Callable[[str], None]


def run(
    values: dict[str, Any], out: str, *, small: bool = False, tell: Tell = lambda line: None
) -> dict[str, Any]:
    """Finish the question of a TOML file's tables in folder ``out``, with fewer samples where
    ``small``; returns its claims.

    The rows of a model are written once they are whole, so a run that was stopped goes on with the
    next model, as does one that asks of more models; tables, figures and verdicts are made from the
    files.

    Raises:
        ValueError, FileNotFoundError: bad settings, or a folder measured with others.
        storage.StorageError, interrupts.Preempted: as for every job; what was finished stays.
    """
    name, each = check(values, small=small)
    question, path = QUESTIONS[name], storage.folder(out)
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        stack.enter_context(leases.locked(path, hosts.PATIENCE, hosts.say))
        storage.sweep(path)
        storage.sweep(path / "data")
        plain = json.loads(json.dumps(dataclasses.asdict(each[0].settings)))
        record = _begin(path / "data" / f"{name}.json", plain)
        readings = []
        for put in each:
            rows = {
                model: _rows(path / "data", name, question, put, model, record, tell)
                for model in put.settings.models
            }
            readings.append(question.read(put.settings, rows))
        reading = agreed(readings, [put.label for put in each])
        page.write(path, name, question, record, reading)
        page.summarise(path, {known: asked.title for known, asked in QUESTIONS.items()})
    return {"question": name, "claims": [claim._asdict() for claim in reading.claims]}


def _begin(path: UPath, chosen: dict[str, Any]) -> dict[str, Any]:
    known = storage.read_json(path)
    if not (isinstance(known, dict) and {"settings", "environment", "parts"} <= known.keys()):
        return {"settings": chosen, "environment": manifest.environment(), "parts": {}}
    measured = {model_of(stem) for stem in known["parts"]}
    before, now = (_about(measured, asked) for asked in (known["settings"], chosen))
    changed = settings.differences(before, now)
    if changed:
        raise ValueError(
            f"{path} was measured with other settings ({'; '.join(changed)}): set them back, "
            "remove it, or choose another --out"
        )
    return known | {"settings": chosen}


def _about(measured: set[str], asked: dict[str, Any]) -> dict[str, Any]:
    """Settings without what they say of other models: one more throws nothing away."""
    return {
        key: {model: count for model, count in value.items() if model in measured}
        if isinstance(value, dict)
        else value
        for key, value in asked.items()
    }


def _rows(
    folder: UPath,
    name: str,
    question: Question,
    put: Put,
    model: str,
    record: dict[str, Any],
    tell: Tell,
) -> tables.Table:
    stem = put.stem(model)
    file = folder / f"{name}-{stem}.csv"
    if stem in record["parts"] and file.is_file():
        return tables.from_csv(file.read_bytes())
    tell(f"{name}: {stem} ...")
    started = time.perf_counter()
    content = tables.to_csv(question.measure(*put.of(model)))
    seconds = time.perf_counter() - started
    storage.write(file, content)
    record["parts"][stem] = {"seconds": round(seconds, 1)}
    if manifest.environment() != record["environment"]:  # gone on with elsewhere
        record["parts"][stem]["environment"] = manifest.environment()
    storage.write_json(folder / f"{name}.json", record)
    tell(f"{name}: {stem} took {seconds / 60:.1f} minutes")
    return tables.from_csv(content)
