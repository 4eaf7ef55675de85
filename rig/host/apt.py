# SPDX-License-Identifier: Apache-2.0
"""Debian packages without root: apt with a configuration, lists and cache of its own, beside the machine's.

The archive and its keys come from the machine's own sources, so mirrors and proxies keep working; nothing of the
machine's apt is changed. Pure functions first, then the class that runs apt.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rig.errors import ToolMissing
from rig.host.failure import sentence
from rig.host.process import Completed, execute

_ALIASES = ("stable", "testing", "unstable", "sid")
_OPTION_FIELDS = {"arch": "architectures", "lang": "languages", "target": "targets"}
_SIZE_LIMIT = 1 << 20  # bytes of one sources file

Stanza = dict[str, str]  # deb822: field in lower case -> value, continuation lines kept


class NoOffer(ToolMissing):
    """This machine's apt is not there, or has no package that would do."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A package version that an archive has."""

    package: str
    version: str  # "1:10.0.2+ds-2+deb13u1~bpo12+1"
    suite: str  # "bookworm-backports"

    @property
    def major(self) -> int:
        match = re.match(r"(?:\d+:)?(\d+)", self.version)
        return int(match[1]) if match else 0


def codename(os_release: str) -> str | None:
    """VERSION_CODENAME of the text of /etc/os-release."""
    match = re.search(r'^VERSION_CODENAME="?([a-z]+)"?$', os_release, re.M)
    return match[1] if match else None


def parse_deb822(text: str) -> Iterator[Stanza]:
    """The stanzas of a `*.sources` file."""
    stanza: Stanza = {}
    last = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if stanza:
                yield stanza
            stanza, last = {}, ""
        elif line[0] in " \t" and last:
            stanza[last] += "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            last = name.strip().lower()
            stanza[last] = value.strip()


