// Swim lanes: one run as SVG, drawn only where it is looked at, so that 20,000 steps stay smooth.
// What is drawn (glyphs, lives, arrows, spans) was worked out by lab/report/picture.py.
"use strict";

const LANE = 60, ROW = 34, TOP = 4, EDGE = 20, COLUMN = 36, CHARACTER = 7, MOST = 1200;

class Lanes {
  constructor(host, run, glyphs, onselect) {
    Object.assign(this, { host, run, glyphs, onselect });
    this.picture = run.picture;
    this.timed = false;
    this.everything = !this.picture.marks.some((mark) => mark.quiet);
    this.column = COLUMN;
    this.cursor = 0;
    this.scroller = host.querySelector(".scroller");
    this.sizer = host.querySelector(".sizer");
    this.svg = host.querySelector("svg.lanes");
    this.map = host.querySelector("svg.map");
    this.status = host.querySelector(".shown");
    this.scroller.addEventListener("scroll", () => this.later());
    this.svg.addEventListener("click", (event) => {
      const mark = event.target.closest("[data-i]");
      if (mark) this.onselect(+mark.dataset.i);
    });
    const drag = (event) => {
      if (event.buttons !== 1) return;
      const box = this.map.getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      this.scroller.scrollLeft = share * this.total - this.room / 2;
    };
    this.map.addEventListener("pointerdown", drag);
    this.map.addEventListener("pointermove", drag);
    new ResizeObserver(() => this.layout()).observe(host);
    this.layout();
  }

  hue(lane) { return `var(--h${this.picture.lanes[lane].hue ?? 0})`; }

  get concerned() { return this.picture.lanes.filter((lane) => !lane.minor).length; }

  layout() {
    const { lanes, marks, places } = this.picture;
    this.width = this.scroller.clientWidth || 600;
    this.narrow = this.width < 520;
    this.row = this.narrow ? 48 : ROW;
    this.gutter = this.narrow ? 56 : 128;
    this.room = this.width - this.gutter;
    this.columns = [];
    marks.forEach((mark, i) => {
      if (this.everything || !mark.quiet || i === this.cursor) this.columns.push(i);
    });
    // More lanes than an eye can follow: those without a part in the finding are folded.
    const fold = !this.everything && lanes.length > 8 && this.concerned > 0;
    this.rows = new Map();
    lanes.forEach((lane, i) => { if (!fold || !lane.minor) this.rows.set(i, this.rows.size); });
    this.place();
    this.foot = TOP + this.rows.size * LANE;
    this.height = this.foot + places.length * this.row + 26;
    this.svg.setAttribute("height", this.height);
    this.svg.setAttribute("width", this.width);
    this.sizer.style.width = `${this.gutter + this.total}px`;
    this.sizer.style.height = `${this.height}px`;
    this.drawMap();
    this.draw();
  }

  place() {
    const { marks } = this.picture, { steps } = this.run;
    this.x = [];
    let at = EDGE, before = 0;
    const elapsed = steps.length ? steps[steps.length - 1].time - steps[0].time : 0;
    for (const [n, i] of this.columns.entries()) {
      const label = this.column >= 24 ? this.label(marks[i]) : "";
      const wide = Math.max(this.column, label ? label.length * CHARACTER + (marks[i].role ? 22 : 10) : 0);
      if (this.timed && n && elapsed) {
        // Steps of one moment stand side by side; what lies between two moments shows as a gap.
        at += ((steps[i].time - before) / elapsed) * this.room * 0.7 * (this.column / COLUMN);
      }
      this.x.push(at + wide / 2);
      at += wide;
      before = steps[i].time;
    }
    this.total = Math.max(at + EDGE + (this.picture.holds.length ? 120 : 30), this.room);
  }

  label(mark) {
    return (mark.role ? mark.label : mark.value) ?? "";
  }

