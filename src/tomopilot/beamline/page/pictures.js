// Images on canvases, in one grey scale: black at the lower end of their range and below, white at the upper.

const KEPT = 2 ** 24; // values of images that need not be fetched again
const OUTSIDE = 0.002; // share of values beyond either end of a range

export class Pictures {
  constructor() {
    this._known = new Map();
    this._kept = 0;
  }

  // {values, rows, columns, slices, samples, saturated, bad}, or null where there is none
  async fetch(path) {
    if (this._known.has(path)) return this._known.get(path);
    const reply = await fetch(path);
    if (!reply.ok) return null;
    const head = (name) => Number(reply.headers.get(`X-${name}`));
    const found = {
      values: new Float32Array(await reply.arrayBuffer()),
      rows: head("Rows"),
      columns: head("Columns"),
      slices: head("Slices"),
      samples: head("Samples"),
      saturated: head("Saturated"),
      bad: head("Bad"),
    };
    if ((this._kept += found.values.length) > KEPT) {
      this._known.clear();
      this._kept = found.values.length;
    }
    this._known.set(path, found);
    return found;
  }
}

// The values between which nearly all finite ones are: single bright pixels do not darken the others.
export function range(values) {
  const sorted = values.filter(Number.isFinite).sort();
  if (!sorted.length) return [0, 1];
  const few = Math.floor(OUTSIDE * sorted.length);
  return [sorted[few], sorted[sorted.length - 1 - few]];
}

// flagged: whether a value is shown in colour, as one that cannot be used
export function draw(canvas, { values, rows, columns }, [low, high], flagged = (value) => !Number.isFinite(value)) {
  if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const step = 255 / (high - low || 1);
  for (let n = 0; n < values.length; n += 1) {
    const grey = (values[n] - low) * step;
    image.data.set(flagged(values[n]) ? [213, 94, 0, 255] : [grey, grey, grey, 255], 4 * n);
  }
  context.putImageData(image, 0, 0);
}
