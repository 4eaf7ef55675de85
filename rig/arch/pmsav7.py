# SPDX-License-Identifier: Apache-2.0
"""PMSAv7 of Armv7-M (DDI0403E.e §B3.5) as pure functions: registers, one access, the whole map.

Every byte is judged on its own. `decide` walks the regions as the hardware does; `grants` computes the same
answer by interval arithmetic over all 4 GiB. Sizes and addresses are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from rig.arch.types import SPACE32, Intervals, Kind, Unpredictable

ENABLE, HFNMIENA, PRIVDEFENA = 1, 2, 4  # MPU_CTRL
MIN_SIZE = 32  # bytes
MIN_SRD_SIZE = 256  # bytes: smaller regions have no subregions
PPB = (0xE000_0000, 0xE010_0000)  # private peripheral bus: the MPU is not asked
SYSTEM = 0xE000_0000  # from here up nothing is executable, whatever a region says
DEFAULT_XN = Intervals.of((0x4000_0000, 0x6000_0000), (0xA000_0000, SPACE32))  # default map, §B3.1

_VALID = 1 << 4  # RBAR.VALID: the write also selects RBAR.REGION
_GRANULE = 32  # no boundary of region, subregion or map lies inside a naturally aligned block of this size
_RW, _RO, _NONE = frozenset({Kind.READ, Kind.WRITE}), frozenset({Kind.READ}), frozenset[Kind]()
# AP -> (privileged, unprivileged) data rights; 0b100 is UNPREDICTABLE and not here
ACCESS_PERMISSIONS: dict[int, tuple[frozenset[Kind], frozenset[Kind]]] = {
    0b000: (_NONE, _NONE), 0b001: (_RW, _NONE), 0b010: (_RW, _RO), 0b011: (_RW, _RW),
    0b101: (_RO, _NONE), 0b110: (_RO, _RO), 0b111: (_RO, _RO),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Region:
    """One region as its registers hold it. Whether the values make sense is `problem`'s answer, not a constructor's."""

    number: int
    base: int  # RBAR.ADDR as written, bits [31:5]
    size: int  # bytes, 2^(RASR.SIZE + 1)
    ap: int = 0b011
    xn: bool = True
    srd: int = 0  # bit i = 1 disables subregion i
    tex_scb: int = 0b000_110  # RASR[21:16]: TEX, S, C, B; default normal write-through, shareable
    enabled: bool = True

    @property
    def end(self) -> int:
        return self.base + self.size


def encode(region: Region) -> tuple[int, int]:
    """(RBAR, RASR) to write. Up to region 15 RBAR selects the region itself (VALID = 1); above, write RNR first.

    Any field that does not fit its register is a ValueError; settings that fit but are UNPREDICTABLE are encoded.
    """
    size_field = region.size.bit_length() - 2
    checks = {"number": 0 <= region.number <= 255, "base": 0 <= region.base < SPACE32 and region.base % MIN_SIZE == 0,
              "size": 0 <= size_field <= 31 and region.size == 2 << size_field, "ap": 0 <= region.ap <= 7,
              "srd": 0 <= region.srd <= 0xFF, "tex_scb": 0 <= region.tex_scb <= 0x3F}
    for name, fits in checks.items():
        if not fits:
            raise ValueError(f"PMSAv7 region {region.number}: {name} = {getattr(region, name):#x} does not fit "
                             "(base: multiple of 32 below 2^32; size: a power of two, 2 B to 4 GiB)")
    select = _VALID | region.number if region.number <= 15 else 0
    rasr = (int(region.xn) << 28 | region.ap << 24 | region.tex_scb << 16 | region.srd << 8 | size_field << 1
            | int(region.enabled))
    return region.base | select, rasr


def disabled(number: int) -> tuple[int, int]:
    """(RBAR, RASR) that switches a region off and leaves no old base behind."""
    return (_VALID | number if number <= 15 else 0), 0


def read_back(number: int, rbar: int, rasr: int) -> tuple[int, int]:
    """What the registers of region `number` read after (rbar, rasr) was written: VALID reads 0, REGION the number."""
    return rbar & ~0x1F & 0xFFFF_FFFF | number & 0xF, rasr & 0x173F_FF3F


def decode(number: int, rbar: int, rasr: int) -> Region | Unpredictable:
    """The region these registers describe (RBAR[4:0] ignored), or why an enabled one has no defined meaning."""
    region = fields(number, rbar, rasr)
    return problem(region) or region


def fields(number: int, rbar: int, rasr: int) -> Region:
    """The registers taken apart, without judging them."""
    return Region(number=number, base=rbar & 0xFFFF_FFE0, size=2 << (rasr >> 1 & 0x1F), ap=rasr >> 24 & 7,
                  xn=bool(rasr >> 28 & 1), srd=rasr >> 8 & 0xFF, tex_scb=rasr >> 16 & 0x3F, enabled=bool(rasr & 1))


def problem(region: Region) -> Unpredictable | None:
    """§B3.5.8–9: why an enabled region is UNPREDICTABLE as a whole (AP = 100 matters only where it decides)."""
    if not region.enabled:
        return None
    if region.size < MIN_SIZE:
        return Unpredictable("region", region.number, f"size {region.size} B is below {MIN_SIZE} B (SIZE < 4)")
    if region.base % region.size:
        return Unpredictable("region", region.number,
                             f"base {region.base:#010x} is not a multiple of its size {region.size:#x}")
    if region.srd and region.size < MIN_SRD_SIZE:
        return Unpredictable("region", region.number,
                             f"SRD {region.srd:#04x} on {region.size} B, below {MIN_SRD_SIZE} B")
    return None


def matched(region: Region) -> Intervals:
    """The bytes an enabled, well-formed region matches: all of it except the disabled subregions."""
    if not region.enabled:
        return Intervals()
    step = region.size // 8
    return Intervals((region.base + i * step, region.base + (i + 1) * step)
                     for i in range(8) if not region.srd >> i & 1)
