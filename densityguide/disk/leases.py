"""Signs of life in a folder that many machines see: a small file that its writer renews.

Whoever waits reads it now and then, and counts the writer as gone once it has not changed for
``patience`` seconds of the reader's own clock. Clocks of two machines are never compared, so it
does not matter how far apart they are. A lease forbids nothing: work that two do at once is done
twice.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Self

from upath import UPath

from densityguide.disk import interrupts, storage
from densityguide.disk.locks import held

__all__ = ["FOLDER", "Lease", "Watch", "locked", "writer"]

RENEWALS = 6  # within one patience
FOLDER, LOCK = "leases", "lock.json"


class Lease:
    """While it is entered, a thread renews the file at ``path``. Leaving does not remove it.

    StorageError or ValueError where it cannot be written at first; later a renewal that fails is
    tried again with the next one.
    """

    def __init__(self, path: UPath, patience: float, **content: Any) -> None:
        self._path, self._every = path, patience / RENEWALS
        who: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid(), "renewal": 0}
        self._content = who | content
        self._stopped, self._writing = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def text(self) -> bytes:
        """What the file holds."""
        return json.dumps(self._content).encode()

    def say(self, **content: Any) -> None:
        """Add to the content, and write it at once."""
        with self._writing:
            self._content |= content | {"renewal": self._content["renewal"] + 1}
            storage.write(self._path, self.text())

    def _renew(self) -> None:
        while not self._stopped.wait(self._every):
            with suppress(Exception):  # the work itself will meet the same trouble, and say so
                self.say()

    def __enter__(self) -> Self:
        self.say()
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stopped.set()
        self._thread.join(timeout=30.0)  # a store that does not answer must not keep it


class Watch:
    """What others' leases said last, and since when."""

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._last: dict[str, tuple[Any, float]] = {}
        self._known: dict[str, dict[str, Any]] = {}

    def look(self, path: UPath) -> dict[str, Any] | None:
        """The content, read anew; the last one seen where there is none any more."""
        found = storage.read_json(path)
        before = self._last.get(str(path))
        if before is None or before[0] != found:
            self._last[str(path)] = found, self._clock()
        if isinstance(found, dict):
            self._known[str(path)] = found
        return self._known.get(str(path))

    def is_silent(self, path: UPath) -> bool:
        """Whether nothing changed for as long as patience lasts, or longer."""
        since = self._last.get(str(path), (None, self._clock()))[1]
        return self._clock() - since >= self._patience


def writer(content: dict[str, Any] | None) -> str:
    """Who wrote a lease, for people."""
    return "" if not content else f" ({content.get('host')}, process id {content.get('pid')})"


@contextmanager
def locked(folder: UPath, patience: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the folder: on a local disk as `locks.held` does, in a store by a lease in it. Where the
    store can write on condition that nothing is there, only one of two that come at the same moment
    gets it. A lease that a killed run left is watched for ``patience`` seconds first.

    ValueError when another run holds it.
    """
    if storage.is_local(folder):
        with ExitStack() as stack:
            with storage.writing(folder):
                stack.enter_context(held(storage.local(folder)))
            yield
        return
    path = folder / FOLDER / LOCK
    lease = Lease(path, patience)
    if not storage.create(path, lease.text()):
        _outlive(path, patience, say)
        storage.remove(path)
        if not storage.create(path, lease.text()):
            raise _held(path, storage.read_json(path))
    try:
        with lease:
            yield
    finally:
        with suppress(storage.StorageError, ValueError):
            storage.remove(path)


def _outlive(path: UPath, patience: float, say: Callable[[str], None]) -> None:
    watch = Watch(patience)
    first = watch.look(path)
    say(f"waiting {patience:g} s for signs of life of the run{writer(first)} that holds {path}")
    while not watch.is_silent(path):
        time.sleep(patience / RENEWALS / 2)
        interrupts.check()
        now = watch.look(path)
        if storage.read_json(path) is None:  # it ended meanwhile
            return
        if now != first:
            raise _held(path, now)


def _held(path: UPath, content: dict[str, Any] | None) -> ValueError:
    return ValueError(
        f"another run{writer(content)} is at work in {path.parent.parent}: wait until it ends, or "
        "choose another folder"
    )
