// MessagePack as another language's library reads and writes it: Python's msgpack. Where it is missing,
// `pythonMsgpackAvailable` is false and tests are skipped by name.
import { execFileSync, spawnSync } from 'node:child_process';

// Debian's package is for Debian's Python, which need not be the first one on the path.
const python = ['python3', '/usr/bin/python3'].find(
  (command) => spawnSync(command, ['-c', 'import msgpack']).status === 0,
);
export const pythonMsgpackAvailable = python !== undefined;

// Values as JSON in which an integer is {"int": "<digits>"}, so that 64 bits and the difference from floats survive.
const shared = `
import json, msgpack, sys
def refuse(code, data): raise ValueError('extension type %d' % code)
def shown(v):
    if v is None or isinstance(v, (bool, str)): return v
    if isinstance(v, int): return {'int': str(v)}
    if isinstance(v, float): return {'float': v}
    if isinstance(v, list): return [shown(e) for e in v]
    if isinstance(v, dict): return {'map': {k: shown(e) for k, e in v.items()}}
    raise ValueError('a value of type %s' % type(v).__name__)
def meant(v):
    if isinstance(v, list): return [meant(e) for e in v]
    if not isinstance(v, dict): return v
    if 'int' in v: return int(v['int'])
    if 'float' in v: return float(v['float'])
    return {k: meant(e) for k, e in v['map'].items()}
`;
const reading = `
for line in sys.stdin:
    print(json.dumps(shown(msgpack.unpackb(bytes.fromhex(line), ext_hook=refuse, strict_map_key=True))))
`;
const writing = `
for line in sys.stdin:
    print(msgpack.packb(meant(json.loads(line))).hex())
`;

/** What Python reads in each of the messages. Throws if one is not plain MessagePack with texts as keys. */
export function readByPython(messages: readonly Uint8Array[]): unknown[] {
  const lines = messages.map((bytes) => Buffer.from(bytes).toString('hex'));
  return run(reading, lines).map((line) => meaning(JSON.parse(line)));
}

/** The values in MessagePack as Python writes it. */
export function writeByPython(values: readonly unknown[]): Buffer[] {
  return run(writing, values.map(textOf)).map((line) => Buffer.from(line, 'hex'));
}

function run(program: string, lines: readonly string[]): string[] {
  const input = lines.map((line) => `${line}\n`).join('');
  const said = execFileSync(python!, ['-c', shared + program], { input, encoding: 'utf8' });
  return said.split('\n').slice(0, -1);
}

type Shown =
  | null
  | boolean
  | string
  | readonly Shown[]
  | { readonly int: string }
  | { readonly float: number }
  | { readonly map: Readonly<Record<string, Shown>> };

/** Integers that a double holds become numbers, larger ones bigint, as our codec reads them. */
function meaning(shown: Shown): unknown {
  if (typeof shown !== 'object' || shown === null) return shown;
  if (Array.isArray(shown)) return shown.map(meaning);
  if ('float' in shown) return shown.float;
  if ('int' in shown) return Number.isSafeInteger(Number(shown.int)) ? Number(shown.int) : BigInt(shown.int);
  const { map } = shown as { readonly map: Readonly<Record<string, Shown>> };
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, meaning(value)]));
}

function textOf(value: unknown): string {
  return JSON.stringify(marked(value));
}

function marked(value: unknown): Shown {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'bigint') return { int: String(value) };
  if (typeof value === 'number')
    return Number.isSafeInteger(value) ? { int: String(value) } : { float: value };
  if (Array.isArray(value)) return value.map(marked);
  return { map: Object.fromEntries(Object.entries(value as object).map(([key, one]) => [key, marked(one)])) };
}
