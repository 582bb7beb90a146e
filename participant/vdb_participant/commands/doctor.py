"""`doctor`: everything a participation needs, looked at one by one, each with the fix.

Promises that no check changes anything and that one failing check does not keep the others from running.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from vdb_participant.models import CONDITIONS
from vdb_participant.network.diagnosis import check_own_certificate
from vdb_participant.site.config import StateFolder, read_config
from vdb_participant.site.keys import Passphrase, certificate_validity
from vdb_participant.site.ledger import Ledger
from vdb_shared.errors import VdbError

GIB: Final = 2**30
LITTLE_DISK: Final = 2 * GIB
ENOUGH_DISK: Final = 20 * GIB
"""A benchmark keeps its clips losslessly; models and caches come on top."""

RENEW_BEFORE: Final = timedelta(days=7)

LIBRARIES: Final = ("torch", "diffusers", "transformers", "safetensors", "av", "opendp", "opacus", "grpc")
EXTRA: Final = "pip install 'video-diffusion-bench[participant]'"


class Status(StrEnum):
    """Outcome of one check."""

    PASS = "PASS"  # noqa: S105 - an outcome, no password
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check.

    Attributes:
        status: its outcome.
        subject: what was looked at.
        words: what was found, and what to do about it.
    """

    status: Status
    subject: str
    words: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined: state folder, passphrase for its keys, and models and data if they were named."""

    folder: StateFolder
    passphrase: Passphrase
    models: Path | None = None
    data: Path | None = None


def examine(subject: Subject) -> Iterator[Finding]:
    """Yield the findings one by one, the quick ones first."""
    yield _disk(subject.folder.path)
    yield from (_library(name) for name in LIBRARIES)
    yield _torchvision()
    yield _device()
    yield _tried("decoder", _decoder)
    yield _tried("enrolment", lambda: _enrolment(subject.folder))
    yield _unfinished(subject.folder)
    if subject.folder.config.exists():
        yield _tried("certificate and clock", lambda: _certificate(subject.folder))
        yield _tried("privacy ledger", lambda: _ledger(subject.folder))
        yield _tried("coordinator", lambda: _coordinator(subject))
    if subject.models is not None:
        yield from _models(subject.models)
    if subject.data is not None:
        yield _tried("data", lambda: _data(subject.data))


def _tried(subject: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except VdbError as error:
        return Finding(Status.FAIL, subject, str(error))


def _disk(path: Path) -> Finding:
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    words = f"{free / GIB:.1f} GiB free for {path}"
    if free < LITTLE_DISK:
        return Finding(Status.FAIL, "disk", f"{words}; free some, or choose another --dir")
    if free < ENOUGH_DISK:
        return Finding(Status.WARN, "disk", f"{words}; large benchmarks need more than {ENOUGH_DISK // GIB} GiB")
    return Finding(Status.PASS, "disk", words)


def _library(name: str) -> Finding:
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(Status.FAIL, name, f"cannot be imported ({_first_line(error)}); {EXTRA}")
    return Finding(Status.PASS, name, str(getattr(module, "__version__", "present")))


def _torchvision() -> Finding:
    """A torchvision that does not fit torch breaks every import of diffusers; none at all is best."""
    if importlib.util.find_spec("torchvision") is None:
        return Finding(Status.PASS, "torchvision", "not installed, not needed")
    try:
        importlib.import_module("torchvision")
    except (ImportError, OSError, RuntimeError) as error:
        words = f"present but broken ({_first_line(error)}), which breaks diffusers; pip uninstall torchvision"
        return Finding(Status.FAIL, "torchvision", words)
    return Finding(Status.PASS, "torchvision", "installed and works, not needed")


def _device() -> Finding:
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError, RuntimeError):
        return Finding(Status.FAIL, "device", f"cannot be looked for without torch; {EXTRA}")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
        return Finding(Status.PASS, "device", names)
    words = "no GPU that torch can use; the CPU is enough for tiny models only (check driver and CUDA build of torch)"
    return Finding(Status.WARN, "device", words)


def _decoder() -> Finding:
    """Videos are untrusted files; what reads them is kept away from everything that the kernel can keep it from."""
    try:
        decoder = importlib.import_module("vdb_participant.data.decoding.decoder").process_decoder()
    except (ImportError, OSError) as error:
        return Finding(Status.FAIL, "decoder", f"cannot be loaded ({_first_line(error)}); {EXTRA}")
    ready = decoder.started()
    keeps = [words for words, left in (("the network", ready.network), ("files", ready.files)) if not left]
    if keeps:
        words = f"a process of its own within limits, but this kernel cannot keep it from {' and '.join(keeps)}"
        return Finding(Status.WARN, "decoder", f"{words}; Linux 5.13 with Landlock and user namespaces can")
    return Finding(Status.PASS, "decoder", "a process of its own within limits, without network or files")


def _enrolment(folder: StateFolder) -> Finding:
    config = read_config(folder)
    return Finding(
        Status.PASS, "enrolment", f"{config.institution} in consortium {config.consortium} at {config.address}"
    )


def _unfinished(folder: StateFolder) -> Finding:
    """Clips begun and not finished go on with their next session; those of a session that is over wait for nothing."""
    sizes = [path.stat().st_size for path in folder.clips.glob("??/*.steps")]
    if not sizes:
        return Finding(Status.PASS, "unfinished clips", "none")
    words = f"{len(sizes)}, whose steps take {sum(sizes) / GIB:.1f} GiB"
    return Finding(
        Status.PASS, "unfinished clips", f"{words}; when no session needs them, delete {folder.clips}/*/*.steps"
    )


def _certificate(folder: StateFolder) -> Finding:
    chain, now = folder.certificate.read_bytes(), datetime.now(UTC)
    check_own_certificate(chain, now)
    _, ends = certificate_validity(chain)
    words = f"valid until {ends:%Y-%m-%d %H:%M} UTC (clock: {now:%Y-%m-%d %H:%M} UTC)"
    if ends - now < RENEW_BEFORE:
        return Finding(Status.WARN, "certificate and clock", f"{words}; ask the lead for a new invitation soon")
    return Finding(Status.PASS, "certificate and clock", words)


def _ledger(folder: StateFolder) -> Finding:
    with Ledger(folder.ledger) as ledger:
        chain = ledger.verify()
    sets = len({entry.charge.dataset for entry in chain})
    return Finding(Status.PASS, "privacy ledger", f"{len(chain)} entries of {sets} data sets, chain unbroken")


def _coordinator(subject: Subject) -> Finding:
    from vdb_participant.network.client import Client  # noqa: PLC0415 - gRPC may be what is missing
    from vdb_participant.network.connection import Connection  # noqa: PLC0415 (imported when it is needed: loading it takes long)
    from vdb_participant.site.institution import open_site  # noqa: PLC0415 (imported when it is needed: loading it takes long)

    site = open_site(subject.folder, subject.passphrase)
    with Client(Connection(site.config.address, site.tls)) as client:
        sessions = client.sessions()
    return Finding(Status.PASS, "coordinator", f"{site.config.address} answers; {len(sessions)} sessions")


def _models(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        yield Finding(Status.FAIL, "models", f"{folder}: no such folder; check --models")
        return
    for place in sorted(item for item in folder.iterdir() if item.is_dir() and item.name != CONDITIONS):
        yield _tried(f"weights {place.name}", partial(_weights, place))
    if (folder / CONDITIONS).is_dir():
        yield _tried(CONDITIONS, lambda: _conditions(folder))


def _weights(place: Path) -> Finding:
    from vdb_participant.models import (  # noqa: PLC0415 (imported when it is needed: loading it takes long)
        inspect_weights,
        script_in,
    )

    return Finding(Status.PASS, f"weights {place.name}", inspect_weights(place, script_in(place)).manifest)


def _conditions(models: Path) -> Finding:
    from vdb_participant.data.conditions import condition_files, verify_condition  # noqa: PLC0415 (imported when it is needed: loading it takes long)

    files = condition_files(models)
    for path in files:
        verify_condition(path, f"sha256:{path.stem}")
    return Finding(Status.PASS, CONDITIONS, f"{len(files)} pictures and videos, their names fit their bytes")


def _data(folder: Path | None) -> Finding:
    from vdb_participant.data.dataset import Dataset  # noqa: PLC0415 (imported when it is needed: loading it takes long)

    if folder is None:
        raise ValueError("no data folder was named")
    found = Dataset.open(folder)
    words = f"{len(found.clips)} clips and {len(found.prompts)} prompts can be used, {len(found.problems)} items cannot"
    if found.problems:
        return Finding(Status.WARN, "data", f"{words}; `vdb-participant data check {folder}` says why")
    return Finding(Status.PASS, "data", words)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
