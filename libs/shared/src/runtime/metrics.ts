/**
 * A small metrics registry with the Prometheus text exposition (format 0.0.4,
 * https://prometheus.io/docs/instrumenting/exposition_formats/).
 * A series is an object with plain numbers: look it up once with `series(...)`, then counting costs one addition. A value that a
 * service maintains anyway is not counted again: `read` reads it at every scrape.
 *
 * Limits: a metric has at most `maxSeries` label sets (100 by default). Further ones share one series whose labels are all
 * `_overflow`, so that totals stay correct and memory stays bounded; `aviary_metrics_overflow_total{metric}` counts those
 * lookups.
 */

export type Labels = Readonly<Record<string, string>>;

export interface CounterSeries {
  /** Adds a number ≥ 0; 1 by default. */
  inc(by?: number): void;
  readonly value: number;
}

export interface GaugeSeries {
  set(value: number): void;
  readonly value: number;
}

export interface HistogramSeries {
  /** Counts one observation; NaN and infinities are ignored. */
  observe(value: number): void;
  readonly count: number;
  readonly sum: number;
}

/**
 * All series of one metric. `series()` without labels is for a metric without labels. Exactly the declared label names are
 * required.
 */
export interface Family<S> {
  series(labels?: Labels): S;
  /** Removes a series whose object no longer exists; unknown labels are ignored. */
  remove(labels: Labels): void;
}

export interface MetricOptions {
  readonly labels?: readonly string[];
  readonly maxSeries?: number;
}

export interface Registry {
  counter(name: string, help: string, options?: MetricOptions): Family<CounterSeries>;
  gauge(name: string, help: string, options?: MetricOptions): Family<GaugeSeries>;
  /** `bounds` are the upper bounds of the buckets, ascending, without +Inf. */
  histogram(name: string, help: string, bounds: readonly number[], options?: MetricOptions): Family<HistogramSeries>;
  /** A metric without labels whose value is read at every scrape; if the reader throws, that scrape omits the metric. */
  read(type: "counter" | "gauge", name: string, help: string, value: () => number): void;
  /** The text exposition of all metrics, ending in a line feed. */
  expose(): string;
}

/** The content type of `expose()`. */
export const EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8";
const OVERFLOW = "_overflow";
const DEFAULT_MAX_SERIES = 100;

interface Metric {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly lines: () => string[];
}

interface FamilyDefinition<S> {
  readonly type: Metric["type"];
  readonly name: string;
  readonly help: string;
  readonly options: MetricOptions;
  readonly create: () => S;
  /** The lines of one series in text format. */
  readonly write: (series: S, labels: string) => string[];
}

/** An empty registry. Registering a name twice, or an invalid name, throws, because both are programming errors. */
export function createRegistry(): Registry {
  const metrics = new Map<string, Metric>();

  const register = (name: string, metric: Metric): void => {
    if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name)) throw new Error(`invalid metric name: ${name}`);
    if (metrics.has(name)) throw new Error(`metric ${name} is already registered`);
    metrics.set(name, metric);
  };

  const family = <S>(definition: FamilyDefinition<S>): Family<S> => {
    const { type, name, help, write } = definition;
    const series = new Map<string, S>();
    const created = createFamily(definition, series, () => overflow.series({ metric: name }).inc());
    register(name, { type, help, lines: () => [...series].flatMap(([labels, one]) => write(one, labels)) });
    return created;
  };
  const counter: Registry["counter"] = (name, help, options = {}) =>
    family({ type: "counter", name, help, options, create: newCounter, write: plainLine(name) });
  const overflow = counter("aviary_metrics_overflow_total", "Lookups of a label set beyond the limit of its metric.", {
    labels: ["metric"],
    maxSeries: 1_000,
  });

  return {
    counter,
    gauge: (name, help, options = {}) => family({ type: "gauge", name, help, options, create: newGauge, write: plainLine(name) }),
    histogram: (name, help, bounds, options = {}) => {
      const growing = bounds.every(
        (bound, index) => Number.isFinite(bound) && bound > (bounds[index - 1] ?? Number.NEGATIVE_INFINITY),
      );
      if (bounds.length === 0 || !growing) throw new Error(`the bucket bounds of ${name} must be finite and strictly increasing`);
      const create = () => newHistogram(bounds);
      return family({ type: "histogram", name, help, options, create, write: histogramLines(name, bounds) });
    },
    read: (type, name, help, value) => register(name, { type, help, lines: () => readLines(name, value) }),
    expose: () => {
      const blocks = [...metrics].map(([name, { type, help, lines }]) => {
        const found = lines();
        const helpText = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
        return found.length === 0 ? "" : `# HELP ${name} ${helpText}\n# TYPE ${name} ${type}\n${found.join("\n")}\n`;
      });
      return blocks.join("");
    },
  };
}

