"""A worker process: the app, the agent, the followers, HTTP, and their beginning and end."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Mapping
from logging import getLogger

import torch
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from faust.types import TP
from prometheus_client import CollectorRegistry

from stream.agents import Recommending
from stream.app import FETCH_WAIT_MS, StreamApp
from stream.clock import now_ms
from stream.errors import BrokerUnavailable, FreshetError, Rejected
from stream.fence import RENEWAL_INTERVAL_S
from stream.follow import Follower
from stream.messages import decode_item
from stream.settings import Settings
from stream.step import Batch
from stream.telemetry import Telemetry
from stream.topics import require_topics
from stream.web import Answers, WebServer
from stream.weights import Weights

log = getLogger(__name__)

TICK_S = 0.5
SILENT_LIMIT_S = 10.0
LAG_INTERVAL_S = 2.0
BROKER_INTERVAL_S = 1.0
FETCH_INTERVAL_S = 10.0  # from one attempt to fetch weights to the next
BROKER_LIMIT_S = 5.0
DRAIN_LIMIT_S = 30.0
STOP_LIMIT_S = 15.0
HELD_POLL_S = 0.1

Timer = Callable[[], Awaitable[None]]


class Worker:
    """One stream worker; ``run`` it until ``stop`` is called."""

    def __init__(self, settings: Settings, *, fetch_wait_ms: int = FETCH_WAIT_MS) -> None:
        """Put the parts together; nothing is connected yet. ``fetch_wait_ms`` is that of the app."""
        self.settings = settings
        self.registry = CollectorRegistry()
        self.telemetry = Telemetry(self.registry)
        self.app = StreamApp(settings, fetch_wait_ms=fetch_wait_ms)
        self.recommending = Recommending(self.app, rules=settings.rules, telemetry=self.telemetry)
        self.weights = Weights(
            settings,
            telemetry=self.telemetry,
            swap=self.recommending.serve,
            try_out=self.recommending.try_out,
        )
        self.items = Follower(settings, settings.topics.items, self._item)
        self.models = Follower(settings, settings.topics.models, self.weights.handle)
        self.requests = Follower(settings, settings.topics.forget, self.recommending.forgotten.handle)
        self.web = WebServer.of(
            settings,
            Answers(
                registry=self.registry,
                healthy=self._healthy,
                readiness=self.readiness,
                find_list=self._find_list,
            ),
        )
        self.ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._ticked = time.monotonic()
        self._reachable = True
        #: Why there is no token to log in to the broker with, as far as it was logged.
        self._no_token = ""
        self._rebalance_began: float | None = None
        self.app.drain = lambda: self.recommending.drain(DRAIN_LIMIT_S)
        self.app.idle = self.recommending.pipeline.idle
        self.app.failed = self._fail
        self.app.on_rebalance_began = self._rebalancing
        self.app.on_rebalance_complete.connect(self._restored)
        self.app.agent(self.app.events, name="recommending")(self.recommending.run)

    def stop(self) -> None:
        """Ask the worker to end: what is under way is delivered and committed first."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until stopped. Raises FreshetError for what a person can set right."""
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        spare_collections()
        # Workers scale by processes: more threads would only wait for one another at these sizes.
        torch.set_num_threads(1)
        self.app.records.lock()
        try:
            await self._run()
        finally:
            self.app.records.close()
        if self._failure is not None:
            raise self._failure

    async def _run(self) -> None:
        """Start the parts one after the other and stop them."""
        await self.web.start()
        ticking = asyncio.create_task(self._watch(self._tick))
        try:
            counts = await require_topics(self.settings)
            self.recommending.dispatch.dead_letter_partitions = counts[self.settings.topics.dead_letter]
            self.items.start(self._fail)
            self.requests.start(self._fail)
            if not self.recommending.rules.recent:
                self.models.start(self._fail)
                await self._reached(self.models.caught_up)
            await self._reached(self.items.caught_up)
            await self._reached(self.requests.caught_up)
            if not self._stopping.is_set():
                await self._serve()
        finally:
            await self.models.stop()
            await self.items.stop()
            await self.requests.stop()
            await self.web.stop()
            ticking.cancel()

    async def _reached(self, event: asyncio.Event) -> None:
        """Wait for ``event``, but no longer than the worker is to run."""
        waits = [asyncio.create_task(one.wait()) for one in (event, self._stopping)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _serve(self) -> None:
        """Run Faust's app with our timers beside it."""
        self.app.finalize()
        timers = [
            asyncio.create_task(self._watch(timer))
            for timer in (
                self._note_state,
                self._look_for_broker,
                self._look_at_group,
                self._measure_lag,
                self._fetch_again,
                self._send_held,
                self._renew_claims,
            )
        ]
        starting = asyncio.create_task(self.app.maybe_start())
        waits = [asyncio.create_task(event.wait()) for event in (self.app.begun, self._failed)]
        try:
            # The app has started once its state is restored, which it may never be after a failure; a
            # part of it that is just starting cannot be stopped.
            for wait in waits:
                await asyncio.wait((starting, wait), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            await self._stopping.wait()
        finally:
            for timer in timers:
                timer.cancel()
            if self._failure is None:
                await self.app.finish()
            await self._stop_app()
            for task in (starting, *waits):
                task.cancel()
            await self.app.transactions.close()

    async def _stop_app(self) -> None:
        """Stop Faust's app, and leave behind what of it does not end: nothing is under way any more.

        The consumer's thread may wait for a rebalance that waits for the app, which is ending; a process
        that then stayed would hold its port and tell nobody why it ends.
        """
        stopping = asyncio.create_task(self.app.stop())
        await asyncio.wait({stopping}, timeout=STOP_LIMIT_S)
        if stopping.done():
            stopping.result()
        else:
            log.error("a part of the app does not stop; the process ends without it")

    async def _watch(self, timer: Timer) -> None:
        """Run a timer; what it raises ends the worker."""
        try:
            await timer()
        except Exception as error:  # noqa: BLE001 - it goes to the worker, which ends
            await self._fail(error)

    async def _fail(self, error: BaseException) -> None:
        """End the worker because of an error."""
        if self._failure is None:
            self._failure = error
            self._failed.set()
            if not isinstance(error, FreshetError):
                log.error("the worker stops", exc_info=error)
        self._stopping.set()

    # Weights and items.

    async def _item(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        """Take one record of the items topic, which says what an item is and whether it may be listed."""
        try:
            item_id, item = decode_item(record.key, record.value)
        except Rejected as rejected:
            self.telemetry.dead_letters.labels(rejected.error).inc()
            log.warning("an item is refused: %s", rejected, extra={"offset": record.offset})
            return
        category_id = None if item is None else item.category_id
        self.recommending.announce(item_id, category_id, available=item is not None and item.available)

    # Rebalances.

    def _rebalancing(self) -> None:
        self.telemetry.rebalances.inc()
        self._rebalance_began = time.monotonic()

    async def _restored(self, *args: object, **kwargs: object) -> None:
        """Note how long restoring took; look for lists that were held back."""
        served = self.app.records.users(self.app.partitions_assigned())
        restored = {"users": served, "changelog_records": self.app.batch_consumer.restored}
        log.info("the state is restored", extra=restored)
        if self._rebalance_began is not None:
            self.telemetry.recovery_seconds.observe(time.monotonic() - self._rebalance_began)
            self._rebalance_began = None
        if self.settings.list_interval_s:
            self.recommending.find_held()

    # Timers.

    async def _tick(self) -> None:
        """Show that the loop goes round, from before the first answer of the broker to the end."""
        while True:
            self._ticked = time.monotonic()
            await asyncio.sleep(TICK_S)

    async def _note_state(self) -> None:
        while True:
            self.telemetry.state_users.set(self.app.records.users())
            if not self.ready.is_set() and all(self.readiness().values()):
                self.ready.set()
            await asyncio.sleep(TICK_S if self.ready.is_set() else TICK_S / 10)

    async def _fetch_again(self) -> None:
        """Ask again for weights whose store did not answer."""
        while True:
            await asyncio.sleep(FETCH_INTERVAL_S)
            await self.weights.try_again()

    async def _send_held(self) -> None:
        while self.settings.list_interval_s:
            await asyncio.sleep(HELD_POLL_S)
            await self.recommending.send_held()

    async def _renew_claims(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL_INTERVAL_S)
            try:
                await self.app.renew_claims()
            except BrokerUnavailable as error:
                log.warning("the claims are renewed later: %s", error)

    async def _look_for_broker(self) -> None:
        """Ask for metadata now and then: consumers wait for an absent broker without a word."""
        while True:
            await asyncio.sleep(BROKER_INTERVAL_S)
            if not self.app.batch_producer.started:
                continue
            reachable = await self._answers()
            if reachable != self._reachable:
                self._reachable = reachable
                log.warning("the broker answers again" if reachable else "the broker does not answer")
            self._note_token()

    async def _answers(self) -> bool:
        """Whether the broker answers; asked twice, since only use shows that a connection has ended."""
        client = self.app.batch_producer.client.client
        try:
            for _ in range(2):
                if await asyncio.wait_for(client.force_metadata_update(), BROKER_LIMIT_S):
                    return True
        except TimeoutError:
            pass
        return False

    def _note_token(self) -> None:
        """Log when there is no token to log in with any more, and when there is one again."""
        tokens = self.settings.tokens
        failure = "" if tokens is None else tokens.failure
        if failure != self._no_token:
            self._no_token = failure
            if failure:
                log.warning("no token to log in with: %s", failure)
            else:
                log.warning("a token to log in with again")

    async def _look_at_group(self) -> None:
        while True:
            await asyncio.sleep(BROKER_INTERVAL_S)
            await self.app.check_membership()

    async def _measure_lag(self) -> None:
        """Set the lag as the broker knows it, so that it is true also while the agent is stalled."""
        shown: set[TP] = set()
        while True:
            await asyncio.sleep(LAG_INTERVAL_S)
            sources = self._assigned_sources()
            try:
                lags = await self.app.batch_consumer.lags(*sources) if sources else {}
            except (KafkaError, TimeoutError) as error:
                log.warning("the lag cannot be measured", extra={"error": repr(error)})
                continue
            for tp in shown - lags.keys():
                self.telemetry.consumer_lag.remove(tp.topic, str(tp.partition))
            shown = set(lags)
            for tp, waiting in lags.items():
                self.telemetry.consumer_lag.labels(tp.topic, str(tp.partition)).set(waiting)

    def _assigned_sources(self) -> list[TP]:
        """Return the source partitions that this worker has now."""
        if not self.app.partitions_assigned():
            return []
        return [tp for tp in self.app.batch_consumer.assignment() if tp.topic in self.app.sources]

    # HTTP.

    def _healthy(self) -> bool:
        return time.monotonic() - self._ticked < SILENT_LIMIT_S

    def readiness(self) -> Mapping[str, bool]:
        """Say which conditions of readiness hold."""
        restored = self.app.recovery.completed.is_set() and not self.app.rebalancing
        return {
            "broker": self._reachable and self.recommending.outbox.reachable,
            "partitions": bool(self.app.partitions_assigned()),
            "state": restored,
            "weights": self.recommending.rules.recent or self.models.caught_up.is_set(),
        }

    def record_of(self, user_id: str) -> bytes | None:
        """Return a user's record as it stands; None where this worker holds none. Any thread may ask."""
        key = user_id.encode()
        number = self.recommending.partition_of(key)
        if number not in self.app.partitions_assigned():
            return None
        return self.app.records.find(number, key)

    def _find_list(self, user_id: str) -> bytes | None:
        record = self.record_of(user_id)
        if record is None:
            return None
        lists, key = self.recommending.lists(), user_id.encode()
        return Batch(lambda _: record, partition=0, lists=lists, now_ms=now_ms()).show(key)


def spare_collections() -> None:
    """Let the garbage collector look at fewer objects: events make many that live for one batch.

    Nothing the worker makes for an event forms a cycle; with Python's own thresholds a third of
    the time goes into looking for some.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 100)
