// How the commands show things to people.
import type { ExecutableRecord, Frame } from '@symkeep/protocol';

/** Other names shown under an executable. */
const namesShown = 4;

export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** A record in lines. */
export function recordText({ ids, ...record }: ExecutableRecord): string {
  const { state, quality, functions } = record.symbols;
  const symbols = state === 'ready' ? `${quality}, ${functions} functions` : state;
  const rest = record.nameCount - Math.min(namesShown, record.names.length);
  const names = [...record.names.slice(0, namesShown), ...(rest > 0 ? [`and ${rest} more`] : [])];
  const rows: [string, string][] = [
    ['ID', record.id],
    ['GNU build ID', ids.gnu ?? ''],
    ['htlhash', ids.htlhash.join(', ')],
    ['Go build ID', ids.go.map((id) => Buffer.from(id, 'base64url').toString('latin1')).join(', ')],
    ['names', names.join('\n')],
    ['file', [record.arch, record.type, bytesText(record.size)].filter((part) => part !== '').join(', ')],
    ['seen', `${record.firstSeen.slice(0, 10)} to ${record.lastSeen.slice(0, 10)}`],
    ['symbols', symbols],
    ['ambiguous', record.ambiguous ? 'yes: two different files have this ID; ask by htlhash' : ''],
  ];
  return [record.fileName === '' ? '(no name)' : record.fileName, ...table(rows)].join('\n');
}

function table(rows: readonly [string, string][]): string[] {
  const shown = rows.filter(([, value]) => value !== '');
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => {
    const indent = ' '.repeat(width + 4);
    return `  ${name.padEnd(width)}  ${value.split('\n').join(`\n${indent}`)}`;
  });
}

/** A frame in a line: function, then file and line if they are known. */
export function frameText({ function: name, rawName, file, line }: Frame): string {
  const where = file === '' ? '' : ` at ${file}${line === 0 ? '' : `:${line}`}`;
  return `${name === '' ? rawName : name}${where}`;
}
