// What is shown of a scan besides its images. `view` holds setup, state, scan, all angles, and unit.

import { $, element, label, text } from "./dom.js";
import * as plots from "./plots.js";
import * as words from "./words.js";

const SHOWN = 300; // events in the log

export const over = (state) => state.mode === "stopped" || state.mode === "finished";

export function showHead({ state }) {
  document.title = `${state.measured}/${state.budget} ${state.mode}: ${state.name}`;
  text("name", state.name);
  text("mode", state.mode);
  $("mode").className = `mode ${state.mode}`;
  text("count", String(state.measured));
  text("budget", `of ${state.budget} projections`);
  const [next] = state.outstanding;
  text("next-angle", next ? words.degrees(next.angle) : "none");
  text("next-by", next ? `next, by ${words.chosenBy(next)}` : "outstanding");
}

export function showStates(view) {
  const list = states(view);
  const made = JSON.stringify(list);
  if ($("states").dataset.made === made) return; // else it would be read aloud again
  $("states").dataset.made = made;
  $("states").replaceChildren(...list.map(([level, content]) => {
    const item = element("li", content, level);
    if (level === "alarm") item.role = "alert";
    return item;
  }));
}

function states({ setup, state, scan, all }) {
  const list = [];
  if (state.mode !== "running") list.push([over(state) ? "plain" : "warn", `The scan is ${state.mode}: ${state.why}`]);
  if (state.stuck) list.push(["alarm", `Nothing can be put on disk: ${state.stuck}. Make room; the scan then goes on`]);
  if (state.alarm) list.push(["alarm", words.alarmed(state.alarm, state.without_prior)]);
  else if (scan.surprise !== null) {
    const surprise = words.number(scan.surprise, 2);
    list.push(["good", `No alarm. Surprise of the latest projection ${surprise}, about 1 where the samples fit the data`]);
  }
  if (state.trouble) list.push(["warn", words.line({ kind: "trouble", content: state.trouble })]);
  for (const { id } of state.outstanding) {
    const one = scan.suggestions.get(id);
    const late = one && words.instead(one, setup.policy);
    if (late) list.push(["warn", `${words.degrees(one.angle)} was ${late}`]);
  }
  if (state.flats_due) list.push(["warn", "Flat fields are due before the next projection"]);
  if (state.uniform) list.push(["plain", "The rest is measured in uniform order"]);
  for (const [design, why] of Object.entries(state.unusable)) {
    list.push(["warn", `${words.degrees(all[design])} is unusable: ${why}`]);
  }
  return list;
}

export function showControls({ state }) {
  const done = over(state);
  text("control-note", done ? `The scan is ${state.mode}: nothing more can be asked of it.` : "");
  for (const control of document.querySelectorAll(".buttons button, #force button, #force input")) control.disabled = done;
  text("pause", state.mode === "paused" ? "Resume" : "Pause");
  text("uniform", state.uniform ? "Adaptive again" : "Finish uniformly");
  if (!$("stop").classList.contains("armed")) text("stop", done ? state.mode.toUpperCase() : "STOP");
  $("stop").disabled = done;
}

export function showAngles({ setup, state, scan, all }) {
  const taken = state.angles;
  const [next, ...outstanding] = state.outstanding.map((one) => one.angle);
  const nexts = next === undefined ? [] : [next];
  const unusable = Object.keys(state.unusable).map((design) => all[design]);
  const open = (angle) => !unusable.includes(angle) && !taken.some((one) => Math.abs(one - angle) <= setup.tolerance);
  const failed = scan.missed.map((one) => one.angle).filter(open);
  const { forced } = state;
  plots.angles($("angles"), { all, taken, next: nexts, outstanding, forced, failed, unusable });
  const said = { taken: taken.join(), next: nexts.join(), forced: forced.join(), unusable: unusable.join() };
  Object.assign($("angles").dataset, said);
  const waiting = forced.length ? `; forced, waiting: ${forced.map(words.degrees).join(", ")}` : "";
  text("angles-note", `${taken.length} taken of ${all.length} that can be reached${waiting}`);
  const list = (angles) => angles.map(words.degrees).join(", ") || "none";
  label("angles", `Taken: ${list(taken)}. Next: ${list(nexts)}. Forced, waiting: ${list(forced)}. Failed: ${list(failed)}. Unusable: ${list(unusable)}.`);
  showGain(scan, setup, all, taken);
}

