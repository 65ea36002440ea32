// Numbers, times and events as people read them.

export const number = (value, digits = 3) =>
  value == null || !Number.isFinite(value) ? "unknown" : String(Number(value.toPrecision(digits)));

export const degrees = (value) => `${Number(value.toFixed(2))}°`;

export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

export function duration(seconds) {
  if (seconds < 90) return `${number(seconds, 2)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${number(seconds / 3600, 2)} h`;
}

// Image values as attenuation: per length where the size of a pixel is known.
export function attenuation(setup) {
  const bins = setup.bins ?? setup.columns;
  if (setup.pixel_size == null) return { factor: setup.scale, offset: setup.offset, unit: "per pixel" };
  const centimetres = (100 * setup.pixel_size * setup.columns) / bins;
  return { factor: setup.scale / centimetres, offset: setup.offset / centimetres, unit: "1/cm" };
}

export const WISHES = {
  stop: "Stop",
  pause: "Pause",
  resume: "Resume",
  force: "Measure next",
  uniform: "Finish uniformly",
  adaptive: "Adaptive again",
};

const BY = { operator: "the operator", again: "repetition", uniform: "uniform order" };

export const chosenBy = (suggestion) => BY[suggestion.by] ?? suggestion.by;

// Why a suggestion is not what the policy makes of all that was measured, or null.
export function instead(suggestion, policy) {
  if (suggestion.why == null) return null;
  if (suggestion.by === policy) return `chosen by ${suggestion.why}: the latest were not ready in time`;
  return `chosen by ${suggestion.by} instead of ${policy}: ${suggestion.why}`;
}

export const SINGLE = "not known: a single image";

export const NONE = "no projection was predicted yet";

const SIGNS = {
  surprise: "the projections are not what the samples predict",
  strangeness: "the data move the samples unlike those of known images",
};

export const alarmed = (alarm, left) =>
  `ALARM since projection ${alarm.at}: the samples do not fit the data (${SIGNS[alarm.by] ?? alarm.by}). ` +
  "Another material, rotation axis or pixel size? " +
  (left
    ? `They predicted worse than a reconstruction without the prior: from projection ${left} on the estimate is made without it, and an adaptive policy goes on in uniform order.`
    : "They predict no worse than a reconstruction without the prior, so the scan goes on with it; take the uncertainty for a lower bound.");

const LINES = {
  begun: () => "The scan began",
  flats: (content) => `${plural(content.count, "flat field")} taken`,
  darks: (content) => `${plural(content.count, "dark field")} taken`,
  suggested: (content, policy) => {
    const late = instead(content, policy);
    return `${degrees(content.angle)} suggested, ${late ?? `by ${chosenBy(content)}`}`;
  },
  told: (content) => {
    const surprise = content.surprise == null ? "" : `, surprise ${number(content.surprise, 2)}`;
    return `Projection ${content.number} at ${degrees(content.angle)}${surprise}`;
  },
  quarantined: (content) => `Projection at ${degrees(content.angle)} left out: ${content.reason}`,
  failed: (content) => `Suggestion ${content.id} failed: ${content.reason}`,
  drawn: (content) => `Samples of ${plural(content.told, "projection")} drawn`,
  trouble: (content) => `No samples of ${plural(content.told, "projection")}: ${content.message}`,
  alarm: (content) => `ALARM at projection ${content.at}: the samples do not fit the data`,
  left: (content) => `The prior is left at projection ${content.at}: without it, projections are predicted better`,
  wish: (content) => {
    const what = WISHES[content.name] ?? content.name;
    const angle = content.angle == null ? "" : `: ${degrees(content.angle)}`;
    return content.granted ? `${what}${angle} (operator)` : `${what} refused: ${content.why}`;
  },
  finished: (content) => `Finished: ${content.reason}`,
};

// Null for what says nothing to people.
export const line = (event, policy) => LINES[event.kind]?.(event.content, policy) ?? null;

const LOUD = new Set(["quarantined", "failed", "trouble", "alarm", "left"]);
const QUIET = new Set(["suggested", "drawn"]);

export function weight(event) {
  if (LOUD.has(event.kind) || (event.kind === "wish" && !event.content.granted)) return "loud";
  if (event.content.why) return "loud";
  return QUIET.has(event.kind) ? "quiet" : "plain";
}
