"""The state of a live scan, as its events tell it: the same for who writes them and for who reads them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tomopilot.files.logbook import Event
from tomopilot.live.costs import spent
from tomopilot.live.setup import Setup

Fate = Literal["outstanding", "told", "quarantined", "failed"]


@dataclass(frozen=True)
class Suggestion:
    """An angle to expose, and what became of it."""

    id: int
    design: int
    angle: float  # degrees
    by: str  # who chose it: a policy, an operator, or a rule that answered at the deadline
    why: str | None = None  # of a rule that answered instead of the policy
    gain: list[float | None] | None = None  # score of every angle, None where none was made
    flats: bool = False  # flat fields are due before it
    key: str | None = None  # of the request
    fate: Fate = "outstanding"
    digest: str | None = None  # of what came
    answer: dict[str, Any] | None = None  # to whoever told it


@dataclass
class Ledger:
    """A live scan, event by event."""

    setup: Setup
    suggestions: dict[int, Suggestion] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    exposed: list[float] = field(default_factory=list)  # degrees, of all that were exposed
    draws: list[dict[str, Any]] = field(default_factory=list)  # samples, by when they were there
    slots: dict[int, int] = field(default_factory=dict)  # where the latest are kept: slot, number told
    used: list[int] = field(default_factory=list)  # numbers told of samples that decisions followed from
    fields: dict[str, int] = field(default_factory=dict)  # events of the latest flats and darks
    fields_at: int = 0  # measurements told when flats were last taken
    mode: Literal["running", "paused", "stopped", "finished"] = "running"
    why: str | None = None  # it does not run
    uniform: bool = False  # the rest is measured in uniform order
    again: list[int] = field(default_factory=list)  # designs that failed, to be measured again
    forced: dict[int, float] = field(default_factory=dict)  # designs that an operator wants, and degrees
    attempts: dict[int, int] = field(default_factory=dict)  # failed, by design
    unusable: dict[int, str] = field(default_factory=dict)  # designs, and why
    alarm: dict[str, Any] | None = None
    without_prior: int | None = None  # the projection from which on
    trouble: dict[str, Any] | None = None  # of the latest samples
    answered: dict[str, dict[str, Any]] = field(default_factory=dict)  # wishes by key
    last: int = 0  # event

    def apply(self, events: Iterable[Event]) -> "Ledger":
        for event in events:
            getattr(self, f"_{event.kind}")(event.content | {"event": event.number})
            self.last = event.number
        return self

    @property
    def over(self) -> bool:
        """Whether nothing will be suggested any more."""
        return self.mode in ("stopped", "finished")

    @property
    def outstanding(self) -> list[Suggestion]:
        return [one for one in self.suggestions.values() if one.fate == "outstanding"]

    @property
    def flats_due(self) -> bool:
        every = self.setup.flats_every
        return bool(every) and len(self.told) + len(self.outstanding) - self.fields_at >= every

    def free_slot(self, count: int) -> int:
        """Where new samples are kept: in place of the oldest, but for the latest two that were used."""
        empty = next((slot for slot in range(count) if slot not in self.slots), None)
        if empty is not None:
            return empty
        return min((told, slot) for slot, told in self.slots.items() if told not in self.used[-2:])[1]

    def of_key(self, key: str) -> list[Suggestion]:
        """What a request with this key was answered."""
        return [one for one in self.suggestions.values() if one.key == key]

    def state(self) -> dict[str, Any]:
        """All that a control system or a page wants to know, as JSON can hold it."""
        setup, latest = self.setup, self.draws[-1] if self.draws else None
        return {
            "name": setup.name,
            "event": self.last,
            "mode": self.mode,
            "why": self.why,
            "uniform": self.uniform,
            "measured": len(self.told),
            "budget": setup.budget,
            "angles": [one["angle"] for one in self.told],
            "outstanding": [{"id": one.id, "angle": one.angle, "by": one.by} for one in self.outstanding],
            "forced": [*self.forced.values()],
            "unusable": {str(design): why for design, why in self.unusable.items()},
            "quarantined": [one.id for one in self.suggestions.values() if one.fate == "quarantined"],
            "spent": spent(setup, self.exposed),
            "budgets": {"dose": setup.dose_budget, "seconds": setup.time_budget, "unit": setup.dose_unit},
            "spread": latest and latest["spread"],
            "expected": latest and latest["expected"],
            "samples_of": latest and latest["told"],
            "alarm": self.alarm,
            "without_prior": self.without_prior,
            "trouble": self.trouble,
            "flats_due": self.flats_due,
        }

    def _begun(self, content: dict[str, Any]) -> None:
        pass

    def _flats(self, content: dict[str, Any]) -> None:
        self.fields["flats"], self.fields_at = content["event"], len(self.told)

    def _darks(self, content: dict[str, Any]) -> None:
        self.fields["darks"] = content["event"]

    def _suggested(self, content: dict[str, Any]) -> None:
        made = {name: value for name, value in content.items() if name != "event"}
        suggestion = Suggestion(**made)
        self.suggestions[suggestion.id] = suggestion
        self.forced.pop(suggestion.design, None)
        if suggestion.design in self.again:
            self.again.remove(suggestion.design)

    def _told(self, content: dict[str, Any]) -> None:
        answer = {"accepted": True, "event": content["event"], "number": content["number"]}
        self._came(content, "told", answer)
        self.told.append(content)

    def _quarantined(self, content: dict[str, Any]) -> None:
        answer = {"accepted": False, "event": content["event"], "reason": content["reason"]}
        self._came(content, "quarantined", answer)
        self._missed(content["id"])

    def _came(self, content: dict[str, Any], fate: Fate, answer: dict[str, Any]) -> None:
        one = self.suggestions[content["id"]]
        self.suggestions[one.id] = replace(one, fate=fate, digest=content["digest"], answer=answer)
        self.exposed.append(content["angle"])

    def _failed(self, content: dict[str, Any]) -> None:
        one = self.suggestions[content["id"]]
        answer = {"accepted": False, "event": content["event"], "reason": content["reason"]}
        self.suggestions[one.id] = replace(one, fate="failed", answer=answer)
        self._missed(one.id)

    def _missed(self, id: int) -> None:
        design = self.suggestions[id].design
        self.attempts[design] = self.attempts.get(design, 0) + 1
        if self.attempts[design] <= self.setup.retries:
            self.again.append(design)
        else:
            self.unusable[design] = f"failed {self.attempts[design]} times"

    def _drawn(self, content: dict[str, Any]) -> None:
        self.draws.append(content)
        self.slots[content["slot"]] = content["told"]
        self.trouble = None

    def _used(self, content: dict[str, Any]) -> None:
        self.used.append(content["told"])

    def _trouble(self, content: dict[str, Any]) -> None:
        self.trouble = content

    def _alarm(self, content: dict[str, Any]) -> None:
        self.alarm = content

    def _left(self, content: dict[str, Any]) -> None:
        self.without_prior = content["at"]

    def _wish(self, content: dict[str, Any]) -> None:
        self.answered[content["key"]] = content
        if content["granted"]:
            getattr(self, f"_do_{content['name']}")(content)

    def _finished(self, content: dict[str, Any]) -> None:
        self.mode, self.why = "finished", content["reason"]

    def _do_stop(self, content: dict[str, Any]) -> None:
        self.mode, self.why = "stopped", "stopped by the operator"

    def _do_pause(self, content: dict[str, Any]) -> None:
        self.mode, self.why = "paused", "paused by the operator"

    def _do_resume(self, content: dict[str, Any]) -> None:
        self.mode, self.why = "running", None

    def _do_force(self, content: dict[str, Any]) -> None:
        self.forced[content["design"]] = round(content["angle"], 4)

    def _do_uniform(self, content: dict[str, Any]) -> None:
        self.uniform = True

    def _do_adaptive(self, content: dict[str, Any]) -> None:
        self.uniform = False
