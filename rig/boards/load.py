# SPDX-License-Identifier: Apache-2.0
"""Board descriptions from `boards/*.toml`, validated whole: every error of a file in one message."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from rig.boards.model import Arch, Bank, Board, Protection, Qemu, Roles
from rig.boards.problems import near, sentences, spell
from rig.boards.rules import Parts, broken
from rig.boards.schema import BankTable, BoardTable, ProtectionTable, QemuTable, RolesTable, UartTable
from rig.errors import UsageError
from rig.resources import data_dir

_MAX_FILE = 256 << 10  # bytes; a board file has a few KiB
_T = TypeVar("_T")


def list_boards() -> tuple[str, ...]:
    """Names of the boards that come with the rig, sorted."""
    return tuple(sorted(path.stem for path in data_dir("boards").glob("*.toml")))


def load_board(name_or_path: str | Path) -> Board:
    """The board of that name (`qemu:NAME` too), or of a TOML file (a path with a separator or the ending .toml).

    UsageError: unknown board (with near names), unreadable or broken file (all its errors, one per line).
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text:
        return read_board(Path(text))
    name = text.removeprefix("qemu:")
    known = list_boards()
    if name not in known:
        hint = near(name, known)
        raise UsageError(f"board {text!r} is unknown; {hint + ' ' if hint else ''}"
                         f"There are: {', '.join(known)}, or give the path of a TOML file")
    return _shipped(data_dir("boards") / f"{name}.toml")


@cache
def _shipped(path: Path) -> Board:
    return read_board(path)


def read_board(path: Path) -> Board:
    """Read and validate one file. UsageError with all its errors, one per line."""
    try:
        if path.stat().st_size > _MAX_FILE:
            raise UsageError(f"{path}: larger than {_MAX_FILE >> 10} KiB, this is no board file")
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{path}: cannot be read ({reason}); give the name or path of a board") from None
    return parse_board(raw, str(path), path.stem)


def parse_board(raw: bytes, where: str, stem: str | None = None) -> Board:
    """The board in the bytes of a TOML file. `where` names it in errors; `stem`: the name it must have."""
    try:
        data = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{where}: not TOML: {error}") from None
    problems: list[str] = []
    table: BoardTable | None = None
    try:
        table = BoardTable.model_validate(data)
    except ValidationError as error:
        problems = sentences(error, BoardTable)
    problems += broken(_parts(data))
    if stem is not None and isinstance(data.get("name"), str) and data["name"] != stem:
        problems.append(f"{spell(('name',))}: the file is called {stem}.toml, so write name = {stem!r} or rename it")
    if problems or table is None:
        count = f"{len(problems)} error{'s' if len(problems) > 1 else ''}"
        raise UsageError(f"{where}: {count}\n" + "\n".join(f"  {line}" for line in problems))
    return _board(table)


def _part(data: dict[str, Any], key: str, kind: type[_T] | Any) -> Any:
    """The value of a key when it is well-formed by itself, else None."""
    if key not in data:
        return None
    try:
        return TypeAdapter(kind).validate_python(data[key])
    except ValidationError:
        return None


def _parts(data: dict[str, Any]) -> Parts:
    banks = _part(data, "banks", list[BankTable])
    arch, fpu, clint = data.get("arch"), data.get("fpu"), data.get("clint")
    return Parts(
        arch=arch if isinstance(arch, str) else None,
        fpu=fpu if isinstance(fpu, str) else None,
        clint=clint if isinstance(clint, int) else None,
        protection=_part(data, "protection", ProtectionTable),
        roles=_part(data, "roles", RolesTable),
        uart=_part(data, "uart", UartTable),
        qemu=_part(data, "qemu", QemuTable),
        banks=None if banks is None else tuple(banks),
        absent=frozenset(key for key in Parts.__dataclass_fields__ if key not in data),
    )


def _board(table: BoardTable) -> Board:
    unit, qemu = table.protection, table.qemu
    return Board(
        name=table.name,
        title=table.title,
        arch=Arch(table.arch),
        core=table.core,
        fpu=table.fpu,
        protection=Protection(unit.kind),
        regions=unit.regions,
        grain=unit.grain,
        region_min=unit.region_min,
        srd=unit.srd,
        banks=tuple(Bank(b.name, b.start, b.size, b.kind) for b in table.banks),
        roles=Roles(**_plain(table.roles)) if table.roles else None,
        uart=table.uart.base if table.uart else None,
        uart_kind=table.uart.kind if table.uart else None,
        clint=table.clint,
        qemu=Qemu(**{**_plain(qemu), "args": tuple(qemu.args)}) if qemu else None,
        mtval_sets=table.mtval_sets,
        sources=tuple(table.sources),
        timer_hz=table.timer_hz,
    )


def _plain(table: BaseModel) -> dict[str, Any]:
    return table.model_dump()
