// Plots of a scan, in the colours of the page.

const CONFIG = { displayModeBar: false, scrollZoom: false, doubleClick: "reset" };

// Colours of Okabe and Ito, as the style sheet gives them to light and dark.
function colours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["text", "soft", "line", "taken", "next", "outstanding", "failed", "unusable"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function plot(place, traces, layout) {
  const ink = colours();
  const size = parseFloat(getComputedStyle(document.body).fontSize) - 2;
  const axis = {
    gridcolor: ink.line, linecolor: ink.soft, tickcolor: ink.soft, zeroline: false, automargin: true,
    ticks: "outside", ticklen: 3, fixedrange: true, title: { standoff: 4, font: { size } },
  };
  const whole = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
    font: { family: "system-ui, sans-serif", size, color: ink.text },
    margin: { l: 44, r: 10, t: 6, b: 32 }, hoverlabel: { font: { size } }, dragmode: false,
    ...layout,
    xaxis: { ...axis, ...layout.xaxis, title: { ...axis.title, ...layout.xaxis?.title } },
    yaxis: { ...axis, ...layout.yaxis, title: { ...axis.title, ...layout.yaxis?.title } },
  };
  if (layout.polar) delete whole.xaxis, delete whole.yaxis;
  if (!place.watched) {
    place.watched = new ResizeObserver(() => place.data && globalThis.Plotly.Plots.resize(place));
    place.watched.observe(place);
  }
  globalThis.Plotly.react(place, traces, whole, CONFIG);
}

// all: degrees that can be reached; the others: degrees by what became of them
export function angles(place, { all, taken, next, outstanding, forced, failed, unusable }) {
  const ink = colours();
  const size = parseFloat(getComputedStyle(document.body).fontSize);
  const first = [0, -90].find((start) => all.every((angle) => angle >= start && angle <= start + 180)); // of half a turn
  const half = first !== undefined;
  const marks = (degrees, name, marker) => ({
    type: "scatterpolar", mode: "markers", name, theta: degrees, r: degrees.map(() => 1),
    marker: { size: 9, line: { width: 1.6 }, ...marker }, cliponaxis: false,
    hovertemplate: `%{theta:.2f}° ${name}<extra></extra>`,
  });
  const spokes = (degrees, color, dash, width) => ({
    type: "scatterpolar", mode: "lines", theta: degrees.flatMap((angle) => [angle, angle, null]),
    r: degrees.flatMap(() => [0, 1, null]), line: { color, dash, width }, hoverinfo: "skip",
  });
  plot(place, [
    { ...marks(all, "can be reached", { size: 3, color: ink.soft, line: { width: 0 } }) },
    spokes(taken, ink.taken, "solid", 1.2),
    spokes(next, ink.next, "dash", 2),
    marks(taken, "taken", { size: 7, color: ink.taken, line: { width: 0 } }),
    marks(failed, "failed", { symbol: "x-thin", line: { width: 2.5, color: ink.failed } }),
    marks(unusable, "unusable", { symbol: "square-x-open", color: ink.unusable, size: 10 }),
    marks(outstanding, "outstanding", { symbol: "diamond-open", color: ink.outstanding, size: 10 }),
    marks(forced, "forced, waiting", { symbol: "triangle-up-open", color: ink.outstanding, size: 11 }),
    marks(next, "next", { symbol: "star-diamond", color: ink.next, size: 14, line: { width: 0 } }),
  ], {
    margin: { l: 2 * size, r: 2 * size, t: 1.6 * size, b: half ? 8 : 1.6 * size },
    polar: {
      sector: half ? [0, 180] : [0, 360], bgcolor: "rgba(0,0,0,0)",
      radialaxis: { visible: false, range: [0, 1.04], fixedrange: true },
      angularaxis: {
        gridcolor: ink.line, linecolor: ink.soft, tickcolor: ink.soft, ticksuffix: "°", dtick: 30, fixedrange: true,
        rotation: half ? -first : 0,
      },
    },
  });
}

// gains: by angle, null where none is predicted; chosen: degrees
export function gain(place, { all, gains, chosen, taken }) {
  const ink = colours();
  const order = all.map((_, n) => n).sort((a, b) => all[a] - all[b]);
  const highest = Math.max(...gains.filter((value) => value != null));
  const share = (value) => (value == null ? null : value / (highest || 1));
  const at = all.indexOf(chosen);
  plot(place, [
    {
      type: "scatter", mode: "lines", x: order.map((n) => all[n]), y: order.map((n) => share(gains[n])),
      line: { color: ink.taken, width: 1.6 }, fill: "tozeroy", fillcolor: `${ink.taken}22`,
      hovertemplate: "%{x:.2f}°: %{y:.3f}<extra></extra>",
    },
    {
      type: "scatter", mode: "markers", x: taken, y: taken.map(() => 0), hoverinfo: "skip", cliponaxis: false,
      marker: { symbol: "line-ns", size: 7, line: { width: 1.4, color: ink.taken } },
    },
    {
      type: "scatter", mode: "markers", x: [chosen], y: [share(gains[at])], cliponaxis: false,
      marker: { symbol: "star-diamond", size: 13, color: ink.next },
      hovertemplate: "%{x:.2f}° chosen<extra></extra>",
    },
  ], {
    xaxis: { title: { text: "angle (degrees)" }, dtick: 30, range: [Math.min(...all), Math.max(...all)] },
    yaxis: { title: { text: "relative" }, range: [0, 1.12], tickvals: [0, 0.5, 1] },
    margin: { l: 44, r: 12, t: 4, b: 32 },
  });
}

// drawn: [{told, spread}]; expected: [{told, spread}], by the trend
export function spread(place, { drawn, expected, budget, unit }) {
  const ink = colours();
  const x = (list) => list.map((one) => one.told);
  const y = (list) => list.map((one) => one.spread);
  plot(place, [
    {
      type: "scatter", mode: "lines", x: x(expected), y: y(expected), hoverinfo: "skip",
      line: { color: ink.soft, dash: "dot", width: 1.6 },
    },
    {
      type: "scatter", mode: "lines+markers", x: x(drawn), y: y(drawn), line: { color: ink.taken, width: 1.6 },
      marker: { size: 5 }, hovertemplate: `%{x} projections: %{y:.3g} ${unit}<extra></extra>`,
    },
  ], {
    xaxis: { title: { text: "projections" }, range: [0, budget * 1.03], nticks: 8, tickformat: "d" },
    yaxis: { title: { text: unit }, rangemode: "tozero", nticks: 4 },
    shapes: [{ type: "line", x0: budget, x1: budget, yref: "paper", y0: 0, y1: 1, line: { color: ink.soft, dash: "dash", width: 1 } }],
  });
}

// values: along one row of the detector
export function profile(place, { values, unit }) {
  const ink = colours();
  plot(place, [{
    type: "scatter", mode: "lines", y: [...values], line: { color: ink.taken, width: 1.2 },
    hovertemplate: "column %{x}: %{y:.4g}<extra></extra>",
  }], {
    xaxis: { title: { text: "column" }, range: [0, values.length - 1], nticks: 6 },
    yaxis: { title: { text: unit }, nticks: 4 },
  });
}
