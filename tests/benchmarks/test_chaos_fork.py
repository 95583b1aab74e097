"""Commands run in forks, one after the other, and can be killed."""

import os
import signal

import pytest
from chaos_fork import CommandServer


@pytest.mark.slow
def test_commands_of_one_server_end_by_themselves_or_by_a_signal(tmp_path):
    server = CommandServer(os.environ)
    screen = tmp_path / "screen.txt"
    try:
        server.start(["evaluate", "--help"], screen)
        assert server.wait() == 0
        assert screen.read_text().startswith("usage: mg-vtc evaluate")
        server.start(["evaluate", "nowhere"], screen)
        assert server.wait() != 0
        assert "Traceback" not in screen.read_text()
        command = server.start(["prepare", "imigue", "/proc/self/fd", str(tmp_path)], screen)
        os.killpg(command, signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        command = server.start(["evaluate", "--help"], screen)
        os.killpg(command, signal.SIGSTOP)  # else it works while this process waits for a core
        assert server.wait_for_work(command, 0) is None
        assert server.cpu_seconds < 0.05
        os.killpg(command, signal.SIGCONT)
        assert server.wait_for_work(command) == 0
        assert server.cpu_seconds > 0
    finally:
        server.close()
