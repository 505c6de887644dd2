// One shard in memory: values, values with fields, an ordered index, an event log, the epoch value. Each
// change returns what undoes it, for a failover that loses the last writes.
import type { Ranked, StoreKey, Swap, Swapped } from './store.ts';

export type Undo = () => void;

/** Entries of one shard's event log; `first` is the sequence number of the oldest that is kept. */
interface EventLog {
  first: number;
  readonly payloads: Uint8Array[];
}

/** A copy of all that a shard holds. Values are never changed in place, so they are shared. */
export interface ShardImage {
  readonly values: ReadonlyMap<string, Uint8Array>;
  readonly fields: ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>;
  readonly index: readonly string[];
  readonly rankings: ReadonlyMap<string, ReadonlyMap<string, number>>;
  readonly leaving: ReadonlyMap<string, number>;
  readonly log: { readonly first: number; readonly payloads: readonly Uint8Array[] };
  readonly epoch: string | null;
}

export class MemoryShard {
  readonly #values: Map<string, Uint8Array>;
  readonly #fields: Map<string, Map<string, Uint8Array>>;
  readonly #index: string[];
  readonly #rankings: Map<string, Map<string, number>>;
  /** When keys go by themselves, by the clock of those who ask. */
  readonly #leaving: Map<string, number>;
  readonly #log: EventLog;
  epoch: string | null;

  constructor(image?: ShardImage) {
    this.#values = new Map(image?.values);
    this.#fields = new Map(Array.from(image?.fields ?? [], ([key, held]) => [key, new Map(held)]));
    this.#index = [...(image?.index ?? [])];
    this.#rankings = new Map(Array.from(image?.rankings ?? [], ([name, held]) => [name, new Map(held)]));
    this.#leaving = new Map(image?.leaving);
    this.#log = { first: image?.log.first ?? 1, payloads: [...(image?.log.payloads ?? [])] };
    this.epoch = image?.epoch ?? null;
  }

  image(): ShardImage {
    const copy = new MemoryShard({
      values: this.#values,
      fields: this.#fields,
      index: this.#index,
      rankings: this.#rankings,
      leaving: this.#leaving,
      log: this.#log,
      epoch: this.epoch,
    });
    return {
      values: copy.#values,
      fields: copy.#fields,
      index: copy.#index,
      rankings: copy.#rankings,
      leaving: copy.#leaving,
      log: copy.#log,
      epoch: copy.epoch,
    };
  }

  read({ key, field }: StoreKey): Uint8Array | null {
    const value = field === undefined ? this.#values.get(key) : this.#fields.get(key)?.get(field);
    return value ?? null;
  }

  /** Removes a key whole; answers what undoes it. */
  drop(key: string): Undo {
    const value = this.#values.get(key);
    const fields = this.#fields.get(key);
    this.#values.delete(key);
    this.#fields.delete(key);
    this.#leaving.delete(key);
    return () => {
      if (value !== undefined) this.#values.set(key, value);
      if (fields !== undefined) this.#fields.set(key, fields);
    };
  }

