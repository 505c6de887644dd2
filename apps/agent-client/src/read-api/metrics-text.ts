// The agent's metrics in Prometheus' text format (version 0.0.4), written by hand: a client library would cost every
// agent of a fleet its megabytes.
import { memoryUsage, resourceUsage } from 'node:process';
import type { AgentMetrics } from '../agent.ts';

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [value: number, labels?: Labels];

export function metricsText(metrics: AgentMetrics, version: string): string {
  return [
    gauge('symkeep_agent_info', 'Version of the agent.', [[1, { version }]]),
    ...processMetrics(),
    ...hostMetrics(metrics),
    ...reportMetrics(metrics),
    ...serverMetrics(metrics),
    ...uploadMetrics(metrics),
    ...cacheMetrics(metrics),
  ].join('');
}

function processMetrics(): string[] {
  const { userCPUTime, systemCPUTime } = resourceUsage();
  return [
    counter('process_cpu_seconds_total', 'CPU time.', [[(userCPUTime + systemCPUTime) / 1e6]]),
    gauge('process_resident_memory_bytes', 'Resident memory.', [[memoryUsage.rss()]]),
  ];
}

function hostMetrics(metrics: AgentMetrics): string[] {
  return [
    gauge('symkeep_agent_executables', 'Live executables of this host.', [[metrics.executables]]),
    counter('symkeep_agent_executables_dropped_total', 'Files beyond the bound of live executables.', [
      [metrics.executablesDropped],
    ]),
    gauge('symkeep_agent_processes', 'Processes seen by the last pass.', [[metrics.processes]]),
    counter('symkeep_agent_scans_total', 'Passes over the processes.', [[metrics.scans]]),
    counter('symkeep_agent_scan_failures_total', 'Passes that failed.', [[metrics.scanFailures]]),
    counter('symkeep_agent_scan_cpu_seconds_total', 'CPU time of the passes.', [[metrics.scanCpuMs / 1e3]]),
    counter(
      'symkeep_agent_scan_problems_total',
      'What passes could not read, by reason.',
      by('reason', metrics.problems),
    ),
    counter('symkeep_agent_snapshots_total', 'Snapshots, by outcome.', [
      [metrics.snapshot.written, { outcome: 'written' }],
      [metrics.snapshot.writeFailures, { outcome: 'write_failed' }],
      [metrics.snapshot.restored, { outcome: 'restored' }],
      ...by('outcome', metrics.snapshot.ignored, 'ignored_'),
    ]),
  ];
}

function reportMetrics({ reporter }: AgentMetrics): string[] {
  const { created, merged, unchanged, refused } = reporter;
  return [
    gauge('symkeep_agent_queue', 'Executables waiting to be reported.', [[reporter.queued]]),
    gauge('symkeep_agent_checks_waiting', 'Executables waiting to be checked.', [[reporter.checking]]),
    gauge('symkeep_agent_marks', 'Acknowledgements remembered, over all epochs.', [[reporter.marks]]),
    counter('symkeep_agent_enqueued_total', 'Executables put into the queue.', [[reporter.enqueued]]),
    counter(
      'symkeep_agent_reports_total',
      'Executables reported, by what the server said.',
      by('status', { created, merged, unchanged, refused }),
    ),
    counter('symkeep_agent_reports_dropped_total', 'Executables that ended before the queue had room.', [
      [reporter.dropped],
    ]),
    counter('symkeep_agent_reports_deferred_total', 'Executables that waited in the inventory for room.', [
      [reporter.deferred],
    ]),
    counter('symkeep_agent_report_failures_total', 'Reports and checks that were repeated.', [
      [reporter.failures],
    ]),
    counter(
      'symkeep_agent_checks_total',
      'Executables checked, by what the server said.',
      by('result', reporter.checks),
    ),
    counter('symkeep_agent_epochs_total', 'Epochs heard: new ones, and earlier ones that came back.', [
      [reporter.epochsNew, { kind: 'new' }],
      [reporter.epochsBack, { kind: 'back' }],
    ]),
  ];
}

