"""Weights: from an artifact's folder to the worker, by way of the ``models`` topic.

An artifact lies in the model store under ``<model name>/<version>``; its announcement names
that place relative to the store, so workers may see the store under another path than the
trainer. A worker loads an announced artifact beside the weights in force and swaps between two
batches. One that is missing, damaged or made for other segments is refused, counted and
logged; what was in force goes on. One in an object store that does not answer is asked for again, until
another is announced. The same holds for a challenger that is announced as a canary: it
then serves its share of the users beside the weights in force, and where it is refused these serve all.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import Callable
from logging import getLogger
from typing import NamedTuple

from aiokafka.structs import ConsumerRecord

from models import artifact, item_index
from models.artifact import Folder, Manifest
from models.canary_config import CanaryConfig
from models.errors import IndexUnavailable, ModelsError
from models.recommender import Recommender
from stream import clients, signature
from stream.errors import ArtifactRefused, FreshetError, Rejected, SettingsError, StoreUnreachable
from stream.messages import CanaryTrial, ModelManifest, decode_manifest, decode_trial, encode, trial_key
from stream.model_files import model_files, reaching
from stream.settings import Settings
from stream.telemetry import Telemetry

log = getLogger(__name__)

MEGABYTE = 1_000_000


def artifact_folder(settings: Settings, url: str) -> Folder:
    """Return where an announced artifact lies for this process."""
    return model_files(settings) / url


def manifest_sha256(folder: Folder) -> str:
    """Return the SHA-256 of an artifact's manifest file, which holds those of its other files."""
    return hashlib.sha256((folder / artifact.MANIFEST).read_bytes()).hexdigest()


def manifest_of(folder: Folder, written: Manifest, *, url: str, announced_at_ms: int) -> ModelManifest:
    """Make the announcement of the artifact in ``folder``, which is ``url`` in the model store."""
    return ModelManifest(
        name=url.partition("/")[0],
        version=written.version,
        url=url,
        sha256=manifest_sha256(folder),
        trained_at=written.trained_at_ms,
        announced_at=announced_at_ms,
        metrics={
            name: float(value)
            for name, value in written.metrics.items()
            # A figure that could not be measured is NaN, which JSON does not know.
            if isinstance(value, int | float) and not math.isnan(value)
        },
    )


def _refuse_too_large(settings: Settings, folder: Folder) -> None:
    """Refuse an artifact of more bytes than the settings allow, before any of it is read."""
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > settings.model_max_mb * MEGABYTE:
        raise ArtifactRefused(
            f"the artifact in {folder} has {size / MEGABYTE:,.1f} MB and FRESHET_MODEL_MAX_MB is "
            f"{settings.model_max_mb}; set that higher, or train a smaller network"
        )


def load_announced(settings: Settings, manifest: ModelManifest) -> Recommender:
    """Load an announced artifact; raises ArtifactRefused with the reason in one line."""
    folder = artifact_folder(settings, manifest.url)
    try:
        with reaching(folder):
            written = (folder / artifact.MANIFEST).read_bytes()
            if hashlib.sha256(written).hexdigest() != manifest.sha256:
                raise ArtifactRefused(
                    f"the artifact in {folder} is not the one that was announced "
                    "(its manifest's SHA-256 differs); announce it again"
                )
            _refuse_too_large(settings, folder)
            signature.check(settings, folder, written)
            recommender = artifact.load(folder, written)
    except OSError as error:
        raise ArtifactRefused(
            f"the artifact in {folder} cannot be read: {error.strerror or error}; "
            "set FRESHET_MODEL_STORE to the trainer's model store"
        ) from error
    except ModelsError as error:
        raise ArtifactRefused(str(error)) from error
    if recommender.version != manifest.version:
        raise ArtifactRefused(
            f"the artifact in {folder} is {recommender.version}, announced was {manifest.version}; "
            "announce it again"
        )
    if recommender.rule != settings.segment_rule:
        rule = recommender.rule
        raise ArtifactRefused(
            f"the artifact in {folder} was trained on segments of {rule.span_ms // 1000} s and "
            f"{rule.max_events} events; set FRESHET_SEGMENT_SPAN_S and FRESHET_SEGMENT_MAX_EVENTS to those, "
            "or train anew"
        )
    return recommender


async def announce(settings: Settings, manifest: ModelManifest) -> None:
    """Put a manifest on the ``models`` topic; workers take its weights in force."""
    await _say(settings, manifest.name.encode(), encode(manifest))


async def announce_trial(settings: Settings, trial: CanaryTrial | None) -> None:
    """Put a challenger on trial, or end the trial that is on; workers follow."""
    await _say(settings, trial_key(settings.model_name), None if trial is None else encode(trial))


async def _say(settings: Settings, key: bytes, value: bytes | None) -> None:
    async with clients.running(clients.producer(settings), settings) as producer:
        await producer.send_and_wait(settings.topics.models, key=key, value=value)


def terms_of(trial: CanaryTrial) -> CanaryConfig:
    """What decides a trial, and whom its challenger serves."""
    return CanaryConfig(
        trial.salt, trial.share, trial.level, trial.alarm, events=trial.events, most_pairs=trial.most_pairs
    )


