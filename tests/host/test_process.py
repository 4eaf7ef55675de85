# SPDX-License-Identifier: Apache-2.0
"""Children are bounded in time and output and never outlive us."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from host_machine import python

from rig.errors import InfrastructureError
from rig.host.process import ToolTimeout, execute, start
from rig.host.tool import Tool, run, spawn

SH = "/bin/sh"


def gone(pid: int, within: float = 5.0) -> bool:
    """Whether the process ends within some seconds (a zombie has ended)."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def test_reports_output_error_and_exit_code() -> None:
    done = execute([SH, "-c", "echo out; echo err >&2; exit 7"], timeout=10)
    assert (done.out, done.err, done.returncode, done.ok) == ("out\n", "err\n", 7, False)


def test_a_signal_is_a_negative_code() -> None:
    assert execute([SH, "-c", "kill -SEGV $$"], timeout=10).returncode == -signal.SIGSEGV


def test_feeds_input_larger_than_a_pipe_and_reads_as_much() -> None:
    data = os.urandom(1 << 20)
    assert execute(["cat"], input=data, timeout=10).stdout == data


def test_a_child_that_does_not_read_its_input_is_no_error() -> None:
    assert execute(["true"], input=bytes(1 << 20), timeout=10).ok


def test_arguments_are_not_for_a_shell() -> None:
    hostile = "$(touch /tmp/x); `id` && *"
    assert execute(["echo", hostile], timeout=10).out == hostile + "\n"


def test_environment_is_added_to_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    assert execute([SH, "-c", "echo $OURS$THEIRS"], env={"THEIRS": "2"}, timeout=10).out == "12\n"


def test_a_flood_is_cut_and_still_ends() -> None:
    done = execute([SH, "-c", "head -c 3000000 /dev/zero; echo end >&2"], limit=1000, timeout=20)
    assert (len(done.stdout), done.truncated, done.err, done.ok) == (1000, True, "end\n", True)


def test_an_endless_flood_ends_at_the_time_limit() -> None:
    with pytest.raises(ToolTimeout):
        execute(["yes"], limit=1000, timeout=0.5)


def test_time_out_kills_the_whole_group_and_names_the_command(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(ToolTimeout, match=r"/bin/sh did not end in 0\.5 s and was killed: /bin/sh -c"):
        execute([SH, "-c", f"sleep 60 & echo $! > {note}; wait"], timeout=0.5)
    assert gone(int(note.read_text()))


def test_an_exception_while_watching_kills_the_group(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def watch(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute([SH, "-c", f"sleep 60 & echo $! > {note}; echo line; wait"], timeout=30, watch=watch)
    assert gone(int(note.read_text()))


def test_what_a_child_leaves_behind_is_ended_and_not_waited_for(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    done = execute([SH, "-c", f"sleep 60 & echo $! > {note}; exit 3"], timeout=30)
    assert done.returncode == 3 and done.seconds < 10
    assert gone(int(note.read_text()))


def test_watch_gets_whole_lines_of_both_streams_and_a_tick_when_silent() -> None:
    lines: list[str] = []
    execute([SH, "-c", "printf 'a\\nb'; printf 'c\\n'; echo d >&2; sleep 1.3; echo e"], timeout=20, watch=lines.append)
    assert sorted(filter(None, lines)) == ["a", "bc", "d", "e"]
    assert "" in lines


def test_what_cannot_start_is_named(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"cannot start /no/such: /no/such does not exist"):
        execute(["/no/such"], timeout=1)
    with pytest.raises(InfrastructureError, match=rf"folder {tmp_path}/no does not exist"):
        execute([SH], cwd=tmp_path / "no", timeout=1)
    with pytest.raises(InfrastructureError, match=r"cannot start /dev/null: .*Permission denied"):
        execute(["/dev/null"], timeout=1)
    with pytest.raises(InfrastructureError, match="null byte"):
        execute([SH, "a\0b"], timeout=1)


def test_a_long_running_child_ends_with_its_block(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with start([SH, "-c", f"sleep 60 & echo $! > {note}; wait"]) as child:
        while not (note.is_file() and note.read_text().strip()):
            time.sleep(0.02)
        assert child.poll() is None
    assert child.returncode == -signal.SIGKILL
    assert gone(int(note.read_text()))
    child.kill_group()  # again: nothing happens


def test_a_child_dies_with_its_parent_even_by_sigkill() -> None:
    parent = python(
        "from rig.host.process import start\n"
        "child = start(['sleep', '60'])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    parent.kill()
    parent.communicate()
    assert gone(pid)


def test_a_child_outlives_the_thread_that_started_it() -> None:
    # The kernel counts the thread that forked as the parent: it must not be a passing one.
    children = []
    thread = threading.Thread(target=lambda: children.append(start(["sleep", "60"])))
    thread.start()
    thread.join()
    with children[0] as child:
        assert not gone(child.pid, within=0.5)


def test_a_tool_brings_its_environment() -> None:
    tool = Tool("sh", Path(SH), "1", "system", {"RIG_SAID": "from the tool"})
    assert run(tool, ["-c", "echo $RIG_SAID"], timeout=10).out == "from the tool\n"
    assert run(tool, ["-c", "echo $RIG_SAID"], timeout=10, env={"RIG_SAID": "from the call"}).out == "from the call\n"
    with spawn(tool, ["-c", "echo $RIG_SAID"], stdout=-1) as child:
        assert child.stdout is not None
        assert child.stdout.read() == b"from the tool\n"


def test_interrupt_from_the_keyboard_leaves_no_child() -> None:
    parent = python(
        "import sys\n"
        "from rig.host.process import execute\n"
        "execute(['/bin/sh', '-c', 'echo $$; exec sleep 60'], timeout=50,\n"
        "        watch=lambda line: line and print(line, flush=True))\n"
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGINT)
    _, error = parent.communicate(timeout=20)
    assert "KeyboardInterrupt" in error and parent.returncode != 0
    assert gone(pid)


def test_ten_thousand_short_lines_cost_little() -> None:
    began = time.monotonic()
    count = 0

    def watch(line: str) -> None:
        nonlocal count
        count += 1

    execute([sys.executable, "-c", "print('x\\n' * 10_000)"], timeout=20, watch=watch)
    assert count >= 10_000
    assert time.monotonic() - began < 10
