// The panels of images: estimate, uncertainty, samples, and the projection as it came.

import { $, label, text } from "./dom.js";
import { Pictures, draw, range } from "./pictures.js";
import { profile } from "./plots.js";
import { SINGLE, degrees, number, plural } from "./words.js";

const SLOW = 1200; // ms of one sample

export class Images {
  constructor(view) {
    this.view = view;
    this.slice = this.sample = this.samples = 0;
    this._pictures = new Pictures();
    this._flipping = null;
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

  async _showSamples() {
    const latest = this.view.scan.draws.at(-1);
    if (!latest) return;
    const { slice, sample } = this;
    const place = `/api/images/${latest.told}?slice=${slice}&what=`;
    const [mean, deviation, one] = await Promise.all(
      ["mean", "std", `sample&sample=${sample}`].map((what) => this._pictures.fetch(place + what)),
    );
    const old = latest !== this.view.scan.draws.at(-1) || slice !== this.slice || sample !== this.sample;
    if (old || !mean || !deviation || !one) return;
    const levels = range(mean.values);
    this._values("estimate", mean, levels, this.view.unit.offset);
    const single = mean.samples < 2;
    if (single) deviation.values.fill(0);
    this._values("uncertainty", deviation, [0, range(deviation.values)[1]], 0);
    draw($("sample"), one, levels);
    this.samples = mean.samples;
    const of = `of ${plural(latest.told, "projection")}`;
    text("estimate-note", single ? of : `${of}, mean of ${plural(mean.samples, "sample")}`);
    text("uncertainty-note", single ? SINGLE : of);
    text("sample-note", `${of}, same greys`);
    text("sample-shown", `${sample + 1} of ${mean.samples}`);
    label("sample", `Sample ${sample + 1} of ${mean.samples}`);
    $("slice").max = mean.slices;
    $("slice").disabled = mean.slices < 2;
    text("slice-shown", `${slice + 1} of ${mean.slices}, row ${this._row}`);
    $("slice").ariaValueText = $("slice-shown").textContent;
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
