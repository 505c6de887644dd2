// A record as the process cache holds it: the bytes that the store holds, which a MessagePack reply splices in as they
// are. The decoded record, its JSON and its ETag are made when first asked for.
import { createHash } from 'node:crypto';
import { decode, type ExecutableRecord, encode } from '@symkeep/protocol';

export class StoredRecord {
  /** The record in MessagePack, as stored. */
  readonly wire: Uint8Array;
  #record: ExecutableRecord | undefined;
  #json: Uint8Array | undefined;
  #etag: string | undefined;

  constructor(wire: Uint8Array, record?: ExecutableRecord) {
    this.wire = wire;
    this.#record = record;
  }

  static of(record: ExecutableRecord): StoredRecord {
    return new StoredRecord(encode(record, 'msgpack'), record);
  }

  // The store holds what this process or its like encoded; the version of that format is part of the key.
  get record(): ExecutableRecord {
    this.#record ??= decode(this.wire, 'msgpack') as ExecutableRecord;
    return this.#record;
  }

  /** The record in JSON. */
  get json(): Uint8Array {
    this.#json ??= encode(this.record, 'json');
    return this.#json;
  }

  /** Of what the record says, in either encoding; `lastSeen` alone does not change it. */
  get etag(): string {
    if (this.#etag === undefined) {
      const { id, version, generation } = this.record;
      const digest = createHash('sha256').update(`${id} ${version} ${generation}`).digest('base64url');
      this.#etag = `"${digest.slice(0, 22)}"`;
    }
    return this.#etag;
  }
}