  listFields(key: string): string[] {
    return [...(this.#fields.get(key)?.keys() ?? [])];
  }

  countFields(key: string): number {
    return this.#fields.get(key)?.size ?? 0;
  }

  /** Removes what has left by now. */
  expire(now: number): void {
    for (const [key, at] of this.#leaving) if (at <= now) this.drop(key);
  }

  /** The swap's outcome, and what undoes it, newest first. */
  swap(
    { at, expected, value, event, index, keep, leave }: Swap,
    eventsKept: number,
    now: number,
  ): { outcome: Swapped; undo: readonly Undo[] } {
    const current = this.read(at);
    const epoch = this.epoch;
    if (!sameBytes(current, expected)) {
      return { outcome: { swapped: false, current: current?.slice() ?? null, epoch }, undo: [] };
    }
    const undo: Undo[] = [() => this.#write(at, current)];
    this.#write(at, value?.slice() ?? null);
    for (const member of index?.add ?? []) if (this.#insert(member)) undo.unshift(() => this.#delete(member));
    for (const member of index?.remove ?? [])
      if (this.#delete(member)) undo.unshift(() => this.#insert(member));
    if (keep !== undefined) undo.unshift(this.#leave(keep, undefined));
    if (leave !== undefined) undo.unshift(this.#leave(leave.key, now + leave.ms));
    if (event !== undefined) {
      this.#append(event.slice(), eventsKept);
      undo.unshift(() => this.#log.payloads.pop());
    }
    return { outcome: { swapped: true, epoch }, undo };
  }

  #leave(key: string, at: number | undefined): Undo {
    const before = this.#leaving.get(key);
    const set = (time: number | undefined): void => {
      if (time === undefined) this.#leaving.delete(key);
      else if (this.#values.has(key) || this.#fields.has(key)) this.#leaving.set(key, time);
    };
    set(at);
    return () => set(before);
  }

  #write({ key, field }: StoreKey, value: Uint8Array | null): void {
    if (field === undefined) {
      // As in Redis, a new value has no end.
      this.#leaving.delete(key);
      if (value === null) this.#values.delete(key);
      else this.#values.set(key, value);
      return;
    }
    const held = this.#fields.get(key) ?? new Map<string, Uint8Array>();
    if (value === null) held.delete(field);
    else held.set(field, value);
    if (held.size === 0) this.drop(key);
    else this.#fields.set(key, held);
  }

  /** Members after `after`, in order. */
  scan(after: string, limit: number): readonly string[] {
    const place = after === '' ? 0 : this.#place(after);
    const start = after !== '' && this.#index[place] === after ? place + 1 : place;
    return this.#index.slice(start, start + limit);
  }

  #insert(member: string): boolean {
    const place = this.#place(member);
    if (this.#index[place] === member) return false;
    this.#index.splice(place, 0, member);
    return true;
  }

  #delete(member: string): boolean {
    const place = this.#place(member);
    if (this.#index[place] !== member) return false;
    this.#index.splice(place, 1);
    return true;
  }

  /** Where a member is, or would be. */
  #place(member: string): number {
    let low = 0;
    let high = this.#index.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareUtf8(this.#index[middle]!, member) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The new score, and what undoes the change. */
  raise(ranking: string, member: string, by: number, membersMax: number): { score: number; undo: Undo } {
    const before = this.#rankings.get(ranking) ?? new Map<string, number>();
    const held = new Map(before);
    if (!held.has(member) && held.size >= membersMax) {
      const lowest = inOrder(held).at(-1)!;
      held.delete(lowest.member);
      held.set(member, lowest.score);
    }
    const score = (held.get(member) ?? 0) + by;
    held.set(member, score);
    this.#rankings.set(ranking, held);
    return { score, undo: () => this.#rankings.set(ranking, before) };
  }

  highest(ranking: string, limit: number): Ranked[] {
    return inOrder(this.#rankings.get(ranking) ?? new Map()).slice(0, limit);
  }

  score(ranking: string, member: string): number | null {
    return this.#rankings.get(ranking)?.get(member) ?? null;
  }

  withdraw(ranking: string, member: string): Undo {
    const before = this.#rankings.get(ranking) ?? new Map<string, number>();
    const held = new Map(before);
    held.delete(member);
    this.#rankings.set(ranking, held);
    return () => this.#rankings.set(ranking, before);
  }

  get tail(): number {
    return this.#log.first + this.#log.payloads.length - 1;
  }

  /** Events after a sequence number, at most `limit`; null if some of them are gone, or the log went back. */
  eventsAfter(sequence: number, limit: number): readonly Uint8Array[] | null {
    const start = sequence + 1 - this.#log.first;
    if (start < 0 || sequence > this.tail) return null;
    return this.#log.payloads.slice(start, start + limit);
  }

  /** Trims in steps: at least `eventsKept` stay, at most twice as many. */
  #append(event: Uint8Array, eventsKept: number): void {
    const { payloads } = this.#log;
    payloads.push(event);
    if (payloads.length < eventsKept * 2) return;
    const gone = payloads.length - eventsKept;
    payloads.splice(0, gone);
    this.#log.first += gone;
  }
}

/** Highest first; of equal scores the later member, as a sorted set in reverse. */
function inOrder(ranking: ReadonlyMap<string, number>): Ranked[] {
  const ranked = Array.from(ranking, ([member, score]) => ({ member, score }));
  return ranked.sort((a, b) => b.score - a.score || compareUtf8(b.member, a.member));
}

function sameBytes(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0;
}

/** Order of the UTF-8 bytes: that of code units, but for surrogates, which come after all other units. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const unitA = a.charCodeAt(i);
    const unitB = b.charCodeAt(i);
    if (unitA !== unitB) return codePointRank(unitA) - codePointRank(unitB);
  }
  return a.length - b.length;
}

function codePointRank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}
