"""Peak memory of one solve, in a process of its own: ``python -m studies.peers.memory ...``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["peak"]


def peak(subject: str, entrant: str, setting: str, folder: Path, small: bool) -> float | None:
    """MiB that the process held at most, above what it held before the first call."""
    command = [sys.executable, "-m", "studies.peers.memory", subject, entrant, setting]
    done = subprocess.run(
        [*command, str(folder), str(int(small))],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def _high_water() -> float:
    """MiB that this process has held at most since `_forget`."""
    status = Path("/proc/self/status").read_text("utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) / 1024.0


def _forget() -> float:
    """Start the high-water mark anew (Linux); MiB that are held now."""
    Path("/proc/self/clear_refs").write_text("5", "utf-8")
    return _high_water()


def main() -> None:
    from densityguide import xla

    xla.prepare()
    from studies.peers import subjects
    from studies.peers.entrants import ENTRANTS

    name, entrant_name, setting, folder, small = sys.argv[1:]
    subject = subjects.load(name, Path(folder), bool(int(small)))
    entrant = next(entrant for entrant in ENTRANTS if entrant.name == entrant_name)
    run = entrant.program(subject, setting)
    before = _forget()
    run()
    print(_high_water() - before)


if __name__ == "__main__":
    main()
