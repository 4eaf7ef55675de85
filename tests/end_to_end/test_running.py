# SPDX-License-Identifier: Apache-2.0
"""How a run behaves: repeatable, the same for any number of emulators, resumable, interruptible, without orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import ENV, Ran, rig, without_wall

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(300)]
SMALL = ("scalar", "--model", "domains,shared-page", "--family", "C-05,D-02,W-18")


def test_the_same_seed_gives_the_same_journal_for_any_number_of_emulators(run: Callable[..., Ran]) -> None:
    one, two = run(*SMALL, "-j", "1"), run(*SMALL, "-j", "2")
    assert one.code == two.code == 0, one.err + two.err
    assert without_wall(one.journal()) == without_wall(two.journal())


def test_another_seed_gives_other_canaries_and_the_same_answer(run: Callable[..., Ran]) -> None:
    one, two = run(*SMALL, "--seed", "1"), run(*SMALL, "--seed", "2")
    assert [a["answer"] for a in one.json["answers"]] == [a["answer"] for a in two.json["answers"]]
    assert without_wall(one.journal()) != without_wall(two.journal())


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, run: Callable[..., Ran]) -> None:
    whole = run(*SMALL, "-j", "1")
    folder = tmp_path / "killed"
    words = [sys.executable, "-m", "rig", "run", *SMALL, "-j", "1", "--out", str(folder), "--json"]
    with subprocess.Popen(words, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _wait_for(lambda: _lines(folder) > 60)
        child.kill()
    before = _lines(folder)
    assert before and not (folder / "journal.jsonl").exists()
    code, _out, err = rig("run", *SMALL, "-j", "1", "--resume", folder, "--json")
    assert code == 0, err
    resumed = Ran(code, "", "", folder).journal()
    verdicts = {(r["row"], r["id"]): r["verdict"] for r in resumed if r["k"] == "result"}
    assert verdicts == {(r["row"], r["id"]): r["verdict"] for r in whole.journal() if r["k"] == "result"}


def test_resuming_something_else_is_refused(tmp_path: Path, run: Callable[..., Ran]) -> None:
    done = run("scalar", "--quick")
    code, _, err = rig("run", "scalar", "--quick", "--resume", done.folder)
    assert code == 2 and "complete" in err
    code, _, err = rig("run", "scalar", "--resume", tmp_path / "nothing")
    assert code == 2 and "no run was begun there" in err


def test_ctrl_c_ends_with_130_and_leaves_no_emulator(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [sys.executable, "-m", "rig", "run", "scalar", "--model", "multi", "--out", str(folder)]
    marker = f"rig-test-{os.getpid()}"
    with subprocess.Popen(
        words,
        env={**ENV, "RIG_TEST_MARK": marker},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        _wait_for(lambda: _lines(folder) > 20)
        os.killpg(child.pid, signal.SIGINT)
        _, err = child.communicate(timeout=20)
    assert child.returncode == 130, err
    assert b"interrupted" in err and b"Traceback" not in err
    _wait_for(lambda: not _alive(marker))


def test_a_run_killed_hard_leaves_no_emulator(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [sys.executable, "-m", "rig", "run", "scalar", "--model", "multi", "--out", str(folder)]
    marker = f"rig-test-hard-{os.getpid()}"
    with subprocess.Popen(
        words, env={**ENV, "RIG_TEST_MARK": marker}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        _wait_for(lambda: _lines(folder) > 20)
        assert _alive(marker)
        child.kill()
    _wait_for(lambda: not _alive(marker))


def test_a_reproduce_command_runs_that_program_alone(run: Callable[..., Ran]) -> None:
    done = run("scalar", "--board", "mps2-an386", "--model", "domains", "--family", "D-02")
    wanted = next(
        r["id"] for r in done.journal() if r["k"] == "result" and r["case"] == "D-02" and "switch" in r["row"]
    )
    again = run("scalar", "--board", "mps2-an386", "--model", "domains", "--strategy", "switch", "--only", wanted)
    results = [r for r in again.journal() if r["k"] == "result" and not r.get("control")]
    assert [r["id"] for r in results] == [wanted] and again.code == 0


def test_progress_never_goes_to_standard_output(run: Callable[..., Ran]) -> None:
    done = run("scalar", "--quick")
    assert done.out.count("\n") == 1 and done.json["schema"] == 1
    assert "programs" in done.err


def _lines(folder: Path) -> int:
    return sum(len(part.read_bytes().splitlines()) for part in folder.glob("parts/*.jsonl"))


def _alive(marker: str) -> list[int]:
    """Processes whose environment carries the marker (every child inherits it)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (
                    marker.encode() in (entry / "environ").read_bytes()
                    and (entry / "stat").read_text().split()[2] != "Z"
                ):
                    found.append(int(entry.name))
            except OSError:  # it ended, or is another user's
                continue
    return found


def _wait_for(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_without_synth_the_run_goes_on_with_wasm2c_and_says_so(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "rig", "run", "scalar", "--quick", "--json", "--out", str(tmp_path / "run")]
    env = {**ENV, "RIG_SYNTH": str(tmp_path / "no-synth"), "PATH": os.defpath}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    ran = Ran(done.returncode, done.stdout, done.stderr, tmp_path / "run")
    assert {a["lowering"] for a in ran.json["answers"]} == {"wasm2c"}
    rows = [r for r in ran.journal() if r["k"] == "row"]
    assert rows and all(any("synth is not installed" in why for why in r["why_not"]) for r in rows)
