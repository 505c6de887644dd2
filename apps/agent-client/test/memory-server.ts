// A symbol server in memory: the endpoints an agent uses, by the contract, over the same merge rules as the real one.
// Tests take it away, empty it, put a second one behind the same address, or make single items fail.
import {
  type AskedAgent,
  type CheckResult,
  canonicalIdOf,
  decode,
  type ErrorCode,
  type EventKind,
  type ExecutableId,
  type ExecutableRecord,
  encode,
  FRAME_STATUS,
  type Frame,
  type FramesAt,
  FramesReplyBuilder,
  htlhashId,
  mergeRecords,
  messagePackType,
  parseCheckItem,
  parseFramesLookupItem,
  parseIdItem,
  parseReportItem,
  type ReportedExecutable,
  type ReportResult,
  recordOf,
  SymkeepError,
  type SymkeepEvent,
  sameFacts,
  type UploadRequest,
} from '@symkeep/protocol';
import type { Transport, TransportRequest, TransportResponse } from '../src/transport.ts';

export interface Seen {
  readonly method: string;
  readonly path: string;
  /** Items of a batch. */
  readonly items: number;
}

export class MemoryServer {
  epoch = 'epoch-1';
  /** Whatever is asked fails with this code, if set. */
  failing: ErrorCode | 'no answer' | 'answer lost' | undefined;
  retryAfterSeconds: number | undefined;
  /** Items to refuse, by name, with a code. */
  readonly refused = new Map<string, string>();
  readonly records = new Map<ExecutableId, ExecutableRecord>();
  readonly erased = new Set<ExecutableId>();
  readonly frames = new Map<string, Frame[]>();
  readonly seen: Seen[] = [];
  itemsMax = 1_000;
  /** Files to ask for in the next reply that names the executable. */
  readonly asks = new Map<ExecutableId, UploadRequest>();
  /** Executables whose file is sought, as replies say. */
  readonly sought = new Set<ExecutableId>();
  /** What agents said of themselves last. */
  agent: AskedAgent | undefined;
  readonly uploads: {
    readonly path: string;
    readonly headers: TransportRequest['headers'];
    readonly bytes: Buffer;
  }[] = [];
  /** Files that come are refused with it, if set. */
  refusingFiles: ErrorCode | undefined;
  /** Parts of an upload that is on its way. */
  partsComing = 0;
  /** Most uploads at one moment. */
  receivingMost = 0;
  #receiving = 0;
  /** Leases given back, with the reason. */
  readonly returned: string[] = [];
  #held: { given: PromiseWithResolvers<void>; delivered: PromiseWithResolvers<void> } | undefined;
  #aliases = new Map<ExecutableId, ExecutableId>();
  #events: SymkeepEvent[] = [];
  #forgotten = 0;
  #time = 1_000;

