"""Whether an address is one of those that a rule names, as NO_PROXY and policy.toml write rules.

Promises that a name is compared as it is written and never looked up: what it resolves to is another's to decide.

Source: the habit of curl for NO_PROXY, which nobody specifies.
"""

from __future__ import annotations

import ipaddress


def covers(rule: str, host: str, port: int) -> bool:
    """Return whether a rule is about an address.

    Args:
        rule: "*", a name, which stands for its subdomains too, an IP address or network, each with ":port" or without.
        host: name or IP address.
        port: its port.
    """
    wanted = rule.strip().lower()
    name, separator, number = wanted.rpartition(":")
    if separator and number.isdigit() and (":" not in name or name.endswith("]")):
        if int(number) != port:
            return False
        wanted = name
    wanted = wanted.strip("[]")
    if wanted in ("", "*"):
        return wanted == "*"
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        ending = wanted.removeprefix("*").removeprefix(".")
        return host.lower() == ending or host.lower().endswith(f".{ending}")


def is_this_machine(host: str) -> bool:
    """Return whether a name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
