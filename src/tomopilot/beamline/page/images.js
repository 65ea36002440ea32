// The panels of images: estimate, uncertainty, samples, and the projection as it came.

import { $, label, text } from "./dom.js";
import { Pictures, draw, range } from "./pictures.js";
import { profile } from "./plots.js";
import { NONE, SINGLE, degrees, number, plural } from "./words.js";

const SLOW = 1200; // ms of one sample
const CLEAR = 5; // standard deviations of noise that are white; less than predicted by so many is black

export class Images {
  constructor(view) {
    this.view = view;
    this.slice = this.sample = this.samples = 0;
    this._pictures = new Pictures();
    this._flipping = null;
    this._second = "std"; // beside the estimate: its deviation, or what was unpredicted
  }

  show() {
    return Promise.all([this._showSamples(), this._showFrame()]).catch(() => {}); // STALE says that nobody answers
  }

  toSlice(slice) {
    this.slice = Math.min(Math.max(0, slice), $("slice").max - 1);
    $("slice").value = this.slice + 1;
    this.show();
  }

  turn(step) {
    if (!this.samples) return;
    this.sample = (this.sample + step + this.samples) % this.samples;
    this.show();
  }

  flip() {
    if (this._flipping) clearInterval(this._flipping);
    this._flipping = this._flipping ? null : setInterval(() => this.turn(1), SLOW);
    $("flip").ariaPressed = String(this._flipping !== null);
  }

  doubt() {
    this._second = this._second === "std" ? "unpredicted" : "std";
    $("doubt").ariaPressed = String(this._second !== "std");
    this.show();
  }

  async _showSamples() {
    const latest = this.view.scan.draws.at(-1);
    if (!latest) return;
    const { slice, sample, _second: second } = this;
    const place = `/api/images/${latest.told}?slice=${slice}&what=`;
    const there = second === "std" || this.view.scan.predicted(latest.told);
    const [mean, doubt, one] = await Promise.all(
      ["mean", there && second, `sample&sample=${sample}`].map((what) => what && this._pictures.fetch(place + what)),
    );
    const same = slice === this.slice && sample === this.sample && second === this._second;
    const found = mean && one && (doubt || second !== "std");
    if (!same || latest !== this.view.scan.draws.at(-1) || !found) return;
    const levels = range(mean.values);
    this._values("estimate", mean, levels, this.view.unit.offset);
    const of = `of ${plural(latest.told, "projection")}`;
    if (second === "std") this._showDeviation(doubt, of);
    else this._showUnpredicted(doubt || { ...mean, values: new Float32Array(mean.values.length) }, doubt ? of : NONE);
    draw($("sample"), one, levels);
    this.samples = mean.samples;
    text("estimate-note", mean.samples < 2 ? of : `${of}, mean of ${plural(mean.samples, "sample")}`);
    text("sample-note", `${of}, same greys`);
    text("sample-shown", `${sample + 1} of ${mean.samples}`);
    label("sample", `Sample ${sample + 1} of ${mean.samples}`);
    $("slice").max = mean.slices;
    $("slice").disabled = mean.slices < 2;
    text("slice-shown", `${slice + 1} of ${mean.slices}, row ${this._row}`);
    $("slice").ariaValueText = $("slice-shown").textContent;
  }

  _showDeviation(deviation, of) {
    const single = deviation.samples < 2;
    if (single) deviation.values.fill(0);
    this._values("uncertainty", deviation, [0, range(deviation.values)[1]], 0);
    text("uncertainty-note", single ? SINGLE : of);
    text("doubt-shown", "Standard deviation of the samples");
  }

  _showUnpredicted(image, note) {
    draw($("uncertainty"), image, [-CLEAR, CLEAR]);
    text("uncertainty-low", `\u2264 \u2212${CLEAR}`);
    text("uncertainty-high", `\u2265 ${CLEAR} times the noise`);
    text("uncertainty-note", note);
    text("doubt-shown", "White: the data had more");
    label("uncertainty", `What the samples did not predict, slice ${this.slice + 1} of ${image.slices}`);
  }

  // The row of the detector that the slice is.
  get _row() {
    return this.view.setup.slices[this.slice];
  }

  _values(id, image, [low, high], offset) {
    const { factor, unit } = this.view.unit;
    const [darkest, brightest] = [low, high].map((value) => number(value * factor + offset));
    draw($(id), image, [low, high]);
    text(`${id}-low`, low ? `\u2264 ${darkest}` : darkest);
    text(`${id}-high`, `\u2265 ${brightest} ${unit}`);
    label(id, `${id}, slice ${this.slice + 1} of ${image.slices}, ${darkest} to ${brightest} ${unit}`);
  }

  async _showFrame() {
    const { scan, setup } = this.view;
    const [came, row] = [scan.frame, this._row];
    if (!came) return;
    const [whole, line] = await Promise.all(
      ["", `?row=${row}`].map((which) => this._pictures.fetch(`/api/frames/${came.number}${which}`)),
    );
    if (came !== scan.frame || row !== this._row || !whole || !line) return;
    const [low, high] = range(whole.values);
    const what = setup.counts ? "counts" : "line integral";
    const ceiling = setup.ceiling ?? (whole.saturated ? Math.max(...whole.values) : Infinity);
    draw($("frame"), whole, [low, high], (value) => !Number.isFinite(value) || value >= ceiling);
    text("frame-low", `\u2264 ${number(low)}`);
    text("frame-high", `\u2265 ${number(high)} ${what}`);
    profile($("profile"), { values: line.values, unit: `${what}, row ${row}` });
    const { angle, number: count, reason } = came.content;
    text("frame-note", `${degrees(angle)}, ${reason ? "left out" : `number ${count}`}`);
    const flags = `${plural(whole.saturated, "value")} saturated, ${whole.bad} unusable`;
    text("frame-flags", reason ? `Left out: ${reason}. ${flags}` : flags);
    $("frame-flags").className = reason || whole.saturated || whole.bad ? "flags loud" : "flags";
    label("frame", `Projection at ${degrees(angle)}, ${number(low)} to ${number(high)} ${what}. ${$("frame-flags").textContent}`);
    label("profile", `Profile of row ${row}`);
  }
}