/** The series of one metric, by their label text; beyond the limit, `onOverflow` is called and all share one series. */
function createFamily<S>(definition: FamilyDefinition<S>, seriesByLabels: Map<string, S>, onOverflow: () => void): Family<S> {
  const { name, options, create } = definition;
  const names = labelNames(definition);
  const maxSeries = options.maxSeries ?? DEFAULT_MAX_SERIES;
  const overflowKey = labelText(names, () => OVERFLOW);
  const keyOf = (labels: Labels): string => {
    if (Object.keys(labels).length !== names.length) throw new Error(`${name} needs the labels (${names.join(", ")})`);
    return labelText(names, (label) => {
      const value = labels[label];
      if (value === undefined) throw new Error(`${name} needs the label ${label}`);
      return value;
    });
  };
  const find = (key: string): S => {
    const known = seriesByLabels.get(key);
    if (known !== undefined) return known;
    if (key !== overflowKey && seriesByLabels.size >= maxSeries && names.length > 0) {
      onOverflow();
      return find(overflowKey);
    }
    const series = create();
    seriesByLabels.set(key, series);
    return series;
  };
  return { series: (labels = {}) => find(keyOf(labels)), remove: (labels) => void seriesByLabels.delete(keyOf(labels)) };
}

function labelNames({ name, type, options }: Omit<FamilyDefinition<never>, "create" | "write">): readonly string[] {
  const names = options.labels ?? [];
  for (const label of names)
    if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(label) || label.startsWith("__") || (type === "histogram" && label === "le"))
      throw new Error(`invalid label name for metric ${name}: ${label}`);
  return names;
}

/** Registers the metrics of every process: memory, CPU time, start time. */
export function registerProcessMetrics(registry: Registry, startedAtMs: number): void {
  registry.read("gauge", "process_resident_memory_bytes", "Resident memory size in bytes.", () => process.memoryUsage.rss());
  registry.read(
    "gauge",
    "process_start_time_seconds",
    "Start time of the process since the epoch in seconds.",
    () => startedAtMs / 1000,
  );
  registry.read("counter", "process_cpu_seconds_total", "User and system CPU time spent in seconds.", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
}

interface MutableCounter extends CounterSeries {
  value: number;
}

function newCounter(): CounterSeries {
  const series: MutableCounter = {
    value: 0,
    inc: (by = 1) => {
      if (!(by >= 0)) throw new RangeError(`counters can only increase, got ${by}`);
      series.value += by;
    },
  };
  return series;
}

function newGauge(): GaugeSeries {
  const series = {
    value: 0,
    set: (value: number) => {
      series.value = value;
    },
  };
  return series;
}

interface HistogramState extends HistogramSeries {
  readonly buckets: Float64Array;
}

function newHistogram(bounds: readonly number[]): HistogramState {
  const series = {
    buckets: new Float64Array(bounds.length + 1),
    count: 0,
    sum: 0,
    observe: (value: number) => {
      if (!Number.isFinite(value)) return;
      let index = 0;
      while (index < bounds.length && value > bounds[index]!) index += 1;
      series.buckets[index]! += 1;
      series.count += 1;
      series.sum += value;
    },
  };
  return series;
}

function plainLine(name: string): (series: { readonly value: number }, labels: string) => string[] {
  return (series, labels) => [`${name}${labels === "" ? "" : `{${labels}}`} ${numberText(series.value)}`];
}

function histogramLines(name: string, bounds: readonly number[]): (series: HistogramState, labels: string) => string[] {
  return ({ buckets, count, sum }, labels) => {
    let cumulative = 0;
    const prefix = labels === "" ? "" : `${labels},`;
    const lines = [...bounds, Number.POSITIVE_INFINITY].map((bound, index) => {
      cumulative += buckets[index]!;
      return `${name}_bucket{${prefix}le="${numberText(bound)}"} ${cumulative}`;
    });
    const braces = labels === "" ? "" : `{${labels}}`;
    return [...lines, `${name}_sum${braces} ${numberText(sum)}`, `${name}_count${braces} ${count}`];
  };
}

function readLines(name: string, value: () => number): string[] {
  try {
    return [`${name} ${numberText(value())}`];
  } catch {
    return [];
  }
}

/** `a="1",b="2"` in the declared order: both the identity and the text of a series. */
function labelText(names: readonly string[], textOf: (name: string) => string): string {
  return names.map((name) => `${name}="${escapeLabel(textOf(name))}"`).join(",");
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function numberText(value: number): string {
  return value === Number.POSITIVE_INFINITY ? "+Inf" : value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
}
