// The operator's page: listens to a scan, shows it, and sends what the operator asks for.

import { Commands } from "./commands.js";
import { $, read, text } from "./dom.js";
import { Images } from "./images.js";
import * as panels from "./panels.js";
import { Scan } from "./scan.js";
import { Stream } from "./stream.js";
import { attenuation, clock, duration } from "./words.js";

const CONFIRM = 4000; // ms within which STOP by keyboard has to be confirmed
const SOON = 60; // ms in which news is gathered before it is shown
const STALE = {
  silent: "the service does not answer",
  unheld: "nobody holds the scan: its process has ended or hangs",
  barred: "the service does not know this browser any more: open the address that it printed",
};

const view = { scan: new Scan(), setup: null, state: null, all: [], unit: null };
const images = new Images(view);
const commands = new Commands(() => panels.showCommands(commands.list));
let [stream, waiting, logged, armed] = [null, null, 0, null];

// --- news

function heard(event) {
  view.scan.apply(event);
  if (event.kind === "wish") commands.heard({ ...event.content, event: event.number });
  soon();
}

function soon() {
  waiting ??= setTimeout(refresh, SOON);
}

async function refresh() {
  try {
    view.state = await read("/api/state");
    show();
  } catch {
    // the service is gone: STALE says so, and this is tried again with the next news
  }
  waiting = null;
}

function show() {
  panels.showHead(view);
  panels.showStates(view);
  panels.showControls(view);
  panels.showAngles(view);
  panels.showProgress(view);
  panels.showLog(view.scan.events.slice(logged), view.setup.policy);
  logged = view.scan.events.length;
  images.show();
}

function beat() {
  Object.assign(document.body.dataset, { event: stream.last, gaps: stream.gaps, duplicates: stream.duplicates });
  if (view.state && view.state.event < stream.last) soon();
}

function stale(why) {
  document.body.classList.toggle("old", why !== null);
  $("stale").hidden = why === null;
  const since = stream.news ? clock(stream.news / 1000) : "never";
  text("stale", why ? `STALE. Last news ${since}: ${STALE[why]}. What you see may be out of date.` : "");
  if (why === null) soon();
}

function age() {
  const seconds = stream.news ? (Date.now() - stream.news) / 1000 : null;
  text("news", seconds === null ? "no news yet" : seconds < 2 ? "live" : `last news ${duration(seconds)} ago`);
}

// --- commands

function stop(sure) {
  clearTimeout(armed);
  armed = sure ? null : setTimeout(disarm, CONFIRM);
  $("stop").classList.toggle("armed", !sure);
  text("stop", sure ? "STOP" : "Press again to stop");
  if (sure) commands.send("stop");
}

function disarm() {
  armed = null;
  $("stop").classList.remove("armed");
  text("stop", "STOP");
}

const byKeyboard = () => !$("stop").disabled && stop(armed !== null);
const pause = () => !$("pause").disabled && commands.send(view.state?.mode === "paused" ? "resume" : "pause");

$("stop").addEventListener("click", (click) => (click.detail ? stop(true) : byKeyboard()));
$("pause").addEventListener("click", pause);
$("uniform").addEventListener("click", () => commands.send(view.state?.uniform ? "adaptive" : "uniform"));
$("force").addEventListener("submit", (submit) => {
  submit.preventDefault();
  commands.send("force", $("angle").valueAsNumber);
  $("angle").value = "";
});
$("slice").addEventListener("input", () => images.toSlice($("slice").valueAsNumber - 1));
$("earlier").addEventListener("click", () => images.turn(-1));
$("later").addEventListener("click", () => images.turn(1));
$("flip").addEventListener("click", () => images.flip());
$("doubt").addEventListener("click", () => images.doubt());

const KEYS = {
  s: byKeyboard,
  p: pause,
  f: () => images.flip(),
  u: () => images.doubt(),
  ArrowLeft: () => images.turn(-1),
  ArrowRight: () => images.turn(1),
  ArrowUp: () => images.toSlice(images.slice + 1),
  ArrowDown: () => images.toSlice(images.slice - 1),
};

document.addEventListener("keydown", (press) => {
  const letter = press.key.length === 1;
  const key = letter ? press.key.toLowerCase() : press.key;
  const own = !letter && press.target.closest("input, #log, #commands"); // arrows mean something there
  if (own || press.repeat || press.ctrlKey || press.metaKey || press.altKey || !(key in KEYS)) return;
  press.preventDefault();
  KEYS[key]();
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view.state && show());

// --- start

async function start() {
  try {
    [view.setup, view.all] = await Promise.all([read("/api/setup"), read("/api/angles")]);
  } catch {
    setTimeout(start, 1000);
    return;
  }
  view.unit = attenuation(view.setup);
  text("method", [view.setup.prior, view.setup.posterior, view.setup.policy].filter(Boolean).join(", "));
  stream = new Stream({ event: heard, beat, stale });
  setInterval(age, 250);
}

start();
