"""`vdb-participant`: the institution's commands. The only module of the agent that exits.

Commands import what they need when they run, so that enrolling and looking at the budget load no machine learning framework.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vdb_participant.commands import (
    budget,
    certificate,
    disputes,
    journal,
    leaving,
    metrics,
    policy,
    prompts,
    relay,
    sample,
    service,
    weights,
)
from vdb_participant.commands.makers import Address, Device, Engine, Makers, Together, Workers
from vdb_participant.commands.screen import console
from vdb_participant.commands.unlocking import new_passphrase_of, passphrase_of
from vdb_shared.canonical import canonical_json
from vdb_shared.commandline import run_script, tell_all_but_last
from vdb_shared.errors import DatasetError, UsageError
from vdb_shared.named_files import spare

app = typer.Typer(
    help="Take part in federated benchmarks of video models; videos, prompts and features stay here.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Look at a data directory.", no_args_is_help=True, rich_markup_mode=None)
for name, group in {"data": data_app, "models": weights.app}.items():
    app.add_typer(group, name=name)
for module in (metrics, prompts, budget, journal, policy, service, certificate, relay):
    app.add_typer(module.app, name=module.__name__.rpartition(".")[2])


@dataclass(frozen=True, slots=True)
class Common:
    """Options that stand before the command."""

    folder: Path | None
    passphrase_file: Path | None


DataFolder = Annotated[
    Path, typer.Option("--data", help="Data directory: clips/ and prompts.jsonl.", show_default=False)
]
ModelsFolder = Annotated[
    Path | None,
    typer.Option("--models", help="Folder with the weights of every model and extractor. [default: DIR/models]"),
]
AcceptLicence = Annotated[
    bool, typer.Option("--accept-licence", help="Accept the licences of models without a question.")
]
OfflineFolder = Annotated[
    Path | None,
    typer.Option(
        "--offline",
        help="No network here: write requests into DIR/outbox, read answers from DIR/inbox.",
        show_default=False,
    ),
]
WaitForFiles = Annotated[
    bool,
    typer.Option("--wait-for-files", help="With --offline: wait for each answer instead of ending until it is there."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.callback()
def _common(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir", help="State folder. [default: VDB_PARTICIPANT or ~/.vdb-participant]", show_default=False
        ),
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File whose first line unlocks the keys; else VDB_PASSPHRASE, else a question.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")] = False,
) -> None:
    del debug  # read from the arguments by `main`, which also sees errors of the options themselves
    context.obj = Common(folder, passphrase_file)


@app.command(epilog="Example: vdb-participant enroll hospital-a.invitation --wait")
def enroll(
    context: typer.Context,
    invitation: Annotated[Path, typer.Argument(help="Invitation file from the lead.", show_default=False)],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the lead has approved.")] = False,
    plaintext_keys: Annotated[
        bool, typer.Option("--plaintext-keys", help="Store keys unencrypted (tests only).")
    ] = False,
    offline: OfflineFolder = None,
) -> None:
    """Make keys here, ask for membership, and print the fingerprint to read out to the lead.

    With --offline, INVITATION is the offer that `vdb-participant relay prepare` made of it.
    """
    commands, passphrase = _load("commands.enrolling"), new_passphrase_of(context, plaintext=plaintext_keys)
    if offline is None:
        commands.enroll(_state(context), invitation, passphrase, wait=wait)
    elif not commands.enroll_offline(_state(context), invitation, passphrase, _offline(offline, wait)):
        raise typer.Exit(_load("commands.reaching").ENDED_AWAITING)


@app.command(epilog="Example: vdb-participant join 4f2a --data DIR --models DIR --dry-run")
def join(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    session: Annotated[
        str, typer.Argument(help="Session id, its beginning, or an invitation file.", show_default=False)
    ],
    data: DataFolder,
    models: ModelsFolder = None,
    device: Device = "auto",
    workers: Workers = 1,
    engine: Engine = "local",
    address: Address = "",
    together: Together = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would leave and what it costs; promise and send nothing.")
    ] = False,
    no_timing: Annotated[
        bool, typer.Option("--no-timing", help="Make no short clip of each model to estimate its hours.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Consent without being asked, if policy.toml says unattended_consent = true.")
    ] = False,
    accept_licence: AcceptLicence = False,
    plaintext_keys: Annotated[bool, typer.Option("--plaintext-keys", help="With an invitation: see enroll.")] = False,
    offline: OfflineFolder = None,
    wait_for_files: WaitForFiles = False,
) -> None:
    """Show what will leave and what it costs, ask for consent, then generate, measure and contribute.

    Run it again after a crash: it goes on where it stopped.
    """
    makers = Makers(device, workers, engine, address, together)
    resources = replace(_resources(context, data, models, makers), timed=not no_timing)
    commands = _load("commands.joining")
    commands.check_data_folder(_state(context), session, data)
    if Path(session).is_file():
        session = _load("commands.enrolling").enrol_for_session(
            _state(context), Path(session), new_passphrase_of(context, plaintext=plaintext_keys), passphrase_of(context)
        )
    licences = _licences(context, accepted=accept_licence)
    withheld = partial(_load("commands.models").not_accepted, _state(context))
    wish = commands.Wish(session, resources, licences, withheld, yes=yes, offline=_offline(offline, wait_for_files))
    act = commands.dry_run if dry_run else commands.join
    act(_state(context), passphrase_of(context), wish)


@app.command(epilog="Example: vdb-participant run spec.toml --data DIR --models DIR -o figures.json")
def run(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(help="Benchmark spec, TOML or canonical JSON.", show_default=False)],
    data: DataFolder,
    models: ModelsFolder = None,
    device: Device = "auto",
    workers: Workers = 1,
    engine: Engine = "local",
    address: Address = "",
    together: Together = 1,
    accept_licence: AcceptLicence = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Also write the figures as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with figures and clips.")] = None,
    as_json: Json = False,
) -> None:
    """Run the same evaluation locally: exact, no federation, nothing sent."""
    for path in (output, html):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{path}: there is no such folder to write it to; make it, or choose another")
    spare([spec, data], (output, html))
    resources = _resources(context, data, models, Makers(device, workers, engine, address, together))
    read = _load("commands.spec_file").read_spec(spec)
    policy = _load("site.policy").policy_in(_state(context))
    local = _load("commands.local")
    _licences(context, accepted=accept_licence)(read)
    with _load("commands.showing").shown_progress() as shown:
        told = replace(resources, tell=shown.tell, say=shown.say)
        evaluation = local.run_locally(read, told, _state(context).clips, shown.progress, policy)
    figures = canonical_json(evaluation.to_json())
    if output is not None:
        _load("site.storage").write_private(output, figures + b"\n")
    if as_json:
        sys.stdout.write(figures.decode() + "\n")
    else:
        local.print_evaluation(console(), evaluation)
    if html is not None:
        _load("commands.reporting").write_evaluation_page(_state(context), read, evaluation, html)
    if all(result.value is None for result in evaluation.results):
        raise UsageError("no model could be measured; the lines above say why")


@app.command(epilog="Example: vdb-participant report 4f2a --html result.html")
def report(
    context: typer.Context,
    session: Annotated[str, typer.Argument(help="Session id, or its beginning.", show_default=False)],
    html: Annotated[Path | None, typer.Option(help="Where to write. [default: beside the result]")] = None,
    prompts: Annotated[int, typer.Option(min=0, max=1000, help="Public prompts to show, at most.")] = 6,
) -> None:
    """Write a page with the result of a session and clips of public prompts that were made here; nothing private."""
    console().print(str(_load("commands.reporting").write_session_page(_state(context), session, html, prompts)))


app.command(epilog="Example: vdb-participant sessions")(leaving.sessions)
app.command(epilog="Example: vdb-participant status")(leaving.status)
app.command(epilog="Example: vdb-participant leave 4f2a --reason 'our data were withdrawn'")(leaving.leave)
app.command(
    name="object",
    epilog="Example: vdb-participant object 4f2a --reason model --text 'our driver was broken' -o mine.dsse.json",
)(disputes.object_to)
app.command(epilog="Example: vdb-participant objections 4f2a --out statements")(disputes.objections)
app.command(
    "prove-sample",
    epilog="Example: vdb-participant prove-sample 4f2a --checkpoint choice.json --count 30 --auditor NAME --out samples.vdbs",
)(sample.prove_sample)


@app.command(epilog="Example: vdb-participant doctor --models DIR --data DIR")
def doctor(
    context: typer.Context,
    models: Annotated[Path | None, typer.Option(help="Also look at the weights in this folder.")] = None,
    data: Annotated[Path | None, typer.Option(help="Also look at this data directory.")] = None,
    spec: Annotated[Path | None, typer.Option(help="Also look at what this spec needs: disk, models, policy.")] = None,
    as_json: Json = False,
) -> None:
    """Check machine, GPU, keys, the way to the coordinator, clocks, ledger and journal; say PASS, WARN or FAIL and the fix."""
    examiner = _load("commands.doctor")
    findings = []
    for finding in examiner.examine(examiner.Subject(_state(context), passphrase_of(context), models, data, spec)):
        findings.append(finding)
        if not as_json:
            console().print(f"{finding.status.value:<5} {finding.subject:<22} {finding.words}")
    if as_json:
        _print_json([{"status": item.status.value, "subject": item.subject, "words": item.words} for item in findings])
    raise typer.Exit(1 if any(item.status is examiner.Status.FAIL for item in findings) else 0)


@data_app.command("check", epilog="Example: vdb-participant data check DIR --frames 16 --sheet clips.png")
def data_check(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Data directory.", show_default=False)],
    frames: Annotated[int, typer.Option(min=1, help="Clips with fewer frames are too short.")] = 1,
    spec: Annotated[
        Path | None,
        typer.Option(help="Also say which ratings, and which likenesses to public files, concern this spec."),
    ] = None,
    models: ModelsFolder = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet (PNG) with pictures of every clip.", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not decode clips to their end.")] = False,
    as_json: Json = False,
) -> None:
    """Show what the agent understands of a data directory, why it leaves items out, and which clips look alike.

    Nothing is left out because it looks like something else: that is for you to decide.
    """
    commands = _load("commands.data_checking")
    wish = commands.Wish(frames, spec, models or _state(context).models, sheet, quick)
    try:
        with _load("commands.showing").shown_progress() as shown:
            found = commands.checked(folder, wish, shown.progress)
    except DatasetError as error:
        raise tell_all_but_last(error.every or (error,)) from None
    if as_json:
        _print_json(commands.facts(found))
    elif not commands.told(console(), folder, found):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    share_processors()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what went wrong is said in our own words
    run_script(app, extra="participant")


def share_processors() -> None:
    """Let threads that wait for each other sleep soon, unless somebody chose otherwise; before torch is loaded.

    They would keep a processor busy meanwhile: four agents on two processors made clips in 10 s that take 0.4 s alone, and
    make them in 2 s now. Alone they are as fast as before.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _load(module: str) -> Any:
    """Return a module of the agent."""
    return importlib.import_module(f"vdb_participant.{module}")


