// Prometheus metrics: what the HTTP layer counts itself, and the snapshots that caches, store and epoch keep anyway.
import { Counter, collectDefaultMetrics, Gauge, type Histogram, Registry } from 'prom-client';
import { faultTexts } from './store-health.ts';

/** Seconds. A cached read takes some 30 µs, a read from the store under a millisecond, a long poll up to 25 s. */
const durationBuckets = [0.000_05, 0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 30];

/** Numbers by group and name, as `Catalog.metrics()` gives them. */
export type Snapshots = () => Readonly<Record<string, Readonly<Record<string, number>>>>;

/** Names that say how much there is now; all others count since start. */
const levels = new Set([
  'size',
  'weight',
  'capacity',
  'entries',
  'bytes',
  'waiting',
  'inFlight',
  'held',
  'oldestAgeMs',
  'pending',
]);

/** The requests of one route, method and status. Observing costs two additions: prom-client's own costs a microsecond. */
class Series {
  readonly labels: { readonly route: string; readonly method: string; readonly status: string };
  readonly buckets = new Float64Array(durationBuckets.length + 1);
  count = 0;
  sumMs = 0;

  constructor(route: string, method: string, status: number) {
    this.labels = { route, method, status: String(status) };
  }

  observe(durationMs: number): void {
    this.count++;
    this.sumMs += durationMs;
    let bucket = 0;
    while (durationMs > durationBuckets[bucket]! * 1_000) bucket++;
    this.buckets[bucket]!++;
  }
}

/** Counts requests by route, method and status, and their duration by route. */
export class HttpMetrics {
  readonly #series = new Map<string, Series>();

  constructor(registry: Registry) {
    const series = this.#series;
    new Counter({
      name: 'symkeep_http_requests_total',
      help: 'Requests by route, method and status',
      labelNames: ['route', 'method', 'status'],
      registers: [registry],
      collect() {
        this.reset();
        for (const { labels, count } of series.values()) this.inc(labels, count);
      },
    });
    registry.registerMetric(durationsOf(series) as unknown as Histogram);
  }

  observe(route: string, method: string, status: number, durationMs: number): void {
    this.series(route, method, status).observe(durationMs);
  }

  /** The series of one outcome, to be kept by who observes it often. */
  series(route: string, method: string, status: number): Series {
    const known = knownMethods.has(method) ? method : 'other';
    const key = `${status} ${known} ${route}`;
    let series = this.#series.get(key);
    if (series === undefined) {
      series = new Series(route, known, status);
      this.#series.set(key, series);
    }
    return series;
  }
}

/** A histogram as prom-client's registry reads one, over numbers that are kept here. */
function durationsOf(series: ReadonlyMap<string, Series>) {
  const name = 'symkeep_http_request_duration_seconds';
  const help = 'From the end of the request head to the reply, by route';
  const about = { name, help, type: 'histogram', aggregator: 'sum' };
  return {
    ...about,
    reset: () => undefined,
    get: async () => ({ ...about, values: durationValues(name, series) }),
  };
}

function durationValues(name: string, series: ReadonlyMap<string, Series>) {
  const routes = Map.groupBy(series.values(), ({ labels }) => labels.route);
  return [...routes].flatMap(([route, all]) => {
    let count = 0;
    const buckets = [...durationBuckets, '+Inf'].map((le, bucket) => {
      for (const { buckets } of all) count += buckets[bucket]!;
      return { metricName: `${name}_bucket`, labels: { le, route }, value: count };
    });
    const sum = all.reduce((total, { sumMs }) => total + sumMs, 0) / 1_000;
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels: { route }, value: sum },
      { metricName: `${name}_count`, labels: { route }, value: count },
    ];
  });
}

const knownMethods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']);

export interface ServerMetrics {
  readonly registry: Registry;
  readonly http: HttpMetrics;
}

export function createMetrics(): ServerMetrics {
  const registry = new Registry();
  return { registry, http: new HttpMetrics(registry) };
}

/** Adds the metrics of the process itself: CPU, memory, event loop. */
export function addProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry, prefix: 'symkeep_' });
}

/** Adds a gauge per fault that Redis' own settings can have: 1 where it was last seen so. */
export function addStoreFaults(registry: Registry, faults: () => ReadonlySet<string>): void {
  const gauge: Gauge = new Gauge({
    name: 'symkeep_store_fault',
    help: 'Whether Redis is set in a way that loses facts, by fault',
    labelNames: ['fault'],
    registers: [registry],
    // All processes of a server look at the same Redis.
    aggregator: 'max',
    collect: () => {
      const seen = faults();
      for (const fault of Object.keys(faultTexts)) gauge.set({ fault }, seen.has(fault) ? 1 : 0);
    },
  });
}

/** Adds a metric per number of the snapshots: `symkeep_<group>_<name>`, and `_total` on what is counted. */
export function addSnapshots(registry: Registry, snapshots: Snapshots): void {
  for (const [group, numbers] of Object.entries(snapshots())) {
    for (const name of Object.keys(numbers))
      addNumber(registry, group, name, () => snapshots()[group]![name]!);
  }
}

function addNumber(registry: Registry, group: string, name: string, read: () => number): void {
  const text = `symkeep_${snake(group)}_${snake(name)}`;
  const help = `${name} of ${group}`;
  // A counter of prom-client can only be added to; the snapshot is the count itself.
  const collect = (metric: Gauge | Counter) => {
    metric.reset();
    metric.inc(read());
  };
  const registers = [registry];
  if (levels.has(name)) {
    const gauge: Gauge = new Gauge({ name: text, help, registers, collect: () => collect(gauge) });
  } else {
    const about = { name: `${text}_total`, help: `${help}, since start`, registers };
    const counter: Counter = new Counter({ ...about, collect: () => collect(counter) });
  }
}

function snake(text: string): string {
  return text.replace(/[^A-Za-z0-9]+/g, '_').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
