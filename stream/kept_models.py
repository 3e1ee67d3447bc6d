"""What a person does with the artifacts of a model: looks at them, and chooses which is in force."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import msgspec

from models.errors import ArtifactError
from models.gate import Verdict
from stream.errors import FreshetError
from stream.messages import ModelManifest
from stream.model_store import ModelStore, Origin
from stream.settings import Settings
from stream.weights import load_announced

Role = Literal["in force", "refused", "earlier"]


@dataclass(frozen=True)
class Kept:
    """An artifact in a line.

    ``role`` is in force for what is announced, refused for what the gate did not let pass, earlier for
    the rest. ``gate`` is what the gate measured (``Verdict.as_report``), None where it did not look.
    ``problem`` says why a manifest cannot be read; nothing else is known then.
    """

    version: str
    role: Role
    trained_at_ms: int | None = None
    kind: str = ""
    parent: str = ""
    gate: Mapping[str, Any] | None = None
    problem: str = ""

    @property
    def words(self) -> str:
        """The gate's figures for a person, or what is wrong with the artifact."""
        return self.problem or _words(self.gate)


def kept_models(store: ModelStore, in_force: str | None) -> list[Kept]:
    """The artifacts of a store, newest first; ``in_force`` is the version that is announced."""
    return [_kept(store, version, in_force) for version in reversed(store.versions())]


def _kept(store: ModelStore, version: str, in_force: str | None) -> Kept:
    role: Role = "in force" if version == in_force else "earlier"
    try:
        manifest = store.manifest(version)
    except ArtifactError as error:
        return Kept(version, role, problem=str(error))
    origin = Origin.of(manifest)
    if origin.refused and version != in_force:
        role = "refused"
    return Kept(version, role, manifest.trained_at_ms, origin.kind, origin.parent, origin.verdict)


def described(store: ModelStore, version: str) -> dict[str, Any]:
    """Everything the manifest of a version says. Raises FreshetError for an unknown one, ArtifactError."""
    manifest = store.require(version)
    return asdict(manifest) | {"origin": Origin.of(manifest).as_mapping()}


class Choice(NamedTuple):
    """Which version is in force now, and which was.

    ``refused`` is what the gate said where it refused the version, else empty. Where ``announced`` is
    false it was in force already.
    """

    version: str
    replaced: str | None
    refused: str
    announced: bool = True


class Chooser:
    """Puts kept artifacts in force; ``announced`` reads the models topic and ``announce`` writes it."""

    def __init__(
        self,
        settings: Settings,
        announced: Callable[[], Awaitable[ModelManifest | None]],
        announce: Callable[[ModelManifest], Awaitable[None]],
    ) -> None:
        """Prepare; nothing is read yet."""
        self._settings, self._announced, self._announce = settings, announced, announce
        self._store = ModelStore(settings)

    async def promote(self, version: str) -> Choice:
        """Announce a kept artifact, whatever the gate said of it.

        Raises FreshetError or ArtifactError, with nothing announced, where there is none or a worker
        would refuse it.
        """
        origin = Origin.of(self._store.require(version))
        refused = _words(origin.verdict) if origin.refused else ""
        chosen = await self._checked(version)
        now = await self._announced()
        if now is None:
            await self._announce(chosen)
            return Choice(version, None, refused)
        if (now.version, now.sha256) == (version, chosen.sha256):
            return Choice(version, version, refused, announced=False)
        previous = now.previous_version if now.version == version else now.version
        await self._announce(msgspec.structs.replace(chosen, previous_version=previous))
        return Choice(version, now.version, refused)

    async def roll_back(self) -> Choice:
        """Announce what was in force before the network that is, or before it was promoted.

        Raises FreshetError or ArtifactError, with nothing announced, where there is nothing to go to.
        """
        now = await self._announced()
        if now is None:
            raise FreshetError(
                f"nothing is announced for the model {self._store.name}; there is nothing to go back from"
            )
        earlier = await self._checked(self._store.before(now))
        await self._announce(earlier)
        return Choice(earlier.version, now.version, "")

    async def _checked(self, version: str) -> ModelManifest:
        """What to announce a version with, once it has been loaded as a worker would."""
        manifest = self._store.announcement(version, announced_at_ms=time.time_ns() // 1_000_000)
        await asyncio.to_thread(load_announced, self._settings, manifest)
        return manifest


def _words(verdict: Mapping[str, Any] | None) -> str:
    """What a gate said, in a line; nothing where none did."""
    return "" if verdict is None else Verdict.from_report(verdict).words
