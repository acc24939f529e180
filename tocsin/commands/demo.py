"""`tocsin demo`: a storm in the drill region, through every part of the system."""

import json
import threading
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tocsin.demo import Desk, Player
    from tocsin.drill.world import World
    from tocsin.services import Services

#: Scenario time after the last reading, for what is under way; shorter than what makes a station silent.
_TAIL = timedelta(minutes=15)


def register(app: typer.Typer) -> None:
    """Adds this command to `tocsin`."""
    app.command()(demo)


def demo(
    once: Annotated[bool, typer.Option("--once", help="Play the whole storm, print a summary, and end.")] = False,
    speed: Annotated[
        float | None, typer.Option(min=1, max=5000, help="Scenario seconds per second; default 60, with --once 1200.")
    ] = None,
    hurry_until: Annotated[
        float | None,
        typer.Option(min=0, max=30, help="Hour of the storm up to which it is hurried through; default past its peak."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another storm in another valley.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --once: print the summary as one JSON document on standard output.")
    ] = False,
) -> None:
    """Plays a storm through real MQTT into a database for exercises, with the console at http://127.0.0.1:8000."""
    from core import log
    from core.settings import load_settings
    from tocsin import services

    if once and hurry_until is not None:
        raise typer.BadParameter("--once plays the whole storm at one speed: leave out --hurry-until")
    settings = load_settings()
    # The demo has a home of its own below TOCSIN_HOME: it begins anew each time and must not touch anything else.
    settings = settings.model_copy(update={"home": settings.home / "demo", "database_url": None})
    log.configure("warning" if settings.log_level == "info" else settings.log_level, as_json=settings.log_json)
    stop = services.wait_for_stop()

    def say(text: str) -> None:
        typer.echo(text, err=True)

    say("EXERCISE: a storm in the made-up Tarn valley; nothing here reaches anybody")
    show = _Show(stop=stop, once=once, as_json=as_json, speed=speed, seed=seed, say=say, hurry_until=hurry_until)
    with services.running(settings, "exercise", say, fresh=True) as running:
        told = show.play(running)
    if told is not None:
        if as_json:
            print(json.dumps(told, ensure_ascii=False, indent=2, default=str))
        else:
            _print_summary(told)
        if told["problems"]:
            raise typer.Exit(1)


class _Show:
    """One run of the demo."""

    def __init__(
        self,
        *,
        stop: threading.Event,
        once: bool,
        as_json: bool,
        speed: float | None,
        seed: int,
        say: Any,
        hurry_until: float | None,
    ) -> None:
        self.stop, self.once, self.as_json, self.speed, self.seed, self.say = stop, once, as_json, speed, seed, say
        self.hurry_until = hurry_until
        self.world: World
        self.player: Player
        self.desks: list[Desk] = []
        self.restarts: dict[str, int] = {}
        self.most_exposed: dict[str, Any] | None = None
        self.most_warned = 0
        self.planned_for: int | None = None
        self.routes: dict[str, Any] | None = None

    def play(self, running: "Services") -> dict[str, Any] | None:
        """Plays; gives the summary, or none where somebody stopped it."""
        import asyncio

        from geo.assess import publish_footprint
        from tocsin import demo as stage
        from tocsin.broker import free_port
        from tocsin.drill.world import build
        from tocsin.services import DRILL_PROCESSES

        self.say(f"building the world of seed {self.seed}: 20,000 locations, 500 policyholders, a river in flood")
        self.world = build(self.seed)
        self.say("loading it, pricing the fleet of 2,000 devices, making two accounts")
        loaded, quote, passwords = asyncio.run(stage.prepare(running, self.world))
        fake = free_port()
        running.env["TOCSIN_INGEST__BATCH_MS"] = str(stage.BATCH_MS)
        running.env["TOCSIN_DELIVER__FAKE_URL"] = f"http://127.0.0.1:{fake}"
        running.supervisor.start("fake-provider", ["fake-provider", "--port", str(fake)], running.env)
        running.start_processes(DRILL_PROCESSES)
        base_url = f"http://{running.settings.api.host}:{running.settings.api.port}"
        self.desks = [stage.Desk(base_url) for _ in stage.ACCOUNTS]
        self.say("starting ingest, watch, jobs, deliver and API")
        self.desks[0].wait_ready(90.0, lambda: self._watch(running))
        for desk, (login, _) in zip(self.desks, stage.ACCOUNTS, strict=True):
            desk.sign_in(login, passwords[login])
        pace = stage.pace_of(self.world, once=self.once, speed=self.speed, hurry_until_h=self.hurry_until)
        assert running.broker is not None

        async def flood(conn: Any, found: Any, at: datetime) -> None:
            await publish_footprint(
                conn, loaded.hazard_event_id, found.geometry, found.zones, valid_at=at, made_how=found.made_how
            )

        broker = running.broker
        self.player = stage.Player(
            self.world,
            pace,
            worker_url=running.urls.worker,
            broker=(broker.host, broker.port, broker.username, broker.password),
            publish_footprint=flood,
            tail=_TAIL,
        )
        self._announce(pace, base_url, passwords, stage.link_of(
            running.settings.model_copy(update={"home": running.home}), loaded,
            stage.someone_near(self.world), base_url,
        ))  # fmt: skip
        began = time.monotonic()
        self.player.start()
        self._follow(running)
        if self.stop.is_set():
            self.player.halt.set()
            self.say("stopping")
            return None
        told = self._summary(quote, time.monotonic() - began, pace.speed)
        if self.once:
            return told
        _print_summary(told)
        self.say(f"the storm is over; the console stays at {base_url} until Ctrl-C")
        while not self.stop.wait(0.5):
            self._watch(running)
        self.say("stopping")
        return None

    def _watch(self, running: "Services") -> None:
        running.check()
        self.restarts = {c.name: c.n_starts - 1 for c in running.supervisor.children if c.n_starts > 1}

    def _announce(self, pace: Any, base_url: str, passwords: dict[str, str], link: str) -> None:
        total = pace.wall_seconds(self.world) + _TAIL.total_seconds() / pace.speed
        if self.once:
            self.say(f"the storm of 30 hours plays at {pace.speed:g}x: {total:.0f} s to its all-clear")
        else:
            hurried_s = (pace.until - self.world.starts_at).total_seconds()
            self.say(
                f"the first {hurried_s / 3600:.1f} hours play at {pace.hurried:g}x ({hurried_s / pace.hurried:.0f} s), "
                f"the rest at {pace.speed:g}x"
            )
        self.say("")
        self.say(f"  console       {base_url}")
        for login, password in passwords.items():
            self.say(f"  sign in as    {login} with password {password}")
        self.say(f"  phone page    {link}")
        self.say("")

    # ------------------------------------------------------------------ while it plays
    def _follow(self, running: "Services") -> None:
        """Shows what happens, and approves drafts as the two people would, until the storm is over."""
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        with Live(console=console, refresh_per_second=2, transient=True, auto_refresh=console.is_terminal) as live:
            last_told = 0.0
            while not self.player.done.is_set() and not self.stop.wait(0.4):
                self._watch(running)
                self._approve()
                overview = self.desks[0].get("/v1/overview")
                self._note_exposure(overview)
                live.update(_live_table(self.player.now(), overview))
                if not console.is_terminal and time.monotonic() - last_told > 10:
                    last_told = time.monotonic()
                    self.say(_one_line(self.player.now(), overview))
        if self.player.failed is not None:
            raise self.player.failed
        if self.once and not self.stop.is_set():
            self._settle(running)

    def _approve(self) -> None:
        """With --once both people release every draft; in the show the red one waits for the second person."""
        for draft in self.desks[0].waiting():
            approvers = {one["display_name"] for one in draft["approvals"]}
            seconds = self.desks if self.once or draft["level"] != "red" else self.desks[:1]
            from tocsin.demo import ACCOUNTS

            for desk, (_, name) in zip(self.desks, ACCOUNTS, strict=True):
                if desk in seconds and name not in approvers:
                    desk.approve(draft["warning_id"], draft["version"], draft["content_sha256"])

    def _settle(self, running: "Services") -> None:
        """Lets what is under way arrive: drafts released, deliveries handed over."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and not self.stop.wait(0.5):
            self._watch(running)
            self._approve()
            stored = self.desks[0].get("/v1/overview")["messages_stored"] or 0
            if stored >= self.player.n_sent and not self.desks[0].waiting() and not self._undelivered():
                return

    def _all_warnings(self) -> list[dict[str, Any]]:
        page = self.desks[0].get("/v1/warnings", limit=200)
        return [self.desks[0].get(f"/v1/warnings/{item['warning_id']}") for item in page["items"]]

    def _undelivered(self) -> int:
        waiting = {"queued", "claimed", "uncertain"}
        return sum(
            count["n"]
            for warning in self._all_warnings()
            for version in warning["versions"]
            for count in version["deliveries"]
            if count["state"] in waiting
        )

    # ------------------------------------------------------------------ at the end
    def _summary(self, quote: dict[str, Any], wall_s: float, speed: float) -> dict[str, Any]:
        from tocsin.demo import lead_rows

        overview = self.desks[0].get("/v1/overview")
        warnings = self._all_warnings()
        peak = max(self.world.scenario.footprints, key=lambda f: f.area_km2)
        deliveries: dict[str, int] = {}
        for warning in warnings:
            for version in warning["versions"]:
                for count in version["deliveries"]:
                    deliveries[count["state"]] = deliveries.get(count["state"], 0) + count["n"]
        cleared = [warning for warning in warnings if warning["versions"][0]["all_clear"]]
        open_still = [
            {
                "station": warning["versions"][0]["station_name"],
                "level": warning["versions"][0]["level"],
                "why": warning["decisions"][-1]["reason"] if warning["decisions"] else "unknown",
            }
            for warning in warnings
            if not warning["versions"][0]["all_clear"] and warning["versions"][0]["state"] != "ended"
        ]
        problems = []
        if overview["messages_stored"] is not None and overview["messages_stored"] < self.player.n_sent:
            problems.append(
                f"{self.player.n_sent} messages were sent and {overview['messages_stored']} readings stored"
            )
        if not warnings:
            problems.append("no warning was raised")
        problems += [f"the process {name} ended and was started again {n} times" for name, n in self.restarts.items()]
        return {
            "exercise": True,
            "seed": self.seed,
            "speed": speed,
            "wall_s": round(wall_s, 1),
            "messages_sent": self.player.n_sent,
            "readings_stored": overview["messages_stored"],
            "peak_flooded_km2": round(peak.area_km2, 1),
            "overview": overview,
            "largest_exposure": self.most_exposed,
            "warnings": lead_rows(self.world, warnings),
            "n_warnings": len(warnings),
            "n_all_clear": len(cleared),
            "held_open": open_still,
            "deliveries": deliveries,
            "people_warned": self.most_warned,
            "routes": self.routes["counts"] if self.routes else None,
            "quote": {
                name: quote[name]
                for name in ("quote_id", "premium", "currency", "expected_loss", "exposure_window", "as_of")
                if name in quote
            },
            "problems": problems,
        }

    def _note_exposure(self, overview: dict[str, Any]) -> None:
        """Keeps the largest figures that the console has shown, and the routes of that moment."""
        self.most_warned = max(self.most_warned, overview["n_people_warned"])
        version = (overview["source"] or {}).get("footprint_version")
        if version is not None and version != self.planned_for:
            plan = self.desks[0].get_or_none("/v1/evacuation-plans/latest")
            if plan is not None:
                self.planned_for = plan["footprint_version"]
                if self.routes is None or _in_trouble(plan) > _in_trouble(self.routes):
                    self.routes = plan
        if overview["exposed_tiv"] is None:
            return
        if self.most_exposed is None or float(overview["exposed_tiv"]) > float(self.most_exposed["exposed_tiv"]):
            names = ("exposed_tiv", "currency", "n_locations", "n_policies", "n_unknown", "unknown_tiv", "as_of")
            self.most_exposed = {name: overview[name] for name in names}


def _in_trouble(plan: dict[str, Any]) -> int:
    """Households that have no clear way."""
    return sum(n for status, n in plan["counts"].items() if status not in ("clear", "changed"))


def _one_line(now: datetime, overview: dict[str, Any]) -> str:
    exposed = "unknown" if overview["exposed_tiv"] is None else f"{float(overview['exposed_tiv']):,.0f}"
    stored = "unknown" if overview["messages_stored"] is None else overview["messages_stored"]
    return (
        f"{now:%d %b %H:%M}  readings {stored}  warnings {overview['n_warnings_live']}"
        f"  drafts {overview['n_drafts_waiting']}  exposed {exposed} {overview['currency'] or ''}"
        f"  warned {overview['n_people_warned']}"
    )


def _live_table(now: datetime, overview: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title=f"EXERCISE, scenario time {now:%d %b %H:%M}", title_justify="left", box=None, show_header=False)
    stations = overview["n_stations"]
    answers = overview["n_answers"]
    exposed = "unknown" if overview["exposed_tiv"] is None else f"{float(overview['exposed_tiv']):,.0f}"
    for name, value in (
        ("readings stored", overview["messages_stored"]),
        ("stations", f"{stations['online']} online, {stations['silent']} silent, {stations['unknown']} unknown"),
        ("warnings", f"{overview['n_warnings_live']} live, {overview['n_drafts_waiting']} waiting for people"),
        ("people warned", overview["n_people_warned"]),
        ("answers", f"{answers['safe']} safe, {answers['help']} need help, {answers['damage']} damage"),
        ("insured value in the water", f"{exposed} {overview['currency'] or ''}"),
    ):
        table.add_row(str(name), str(value))
    return table


def _clock(moment: str | None) -> str:
    return "-" if moment is None else f"{datetime.fromisoformat(moment):%H:%M}"


def _print_summary(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"EXERCISE, seed {told['seed']}, {told['speed']:g}x, {told['wall_s']} s", style="bold")
    exposure = told["largest_exposure"]
    lines = [
        ("messages sent, readings stored", f"{told['messages_sent']:,}, {told['readings_stored'] or 0:,}"),
        ("warnings raised, ended by an all-clear", f"{told['n_warnings']}, {told['n_all_clear']}"),
        ("people warned at one time", f"{told['people_warned']}"),
        ("deliveries", ", ".join(f"{n} {state}" for state, n in sorted(told["deliveries"].items())) or "none"),
    ]
    if exposure is not None:
        lines.append(
            (
                "insured value in the water, at most",
                f"{float(exposure['exposed_tiv']):,.0f} {exposure['currency']}, {exposure['n_locations']:,} locations;"
                f" place unknown: {exposure['n_unknown']} locations, {float(exposure['unknown_tiv']):,.0f}",
            )
        )
    routes = told["routes"]
    if isinstance(routes, dict):
        lines.append(
            (
                "routes when fewest were clear",
                ", ".join(f"{n} {status}" for status, n in sorted(routes.items()) if n and status != "changed"),
            )
        )
    quote = told["quote"]
    lines.append(("quote for the fleet", f"{float(quote['premium']):,.2f} {quote['currency']}"))
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in lines:
        table.add_row(name, value)
    console.print(table)
    if told["warnings"]:
        title = "Warnings; lead: from the first release to the first home in water"
        leads = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in ("station", "first", "highest", "all-clear", "people", "lead"):
            leads.add_column(column, no_wrap=True)
        for row in told["warnings"]:
            lead = "none wet" if row["lead_min"] is None else f"{row['lead_min']} min"
            leads.add_row(
                row["station"].split(" / ")[0],
                f"{row['first_level']} {_clock(row['released_at'])}",
                f"{row['highest_level']} {_clock(row['highest_released_at'])}",
                _clock(row["all_clear_at"]),
                str(row["n_people"]),
                lead,
            )
        console.print(leads)
        from tocsin.demo import why_late

        for row in told["warnings"]:
            late = why_late(row, told["speed"])
            if late is not None:
                console.print(late)
    for row in told["held_open"]:
        console.print(f"still open: {row['station']}, {row['level']}: {row['why']}")
    for problem in told["problems"]:
        console.print(f"problem: {problem}", style="bold red")
