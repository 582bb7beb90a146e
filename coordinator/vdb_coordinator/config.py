"""The coordinator's directory: its configuration file and where everything else lies.

Promises that a configuration that parses is complete. Leaves the contents of keys and database to others.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from vdb_coordinator.approvals import ApprovalPolicy
from vdb_coordinator.files import read_file
from vdb_shared.errors import FormatError, UsageError
from vdb_shared.fields import Name
from vdb_shared.schema_words import first_mistake
from vdb_shared.toml_lines import toml_problem
from vdb_shared.wire.versions import CURRENT, OLDEST, Version

CONFIG_VERSION: Final = "vdb-coordinator/1"

_LAST_PORT: Final = 65_535


def _with_port(address: str) -> str:
    """Return an address whose port there can be.

    Raises:
        ValueError: there cannot.
    """
    port = split_address(address)[1]
    if port > _LAST_PORT:
        raise ValueError(f"{port} is no port; ports end at {_LAST_PORT}")
    return address


HostPort = Annotated[
    str,
    StringConstraints(pattern=r"^[^\s:]+:[0-9]{1,5}$|^\[[0-9a-fA-F:]+\]:[0-9]{1,5}$"),
    AfterValidator(_with_port),
]


def _spoken(text: str) -> str:
    """Return a version of the protocol that this program speaks.

    Raises:
        ValueError: it does not.
    """
    try:
        version = Version.parse(text)
    except FormatError as error:
        raise ValueError(str(error)) from error
    if not OLDEST <= version <= CURRENT:
        raise ValueError(f"this program speaks {OLDEST} to {CURRENT}")
    return text


class ConfigFile(BaseModel):
    """coordinator.toml.

    Attributes:
        consortium: its name, the trust domain of all certificates.
        name: the coordinator's own name in the roster.
        address: host:port that institutions connect to; port 0 stands for whatever port is bound.
        listen: host:port that the server binds.
        admins: SPIFFE ids of the certificates that may administer.
        log_listen: host:port on which the transparency log's files are served over HTTP; nowhere by default.
        metrics_listen: host:port on which metrics are served over HTTP; nowhere by default.
        database: URL of a PostgreSQL database, without a password; an SQLite file in the directory by default.
        oldest_protocol: programs that speak an older version of the protocol are refused.
        approvals: what one lead alone cannot order, and whose signatures it needs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["vdb-coordinator/1"]
    consortium: Name
    name: Name = "coordinator"
    address: HostPort
    listen: HostPort
    admins: Annotated[tuple[str, ...], Field(min_length=1)]
    log_listen: HostPort | None = None
    metrics_listen: HostPort | None = None
    database: str | None = None
    oldest_protocol: Annotated[str, AfterValidator(_spoken)] = str(OLDEST)
    approvals: ApprovalPolicy = ApprovalPolicy()


_EXAMPLE: Final = '"postgresql://vdb@db.example.org/vdb"'


def render_config(config: ConfigFile) -> str:
    """Return coordinator.toml with its comments."""
    admins = ", ".join(f'"{admin}"' for admin in config.admins)
    database = f"database = {json.dumps(config.database)}" if config.database else f"# database = {_EXAMPLE}"
    return f"""version = "{config.version}"
consortium = "{config.consortium}"
# The coordinator's own name in the roster.
name = "{config.name}"
# What institutions connect to; stands in every invitation and in the server's certificate.
address = "{config.address}"
# What the server binds.
listen = "{config.listen}"
# Certificates that may administer, by SPIFFE id.
admins = [{admins}]
# Where the transparency log is served over HTTP; or let a web server serve the folder `log`.
# log_listen = "0.0.0.0:7480"
# Where Prometheus reads metrics over HTTP; whoever can reach the port can read them.
# metrics_listen = "127.0.0.1:7490"
# Where sessions are kept: a PostgreSQL database, its password in ~/.pgpass; without it a file in this directory.
{database}
# Programs of institutions and leads that speak an older version of the protocol are refused, and told what to install.
# oldest_protocol = "{OLDEST}"
# What one lead alone cannot order: how many of these people must sign it; `vdb-coordinator approvals key` makes their keys.
# [approvals]
# hours = 72
# actions = {{ revoke_institution = 2, withdraw_result = 2 }}
# keys = {{ anna = "64 hex digits", ben = "64 hex digits" }}
"""


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of an address; the brackets of an IPv6 host are dropped."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """Return the address of a host and port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Home:
    """A coordinator's directory."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The configuration."""
        return self.path / "coordinator.toml"

    @property
    def root(self) -> Path:
        """The first trust root, TUF metadata; its digest is what everybody pins."""
        return self.root_version(1)

    def root_version(self, number: int) -> Path:
        """A version of the trust root, from 1; later ones lie in a folder of their own."""
        return self.path / ("root.json" if number == 1 else f"roots/root.{number}.json")

    def read_roots(self) -> tuple[bytes, ...]:
        """Return all versions of the trust root, oldest first.

        Raises:
            UsageError: one is missing or cannot be read.
        """
        later = len(list(self.root_version(2).parent.glob("root.*.json")))
        return tuple(read_file(self.root_version(number)) for number in range(1, later + 2))

    @property
    def ca_certificate(self) -> Path:
        """The certificate authority."""
        return self.path / "ca.pem"

    @property
    def admin_certificate(self) -> Path:
        """The lead's certificate; the server renews it."""
        return self.path / "admin.pem"

    @property
    def sqlite(self) -> Path:
        """The database, where the configuration names none."""
        return self.path / "coordinator.sqlite"

    def database(self, config: ConfigFile) -> Path | str:
        """Return where the database is: a file, or the URL of one that a server holds."""
        return config.database or self.sqlite

    @property
    def blobs(self) -> Path:
        """Large vectors and bundles."""
        return self.path / "blobs"

    @property
    def uploads(self) -> Path:
        """Vectors that are still being sent."""
        return self.path / "uploads"

    @property
    def log(self) -> Path:
        """The transparency log's files, for everybody."""
        return self.path / "log"

    @property
    def log_key(self) -> Path:
        """The key that verifies the log, as a line of text."""
        return self.path / "log.key"

    @property
    def audit_end(self) -> Path:
        """The end of the audit log that was signed last."""
        return self.path / "audit-end"

    @property
    def lock(self) -> Path:
        """Held by the process that serves."""
        return self.path / "lock"

    @property
    def bound(self) -> Path:
        """The address that the serving process bound."""
        return self.path / "bound-address"

    def key(self, name: Literal["root", "roster", "roster-next", "ca", "statement", "admin"]) -> Path:
        """A private key; `roster-next` is the roster's from the moment on at which the trust root names it."""
        return self.path / "keys" / f"{name}.pem"

    def read_config(self) -> ConfigFile:
        """Return the configuration.

        Raises:
            UsageError: there is none, or it is wrong.
        """
        if not self.config_file.is_file():
            raise UsageError(
                f"{self.path}: is no coordinator's directory (no {self.config_file.name}); make one with "
                "`vdb-coordinator init DIR`, or name it with --dir or VDB_COORDINATOR"
            )
        content = read_file(self.config_file)
        try:
            return ConfigFile.model_validate(tomllib.loads(content.decode()))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            problem = toml_problem(content.decode(errors="replace"), error, shown=False)  # a line may hold a password
            raise UsageError(f"{self.config_file}: {problem}") from error
        except ValidationError as error:
            raise UsageError(f"{self.config_file}: {first_mistake(error)}") from error
