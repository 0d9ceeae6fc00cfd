"""The other processes of a job, known by the leases that each keeps in the folder of results.

Process i of n takes shards i, i + n, and so on. What one that is gone has not done falls to those
that live, in the same fixed order among them; so does what exists once. Two that take each other
for gone do the same work twice and write the same bytes.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Self

from upath import UPath

from densityguide.app.jobs.hosts import Hosts, say
from densityguide.disk import interrupts, leases, storage
from densityguide.disk.leases import Lease, Watch

__all__ = ["Peers"]

FIRST = 10.0  # seconds of waiting before the first line about it


def mark(plan: Any) -> int:
    """What stands for a plan in a lease."""
    return zlib.crc32(json.dumps(plan, sort_keys=True).encode())


class Peers:
    """The processes ``here`` belongs to, with leases in ``folder``; entered, it keeps its own.

    An exception that leaves it before `agree` is a refusal, of which the others hear.
    """

    def __init__(self, here: Hosts, folder: UPath) -> None:
        self.here = here
        self._results, self._folder = folder, folder / leases.FOLDER
        self._made = storage.is_local(folder) and not folder.exists()
        self._watch = Watch(here.patience)
        self._poll = min(1.0, here.patience / 10)
        self._looked: dict[int, float] = {}
        self._gone: set[int] = set()
        self._lease: Lease | None = None
        self._asked = self._agreed = here.processes == 1
        self._waited, self._tell = 0.0, 0.0

    def __enter__(self) -> Self:
        if self.here.processes > 1:
            path, patience = self._path(self.here.process), self.here.patience
            self._lease = Lease(path, patience, made=self._made).__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        refused = not self._agreed and kind is not None and issubclass(kind, Exception)
        with suppress(storage.StorageError, ValueError):  # else its silence tells the others
            if self._lease is not None:
                self._lease.__exit__()
                own = refused and not self._asked  # rather than one that it heard of
                ending = {"problem": True} if own else {}
                tidies = (kind is None or refused) and self.leads  # and does not leave before
                self._lease.say(left=not tidies, finished=kind is None or refused, **ending)
                if tidies:
                    self._tidy(refused)
            elif kind is None:
                self._tidy(refused)

    def agree(self, plan: Any) -> None:
        """Go on together or not at all: ValueError on every process if any has a problem, or if
        their ``plan``, any JSON value, is not the same. Those who are gone are not waited for."""
        if self._lease is None:
            return
        own = mark(plan)
        self._lease.say(plan=own)
        self._asked = True
        found = {}
        for number in self._others():
            while not ({"plan", "problem"} & set(known := self._known(number))):
                if self.is_gone(number):
                    break
                self.wait([number], "to be ready")
            if self.here.meeting or not known.get("left"):  # else of an earlier start, long over
                found[number] = known
        if any(known.get("plan", own) != own for known in found.values()):
            raise ValueError(
                "the processes were started with different jobs: give all the same settings"
            )
        problems = [str(number) for number, known in found.items() if known.get("problem")]
        if problems:
            raise ValueError(
                f"process {', '.join(problems)} cannot start; its own message says why"
            )
        self._agreed = True

    @property
    def leads(self) -> bool:
        """Whether this process is the first of those that live."""
        return self.first == self.here.process

    @property
    def first(self) -> int:
        """The process that leads."""
        return next(n for n in range(self.here.processes) if not self.is_gone(n))

    def holder(self, shard: int) -> int:
        """The process whose shard it is now."""
        heir = shard % self.here.processes
        while self.is_gone(heir):
            left = [n for n in range(self.here.processes) if n not in self._gone]
            heir = left[shard % len(left)]
        return heir

    def is_gone(self, number: int) -> bool:
        """Whether it said good-bye, or gave no sign of life for too long, or, where the processes
        did not meet, has not come yet."""
        if number == self.here.process:
            return False
        if time.monotonic() - self._looked.get(number, -1e9) >= self._poll:
            self._looked[number] = time.monotonic()
            self._find(number)
        return number in self._gone

    def wait(self, processes: Iterable[int], what: str) -> None:
        """A moment, with a line every so often that says for whom."""
        now = time.monotonic()
        if now - self._waited > 10 * self._poll:  # it begins
            self._tell = now + min(FIRST, self.here.patience)
        if now >= self._tell:
            names = ", ".join(f"{n}{leases.writer(self._known(n))}" for n in sorted(processes))
            say(f"process {self.here.process} waits for process {names} {what}")
            self._tell = now + max(FIRST, self.here.patience)
        time.sleep(self._poll)
        interrupts.check()
        self._waited = time.monotonic()

    def _others(self) -> list[int]:
        return [n for n in range(self.here.processes) if n != self.here.process]

    def _path(self, number: int) -> UPath:
        return self._folder / f"{self.here.meeting}{number:06d}.json"

    def _known(self, number: int) -> dict[str, Any]:
        return self._watch.look(self._path(number)) or {}

    def _find(self, number: int) -> None:
        """Whether it is gone, with a line where that is news."""
        known = self._known(number)
        left, absent = bool(known.get("left")), not known and not self.here.meeting
        if not (left or absent or self._watch.is_silent(self._path(number))):
            self._gone.discard(number)
            return
        silent = not (absent or known.get("problem") or known.get("finished"))
        if silent and number not in self._gone:
            why = "ended" if left else f"gave no sign of life for {self.here.patience:g} s"
            say(f"process {number}{leases.writer(known)} {why}: others take over its shards")
        self._gone.add(number)

    def _tidy(self, refused: bool) -> None:
        """Once all others have ended, nothing is left of the leases."""
        for number in self._others():
            while not self.is_gone(number):
                self.wait([number], "to end")
        if not refused:
            storage.remove(self._folder)
            return
        made = self._made or any(self._known(number).get("made") for number in self._others())
        for number in range(self.here.processes):
            storage.remove(self._path(number))
        if storage.is_local(self._folder):
            with suppress(OSError):  # where something else lies there
                storage.local(self._folder).rmdir()
                if made:
                    storage.local(self._results).rmdir()
