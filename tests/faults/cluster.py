"""A SLURM cluster of one node, this machine, for as long as a block lasts."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue")
CONFIG = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
MinJobAge=300
ReturnToService=2
RebootProgram=/bin/false
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


def missing():
    """Why no cluster can be started here; empty where one can."""
    if os.getuid():
        return "SLURM's daemons are started as root"
    absent = [name for name in PROGRAMS if not _program(name)]
    return f"not installed: {', '.join(absent)}" if absent else ""


class NotStarted(Exception):
    """A daemon of SLURM did not come up on this machine, which its logs explain."""


@contextmanager
def cluster(folder: Path):
    """Starts munge, a controller and a node; yields the environment that commands need to find them.

    Raises `NotStarted` where they do not come up.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().partition(".")[0]
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(host=host, folder=folder, ports=_free_ports(2), cores=os.cpu_count()))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    for path in (folder, key):
        shutil.chown(path, "munge", "munge")
    key.chmod(0o400)
    folder.chmod(0o755)
    environment = os.environ | {"SLURM_CONF": str(config)}
    daemons = []
    try:
        munge = ["--foreground", f"--socket={folder}/munge.socket", f"--key-file={key}"]
        munge += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log"]
        munge += [f"--seed-file={folder}/munged.seed"]
        daemons.append(_start("munged", munge, folder, environment, user="munge"))
        _until((folder / "munge.socket").exists, folder)
        daemons.append(_start("slurmctld", ["-D"], folder, environment))
        daemons.append(_start("slurmd", ["-D", "-N", host], folder, environment))

        def idle():
            done = subprocess.run(
                ["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False
            )
            return done.stdout.strip() in ("idle", "idle*", "mixed")

        _until(idle, folder)
        yield environment
    finally:
        if len(daemons) == 3:
            subprocess.run(
                ["scancel", "-u", "root"], env=environment, capture_output=True, check=False, timeout=60
            )
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(timeout=30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _program(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _start(name, options, folder, environment, user=None):
    with open(folder / f"{name}.out", "wb") as out:
        return subprocess.Popen(
            [_program(name), *options], env=environment, stdout=out, stderr=out, user=user,
            group=user, extra_groups=[] if user else None,
        )  # fmt: skip


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _until(condition, folder, timeout=60):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            logs = "\n".join(path.read_text(errors="replace")[-800:] for path in folder.glob("*.log"))
            raise NotStarted(f"SLURM did not start here:\n{logs}")
        time.sleep(0.2)
