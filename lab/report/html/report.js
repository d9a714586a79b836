// The page: verdict, stepping, events, outcomes. All facts are in the embedded data.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (selector, root = document) => root.querySelector(selector);
const ROWS = 300;
let lanes = [], story, view, cursor = 0, player = 0, query = "", rows = ROWS;

// Text goes in as text nodes: nothing that a program printed is ever read as markup.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

// What stands between backticks is code.
const prose = (text) => text.split(/`([^`]+)`/).map((part, i) => (i % 2 ? make("code", {}, part) : part));

const glyphOf = { failed: "✗", passed: "✓", proved: "✓", vacuous: "?", error: "?", known: "~" };
const look = (told) => (told.known ? "known" : told.result.verdict);
const words = (kind) => kind.replaceAll("-", " ");
const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
const file = (where) => where.slice(where.lastIndexOf("/") + 1);

function badge(told) {
  const kinds = [...new Set(told.result.findings.map((finding) => words(finding.kind)))];
  return `${glyphOf[look(told)]} ${kinds.join(", ") || told.result.verdict}`;
}

function choose(story_, view_ = 0) {
  stop();
  story = data.stories[story_];
  view = story.views[view_];
  location.replace(`#${story_}.${view_}`);
  document.body.dataset.verdict = view && story.result.findings[view.finding].known ? "known" : story.result.verdict;
  query = "";
  rows = ROWS;
  $("main").replaceChildren(...page(story_, view_).filter(Boolean));
  lanes = [];
  document.body.classList.toggle("stepped", Boolean(view?.runs.length));
  for (const [index, host] of document.querySelectorAll(".run").entries()) {
    lanes.push(new Lanes(host, view.runs[index], data.glyphs, (i) => pick(index, i)));
  }
  if (view?.runs.length) {
    go(start());
    lanes.forEach((each, index) => each.frame(index ? view.runs[index].align : undefined));
  }
  for (const link of document.querySelectorAll("nav button")) {
    const current = link.dataset.story === String(story_);
    link.setAttribute("aria-current", current);
    if (current) link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft - 40;
  }
}

function start() {
  const { marks } = view.runs[0].picture;
  const damage = marks.findIndex((mark) => mark.role === "damage");
  if (damage >= 0) return damage;
  const turn = marks.findLastIndex((mark) => mark.role);
  return turn >= 0 ? turn : marks.length - 1;
}

function page(story_, view_) {
  const result = story.result, finding = view && result.findings[view.finding];
  return [
    data.stopped ? make("p", { class: "stopped" }, `Stopped before everything was done: ${data.stopped}`) : null,
    ...data.absences.map((line) => make("p", { class: "stopped" }, line)),
    heading(result, finding),
    story.views.length > 1 ? make("div", { class: "tabs", role: "group", "aria-label": "findings" },
      story.views.map((each, index) => {
        const own = result.findings[each.finding];
        return make("button", { "aria-pressed": String(index === view_), onclick: () => choose(story_, index) },
          `${words(own.kind)}${own.subject ? ` ${own.subject}` : ""}`, make("small", {}, own.object));
      })) : null,
    view?.runs.length ? stage() : null,
    make("div", { class: "cards" }, because(finding), replay(), outcomes(result)),
    ...story.code.map(code),
    view?.runs.length ? events() : null,
    printed(result),
    how(result),
  ];
}

function heading(result, finding) {
  const seen = finding ? `${number(finding.seen_in)} of ${plural(result.runs, "run")}` : plural(result.runs, "run");
  const kind = finding ? `${words(finding.kind)}${finding.subject ? ` ${finding.subject}` : ""}` : result.verdict;
  return make("section", { class: "verdict" },
    make("p", { class: "eyebrow" }, make("span", {}, result.scenario), ` · ${result.verdict}, ${seen}`),
    make("h1", {}, make("span", { class: "glyph", "aria-hidden": "true" }, glyphOf[finding?.known ? "known" : result.verdict]), kind[0].toUpperCase() + kind.slice(1)),
    make("p", { class: "sentence" }, finding ? finding.summary : result.reason || "Nothing was found."),
    finding?.known ? make("p", { class: "stopped" }, "Known: the baseline has it, so it is no failure.") : null,
    story.differences.map((line) => make("p", { class: "stopped" }, `Not as declared. ${line}`)),
    story.summary ? make("p", { class: "dim" }, prose(story.summary)) : null);
}

