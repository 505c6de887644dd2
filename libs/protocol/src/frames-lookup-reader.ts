// Reads the MessagePack body of a lookup of frames, `{requests: [{id, addresses, weights?}…]}`, straight into ID keys and
// columns of words: no object, string or bigint for an address. It accepts nothing that the general path (decode, validate,
// parse) would complain about, and answers -1 to that and to whatever is unusual, which then takes the general path.
import { type ExecutableId, idKeyBytes } from './ids.ts';
import { IdReader } from './lookup-reader.ts';
import { addressesMax, itemsMax } from './messages.ts';

const addressesAtFirst = 1_024;
const requestsKey = Buffer.from('\x81\xa8requests', 'latin1');
const idKey = Buffer.from('\xa2id', 'latin1');
const addressesKey = Buffer.from('\xa9addresses', 'latin1');
const weightsKey = Buffer.from('\xa7weights', 'latin1');
/** High words of integers that a double holds. */
const safeHighMax = 0x1f_ffff;

/** What is in a request, a bit each. */
const hasId = 1;
const hasAddresses = 2;
const hasWeights = 4;

/** One reader serves one message at a time: all that it holds belongs to the body last read. */
export class FramesLookupReader {
  readonly #ids = new IdReader();
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  /** Index of the first address of each request, and the number of all of them. */
  readonly starts = new Uint32Array(itemsMax + 1);
  /** The words of each address. */
  lo = new Uint32Array(addressesAtFirst);
  hi = new Uint32Array(addressesAtFirst);
  #weights = new Float64Array(addressesAtFirst);
  readonly #has = new Uint8Array(itemsMax);
  /** The words of the integer read last. */
  #lo = 0;
  #hi = 0;

  /** `idKeyBytes` per request. */
  get keys(): Uint8Array {
    return this.#ids.keys;
  }

  /** The number of requests in the body, or -1 if it is anything but a clean lookup. */
  read(body: Uint8Array): number {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    this.#bytes = bytes;
    this.#ids.begin(bytes);
    this.#at = 0;
    if (!this.#skip(requestsKey)) return -1;
    const count = this.#arrayLength();
    if (count < 0 || count > itemsMax) return -1;
    for (let index = 0; index < count; index++) if (!this.#readRequest(index)) return -1;
    return this.#at === bytes.length ? count : -1;
  }

  keyOffset(index: number): number {
    return index * idKeyBytes;
  }

  /** The ID as it was sent. */
  idTextAt(index: number): string {
    return this.#ids.textAt(index);
  }

  idAt(index: number): ExecutableId {
    return this.#ids.idAt(index);
  }

  /** Samples per address of a request, if it has them. */
  weightsAt(index: number): number[] | undefined {
    if ((this.#has[index]! & hasWeights) === 0) return undefined;
    return Array.from(this.#weights.subarray(this.starts[index], this.starts[index + 1]));
  }

  #readRequest(index: number): boolean {
    const type = this.#bytes[this.#at++] ?? 0;
    const fields = type & 0x0f;
    if ((type & 0xf0) !== 0x80 || fields > 3) return false;
    const first = this.starts[index]!;
    let has = 0;
    // Weights may come first; there are as many as addresses.
    let length = -1;
    for (let field = 0; field < fields; field++) {
      const before = has;
      if (this.#skip(idKey)) {
        has |= hasId;
        this.#at = this.#ids.read(this.#at, index);
        if (this.#at < 0) return false;
      } else {
        const isAddresses = this.#skip(addressesKey);
        if (!isAddresses && !this.#skip(weightsKey)) return false;
        has |= isAddresses ? hasAddresses : hasWeights;
        const count = this.#readColumn(first, isAddresses);
        if (count < 0 || (length >= 0 && count !== length)) return false;
        length = count;
      }
      if (has === before) return false;
    }
    if ((has & (hasId | hasAddresses)) !== (hasId | hasAddresses)) return false;
    this.#has[index] = has;
    this.starts[index + 1] = first + length;
    return true;
  }

  /** Reads an array of addresses or weights to `first` and on; returns how many there were, -1 if it is none. */
  #readColumn(first: number, isAddresses: boolean): number {
    const count = this.#arrayLength();
    if (count < 0 || first + count > addressesMax || count > this.#bytes.length - this.#at) return -1;
    this.#reserve(first + count);
    const { lo, hi } = this;
    for (let index = first; index < first + count; index++) {
      if (!this.#readInteger()) return -1;
      if (isAddresses) {
        lo[index] = this.#lo;
        hi[index] = this.#hi;
      } else if (this.#hi > safeHighMax) return -1;
      else this.#weights[index] = this.#hi * 2 ** 32 + this.#lo;
    }
    return count;
  }

  /** An unsigned integer of any width. */
  #readInteger(): boolean {
    const bytes = this.#bytes;
    const at = this.#at;
    const type = bytes[at] ?? 0xff;
    this.#hi = 0;
    if (type < 0x80) {
      this.#lo = type;
      this.#at = at + 1;
      return true;
    }
    // Writers that know only signed 64 bit, as msgpackr with a bigint, use that where it fits.
    const isSigned = type === 0xd3;
    const width = isSigned ? 8 : 1 << (type - 0xcc);
    if (!isSigned && (type < 0xcc || type > 0xcf)) return false;
    if (at + width >= bytes.length || (isSigned && bytes[at + 1]! >= 0x80)) return false;
    this.#at = at + 1 + width;
    if (width === 8) this.#hi = wordAt(bytes, at + 1);
    if (width >= 4) this.#lo = wordAt(bytes, at + width - 3);
    else this.#lo = width === 1 ? bytes[at + 1]! : (bytes[at + 1]! << 8) | bytes[at + 2]!;
    return true;
  }

  #reserve(count: number): void {
    if (count <= this.lo.length) return;
    const length = Math.min(addressesMax, Math.max(count, 2 * this.lo.length));
    this.lo = grown(this.lo, new Uint32Array(length));
    this.hi = grown(this.hi, new Uint32Array(length));
    this.#weights = grown(this.#weights, new Float64Array(length));
  }

  #arrayLength(): number {
    const bytes = this.#bytes;
    const at = this.#at;
    const type = bytes[at] ?? 0;
    const width = (type & 0xf0) === 0x90 ? 0 : type === 0xdc ? 2 : type === 0xdd ? 4 : -1;
    if (width < 0 || at + width >= bytes.length + (width === 0 ? 1 : 0)) return -1;
    this.#at = at + 1 + width;
    if (width === 0) return type & 0x0f;
    return width === 2 ? bytes.readUInt16BE(at + 1) : bytes.readUInt32BE(at + 1);
  }

  #skip(text: Uint8Array): boolean {
    const bytes = this.#bytes;
    const at = this.#at;
    for (let index = 0; index < text.length; index++) if (bytes[at + index] !== text[index]) return false;
    this.#at = at + text.length;
    return true;
  }
}

function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

function grown<T extends Uint32Array | Float64Array>(from: T, into: T): T {
  into.set(from);
  return into;
}
