"""`tomopilot priors`."""

import json
from typing import Annotated

import typer

from tomopilot.cli.options import AsJson
from tomopilot.cli.terminal import cell, table

SHOWN = ("image_size", "unit", "images_seen", "validation_loss", "hardware", "licence")


def priors(
    as_json: AsJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print tables in Markdown: training, and error by noise level.")
    ] = False,
) -> None:
    """List the known priors and their cards.

    Example: tomopilot priors
    """
    from tomopilot.prior.checkpoint import prior_folders, read_card

    cards = {name: read_card(folder) for name, folder in prior_folders().items()}
    if as_json:
        typer.echo(json.dumps(cards, indent=2))
        return
    if markdown:
        from tomopilot.report import markdown as pages

        typer.echo(pages.priors(cards), nl=False)
        return
    rows = [(name, *(cell(card.get(key)) for key in SHOWN)) for name, card in cards.items()]
    table("priors", ("name", *(key.replace("_", " ") for key in SHOWN)), rows)