function serverMetrics({ server, cycles, cycleFailures, events, resets }: AgentMetrics): string[] {
  return [
    counter('symkeep_agent_requests_total', 'Requests to the server.', [[server.requests]]),
    counter(
      'symkeep_agent_request_failures_total',
      'Requests that failed, by code.',
      by('code', server.failed),
    ),
    counter('symkeep_agent_sent_bytes_total', 'Bytes of request bodies.', [[server.bytesSent]]),
    counter('symkeep_agent_received_bytes_total', 'Bytes of reply bodies.', [[server.bytesReceived]]),
    counter('symkeep_agent_cycles_total', 'Cycles.', [[cycles]]),
    counter('symkeep_agent_cycle_failures_total', 'Cycles without an answer.', [[cycleFailures]]),
    counter('symkeep_agent_events_total', 'Events heard.', [[events]]),
    counter('symkeep_agent_event_resets_total', 'Times events were missed.', [[resets]]),
  ];
}

function uploadMetrics({ uploads }: AgentMetrics): string[] {
  if (uploads === undefined) return [];
  const { asked, running, bytes, ...outcomes } = uploads;
  return [
    gauge('symkeep_agent_uploads_running', 'Files asked for and not yet dealt with.', [[running]]),
    counter('symkeep_agent_uploads_asked_total', 'Files that the server asked for.', [[asked]]),
    counter('symkeep_agent_uploads_total', 'What became of files asked for.', by('outcome', outcomes)),
    counter('symkeep_agent_upload_bytes_total', 'Bytes of files sent.', [[bytes]]),
  ];
}

function cacheMetrics({ catalog }: AgentMetrics): string[] {
  const caches = { records: catalog.records, frames: catalog.frames };
  const absences = { ids: catalog.unknown, addresses: catalog.noFrames };
  const perCache = (field: keyof typeof caches.records) =>
    Object.entries(caches).map(([cache, metrics]): Sample => [metrics[field], { cache }]);
  const perAbsence = (field: keyof typeof absences.ids) =>
    Object.entries(absences).map(([of, metrics]): Sample => [metrics[field], { of }]);
  return [
    gauge('symkeep_agent_cache_entries', 'Entries of the caches.', perCache('size')),
    counter('symkeep_agent_cache_hits_total', 'Hits.', perCache('hits')),
    counter('symkeep_agent_cache_misses_total', 'Misses.', perCache('misses')),
    counter('symkeep_agent_cache_inserted_total', 'Entries put in.', perCache('inserted')),
    counter(
      'symkeep_agent_cache_evicted_total',
      'Entries that left because the cache was full.',
      perCache('evicted'),
    ),
    counter('symkeep_agent_cache_outdated_total', 'Entries of an older generation.', perCache('outdated')),
    counter('symkeep_agent_cache_outages_total', 'Keys that could not be asked for.', perCache('outages')),
    gauge('symkeep_agent_absences', 'Unknown keys remembered.', perAbsence('size')),
    counter('symkeep_agent_absence_hits_total', 'Answers from remembered absences.', perAbsence('hits')),
    counter('symkeep_agent_answered_live_total', 'Records answered from the files of this host.', [
      [catalog.answeredLive],
    ]),
  ];
}

function by(label: string, counts: Readonly<Record<string, number>>, prefix = ''): Sample[] {
  return Object.entries(counts).map(([name, value]): Sample => [value, { [label]: prefix + name }]);
}

function gauge(name: string, help: string, samples: readonly Sample[]): string {
  return family(name, 'gauge', help, samples);
}

function counter(name: string, help: string, samples: readonly Sample[]): string {
  return family(name, 'counter', help, samples);
}

function family(name: string, type: string, help: string, samples: readonly Sample[]): string {
  const lines = samples.map(([value, labels]) => `${name}${labelsText(labels)} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function labelsText(labels: Labels | undefined): string {
  if (labels === undefined) return '';
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replace(/[\\"\n]/g, '\\$&')}"`,
  );
  return `{${pairs.join(',')}}`;
}
