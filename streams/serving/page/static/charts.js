// Charts: a row of the forest plot, bars, a reliability diagram, and series by uPlot.

import { percent, svg } from "/page/static/dom.js";

export function bar(share, kind = "") {
  const width = Math.max(0, Math.min(100, 100 * (share || 0)));
  return svg("svg", { class: `bar ${kind}`, viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", width: 100, height: 6 }), svg("rect", { class: "fill", width: width.toFixed(1), height: 6 }));
}

// Chooses the ends of the forest's axis: all estimates and, as far as they are sensible, all bounds.
export function forestScale(lifts) {
  const bounds = lifts.flatMap((lift) => [...lift.anytime95, ...lift.ci95]);
  const low = Math.max(-1, Math.min(-0.1, ...bounds));
  const high = Math.min(3, Math.max(0.1, ...bounds));
  return (value) => (1000 * (Math.min(Math.max(value, low), high) - low)) / (high - low);
}

export function forestRow(lift, scale, label) {
  const at = (value) => scale(value).toFixed(1);
  return svg("svg", { class: "forest-row", viewBox: "0 0 1000 40", preserveAspectRatio: "none", role: "img", "aria-label": label },
    svg("line", { class: "zero", x1: at(0), x2: at(0), y1: 0, y2: 40 }),
    svg("line", { class: "anytime", x1: at(lift.anytime95[0]), x2: at(lift.anytime95[1]), y1: 20, y2: 20 }),
    svg("line", { class: "once", x1: at(lift.ci95[0]), x2: at(lift.ci95[1]), y1: 20, y2: 20 }),
    svg("line", { class: "estimate", x1: at(lift.estimate), x2: at(lift.estimate), y1: 6, y2: 34 }));
}

export function reliability(bins) {
  const most = Math.max(1e-6, ...bins.flatMap(([served, rate]) => [served, rate]));
  const at = (value) => (value / most) * 100;
  const points = bins.map(([served, rate]) => `${at(served).toFixed(1)},${(100 - at(rate)).toFixed(1)}`);
  const label = `Reliability: ${bins.map(([served, rate]) => `served ${percent(served)}, came ${percent(rate)}`).join("; ")}`;
  return svg("svg", { class: "reliability", viewBox: "-6 -6 112 122", role: "img", "aria-label": label },
    svg("rect", { class: "frame", width: 100, height: 100 }),
    svg("line", { class: "ideal", x1: 0, y1: 100, x2: 100, y2: 0 }),
    svg("polyline", { class: "curve", points: points.join(" ") }),
    points.map((point) => svg("circle", { class: "dot", cx: point.split(",")[0], cy: point.split(",")[1], r: 2.4 })),
    svg("text", { x: 0, y: 112 }, "served, up to"), svg("text", { x: 100, y: 112, class: "end" }, percent(most, 0)),
    svg("text", { x: 2, y: 8 }, "came true"));
}

const PALETTE = 8;

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A line chart; `series` are [label, values, format, scale]. It is made anew where its lines or the colours change.
export class SeriesChart {
  constructor(place) {
    this.place = place;
    this.plot = null;
    this.signature = "";
    new ResizeObserver(() => this.plot && this.plot.setSize(this.size())).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.signature = "";
      if (this.last) this.show(...this.last);
    });
  }

  size() {
    return { width: Math.max(this.place.clientWidth, 200), height: 190 };
  }

  show(times, series) {
    this.last = [times, series];
    const data = [times, ...series.map(([, values]) => values)];
    const signature = series.map(([label]) => label).join("\n");
    if (this.plot && signature === this.signature) {
      this.plot.setData(data);
      return;
    }
    if (this.plot) this.plot.destroy();
    this.signature = signature;
    const axis = { stroke: ink("--soft"), grid: { stroke: ink("--line"), width: 1 }, ticks: { stroke: ink("--line"), width: 1 } };
    const scales = [...new Set(series.map(([, , , scale]) => scale || "y"))];
    const formatOf = (scale) => series.find((each) => (each[3] || "y") === scale)[2];
    this.plot = new uPlot({
      ...this.size(),
      cursor: { drag: { x: false, y: false } },
      legend: { live: false },
      scales: Object.fromEntries(scales.map((scale) => [scale, { range: (_, low, high) => [0, (high || 1) * 1.05] }])),
      axes: [axis, ...scales.map((scale, place) => ({
        ...axis, scale, side: place ? 1 : 3, size: 58, grid: place ? { show: false } : axis.grid,
        values: (_, ticks) => ticks.map((tick) => formatOf(scale)(tick)),
      }))],
      series: [{}, ...series.map(([label, , format, scale], place) => ({
        label, scale: scale || "y", width: 1.6, spanGaps: true, points: { show: false },
        stroke: ink(`--series-${place % PALETTE}`), value: (_, value) => (value === null ? "–" : format(value)),
      }))],
    }, data, this.place);
  }
}
