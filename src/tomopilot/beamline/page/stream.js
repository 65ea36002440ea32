// The numbered events of a scan, each once and in order, and signs of life.

const KINDS = [
  "begun", "flats", "darks", "suggested", "told", "quarantined", "failed", "drawn", "used", "trouble",
  "alarm", "left", "wish", "finished",
];
const STALE = 1500; // ms without a sign of life, so that it is seen within two seconds
const SILENT = 6000; // ms, after which a connection is taken for dead
const LOOK = 200; // ms between two looks

export class Stream {
  // on: {event, beat, stale(why or null)}
  constructor(on) {
    this.on = on;
    this.last = 0; // number of the latest event
    this.gaps = 0;
    this.duplicates = 0;
    this.news = null; // ms of the latest sign of life, of this page's clock
    this.why = null; // it is stale
    this.alive = null; // whether somebody holds the scan
    this.barred = false; // the service does not know this browser
    this._heard = this._looked = performance.now();
    this._connect();
    setInterval(() => this._look(), LOOK);
  }

  _connect() {
    this._source?.close();
    this._tried = performance.now();
    this._source = new EventSource(`/api/events?after=${this.last}`);
    for (const kind of KINDS) this._source.addEventListener(kind, (message) => this._event(message));
    this._source.addEventListener("beat", (message) => this._beat(JSON.parse(message.data)));
    this._source.addEventListener("error", () => this._ask());
  }

  _event(message) {
    const event = JSON.parse(message.data);
    if (event.number <= this.last) {
      this.duplicates += 1;
      return;
    }
    this.gaps += event.number - this.last - 1;
    this.last = event.number;
    this.on.event(event);
  }

  _beat({ alive, event }) {
    if (event < this.last) location.reload(); // another scan is served here now
    this._heard = performance.now();
    this.alive = alive;
    if (alive) this.news = Date.now();
    this._look();
    this.on.beat();
  }

  // Whether the service rejects this browser, as after a restart with another token.
  async _ask() {
    try {
      this.barred = [401, 403].includes((await fetch("/api/state")).status);
    } catch {
      this.barred = false;
    }
  }

  _look() {
    const now = performance.now();
    const asleep = now - this._looked > 1000; // the browser slept: what came meanwhile is read first
    this._looked = now;
    if (asleep) return;
    const silent = now - this._heard;
    const closed = this._source.readyState === EventSource.CLOSED;
    if ((closed || silent > SILENT) && now - this._tried > (closed ? 1000 : SILENT)) this._connect();
    this._say(silent > STALE ? (this.barred ? "barred" : "silent") : this.alive === false ? "unheld" : null);
  }

  _say(why) {
    if (why === this.why) return;
    this.why = why;
    this.on.stale(why);
  }
}
