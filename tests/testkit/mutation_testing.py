"""Mutation testing: how many small wrong changes of a module the tests notice.

    PYTHONPATH=tests python -m testkit.mutation_testing shared/vdb_shared/bundle [--tests PATH]… [--resume FILE [--again]]

All tests run once on the honest code, while every line of the modules is noted that each of them reaches. A mutant of a
function is then put into a forked copy of this process, whose tests that reach its line run until one fails: first those
that are quick, reach little else, and have noticed others of the same function. A mutant of what is done at import gets a
copy of a process that has not imported the product yet, and all tests. Out of time or memory is noticed too. Survivors are
printed.

`--resume` keeps a record of every outcome as it becomes known: a run that was cut short goes on from there, and a mutant is
tried anew only if its module has changed since, or if it survived and `--again` is given, for instance with other `--tests`.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import itertools
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Final, NoReturn

import pytest
from _pytest.runner import runtestprotocol

from testkit.mutation_record import Module, Record, modules_of, report
from testkit.mutations import Mutant, mutants_of, mutated
from testkit.remembering import remember

TESTS: Final = ("tests/golden", "tests/unit/bundle", "tests/unit/audit", "tests/unit/transparency")
"""Those that notice most come first."""

OURS: Final = ("vdb_shared", "vdb_coordinator", "vdb_participant", "testkit", "test_", "tests", "conftest", "__m")
"""Beginnings of the names of modules that are imported anew for a mutant of what is done at import."""

PATIENCE: Final = 20.0
"""Seconds that all tests may take besides ten times what they took on the honest code."""

LONGEST: Final = 1.0
"""Seconds of computing that a test may take on the honest code to be tried on mutants of functions."""

MOST: Final = 8.0
"""Seconds that all tests of a mutant of a function may take on the honest code; `--again` tries what survives with more."""

QUICK: Final = 0.2
"""Seconds of a test that need no second measurement."""

SLOWER: Final = 10
"""By how much a test may take longer while its lines are noted, and values are computed for the first time."""

PROVEN: Final = 10
"""By how much sooner a test is tried for each mutant of the same function that it has noticed."""

MEMORY: Final = 6 * 2**30
KILLED, SURVIVED = 1, 0


@dataclass
class Coverage:
    """Which tests reach a line, and how long each test takes.

    Attributes:
        reached: tests by file and line.
        seconds: by test.
        lines: how many a test reaches.
    """

    reached: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    lines: Counter[str] = field(default_factory=Counter)

    def tracer(self, test: str, files: frozenset[str]) -> Callable[[FrameType, str, Any], Any]:
        """Return a trace function that notes the lines of these files."""

        def local(frame: FrameType, event: str, _argument: Any) -> Any:
            if event == "line":
                tests = self.reached.setdefault((frame.f_code.co_filename, frame.f_lineno), set())
                self.lines[test] += test not in tests
                tests.add(test)
            return local

        def entered(frame: FrameType, _event: str, _argument: Any) -> Any:
            return local if frame.f_code.co_filename in files else None

        return entered


@dataclass
class Campaign:
    """A pytest plugin that runs all collected tests once and then, in forked copies, for each mutant of a function."""

    mutants: Sequence[tuple[Module, Mutant]]
    record: Record
    longest: float = LONGEST
    most: float = MOST
    jobs: int = 1
    coverage: Coverage = field(default_factory=Coverage)
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        files = frozenset(str(module.file) for module, _ in self.mutants)
        remember(setattr)
        for test, item in items.items():
            seconds = _timed(test, item, self.coverage.tracer(test, files))
            if QUICK < seconds < SLOWER * self.longest:  # it may be quick once what is remembered is there
                seconds = _timed(test, item, None)
            self.coverage.seconds[test] = seconds
        functions = functions_of(files)
        gc.collect()
        gc.freeze()  # copies share what is there already, as long as nobody counts it again
        in_parallel([partial(self._try_share, job, items, functions) for job in range(self.jobs)])
        return True

    def _try_share(self, job: int, items: dict[str, pytest.Item], functions: Sequence[FunctionType]) -> None:
        for module, mutant in self.mutants[job :: self.jobs]:
            self.record.add(module, mutant, self._killer(module, mutant, items, functions))

    def _killer(
        self, module: Module, mutant: Mutant, items: dict[str, pytest.Item], functions: Sequence[FunctionType]
    ) -> str | None:
        """Return the test that noticed a mutant, "" if it was its time or memory, or None."""
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
            killer = told.read()
        self.kills[mutant.function, killer] += 1
        return killer if killed else None

    def _cost(self, test: str) -> float:
        """Return how late a test is tried: one that is slow, or that reaches so much that it is hardly about any of it."""
        return self.coverage.seconds[test] * self.coverage.lines[test]

    def _tests_at(self, module: Module, mutant: Mutant) -> list[str]:
        """Return the tests that reach a mutant's line, or the statement's first line before it; quick ones that kill first."""
        for line in range(mutant.line, max(mutant.line - 12, 0), -1):
            if tests := self.coverage.reached.get((str(module.file), line)):
                seconds = self.coverage.seconds
                quick = [test for test in tests if seconds[test] <= self.longest]
                quick.sort(key=lambda test: self._cost(test) / (1 + PROVEN * self.kills[mutant.function, test]))
                spent = itertools.accumulate(seconds[test] for test in quick)
                return [test for test, until in zip(quick, spent, strict=True) if until <= self.most]
        return []


def _timed(test: str, item: pytest.Item, tracer: Callable[[FrameType, str, Any], Any] | None) -> float:
    """Run a test on the honest code; return its seconds of computing."""
    started = time.process_time()
    sys.settrace(tracer)
    reports = runtestprotocol(item, log=False, nextitem=None)
    sys.settrace(None)
    if any(report.failed for report in reports):
        raise pytest.UsageError(f"{test} fails on the honest code")
    return time.process_time() - started


def in_parallel(shares: Sequence[Callable[[], None]]) -> None:
    """Do shares of work at the same time, each in a forked copy of this process; one alone is done here.

    Raises:
        RuntimeError: one was not finished.
    """
    if len(shares) == 1:
        shares[0]()
        return
    children = [os.fork() or _finish(share) for share in shares]
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise RuntimeError("a share of the mutants was not tried; --resume goes on from what is recorded")


def _finish(share: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        share()
        code = 0
    finally:
        os._exit(code)


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


def _be_quiet() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def main() -> int:
    """Try all mutants; print a table, and write all outcomes if a file is named."""
    parser = argparse.ArgumentParser(description="Try small wrong changes of modules against their tests.")
    parser.add_argument("paths", nargs="+", type=Path, help="modules and folders of the product")
    parser.add_argument(
        "--tests", action="append", help=f"files and folders of tests; {', '.join(TESTS)} if none is named"
    )
    parser.add_argument("--json", type=Path, help="write every mutant and what became of it")
    parser.add_argument("--made", choices=["anywhere", "at-import", "in-functions"], default="anywhere")
    parser.add_argument("--resume", type=Path, help="a record of outcomes: read first, and added to with every mutant")
    parser.add_argument("--again", action="store_true", help="try anew what survived according to that record")
    parser.add_argument("--jobs", type=int, default=1, help="mutants that are tried at the same time")
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
    with tempfile.TemporaryDirectory() as folder:
        record = Record(chosen.resume or Path(folder) / "record")
        _try_all(every, chosen, record)
        report(modules, every, record, chosen.json)
    return 0


def _try_all(every: Sequence[tuple[Module, Mutant]], chosen: argparse.Namespace, record: Record) -> None:
    tests: list[str] = chosen.tests
    known = record.outcomes()
    outcomes = [(item, known.get((item[0].name, item[0].digest, item[1].number))) for item in every]
    left = [item for item, killed in outcomes if killed is None or (chosen.again and not killed)]
    _import_libraries(tests)
    started = time.monotonic()
    at_import = [item for item in left if not item[1].function]
    if at_import and noticed(lambda: pytest.main([*_OPTIONS, "-x", *tests]) != pytest.ExitCode.OK, 3600):
        raise SystemExit("the tests fail on the honest code")
    limit = PATIENCE + 10 * (time.monotonic() - started)

    def try_share(job: int) -> None:
        for module, mutant in at_import[job :: chosen.jobs]:
            record.add(module, mutant, "" if noticed_at_import(module, mutant, tests, limit) else None)

    in_parallel([partial(try_share, job) for job in range(chosen.jobs)])
    inside = [item for item in left if item[1].function]
    campaign = Campaign(inside, record, chosen.longest, chosen.most, chosen.jobs)
    if inside and pytest.main([*_OPTIONS, *tests], plugins=[campaign]) != pytest.ExitCode.OK:
        raise SystemExit("the tests fail on the honest code")


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


if __name__ == "__main__":
    sys.exit(main())
