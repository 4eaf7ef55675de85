# SPDX-License-Identifier: Apache-2.0
"""What the components do when nothing has fused them: each in a wasmtime store of its own, linked call by call.

A call from one component to another leaves the first one's store, becomes Python values, and enters the second one's.
So the fuser has no part in it, and what it gets wrong (F12) shows as a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rig.build.imports import Binding, bind
from rig.build.subject import HostImport
from rig.build.words import printable
from rig.errors import Refusal, UsageError
from rig.image.component import Component, WitFunction
from rig.oracle.abi import UNSUPPORTED
from rig.oracle.convert import convertible, from_wasmtime, tag_all, to_wasmtime
from rig.oracle.lift import LiftTrap
from rig.oracle.played import Played, play
from rig.oracle.values import Value, zero

if TYPE_CHECKING:
    import wasmtime
    from wasmtime import component as wc

MEMORY_LIMIT = 256 << 20  # bytes of one linear memory
FUEL = 20_000_000  # about one unit per wasm instruction, per component and call: some 0.1 s
CROSSINGS = 5_000  # calls between components within one call: some 0.2 s


class Cause(StrEnum):
    """Why a call trapped."""

    UNREACHABLE = "unreachable"
    DIVISION = "division by zero"
    OVERFLOW = "integer overflow"  # INT_MIN / -1
    CONVERSION = "float to integer"
    MEMORY = "memory"  # out of bounds, also of a string or list that is passed
    TABLE = "table"  # call_indirect: null, wrong type, out of bounds
    STACK = "stack"
    ABI = "canonical ABI"  # an invalid value came out (discriminant, character, UTF-8)
    REENTRANCE = "re-entrance"  # A → B → A: the component model forbids what fused code does
    HOST = "host import"  # an import that traps, or one that the reference cannot play
    OTHER = "other"


_NATIVE = frozenset({Cause.UNREACHABLE, Cause.DIVISION, Cause.OVERFLOW, Cause.CONVERSION, Cause.TABLE})

# wasmtime 40 … 50: the words of a trap (`wasmtime_environ::Trap`), the more special first
_WORDS: tuple[tuple[str, Cause | None], ...] = (
    ("all fuel consumed", None),
    ("integer divide by zero", Cause.DIVISION),
    ("integer overflow", Cause.OVERFLOW),
    ("invalid conversion to integer", Cause.CONVERSION),
    ("`unreachable` instruction", Cause.UNREACHABLE),
    ("out of bounds memory access", Cause.MEMORY),
    ("out of bounds table access", Cause.TABLE),
    ("undefined element", Cause.TABLE),
    ("uninitialized element", Cause.TABLE),
    ("indirect call type mismatch", Cause.TABLE),
    ("call stack exhausted", Cause.STACK),
    ("cannot enter component instance", Cause.REENTRANCE),
    ("has not been defined", Cause.HOST),
    ("out of bounds", Cause.MEMORY),
    ("out-of-bounds", Cause.MEMORY),
    ("beyond end of memory", Cause.MEMORY),
    ("invalid utf-8", Cause.ABI),
    ("discriminant", Cause.ABI),
    ("char", Cause.ABI),
    ("unaligned pointer", Cause.ABI),
    ("not aligned", Cause.ABI),
)


@dataclass(frozen=True, slots=True)
class Trapped:
    cause: Cause
    component: str  # in which it happened
    words: str  # wasmtime's own

    @property
    def native(self) -> bool:
        """Whether the lowered code must trap as well; the other causes are counted and not compared."""
        return self.cause in _NATIVE


@dataclass(frozen=True, slots=True)
class OutOfFuel:
    """The call did not end within its fuel or its crossings."""

    component: str


Outcome: TypeAlias = "Value | Trapped | OutOfFuel"


class Reference:
    """The un-fused components of a subject, linked. Calls between two `fresh` form a sequence and keep its state.

    After a call that trapped or spent its fuel the sequence has ended: `fresh` first, then call again. Memories do not
    grow (as on the microcontroller). Not for two threads at once.
    """

    def __init__(
        self,
        components: Sequence[Component],
        imports: Mapping[str, HostImport] | None = None,
        *,
        fuel: int = FUEL,
        crossings: int = CROSSINGS,
    ) -> None:
        """Compile and link.

        Raises UsageError where nobody provides an import or a component cannot start, Refusal for a huge memory.
        """
        import wasmtime
        from wasmtime import component as wc

        tag_all()
        self._components = tuple(components)
        self._bindings = bind(components, imports or {})
        self._fuel, self._most = fuel, crossings
        config = wasmtime.Config()
        config.consume_fuel = True
        config.wasm_custom_page_sizes = True
        config.cranelift_nan_canonicalization = True  # the host's own NaNs stay out of integers
        config.cranelift_opt_level = "none"
        self._engine = wasmtime.Engine(config)
        self._compiled = [wc.Component(self._engine, component.data) for component in components]
        self._played: dict[tuple[Path, str], Played | None] = {}
        self._linkers = [self._linker(index) for index in range(len(components))]
        self._exports = [
            {function.core_name: (function, self._index(index, function)) for function in component.exports}
            for index, component in enumerate(components)
        ]
        self._limit = max((_pages(module) for c in components for module in c.core), default=1) * 65536
        if self._limit > MEMORY_LIMIT:
            most = MEMORY_LIMIT >> 20
            raise Refusal("calls not compared", f"a memory has {self._limit >> 20} MiB, at most {most} are played")
        self._interrupt: BaseException | None = None
        self._active: list[int] = []
        self._crossed = 0
        self._end: Trapped | OutOfFuel | None = None
        self.fresh()

    def fresh(self) -> None:
        """New instances of everything. Raises UsageError where a component traps while it starts."""
        import wasmtime

        self._end, self._interrupt, self._active, self._crossed = None, None, [], 0
        self._instances: list[wc.Instance] = []
        self._functions: dict[tuple[int, str], wc.Func] = {}
        self._stores: list[wasmtime.Store] = []
        for component, compiled, linker in zip(self._components, self._compiled, self._linkers, strict=True):
            store = wasmtime.Store(self._engine)
            store.set_limits(memory_size=self._limit, table_elements=1 << 20)
            store.set_fuel(self._fuel)
            self._stores.append(store)
            try:
                self._instances.append(linker.instantiate(store, compiled))
            except wasmtime.WasmtimeError as error:
                raise UsageError(f"{component.name} cannot start without the others: {_short(str(error))}") from error

    @property
    def ended(self) -> bool:
        """Whether the sequence has ended and `fresh` must come before the next call."""
        return self._end is not None

    def refused(self, export: str, component: str | None = None) -> str | None:
        """Why the export cannot be called here (a type that does not pass); None where it can."""
        _, function, _ = self._find(export, component)
        types = [type for _, type in function.params] + ([] if function.result is None else [function.result])
        return None if all(convertible(type) for type in types) else f"{UNSUPPORTED}: {function.core_name}"

    def call(self, export: str, args: Sequence[Value], component: str | None = None) -> Outcome:
        """Call an export ("run", "demo:iso/provider#get"); None is the result of a function without one.

        `component`: whose, where several have such an export. Raises UsageError for an unknown or ambiguous export,
        RuntimeError after the end of a sequence.
        """
        import wasmtime

        if self._end is not None:
            raise RuntimeError("the sequence has ended: call fresh() first")
        index, function, _ = self._find(export, component)
        given = [to_wasmtime(value, type) for value, (_, type) in zip(args, function.params, strict=True)]
        for store in self._stores:
            store.set_fuel(self._fuel)
        self._crossed = 0
        try:
            result = self._enter(index, function, given)
        except wasmtime.WasmtimeError as error:
            self._end = self._end or _outcome(str(error), self._components[index].name)
            if self._interrupt is not None:
                raise self._interrupt from None
            return self._end
        return None if function.result is None else from_wasmtime(result, function.result)

    def _find(self, export: str, component: str | None) -> tuple[int, WitFunction, wc.ExportIndex]:
        found = [
            (index, *self._exports[index][export])
            for index, candidate in enumerate(self._components)
            if export in self._exports[index] and component in (None, candidate.name)
        ]
        if len(found) != 1:
            what = "no component has" if not found else f"{len(found)} components have (name the component)"
            raise UsageError(f"{what} an export {printable(export)!r}")
        return found[0]

    def _enter(self, index: int, function: WitFunction, args: Sequence[Any]) -> Any:
        """Call into a component. On an error the innermost one is what is remembered."""
        import wasmtime

        name = self._components[index].name
        if index in self._active:
            self._end = self._end or Trapped(Cause.REENTRANCE, name, f"{name} is called while it calls")
            raise wasmtime.WasmtimeError("re-entrance")
        callee = self._function(index, function)
        self._active.append(index)
        try:
            result = callee(self._stores[index], *args)
            callee.post_return(self._stores[index])
            return result
        except wasmtime.WasmtimeError as error:
            self._end = self._end or _outcome(str(error), name)
            raise
        finally:
            self._active.pop()

    def _function(self, index: int, function: WitFunction) -> wc.Func:
        key = (index, function.core_name)
        if key not in self._functions:
            found = self._instances[index].get_func(self._stores[index], self._exports[index][function.core_name][1])
            assert found is not None
            self._functions[key] = found
        return self._functions[key]

    def _index(self, index: int, function: WitFunction) -> wc.ExportIndex:
        compiled = self._compiled[index]
        outer = None if function.interface is None else compiled.get_export_index(function.interface)
        found = compiled.get_export_index(function.name, outer)
        assert found is not None
        return found

    def _linker(self, index: int) -> wc.Linker:
        from wasmtime import component as wc

        linker = wc.Linker(self._engine)
        by_interface: dict[str | None, list[Binding]] = {}
        for binding in self._bindings:
            if binding.importer == index and self._playable(binding):
                by_interface.setdefault(binding.function.interface, []).append(binding)
        with linker.root() as root:
            for interface, bindings in by_interface.items():
                if interface is None:
                    for binding in bindings:
                        root.add_func(binding.function.name, self._callback(binding))
                else:
                    with root.add_instance(interface) as instance:
                        for binding in bindings:
                            instance.add_func(binding.function.name, self._callback(binding))
        linker.define_unknown_imports_as_traps(self._compiled[index])
        return linker

    @staticmethod
    def _playable(binding: Binding) -> bool:
        function = binding.function
        types = [type for _, type in function.params] + ([] if function.result is None else [function.result])
        return all(convertible(type) for type in types)

    def _callback(self, binding: Binding) -> Callable[..., Any]:
        """What wasmtime calls for an import: the provider, or the host's stand-in."""
        import wasmtime

        function, importer = binding.function, self._components[binding.importer].name
        played = self._play(binding)

        def call(_: object, *args: Any) -> Any:
            try:
                return answer(args)
            except wasmtime.WasmtimeError:
                raise
            except BaseException as error:  # Ctrl-C too: it must not be lost in wasmtime's frames
                self._interrupt = error
                raise wasmtime.WasmtimeError("interrupted") from error

        def answer(args: Sequence[Any]) -> Any:
            self._crossed += 1
            if self._crossed > self._most:
                self._end = self._end or OutOfFuel(importer)
                raise wasmtime.WasmtimeError("too many calls between components")
            if binding.provider is not None:
                provided, _ = self._exports[binding.provider][function.core_name]
                return self._enter(binding.provider, provided, args)
            if binding.host is not None and binding.host.how == "stub":
                return None if function.result is None else to_wasmtime(zero(function.result), function.result)
            if played is not None:
                return by_host(played, args)
            self._end = self._end or Trapped(Cause.HOST, importer, f"{function.core_name} is the host's")
            raise wasmtime.WasmtimeError("host import")

        def by_host(played: Played, args: Sequence[Any]) -> Any:
            given = [from_wasmtime(arg, type) for arg, (_, type) in zip(args, function.params, strict=True)]
            try:
                value = played.call(given)
            except (wasmtime.WasmtimeError, wasmtime.Trap, LiftTrap) as error:
                words = f"{function.core_name} is the host's: {_short(str(error))}"
                self._end = self._end or Trapped(Cause.HOST, importer, words)
                raise wasmtime.WasmtimeError("host import") from error
            return None if function.result is None else to_wasmtime(value, function.result)

        return call

    def _play(self, binding: Binding) -> Played | None:
        if binding.host is None or binding.host.file is None:
            return None
        key = binding.host.file, binding.function.core_name
        if key not in self._played:
            self._played[key] = play(self._engine, binding.function, binding.host.file)
        return self._played[key]


def _outcome(message: str, component: str) -> Trapped | OutOfFuel:
    last = _short(message)  # not the backtrace before it, which has names from the component
    for words, cause in _WORDS:
        if words in last.lower():
            return OutOfFuel(component) if cause is None else Trapped(cause, component, last)
    return Trapped(Cause.OTHER, component, last)


def _short(message: str) -> str:
    """The last line that says something: wasmtime puts the cause behind the backtrace."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return printable(lines[-1] if lines else message)


def _pages(module: bytes) -> int:
    """Initial pages of a core module's largest own memory."""
    from rig.build import container

    most = 0
    for section in container.sections(module):
        if section.id == 5:
            count, at = container.leb(section.payload, 0)
            for _ in range(count):
                flags, at = container.leb(section.payload, at)
                pages, at = container.leb(section.payload, at)
                most = max(most, pages)
                if flags & 1:
                    _, at = container.leb(section.payload, at)
    return most
