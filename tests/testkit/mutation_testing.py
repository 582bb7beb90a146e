"""Mutation testing: how many small wrong changes of a module the tests notice.

    PYTHONPATH=tests python -m testkit.mutation_testing shared/vdb_shared/bundle [--tests PATH]… [--json FILE] [--again FILE]

All tests run once on the honest code, while every line of the modules is noted that each of them reaches. A mutant of a
function is then put into a forked copy of this process, whose tests that reach its line run until one fails, the quickest
first. A mutant of what is done at import gets a copy of a process that has not imported the product yet, and all tests. Out
of time or memory is noticed too. Survivors are printed; `--again` tries the survivors of an earlier run anew, for instance
with `--tests` of new files.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import itertools
import json
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Final

import pytest
from _pytest.runner import runtestprotocol

from testkit.mutations import Mutant, mutants_of, mutated
from testkit.remembering import remember

TESTS: Final = ("tests/golden", "tests/unit/bundle", "tests/unit/audit", "tests/unit/transparency")
"""Those that notice most come first."""

OURS: Final = ("vdb_shared", "vdb_coordinator", "vdb_participant", "testkit", "test_", "tests", "conftest", "__m")
"""Beginnings of the names of modules that are imported anew for a mutant of what is done at import."""

PATIENCE: Final = 20.0
"""Seconds that all tests may take besides ten times what they took on the honest code."""

LONGEST: Final = 1.0
"""Seconds that a test may take on the honest code to be tried on mutants of functions."""

MOST: Final = 8.0
"""Seconds that all tests of a mutant of a function may take on the honest code; `--again` tries what survives with more."""

MEMORY: Final = 6 * 2**30
KILLED, SURVIVED = 1, 0


@dataclass(frozen=True, slots=True)
class Module:
    """A module under test: its file, name and source."""

    file: Path
    name: str
    source: str


@dataclass
class Coverage:
    """Which tests reach a line, and how long each test takes.

    Attributes:
        reached: tests by file and line.
        seconds: by test.
    """

    reached: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def tracer(self, test: str, files: frozenset[str]) -> Callable[[FrameType, str, Any], Any]:
        """Return a trace function that notes the lines of these files."""

        def local(frame: FrameType, event: str, _argument: Any) -> Any:
            if event == "line":
                self.reached.setdefault((frame.f_code.co_filename, frame.f_lineno), set()).add(test)
            return local

        def entered(frame: FrameType, _event: str, _argument: Any) -> Any:
            return local if frame.f_code.co_filename in files else None

        return entered


@dataclass
class Campaign:
    """A pytest plugin that runs all collected tests once and then, in forked copies, for each mutant of a function."""

    mutants: Sequence[tuple[Module, Mutant]]
    longest: float = LONGEST
    most: float = MOST
    found: dict[tuple[str, int], bool] = field(default_factory=dict)
    coverage: Coverage = field(default_factory=Coverage)
    kills: Counter[str] = field(default_factory=Counter)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        files = frozenset(str(module.file) for module, _ in self.mutants)
        remember(setattr)
        for test, item in items.items():
            started = time.monotonic()
            sys.settrace(self.coverage.tracer(test, files))
            reports = runtestprotocol(item, log=False, nextitem=None)
            sys.settrace(None)
            self.coverage.seconds[test] = time.monotonic() - started
            if any(report.failed for report in reports):
                raise pytest.UsageError(f"{test} fails on the honest code")
        functions = functions_of(files)
        for module, mutant in self.mutants:
            self.found[str(module.file), mutant.number] = self._noticed(module, mutant, items, functions)
            _tell(module, mutant, self.found[str(module.file), mutant.number])
        return True

    def _noticed(
        self, module: Module, mutant: Mutant, items: dict[str, pytest.Item], functions: Sequence[FunctionType]
    ) -> bool:
        tests = self._tests_at(module, mutant)
        limit = PATIENCE + 10 * sum(self.coverage.seconds[test] for test in tests)

        def attempt() -> bool:
            exchange(module, mutant, functions)
            for test in tests:
                if any(report.failed for report in runtestprotocol(items[test], log=False, nextitem=None)):
                    os.write(writer, test.encode())
                    return True
            return False

        reader, writer = os.pipe()
        killed = bool(tests) and noticed(attempt, limit)
        os.close(writer)
        with os.fdopen(reader) as told:
            self.kills[told.read()] += 1
        return killed

    def _tests_at(self, module: Module, mutant: Mutant) -> list[str]:
        """Return the tests that reach a mutant's line, or the statement's first line before it; quick ones that kill first."""
        for line in range(mutant.line, max(mutant.line - 12, 0), -1):
            if tests := self.coverage.reached.get((str(module.file), line)):
                seconds = self.coverage.seconds
                quick = [test for test in tests if seconds[test] <= self.longest]
                quick.sort(key=lambda test: seconds[test] / (1 + self.kills[test]))
                spent = itertools.accumulate(seconds[test] for test in quick)
                return [test for test, until in zip(quick, spent, strict=True) if until <= self.most]
        return []


def noticed(attempt: Callable[[], bool], limit: float) -> bool:
    """Return whether an attempt in a forked copy of this process returns true, raises, or exceeds its time or memory."""
    child = os.fork()
    if child == 0:
        _be_quiet()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        code = KILLED
        try:
            code = KILLED if attempt() else SURVIVED
        finally:
            os._exit(code)
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status != 0
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def functions_of(files: frozenset[str]) -> list[FunctionType]:
    """Return all functions of these files that are loaded."""
    return [item for item in gc.get_objects() if isinstance(item, FunctionType) and item.__code__.co_filename in files]


def exchange(module: Module, mutant: Mutant, functions: Sequence[FunctionType]) -> None:
    """Put a mutant's code into those of the functions that are its module's."""
    code = compile(mutated(module.source, mutant.number), str(module.file), "exec")
    codes = {(inner.co_qualname, inner.co_firstlineno): inner for inner in _inner_codes(code)}
    for item in functions:
        place = (item.__code__.co_qualname, item.__code__.co_firstlineno)
        if item.__code__.co_filename == str(module.file) and place in codes:
            item.__code__ = codes[place]


def _inner_codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inner_codes(constant)


@dataclass
class MutantFinder(MetaPathFinder, Loader):
    """Imports a mutant in the place of its module."""

    module: Module
    mutant: Mutant

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name != self.module.name:
            return None
        return spec_from_loader(name, self, origin=str(self.module.file))

    def exec_module(self, module: ModuleType) -> None:
        tree = mutated(self.module.source, self.mutant.number)
        exec(compile(tree, str(self.module.file), "exec"), module.__dict__)  # noqa: S102  # the mutant's own code


def noticed_at_import(module: Module, mutant: Mutant, tests: Sequence[str], limit: float) -> bool:
    """Return whether any test fails when a module is imported with a mutant's change; nothing of the product is loaded yet."""

    def attempt() -> bool:
        sys.meta_path.insert(0, MutantFinder(module, mutant))
        return any(pytest.main([*_OPTIONS, "-x", path]) != pytest.ExitCode.OK for path in tests)

    return noticed(attempt, limit)


