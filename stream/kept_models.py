"""What a person does with the artifacts of a model: looks at them, and chooses which is in force."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import msgspec

from models.errors import ArtifactError
from models.gate import Verdict
from stream.clock import now_ms
from stream.errors import FreshetError
from stream.messages import CanaryTrial, ModelManifest
from stream.model_store import ModelStore, Origin
from stream.models_topic import ModelsTopic, Standing
from stream.settings import Settings
from stream.weights import load_announced

Role = Literal["in force", "on trial", "refused", "earlier"]


@dataclass(frozen=True)
class Kept:
    """An artifact in a line.

    ``role`` is in force for what is announced, on trial for a canary, refused for what the gate or a trial
    did not let pass, earlier for the rest. ``gate`` is what the gate measured (``Verdict.as_report``), None
    where it did not look, ``trial`` what the last trial came to. ``problem`` says why a manifest cannot be
    read; nothing else is known then.
    """

    version: str
    role: Role
    trained_at_ms: int | None = None
    kind: str = ""
    parent: str = ""
    gate: Mapping[str, Any] | None = None
    problem: str = ""
    trial: Mapping[str, Any] | None = None

    @property
    def words(self) -> str:
        """The figures of gate and trial for a person, or what is wrong with the artifact."""
        return self.problem or "; ".join(filter(None, (_words(self.gate), _trial_words(self.trial))))


def kept_models(store: ModelStore, standing: Standing) -> list[Kept]:
    """The artifacts of a store, newest first; ``standing`` is what is announced."""
    return [_kept(store, version, standing) for version in reversed(store.versions())]


def _kept(store: ModelStore, version: str, standing: Standing) -> Kept:
    role: Role = "earlier"
    if standing.in_force is not None and version == standing.in_force.version:
        role = "in force"
    elif standing.trial is not None and version == standing.trial.challenger.version:
        role = "on trial"
    try:
        manifest = store.manifest(version)
    except ArtifactError as error:
        return Kept(version, role, problem=str(error))
    origin = Origin.of(manifest)
    if role == "earlier" and store.refused(version):
        role = "refused"
    return Kept(
        version,
        role,
        manifest.trained_at_ms,
        origin.kind,
        origin.parent,
        origin.verdict,
        trial=store.trial(version),
    )


def described(store: ModelStore, version: str) -> dict[str, Any]:
    """Everything the manifest of a version says, and what its last trial came to, if it had one.

    Raises FreshetError for an unknown one, ArtifactError.
    """
    manifest, trial = store.require(version), store.trial(version)
    tried = {} if trial is None else {"trial": trial}
    return asdict(manifest) | {"origin": Origin.of(manifest).as_mapping()} | tried


class Choice(NamedTuple):
    """Which version is in force now, and which was.

    ``refused`` is what the gate said where it refused the version, else empty; ``failed`` likewise what
    its trial came to. Where ``announced`` is false it was in force already. ``ended`` is the version whose
    trial this choice has ended.
    """

    version: str
    replaced: str | None
    refused: str = ""
    failed: str = ""
    announced: bool = True
    ended: str | None = None


class Chooser:
    """Puts kept artifacts in force, which ends a trial that is on: it compared with what was in force."""

    def __init__(self, settings: Settings, topic: ModelsTopic) -> None:
        """Prepare; nothing is read yet."""
        self._settings, self._topic = settings, topic
        self._store = ModelStore(settings)

    async def promote(self, version: str) -> Choice:
        """Announce a kept artifact, whatever the gate said of it.

        Raises FreshetError or ArtifactError, with nothing announced, where there is none or a worker
        would refuse it.
        """
        origin = Origin.of(self._store.require(version))
        refused = _words(origin.verdict) if origin.refused else ""
        failed = _trial_words(self._store.trial(version)) if self._store.failed_trial(version) else ""
        chosen = await self.checked(version)
        now, trial = await self._topic.standing()
        if now is not None and (now.version, now.sha256) == (version, chosen.sha256):
            return Choice(version, version, refused, failed, announced=False)
        if now is not None:
            previous = now.previous_version if now.version == version else now.version
            chosen = msgspec.structs.replace(chosen, previous_version=previous)
        await self._topic.announce(chosen)
        replaced = None if now is None else now.version
        return Choice(version, replaced, refused, failed, ended=await self._end(trial))

    async def roll_back(self) -> Choice:
        """Announce what was in force before the network that is, or before it was promoted.

        Raises FreshetError or ArtifactError, with nothing announced, where there is nothing to go to.
        """
        now, trial = await self._topic.standing()
        if now is None:
            raise FreshetError(
                f"nothing is announced for the model {self._store.name}; there is nothing to go back from"
            )
        earlier = await self.checked(self._store.before(now))
        await self._topic.announce(earlier)
        return Choice(earlier.version, now.version, ended=await self._end(trial))

    async def _end(self, trial: CanaryTrial | None) -> str | None:
        if trial is None:
            return None
        await self._topic.try_out(None)
        return trial.challenger.version

    async def checked(self, version: str) -> ModelManifest:
        """What to announce a version with, once it has been loaded as a worker would."""
        manifest = self._store.announcement(version, announced_at_ms=now_ms())
        await asyncio.to_thread(load_announced, self._settings, manifest)
        return manifest


def _words(verdict: Mapping[str, Any] | None) -> str:
    """What a gate said, in a line; nothing where none did."""
    return "" if verdict is None else Verdict.from_report(verdict).words


def _trial_words(trial: Mapping[str, Any] | None) -> str:
    """What a trial came to, in a line; nothing where there was none."""
    return "" if trial is None else f"trial: {trial.get('words', '')}"
