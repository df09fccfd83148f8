"""A Slurm of one machine: munged, slurmctld and slurmd with a configuration of their own, in a temporary folder."""
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

START_WITHIN_S = 120

CONFIGURATION = """
ClusterName=comity
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller_port}
SlurmdPort={daemon_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP OverSubscribe=FORCE
"""


def missing():
    """What a Slurm of this machine would need, or None."""
    if os.geteuid() != 0:
        return "root, to run Slurm's daemons"
    for program, package in (("munged", "munge"), ("slurmctld", "slurmctld"), ("slurmd", "slurmd"), ("srun", "slurm-client")):
        if shutil.which(program) is None:
            return package
    return None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Slurm:
    """`with Slurm() as slurm: slurm.run(3, "pmi2", {}, "program")`. Its daemons end with it."""

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="comity-slurm-"))
        self.daemons = []
        self.environment = dict(os.environ, SLURM_CONF=str(self.folder / "slurm.conf"))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self):
        folder = self.folder
        folder.chmod(0o755)  # munged refuses folders that others may write to
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        (folder / "slurm.conf").write_text(CONFIGURATION.format(
            host=socket.gethostname().split(".")[0], folder=folder, cpus=os.cpu_count(), controller_port=free_port(),
            daemon_port=free_port()))
        munge = [f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "log", "pid", "seed")]
        self._daemon("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge)
        self._until(lambda: (folder / "munge.socket").exists(), "munged's socket")
        self._daemon("slurmctld", "-D", "-f", str(folder / "slurm.conf"))
        self._daemon("slurmd", "-D", "-f", str(folder / "slurm.conf"))
        self._until(lambda: "idle" in self._ask("sinfo", "-h", "-o", "%t"), "an idle node")

    def _daemon(self, *command):
        log = open(self.folder / f"{command[0]}.out", "wb")
        self.daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment))
        log.close()

    def _ask(self, *command):
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment, timeout=60).stdout

    def _until(self, there, what):
        deadline = time.monotonic() + START_WITHIN_S
        while not there():
            ended = [daemon.args[0] for daemon in self.daemons if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1500:]}"
                                 for path in sorted(self.folder.iterdir()) if path.suffix in (".out", ".log"))
                raise AssertionError(f"{what} did not come, ended: {ended}\n{logs}")
            time.sleep(0.05)

    def run(self, ranks, mpi, variables, *command):
        """srun's outcome; `mpi` is what --mpi takes."""
        return subprocess.run(["srun", "--overcommit", f"--ntasks={ranks}", f"--mpi={mpi}", *command], capture_output=True,
                              text=True, check=False, env=dict(self.environment, **variables), timeout=200)
