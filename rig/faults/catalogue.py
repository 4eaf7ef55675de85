# SPDX-License-Identifier: Apache-2.0
"""The fault catalogue as values: one row per case family, from `catalogue.toml` beside this file."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rig.boards.model import Arch
from rig.errors import InfrastructureError

FILE = "catalogue.toml"
_NONE = re.compile(r"none\((.+)\)")


class Status(StrEnum):
    BUILT = "built"
    NOT_YET = "not yet"


class Off(StrEnum):
    """What the disarmed leg of a family turns off."""

    MAP = "map"
    PRIVILEGE = "privilege"
    GATE = "gate"
    NONE = "none"  # there is no such leg; `Family.no_disarmed` says why


@dataclass(frozen=True, slots=True)
class Family:
    """One row. `v7m`, `v8m`, `rv32`: what the armed leg must show, in the shorthand explained in the data file."""

    id: str
    name: str
    action: str
    priority: int  # 0 must, 1 should, 2 nice
    models: tuple[int, ...]  # 1 shared, 2 multi, 3 domains; () where it is no property of a model
    v7m: str
    v8m: str
    rv32: str
    wrong: str  # what a wrong result means
    disarmed: Off
    no_disarmed: str  # reason, where `disarmed` is NONE
    status: Status
    required: bool  # a run without any record of it is incomplete
    note: str = ""

    def expectation(self, arch: Arch) -> str:
        return self.rv32 if arch is Arch.RV32 else self.v7m

    @property
    def group(self) -> str:
        return self.id[0]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    action: str
    priority: Annotated[int, Field(ge=0, le=2)]
    models: list[Annotated[int, Field(ge=1, le=3)]]
    v7m: str
    v8m: str
    rv32: str
    wrong: str
    disarmed: Annotated[str, Field(pattern=r"^(map|privilege|gate|none\(.+\))$")]
    status: Literal["built", "not yet"]
    required: bool
    note: str = ""


_ROWS = TypeAdapter(dict[Annotated[str, Field(pattern=r"^[A-Z]-\d\d$")], _Row])


@cache
def catalogue() -> tuple[Family, ...]:
    """All families in catalogue order. A damaged data file is an `InfrastructureError` (the package is broken)."""
    return parse(resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8"))


def parse(text: str) -> tuple[Family, ...]:
    """The families of a catalogue file's text."""
    try:
        rows = _ROWS.validate_python(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise InfrastructureError(f"rig/faults/{FILE}: {error}; reinstall rig") from None
    return tuple(_family(id_, row) for id_, row in rows.items())


@cache
def family(id_: str) -> Family:
    """The row with this id; KeyError when there is none."""
    return next((row for row in catalogue() if row.id == id_), None) or _missing(id_)


def _missing(id_: str) -> Family:
    raise KeyError(f"{id_}: no such case family; `rig catalogue` lists them")


def _family(id_: str, row: _Row) -> Family:
    none = _NONE.fullmatch(row.disarmed)
    return Family(
        id=id_, name=row.name, action=row.action, priority=row.priority, models=tuple(row.models),
        v7m=row.v7m, v8m=row.v8m, rv32=row.rv32, wrong=row.wrong,
        disarmed=Off.NONE if none else Off(row.disarmed), no_disarmed=none[1] if none else "",
        status=Status(row.status), required=row.required, note=row.note,
    )
