"""SLURM on this machine: munged, slurmctld and two slurmd that pass for two nodes, with ports, keys
and state of their own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "sbatch", "scontrol", "scancel")
CONFIG = """
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A job that was put back waits until the credential of its last start has expired.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
FirstJobId={first}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1
GresTypes=gpu
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 Gres=gpu:4
NodeName={host}x NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 Gres=gpu:4
PartitionName=main Nodes={host},{host}x Default=YES MaxTime=INFINITE State=UP
"""


def absent() -> str:
    """Why there can be no cluster here; "" where there can."""
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"SLURM is not installed: no {', '.join(missing)} (slurm-wlm, munge)"
    try:
        socket.gethostbyname(name_here())
    except OSError:
        return "the name of this machine has no address"
    return ""


def name_here() -> str:
    """The short name of this machine, which SLURM knows nodes by."""
    return socket.gethostname().partition(".")[0]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Cluster:
    """RuntimeError, with what the daemons said, where it does not start. After `close` no process
    of it lives, nor any of its jobs."""

    def __init__(self) -> None:
        # Not pytest's folder: the name of a socket is short.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.folder.chmod(0o755)
        self._config = self.folder / "slurm.conf"
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.environment = os.environ | {
            "PATH": f"{os.environ['PATH']}{os.pathsep}/usr/sbin",
            "SLURM_CONF": str(self._config),
        }
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        folder, host = self.folder, name_here()
        # The number of a job gives the port at which JAX's processes meet.
        first = 1000 + os.getpid() % 4000
        ports = free_ports(3)
        self._config.write_text(
            CONFIG.format(
                folder=folder, host=host, ports=ports, first=first, user=getpass.getuser()
            )
        )
        for number in range(4):
            (folder / f"gpu{number}").touch()
        (folder / "gres.conf").write_text(f"AutoDetect=off\nName=gpu File={folder}/gpu[0-3]\n")
        (folder / "state").mkdir()
        (folder / "munge.key").write_bytes(os.urandom(64))
        (folder / "munge.key").chmod(0o600)
        munge = {"socket": "socket", "key-file": "key", "log-file": "log", "pid-file": "pid"}
        munge["seed-file"] = "seed"
        given = [f"--{name}={folder}/munge.{end}" for name, end in munge.items()]
        self._daemon("munged", "--foreground", "--force", *given)
        self._until(lambda: (folder / "munge.socket").exists(), "munged")
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D", "-N", host)
        self._second = self._daemon("slurmd", "-D", "-N", f"{host}x")
        self._until(lambda: self._idle() == ["idle", "idle"], "slurmctld")

    def lose(self, task: int) -> None:
        """Without a word the second node is gone, with everything there, of which ``task`` is the
        only one of a job's; then its operator says so."""
        step = int(Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()[1])
        for number in (self._second.pid, step, task):
            os.kill(number, signal.SIGKILL)
        self._second.wait()
        self._daemons.remove(self._second)
        self._node("down", "reason=lost")

    def find(self) -> None:
        """It is back."""
        self._second = self._daemon("slurmd", "-D", "-N", f"{name_here()}x")
        self._node("resume")

    def _node(self, state: str, *more: str) -> None:
        name = f"nodename={name_here()}x"
        self.ask("scontrol", "update", name, f"state={state}", *more)

    def _daemon(self, *command: str) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{command[0]}.out", "ab") as out:
            self._daemons.append(
                subprocess.Popen(
                    (
                        "setpriv",
                        "--pdeathsig=TERM",
                        *command,
                    ),  # so that none outlives a killed test
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                )
            )
        return self._daemons[-1]

    def _idle(self) -> list[str]:
        command = ["sinfo", "--noheader", "--Node", "--format=%T"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return done.stdout.split()

    def _until(self, ready: Callable[[], bool], name: str, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not ready():
            dead = [one for one in self._daemons if one.poll() is not None]
            if dead or time.monotonic() > end:
                said = (self.folder / f"{name}.out").read_text(errors="replace")
                raise RuntimeError(f"SLURM does not start: {said[-500:]}")
            time.sleep(0.1)

    def ask(self, *command: str | Path, cwd: Path | None = None, **more: str) -> str:
        """What one of SLURM's programs prints; AssertionError where it fails."""
        done = subprocess.run(
            command, env=self.environment | more, cwd=cwd, capture_output=True, text=True
        )
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout.strip()

    def job(self, number: str) -> Mapping[str, str]:
        """What SLURM knows of a job, or of one task of an array."""
        words = self.ask("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def seconds(self, number: str) -> int:
        """For how long it runs."""
        hours, minutes, seconds = self.job(number)["RunTime"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + int(seconds)

    def limit(self, number: str, minutes: int) -> None:
        """Give it so much time in all."""
        self.ask("scontrol", "update", f"jobid={number}", f"timelimit={minutes}")

    def ended(self, number: str, seconds: float = 600.0) -> Mapping[str, str]:
        """The same, once the job has ended for good."""
        end = time.monotonic() + seconds
        while (found := self.job(number))["JobState"] in ACTIVE:
            assert time.monotonic() < end, f"job {number} is still {found['JobState']}"
            time.sleep(0.2)
        return found

    def until_pending(self, number: str, seconds: float = 120.0) -> None:
        """Until the job is back in the queue."""
        end = time.monotonic() + seconds
        while (found := self.job(number))["JobState"] != "PENDING":
            assert time.monotonic() < end, f"job {number} is still {found['JobState']}"
            time.sleep(0.2)

    def processes(self) -> list[int]:
        """All that live of it: daemons, steps and tasks, which carry its SLURM_CONF."""
        mark, found = f"SLURM_CONF={self._config}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                mine = mark in path.read_bytes().split(b"\0")
            except OSError:
                continue
            if mine and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        return found

    def close(self) -> None:
        """End everything, and remove the folder."""
        for one in self._daemons:
            one.terminate()
        end = time.monotonic() + 30
        while (left := self.processes()) and time.monotonic() < end:
            for number in left:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            time.sleep(0.1)
        for one in self._daemons:
            one.wait(timeout=30)
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not left, left


ACTIVE = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED")
