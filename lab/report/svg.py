"""A run as an SVG picture: swim lanes in event order, for paper, for a README and for the gallery.

What is drawn is what matters: the steps that conflict, what is round them, and "..." where steps
are left out. Light and dark by the reader's own preference; no script, no font and no image is
loaded, so it shows wherever an image shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from lab.finding import Verdict
from lab.report.glyphs import GLYPHS
from lab.report.steps import shortened
from lab.report.style import PLAIN, columns, cut, printable
from lab.report.terminal import mark

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.report.lives import Lane
    from lab.report.picture import Hold, Picture
    from lab.report.places import Place

MOST = 16
"""Steps of a run that are drawn."""
_LANES = 6
_LEAST = 14
"""What is narrower shows nothing."""
_GUTTER = 132
_LANE, _ROW, _HEAD = 62, 34, 30
_COLUMN, _GAP, _TAIL = 38, 30, 34
_CHARACTER = 6.7
"""The width of one in a label, about; in small print:"""
_SMALL = 5.6

STYLE = """
svg{--bg:#fdfcfa;--ink:#23211f;--dim:#77716b;--rule:#e4e0da;--bad:#c8102e;--ghost:#bdb7af;
--h0:#6b665f;--h1:#2563c9;--h2:#b35c00;--h3:#0f7f6b;--h4:#8a3fb0;--h5:#a8324f;
font:12px ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
@media(prefers-color-scheme:dark){svg{--bg:#18191c;--ink:#ece9e4;--dim:#9a958d;--rule:#313339;
--bad:#ff6b77;--ghost:#5c5a57;--h0:#a49e95;--h1:#7fb2ff;--h2:#f0a04b;--h3:#4cc9b0;--h4:#cf9df0;
--h5:#f08aa2}}
.bg{fill:var(--bg);stroke:var(--rule)}text{fill:var(--ink)}
text[paint-order]{stroke:var(--bg);stroke-width:3px;stroke-linejoin:round}
.dim{fill:var(--dim)}
.small{font-size:11px}.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
font-size:11px}.title{font-weight:650;font-size:13px}.badink{fill:var(--bad);font-weight:650}
.rule,.gap{stroke:var(--rule);fill:none}.gap{stroke-dasharray:2 4}
.life{stroke:var(--c);stroke-width:1.5;fill:none;opacity:.4}
.turn{stroke:var(--c);stroke-width:7;stroke-linecap:round;opacity:.2}
.solid{fill:var(--c);fill-rule:evenodd}.hollow{fill:var(--bg);stroke:var(--c);stroke-width:1.8;
stroke-linejoin:round}.stroke{fill:none;stroke:var(--c);stroke-width:1.9;stroke-linecap:round;
stroke-linejoin:round}.zombie{stroke:var(--ghost);stroke-width:7;stroke-dasharray:3 3}
.hold{stroke:var(--c);stroke-width:2;stroke-dasharray:1 5;stroke-linecap:round}
.glass{fill:none;stroke:var(--c);stroke-width:2}
.arrow{fill:none;stroke:var(--dim);stroke-width:1.3}.arrow.fork,.arrow.reap{stroke-dasharray:2 3}
.tip{fill:var(--dim)}.chip{fill:var(--bg);stroke:var(--c);rx:4}.span{fill:var(--rule)}
.span.bad{fill:var(--bad);opacity:.16}
"""


@dataclass(frozen=True)
class Panel:
    """One run in a picture."""

    title: str
    picture: Picture
    verdict: Verdict = Verdict.FAILED


def svg(panels: Sequence[Panel], *, alternative: str, most: int = MOST) -> str:
    """The runs, one below the other, as one SVG document.

    Args:
        panels: what is drawn; those of a bug and of its fix, say.
        alternative: the picture in words, for those who do not see it.
        most: steps that are drawn of each.
    """
    drawn = [_Drawing(panel, most) for panel in panels]
    width = max((each.width for each in drawn), default=_GUTTER)
    parts: list[str] = []
    top = 8
    for each in drawn:
        parts.append(f'<g transform="translate(0 {top})">{"".join(each.parts(width))}</g>')
        top += each.height + 10
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" '
        f'height="{top}" role="img" aria-label="{_safe(alternative)}"><style>{STYLE}</style>'
    )
    if any(panel.title for panel in panels):  # without a title it is part of something
        head += f'<rect class="bg" x=".5" y=".5" width="{width - 1}" height="{top - 1}" rx="10"/>'
    return f"{head}{''.join(parts)}</svg>\n"


class _Drawing:
    """Where everything of one run goes."""

    def __init__(self, panel: Panel, most: int) -> None:
        self.panel, self.picture = panel, panel.picture
        self.shown = shown(self.picture, most)
        visible = {self.picture.marks[i].lane for i in self.shown}
        # Who waits for another turn than these is not to be seen waiting.
        self.holds = [h for h in self.picture.holds if h.end is None or h.end in self.shown]
        visible |= {hold.lane for hold in self.holds}
        major = [i for i in sorted(visible) if not self.picture.lanes[i].minor]
        minor = [i for i in sorted(visible) if self.picture.lanes[i].minor]
        rows = sorted([*major, *minor[: max(0, _LANES - len(major))]])
        self.rows = {lane: row for row, lane in enumerate(rows)}
        self.x: dict[int, float] = {}
        self.gaps: list[float] = []
        self._place()
        self.head = _HEAD if panel.title else 6
        self.foot = self.head + len(self.rows) * _LANE
        self.width = round(max(self.right + 14, 360))
        self.height = self.foot + len(self.picture.places) * _ROW + 6

    def _place(self) -> None:
        at, last = float(_GUTTER), -1
        for index in self.shown:
            if last >= 0 and self._left_out(last, index):
                self.gaps.append(at + _GAP / 2)
                at += _GAP
            room = max(_COLUMN, _width(self._label(index)) + 12)
            self.x[index] = at + room / 2
            at, last = at + room, index
        self.right = at + (110 if any(hold.end is None for hold in self.holds) else _TAIL)

    def _left_out(self, last: int, index: int) -> bool:
        return any(not self.picture.marks[i].quiet for i in range(last + 1, index))

    def _label(self, index: int) -> str:
        mark = self.picture.marks[index]
        if mark.role:
            return mark.label
        return mark.value

    def at(self, index: int | None) -> float:
        """Where a step is; where it is not drawn, where the next one is."""
        if index is None:
            return self.right
        later = [x for i, x in self.x.items() if i >= index]
        return min(later, default=self.right)

    def y(self, lane: int) -> float:
        return self.head + self.rows[lane] * _LANE + _LANE * 0.6

    def parts(self, width: int) -> Iterator[str]:
        if self.panel.title:
            glyph, _ = mark(self.panel.verdict, PLAIN)
            look = "badink" if self.panel.verdict is Verdict.FAILED else ""
            yield _text(16, 18, cut(f"{glyph} {self.panel.title}", 110), f"title {look}")
        for gap in self.gaps:
            yield f'<path class="gap" d="M{gap:g} {self.head}V{self.height - 8}"/>'
            yield _text(gap, self.head + 4, "⋯", "dim", middle=True)
        for lane in self.rows:
            yield from self._lane(lane, self.picture.lanes[lane])
        yield from self._arrows()
        for hold in self.holds:
            if hold.lane in self.rows:
                yield self._hold(hold)
        for index in self.shown:
            if self.picture.marks[index].lane in self.rows:
                yield self._mark(index)
        for row, place in enumerate(self.picture.places):
            yield from self._place_row(place, self.foot + row * _ROW + 8, width)

    def _lane(self, index: int, lane: Lane) -> Iterator[str]:
        y, hue = self.y(index), f"--c:var(--h{lane.hue})"
        child = f" of {lane.parent}" if lane.parent else ""
        yield f'<g style="{hue}">{_text(16, y + 4, lane.name, "title", fill="var(--c)")}'
        yield _text(16 + 9 * len(lane.name) + 4, y + 4, child, "dim small")
        start = self.at(lane.began) if lane.born is not None else _GUTTER - 8
        yield _line("life", start, self.at(lane.ended), y)
        for first, last in _turns(self.shown, self.picture, index):
            yield _line("turn", self.x[first], self.x[last], y)
        if lane.ended is not None and lane.reaped != lane.ended:
            begin, end = self.at(lane.ended), self.at(lane.reaped)
            if end - begin > _LEAST:
                yield _line("zombie", begin + 8, end - 4, y)
                yield _text((begin + end) / 2, y + 18, "zombie", "dim small", middle=True)
        yield "</g>"

    def _mark(self, index: int) -> str:
        mark = self.picture.marks[index]
        x, y = self.x[index], self.y(mark.lane)
        colour = (
            "var(--bad)"
            if mark.role == "damage"
            else f"var(--h{self.picture.lanes[mark.lane].hue})"
        )
        mode, path = GLYPHS[mark.glyph]
        label = self._label(index)
        parts = [f'<path class="{mode}" transform="translate({x:g} {y:g})" d="{path}"/>']
        if label and mark.role:
            wide = _width(label)
            parts.append(
                f'<rect class="chip" x="{x - wide / 2:g}" y="{y - 32:g}" width="{wide:g}" '
                f'height="19" rx="4"/>{_text(x, y - 18.5, label, "mono", middle=True)}'
            )
        elif label:
            parts.append(_text(x, y - 13, label, "mono dim", middle=True))
        return f'<g style="--c:{colour}"><title>{_safe(mark.text)}</title>{"".join(parts)}</g>'

    def _hold(self, hold: Hold) -> str:
        y, begin = self.y(hold.lane), self.at(hold.start)
        end = self.at(hold.end)
        if hold.end is None:
            begin += 12
        else:
            begin, end = begin - 10, end - 12
        middle = (begin + max(end, begin + 4)) / 2
        line = _line("hold", begin, max(end, begin + 4), y)
        text = _text(middle + 6, y + 20, hold.text, "small", middle=True)
        left = middle - len(hold.text) * _SMALL / 2 - 4
        text += (
            f'<path class="glass" transform="translate({left:g} {y + 16:g}) scale(.6)" '
            f'd="{GLYPHS["wait"][1]}"/>'
        )
        return f'<g style="--c:var(--h{self.picture.lanes[hold.lane].hue})">{line}{text}</g>'

    def _arrows(self) -> Iterator[str]:
        for arrow in self.picture.arrows:
            lanes = [self.picture.marks[i].lane for i in (arrow.start, arrow.end)]
            both = arrow.start in self.x and arrow.end in self.x
            if both and lanes[0] != lanes[1] and all(lane in self.rows for lane in lanes):
                yield _curve(
                    arrow.kind,
                    (self.x[arrow.start], self.y(lanes[0])),
                    (self.x[arrow.end], self.y(lanes[1])),
                )

    def _place_row(self, place: Place, y: float, width: int) -> Iterator[str]:
        yield f'<path class="rule" d="M16 {y - 4}H{width - 16}"/>'
        yield _text(16, y + 17, shortened(place.name, 17), "mono dim")
        for span in place.spans:
            begin, end = self.at(span.start), self.at(span.end)
            room = end - begin - 3
            if room < _LEAST / 2 or (
                span.end is not None and not any(span.start <= i < span.end for i in self.x)
            ):
                continue
            bad = " bad" if span.bad else ""
            yield (
                f'<rect class="span{bad}" x="{begin:g}" y="{y:g}" width="{room:g}" height="24" '
                'rx="4"/>'
            )
            text = cut(span.text, max(int(room / _CHARACTER) - 1, 1))
            yield _text(begin + 7, y + 16, text, "mono badink" if span.bad else "mono")


def shown(picture: Picture, most: int = MOST) -> list[int]:
    """The indices of the steps that are drawn: those that conflict, and the nearest to them."""
    loud = [i for i, mark in enumerate(picture.marks) if not mark.quiet]
    if len(loud) <= most:
        return loud
    roles = [i for i in loud if picture.marks[i].role]
    # Of a fix, where it waits first: what comes after that repeats it.
    held = [hold.end if hold.end is not None else hold.start for hold in picture.holds[:1]]
    anchors = [*roles, *held] or [lane.last for lane in picture.lanes]
    minor = {i for i, lane in enumerate(picture.lanes) if lane.minor and (roles or held)}

    def far(index: int) -> tuple[bool, int]:
        # What led there tells more than what followed.
        away = min(each - index if index <= each else 2 * (index - each) for each in anchors)
        return picture.marks[index].lane in minor, away

    rest = sorted((i for i in loud if not picture.marks[i].role), key=far)
    return sorted([*roles[:most], *rest[: max(0, most - len(roles))]])


def _turns(indices: Sequence[int], picture: Picture, lane: int) -> Iterator[tuple[int, int]]:
    """Where one process moved several times without another in between."""
    first = last = -1
    for index in indices:
        if picture.marks[index].lane == lane:
            first, last = (index if first < 0 else first), index
        elif first >= 0:
            yield first, last
            first = -1
    if first >= 0:
        yield first, last


def _width(label: str) -> float:
    return columns(printable(label)) * _CHARACTER + 14 if label else 0


def _line(look: str, begin: float, end: float, y: float) -> str:
    return f'<path class="{look}" d="M{begin:g} {y:g}H{max(begin + 0.1, end):g}"/>'


def _curve(kind: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    down = 1 if end[1] > start[1] else -1
    x1, y1, x2, y2 = start[0], start[1] + 10 * down, end[0], end[1] - 12 * down
    bend = (y2 - y1) / 2
    return (
        f'<path class="arrow {kind}" d="M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {x2:g} '
        f'{y2 - bend:g} {x2:g} {y2:g}"/><path class="tip" d="M{x2:g} {y2 + 4 * down:g}l-4 '
        f'{-6 * down}h8z"/>'
    )


def _text(
    x: float, y: float, text: str, look: str = "", *, middle: bool = False, fill: str = ""
) -> str:
    # With a rim, so that no line runs through it.
    anchor = ' text-anchor="middle" paint-order="stroke"' if middle else ""
    style = f' style="fill:{fill}"' if fill else ""
    return f'<text x="{x:g}" y="{y:g}" class="{look}"{anchor}{style}>{_safe(text)}</text>'


def _safe(text: str) -> str:
    return escape(printable(text))