_OPTIONS: Final = ("-q", "-p", "no:cacheprovider", "--no-header", "--tb=no")


def modules_of(paths: Sequence[Path]) -> list[Module]:
    """Return the modules in files and folders of shared/."""
    files = [
        file.resolve() for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("[!_]*.py")))
    ]
    root = Path("shared").resolve()
    return [Module(file, ".".join(file.relative_to(root).with_suffix("").parts), file.read_text()) for file in files]


def _be_quiet() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def _tell(module: Module, mutant: Mutant, killed: bool) -> None:
    if not killed:
        sys.stderr.write(f"survives: {module.file.name}:{mutant.line} {mutant.what} [{mutant.number}]\n")
    elif mutant.number % 20 == 0:
        sys.stderr.write(f"{module.file.name} [{mutant.number}]\n")
    sys.stderr.flush()


def main() -> int:
    """Try all mutants; print a table, and write all outcomes if a file is named."""
    parser = argparse.ArgumentParser(description="Try small wrong changes of modules against their tests.")
    parser.add_argument("paths", nargs="+", type=Path, help="modules and folders of shared/vdb_shared")
    parser.add_argument(
        "--tests", action="append", help=f"files and folders of tests; {', '.join(TESTS)} if none is named"
    )
    parser.add_argument("--json", type=Path, help="write every mutant and what became of it")
    parser.add_argument("--made", choices=["anywhere", "at-import", "in-functions"], default="anywhere")
    parser.add_argument("--again", type=Path, help="try only what survived in this file of an earlier run")
    parser.add_argument("--longest", type=float, default=LONGEST, help="leave out tests that take more seconds")
    parser.add_argument("--most", type=float, default=MOST, help="seconds of tests for one mutant")
    parser.add_argument("--sample", type=int, default=1, help="try every so many mutants of a module")
    chosen = parser.parse_args()
    chosen.tests = chosen.tests or list(TESTS)
    os.environ["CI"] = "1"  # the same examples each time
    modules = modules_of(chosen.paths)
    every = [(module, mutant) for module in modules for mutant in mutants_of(module.source)]
    every = every[:: chosen.sample]
    if chosen.made != "anywhere":
        every = [item for item in every if bool(item[1].function) == (chosen.made == "in-functions")]
    if chosen.again:
        left = {
            (row["module"], row["what"], row["text"])
            for row in json.loads(chosen.again.read_text())
            if not row["killed"]
        }
        every = [item for item in every if (item[0].name, item[1].what, _text(*item)) in left]
    found = _try_all(every, chosen)
    return _report(modules, every, found, chosen.json)