def parse_lines(text: str) -> Iterator[Stanza]:
    """The entries of a one-line-style `*.list` file, as stanzas."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match is None:
            continue
        options, uri, suite, components = match.groups()
        stanza = {"types": "deb", "uris": uri, "suites": suite, "components": components.strip()}
        for option in (options or "").split():
            name, _, value = option.partition("=")
            stanza[_OPTION_FIELDS.get(name.lower(), name.lower())] = value.replace(",", " ")
        yield stanza


def private_sources(stanzas: Iterable[Stanza], release: str) -> str:
    """A `*.sources` text with the machine's own archive for `release`, its backports added.

    Sources of other origin (no component `main`, suites of other names, switched off, CD-ROM) are left out; "" if
    none is left.
    """
    base = "|".join((re.escape(release), *_ALIASES))
    own = re.compile(rf"({base})([-/](?:updates|security|backports))?")
    kept: list[str] = []
    for stanza in stanzas:
        suites = [suite for suite in stanza.get("suites", "").split() if own.fullmatch(suite)]
        off = stanza.get("enabled", "yes").lower() in ("no", "false", "0")
        types, components, uris = (stanza.get(key, "").split() for key in ("types", "components", "uris"))
        uris = [uri for uri in uris if not uri.startswith("cdrom:")]
        if off or not suites or not uris or "deb" not in types or "main" not in components:
            continue
        backports = [f"{suite}-backports" for suite in suites if re.fullmatch(base, suite)]
        fields = {
            **stanza,
            "types": "deb",
            "uris": " ".join(uris),
            "suites": " ".join(dict.fromkeys([*suites, *backports])),
        }
        kept.append("\n".join(f"{name.title()}: {value}" for name, value in fields.items()))
    return "\n\n".join(kept) + "\n" if kept else ""


def parse_madison(text: str) -> list[Offer]:
    """The output of `apt-cache madison`, best first as apt printed it."""
    rows = (row.split("|") for row in text.splitlines())
    return [
        Offer(row[0].strip(), row[1].strip(), row[2].split()[1].partition("/")[0])
        for row in rows
        if len(row) == 3 and len(row[2].split()) >= 2
    ]


def choose(offers: Iterable[Offer], packages: tuple[str, ...], major: int) -> str | None:
    """The suite that has all `packages` in version `major` or newer; a suite that is no backports is preferred."""
    having: dict[str, set[str]] = {}
    for offer in offers:
        if offer.major >= major:
            having.setdefault(offer.suite, set()).add(offer.package)
    suites = [suite for suite, found in having.items() if found.issuperset(packages)]
    return min(suites, key=lambda suite: suite.endswith("-backports"), default=None)


class PrivateApt:
    """apt in `folder`, as any user. Raises NoOffer where this is no machine with apt."""

    def __init__(self, folder: Path, etc: Path = Path("/etc")) -> None:
        self._folder = folder
        programs = {name: shutil.which(name) for name in ("apt-get", "apt-cache", "dpkg-deb")}
        if absent := [name for name, path in programs.items() if path is None]:
            raise NoOffer(f"there is no {absent[0]} here")
        self._programs = {name: path for name, path in programs.items() if path is not None}
        os_release = etc / "os-release"
        release = codename(_text(os_release)) if os_release.is_file() else None
        sources = private_sources(_stanzas(etc / "apt"), release) if release else ""
        if not sources:
            raise NoOffer(f"no archive of {release or 'a Debian release'} is among the sources in {etc / 'apt'}")
        for name in ("lists/partial", "cache/archives/partial", "sources", "empty"):
            (folder / name).mkdir(parents=True)
        (folder / "sources" / "own.sources").write_text(sources, encoding="utf-8")
        (folder / "apt.conf").write_text(self._configuration(), encoding="utf-8")

    def _configuration(self) -> str:
        settings = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": self._folder / "sources",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": self._folder / "empty",
            "Dir::State::lists": self._folder / "lists",
            "Dir::Cache": self._folder / "cache",
            "Dir::Cache::archives": self._folder / "cache" / "archives",
            "Dir::Log": self._folder,
            "Debug::NoLocking": "true",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",  # the private folders are not open to apt's own user
            "APT::Get::Assume-Yes": "true",
            "Acquire::Languages": "none",
            "Acquire::Retries": "1",
        }
        # The machine's hooks would touch the machine's own caches.
        hooks = ("APT::Update", "DPkg")
        clear = [f"#clear {hook}::{kind};" for hook in hooks for kind in ("Pre-Invoke", "Post-Invoke")]
        clear += ["#clear APT::Update::Post-Invoke-Success;", "#clear Acquire::IndexTargets::deb::DEP-11;"]
        return "\n".join([*clear, *(f'{key} "{value}";' for key, value in settings.items())]) + "\n"

    def _run(self, program: str, *args: str, watch: Callable[[str], None] | None = None) -> Completed:
        words = [self._programs[program], "-c", str(self._folder / "apt.conf"), *args]
        return execute(words, env={"LC_ALL": "C"}, cwd=self._folder, timeout=900.0, watch=watch)

    def fetch(self, packages: tuple[str, ...], major: int, watch: Callable[[str], None]) -> list[Path]:
        """Download `packages` (version `major` or newer) and what they need that this machine lacks.

        Returns the package files, sorted. Raises NoOffer where the archive is too old, else ToolMissing.
        """
        update = self._run("apt-get", "update", watch=watch)
        # Not judged by its exit code: one archive of several may be down, or have no backports.
        offers = parse_madison(self._run("apt-cache", "madison", *packages).out)
        suite = choose(offers, packages, major)
        if suite is None:
            best = max((f"{offer.version} in {offer.suite}" for offer in offers), default="")
            if best:
                raise NoOffer(f"the newest {packages[0]} that apt offers here is {best}, older than {major}")
            raise ToolMissing(sentence(f"getting {packages[0]}: apt-get update", update, last_error(update)))
        target = ["-t", suite] if suite.endswith("-backports") else []
        done = self._run("apt-get", "install", "--download-only", *target, *packages, watch=watch)
        if not done.ok:
            raise ToolMissing(sentence(f"downloading {packages[0]} with apt-get", done, last_error(done)))
        return sorted((self._folder / "cache" / "archives").glob("*.deb"))

    def unpack(self, package: Path, tree: Path) -> None:
        """Unpack one package file into `tree`. Raises ToolMissing."""
        tree.mkdir(parents=True, exist_ok=True)
        done = execute([self._programs["dpkg-deb"], "-x", package, tree], cwd=self._folder, timeout=300.0)
        if not done.ok:
            raise ToolMissing(sentence(f"unpacking {package.name}", done, last_error(done)))


def last_error(done: Completed) -> str:
    """apt's own words: its last error line."""
    lines = [line for line in f"{done.out}\n{done.err}".splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Err:", "dpkg-deb: error"))]
    return next(iter(reversed(errors or lines)), "")


def _stanzas(etc: Path) -> Iterator[Stanza]:
    parts = etc / "sources.list.d"
    files = [etc / "sources.list", *(sorted(parts.iterdir()) if parts.is_dir() else ())]
    for path in files:
        if path.is_file() and path.suffix in (".list", ".sources"):
            yield from (parse_deb822 if path.suffix == ".sources" else parse_lines)(_text(path))


def _text(path: Path) -> str:
    with path.open("rb") as handle:
        return handle.read(_SIZE_LIMIT).decode("utf-8", "replace")
