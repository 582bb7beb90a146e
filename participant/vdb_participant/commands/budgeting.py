"""`budget` as the operator sees it."""

from __future__ import annotations

import sys
from decimal import Decimal

from vdb_participant.commands.screen import console
from vdb_participant.site.config import StateFolder
from vdb_participant.site.ledger import Account, Ledger
from vdb_participant.site.policy import DEFAULT_POLICY, PolicyFile, parse_policy, read_policy
from vdb_shared.canonical import canonical_json, decimal_string


def show(folder: StateFolder, *, as_json: bool) -> None:
    """Print what each account has spent and what remains."""
    policy = _policy(folder)
    with Ledger(folder.ledger) as ledger:
        accounts = ledger.accounts()
    if as_json:
        value = {"cap": decimal_string(policy.rho_cap), "datasets": [_json(item) for item in accounts]}
        sys.stdout.write(canonical_json(value).decode() + "\n")
        return
    out = console()
    cap = policy.rho_cap
    out.print(f"cap rho {decimal_string(cap)}: epsilon {policy.epsilon_total} at delta {policy.delta} (policy.toml)")
    if not accounts:
        out.print("nothing has been debited")
    for account in accounts:
        left = max(cap - account.spent, Decimal(0))
        out.print(f"\naccount {account.dataset}  {account.folder}")
        out.print(f"  spent rho {decimal_string(account.spent)}, {decimal_string(left)} remains")
        for entry in account.chain:
            sign = "-" if entry.kind == "refund" else "+"
            out.print(
                f"  {entry.sequence:>3} {entry.kind:<6} {sign}{decimal_string(entry.rho):<14} session {entry.session[7:19]}"
            )


def verify(folder: StateFolder) -> None:
    """Check every chain.

    Raises:
        StoreError: one is broken.
    """
    with Ledger(folder.ledger) as ledger:
        accounts = ledger.accounts()
    for account in accounts:
        console().print(f"account {account.dataset}: {len(account.chain)} entries, head {account.chain[-1].digest}")
    console().print(f"PASS: the chains of {len(accounts)} data sets are unbroken")


def _policy(folder: StateFolder) -> PolicyFile:
    return read_policy(folder.policy) if folder.policy.exists() else parse_policy(DEFAULT_POLICY)


def _json(account: Account) -> dict[str, object]:
    return {
        "dataset": account.dataset,
        "folder": account.folder,
        "spent": decimal_string(account.spent),
        "entries": [entry.to_json() | {"digest": entry.digest} for entry in account.chain],
    }
