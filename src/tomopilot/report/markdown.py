"""Tables in Markdown: `results.md` of a comparison or a study, and what the cards of priors say."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tomopilot.report.comparison_page import compare_headline
from tomopilot.report.page import show
from tomopilot.report.plots import judged, labelled
from tomopilot.scan.paired import contrasts, differences

MISSING = "-"
Columns = Mapping[str, Sequence[str]]  # by heading, a cell a row


def table(columns: Columns) -> str:
    """A table without the columns in which everything is missing.

    >>> print(table({"method": ["a", "b"], "dB": ["1.0", "-"], "s": ["-", "-"]}))
    | method | dB |
    | --- | --- |
    | a | 1.0 |
    | b | - |
    """
    known = {head: cells for head, cells in columns.items() if {*cells} != {MISSING}}
    rows = [list(known), ["---"] * len(known), *zip(*known.values(), strict=True)]
    safe = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in safe)


def banded(mean: Any, error: Any, digits: int = 1) -> str:
    """A mean, and two standard errors where they are known.

    >>> banded(30.06, 0.31), banded(30.06, None), banded(None, None)
    ('30.1 ± 0.3', '30.1', '-')
    """
    text = show(mean, f".{digits}f", MISSING)
    return text if MISSING in (text, known := show(error, f".{digits}f", MISSING)) else f"{text} ± {known}"


def comparison(summary: Mapping[str, Any], rows: list[dict[str, Any]], pictures: Iterable[str]) -> str:
    """The page of a comparison: PSNR and effort of each method, and differences on the same images."""
    methods = labelled(summary["methods"])
    apart = table_of_differences(summary["methods"], rows)
    parts = [
        origin("Comparison", summary),
        f"{compare_headline(summary['findings'], methods, rows)}.",
        links(pictures),
        "Mean PSNR in dB ± two standard errors over the scans, by number of measurements; "
        "in parentheses, network evaluations.",
        table_of_methods(methods),
        "Differences on the same images and seeds, in dB ± two standard errors:" if apart else "",
        apart,
    ]
    return joined(parts)


def study(summary: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], pictures: Iterable[str]) -> str:
    """The page of a study: the lines that it prints."""
    columns = {head: [cell(line[head]) for line in lines] for head in (lines[0] if lines else ())}
    name = summary["study"].capitalize()
    return joined([origin(name, summary), links(pictures), table(columns), *summary.get("notes", ())])


def table_of_methods(methods: Mapping[str, dict[str, Any]]) -> str:
    """What each method reached, and what it took."""
    points = {name: {n: (m, e) for n, m, e in judged(entry, "psnr")} for name, entry in methods.items()}
    counts = sorted({n for own in points.values() for n in own})
    entries = methods.values()
    anyone = any(entry["measurements_to_30db"] for entry in entries)
    return table(
        {
            "method": [*methods],
            **{str(n): [banded(*own.get(n, (None, None))) for own in points.values()] for n in counts},
            "to 30 dB": [
                show(e["measurements_to_30db"], ".1f", "not reached" if anyone else MISSING) for e in entries
            ],
            "s to next (evaluations)": [
                effort(e, "seconds_per_step", "choose_evaluations", 2) if e["adaptive"] else MISSING
                for e in entries
            ],
            "s estimate (evaluations)": [
                effort(e, "estimate_seconds", "estimate_evaluations", 1) for e in entries
            ],
        }
    )


def effort(entry: Mapping[str, Any], seconds: str, evaluations: str, digits: int) -> str:
    looks = show(entry.get(evaluations), ".0f", "")
    taken = show(entry.get(seconds), f".{digits}f", MISSING)
    return f"{taken} ({looks})" if looks and taken != MISSING else taken


def table_of_differences(methods: Sequence[dict[str, Any]], rows: Sequence[Mapping[str, Any]]) -> str:
    """One method minus another on the same images; empty where no two have images in common."""
    names = {id(method): name for name, method in labelled(methods).items()}
    found = {
        f"{names[id(first)]} minus {names[id(second)]}": differences(rows, first, second)
        for first, second in contrasts(methods)
    }
    found = {name: by_count for name, by_count in found.items() if by_count}
    counts = sorted({count for by_count in found.values() for count in by_count})
    at = {
        str(n): [banded(*by_count[n][:2]) if n in by_count else MISSING for by_count in found.values()]
        for n in counts
    }
    return table({"": [*found], **at}) if found else ""


def priors(cards: Mapping[str, Mapping[str, Any]]) -> str:
    """What the cards of priors say of their training, and of their error at each noise level."""
    known = cards.values()
    alike = [card.get("likeness_to_training") or {} for card in known]
    first = {
        "prior": [*cards],
        "views": [f"{card['images_seen']:,}" if card.get("images_seen") else MISSING for card in known],
        "loss": [show(card.get("validation_loss"), ".3f", MISSING) for card in known],
        "linear denoiser": [show(card.get("linear_denoiser_loss"), ".3f", MISSING) for card in known],
        "likeness": [quartiles(found.get("samples")) for found in alike],
        "of held-out slices": [quartiles(found.get("validation")) for found in alike],
        "licence of its data": [card.get("licence") or MISSING for card in known],
    }
    shares = [noise_shares(card) for card in known]
    levels = sorted({level for own in shares for level in own}, key=float)
    second = {
        "prior": [*cards],
        **{level: [show(own.get(level), ".2f", MISSING) for own in shares] for level in levels},
    }
    said = "Root mean squared error of the denoised image over the linear denoiser's, by noise level:"
    return joined([table(first), said, table(second)] if levels else [table(first)])


def noise_shares(card: Mapping[str, Any]) -> dict[str, float]:
    """Error of the prior over that of the linear denoiser, by noise level."""
    ours, linear = card.get("validation_mse") or {}, card.get("linear_denoiser_mse") or {}
    return {level: (ours[level] / linear[level]) ** 0.5 for level in ours if linear.get(level)}


def quartiles(values: Iterable[float] | None) -> str:
    return " / ".join(f"{value:.2f}" for value in values or ()) or MISSING


def origin(title: str, summary: Mapping[str, Any]) -> str:
    return f"# {title}\n\nMade by tomopilot {summary['version']}:\n\n```\n{summary['command']}\n```"


def links(pictures: Iterable[str]) -> str:
    return "\n".join(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})" for name in pictures)


def joined(parts: Iterable[str]) -> str:
    return "\n\n".join(filter(None, parts)) + "\n"


def cell(value: Any) -> str:
    """A number to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else MISSING if value is None else str(value)
