"""Which outbound proxy a connection goes through, as the environment says: HTTPS_PROXY and NO_PROXY, in either case.

Promises that what gRPC does and what `diagnosis.py` tries is the same, and that addresses of this machine are reached directly.
The proxy is asked to CONNECT; it sees the coordinator's address and encrypted bytes, and nothing that TLS hides.

Source: RFC 9110 §9.3.6 (CONNECT), RFC 7617 (Basic); for NO_PROXY, which nobody specifies, the habit of curl.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from vdb_participant.network.hosts import covers, is_this_machine
from vdb_shared.errors import UsageError

_DEFAULT_PORT = 3128


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        host, port: where it listens.
        url: as gRPC takes it, with user and password if it wants them.
        authorization: value of the header Proxy-Authorization, or "".
    """

    host: str
    port: int
    url: str = field(repr=False)
    authorization: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """Return host:port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def proxy_for(host: str, port: int, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """Return the proxy through which an address is reached, or None if directly.

    Raises:
        UsageError: HTTPS_PROXY names none that can be used.
    """
    text = environment.get("HTTPS_PROXY") or environment.get("https_proxy") or ""
    exceptions = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    if not text or is_this_machine(host) or any(covers(item, host, port) for item in exceptions.split(",")):
        return None
    return parse_proxy(text)


def parse_proxy(text: str) -> Proxy:
    """Return the proxy that a URL names.

    Raises:
        UsageError: it is none of the kind http://[user:password@]host[:port].
    """
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port or _DEFAULT_PORT
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    if host is None or parts.scheme != "http":
        # The URL may hold a password, so it is not repeated.
        raise UsageError("HTTPS_PROXY: expected http://host:port, found another URL; correct the variable or unset it")
    login = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return Proxy(host, port, f"http://{parts.netloc.rpartition(':')[0] if parts.port else parts.netloc}:{port}", login)