def _try_all(every: Sequence[tuple[Module, Mutant]], chosen: argparse.Namespace) -> dict[tuple[str, int], bool]:
    tests: list[str] = chosen.tests
    found: dict[tuple[str, int], bool] = {}
    _import_libraries(tests)
    started = time.monotonic()
    at_import = [item for item in every if not item[1].function]
    if at_import and noticed(lambda: pytest.main([*_OPTIONS, "-x", *tests]) != pytest.ExitCode.OK, 3600):
        raise SystemExit("the tests fail on the honest code")
    limit = PATIENCE + 10 * (time.monotonic() - started)
    for module, mutant in at_import:
        found[str(module.file), mutant.number] = noticed_at_import(module, mutant, tests, limit)
        _tell(module, mutant, found[str(module.file), mutant.number])
    campaign = Campaign([item for item in every if item[1].function], chosen.longest, chosen.most)
    if campaign.mutants and pytest.main([*_OPTIONS, *tests], plugins=[campaign]) != pytest.ExitCode.OK:
        raise SystemExit("the tests fail on the honest code")
    return found | campaign.found


def _import_libraries(tests: Sequence[str]) -> None:
    """Import what the tests import, but for the product: what is forked later then has little left to do."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _be_quiet()
        pytest.main([*_OPTIONS, "--collect-only", *tests])
        with os.fdopen(writer, "w") as names:
            names.write("\n".join(name for name in sys.modules if not name.startswith(OURS)))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as names:
        listed = names.read().split()
    os.waitpid(child, 0)
    for name in listed:
        with suppress(Exception):  # parts of libraries that only their own package may import
            importlib.import_module(name)


def _text(module: Module, mutant: Mutant) -> str:
    return module.source.splitlines()[mutant.line - 1].strip() if mutant.line else ""


def _report(
    modules: Sequence[Module],
    every: Sequence[tuple[Module, Mutant]],
    found: dict[tuple[str, int], bool],
    path: Path | None,
) -> int:
    rows = [
        {
            "module": module.name,
            "line": mutant.line,
            "text": _text(module, mutant),
            "what": mutant.what,
            "function": mutant.function,
            "killed": found[str(module.file), mutant.number],
        }
        for module, mutant in every
    ]
    for module in modules:
        of = [row for row in rows if row["module"] == module.name]
        killed = sum(bool(row["killed"]) for row in of)
        sys.stdout.write(
            f"{module.name:<48} {len(of):>5} mutants {killed:>5} killed {100 * killed / max(len(of), 1):6.1f} %" + "\n"
        )
    killed = sum(bool(row["killed"]) for row in rows)
    sys.stdout.write(
        f"{'all':<48} {len(rows):>5} mutants {killed:>5} killed {100 * killed / max(len(rows), 1):6.1f} %" + "\n"
    )
    if path:
        path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