function showGain({ scored, latest }, setup, all, taken) {
  if (!scored) {
    text("gain-note", `none before projection ${setup.start + 1}, or by ${setup.policy}`);
    return;
  }
  const old = scored.id !== latest.id ? `; latest by ${words.chosenBy(latest)}` : "";
  text("gain-note", `${words.degrees(scored.angle)} chosen${old}`);
  plots.gain($("gain"), { all, gains: scored.gain, chosen: scored.angle, taken });
  label("gain", `Predicted gain over all angles, made for ${words.degrees(scored.angle)}`);
}

// Projections that all budgets still allow, and the budget that ends first.
function remaining({ budget, budgets, measured, spent }) {
  const left = [[budget - measured, "budget of projections"]];
  for (const [name, called] of [["dose", "dose budget"], ["seconds", "time budget"]]) {
    const each = measured && spent[name] / measured;
    if (budgets[name] != null && each) left.push([Math.floor((budgets[name] - spent[name]) / each + 1e-9), called]);
  }
  const [count, why] = left.reduce((least, one) => (one[0] < least[0] ? one : least));
  return [Math.max(0, count), why];
}

export function showProgress({ setup, state, scan, unit }) {
  const { spent, budgets } = state;
  const rows = [
    ["Projections", state.measured, state.budget, ""],
    ["Dose", spent.dose, budgets.dose, budgets.unit],
    ["Time", spent.seconds, budgets.seconds, "s"],
  ].filter(([, value, most]) => value || most != null);
  $("budgets").replaceChildren(...rows.flatMap(row));
  const [left, why] = remaining(state);
  const pace = scan.pace && left ? `, about ${words.duration(left * scan.pace)} at this pace` : "";
  const certain = setup.certain == null ? "" : `, or fewer once ${words.number(setup.certain)} dB are expected`;
  const done = over(state);
  text("progress-note", done ? `The scan is ${state.mode}: ${state.why}` : `${left} more (${why})${certain}${pace}`);
  if (scan.draws.length) showSpread(scan, unit, state.budget, done ? 0 : state.measured + left);
}

function row([name, value, most, what]) {
  const bar = element("dd");
  if (most != null) {
    bar.append(Object.assign(element("progress"), { value: value / most, ariaLabel: name }));
  }
  const amount = most == null ? words.number(value, 4) : `${words.number(value, 4)} of ${words.number(most, 4)}`;
  return [element("dt", name), bar, element("dd", `${amount} ${what}`.trim())];
}

// end: projections that are expected in all
function showSpread(scan, unit, budget, end) {
  const drawn = scan.spreads.map(({ told, spread }) => ({ told, spread: spread * unit.factor }));
  const latest = scan.draws.at(-1);
  const now = latest.spread === null ? null : drawn.at(-1);
  const expected = [];
  for (let told = now?.told ?? Infinity; told <= end; told += 1) {
    const spread = scan.expected(told);
    if (spread !== null) expected.push({ told, spread: spread * unit.factor });
  }
  const later = expected.length > 1 ? `, ${words.number(expected.at(-1).spread)} expected after ${end}` : "";
  const dB = latest.expected;
  const quality = dB == null ? "" : `; the estimate is expected to have ${words.number(dB, 3)} dB`;
  const known = now ? `${words.number(now.spread)} ${unit.unit} after ${now.told}` : words.SINGLE;
  text("spread-note", `${known}${later}${quality}`);
  plots.spread($("spread"), { drawn, expected, budget, unit: unit.unit });
  label("spread", $("spread-note").textContent);
}

// fresh: events that are not in the log yet
export function showLog(fresh, policy) {
  const said = fresh.map((one) => [one, words.line(one, policy)]).filter(([, line]) => line !== null);
  const lines = said.slice(-SHOWN).map(([one, line]) => {
    const item = element("li", "", words.weight(one));
    item.append(element("time", words.clock(one.at)), element("span", line));
    item.title = `event ${one.number}`;
    return item;
  });
  $("log").prepend(...lines.reverse());
  while ($("log").childElementCount > SHOWN) $("log").lastElementChild.remove();
}

export function showCommands(list) {
  $("commands").replaceChildren(...list.map((one) => {
    const angle = one.angle === undefined ? "" : ` ${words.degrees(one.angle)}`;
    const took = one.took === undefined ? "" : ` after ${words.number(one.took / 1000, 2)} s`;
    return element("li", `${words.clock(one.at / 1000)} ${words.WISHES[one.name]}${angle}: ${one.text}${took}`, one.status);
  }));
}
