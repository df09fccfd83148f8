"""Runs a command for so long and no longer, and leaves nothing of it behind.

A launcher's children may move to sessions and groups of their own, so groups are not enough: each run carries a
token in its environment, and whatever carries the token is killed when the run is over.
"""

import os
import signal
import subprocess
import time
import uuid

TOKEN = "COMITY_PEERS_RUN"
GRACE_S = 5


class RunFailed(Exception):
    """A run that ended badly or not at all; the text says which and what it wrote last."""


def carriers(token):
    """The processes whose environment holds the token. Zombies have none, and count as gone."""
    wanted = f"{TOKEN}={token}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if wanted in file.read().split(b"\0"):
                    found.append(int(entry))
        except OSError:
            continue
    return found


def runs(pid):
    """Whether it still does anything: a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def reap(token):
    """Kills every carrier and waits until none is left. Looks twice: a process that executes another program, or ends, has for a
    moment no environment to read."""
    deadline = time.monotonic() + GRACE_S
    killed, empty_looks = set(), 0
    while empty_looks < 2:
        pids = carriers(token)
        killed.update(pids)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        alive = [pid for pid in killed if runs(pid)]
        empty_looks = 0 if pids or alive else empty_looks + 1
        if time.monotonic() > deadline:
            raise RunFailed(f"processes {pids or alive} cannot be killed")
        time.sleep(0.02)


def _start(command, token, env):
    full = {**os.environ, **env, TOKEN: token}
    return subprocess.Popen(
        command,
        env=full,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _finish(processes, deadline):
    """Output of each, in order. An error of one is worth more than the waiting of another."""
    outputs = []
    for process in processes:
        out, err = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
        if process.returncode != 0:
            tail = "\n".join((err + out).strip().splitlines()[-8:])
            raise RunFailed(f"exit status {process.returncode}: {' '.join(process.args)}\n{tail}")
        outputs.append(out)
    return outputs


def run_all(commands, timeout_s, env=None):
    """Runs the commands side by side; their standard outputs. RunFailed when one fails or time is up."""
    token = uuid.uuid4().hex
    deadline = time.monotonic() + timeout_s
    processes = []
    try:
        for command in commands:
            processes.append(_start(command, token, env or {}))
        return _finish(processes, deadline)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"not done within {timeout_s} s: {' '.join(commands[0])}") from None
    finally:
        reap(token)
        for process in processes:
            process.wait()
            process.stdout.close()
            process.stderr.close()


def run(command, timeout_s, env=None):
    """One command's standard output."""
    return run_all([command], timeout_s, env)[0]