  readonly transport: Transport = async (request) => {
    const file = request.stream && (await this.#receive(request.stream.parts));
    const isAway = this.failing === 'no answer';
    const { response, items } = isAway
      ? { response: this.#reply(503, null), items: 0 }
      : this.#answer(file === undefined ? request : { ...request, body: file });
    this.seen.push({ method: request.method, path: request.path.split('?')[0]!, items });
    const held = this.#held;
    this.#held = undefined;
    held?.given.resolve();
    await held?.delivered.promise;
    if (isAway || this.failing === 'answer lost') throw new Error('connect ECONNREFUSED');
    return response;
  };

  /** The next answer is given, but does not arrive before `deliver`. */
  hold(): { readonly given: Promise<void>; readonly deliver: () => void } {
    const held = { given: Promise.withResolvers<void>(), delivered: Promise.withResolvers<void>() };
    this.#held = held;
    return { given: held.given.promise, deliver: held.delivered.resolve };
  }

  count(path: string): number {
    return this.seen.filter((one) => one.path === path).length;
  }

  /** Everything is gone, and says so. */
  wipe(epoch: string): void {
    this.records.clear();
    this.#aliases.clear();
    this.trimEvents();
    this.epoch = epoch;
  }

  /** One record is gone, and nothing says so. */
  lose(id: ExecutableId): void {
    this.records.delete(id);
  }

  /** What is known of an executable changes, with an event unless told otherwise. */
  change(
    id: ExecutableId,
    change: Partial<ExecutableRecord> = {},
    kind: EventKind | 'silent' = 'symbols',
  ): void {
    const record = { ...this.records.get(id)!, ...change, generation: ++this.#time, version: this.#time };
    this.records.set(id, record);
    if (kind !== 'silent') this.#publish(id, kind);
  }

  /** Somebody misses its symbols. */
  miss(id: ExecutableId): void {
    const { generation } = this.records.get(id)!;
    this.#events.push({ id, generation, kind: 'record', wanted: true });
  }

  erase(id: ExecutableId): void {
    this.erased.add(id);
    this.records.delete(id);
    this.#publish(id, 'erased');
  }

  trimEvents(): void {
    this.#forgotten += this.#events.length;
    this.#events = [];
  }

  setFrames(id: ExecutableId, address: bigint, frames: Frame[]): void {
    this.frames.set(`${id} ${address}`, frames);
  }

  #answer(request: TransportRequest): { response: TransportResponse; items: number } {
    try {
      if (this.failing !== undefined && this.failing !== 'no answer' && this.failing !== 'answer lost') {
        const retry =
          this.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: this.retryAfterSeconds };
        throw new SymkeepError(this.failing, 'told to fail', retry);
      }
      const { value, items } = this.#run(request);
      return { response: this.#reply(200, value), items };
    } catch (thrown) {
      const error = SymkeepError.from(thrown);
      if (error.code === 'internal') throw thrown;
      const reply = this.#reply(error.status, error.body());
      const { retryAfterSeconds: after } = error;
      const headers =
        after === undefined ? reply.headers : { ...reply.headers, 'retry-after': String(after) };
      return { response: { ...reply, headers }, items: 0 };
    }
  }

  #reply(status: number, value: unknown): TransportResponse {
    const headers = {
      'content-type': messagePackType,
      'cache-control': 'no-store',
      'symkeep-epoch': this.epoch,
    };
    return { status, headers, body: encode(value, 'msgpack') };
  }

  #run(request: TransportRequest): { value: unknown; items: number } {
    const { method, path, body } = request;
    if (path.split('?')[0]!.endsWith('/debuginfo')) return { value: this.#runFile(request), items: 1 };
    const message = (body === undefined ? {} : decode(body, 'msgpack')) as Record<string, unknown[]>;
    const batch = (items: unknown[], run: (item: unknown) => unknown) => {
      if (items.length > this.itemsMax) throw new SymkeepError('too_large', 'too many items');
      this.agent = message.agent as unknown as AskedAgent | undefined;
      return { value: { results: items.map(run), ...this.#filesOf(items) }, items: items.length };
    };
    switch (`${method} ${path.split('?')[0]}`) {
      case 'POST /v1/executables':
        return batch(message.executables!, (item) => this.#report(parseReportItem(item)));
      case 'POST /v1/executables/check':
        return batch(message.executables!, (item) => this.#check(parseCheckItem(item)));
      case 'POST /v1/executables/lookup':
        return batch(message.ids!, (item) => this.#lookup(parseIdItem(item)));
      case 'POST /v1/frames/lookup':
        return { value: this.#lookupFrames(message.requests!), items: message.requests!.length };
      case 'GET /v1/events':
        return { value: this.#eventsAfter(new URLSearchParams(path.split('?')[1]).get('cursor')), items: 1 };
      default:
        throw new SymkeepError('not_found', path);
    }
  }

  async #receive(parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
    const received: Uint8Array[] = [];
    this.partsComing = 0;
    this.receivingMost = Math.max(this.receivingMost, ++this.#receiving);
    try {
      for await (const part of parts) {
        received.push(part);
        this.partsComing++;
      }
      return Buffer.concat(received);
    } finally {
      this.#receiving--;
    }
  }

  #runFile({ method, path, headers, body }: TransportRequest): unknown {
    if (method === 'DELETE') {
      this.returned.push(`${headers['symkeep-lease']} ${path.split('?')[1]}`);
      return {};
    }
    if (this.refusingFiles !== undefined) throw new SymkeepError(this.refusingFiles, 'told to refuse');
    this.uploads.push({ path, headers, bytes: Buffer.from(body!) });
    return { status: 'accepted' };
  }

  #filesOf(items: readonly unknown[]) {
    if (this.asks.size + this.sought.size === 0) return {};
    const ids = items.map((item) => this.#homeOfItem(item as { ids?: object; id?: unknown }));
    const upload = ids.flatMap((id) => this.asks.get(id) ?? []);
    for (const id of ids) this.asks.delete(id);
    return { upload, waiting: ids.filter((id) => this.sought.has(id)) };
  }

  #homeOfItem(item: { ids?: object; id?: unknown }): ExecutableId {
    if (item.ids !== undefined) return this.#homeOf(parseReportItem(item));
    const id = parseIdItem(item.id);
    return this.#find(id)?.id ?? id;
  }

  #report(reported: ReportedExecutable): ReportResult {
    const code = this.refused.get(reported.name);
    const id = this.#homeOf(reported);
    if (code !== undefined || this.erased.has(id)) {
      return { status: 'error', error: { code: code ?? 'erased', message: 'refused' } };
    }
    const before = this.records.get(id);
    const fresh = recordOf(reported, ++this.#time, id);
    const merged =
      before === undefined ? fresh : { ...mergeRecords(before, fresh), generation: before.generation };
    if (before !== undefined && sameFacts(before, merged)) {
      return { status: 'unchanged', id, generation: before.generation };
    }
    this.records.set(id, merged);
    this.#aliases.set(reported.ids.htlhash, id);
    this.#publish(id, 'record');
    if (merged.ambiguous) return this.#split(reported);
    return { status: before === undefined ? 'created' : 'merged', id, generation: merged.generation };
  }

  // The file is kept under its htlhash from now on; the GNU ID only says that it is ambiguous.
  #split(reported: ReportedExecutable): ReportResult {
    const id = canonicalIdOf(reported.ids);
    this.change(id, {}, 'record');
    const own = recordOf(reported, ++this.#time, reported.ids.htlhash);
    this.records.set(own.id, own);
    this.#aliases.delete(own.id);
    return { status: 'created', id: own.id, generation: own.generation };
  }

  #homeOf({ ids }: ReportedExecutable): ExecutableId {
    const id = canonicalIdOf(ids);
    return this.records.get(id)?.ambiguous ? ids.htlhash : id;
  }

  #check({ id, generation }: { id: ExecutableId; generation: number }): CheckResult {
    if (this.erased.has(id) || this.erased.has(this.#aliases.get(id) ?? id)) return 'erased';
    const record = this.#find(id);
    if (record === undefined) return 'missing';
    return record.generation === generation ? 'ok' : 'changed';
  }

  #lookup(id: ExecutableId) {
    if (this.erased.has(id)) return { error: { code: 'erased' } };
    const record = this.#find(id);
    return record === undefined ? { error: { code: 'not_found' } } : { record };
  }

  #find(id: ExecutableId): ExecutableRecord | undefined {
    return this.records.get(id) ?? this.records.get(this.#aliases.get(id) ?? id);
  }

  #lookupFrames(requests: unknown[]) {
    const builder = new FramesReplyBuilder();
    for (const request of requests) {
      const { id, addresses } = parseFramesLookupItem(request);
      const record = this.#find(id);
      builder.add(
        id,
        record?.id ?? '',
        record?.generation ?? 0,
        addresses.map((one) => this.#framesAt(record, one)),
      );
    }
    return builder.reply;
  }

  #framesAt(record: ExecutableRecord | undefined, address: bigint): FramesAt {
    if (record === undefined) return { status: FRAME_STATUS.unknownExecutable, source: 'none', frames: [] };
    const frames = this.frames.get(`${record.id} ${address}`);
    if (frames !== undefined) return { status: FRAME_STATUS.resolved, source: 'dwarf', frames };
    const isReady = record.symbols.state === 'ready';
    return {
      status: isReady ? FRAME_STATUS.noSymbol : FRAME_STATUS.symbolsNotReady,
      source: 'none',
      frames: [],
    };
  }

  #eventsAfter(cursor: string | null) {
    const end = `${this.epoch}/${this.#forgotten + this.#events.length}`;
    if (cursor === null) return { events: [], cursor: end };
    const [epoch, position] = cursor.split('/');
    const from = Number(position) - this.#forgotten;
    if (epoch !== this.epoch || from < 0) return { reset: true, cursor: end };
    return { events: this.#events.slice(from), cursor: end };
  }

  #publish(id: ExecutableId, kind: EventKind): void {
    this.#events.push({ id, generation: this.records.get(id)?.generation ?? ++this.#time, kind });
  }
}

/** An executable of its own for each number: GNU ID, htlhash, name and layout. */
export function executable(n: number, more: Partial<ReportedExecutable> = {}): ReportedExecutable {
  const hex = (n + 1).toString(16).padStart(8, '0');
  return {
    ids: { gnu: `gnu:${hex.repeat(5)}` as ExecutableId, htlhash: htlhashId(hex.repeat(4)) },
    ...{ name: `/usr/lib/lib${n}.so`, arch: 'x86_64', type: 'dyn', size: 4_096 + n },
    load: [[0x1000n, BigInt(0x100 + n)]],
    ...more,
  };
}
