"""What a job left in its folder, and who got there first."""

import threading
from pathlib import Path

from densityguide.disk import storage


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a finished job."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def created_at_once(place, count: int = 4) -> int:
    """How many of so many threads that make an object in one moment are told that they made it."""
    got, gate = [], threading.Barrier(count)

    def take(number):
        gate.wait()
        got.append(storage.create(place, b"%d" % number))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(got)
