"""Run commands of `mg-vtc` in forks of a process that has imported what they need, so that each begins at once.

A command that is killed at a random moment is then killed in its work, not in its imports, which take longer.
"""

import importlib
import json
import math
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

MODULES = (
    "mg_vtc.training.run",
    "mg_vtc.inference.predictor",
    "mg_vtc.exporters",
    "mg_vtc.hub.push",
    "mg_vtc.data.releases.prepare",
)


TICKS = os.sysconf("SC_CLK_TCK")  # per second, of the CPU times in /proc


class CommandServer:
    """Process that has imported the package, and forks itself for each command.

    Args:
        environment: Its environment, and that of the commands.
    """

    cpu_seconds = 0.0  # CPU time of the last command, of all its threads, as `wait_for_work` saw it

    def __init__(self, environment: Mapping[str, str]):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}  # so that no line is read ahead
        self._process = subprocess.Popen([sys.executable, __file__], env=environment, **pipes)

    def start(self, arguments: Sequence[str], screen: Path) -> int:
        """Start a command in a process group of its own; return its process id.

        Args:
            arguments: Arguments of `mg-vtc`.
            screen: File of its output.
        """
        self._process.stdin.write(json.dumps([list(arguments), str(screen)]).encode() + b"\n")
        return int(self._process.stdout.readline())

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code of the command, negative for a signal; None if it runs on after `timeout` seconds."""
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        return int(self._process.stdout.readline()) if ready else None

    def wait_for_work(self, process: int, seconds: float = math.inf) -> int | None:
        """Wait until a command has used `seconds` of CPU time; return its exit code if it ends before.

        On a busy machine, a command is at the same point of its work then, however long that takes.
        """
        self.cpu_seconds = 0.0
        while True:
            try:
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                return self.wait()
            self.cpu_seconds = max(self.cpu_seconds, (int(fields[11]) + int(fields[12])) / TICKS)
            if self.cpu_seconds >= seconds:
                return None
            if (code := self.wait(0.002)) is not None:
                return code

    def close(self) -> None:
        """End the process."""
        with self._process as process:  # which closes the pipes
            process.stdin.close()


def serve() -> list[str] | None:
    """Fork for each line of stdin; return the arguments in the fork, and None at the end."""
    for name in MODULES:
        importlib.import_module(name)
    for line in sys.stdin:
        arguments, screen = json.loads(line)
        command = os.fork()
        if command == 0:
            _become_command(Path(screen))
            return arguments
        os.waitid(os.P_PID, command, os.WEXITED | os.WSTOPPED | os.WNOWAIT)  # it stops when it leads its group
        print(command, flush=True)
        os.kill(command, signal.SIGCONT)
        print(os.waitstatus_to_exitcode(os.waitpid(command, 0)[1]), flush=True)
    return None


def _become_command(screen: Path) -> None:
    """Lead a process group, read nothing, and write to a file."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job ignores
    output, nothing = os.open(screen, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), os.open(os.devnull, os.O_RDONLY)
    for source, number in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, number)
    os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    given = serve()
    if given is not None:
        from mg_vtc.cli.main import main

        sys.argv = ["mg-vtc", *given]
        main()
