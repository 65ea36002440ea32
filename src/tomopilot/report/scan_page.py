"""The page of one run: what was measured, what was made of it."""

from html import escape
from pathlib import Path

from tomopilot.report import plots
from tomopilot.report.page import (
    MISSING,
    duration,
    figure,
    final,
    header,
    mean,
    plural,
    ranged,
    show,
    table,
    total,
    write_page,
)
from tomopilot.report.plots import Pictures
from tomopilot.scan.notices import REASONS, followed

SURPRISE = (
    '<p class="note">Surprise: squared error of the predicted measurement, over the error expected '
    "from spread and noise; about 1 where the prior holds.</p>"
)
AGAINST = (
    "Data against predictions: what measurements had that the samples before them did not predict, "
    "back-projected, in units of what noise does: red where they had more, blue where less. A defect that "
    "the prior does not know is mostly among the strongest spots. Data against estimate: its residual."
)
SHOWN = 8  # images with full panels; the table has them all
COLUMNS = {  # of the table of steps: key -> heading, format
    "psnr": ("PSNR (dB)", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "rmse": ("RMSE", "#.3g"),
    "spread": ("Spread", "#.3g"),
    "surprise": ("Surprise (z)", ".2f"),
    "seconds": ("Seconds", ".2f"),
    "network_evaluations": ("Network evaluations", ".0f"),
}


def simulate_report(out: Path, summary: dict, pictures: list[Pictures]) -> None:
    """The page of one run, `report.html`, with `reconstruction-<i>.png`, `angles-<i>.png`, `quality-<i>.png`.

    pictures: in the order of `summary["images"]`; the first eight are shown
    """
    images = summary["images"]
    parts = [header(f"Tomopilot {summary.get('policy', '')} scan", scan_headline(images), summary)]
    if len(images) > 1:
        parts.append(table_of_images(images, shown=min(SHOWN, len(pictures))))
    for i, (image, shown) in enumerate(zip(images[:SHOWN], pictures, strict=False)):
        parts.append(image_section(out, i, image, shown, summary))
    write_page(out, "Tomopilot scan", parts)


def scan_headline(images: list[dict]) -> str:
    """The first things to know: how many measurements, how good, how long, estimates included."""
    counts = sorted({len(image["designs"]) for image in images})
    psnrs = [last for image in images if (last := final(image, "psnr"))]
    times = [total(image, "seconds") for image in images]
    many = len(images) > 1
    words = [f"{len(images)} images"] if many else []
    words += [plural(ranged(counts), "measurement") + " each" * many]
    if psnrs:
        early = f" after {psnrs[0][1]}" if not many and psnrs[0][1] < counts[0] else ""
        words += [f"{mean(psnr for psnr, _ in psnrs):.1f} dB{early}" + " on average" * many]
    walls = [sum(image["split"].values()) for image in images if image.get("split")]
    whole = f" ({duration(mean(walls))} in all)" if walls else ""
    words += [duration(mean(times)) + " per image" * many + f" of choosing{whole}"]
    alarms = [image["alarm"] for image in images if image.get("alarm")]
    if alarms:
        words += [f"ALARM in {len(alarms)} of them" if many else f"ALARM at measurement {alarms[0]}"]
    return ", ".join(words)


def image_section(out: Path, i: int, image: dict, pictures: Pictures, summary: dict) -> str:
    kind = summary["kind"]
    name = escape(str(image["image"]))
    what, tops = (
        ("Estimate and samples", "uncertainties")
        if pictures.truth is None
        else (f"{pictures.beside[0]}, estimate and samples", "errors and uncertainties")
    )
    psnr = "PSNR where it was judged; spread" if final(image, "psnr") else "No truth to judge against; spread"
    return "\n".join(
        [
            f'<h2 id="image-{i}">{name}</h2>',
            f'<p class="note">{escape(scan_headline([image]))}{ending(image)}{split(image)}</p>',
            alarm(image, kind, pictures),
            figure(
                out,
                f"reconstruction-{i}.png",
                plots.reconstruction(pictures, summary.get("range")),
                f"Reconstruction of {image['image']}",
                f"{what} share one grey scale; the largest {tops} may exceed their colour bars. {AGAINST}",
            ),
            slices_section(out, i, pictures, summary),
            '<div class="pair">',
            figure(
                out,
                f"angles-{i}.png",
                plots.order(image["settings"], kind, pictures.estimate.shape[0]),
                f"Chosen settings of {image['image']}",
                order_caption(image["settings"], kind),
            ),
            figure(
                out,
                f"quality-{i}.png",
                plots.quality(image),
                f"Quality of {image['image']} against the number of measurements",
                f"{psnr}: the mean standard deviation of the samples.",
            ),
            "</div>",
            table_of_steps(image, kind),
        ]
    )


def slices_section(out: Path, i: int, pictures: Pictures, summary: dict) -> str:
    """Of a volume: which slice is shown above, and those that the measurements were chosen by."""
    if not pictures.slices:
        return ""
    chosen_by = [
        figure(
            out,
            f"slice-{i}-{number}.png",
            plots.reconstruction(shown, summary.get("range")),
            f"Reconstruction of {shown.name}",
            f"{escape(shown.name)}, one of {len(pictures.slices)} that the scan was chosen by.",
        )
        for number, shown in enumerate(pictures.slices[:SHOWN])
    ]
    note = f'<p class="note">Above: the middle slice, {escape(pictures.name)}. Quality is of all slices.</p>'
    return "\n".join([note, *chosen_by])


def order_caption(settings: list, kind: dict) -> str:
    place = "later ones lie further out" if kind["period"] else "the first at the top"
    where = f"Chosen {kind['noun']}s, {place}"
    return (
        f"{where}. {'Numbers and colours' if len(settings) <= plots.NUMBERED else 'Colours'} give the order."
    )


def table_of_steps(image: dict, kind: dict) -> str:
    columns = {key: column for key, column in COLUMNS.items() if image.get(key)}
    heads = ["Measurement", setting_head(kind)]
    steps = [
        [str(n), show(setting, ".6g"), *(show(image[key][n - 1], form) for key, (_, form) in columns.items())]
        for n, setting in enumerate(image["settings"], 1)
    ]
    heads += [head for head, _ in columns.values()]
    explained = SURPRISE if "surprise" in columns else ""
    return f"<details open><summary>Every measurement</summary>{table(heads, steps)}{explained}</details>"


def setting_head(kind: dict) -> str:
    """A column of settings.

    >>> setting_head({"noun": "angle", "unit": "degrees"}), setting_head({"noun": "row", "unit": "row"})
    ('Angle (degrees)', 'Row')
    """
    noun = kind["noun"].capitalize()
    return noun if kind["unit"] == kind["noun"] else f"{noun} ({kind['unit']})"


def table_of_images(images: list[dict], shown: int) -> str:
    keys = [key for key in ("psnr", "ssim", "rmse", "spread") if any(final(image, key) for image in images)]
    heads = ["Image", "Measurements", *(COLUMNS[key][0] for key in keys), "Seconds", "Network evaluations"]
    rows = [
        [
            f'<a href="#image-{i}">{escape(str(image["image"]))}</a>'
            if i < shown
            else escape(str(image["image"])),
            str(len(image["designs"])),
            *(show_final(image, key) for key in keys),
            show(total(image, "seconds"), ".1f"),
            show(total(image, "network_evaluations"), ".0f"),
        ]
        for i, image in enumerate(images)
    ]
    rest = f" Pictures follow for the first {shown}." if shown < len(images) else ""
    return f'<h2>All images</h2><p class="note">After the last measurement.{rest}</p>{table(heads, rows)}'


def show_final(image: dict, key: str) -> str:
    if (last := final(image, key)) is None:
        return MISSING
    early = f" (after {last[1]})" if last[1] < len(image["designs"]) else ""
    return show(last[0], COLUMNS[key][1]) + early


def ending(image: dict) -> str:
    return f"; ended because {escape(image['stopped'])}" if image.get("stopped") else ""


def split(image: dict) -> str:
    """Where the time went, estimates included."""
    parts = image.get("split") or {}
    times = ", ".join(f"{escape(str(part))} {duration(s)}" for part, s in parts.items())
    return f"; the time went into {times}" if parts else ""


def alarm(image: dict, kind: dict, pictures: Pictures) -> str:
    if (at := image.get("alarm")) is None:
        return ""
    seen = any(one.by_prior is not None for one in (pictures, *pictures.slices))
    beside = "; what the prior makes of the same data is shown beside it" if seen else ""
    text = (
        f"Measurement {escape(str(at))} raised the alarm: {REASONS[image['alarm_by']]}; "
        f"{followed(image, kind)}{beside}."
    )
    return f'<p class="alarm">{text}</p>'
