"""Trials of challengers: how one begins, how it is looked at, and how it ends.

All that a trial depends on stands in its announcement, so whoever has the turn can go on with it. What it
came to stands beside the artifact of the challenger, in a file of its own, since the manifest is signed.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from logging import getLogger
from typing import Any, Final, Literal

import msgspec

from models.canary import Canary
from stream.clock import now_ms
from stream.errors import FreshetError
from stream.hearing import Hearing, forget
from stream.kept_models import Chooser
from stream.messages import CanaryTrial, ModelManifest
from stream.model_store import ModelStore
from stream.models_topic import ModelsTopic, Standing
from stream.settings import Settings
from stream.telemetry import RetrainTelemetry

log = getLogger(__name__)

SHARE_BY_HAND: Final = 0.1
"""Of a trial that a person begins while the settings ask for none."""

Outcome = Literal["on", "promoted", "refused", "overtaken"]


@dataclass(frozen=True)
class Look:
    """What a look at a trial found.

    ``outcome`` is on while it goes on, promoted or refused once it is decided, and overtaken where other
    weights came in force meanwhile, or its announcement was moved to other topics, either of which ends it
    undecided. ``words`` is a line for a person.
    """

    trial: CanaryTrial
    outcome: Outcome
    words: str
    figures: dict[str, Any] = field(default_factory=dict)


class Trials:
    """The trials of one model, of which one at a time is on."""

    def __init__(
        self,
        settings: Settings,
        topic: ModelsTopic,
        telemetry: RetrainTelemetry | None = None,
        *,
        hear: Callable[[Settings, CanaryTrial], Hearing] = Hearing,
    ) -> None:
        """Prepare; nothing is read yet."""
        self._settings, self._topic, self._telemetry = settings, topic, telemetry
        self._hear = hear
        self._hearing: Hearing | None = None
        self._store = ModelStore(settings)

    async def begin(self, challenger: ModelManifest) -> CanaryTrial:
        """Put a challenger that workers would take on trial against what is in force.

        It serves as many of the users as the settings say. Raises FreshetError where nothing is in force,
        another trial is on, or it is in force itself.
        """
        standing = await self._topic.standing()
        if standing.in_force is None:
            raise FreshetError(
                f"nothing is announced for the model {self._store.name}; there is nothing to compare "
                f"{challenger.version} with"
            )
        if standing.trial is not None:
            raise FreshetError(
                f"{standing.trial.challenger.version} is on trial; "
                "wait for its end, or end it with `freshet models canary --end`"
            )
        if standing.in_force.version == challenger.version:
            raise FreshetError(f"{challenger.version} is in force; put another version on trial")
        settings, begun_ms = self._settings, now_ms()
        trial = CanaryTrial(
            challenger=msgspec.structs.replace(challenger, announced_at=begun_ms),
            champion=standing.in_force.version,
            salt=secrets.token_hex(8),
            share=settings.canary_share or SHARE_BY_HAND,
            level=settings.canary_level,
            alarm=settings.canary_alarm,
            events=settings.canary_events,
            most_pairs=settings.canary_most_pairs,
            ends_at=begun_ms + 1000 * settings.canary_limit_s,
            begins=await self._topic.ends(),
        )
        await self._topic.try_out(trial)
        return trial

    async def end(self) -> CanaryTrial | None:
        """End the trial that is on, undecided; returns it, None for none."""
        trial = (await self._topic.standing()).trial
        await self._topic.try_out(None)
        return trial

    async def look(self) -> Look | None:
        """Read what came since the last look and decide; None where no trial is on.

        A decision is announced before it is returned. Stopped in between, the next look ends in the same.
        """
        standing = await self._topic.standing()
        trial = standing.trial
        if trial is None:
            # A person may have ended it.
            self._hearing = None
            forget(self._settings)
            return None
        if self._hearing is None or self._hearing.trial.salt != trial.salt:
            self._hearing = self._hear(self._settings, trial)
        overtaken = self._overtaken(standing, trial)
        if overtaken:
            return await self._ended(Look(trial, "overtaken", overtaken))
        canary = await self._hearing.look()
        self._show(canary)
        decision = canary.decide()
        # A look that was stopped before it had ended the trial.
        announced = standing.in_force is not None and standing.in_force.version == trial.challenger.version
        if decision == "promote" or announced:
            return await self._ended(_look(trial, "promoted", "better", canary))
        if decision == "roll back":
            reason = "worse" if canary.worse else "not better"
            return await self._ended(_look(trial, "refused", reason, canary))
        if now_ms() >= trial.ends_at:
            return await self._ended(_look(trial, "refused", "not better in time", canary))
        return _look(trial, "on", "undecided", canary)

    def _overtaken(self, standing: Standing, trial: CanaryTrial) -> str:
        """Say why there is nothing to compare any more; nothing where there is."""
        topics = self._settings.topics
        if trial.begins.keys() != {topics.recommendations, *topics.events}:
            return f"its lists and events are in other topics: {', '.join(sorted(trial.begins))}"
        now = None if standing.in_force is None else standing.in_force.version
        if now not in {trial.champion, trial.challenger.version}:
            return f"{now or 'nothing'} is in force instead of {trial.champion}, which it was compared with"
        return ""

    async def _ended(self, look: Look) -> Look:
        """Announce the end of a trial, and keep what it came to beside the challenger."""
        version = look.trial.challenger.version
        if look.outcome != "overtaken":
            self._store.note_trial(version, look.figures)
        if look.outcome == "promoted":
            await Chooser(self._settings, self._topic).promote(version)
        await self._topic.try_out(None)
        self._hearing = None
        forget(self._settings)
        log.info("a trial has ended: %s", look.words, extra={"version": version, "outcome": look.outcome})
        return look

    def _show(self, canary: Canary) -> None:
        if self._telemetry is None:
            return
        for role, worth in canary.worth.items():
            for metric, value in worth._asdict().items():
                self._telemetry.model_quality.labels(role, f"live_{metric}").set(value)


def _look(trial: CanaryTrial, outcome: Outcome, reason: str, canary: Canary) -> Look:
    """Say what was observed, in a line and in figures."""
    champion, challenger = canary.worth["champion"], canary.worth["challenger"]
    words = (
        f"{reason}: live MRR {challenger.mrr:.4f} against {champion.mrr:.4f}, "
        f"{canary.pairs:,} pairs of users, {challenger.events + champion.events:,} events"
    )
    figures = {
        "outcome": outcome,
        "words": words,
        "pairs": canary.pairs,
        "champion_version": trial.champion,
        "champion": champion._asdict(),
        "challenger": challenger._asdict(),
        "begun_at_ms": trial.challenger.announced_at,
        "looked_at_ms": now_ms(),
        "terms": {
            name: getattr(trial, name)
            for name in ("share", "level", "alarm", "events", "most_pairs", "ends_at")
        },
    }
    return Look(trial, outcome, words, figures)
