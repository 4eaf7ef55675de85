# SPDX-License-Identifier: Apache-2.0
"""`./rigw test [ARGS]`: bring the tools, then become pytest in the checkout; ARGS go to pytest."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rig.errors import RigError
from rig.host.progress import say
from rig.host.setup import ensure

CHECKOUT = Path(__file__).resolve().parents[2]


def main(args: Sequence[str]) -> int:
    """Replace this process by pytest, or return an exit code after a message on stderr."""
    try:
        ensure()
    except RigError as error:
        say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    os.chdir(CHECKOUT)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "pytest", *workers(args), *args])


def workers(args: Sequence[str]) -> list[str]:
    """Two test processes, unless the user says how many."""
    chosen = any(arg.startswith(("-n", "--numprocesses", "--dist", "--pdb")) for arg in args)
    return [] if chosen else ["-n", "2", "--dist", "loadscope"]  # a module's fixtures are made once


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
