# SPDX-License-Identifier: Apache-2.0
"""What `rigw` starts, with the machine's Python: provide the environment, then become the command in it.

    ./rigw python ARGS   the environment's interpreter
    ./rigw test ARGS     the tests (see rig/host/selftest.py)
    ./rigw CMD ARGS      rig CMD ARGS

Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rig.errors import RigError
from rig.host import cache, environment
from rig.host.progress import say

_INTERRUPTED = 130


def main(checkout: Path, words: Sequence[str]) -> int:
    """Replace this process by the command, or return an exit code after one sentence on stderr."""
    try:
        interpreter = environment.python(checkout / "requirements.lock")
        os.environ["RIG_CACHE"] = str(cache.root())  # absolute, whatever folder the command changes to
        # Only the checkout: whatever else is on the user's path is not for this environment.
        os.environ["PYTHONPATH"] = str(checkout)
        os.environ.pop("PYTHONHOME", None)
        os.execv(interpreter, command(str(interpreter), words))
    except RigError as error:
        say(str(error))
        return error.exit_code
    except OSError as error:
        say(f"cannot start the environment: {cache.explain(error)}")
        return RigError.exit_code
    except KeyboardInterrupt:
        say("interrupted; the next start goes on from here")
        return _INTERRUPTED


def command(interpreter: str, words: Sequence[str]) -> list[str]:
    """The command line for the words after `rigw`."""
    # -P: a file `json.py` or a folder `rig` where the user happens to stand is not ours to import.
    first, rest = (words[0], list(words[1:])) if words else ("", [])
    if first == "python":
        return [interpreter, "-P", *rest]
    if first == "test":
        return [interpreter, "-P", "-m", "rig.host.selftest", *rest]
    return [interpreter, "-P", "-m", "rig", *words]
