// What the events of a scan add up to, for plots and words.

export class Scan {
  constructor() {
    this.events = [];
    this.suggestions = new Map(); // by id
    this.told = []; // contents, with the event's time
    this.draws = [];
    this.frame = null; // the latest event that brought a projection
    this.scored = null; // the latest suggestion with a predicted gain
  }

  // event: {number, kind, content, at}
  apply(event) {
    this.events.push(event);
    this[`_${event.kind}`]?.(event.content, event);
  }

  get latest() {
    return [...this.suggestions.values()].at(-1) ?? null;
  }

  // Angles that were exposed or asked for in vain.
  get missed() {
    return [...this.suggestions.values()].filter((one) => one.reason);
  }

  get pace() {
    const times = this.told.slice(-6).map((one) => one.at);
    return times.length < 2 ? null : (times.at(-1) - times[0]) / (times.length - 1);
  }

  get surprise() {
    return this.told.at(-1)?.surprise ?? null;
  }

  // Whether samples predicted any of the first projections.
  predicted(count) {
    return this.told.slice(0, count).some((one) => one.surprise != null);
  }

  // Draws of several samples: a single image has no spread.
  get spreads() {
    return this.draws.filter((one) => one.spread !== null);
  }

  // Spread expected after so many projections, by the trend of the latest half of the samples.
  expected(count) {
    const known = this.spreads.slice(-Math.max(3, Math.ceil(this.spreads.length / 2)));
    if (known.length < 3) return null;
    const [x, y] = [known.map((one) => Math.log(one.told)), known.map((one) => Math.log(one.spread))];
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [middle, level] = [mean(x), mean(y)];
    const width = mean(x.map((value) => (value - middle) ** 2));
    const slope = mean(x.map((value, n) => (value - middle) * (y[n] - level))) / width;
    return Math.exp(level + slope * (Math.log(count) - middle));
  }

  _suggested(content) {
    this.suggestions.set(content.id, { ...content });
    if (content.gain) this.scored = content;
  }

  _told(content, event) {
    this.told.push({ ...content, at: event.at });
    this.frame = event;
  }

  _quarantined(content, event) {
    this._failed(content);
    this.frame = event;
  }

  _failed(content) {
    const suggestion = this.suggestions.get(content.id);
    if (suggestion) suggestion.reason = content.reason;
  }

  _drawn(content) {
    this.draws.push(content);
  }
}
