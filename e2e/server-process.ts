// A real `symkeep serve` process on a real Redis, and raw HTTP to it: requests as bytes, so that they may be as wrong as
// a client can be.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { decode } from '@symkeep/protocol';

export const launcher = fileURLToPath(new URL('../apps/symbol-server/bin/symkeep.js', import.meta.url));

export class ServerProcess {
  readonly url: string;
  readonly port: number;
  readonly child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.child = child;
    this.url = url;
    this.port = Number(new URL(url).port);
  }

  /** Starts `serve` on a free port of loopback, and waits until it listens. */
  static async start(redisUrl: string, args: readonly string[] = []): Promise<ServerProcess> {
    const env = {
      ...process.env,
      REDIS_URL: redisUrl,
      SYMKEEP_LISTEN: '127.0.0.1:0',
      SYMKEEP_LOG_LEVEL: 'error',
    };
    const child = spawn(process.execPath, [launcher, 'serve', '--json', ...args], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    for await (const line of createInterface({ input: child.stdout! })) {
      return new ServerProcess(child, (JSON.parse(line) as { url: string }).url);
    }
    throw new Error('symkeep serve ended before it listened');
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** The most memory that the process ever held, in bytes. */
  get residentBytesPeak(): number {
    const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8')) ?? [];
    return Number(kib) * 1024;
  }

  /** Ends it; resolves to its exit code, or the signal that ended it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    if (this.child.exitCode !== null) return this.child.exitCode;
    const exited = once(this.child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    this.child.kill(signal);
    const [code, ended] = await exited;
    return code ?? ended!;
  }
}

export interface RawReply {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  /** The error code in the body, `''` if there is none. */
  readonly code: string;
}

/** Pieces of a request, sent one after the other; a number is a pause in milliseconds. */
export type RawRequest = readonly (string | Uint8Array | number)[];

/** Sends bytes and reads one reply. Rejects if the connection ends without any. */
export async function exchange(port: number, request: RawRequest): Promise<RawReply> {
  const socket = connect(port, '127.0.0.1');
  // The server may refuse, and close, while a request is still being sent.
  socket.on('error', () => undefined);
  // One waits for room at each piece.
  socket.setMaxListeners(0);
  const reply = readReply(socket);
  void sendAll(socket, request);
  try {
    return await reply;
  } finally {
    socket.destroy();
  }
}

async function sendAll(socket: ReturnType<typeof connect>, request: RawRequest): Promise<void> {
  for (const piece of request) {
    if (typeof piece === 'number') await new Promise((resolve) => setTimeout(resolve, piece));
    else if (socket.destroyed || !socket.writable) return;
    else if (!socket.write(piece)) {
      await new Promise((resolve) => socket.once('drain', resolve).once('close', resolve));
    }
  }
}

async function readReply(socket: ReturnType<typeof connect>): Promise<RawReply> {
  let received = Buffer.alloc(0);
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    received = Buffer.concat([received, chunk]);
    const reply = parseReply(received);
    if (reply !== undefined) return reply;
  }
  throw new Error(`the connection ended after ${received.length} bytes of a reply`);
}

function parseReply(bytes: Buffer): RawReply | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const status = Number(first.split(' ')[1]);
  if (status === 100) return parseReply(bytes.subarray(end + 4));
  const headers = new Map(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const body = bytes.subarray(end + 4);
  if (body.length < Number(headers.get('content-length') ?? 0)) return undefined;
  return { status, headers, body, code: codeIn(headers, body) };
}

function codeIn(headers: ReadonlyMap<string, string>, body: Buffer): string {
  if (body.length === 0) return '';
  const type = headers.get('content-type') ?? '';
  if (!type.startsWith('application/')) return '';
  const message = decode(body, type === 'application/msgpack' ? 'msgpack' : 'json');
  return (message as { error?: { code?: string } }).error?.code ?? '';
}

/** A request as text and body, with what HTTP needs unless it is given. */
export function request(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body: string | Uint8Array = '',
): RawRequest {
  const bytes = Buffer.from(body as string);
  const all = {
    host: '127.0.0.1',
    ...(method === 'GET'
      ? {}
      : { 'content-type': 'application/json', 'content-length': String(bytes.length) }),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return [`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, bytes];
}
