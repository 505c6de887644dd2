// The console page: what this server knows and how it is, from its own numbers.
import type { ExecutableRecord } from '@symkeep/protocol';
import { pageHtml, escapeHtml as text } from './html.ts';

export interface ConsoleView {
  readonly version: string;
  readonly epoch: string | undefined;
  readonly unready: string | undefined;
  readonly warnings: readonly string[];
  readonly waiting: number;
  readonly numbers: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly query: string;
  readonly list: { readonly records: readonly ExecutableRecord[]; readonly more: boolean };
  readonly trouble: string | undefined;
}

export function consoleHtml(view: ConsoleView): string {
  return pageHtml(
    'symkeep',
    `<header><h1>symkeep</h1><span class="quiet">${text(view.version)}</span>
<a href="/docs">API</a> <a href="/metrics">metrics</a></header>
${view.warnings.map((warning) => `<p class="bad" role="alert">${text(warning)}</p>`).join('\n')}
<div class="tiles">${tilesOf(view).join('')}</div>
<h2>Executables</h2>
<form><input name="q" value="${text(view.query)}" placeholder="Part of a file name, or any executable ID" aria-label="Search">
<button>Search</button></form>
${listHtml(view)}
<h2>This process</h2>
<div class="scroll"><table><tr><th>Of<th>Count<th>Value</tr>${numberRows(view).join('')}</table></div>`,
  );
}

function tilesOf({ epoch, unready, waiting, list }: ConsoleView): string[] {
  const shown = `${list.records.length}${list.more ? '+' : ''}`;
  return [
    unready === undefined ? tile('Store', 'ready', 'ok') : tile('Store', unready, 'bad'),
    tile('Epoch', epoch === undefined ? 'not known yet' : epoch.slice(0, 8)),
    tile('Executables shown', shown),
    tile('Clients waiting for events', String(waiting)),
  ];
}

function tile(name: string, value: string, tone = ''): string {
  return `<div class="tile"><span class="quiet">${text(name)}</span><b class="${tone}">${text(value)}</b></div>`;
}

function listHtml({ list, trouble, query }: ConsoleView): string {
  if (trouble !== undefined) return `<p class="bad">${text(trouble)}</p>`;
  if (list.records.length === 0) {
    return query === ''
      ? '<p>No executable is known yet. Start an agent on a host: <code>symkeep-agent run</code></p>'
      : `<p>Nothing is known as <b>${text(query)}</b>. An executable becomes known when a host with an agent runs it.</p>`;
  }
  const more = list.more ? '<p class="quiet">There are more; search to narrow them down.</p>' : '';
  return `<div class="scroll"><table><tr><th>Name<th>ID<th>Arch<th>Size<th>Seen<th>Symbols</tr>
${list.records.map(rowOf).join('\n')}</table></div>${more}`;
}

function rowOf({
  id,
  fileName,
  names,
  arch,
  size,
  firstSeen,
  lastSeen,
  symbols,
  ambiguous,
}: ExecutableRecord): string {
  const name = fileName === '' ? '(no name)' : fileName;
  const href = `/v1/executables/${encodeURIComponent(id)}`;
  const seen = `${firstSeen.slice(0, 10)} – ${lastSeen.slice(0, 10)}`;
  const mark = ambiguous ? ' <span class="bad">ambiguous</span>' : '';
  const state = symbols.state === 'ready' ? symbols.quality : symbols.state;
  return `<tr><td title="${text(names.join('\n'))}">${text(name)}${mark}
<td class="mono"><a href="${text(href)}">${text(id)}</a><td>${text(arch)}<td>${bytes(size)}<td>${seen}<td>${text(state)}</tr>`;
}

function numberRows({ numbers }: ConsoleView): string[] {
  return Object.entries(numbers).flatMap(([group, counts]) =>
    Object.entries(counts).map(
      ([name, value]) => `<tr><td>${text(group)}<td>${text(name)}<td>${value.toLocaleString('en')}</tr>`,
    ),
  );
}

function bytes(size: number): string {
  if (size >= 1024 * 1024) return `${(size / 1024 / 1024).toFixed(1)} MiB`;
  return size >= 1024 ? `${(size / 1024).toFixed(1)} KiB` : `${size} B`;
}
