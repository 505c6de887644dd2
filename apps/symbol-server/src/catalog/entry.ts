// What stands under one ID in the store: the record; for an alias the canonical IDs that it leads to; or a tombstone. The
// first byte of the MessagePack value tells them apart: a map is a record, an array are canonical IDs, a number is the
// time of an erasure.
import { decode, type ExecutableId, encode } from '@symkeep/protocol';
import { StoredRecord } from './stored-record.ts';

/** More canonical IDs under one alias than this are not told apart any more; two already make it ambiguous. */
const targetsMax = 4;

/** What the small ones take with their place in the cache. */
const smallWeight = 512;

/** An alias: one hop, never a chain. A file hash or Go ID that several executables claim keeps them all. */
export class Alias {
  readonly targets: readonly ExecutableId[];
  readonly wire: Uint8Array;

  constructor(targets: readonly ExecutableId[], wire: Uint8Array = encode(targets, 'msgpack')) {
    this.targets = targets;
    this.wire = wire;
  }

  get weight(): number {
    return smallWeight;
  }

  /** The alias that leads to `id` as well; itself if it does already. Keeps the smallest, whatever the order. */
  with(id: ExecutableId): Alias {
    if (this.targets.includes(id)) return this;
    const targets = [...this.targets, id].sort().slice(0, targetsMax);
    return targets.includes(id) ? new Alias(targets) : this;
  }
}

/** What was erased stays so: no report brings it back. */
export class Tombstone {
  /** When it was erased, Unix milliseconds by the store's clock. */
  readonly at: number;
  constructor(at: number) {
    this.at = at;
  }

  get weight(): number {
    return smallWeight;
  }

  get wire(): Uint8Array {
    return encode(this.at, 'msgpack');
  }
}

export type Entry = StoredRecord | Alias | Tombstone;

/** The entry in bytes, which it does not keep. */
export function readEntry(wire: Uint8Array): Entry {
  const isArray = (wire[0]! & 0xf0) === 0x90 || wire[0] === 0xdc || wire[0] === 0xdd;
  const isMap = (wire[0]! & 0xf0) === 0x80 || wire[0] === 0xde || wire[0] === 0xdf;
  if (!isArray && !isMap) return new Tombstone(decode(wire, 'msgpack') as number);
  return isArray
    ? new Alias(decode(wire, 'msgpack') as ExecutableId[], new Uint8Array(wire))
    : StoredRecord.read(wire);
}
