"""What somebody at the instrument should be told: what watches over a scan, and what happened."""

from typing import Any

from tomopilot.design.trust import Trust
from tomopilot.prior.checkpoint import folder_of, read_card
from tomopilot.scan.parts import Method
from tomopilot.scan.plan import Plan

REASONS = {  # of an alarm
    "surprise": "the measurement differed from what the samples predicted",
    "strangeness": "the prior moves the samples in a way it does not move images it knows",
}


def before(plan: Plan) -> list[str]:
    """For each prior and chooser of an adaptive scan: what would notice a foreign image."""
    adaptive = [method for method in plan.methods if method.adaptive and method.prior]
    known = dict.fromkeys((method.prior, method.chooser) for method in adaptive)
    return [watching(str(prior), chooser, plan.noise) for prior, chooser in known]


def watching(prior: str, chooser: str, noise: str) -> str:
    """Which alarms watch over scans that choose by these samples.

    >>> watching("chip-128", "soft", "none")
    'prior chip-128: no alarm was fitted for samples of soft, so a foreign image would not be noticed'
    """
    card = read_card(folder_of(prior))
    watch, name = Trust.from_card(card).watch(chooser, noise), card.get("name") or prior
    if watch is None:
        return (
            f"prior {name}: no alarm was fitted for samples of {chooser}, so a foreign image would not be "
            "noticed"
        )
    if watch.strange is None:
        return (
            f"prior {name}: an alarm watches for surprising measurements; that for foreign images was not "
            f"fitted for noise {noise}"
        )
    return f"prior {name}: alarms watch for surprising measurements and for foreign images"


def after(images: list[dict[str, Any]], noun: str) -> list[str]:
    """The alarms of finished scans, and what they changed."""
    return [
        f"ALARM in {image['image']} at measurement {image['alarm']}: {REASONS[image['alarm_by']]}; "
        f"from there, {noun}s were taken in uniform order"
        for image in images
        if image["alarm"]
    ]


def stopped(plan: Plan, method: Method, taken: int, noun: str) -> str:
    """Why a scan ended after so many measurements."""
    if taken >= plan.budget:
        return f"the budget of {plan.budget} was spent"
    if plan.certain is not None:
        return f"{plan.certain:g} dB were expected"
    return f"every {noun} was measured" if method.adaptive else "the order ended"
