// What an operator asks for: sent until it is answered, and never silently dropped.

const AGAIN = 1000; // ms between two tries
const PATIENCE = 3000; // ms for one try
const TRIES = 30; // of anything but STOP, which is sent until it is answered

export class Commands {
  // changed: called whenever one of `list` has changed
  constructor(changed) {
    this.changed = changed;
    this.list = []; // {key, name, angle, at, status, text}, latest first
  }

  async send(name, angle) {
    const body = { key: newKey(), name, ...(angle === undefined ? {} : { angle }) };
    const command = { ...body, at: Date.now(), status: "sent", text: "sent" };
    this.list.unshift(command);
    this.changed();
    for (let n = 1; command.status !== "acknowledged" && command.status !== "refused"; n += 1) {
      if (n > TRIES && name !== "stop") {
        this._set(command, "lost", "no answer: the scan does not respond; given up, send it again");
        return;
      }
      const answered = await this._try(command, body);
      if (!answered && command.status !== "acknowledged") {
        this._set(command, "waiting", `no answer: the scan does not respond; trying again (${n})`);
        await new Promise((done) => setTimeout(done, AGAIN));
      }
    }
  }

  // An event of the stream that answers a command, perhaps before its own connection does.
  heard(content) {
    const command = this.list.find((one) => one.key === content.key);
    if (command) this._answered(command, content);
  }

  async _try(command, body) {
    try {
      const reply = await fetch("/api/wishes", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(PATIENCE),
      });
      if (reply.status === 202 || reply.status >= 500) return false;
      const answer = await reply.json();
      if (reply.ok) this._answered(command, answer);
      else this._set(command, "refused", `refused: ${answer.message ?? `status ${reply.status}`}`);
      return true;
    } catch {
      return false;
    }
  }

  _answered(command, answer) {
    if (!answer.granted) this._set(command, "refused", `refused: ${answer.why}`);
    else if (command.status !== "acknowledged") {
      command.angle = answer.angle ?? command.angle;
      command.took = Date.now() - command.at;
      this._set(command, "acknowledged", `acknowledged by event ${answer.event}`);
    }
  }

  _set(command, status, text) {
    Object.assign(command, { status, text });
    this.changed();
  }
}

// Also where the page is not served over TLS, and randomUUID is missing.
const newKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