function button(label, title, key, action, extra = {}) {
  return make("button", { title: key ? `${title} (${key})` : title, "aria-label": title, onclick: action, ...extra }, label);
}

function stage() {
  const tools = make("div", { class: "tools", role: "toolbar", "aria-label": "stepping" },
    make("div", { class: "group" },
      button("«", "first step", "Home", () => go(0)),
      button("‹", "step back", "←", () => move(-1), { id: "back" }),
      button("›", "step on", "→", () => move(1), { id: "on" }),
      button("»", "last step", "End", () => go(last())),
      button("Play", "play the steps", "space", play, { id: "play", class: "wide" })),
    make("input", { type: "range", id: "slider", min: 0, max: last(), "aria-label": "step", oninput: (event) => go(+event.target.value) }),
    make("div", { class: "group" },
      button("Conflict ›", "next step whose order matters", "n", () => conflict(1), { class: "wide", disabled: !view.runs[0].picture.marks.some((mark) => mark.role) })),
    make("div", { class: "group" },
      button("Order", "steps at equal distances", "t", () => timed(false), { id: "order", class: "wide", "aria-pressed": "true" }),
      button("Time", "gaps as long as the time between the steps", "t", () => timed(true), { id: "time", class: "wide", "aria-pressed": "false" })),
    make("div", { class: "group" },
      button("−", "zoom out", "-", () => zoom(1 / 1.5)),
      button("+", "zoom in", "+", () => zoom(1.5)),
      button("Fit", "the whole run", "f", () => lanes.forEach((each) => each.fit()), { class: "wide" })),
    make("div", { class: "group" },
      button("All steps", "also those that touch nothing shared", "a", all, { id: "all", class: "wide", "aria-pressed": "false" })));
  return make("section", { class: `stage${view.runs.length > 1 ? " beside" : ""}`, "aria-label": "the run" },
    tools, make("div", { class: "runs" }, view.runs.map(figure)), legend());
}

function figure(run) {
  const ns = "http://www.w3.org/2000/svg";
  const map = document.createElementNS(ns, "svg"), svg = document.createElementNS(ns, "svg");
  map.setAttribute("class", "map");
  map.setAttribute("preserveAspectRatio", "none");
  map.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "lanes");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `swim lanes of ${run.title}; the list of events below says the same in words`);
  const title = run.role
    ? make("h2", { class: run.verdict ?? "failed" }, make("span", { "aria-hidden": "true" }, `${glyphOf[run.verdict ?? "failed"]} `), make("b", {}, run.role.toUpperCase()), ` ${run.title}`, run.note ? make("small", {}, run.note) : null)
    : null;
  return make("figure", { class: "run" }, title,
    make("div", { class: "scroller", tabindex: "0", "aria-label": "scroll through the run" }, make("div", { class: "sizer" }, svg)),
    map, make("p", { class: "shown dim" }), make("div", { class: "step", "aria-live": "polite" }));
}

function legend() {
  const used = new Set(view.runs.flatMap((run) => run.picture.marks.map((mark) => mark.glyph)));
  const items = Object.entries(data.glyphs).filter(([name]) => used.has(name)).map(([name, [mode, path]]) => {
    const span = make("span", { class: name === "lost" ? "lost" : "" });
    span.innerHTML = `<svg width="18" height="18" viewBox="-9 -9 18 18" aria-hidden="true"><path class="${mode}" d="${path}"/></svg>`;
    span.append(data.words[name] ?? name);
    return span;
  });
  return make("details", { class: "legend" }, make("summary", {}, "What the signs mean"), make("div", {}, items,
    make("span", {}, make("i", { class: "sample turn" }), "it has the turn"),
    make("span", {}, make("i", { class: "sample zombie" }), "ended, not reaped: a zombie"),
    make("span", {}, make("i", { class: "sample hold" }), "it waits")));
}

