"""Where samples are drawn (here, or on a Dask cluster), and the bar that shows how far they are."""

import sys
from typing import Any


class Workers:
    """The cluster's mapper, or this process; closes what it opened."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        self.client: Any = None

    def __enter__(self) -> Any:
        from geo import loss as engine

        if self.address is None:
            return engine.in_process
        from geo import cluster

        self.client = cluster.connect(self.address)
        return cluster.mapper(self.client)

    def __exit__(self, *_: object) -> None:
        if self.client is not None:
            self.client.close()


class Progress:
    """A bar on standard error; silent where nobody looks."""

    def __init__(self, title: str) -> None:
        self.title = title

    def __enter__(self) -> Any:
        from rich import progress
        from rich.console import Console

        self.bar = progress.Progress(
            progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self.bar.start()
        task = self.bar.add_task(self.title, total=None)
        return lambda done, total: self.bar.update(task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