class Loaded(NamedTuple):
    """Weights that were loaded, and the announcement they were loaded for."""

    manifest: ModelManifest
    recommender: Recommender


Swap = Callable[[Recommender], None]
TryOut = Callable[[Recommender | None, CanaryConfig | None], None]


class Weights:
    """Takes announced weights in force, and on trial."""

    def __init__(self, settings: Settings, *, telemetry: Telemetry, swap: Swap, try_out: TryOut) -> None:
        """Prepare; ``handle`` is fed with the records of the models topic.

        ``swap`` is called with each recommender that comes in force, ``try_out`` with each that goes on
        trial and its terms, and with None where none is on trial any more. Raises ``SettingsError`` for a
        key that signatures cannot be checked with, and where an index is asked for that cannot be made.
        """
        signature.public_key(settings)
        if settings.index_from_items:
            try:
                item_index.require()
            except IndexUnavailable as error:
                raise SettingsError(
                    f"FRESHET_INDEX_FROM_ITEMS is '{settings.index_from_items}': {error}"
                ) from None
        self._settings = settings
        self._telemetry = telemetry
        self._swap, self._try_out = swap, try_out
        self._trial_key = trial_key(settings.model_name)
        #: What is on trial, kept so that its promotion loads nothing again.
        self._tried: Loaded | None = None
        self.version: str | None = None
        #: Announcements whose artifacts are in a store that did not answer, by their keys.
        self._unreached: dict[bytes, bytes] = {}
        self._one_at_a_time = asyncio.Lock()

    async def handle(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        """Take one announcement."""
        async with self._one_at_a_time:
            await self._take(record.key, record.value)

    async def try_again(self) -> None:
        """Take the newest announcements whose artifacts could not be fetched, if the store answers now."""
        async with self._one_at_a_time:
            for key, value in list(self._unreached.items()):
                await self._take(key, value)

    async def _take(self, key: bytes | None, value: bytes | None) -> None:
        if key == self._trial_key:
            self._unreached.pop(key, None)
            await self._take_on_trial(value)
        elif key == self._settings.model_name.encode() and value is not None:
            self._unreached.pop(key, None)
            await self._take_in_force(value)

    async def _take_in_force(self, value: bytes) -> None:
        try:
            manifest = decode_manifest(value)
            if manifest.version == self.version:
                return
            recommender = await self._load(manifest)
        except (ArtifactRefused, Rejected, StoreUnreachable) as error:
            self._refuse(error, self._settings.model_name.encode(), value)
            return
        self._swap(recommender)
        self.version = recommender.version
        self._telemetry.model_swaps.labels("swapped").inc()
        self._telemetry.model.info({"version": recommender.version})
        self._telemetry.model_trained_timestamp_seconds.set(recommender.trained_at_ms / 1000)
        log.info("weights are in force", extra={"version": recommender.version})
        if self._tried is not None and self._tried.recommender.version == self.version:
            self._end_trial()

    async def _take_on_trial(self, value: bytes | None) -> None:
        """Put a challenger on trial; one that is refused leaves its users to the champion."""
        if value is None:
            self._end_trial()
            return
        try:
            trial = decode_trial(value)
            recommender = await self._load(trial.challenger)
        except (ArtifactRefused, Rejected, StoreUnreachable) as error:
            self._end_trial()
            self._refuse(error, self._trial_key, value)
            return
        if recommender.version == self.version:
            self._end_trial()
            return
        self._tried = Loaded(trial.challenger, recommender)
        self._try_out(recommender, terms_of(trial))
        self._telemetry.model_swaps.labels("swapped").inc()
        log.info("weights are on trial", extra={"version": recommender.version, "share": trial.share})

    def _end_trial(self) -> None:
        if self._tried is not None:
            log.info("the trial has ended", extra={"version": self._tried.recommender.version})
        self._tried = None
        self._try_out(None, None)

    async def _load(self, manifest: ModelManifest) -> Recommender:
        """Load what is announced, unless it is what is on trial."""
        tried = self._tried
        if tried is not None and (tried.manifest.url, tried.manifest.sha256) == (
            manifest.url,
            manifest.sha256,
        ):
            return tried.recommender
        return await asyncio.to_thread(self._ready, manifest)

    def _ready(self, manifest: ModelManifest) -> Recommender:
        """Load what is announced, with an index where it has as many items as the settings say."""
        recommender = load_announced(self._settings, manifest)
        items = recommender.vocabulary.n_items
        if not 0 < self._settings.index_from_items <= items:
            return recommender
        began_s = time.monotonic()
        try:
            indexed = recommender.indexed()
        except ValueError as error:
            raise ArtifactRefused(f"{recommender.version} cannot be indexed: {error}; train again") from error
        seconds = round(time.monotonic() - began_s, 1)
        log.info("the catalogue is indexed", extra={"items": items, "seconds": seconds})
        return indexed

    def _refuse(self, error: FreshetError, key: bytes, value: bytes) -> None:
        self._telemetry.model_swaps.labels("refused").inc()
        if isinstance(error, StoreUnreachable):
            self._unreached[key] = value
            log.error("announced weights cannot be fetched yet: %s", error)
        else:
            log.error("announced weights are refused: %s", error)
