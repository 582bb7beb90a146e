"""What `init` and `serve` do."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from vdb_coordinator.commands.terminal import Common, console, print_json
from vdb_coordinator.config import Home, split_address
from vdb_coordinator.identity.founding import found, new_config
from vdb_coordinator.identity.keys import is_encrypted
from vdb_coordinator.serving.clock import SystemClock
from vdb_coordinator.serving.failpoints import failpoints_from_environment
from vdb_coordinator.serving.limits import allow_descriptors
from vdb_coordinator.serving.log import make_log
from vdb_coordinator.serving.server import Server, read_keys
from vdb_shared.errors import UsageError
from vdb_shared.schema_words import in_words


@dataclass(frozen=True, slots=True)
class Founding:
    """What `init` was asked for."""

    directory: Path
    consortium: str | None
    address: str
    listen: str | None
    database: str | None


def init(wish: Founding, passphrase: bytes | None, *, as_json: bool) -> None:
    """Found a consortium."""
    consortium = wish.consortium or wish.directory.resolve().name
    try:
        listen = wish.listen or _default_listen(wish.address)
        config = new_config(consortium, wish.address, listen, wish.database)
    except (ValidationError, ValueError) as error:
        raise UsageError(_first_problem(error)) from error
    fingerprint = found(Home(wish.directory), config, passphrase, SystemClock().now())
    if as_json:
        print_json({"consortium": consortium, "directory": str(wish.directory), "root": fingerprint})
        return
    screen = console()
    screen.print(f"consortium {consortium} founded in {wish.directory}")
    screen.print(f"trust root: {fingerprint}")
    screen.print("publish the trust root's fingerprint where auditors will find it")
    screen.print(f"next: vdb-coordinator --dir {wish.directory} serve")


def _default_listen(address: str) -> str:
    """Return all interfaces on the address's port; for a loopback address only that."""
    host, port = split_address(address)
    return address if host in ("127.0.0.1", "::1", "localhost") else f"0.0.0.0:{port}"


def _first_problem(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"--{'.'.join(map(str, first['loc']))} {first['input']!r}: {in_words(first)}"
    return "--address: expected a host and a port that institutions reach, such as vdb.example.org:7443"


def _check_keys_are_there(home: Home) -> None:
    """Check that no key is missing with which a coordinator serves.

    Raises:
        UsageError: one is; says where it may be had from.
    """
    for path in (home.key("statement"), home.key("ca")):
        if not path.exists():
            raise UsageError(
                f"{path}: is not there; copy it back from where {path.parent} is kept, or make the coordinator anew from a "
                "backup: `vdb-coordinator restore --help`. Nobody else has this key"
            )


def _keep_what_is_loaded() -> None:
    """Take what the start made out of the search for cycles: to look through it again and again stops all calls for 0.1 s."""
    gc.collect()
    gc.freeze()


def serve(common: Common, listen: str | None, *, as_json: bool) -> None:
    """Serve until a signal comes."""
    home = Home(common.directory)
    home.read_config()
    _check_keys_are_there(home)
    passphrase = common.passphrase_for(encrypted=is_encrypted(home.key("statement")))
    keys = read_keys(home, passphrase)
    allow_descriptors()
    log = make_log(as_json=as_json, stream=sys.stderr)
    server = Server(home, keys, log, failpoints=failpoints_from_environment())

    async def run() -> None:
        stopping = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stopping.set)
        stopped = asyncio.ensure_future(stopping.wait())
        starting = asyncio.ensure_future(server.start(listen))
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                _keep_what_is_loaded()
                console().print(f"serving at {server.address}; stop with Ctrl-C")
                await stopped
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await server.stop()

    asyncio.run(run())
