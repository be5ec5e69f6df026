/** A small SVG chart writer: lines over a scale, and dots in rows. Self-contained styles, readable on light and dark pages. */

export interface ChartSeries {
  readonly name: string;
  readonly color: string;
  readonly width?: number;
  readonly dashed?: boolean;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Axis {
  readonly label: string;
  readonly from: number;
  readonly to: number;
  readonly log: boolean;
  readonly ticks: readonly number[];
  readonly format: (value: number) => string;
}

/** A shaded range of the x axis, or a line at a value of either axis; with a label. */
export interface Mark {
  readonly axis: "x" | "y";
  readonly at: number;
  readonly to?: number;
  readonly text: string;
}

export interface Panel {
  readonly title: string;
  readonly series: readonly ChartSeries[];
  readonly marks?: readonly Mark[];
}

export interface LineChart {
  readonly title: string;
  readonly subtitle: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly panels: readonly Panel[];
  readonly columns: number;
}

export interface DotChart {
  readonly title: string;
  readonly subtitle: string;
  readonly x: Axis;
  readonly marks?: readonly Mark[];
  readonly groups: readonly { readonly title: string; readonly rows: readonly string[] }[];
  /** One value per row, in the order of all groups' rows; null if there is none. */
  readonly series: readonly {
    readonly name: string;
    readonly color: string;
    readonly large?: boolean;
    readonly values: readonly (number | null)[];
  }[];
}

const INK = "#1f2933";
const SOFT = "#6b7785";
const GRID = "#e4e8ec";
const MARGIN = 24;
const HEADER = 64;
const LEGEND_ROW = 20;
const FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif";

type Attributes = Readonly<Record<string, string | number>>;

function element(name: string, attributes: Attributes, content = ""): string {
  const text = Object.entries(attributes)
    .map(([key, value]) => ` ${key}="${typeof value === "number" ? Number(value.toFixed(1)) : escaped(value)}"`)
    .join("");
  return content === "" ? `<${name}${text}/>` : `<${name}${text}>${content}</${name}>`;
}

function escaped(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

function label(x: number, y: number, text: string, attributes: Attributes = {}): string {
  return element("text", { x, y, "font-size": 12, fill: SOFT, ...attributes }, escaped(text));
}

function line(x1: number, y1: number, x2: number, y2: number, attributes: Attributes): string {
  return element("line", { x1, y1, x2, y2, ...attributes });
}

/** The position of a value between two pixels; values outside are drawn at the edge. */
function scaleOf({ from, to, log }: Axis, start: number, end: number): (value: number) => number {
  const place = log ? Math.log : (value: number) => value;
  return (value) => {
    const share = (place(Math.min(to, Math.max(from, value))) - place(from)) / (place(to) - place(from));
    return start + share * (end - start);
  };
}

/** The whole picture: a card with a title, a subtitle, and the drawing. */
function page(width: number, height: number, title: string, subtitle: string, body: readonly string[]): string {
  const head = [
    element("title", {}, escaped(title)),
    element("desc", {}, escaped(subtitle)),
    element("rect", { x: 0.5, y: 0.5, width: width - 1, height: height - 1, rx: 8, fill: "#ffffff", stroke: GRID }),
    label(MARGIN, 32, title, { "font-size": 17, "font-weight": 600, fill: INK }),
    label(MARGIN, 52, subtitle, { "font-size": 13 }),
  ];
  const attributes = {
    xmlns: "http://www.w3.org/2000/svg",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "font-family": FONT,
  };
  return `${element("svg", attributes, `\n${[...head, ...body].join("\n")}\n`)}\n`;
}

interface Key {
  readonly name: string;
  readonly color: string;
  readonly width?: number;
  readonly dashed?: boolean;
}

/** Legend entries in rows that fit the width. @returns the drawing and its height */
function legend(keys: readonly Key[], top: number, width: number, dots: boolean): { drawn: string[]; height: number } {
  const drawn: string[] = [];
  let x = MARGIN;
  let row = 0;
  for (const { name, color, width: stroke = 2, dashed } of keys) {
    const space = 48 + name.length * 6.1;
    if (x + space > width - MARGIN && x > MARGIN) {
      x = MARGIN;
      row++;
    }
    const y = top + row * LEGEND_ROW + 8;
    const dash: Attributes = dashed === true ? { "stroke-dasharray": "5 4" } : {};
    drawn.push(
      dots
        ? element("circle", { cx: x + 11, cy: y, r: 2 + stroke, fill: color })
        : line(x, y, x + 22, y, { stroke: color, "stroke-width": stroke, "stroke-linecap": "round", ...dash }),
      label(x + 28, y + 4, name, { fill: INK }),
    );
    x += space;
  }
  return { drawn, height: (row + 1) * LEGEND_ROW + 8 };
}

export function lineChart(chart: LineChart): string {
  const { panels, columns } = chart;
  const width = 880;
  const left = 70;
  const gap = 30;
  const panelWidth = (width - MARGIN - left - gap * (columns - 1)) / columns;
  const rows = Math.ceil(panels.length / columns);
  const panelHeight = columns === 1 ? 320 : 220;
  const { drawn, height: legendHeight } = legend(panels[0]!.series, HEADER + 4, width, false);
  const top = HEADER + legendHeight + 24;
  const stride = panelHeight + 58;
  const body = [...drawn];
  for (const [k, panel] of panels.entries()) {
    const x0 = left + (k % columns) * (panelWidth + gap);
    const y0 = top + Math.floor(k / columns) * stride;
    const box = { x0, y0, width: panelWidth, height: panelHeight };
    body.push(...drawPanel(chart, panel, box, k % columns === 0));
  }
  const height = top + rows * stride + 6;
  body.push(label(left + (width - MARGIN - left) / 2, height - 12, chart.x.label, { "text-anchor": "middle" }));
  const middle = top + (rows * stride - 58) / 2;
  body.push(label(20, middle, chart.y.label, { "text-anchor": "middle", transform: `rotate(-90 20 ${middle})` }));
  return page(width, height, chart.title, chart.subtitle, body);
}

interface Box {
  readonly x0: number;
  readonly y0: number;
  readonly width: number;
  readonly height: number;
}

/** @param first whether the panel is at the left edge and labels its y axis */
function drawPanel(chart: LineChart, panel: Panel, { x0, y0, width, height }: Box, first: boolean): string[] {
  const x = scaleOf(chart.x, x0, x0 + width);
  const y = scaleOf(chart.y, y0 + height, y0);
  const out: string[] = [];
  for (const mark of panel.marks ?? []) {
    if (mark.to === undefined) continue;
    out.push(element("rect", { x: x(mark.at), y: y0, width: x(mark.to) - x(mark.at), height, fill: "#f0f5f0" }));
    out.push(label(x(mark.at) + 6, y0 + 14, mark.text, { "font-size": 11 }));
  }
  for (const tick of chart.y.ticks) {
    out.push(line(x0, y(tick), x0 + width, y(tick), { stroke: GRID }));
    if (first) out.push(label(x0 - 8, y(tick) + 4, chart.y.format(tick), { "text-anchor": "end" }));
  }
  for (const tick of chart.x.ticks) {
    // Labels at the ends stay within the panel, because the next one starts close by.
    const anchor = tick === chart.x.from ? "start" : tick === chart.x.to ? "end" : "middle";
    out.push(line(x(tick), y0 + height, x(tick), y0 + height + 4, { stroke: SOFT }));
    out.push(label(x(tick), y0 + height + 18, chart.x.format(tick), { "text-anchor": anchor }));
  }
  for (const mark of panel.marks ?? []) {
    if (mark.to !== undefined) continue;
    const dash = { stroke: SOFT, "stroke-dasharray": "3 3" };
    if (mark.axis === "x") {
      out.push(line(x(mark.at), y0, x(mark.at), y0 + height, dash));
      out.push(label(x(mark.at) + 4, y0 + height - 8, mark.text, { "font-size": 11 }));
    } else {
      out.push(line(x0, y(mark.at), x0 + width, y(mark.at), dash));
      out.push(label(x0 + width - 4, y(mark.at) - 5, mark.text, { "font-size": 11, "text-anchor": "end" }));
    }
  }
  out.push(line(x0, y0 + height, x0 + width, y0 + height, { stroke: SOFT }));
  // The last series is drawn first, so that the first one is on top.
  for (const { points, color, width: stroke = 2, dashed } of [...panel.series].reverse()) {
    const path = points.map(([px, py], k) => `${k === 0 ? "M" : "L"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("");
    const dash: Attributes = dashed === true ? { "stroke-dasharray": "5 4" } : {};
    out.push(
      element("path", { d: path, fill: "none", stroke: color, "stroke-width": stroke, "stroke-linejoin": "round", ...dash }),
    );
    for (const [px, py] of points) out.push(element("circle", { cx: x(px), cy: y(py), r: stroke * 0.9 + 0.6, fill: color }));
  }
  if (panel.title !== "") out.push(label(x0, y0 - 12, panel.title, { "font-weight": 600, fill: INK }));
  return out;
}

export function dotChart(chart: DotChart): string {
  const width = 880;
  const left = 318;
  const rowHeight = 24;
  const keys = chart.series.map(({ name, color, large }) => ({ name, color, width: large === true ? 4 : 2.5 }));
  const { drawn, height: legendHeight } = legend(keys, HEADER + 4, width, true);
  const top = HEADER + legendHeight + 10;
  const x = scaleOf(chart.x, left, width - MARGIN - 10);
  const rows: string[] = [];
  let y = top;
  let index = 0;
  for (const group of chart.groups) {
    rows.push(label(MARGIN, y + 16, group.title, { "font-weight": 600, fill: INK }));
    y += rowHeight;
    for (const name of group.rows) {
      const middle = y + rowHeight / 2;
      rows.push(label(left - 14, middle + 4, name, { "text-anchor": "end" }));
      rows.push(line(left, middle, width - MARGIN - 10, middle, { stroke: GRID }));
      for (const { color, large, values } of [...chart.series].reverse()) {
        const value = values[index];
        if (value === null || value === undefined) continue;
        rows.push(element("circle", { cx: x(value), cy: middle, r: large === true ? 6 : 4.5, fill: color, stroke: "#ffffff" }));
      }
      index++;
      y += rowHeight;
    }
    y += 8;
  }
  const body = [...drawn];
  for (const tick of chart.x.ticks) {
    body.push(
      line(x(tick), top, x(tick), y, { stroke: GRID }),
      label(x(tick), y + 16, chart.x.format(tick), { "text-anchor": "middle" }),
    );
  }
  for (const { at, text } of chart.marks ?? []) {
    body.push(
      line(x(at), top - 4, x(at), y, { stroke: SOFT, "stroke-dasharray": "3 3" }),
      label(x(at) + 5, top + 8, text, { "font-size": 11 }),
    );
  }
  body.push(...rows, label((left + width - MARGIN) / 2, y + 38, chart.x.label, { "text-anchor": "middle" }));
  return page(width, y + 54, chart.title, chart.subtitle, body);
}
