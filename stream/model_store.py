"""The artifacts of one model: which is in force, what came before it, and which are done with.

An artifact's manifest says in ``origin`` what it came from. The job that makes weights reads it to
go on; workers do not.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Self

from models import artifact
from models.artifact import Manifest
from models.errors import ArtifactError
from models.recommender import Recommender
from stream.errors import FreshetError
from stream.messages import ModelManifest
from stream.model_files import delete_artifact, model_files, reaching, write_whole
from stream.settings import Settings
from stream.weights import manifest_of

TIME_LENGTH = len("20260101T000000Z")

TRIAL = "trial.json"
"""In an artifact's folder: what its trial on live lists came to."""


@dataclass(frozen=True)
class Origin:
    """What weights came from.

    ``kind`` is full, warm or light. ``network`` is the version whose network it is, its own but for a
    light refresh; ``before`` the version that was in force when that network came, which a roll-back
    goes to; ``parent`` the version it was made from, or trained to replace. ``until_ms`` is the newest
    event the network was trained on. ``since_full`` counts the warm updates since a full training.

    ``source`` is the file that was read, or ``topics``; ``offsets`` is where each partition of these
    ended then. The newest ``held_back`` events of it were not learnt from: the gate's ``verdict`` rests
    on them, as ``Verdict.as_report`` tells it. ``settings`` are those that weights depend on.
    """

    kind: str
    network: str
    before: str = ""
    until_ms: int = 0
    since_full: int = 0
    offsets: Mapping[str, list[int]] = field(default_factory=dict)
    parent: str = ""
    source: str = ""
    held_back: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    verdict: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """What a manifest says; of one that does not, what can be known."""
        known = {one.name for one in fields(cls)}
        said = {name: value for name, value in manifest.origin.items() if name in known}
        light = said.get("kind") == "light"
        told: dict[str, Any] = {
            "kind": "full",
            "network": manifest.version,
            # No event that was trained on is newer than the training.
            "until_ms": manifest.trained_at_ms,
            "parent": said["network"] if light else said.get("before", ""),
        }
        return cls(**told | said)

    @property
    def refused(self) -> bool:
        """Whether the gate found it not better than its parent."""
        return self.verdict is not None and not self.verdict["promoted"]

    def as_mapping(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        return asdict(self)


class ModelStore:
    """The folder of a model's artifacts, one for each version."""

    def __init__(self, settings: Settings) -> None:
        """Name the folder; it need not exist yet."""
        self.name = settings.model_name
        self.folder = model_files(settings) / settings.model_name

    def manifest(self, version: str) -> Manifest:
        """What an artifact says of itself. Raises ArtifactError."""
        with reaching(self.folder):
            return artifact.read_manifest(self.folder / version)

    def save(self, recommender: Recommender, like: Manifest, origin: Origin) -> None:
        """Save what was trained and measured as ``like`` was. Raises ArtifactError."""
        with reaching(self.folder):
            artifact.save(
                self.folder / recommender.version,
                recommender,
                training=like.training,
                metrics=like.metrics,
                origin=origin.as_mapping(),
            )

    def require(self, version: str) -> Manifest:
        """What a kept artifact says of itself.

        Raises FreshetError, with the nearest versions, where there is none, and ArtifactError.
        """
        there = self.versions()
        if version not in there:
            nearest = ", ".join(get_close_matches(version, there, n=3, cutoff=0.0))
            hint = f"the nearest are {nearest}" if nearest else "set FRESHET_MODEL_STORE, or train first"
            raise FreshetError(f"there is no model {version} in {self.folder}; {hint}")
        return self.manifest(version)

    def versions(self) -> list[str]:
        """The versions that are there, oldest first: names begin with the second, files tell finer."""
        with reaching(self.folder):
            if not self.folder.is_dir():
                return []
            aged = [
                (path.parent.name[:TIME_LENGTH], path.stat().st_mtime_ns, path.parent.name)
                for path in self.folder.glob(f"[!.]*/{artifact.MANIFEST}")
            ]
        return [name for _, _, name in sorted(aged)]

    def refused(self, version: str) -> bool:
        """Whether the gate or a trial refused a version; of a manifest nobody can read nothing is known."""
        try:
            return Origin.of(self.manifest(version)).refused or self.failed_trial(version)
        except ArtifactError:
            return False

    def note_trial(self, version: str, figures: Mapping[str, Any]) -> None:
        """Keep what a trial came to beside the artifact, if it is there; the file appears whole."""
        folder = self.folder / version
        with reaching(folder):
            if folder.is_dir():
                write_whole(folder / TRIAL, (json.dumps(figures, indent=2) + "\n").encode())

    def trial(self, version: str) -> dict[str, Any] | None:
        """What the last trial of a version came to; None where it had none, or that cannot be read."""
        try:
            with reaching(self.folder):
                said = json.loads((self.folder / version / TRIAL).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return said if isinstance(said, dict) else None

    def failed_trial(self, version: str) -> bool:
        """Whether a version was served to users and rolled back."""
        return (self.trial(version) or {}).get("outcome") == "refused"

    def before(self, announced: ModelManifest) -> str:
        """The version that a roll-back goes to from what is announced.

        Raises FreshetError where there is none.
        """
        version = announced.version
        origin = Origin.of(self.manifest(version))
        told, there = announced.previous_version or origin.before, self.versions()
        if told in there:
            return told
        # A light refresh has the network of what it refreshed, which is nothing to go back to.
        older = [
            earlier
            for earlier in (there[: there.index(version)] if version in there else [])
            if Origin.of(self.manifest(earlier)).network != origin.network and not self.refused(earlier)
        ]
        if told or not older:
            gone = f"; {told}, which came before it, is there no more" if told else ""
            raise FreshetError(f"there is no model to go back to from {version} in {self.folder}{gone}")
        return older[-1]

    def announcement(self, version: str, *, announced_at_ms: int) -> ModelManifest:
        """What to announce an artifact with."""
        folder = f"{self.name}/{version}"
        with reaching(self.folder):
            return manifest_of(
                self.folder / version, self.manifest(version), url=folder, announced_at_ms=announced_at_ms
            )

    def collect(self, *, keep: int, keep_refused: int, needed: Iterable[str]) -> list[str]:
        """Delete all but the newest ``keep`` artifacts, the newest refused ones, and those ``needed``.

        Returns the versions that are gone.
        """
        there = self.versions()
        refused = [version for version in there if self.refused(version)]
        taken = [version for version in there if version not in refused]
        spared = {*taken[-keep:], *refused[max(0, len(refused) - keep_refused) :], *needed}
        gone = [version for version in there if version not in spared]
        for version in gone:
            with reaching(self.folder):
                delete_artifact(self.folder / version, artifact.MANIFEST)
        return gone

    def needed(self, announced: ModelManifest) -> set[str]:
        """The version in force and the one before it."""
        try:
            return {announced.version, self.before(announced)}
        except (ArtifactError, FreshetError):
            return {announced.version}