def _state(context: typer.Context) -> Any:
    return _load("site.config").state_folder(context.obj.folder)


def _resources(context: typer.Context, data: Path, models: Path | None, makers: Makers) -> Any:
    if models is not None and not models.is_dir():
        raise UsageError(f"--models {models}: expected a folder of weights, found none")
    state, cluster = _state(context), makers.cluster
    folders = (data, models or state.models, state.registry)
    data, models, registry = (folder.absolute() if cluster else folder for folder in folders)
    make = _load("session.preparation").Resources
    known = {"cluster": cluster, "together": makers.together, "egress": state.egress.absolute()}
    return make(data, models, makers.known_device, registry, makers.workers, **known)


def _offline(folder: Path | None, wait: bool) -> Any:
    return folder and _load("commands.reaching").Offline(folder, wait, console(stderr=True).print)


def _licences(context: typer.Context, *, accepted: bool) -> Any:
    """Return what makes sure that the licences of a spec's models are accepted."""
    return partial(
        _load("commands.models").accept_licences,
        _state(context),
        ask=weights.licence_question(),
        accepted=accepted,
        show=console(stderr=True).print,
    )


def _print_json(value: object) -> None:
    sys.stdout.write(canonical_json(value).decode() + "\n")


if __name__ == "__main__":
    main()
