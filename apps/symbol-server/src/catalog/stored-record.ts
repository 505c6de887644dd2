// A record as the process cache holds it: the bytes that the store holds, which a MessagePack reply splices in as they
// are. The decoded record, its JSON and its ETag are made when first asked for.
//
// Bytes are kept as text, a letter a byte (latin1): a string of that size is one plain object of the heap, where a typed
// array is three and a piece of memory outside of it, which cost the collector more than all the rest of a lookup.
import { createHash } from 'node:crypto';
import { decode, type ExecutableRecord, encode } from '@symkeep/protocol';

/** What a record takes once everything was made of it, for each byte of its wire form; measured, and rounded up. */
const heldPerByte = 6;
/** The record itself, and its place in the cache. */
const heldAtLeast = 256;

export class StoredRecord {
  /** The record in MessagePack, as stored, in latin1. */
  readonly wireText: string;
  #record: ExecutableRecord | undefined;
  #jsonText: string | undefined;
  #etag: string | undefined;
  #tableDigest: Uint8Array | null | undefined;

  private constructor(wireText: string, record?: ExecutableRecord) {
    this.wireText = wireText;
    this.#record = record;
  }

  static of(record: ExecutableRecord): StoredRecord {
    return new StoredRecord(latin1(encode(record, 'msgpack')), record);
  }

  static read(wire: Uint8Array): StoredRecord {
    return new StoredRecord(latin1(wire));
  }

  /** Bytes that it may come to hold. */
  get weight(): number {
    return this.wireText.length * heldPerByte + heldAtLeast;
  }

  /** The record in MessagePack, as stored. */
  get wire(): Uint8Array {
    return Buffer.from(this.wireText, 'latin1');
  }

  // The store holds what this process or its like encoded; the version of that format is part of the key.
  get record(): ExecutableRecord {
    this.#record ??= decode(this.wire, 'msgpack') as ExecutableRecord;
    return this.#record;
  }

  /** The digest of the symbol table that answers for it, null if none does. */
  get tableDigest(): Uint8Array | null {
    if (this.#tableDigest === undefined) {
      const { symbols, ambiguous } = this.record;
      const isAnswered = symbols.state === 'ready' && symbols.digest !== undefined && !ambiguous;
      this.#tableDigest = isAnswered ? Buffer.from(symbols.digest, 'hex') : null;
    }
    return this.#tableDigest;
  }

  /** The bytes of the record in JSON, in latin1. */
  get jsonText(): string {
    this.#jsonText ??= latin1(encode(this.record, 'json'));
    return this.#jsonText;
  }

  /** The record in JSON. */
  get json(): Uint8Array {
    return Buffer.from(this.jsonText, 'latin1');
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

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
