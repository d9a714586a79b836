"""Progress as a bar, where the extra `rich` is installed; a line of text does without."""

from __future__ import annotations

import atexit
import importlib.util
import os
import sys
from typing import TYPE_CHECKING

from lab.progress import Stage
from lab.report.style import printable

if TYPE_CHECKING:
    from rich.progress import TaskID


class Bar:
    """One bar on the terminal of standard error, drawn anew at each stage and not in between.

    rich would draw it by a thread of its own. The lab forks all the time, and a fork beside a
    thread can find a lock taken that nobody is left to release.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: TaskID | None = None
        atexit.register(self.hide)  # whatever ends the lab: it has hidden the cursor

    def show(self, stage: Stage) -> None:
        """Draw the bar, with the stage's own words before it."""
        text = printable(stage)
        if self._task is None:
            self._task = self._progress.add_task(text, total=stage.total)
            self._progress.start()
        self._progress.update(
            self._task, description=text, completed=stage.done, total=stage.total, refresh=True
        )

    def hide(self) -> None:
        """Take it away; twice does no harm."""
        if self._task is not None:
            self._progress.stop()
            self._progress.remove_task(self._task)
            self._task = None


def bar() -> Bar | None:
    """A bar, if rich is here and standard error is a terminal that can draw one."""
    can_draw = sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"
    return Bar() if can_draw and importlib.util.find_spec("rich") else None