function because(finding) {
  if (!finding) return null;
  const keys = conflicts();
  return make("section", { class: "card" }, make("h2", {}, keys || finding.details.length ? "Because" : "What to do"),
    keys,
    finding.details.length ? make("ul", {}, finding.details.map((line) => make("li", {}, line))) : null,
    finding.advice ? make("p", { class: "advice" }, make("b", {}, "To mend it "), prose(finding.advice)) : null);
}

// The steps that conflict, to go to.
function conflicts() {
  const run = view.runs[0];
  const keys = run ? run.picture.marks.flatMap((mark, i) => (mark.role ? [i] : [])).slice(0, 8) : [];
  return keys.length ? make("div", { class: "conflicts" }, keys.map((i) => {
    const step = run.steps[i], mark = run.picture.marks[i];
    return make("button", { class: mark.role, onclick: () => go(i) }, make("span", { class: "number" }, step.step),
      make("b", { style: `color:var(--h${run.picture.lanes[mark.lane].hue ?? 0})` }, step.process), make("span", {}, mark.role === "damage" ? `✗ ${mark.text}` : mark.text));
  })) : null;
}

function replay() {
  const command = view && story.result.findings[view.finding].replay;
  if (!command) return null;
  const code = make("code", {}, command), done = make("span", { "aria-live": "polite" }, "Copy");
  const copy = async () => {
    getSelection().selectAllChildren(code);
    try { await navigator.clipboard.writeText(command); } catch { document.execCommand("copy"); }
    done.textContent = "Copied";
  };
  return make("section", { class: "card" }, make("h2", {}, "See it again"), make("div", { class: "replay" }, code, make("button", { onclick: copy }, done)),
    view.shrunk ? make("p", { class: "dim" }, view.shrunk) : null);
}

