"""Where a run takes place, which its trace leaves out.

A checkout lies elsewhere in CI than at home, TMPDIR is not the same for every user, and pytest
numbers its directories by the session. With them in the names of files no schedule could be
replayed but where it was recorded. So a trace has paths as they are seen from there: `file:total`
in the working directory, `file:$TMPDIR/jobs` and, of a test, `file:$BASETEMP/test_it0/total`. The
tracer itself goes by whole paths, and names are shortened where they leave it: a search must not
see one file under two names.

The directories above these are there before the run and after it. To look at them is no step, for
how many there are is another number in each place; who changes them is outside of what is proved.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from lab.search.dependence import LINK
from lab.search.strategy import Pending
from lab.trace import Event

Step = TypeVar("Step", Event, Pending)
_PATHS = ("file:", "fifo:", "unix:", "lock:", "running:", "written:", "position:")
"""What is named by a path, and what is named by such a thing."""
_TMP = "/tmp"  # the name of a directory, in which nothing is made here


@dataclass(frozen=True)
class Anchors:
    """Directories, each with what stands for it in a name; "" for the working directory.

    The deeper comes first.
    """

    known: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, working: str, temporary: str = _TMP, scratch: Iterable[str] = ()) -> Anchors:
        """Those of a run.

        Args:
            working: the directory in which it begins.
            temporary: TMPDIR; the usual one goes by its name.
            scratch: where its test has its temporary directories.
        """
        named = {working: "", **dict.fromkeys(scratch, "$BASETEMP")}
        if temporary != _TMP:
            named.setdefault(temporary, "$TMPDIR")
        return cls(tuple(sorted(named.items(), key=lambda each: -len(each[0]))))

    def are_below(self, path: str) -> bool:
        """Whether a path is one of them, or leads to one."""
        return any(f"{anchor}/".startswith(f"{path}/") for anchor, _ in self.known)

    def shortened(self, name: str) -> str:
        """The name of a thing, as a trace has it."""
        if name.startswith(LINK):
            return f"{LINK}{self.shortened(name.removeprefix(LINK))}"
        if not name.startswith(_PATHS):
            return name
        kind, slash, rest = name.partition(":/")
        path = f"/{rest}"
        for anchor, alias in self.known if slash else ():
            if path == anchor:
                return f"{kind}:{alias or '.'}"
            if path.startswith(f"{anchor}/"):
                inside = path.removeprefix(f"{anchor}/")
                return f"{kind}:{alias}/{inside}" if alias else f"{kind}:{inside}"
        return name

    def told(self, step: Step) -> Step:
        """A step, done or to be done, with such names."""
        thing, also = self.shortened(step.object), tuple(map(self.shortened, step.also))
        if thing == step.object and also == step.also:
            return step
        return replace(step, object=thing, also=also)