  // The first column at or after a step.
  find(i) {
    let low = 0, high = this.columns.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.columns[middle] < i) low = middle + 1; else high = middle;
    }
    return low;
  }

  at(i) {
    if (i === null) return this.total - 10;
    const column = this.find(i);
    return column < this.x.length ? this.x[column] : this.total - 10;
  }

  y(lane) { return TOP + this.rows.get(lane) * LANE + LANE * 0.6; }

  set(changes) { Object.assign(this, changes); this.layout(); this.reveal(); }

  zoom(by) {
    const middle = this.columns[this.find(this.cursor)] ?? 0;
    this.column = Math.min(160, Math.max(0.02, this.column * by));
    this.layout();
    this.reveal(middle);
  }

  fit() {
    this.column = Math.max(0.02, (this.room - 2 * EDGE - 30) / Math.max(1, this.columns.length));
    if (this.column > COLUMN) this.column = COLUMN;
    this.layout();
    this.scroller.scrollLeft = 0;
  }

  select(i) {
    const hidden = this.picture.marks[this.cursor]?.quiet || this.picture.marks[i]?.quiet;
    this.cursor = i;
    if (hidden && !this.everything) this.layout(); else this.later();
    this.reveal();
  }

  // Show what conflicts as a whole, if it is not too wide; else what the cursor is at.
  frame(align) {
    const { marks, holds } = this.picture;
    const keys = marks.flatMap((mark, i) => (mark.role ? [i] : []));
    if (!keys.length && align) for (const hold of holds.slice(0, 1)) keys.push(hold.start, hold.end ?? marks.length - 1);
    if (!keys.length) return;
    const ends = () => [this.at(keys[0]), this.at(keys[keys.length - 1])];
    if (ends()[1] - ends()[0] > this.room - 90) {
      this.column = 25;
      this.layout();
    }
    const [from, to] = ends();
    if (to - from < this.room - 40) this.scroller.scrollLeft = (from + to - this.room) / 2;
  }

  reveal(i = this.cursor) {
    const x = this.at(i), left = this.scroller.scrollLeft, margin = Math.min(80, this.room / 4);
    if (x < left + margin || x > left + this.room - margin) {
      this.scroller.scrollLeft = x - this.room / 2;
    }
    this.later();
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  draw() {
    const left = this.scroller.scrollLeft, right = left + this.room;
    this.left = left;
    this.shift = this.gutter - left;
    const first = this.first(left - 60), last = this.first(right + 60);
    const body = [], text = this.column >= 24;
    for (const [index, row] of this.rows) this.drawLane(body, index, row, left, right);
    this.drawArrows(body, left, right);
    for (const hold of this.picture.holds) this.drawHold(body, hold, left, right);
    const drawn = this.column < 7
      ? this.drawTicks(body, first, last)
      : this.drawMarks(body, first, last, text);
    this.picture.places.forEach((place, row) => this.drawPlace(body, place, row, left, right));
    this.drawAxis(body, first, last);
    this.svg.innerHTML = this.cursorLine() + body.join("") + this.names();
    this.tell(drawn, first, last);
    this.drawWindow();
  }

  first(x) {
    let low = 0, high = this.x.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.x[middle] < x) low = middle + 1; else high = middle;
    }
    return low;
  }

  tell(drawn, first, last) {
    const all = this.picture.marks.length, shown = this.columns.length;
    const parts = [];
    if (drawn < all) parts.push(`shown ${number(drawn)} of ${number(all)} steps`);
    else parts.push(`${number(all)} step${all === 1 ? "" : "s"}`);
    if (shown < all) parts.push("the others touch nothing shared");
    if (drawn < shown) parts.push("zoom in to see more");
    const folded = this.picture.lanes.length - this.rows.size;
    const before = this.run.steps[0]?.step;
    if (before) parts.push(`the ${number(before)} before them were not kept`);
    if (folded) parts.push(`${folded} of ${this.picture.lanes.length} lanes folded`);
    this.status.textContent = parts.join(" · ");
  }

  drawLane(out, index, row, left, right) {
    const lane = this.picture.lanes[index], y = this.y(index);
    const begin = lane.born === null ? 0 : this.at(lane.began), end = this.at(lane.ended);
    const line = (look, from, to) => {
      const a = Math.max(from, left - 10), b = Math.min(to, right + 10);
      if (b > a) out.push(`<path class="${look}" style="--c:${this.hue(index)}" d="M${r(a + this.shift)} ${y}H${r(b + this.shift)}"/>`);
    };
    line("life", begin, end);
    if (lane.ended !== null && lane.reaped !== lane.ended) {
      const from = end + 9, to = this.at(lane.reaped) - (lane.reaped === null ? 0 : 9);
      if (to > from + 3) {
        line("zombie", from, to);
        const a = Math.max(from, left), b = Math.min(to, right);
        if (b - a > 60) out.push(`<text class="dim small middle" x="${r((a + b) / 2 + this.shift)}" y="${y + 20}">zombie</text>`);
      }
    }
  }

  drawMarks(out, first, last, text) {
    const { marks, lanes } = this.picture, { columns } = this;
    let turn = -1;
    for (let n = first; n < last; n++) {
      const lane = marks[columns[n]].lane;
      const next = n + 1 < last ? marks[columns[n + 1]].lane : -1;
      if (turn < 0) turn = n;
      if (next !== lane) {
        if (this.rows.has(lane)) out.push(`<path class="turn" style="--c:${this.hue(lane)}" d="M${r(this.x[turn] + this.shift)} ${this.y(lane)}H${r(this.x[n] + this.shift + 0.1)}"/>`);
        turn = -1;
      }
    }
    const stride = Math.max(1, Math.ceil((last - first) / MOST));
    let drawn = this.columns.length - (last - first);
    for (let n = first; n < last; n++) {
      const i = columns[n], mark = marks[i];
      if ((stride > 1 && n % stride && !mark.role && i !== this.cursor) || !this.rows.has(mark.lane)) continue;
      drawn += 1;
      const x = this.x[n] + this.shift, y = this.y(mark.lane);
      const [mode, path] = this.glyphs[mark.glyph];
      const colour = mark.role === "damage" ? "var(--bad)" : this.hue(mark.lane);
      const label = text || mark.role === "damage" ? this.label(mark) : "";
      let inner = `<path class="${mode}${mark.failed ? " failed" : ""}" d="${path}"/>`;
      if (i === this.cursor) inner = `<circle class="halo" r="13"/>${inner}`;
      if (mark.role && label) {
        const wide = label.length * CHARACTER + 14;
        inner += `<rect class="chip" x="${-wide / 2}" y="-34" width="${wide}" height="20" rx="5"/><text class="mono middle${mark.role === "damage" ? " bad" : ""}" y="-20">${safe(label)}</text>`;
      } else if (label) inner += `<text class="mono dim middle" y="-14">${safe(label)}</text>`;
      out.push(`<g class="mark" data-i="${i}" style="--c:${colour}" transform="translate(${r(x)} ${y})"><rect class="hit" x="-14" y="-22" width="28" height="40"/><title>${safe(`step ${this.run.steps[i].step} · ${lanes[mark.lane].name} ${mark.text}`)}</title>${inner}</g>`);
    }
    return drawn;
  }

  // Zoomed out: one tick for each pixel in which a process moved.
  drawTicks(out, first, last) {
    const { marks } = this.picture, ticks = new Map(), keys = [];
    let drawn = this.columns.length - (last - first);
    for (let n = first; n < last; n++) {
      const i = this.columns[n], lane = marks[i].lane;
      if (!this.rows.has(lane)) continue;
      if (marks[i].role || i === this.cursor) keys.push(n);
      const pixel = Math.round(this.x[n] + this.shift);
      const own = ticks.get(lane) ?? { at: null, d: [] };
      if (own.at !== pixel) { own.at = pixel; own.d.push(`M${pixel} ${this.y(lane) - 6}v12`); drawn += 1; }
      ticks.set(lane, own);
    }
    for (const [lane, { d }] of ticks) out.push(`<path class="ticks" style="--c:${this.hue(lane)}" d="${d.join("")}"/>`);
    for (const n of keys) {
      const i = this.columns[n], mark = marks[i], [mode, path] = this.glyphs[mark.glyph];
      const colour = mark.role === "damage" ? "var(--bad)" : this.hue(mark.lane);
      out.push(`<g class="mark" data-i="${i}" style="--c:${colour}" transform="translate(${r(this.x[n] + this.shift)} ${this.y(mark.lane)})">${i === this.cursor ? '<circle class="halo" r="13"/>' : ""}<path class="${mode}" d="${path}"/></g>`);
    }
    return drawn;
  }

  drawArrows(out, left, right) {
    if (this.column < 7) return;
    for (const arrow of this.picture.arrows) {
      const from = this.picture.marks[arrow.start].lane, to = this.picture.marks[arrow.end].lane;
      const x1 = this.at(arrow.start), x2 = this.at(arrow.end);
      if (from === to || x2 < left || x1 > right || !this.rows.has(from) || !this.rows.has(to)) continue;
      const down = this.rows.get(to) > this.rows.get(from) ? 1 : -1;
      const y1 = this.y(from) + 10 * down, y2 = this.y(to) - 13 * down;
      const bend = (y2 - y1) / 2, a = r(x1 + this.shift), b = r(x2 + this.shift);
      out.push(`<path class="arrow ${arrow.kind}" d="M${a} ${y1}C${a} ${y1 + bend} ${b} ${y2 - bend} ${b} ${y2}"/><path class="tip ${arrow.kind}" d="M${b} ${y2 + 4 * down}l-4 ${-7 * down}h8z"/>`);
    }
  }

  drawHold(out, hold, left, right) {
    if (!this.rows.has(hold.lane)) return;
    const ended = hold.end !== null, y = this.y(hold.lane);
    const from = this.at(hold.start) + (ended ? -12 : 14), to = this.at(hold.end) - (ended ? 14 : 0);
    const a = Math.max(from, left), b = Math.min(Math.max(to, from + 6), right);
    if (b <= a) return;
    out.push(`<g style="--c:${this.hue(hold.lane)}"><path class="hold" d="M${r(a + this.shift)} ${y}H${r(b + this.shift)}"/>`);
    const wide = (hold.text.length + 3) * 6.2, middle = (a + b) / 2;
    const x = Math.min(Math.max(middle, left + wide / 2), Math.max(right - wide / 2, left + wide / 2));
    out.push(`<path class="hourglass" transform="translate(${r(x + this.shift - wide / 2 + 8)} ${y + 18}) scale(.62)" d="${this.glyphs.wait[1]}"/><text class="small middle" x="${r(x + this.shift + 6)}" y="${y + 22}">${safe(hold.text)}</text></g>`);
  }

  drawPlace(out, place, row, left, right) {
    const top = this.foot + row * this.row, y = top + this.row - 29;
    out.push(`<path class="rule" d="M0 ${top + 1}H${this.width}"/>`);
    const hairs = [];
    let last = -1;
    for (const span of place.spans) {
      const from = this.at(span.start), to = this.at(span.end) - 3;
      if (to < left || from > right) continue;
      if (to - from < 2) {
        if (Math.round(from) !== last) hairs.push(`M${r(from + this.shift)} ${y}v24`);
        last = Math.round(from);
        continue;
      }
      const a = Math.max(from, left - 6), b = Math.min(to, right + 6);
      const now = span.start <= this.cursor && (span.end === null || this.cursor < span.end);
      out.push(`<rect class="span${span.bad ? " bad" : ""}${now ? " now" : ""}" x="${r(a + this.shift)}" y="${y}" width="${r(Math.max(b - a, 1))}" height="24" rx="4"/>`);
      const room = Math.floor((b - Math.max(a, left) - 12) / CHARACTER);
      if (room > 0) {
        const text = span.text.length > room ? (room > 2 ? `${span.text.slice(0, room - 1)}…` : "") : span.text;
        out.push(`<text class="mono${span.bad ? " bad" : ""}" x="${r(Math.max(a, left) + this.shift + 7)}" y="${y + 16}">${safe(text)}</text>`);
      }
    }
    if (hairs.length) out.push(`<path class="hairs" d="${hairs.join("")}"/>`);
  }

  drawAxis(out, first, last) {
    const y = this.height - 8;
    let free = -1e9;
    for (let n = first; n < last; n++) {
      const x = this.x[n] + this.shift, step = this.run.steps[this.columns[n]];
      if (x < free || x < this.gutter) continue;
      const text = this.timed ? seconds(step.time) : String(step.step);
      out.push(`<text class="dim small middle" x="${r(x)}" y="${y}">${text}</text>`);
      free = x + text.length * CHARACTER + 22;
    }
  }

  cursorLine() {
    const x = this.at(this.cursor) + this.shift;
    return x < this.gutter || !this.columns.length ? "" : `<path class="cursor" d="M${r(x)} 4V${this.height - 22}"/>`;
  }

  names() {
    const out = [`<rect class="gutter" width="${this.gutter - 6}" height="${this.height}"/>`];
    for (const index of this.rows.keys()) {
      const lane = this.picture.lanes[index], y = this.y(index) + 4;
      out.push(`<text class="name" style="fill:${this.hue(index)}" x="2" y="${y}">${safe(lane.name)}</text>`);
      if (lane.parent && !this.narrow) out.push(`<text class="dim small" x="${8 + lane.name.length * 9}" y="${y}">child of ${safe(lane.parent)}</text>`);
    }
    const most = Math.floor(((this.narrow ? this.width : this.gutter) - 10) / CHARACTER);
    this.picture.places.forEach((place, row) => {
      const name = place.name.length > most ? `…${place.name.slice(1 - most)}` : place.name;
      out.push(`<text class="mono dim" x="2" y="${this.foot + row * this.row + (this.narrow ? 15 : 21)}">${safe(name)}<title>${safe(place.name)}</title></text>`);
    });
    out.push(`<text class="dim small" x="2" y="${this.height - 8}">${this.timed ? "time" : "step"}</text>`);
    return out.join("");
  }

  drawMap() {
    const whole = this.total > this.room + 2;
    this.map.toggleAttribute("hidden", !whole);
    if (!whole) return;
    const height = 6 * this.rows.size + 6, scale = this.width / this.total;
    this.map.setAttribute("height", height);
    this.map.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    const paths = new Map();
    this.columns.forEach((i, n) => {
      const mark = this.picture.marks[i];
      if (!this.rows.has(mark.lane)) return;
      const key = mark.role ? "var(--bad)" : this.hue(mark.lane), pixel = Math.round(this.x[n] * scale);
      const own = paths.get(`${key}${mark.lane}`) ?? { key, at: -1, d: [] };
      if (own.at !== pixel) { own.at = pixel; own.d.push(`M${pixel} ${3 + 6 * this.rows.get(mark.lane)}v5`); }
      paths.set(`${key}${mark.lane}`, own);
    });
    this.mapBody = [...paths.values()].map(({ key, d }) => `<path d="${d.join("")}" style="stroke:${key}"/>`).join("");
    this.map.innerHTML = `${this.mapBody}<rect class="window" y="0.5" height="${height - 1}" rx="3"/>`;
  }

  drawWindow() {
    const frame = this.map.querySelector(".window"), scale = this.width / this.total;
    if (!frame) return;
    frame.setAttribute("x", r(this.left * scale));
    frame.setAttribute("width", r(Math.max(6, this.room * scale)));
  }
}

const r = (value) => Math.round(value * 10) / 10;
const number = (value) => value.toLocaleString("en");
const safe = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const seconds = (value) => value >= 1 ? `${+value.toFixed(3)} s` : value >= 1e-3 ? `${+(value * 1e3).toFixed(2)} ms` : `${Math.round(value * 1e6)} µs`;
