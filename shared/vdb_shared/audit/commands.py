"""Commands of `vdb-audit` about several bundles and about attestations; `cli.py` makes them known.

With `cli.py` and `reading.py` the only modules of the audit that print, read files or exit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from vdb_shared.audit.attestation import (
    MARKED,
    MAX_ATTESTATION_BYTES,
    Attestation,
    attest,
    property_of,
    read_attestation,
)
from vdb_shared.audit.auditor_key import make_key, passphrase_from, read_key, read_public_key
from vdb_shared.audit.boards import boards_of
from vdb_shared.audit.checks import CHECKS
from vdb_shared.audit.compare import compare as compare_results
from vdb_shared.audit.log_files import fetch_from
from vdb_shared.audit.objecting import object_to, target_of
from vdb_shared.audit.options import Html, Json, PassphraseFile, PolicyFile
from vdb_shared.audit.policy import Policy
from vdb_shared.audit.reading import (
    READ_IN_LOG,
    console,
    logs_of,
    policy_of,
    print_json,
    root_of,
    roots_of,
    write_file,
)
from vdb_shared.audit.report import Report
from vdb_shared.audit.several import print_boards, print_comparison
from vdb_shared.audit.several_pages import boards_page, comparison_page
from vdb_shared.audit.tables import boards_csv, boards_latex
from vdb_shared.audit.verified import VerifiedBundle, open_verified
from vdb_shared.bundle.archive import MAX_BUNDLE_BYTES
from vdb_shared.bundle.objections import REASONS
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import FormatError, IdentityError, SignatureError, UsageError, VerificationError
from vdb_shared.identity import StatementPublicKey
from vdb_shared.named_files import read_file, spare

Bundle = Annotated[Path, typer.Argument(help="A result bundle, such as result.vdbb.", show_default=False)]
Roots = Annotated[
    list[str] | None,
    typer.Option(
        "--root",
        help="Trust root you know from elsewhere: sha256:<digest>, or its root.json. Once for all, or once for each bundle.",
        show_default=False,
    ),
]
Logs = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        help="Consortium's log, URL or folder: marks results that were withdrawn. Once for all, or once for each bundle.",
        show_default=False,
    ),
]


def compare(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    first: Bundle,
    second: Bundle,
    root: Roots = None,
    policy: PolicyFile = None,
    log: Logs = None,
    json: Json = False,
    html: Html = None,
) -> None:
    """Verify two bundles, then show in what they differ and which differences of figures are more than chance.

    What is on different scales is listed with the reason instead of compared.
    """
    spare([first, second, *([] if policy is None else [policy])], (html,))
    found = compare_results(*open_all([first, second], root, policy_of(policy), log))
    if html is not None:
        write_file(html, comparison_page(found))
    if json:
        print_json(found.to_json())
    else:
        print_comparison(console(), found)


def open_all(
    paths: list[Path], roots: list[str] | None, policy: Policy, logs: list[str] | None = None
) -> tuple[VerifiedBundle, ...]:
    """Return bundles after their audits.

    Raises:
        VerificationError: a check of one failed; names the file and the check.
        UsageError: a file cannot be read, or the number of roots or logs does not fit.
    """
    known, places = roots_of(roots or (), len(paths)), logs_of(logs or (), len(paths))
    return tuple(_open(path, root, policy, place) for path, root, place in zip(paths, known, places, strict=True))


def _open(path: Path, root: str | None, policy: Policy, place: str | None) -> VerifiedBundle:
    fetch = None if place is None else fetch_from(place)
    try:
        return open_verified(str(path), read_file(path, MAX_BUNDLE_BYTES), root=root, policy=policy, fetch=fetch)
    except VerificationError as error:
        if place is None or error.check not in READ_IN_LOG:
            raise
        raise VerificationError(f"{error.reason} The log was looked for at {place}", check=error.check) from error


def show_boards(bundles: tuple[VerifiedBundle, ...], *, as_json: bool, html: Path | None) -> None:
    """Show the tables of several results."""
    boards = boards_of(bundles)
    if html is not None:
        write_file(html, boards_page(boards))
    if as_json:
        print_json(boards.to_json())
    else:
        print_boards(console(), boards)


def write_tables(bundles: tuple[VerifiedBundle, ...], csv: Path | None, latex: Path | None) -> None:
    """Write the figures of one or more results for other programs."""
    boards = boards_of(bundles)
    if csv is not None:
        write_file(csv, boards_csv(boards))
    if latex is not None:
        write_file(latex, boards_latex(boards))


def write_attestation(
    report: Report, policy: Policy, root: str | None, out: Path, key: tuple[Path, Path | None]
) -> None:
    """Sign what an audit found and write it; of an audit that did not pass, say on standard error that nothing was signed.

    Args:
        report: of the audit.
        policy: its demands.
        root: digest of the trust root that was pinned, or None.
        out: file of the attestation.
        key: file of the auditor's key, and file of its passphrase or None.

    Raises:
        UsageError: the key or its passphrase cannot be had, or the attestation cannot be written.
        IdentityError: it is no key, or the passphrase is wrong.
    """
    if report.exit_code:
        typer.echo(f"{out}: not written; only an audit that passes is attested", err=True)
        return
    signer = read_key(key[0], lambda: passphrase_from(key[1], _asking("Passphrase of the key", confirm=False)))
    attestation = attest(report, policy, root, _now(), signer).to_json().decode("utf-8")
    write_file(out, attestation, inputs=[path for path in key if path is not None])


def object_(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    bundle: Bundle,
    reason: Annotated[str, typer.Option(help=f"One of {', '.join(REASONS)}.", show_default=False)],
    text: Annotated[str, typer.Option(help="Why, in one paragraph; everybody can read it.", show_default=False)],
    key: Annotated[Path, typer.Option(help="Your key, as `vdb-audit key` makes it.", show_default=False)],
    out: Annotated[Path, typer.Option(help="New file of the signed objection.", show_default=False)],
    root: Annotated[
        str | None,
        typer.Option(help="Trust root you know from elsewhere: sha256:<digest>, or its root.json.", show_default=False),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign an objection to a result; the consortium's log takes it from an auditor or participant of the session's roster.

    Whether the bundle passes an audit does not matter. Give the file to the lead, or to any institution, to hand it in.
    """
    data, pinned = read_file(bundle, MAX_BUNDLE_BYTES), root_of(root)
    try:
        target = target_of(data, pinned)
    except (FormatError, IdentityError) as error:
        raise type(error)(f"{bundle}: {error}") from error
    signer = read_key(key, lambda: passphrase_from(passphrase_file, _asking("Passphrase of the key", confirm=False)))
    if out.exists():
        raise UsageError(f"{out}: is there already; choose another name")
    write_file(out, object_to(target, signer, reason, text, _now()).decode("utf-8"))
    console().print(f"{out}: signed objection to the result of session {target.session}", soft_wrap=True)
    console().print(f"hand it in with: vdb-coordinator session object {target.session[7:19]} {out}", soft_wrap=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_key(
    path: Annotated[Path, typer.Argument(help="File of the new key, such as auditor.pem.", show_default=False)],
    passphrase_file: PassphraseFile = None,
    plaintext_key: Annotated[bool, typer.Option("--plaintext-key", help="Store the key without a passphrase.")] = False,
) -> None:
    """Make an auditor's key, which signs attestations, and write its public half beside it."""
    ask = _asking("New passphrase for the key", confirm=True)
    secret = None if plaintext_key else passphrase_from(passphrase_file, ask)
    key, public = make_key(path, secret)
    console().print(f"{path}: your key; keep it, and show it to nobody", soft_wrap=True)
    console().print(f"{public}: its public half, for those who check what you attest", soft_wrap=True)
    console().print(f"fingerprint: {fingerprint(key)}", soft_wrap=True)


def attestation(
    file: Annotated[Path, typer.Argument(help="An attestation that `verify --attest` wrote.", show_default=False)],
    key: Annotated[Path, typer.Option(help="The auditor's public key in PEM; by another channel.", show_default=False)],
    bundle: Annotated[
        Path | None,
        typer.Option(help="The bundle that it should be about; its digest is compared.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Check an auditor's attestation and show what it says; the bundle itself is not audited here."""
    data, public = read_file(file, MAX_ATTESTATION_BYTES), read_public_key(key)
    try:
        found = read_attestation(data, public)
    except (FormatError, SignatureError, IdentityError) as error:
        raise type(error)(f"{file}: {error}") from error
    if bundle is not None:
        digest = sha256_digest(read_file(bundle, MAX_BUNDLE_BYTES))
        if digest != found.bundle:
            raise VerificationError(
                f"{file} is about {found.bundle}, but {bundle} is {digest}; ask the auditor about this one",
                check="attestation",
            )
    if json:
        print_json(found.to_json())
    else:
        _print_attestation(found, matched=bundle)


def fingerprint(key: StatementPublicKey) -> str:
    """Return a key id in groups of four digits, as people compare it."""
    return " ".join(key.key_id[place : place + 4] for place in range(0, 64, 4))


def _print_attestation(found: Attestation, *, matched: Path | None) -> None:
    policy = found.policy
    rows = (
        ("Bundle", found.bundle),
        ("", f"which is {matched}" if matched else "give --bundle to compare a file with it"),
        ("Auditor", found.auditor),
        ("Audited", f"{found.created}, by the auditor's clock, with version {found.software}"),
        ("Trust root", policy.root or "not pinned: taken from the bundle itself"),
        ("Demands", f"ε at most {policy.maximum_epsilon}, δ at most {policy.maximum_delta}"),
        ("", f"at least {policy.minimum_cohort} institutions, {policy.minimum_collusion} of them possibly dishonest"),
        ("Standing", _stood(found)),
        ("Passed", " ".join(_known(found, passed=True))),
        ("Not passed", " ".join(_known(found, passed=False)) or "none of the checks that this version knows"),
        ("Unknown", " ".join(_unknown(found)) or "none"),
    )
    for heading, words in rows:
        console().print(f"{heading:<12}{words}", soft_wrap=True)
    console().print(
        "\nThe signature is the auditor's: this is what the auditor's key says, no audit. Repeat it: vdb-audit verify",
        soft_wrap=True,
    )


def _stood(found: Attestation) -> str:
    """Return how a result stood when it was audited."""
    marks = [mark for mark, name in MARKED.items() if name in found.properties]
    if marks:
        return f"{' and '.join(marks).upper()} when it was audited"
    if property_of("V63.standing") in found.properties:
        return "nothing was said against the result when it was audited"
    return "not known: ask the log with `vdb-audit verify --log`"


def _known(found: Attestation, *, passed: bool) -> list[str]:
    return [check.id for check in CHECKS if (property_of(check.id) in found.properties) is passed]


def _unknown(found: Attestation) -> list[str]:
    known = {property_of(check.id) for check in CHECKS} | {property_of("verdict"), *MARKED.values()}
    return [name for name in found.properties if name not in known]


def _asking(question: str, *, confirm: bool) -> Callable[[], str] | None:
    """Return what puts a question on the terminal, or None where there is none."""
    if not sys.stdin.isatty():
        return None
    return lambda: str(typer.prompt(question, hide_input=True, confirmation_prompt=confirm))
