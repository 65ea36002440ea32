"""What somebody at the instrument should be told: what watches over a scan, and what happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tomopilot.design.trust import OPENED, Trust
from tomopilot.prior.checkpoint import SEALED, altered, folder_of, read_card
from tomopilot.scan.parts import SCORES, Method, rule
from tomopilot.scan.plan import Plan
from tomopilot.units import lengths, readable

REASONS = {  # of an alarm
    "surprise": "the measurement differed from what the samples predicted",
    "strangeness": "the prior moves the samples in a way it does not move images it knows",
}


CLOSE = 1.1  # a pixel size this many times beyond those of training is still taken for theirs


@dataclass(frozen=True)
class Look:
    """A first look at an image, before it is scanned."""

    name: str
    width: int
    pixel_size: float | None  # metres
    signal_to_noise: float
    notes: tuple[str, ...] = ()  # what was decided in reading its file


def doubts(plan: Plan, looks: Sequence[Look]) -> list[str]:
    """What may be a mistake, but need not be; said before the scans, and on their page."""
    found = []
    weakest = min(looks, key=lambda look: look.signal_to_noise)
    if weakest.signal_to_noise < 1:
        found.append(
            f"noise {plan.noise} exceeds the signal: signal to noise is {weakest.signal_to_noise:.2g} in "
            f"{weakest.name}, so a measurement carries next to nothing"
        )
    widest = max(looks, key=lambda look: look.width)
    if plan.bins is not None and plan.bins < widest.width:
        found.append(
            f"the detector has {plan.bins} bins, but {widest.name} is {widest.width} pixels wide: "
            "projections are truncated, and what lies outside is seen from few angles or none"
        )
    found += dict.fromkeys(f"{look.name.partition('::')[0]}: {note}" for look in looks for note in look.notes)
    for prior in priors_of(plan):
        if altered(read_card(folder_of(prior))):
            found.append(
                f"the card of prior {prior} was changed after it was written, in {' or '.join(SEALED)}: if "
                "that was not meant, fetch the prior again"
            )
        found += foreign_pixels(prior, looks)
    return found


def foreign_pixels(prior: str, looks: Sequence[Look]) -> list[str]:
    """Images whose pixels are of another size than those that a prior was trained on; one line a size."""
    card = read_card(folder_of(prior))
    if card.get("pixel_size") is None:
        return []
    names: dict[str, list[str]] = {}
    for look in looks:
        if look.pixel_size and not fits(look.pixel_size, card["pixel_size"]):
            names.setdefault(readable(look.pixel_size), []).append(look.name)
    return [
        f"{first}{f' and {len(more)} more' if more else ''}: the pixel size is {size}, but prior "
        f"{card.get('name') or prior} was trained on {card['pixel_size']}; resample the image or use another "
        "prior, or say the right size with --pixel-size"
        for size, (first, *more) in names.items()
    ]


def fits(pixel: float, trained: str) -> bool:
    """Whether pixels (metres) are of a size that a prior was trained on, as its card says it.

    >>> fits(1e-7, "0.04 to 0.15 um"), fits(1e-6, "0.04 to 0.15 um")
    (True, False)
    """
    low, high = lengths(trained)
    return low / CLOSE <= pixel <= high * CLOSE


def priors_of(plan: Plan) -> list[str]:
    """The priors that its methods use, each once."""
    return list(dict.fromkeys(method.prior for method in plan.methods if method.prior))


def usual_prior(plan: Plan) -> list[str]:
    """What is used, and what it knows, where no prior was named."""
    cards = {prior: read_card(folder_of(prior)) for prior in priors_of(plan)}
    return [
        f"no --prior was given: {prior} is used, trained on {card.get('data', 'unknown images')}; "
        "`tomopilot priors` lists others"
        for prior, card in cards.items()
    ]


def before(plan: Plan) -> list[str]:
    """How many scans there are, and what would notice a foreign image in the adaptive ones."""
    images, methods, scans = len(plan.images), len(plan.methods), len(plan.scans)
    many = f"{images} images by {methods} methods: {scans} scans of up to {plan.budget} measurements each"
    return [many.replace("1 images", "1 image").replace("1 methods", "1 method")] * (scans > 1) + alarms(plan)


def alarms(plan: Plan) -> list[str]:
    """For each prior and chooser of an adaptive scan: what would notice a foreign image."""
    adaptive = [method for method in plan.methods if method.adaptive and method.prior]
    known = dict.fromkeys((method.prior, method.chooser) for method in adaptive)
    return [watching(str(prior), chooser, plan.start) for prior, chooser in known]


def watching(prior: str, chooser: str, start: int = OPENED) -> str:
    """Which alarms watch over scans that choose by these samples, once `start` measurements opened them.

    >>> watching("chip-128", "soft")
    'prior chip-128: no alarm was fitted for samples of soft, so a foreign image would not be noticed'
    """
    card = read_card(folder_of(prior))
    watch, name = Trust.from_card(card).watch(chooser), card.get("name") or prior
    if watch is None:
        return (
            f"prior {name}: no alarm was fitted for samples of {chooser}, so a foreign image would not be "
            "noticed"
        )
    if start < OPENED:
        return (
            f"prior {name}: its alarms were fitted for scans that {OPENED} measurements open, so none "
            f"watches over one of --start {start}, and a foreign image would not be noticed"
        )
    if watch.strange is None:
        return f"prior {name}: an alarm watches for surprising measurements, none for strange samples"
    lowest, highest = watch.strange.noise
    noise = f"noise of {lowest:.2g}" + (f" to {highest:.2g}" if highest > 1.01 * lowest else "")
    return (
        f"prior {name}: alarms watch for surprising measurements, and for strange samples at relative {noise}"
    )


def after(images: list[dict[str, Any]], kind: dict[str, Any]) -> list[str]:
    """The alarms of finished scans, and what they changed."""
    return [
        f"ALARM in {image['image']} at measurement {image['alarm']}: {REASONS[image['alarm_by']]}; "
        + followed(image, kind)
        for image in images
        if image["alarm"]
    ]


def followed(image: dict[str, Any], kind: dict[str, Any]) -> str:
    """What became of a scan after its alarm."""
    if (at := image["without_prior"]) is None:
        return (
            f"the prior then predicted the {kind['noun']}s no worse than a reconstruction without it, so the "
            "scan went on with it; its uncertainty is a lower bound"
        )
    retreated = at < len(image["designs"]) and rule(image["policy"]) in SCORES
    fixed = f"{kind['noun']}s were taken {kind['fixed']} and " if retreated else ""
    return (
        f"the prior then predicted worse than a reconstruction without it, so from measurement {at} on "
        f"{fixed}the estimate is without it"
    )


def stopped(plan: Plan, method: Method, taken: int, noun: str) -> str:
    """Why a scan ended after so many measurements."""
    if taken >= plan.budget:
        return f"the budget of {plan.budget} was spent"
    if plan.certain is not None:
        return f"{plan.certain:g} dB were expected"
    return f"every {noun} was measured" if method.adaptive else "the order ended"