function outcomes(result) {
  if (!result.outcomes.length) return null;
  const runs = result.outcomes.reduce((sum, each) => sum + each.runs, 0);
  const shown = result.outcomes.slice(0, 20);
  return make("section", { class: "card" }, make("h2", {}, "What came out"),
    make("table", {}, make("thead", {}, make("tr", {}, ["result", "runs", "share", ""].map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, shown.map((each) => make("tr", { class: each.allowed ? "" : "forbidden" },
        make("td", {}, each.result), make("td", { class: "number" }, number(each.runs)),
        make("td", { class: "share" }, make("i", { style: `width:${(100 * each.runs) / runs}%` }), make("span", {}, `${((100 * each.runs) / runs).toFixed(1)}%`)),
        make("td", {}, each.allowed ? "✓ allowed" : "✗ forbidden"))))),
    shown.length < result.outcomes.length ? make("p", { class: "dim" }, `shown ${shown.length} of ${result.outcomes.length}`) : null);
}

function code(difference) {
  return make("section", { class: "card code" }, make("h2", {}, `What ${difference.fix} does otherwise`),
    difference.explanation ? difference.explanation.split("\n\n").map((part) => make("p", {}, prose(part))) : null,
    make("pre", {}, difference.lines.map((line) => make("span", { class: { "-": "less", "+": "more_" }[line[0]] ?? "" }, `${line}\n`))));
}

function events() {
  return make("section", { class: "card events" }, make("h2", {}, "Every step"),
    make("input", { type: "search", id: "search", placeholder: "search: P1, write, a name, a file…", "aria-label": "search the steps", oninput: (event) => { query = event.target.value.toLowerCase(); rows = ROWS; list(); } }),
    make("p", { class: "count dim", "aria-live": "polite" }), make("div", { class: "list", role: "listbox", "aria-label": "steps", tabindex: "0" }));
}

function list() {
  const run = view.runs[0], host = $(".list");
  const found = [];
  run.steps.forEach((step, i) => { if (!query || run.haystack(i).includes(query)) found.push(i); });
  const from = query || found.length <= rows ? 0 : Math.max(0, Math.min(cursor - ROWS / 2, found.length - rows));
  const shown = found.slice(from, from + rows);
  $(".count").textContent = shown.length < found.length ? `shown ${number(shown.length)} of ${number(found.length)}` : plural(found.length, "step");
  host.replaceChildren(...shown.map((i) => {
    const step = run.steps[i], mark = run.picture.marks[i];
    return make("div", { role: "option", "data-i": i, class: mark.role, "aria-selected": String(i === cursor), onclick: () => go(i) },
      make("span", { class: "number" }, String(step.step)), make("b", { style: `color:var(--h${run.picture.lanes[mark.lane].hue ?? 0})` }, step.process),
      make("span", { class: "what" }, mark.role === "damage" ? `✗ ${mark.text}` : mark.text), make("span", { class: "where dim" }, file(step.where)));
  }), ...(shown.length < found.length ? [make("button", { class: "more", onclick: () => { rows += 3 * ROWS; list(); } }, "Show more")] : []));
  markRow();
}

function markRow() {
  const host = $(".list");
  $('[aria-selected="true"]', host)?.setAttribute("aria-selected", "false");
  const row = $(`[data-i="${cursor}"]`, host);
  if (!row) return query ? undefined : host.childElementCount && list();
  row.setAttribute("aria-selected", "true");
  const top = row.offsetTop - host.offsetTop;
  if (top < host.scrollTop || top > host.scrollTop + host.clientHeight - 34) host.scrollTop = top - host.clientHeight / 2;
}

function printed(result) {
  if (!result.output) return null;
  return make("details", { class: "card" }, make("summary", {}, "What it printed"), make("pre", {}, result.output));
}

function how(result) {
  const free = view && !view.runs.length;
  const parts = [`${plural(result.runs, "run")} in ${result.seconds.toFixed(result.seconds < 1 ? 2 : 1)} s, ${result.mode}`,
    result.search, result.isolation && `isolation by ${result.isolation}`,
    Object.entries(result.parameters).map(([name, value]) => `${name}=${value}`).join(" ")].filter(Boolean);
  return make("section", { class: "how dim" }, result.notes.map((note) => make("p", {}, `Note: ${note}`)),
    result.stale.map((path) => make("p", {}, `Note: the saved schedule ${path} is stale: the program has changed since.`)),
    free ? make("p", {}, "The program ran freely, so its steps are not known; under control (lab explore) they are.") : null, make("p", {}, parts.join(" · ")));
}

const last = () => view.runs[0].steps.length - 1;

// The other runs follow: their cursor is where the same things had been done.
function go(i) {
  cursor = Math.max(0, Math.min(last(), i));
  $("#slider").value = cursor;
  lanes.forEach((each, index) => {
    each.select(index ? view.runs[index].align[cursor] : cursor);
    tellStep(index, each);
  });
  if (!$(".list").childElementCount) list(); else markRow();
}

function pick(index, i) {
  if (!index) return go(i);
  const before = view.runs[index].align.findLastIndex((each) => each <= i);
  go(Math.max(0, before));
  lanes[index].select(i);
  tellStep(index, lanes[index]);
}

function move(by) {
  const { columns } = lanes[0], at = lanes[0].find(cursor);
  const exact = columns[at] === cursor;
  go(columns[Math.max(0, Math.min(columns.length - 1, at + (by < 0 || exact ? by : 0)))] ?? cursor);
}

function conflict(by) {
  const keys = view.runs[0].picture.marks.flatMap((mark, i) => mark.role ? [i] : []);
  const next = keys.find((i) => i > cursor) ?? keys[0];
  if (next !== undefined) go(next);
}

function tellStep(index, each) {
  const run = view.runs[index], i = each.cursor, step = run.steps[i], mark = run.picture.marks[i];
  const host = $(".step", each.host);
  if (!step) return host.replaceChildren();
  const held = run.picture.holds.filter((hold) => hold.start <= i && (hold.end === null || i < hold.end));
  host.replaceChildren(
    make("p", { class: `what ${mark.role ?? ""}` }, make("span", { class: "number" }, `step ${step.step}`), " ",
      make("b", { style: `color:var(--h${run.picture.lanes[mark.lane].hue ?? 0})` }, step.process), " ", mark.text,
      mark.role === "damage" ? make("em", {}, "✗ does the damage") : mark.role === "key" ? make("em", { class: "quiet" }, "conflicts") : mark.role === "turn" ? make("em", { class: "quiet" }, "the order matters here") : null),
    ...held.map((hold) => make("p", { class: "held" }, `${run.picture.lanes[hold.lane].name} ${hold.text}`)),
    source(step.where) ?? "",
    make("p", { class: "dim small" }, [step.where && file(step.where), step.call, seconds(step.time)].filter(Boolean).join(" · ")));
}

function source(where) {
  const at = where.lastIndexOf(":"), lines = data.sources[where.slice(0, at)], line = +where.slice(at + 1);
  if (!lines) return null;
  const around = [-2, -1, 0, 1, 2].map((by) => line + by).filter((n) => lines[n] !== undefined);
  return make("pre", { class: "source" }, around.map((n) => make("span", { class: n === line ? "now" : "" }, make("i", {}, String(n).padStart(4)), ` ${lines[n]}\n`)));
}

function timed(on) {
  lanes.forEach((each) => each.set({ timed: on }));
  $("#order").setAttribute("aria-pressed", String(!on));
  $("#time").setAttribute("aria-pressed", String(on));
}

function all() {
  const on = $("#all").getAttribute("aria-pressed") !== "true";
  lanes.forEach((each) => each.set({ everything: on }));
  $("#all").setAttribute("aria-pressed", String(on));
}

const zoom = (by) => lanes.forEach((each) => each.zoom(by));

function stop() {
  clearInterval(player);
  player = 0;
  if ($("#play")) $("#play").textContent = "Play";
}

function play() {
  if (player) return stop();
  if (cursor === last()) go(lanes[0].columns[0] ?? 0);
  $("#play").textContent = "Pause";
  player = setInterval(() => { const before = cursor; move(1); if (before === cursor) stop(); }, 650);
}

const keys = {
  ArrowLeft: () => move(-1), ArrowRight: () => move(1), Home: () => go(0), End: () => go(last()),
  " ": play, n: () => conflict(1), t: () => timed(!lanes[0].timed), a: all, "+": () => zoom(1.5), "=": () => zoom(1.5),
  "-": () => zoom(1 / 1.5), f: () => lanes.forEach((each) => each.fit()), "/": () => $("#search").focus(),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return document.activeElement.blur();
  const typing = event.target.matches("input[type=search]");
  const own = event.target.matches("button, summary, input") && event.key === " ";
  const slides = event.target.matches("input[type=range]") && /^(Arrow|Home|End)/.test(event.key);
  if (!view?.runs.length || typing || own || slides || event.ctrlKey || event.metaKey || event.altKey) return;
  const action = keys[event.key];
  if (event.target.matches(".list") && /^Arrow(Up|Down)$/.test(event.key)) {
    event.preventDefault();
    return go(cursor + (event.key === "ArrowUp" ? -1 : 1));
  }
  if (action) { event.preventDefault(); if (event.key !== " ") stop(); action(); }
});

for (const each of data.stories) {
  for (const own of each.views) for (const run of own.runs) {
    run.haystack = (i) => `${run.steps[i].step} ${run.steps[i].process} ${run.picture.marks[i].text} ${run.steps[i].object} ${run.steps[i].call} ${run.steps[i].where}`.toLowerCase();
  }
}
$("#theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).getPropertyValue("--mode").trim() === "dark";
  document.documentElement.dataset.theme = dark ? "light" : "dark";
});
if (data.stories.length > 1) {
  $("nav").replaceChildren(...data.stories.map((each, index) => make("button", { "data-story": index, class: look(each), onclick: () => choose(index) }, badge(each), make("small", {}, each.result.scenario))));
}
if (data.stories.length) {
  const [first = 0, second = 0] = location.hash.slice(1).split(".").map(Number);
  choose(data.stories[first] ? first : 0, data.stories[first]?.views[second] ? second : 0);
}
