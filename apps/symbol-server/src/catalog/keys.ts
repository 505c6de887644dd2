// Where things are in the store. Everything of one executable lies in the shard of its ID, so one step may touch its
// record, its frames and the shard's event log together (docs/formats.md).
import type { StoreKey } from '@symkeep/cache';
import { shardCount } from '@symkeep/cache';
import { type Address, type ExecutableId, idKeyBytes, idKeyOf } from '@symkeep/protocol';

/** log2 of the addresses that share one stored value of agents' frames: hot code is dense, so 16 KiB hold dozens. */
export const windowBits = 14n;

/** Read before the next use: making a key for each ID costs more than hashing it. */
const scratch = new Uint8Array(idKeyBytes);

/** The shard of an ID: FNV-1a over its key. It is part of the stored format. */
export function shardOf(id: ExecutableId): number {
  return shardOfKey(idKeyOf(id, scratch));
}

export function shardOfKey(key: Uint8Array, offset = 0): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < idKeyBytes; index++) hash = Math.imul(hash ^ key[offset + index]!, 0x01000193);
  // The low bits of FNV depend on the low bits of the input alone.
  return ((hash >>> 16) ^ hash) & (shardCount - 1);
}

/** The record of an executable, or where its ID points. */
export function recordAt(id: ExecutableId): StoreKey {
  return { shard: shardOf(id), key: `x:${id}` };
}

/** The records of IDs whose keys stand one after another. */
export function recordsAt(ids: readonly ExecutableId[], keys: Uint8Array): StoreKey[] {
  return ids.map((id, index) => ({ shard: shardOfKey(keys, index * idKeyBytes), key: `x:${id}` }));
}

/** The agents' frames of one window of addresses. */
export function framesAt(id: ExecutableId, window: Address): StoreKey {
  return { ...allFramesAt(id), field: window.toString(16) };
}

/** The set of sources that an executable's symbol table is made from. */
export function sourcesAt(id: ExecutableId): StoreKey {
  return { shard: shardOf(id), key: `s:${id}` };
}

/** Which agent may send the file of an executable. */
export function uploadLeaseAt(id: ExecutableId): StoreKey {
  return { shard: shardOf(id), key: `l:${id}` };
}

/** All agents' frames of an executable. */
export function allFramesAt(id: ExecutableId): StoreKey {
  return { shard: shardOf(id), key: `f:${id}` };
}

/** A symbol table, whole. */
export function tableAt(id: ExecutableId, digest: string): StoreKey {
  return { shard: shardOf(id), key: `t:${id}:${digest}` };
}

/** Which upstreams had no file of an executable. */
export function upstreamAbsencesAt(id: ExecutableId): StoreKey {
  return { shard: shardOf(id), key: `u:${id}` };
}

/** The header of a symbol table; all of a table is in one key, so that it goes in one step. */
export function tableHeaderAt(id: ExecutableId, digest: string): StoreKey {
  return { ...tableAt(id, digest), field: 'h' };
}

export function tablePageAt(id: ExecutableId, digest: string, page: number): StoreKey {
  return { ...tableAt(id, digest), field: String(page) };
}

/** There where a table's pages may be missing: they are read from the archive. */
export function tableColdAt(id: ExecutableId, digest: string): StoreKey {
  return { ...tableAt(id, digest), field: 'c' };
}

export function windowOf(address: Address): Address {
  return address >> windowBits;
}
