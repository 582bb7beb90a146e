"""Whether an address is one of those that a rule names, as NO_PROXY and policy.toml write rules.

Promises that a name is compared as it is written and never looked up: what it resolves to is another's to decide.

Source: the habit of curl for NO_PROXY, which nobody specifies.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_NAME: Final = re.compile(
    r"\*|(\*?\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
_NUMBERS: Final = re.compile(r"[0-9./]+|.*:.*:.*|.*/.*")
"""What can only be meant as an IP address or network."""


def covers(rule: str, host: str, port: int) -> bool:
    """Return whether a rule is about an address.

    Args:
        rule: "*", a name, which stands for its subdomains too, an IP address or network, each with ":port" or without.
        host: name or IP address.
        port: its port.
    """
    wanted, only = _parts(rule)
    if only is not None and only != port:
        return False
    if wanted in ("", "*"):
        return wanted == "*"
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        ending = wanted.removeprefix("*").removeprefix(".")
        return host.lower() == ending or host.lower().endswith(f".{ending}")


def check_rule(rule: str) -> None:
    """Check that a rule can cover an address.

    Raises:
        ValueError: it is neither "*" nor a name nor an IP address or network.
    """
    wanted, _ = _parts(rule)
    if _NUMBERS.fullmatch(wanted):
        try:
            ipaddress.ip_network(wanted, strict=False)
        except ValueError as error:
            raise ValueError(f"{rule!r} is no address: {error}") from error
    elif not _NAME.fullmatch(wanted):
        raise ValueError(
            f"{rule!r} is no address: write a name, an IP address or a network, each with :port or without"
        )


def _parts(rule: str) -> tuple[str, int | None]:
    """Return a rule's name, address or network, and the port that it is about alone."""
    wanted = rule.strip().lower()
    name, separator, number = wanted.rpartition(":")
    if separator and number.isdigit() and (":" not in name or name.endswith("]")):
        return name.strip("[]"), int(number)
    return wanted.strip("[]"), None


def is_this_machine(host: str) -> bool:
    """Return whether a name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
