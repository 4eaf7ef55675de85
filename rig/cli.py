# SPDX-License-Identifier: Apache-2.0
"""`rig`: the command line. Arguments in, exit code out; each command is one file in `rig/commands/`.

Exit codes: 0 all judged programs passed (each REFUSED has a named reason) · 1 a FAIL, or a pair that is not isolated ·
2 usage or configuration · 3 infrastructure, or a control failed: the run is void · 4 a required family without a record
· 130 interrupted. Standard output carries results only; set-up and progress go to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from rig import __version__
from rig.errors import RigError

MODELS = ("shared-page", "shared-packed", "shared-stack", "multi", "domains")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="rig", description=(__doc__ or "").split("\n", 2)[2], allow_abbrev=False)
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    top.add_argument("--version", action="version", version=f"rig {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = _command(commands, "run", "fuse, lower, attack and judge a subject on emulated boards")
    _subject(run)
    _selection(run)
    run.add_argument("--json", action="store_true", help="one JSON object on standard output")
    run.add_argument("--strict", action="store_true", help="a refused must-have (P0) program makes the exit code 4")
    run.add_argument(
        "--resume", metavar="RUN", nargs="?", const="", help="go on with a killed run (default: the newest)"
    )

    mutants = _command(commands, "mutants", "seed known isolation bugs and show that each is caught")
    _selection(mutants)
    mutants.add_argument("ids", nargs="*", metavar="ID", help="mutants to run, e.g. M01 M21 (default: all)")
    mutants.add_argument("--json", action="store_true", help="one JSON object on standard output")

    demo = _command(commands, "demo", "one seeded bug turns red before your eyes")
    _selection(demo)

    speed = _command(commands, "speed", "measure legs per second against two slower ways of doing the same")
    speed.add_argument("--board", metavar="B[,B…]", help="boards (default: mps2-an386,virt-rv32)")
    speed.add_argument("--json", action="store_true", help="one JSON object on standard output")

    catalogue = _command(commands, "catalogue", "the 149 case families and what this version does with each")
    catalogue.add_argument("--json", action="store_true", help="one JSON object on standard output")

    boards = _command(commands, "boards", "board descriptions")
    boards.add_argument("action", choices=("list", "show", "check"), nargs="?", default="list")
    boards.add_argument("names", nargs="*", metavar="BOARD", help="board names or TOML files")
    boards.add_argument("--json", action="store_true", help="one JSON object on standard output")

    doctor = _command(commands, "doctor", "every tool with version, origin and hash, and what is lost without it")
    doctor.add_argument("--json", action="store_true", help="one JSON object on standard output")

    _command(commands, "setup", "install what is missing into the cache (the other commands do it by themselves)")
    return top


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=text, description=text, allow_abbrev=False)


def _subject(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "subject",
        nargs="*",
        metavar="SUBJECT",
        help="a TOML file, component files, one fused wasm, or a demo image: scalar (default), lists, wide",
    )


def _selection(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--board", "--target", dest="board", metavar="B[,B…]", help="boards, e.g. mps2-an386,qemu:virt-rv32"
    )
    command.add_argument("--model", metavar="M[,M…]", help=f"models: {', '.join(MODELS)}")
    command.add_argument(
        "--strategy", metavar="S[,S…]", help="strategies: switch, static (default: both, static as control)"
    )
    command.add_argument(
        "--lowering", choices=("synth", "wasm2c"), help="force a lowering (default: synth where it can)"
    )
    command.add_argument(
        "--family", metavar="F[,F…]", help="only these case families, e.g. D-01,G-02 (controls always run)"
    )
    command.add_argument(
        "--only", metavar="PROGRAM", action="append", help="only this program id (as printed with a FAIL)"
    )
    command.add_argument(
        "--quick", action="store_true", help="one board and model, few programs of each family: < 10 s"
    )
    command.add_argument(
        "--seed", type=int, default=1, metavar="N", help="order, canaries and values derive from it (default 1)"
    )
    command.add_argument("--out", metavar="DIR", help="where the evidence goes (default: out/<run>)")
    command.add_argument("-j", dest="jobs", type=int, metavar="N", help="emulators in parallel (default: one per core)")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        command = import_module(f"rig.commands.{arguments.command}")
        code = command.main(arguments)
        sys.stdout.flush()
        return int(code)
    except RigError as error:
        print(f"rig: {error}", file=sys.stderr)
        return error.exit_code or 3
    except KeyboardInterrupt:
        print("rig: interrupted; what was recorded stays in the journal (rig run --resume goes on)", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 3
