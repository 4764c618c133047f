"""The command line: a thin table of verbs. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

from typing import Annotated

import typer

from scenarios import cli_bench, cli_kernels, cli_look, cli_prove, cli_run
from scenarios.cli_common import guarded

app = typer.Typer(
    name="moedge",
    help="Simulate an edge-cloud fleet whose nodes run real Mixture-of-Experts models and routers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First contact: moedge demo. "
    "Exit codes: 0 ok, 1 a trial failed, 2 bad input, 3 an assert: was breached, 130 interrupted.",
)

FIRST, LOOK, MORE = "Run", "Look", "Help yourself"
_VERBS = (
    (cli_run.demo, FIRST),
    (cli_run.run, FIRST),
    (cli_run.compare, FIRST),
    (cli_look.report, LOOK),
    (cli_look.serve, LOOK),
    (cli_look.verify, LOOK),
    (cli_look.check, MORE),
    (cli_look.init, MORE),
    (cli_look.scenarios, MORE),
    (cli_look.policies, MORE),
    (cli_look.schema, MORE),
    (cli_look.train, MORE),
    (cli_bench.bench_routers, MORE),
    (cli_prove.prove, MORE),
    (cli_kernels.kernels, MORE),
    (cli_look.doctor, MORE),
)
for _verb, _panel in _VERBS:
    app.command(rich_help_panel=_panel)(_verb)


def _version(wanted: bool) -> None:
    if wanted:
        from scenarios.provenance import code_version

        typer.echo(f"moedge {code_version()}")
        raise typer.Exit


@app.callback()
def start(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and leave.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Simulate an edge-cloud fleet whose nodes run real Mixture-of-Experts models and routers."""
    from scenarios.provenance import check_names

    if context.invoked_subcommand != "doctor":  # which shows the same as one of its rows
        with guarded():
            check_names()
