// What HTML cannot do alone: times that run, dialogs, whether the page is live, arrow keys in lists.
// Every page can be read, and every form sent, without this.

const UNITS_S = [86400, 3600, 60, 1];
const signs = document.body.dataset.units.split(" ");

/** The two largest units of a time, rounded up, as the server writes it: `9 min 58 s`. */
function duration(ms) {
  let left = Math.ceil(Math.max(0, ms) / 1000);
  const largest = UNITS_S.findIndex((length) => left >= length);
  if (largest < 0) return `0 ${signs.at(-1)}`;
  const parts = [];
  for (const place of [largest, largest + 1]) {
    const length = UNITS_S[place];
    const count = length ? Math.floor(left / length) : 0;
    left -= count * (length ?? 0);
    if (count) parts.push(`${count} ${signs[place]}`);
  }
  return parts.join(" ");
}

// ------------------------------------------------------------------------------ times that run

const begun = new WeakMap();

function note(root) {
  for (const time of root.querySelectorAll("time.ticking")) {
    if (!begun.has(time)) begun.set(time, Date.now());
  }
}

function tick() {
  for (const time of document.querySelectorAll("time.ticking")) {
    const since = Date.now() - (begun.get(time) ?? Date.now());
    const { leftMs, agoMs } = time.dataset;
    time.textContent = duration(leftMs === undefined ? Number(agoMs) + since : Number(leftMs) - since);
  }
  showLive();
}

// ------------------------------------------------------------------------------- is it live?

/** Without a word from the server for so long, in ms, nobody knows what has happened since. */
const SILENCE_MS = 12_000;
/** A hidden page gives its connection back after so long, in ms: browsers allow few to one host. */
const HIDDEN_MS = 30_000;

const live = document.getElementById("live");
const pause = document.getElementById("pause");
let heard = Date.now();
let broken = false;
let paused = false;
let source = null;
let hiding = null;

/** What the server keeps current; `null` on a page that stays as it is. */
function followed() {
  return document.querySelector("[sse-connect]");
}

function showLive() {
  if (!live || !followed()) return;
  const stale = broken || Date.now() - heard > SILENCE_MS;
  const state = paused ? "paused" : stale ? "stale" : "live";
  if (live.dataset.state === state) return;
  live.dataset.state = state;
  // An alert is read out when its text comes.
  const words = live.querySelector(".when-stale");
  words.textContent = state === "stale" ? words.dataset.text : "";
}

function refresh() {
  const here = location.pathname + location.search;
  const place = `#${followed().id}`;
  return htmx.ajax("GET", here, { target: place, select: place, swap: "outerHTML" });
}

document.body.addEventListener("htmx:sseOpen", (event) => {
  source = event.detail.source;
  heard = Date.now();
  broken = false;
  showLive();
});

document.body.addEventListener("htmx:sseError", () => {
  broken = true;
  showLive();
});

document.body.addEventListener("htmx:sseBeforeMessage", (event) => {
  heard = Date.now();
  broken = false;
  if (paused) event.preventDefault();
});

pause?.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? pause.dataset.goOn : pause.dataset.pause;
  if (!paused) refresh();
  showLive();
});

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) {
    hiding = setTimeout(() => source?.close(), HIDDEN_MS);
  } else if (source?.readyState === EventSource.CLOSED) {
    heard = Date.now();
    refresh();
  }
});

// ------------------------------------------------------------------- focus that survives news

let within = null;

document.body.addEventListener("htmx:sseBeforeMessage", ({ target }) => {
  within = target.contains(document.activeElement) ? target : null;
});

document.body.addEventListener("htmx:sseMessage", () => {
  // What had the focus is gone; the way on begins where it was.
  if (within && document.activeElement === document.body) within.focus({ preventScroll: true });
  within = null;
});

// ------------------------------------------------------------------------------------ dialogs

const dialog = document.getElementById("dialog");
const said = document.getElementById("said");

// Settled: htmx takes the form's keys and clicks by now.
document.body.addEventListener("htmx:afterSettle", ({ detail }) => {
  if (detail.target === dialog && !dialog.open) dialog.showModal();
  if (detail.target !== said) return;
  if (dialog.open) dialog.close();
  if (live && live.dataset.state !== "live") refresh();
});

dialog.addEventListener("click", (event) => {
  // A click on the backdrop has the dialog itself as its target.
  const leave = event.target === dialog || event.target.closest("[data-close]");
  if (!leave) return;
  event.preventDefault();
  dialog.close();
});

dialog.addEventListener("close", () => {
  // The browser gives the focus back to what opened it, if that is still there.
  const held = document.activeElement;
  const lost = held === document.body || dialog.contains(held);
  dialog.replaceChildren();
  if (lost) (document.getElementById("list") ?? said).focus({ preventScroll: true });
});

for (const failure of ["htmx:sendError", "htmx:timeout"]) {
  document.body.addEventListener(failure, () => {
    const words = document.createElement("p");
    words.className = "notice bad";
    words.textContent = said.dataset.unreachable;
    const place = dialog.open ? dialog.querySelector("[data-problem]") : null;
    (place ?? said).replaceChildren(words);
  });
}

// ------------------------------------------------------------------- arrow keys within a list

document.body.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const row = event.target.closest?.(".rows tbody tr");
  if (!step || !row || event.altKey || event.ctrlKey || event.metaKey) return;
  const links = [...row.querySelectorAll("a")];
  const others = (step > 0 ? row.nextElementSibling : row.previousElementSibling)?.querySelectorAll("a");
  if (!others?.length) return;
  event.preventDefault();
  const kind = event.target.id.split("-", 1)[0];
  const same = [...others].find((link) => link.id.startsWith(`${kind}-`));
  (same ?? others[Math.min(links.indexOf(event.target), others.length - 1)]).focus();
});

// -------------------------------------------------------------------------------------- start

if (pause && followed()) pause.hidden = false;
// What a form did that led here is read out, and not passed over.
if (said.firstElementChild) said.focus();
document.body.addEventListener("htmx:load", (event) => note(event.detail.elt));
note(document);
showLive();
setInterval(tick, 1000);
