"""The command ``freshet demo``: everything in one process, with no set-up."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli import console
from stream.cli.options import Columns, Data, Report, Seed, TimeUnitOption, parse_columns
from stream.cli.train import Items, telling
from stream.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from models.training import Epoch, Part
    from stream.demo import Audience, Split
    from stream.figures import Figures, Worth
    from stream.live import Live
    from stream.worker import Worker

LINE_S = 2.0
REDRAW_S = 0.25
SHOWN_ITEMS = 6

Events = Annotated[
    int | None, typer.Option("--events", min=1, help="Feed this many events, then end with a summary.")
]
Rate = Annotated[
    float, typer.Option("--rate", min=0, help="Events fed a second; 0: as fast as they are taken.")
]
Retrain = Annotated[
    bool,
    typer.Option("--retrain", help="Train again half-way, in a process of its own, and hand over to it."),
]
PagePort = Annotated[
    int, typer.Option("--page-port", min=0, max=65535, help="Port of the live page on localhost; 0: any.")
]


def demo(
    *,
    data: Data = None,
    items: Items = None,
    events: Events = None,
    rate: Rate = 200.0,
    seed: Seed = 1,
    columns: Columns = None,
    time_unit: TimeUnitOption = None,
    retrain: Retrain = False,
    page_port: PagePort = 0,
    report: Report = None,
) -> None:
    """Watch events become lists: embedded broker, first training, worker, live page and figures.

    Events are simulated, or come from --data: then its earlier part is trained on and its later
    part fed. Ends by itself when the events do. The page, whose address is printed first, answers
    on localhost alone.
    """
    mapping = parse_columns(columns)
    if data is None and (mapping or time_unit or items):
        raise UsageError("--columns, --time-unit and --items go with --data")
    from stream.clock import process_age_s
    from stream.demo import split_file, split_simulated
    from stream.live import Live
    from stream.logs import configure
    from stream.page_server import PageServer
    from stream.retraining import Source

    configure("error")
    begun_s = time.monotonic()
    live = Live("simulated" if data is None else data.name)
    with PageServer(live, port=page_port) as page:
        page_s = process_age_s()
        console.note(f"live page: {page.url}")
        if data is None:
            split = split_simulated(events=events, seed=seed)
        else:
            split = split_file(Source(data, items, mapping, time_unit), events=events)
        figures, train_s = _served(split, live, rate=rate, seed=seed, retrain=retrain)
    duration_s = time.monotonic() - begun_s
    summary = _summary(figures, split, page_s=page_s, train_s=train_s, duration_s=duration_s)
    for name, value in summary.items():
        console.line(f"{name.replace('_', ' ')}: {_shown(value)}")
    console.write_report(report, summary)


def _served(
    split: "Split", live: "Live", *, rate: float, seed: int, retrain: bool
) -> "tuple[Figures, float]":
    """Train, serve and feed; return the figures and the seconds that the first training took."""
    from stream.demo import demo_settings, first_training, run_demo
    from stream.embedded import EmbeddedBroker

    begun_s = time.monotonic()
    console.note(f"{split.trained.events.height:,} earlier events to train on, {split.fed.height:,} to feed")
    with TemporaryDirectory(prefix="freshet-demo-") as folder, EmbeddedBroker({}) as broker:
        settings = demo_settings(Path(folder), broker.bootstrap)
        with telling() as tell:

            def told(so_far: "Part | Epoch") -> None:
                tell(so_far)
                live.training(so_far)

            fitted = first_training(settings, split, seed=seed, progress=told)
        trained_s = time.monotonic()
        view = View(live)
        running = run_demo(broker, Path(folder), split, fitted, rate=rate, retrain=retrain, ready=view.begin)
        return asyncio.run(view.beside(running)), trained_s - begun_s


class View:
    """What a person sees while the demo runs: a table or a line now and then, and the page."""

    def __init__(self, live: "Live") -> None:
        """Show nothing yet."""
        self._live = live
        self._audience: Audience | None = None

    def begin(self, audience: "Audience", worker: "Worker") -> None:
        """Look at these figures from now on."""
        self._audience = audience
        self._live.begin(audience, worker)
        console.note(f"worker ready: {worker.web.url}/metrics")

    async def beside(self, running: Any) -> "Figures":
        """Show the figures for as long as the demo runs."""
        showing = [asyncio.create_task(self._show()), asyncio.create_task(self._live.sampling())]
        try:
            figures: Figures = await running
        finally:
            for task in showing:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        return figures

    async def _show(self) -> None:
        screen = console.rich_console()
        if not screen.is_terminal:
            while True:
                await asyncio.sleep(LINE_S)
                if self._audience is not None:
                    console.line(_one_line(self._audience.figures))
        from rich.live import Live

        with Live(console=screen, refresh_per_second=1 / REDRAW_S) as live:
            while True:
                await asyncio.sleep(REDRAW_S)
                if self._audience is not None:
                    live.update(_drawn(self._audience.figures))


def _one_line(figures: "Figures") -> str:
    newest, worth = figures.newest[0] if figures.newest else None, figures.in_all
    text = (
        f"{figures.fed:,} events, {figures.lists:,} lists, "
        f"hit rate {worth.hit_rate:.3f} (popularity {worth.popular_hit_rate:.3f}), "
        f"p50 {figures.latency_s(0.5) * 1000:.0f} ms, p99 {figures.latency_s(0.99) * 1000:.0f} ms"
    )
    if newest is not None:
        text += f"; {newest.user_id}: {' '.join(item.item_id for item in newest.items[:SHOWN_ITEMS])} ..."
    return text


def _drawn(figures: "Figures") -> "Table":
    from rich.table import Table

    worth = figures.in_all
    title = (
        f"{figures.fed:,} events, {figures.lists:,} lists, "
        f"{figures.fed / max(figures.duration_s, 1e-9):,.0f} a second; "
        f"hit rate {worth.hit_rate:.3f}, popularity {worth.popular_hit_rate:.3f}; "
        f"p50 {figures.latency_s(0.5) * 1000:.0f} ms, p99 {figures.latency_s(0.99) * 1000:.0f} ms"
    )
    table = Table(title=title, title_justify="left", expand=True)
    for column in ("user", "after", "kind", "list, best first"):
        table.add_column(column, no_wrap=True)
    for made in list(figures.newest):
        items = " ".join(item.item_id for item in made.items[:SHOWN_ITEMS])
        table.add_row(made.user_id, made.event.topic, made.kind, items)
    return table


def _summary(
    figures: "Figures", split: "Split", *, page_s: float, train_s: float, duration_s: float
) -> dict[str, Any]:
    """Return the report; its field names are part of the product's surface."""
    return {
        "source": split.trained.name,
        "page_s": page_s,
        "first_list_s": figures.first_list_s,
        "trained_events": split.trained.events.height,
        "first_training_duration_s": train_s,
        "events": figures.fed,
        "events_by_outcome": dict(figures.outcomes),
        "lists_due": figures.due,
        "lists_read": figures.lists,
        "lists_personalized": figures.personalized,
        "lists_share_of_due": figures.served_share,
        **_quality(figures.in_all),
        "quality_by_model_version": {part.version: _quality(part) for part in figures.worth},
        "events_per_s": figures.fed / figures.duration_s if figures.duration_s else 0.0,
        "latency_p50_s": figures.latency_s(0.5),
        "latency_p99_s": figures.latency_s(0.99),
        "duration_s": duration_s,
    }


def _quality(worth: "Worth") -> dict[str, Any]:
    return {
        "measured_events": worth.measured,
        "hit_rate": worth.hit_rate,
        "popularity_hit_rate": worth.popular_hit_rate,
        "mrr": worth.mrr,
    }


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        nested = any(isinstance(part, dict) for part in value.values())
        parts = (
            f"{name}: {_shown(part)}" if nested else f"{_shown(part)} {name}" for name, part in value.items()
        )
        return ("; " if nested else ", ").join(parts)
    return f"{value:,}" if isinstance(value, int) else str(value)
