// The two encodings of every message: JSON and plain MessagePack (no extension types, integers never as floats,
// addresses as uint64). This is the only file that knows msgpackr.
import { Packr } from 'msgpackr';
import { formatAddress } from './address.ts';
import { invalid } from './errors.ts';
import { scanMessagePack, valuesMax } from './msgpack-scan.ts';

export const jsonType = 'application/json';
export const messagePackType = 'application/msgpack';
export type Encoding = 'json' | 'msgpack';

// Records would be an extension type. Integers that fit a double come back as numbers, larger ones as bigint: 'auto',
// which msgpackr's own types leave out.
const options = {
  useRecords: false,
  int64AsType: 'auto',
  encodeUndefinedAsNil: false,
  variableMapSize: true,
};
const packr = new Packr(options as ConstructorParameters<typeof Packr>[0]);
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** A message's bytes. Its bigints are addresses: `"0x…"` in JSON, uint64 in MessagePack. Absent fields are left out. */
export function encode(value: unknown, encoding: Encoding): Uint8Array<ArrayBuffer> {
  if (encoding === 'json') return Buffer.from(JSON.stringify(value, addressAsText));
  return Buffer.from(packr.pack(plain(value)));
}

/** The value in untrusted bytes. Throws `invalid_argument` with the place where the text or the structure breaks. */
export function decode(bytes: Uint8Array, encoding: Encoding): unknown {
  if (encoding === 'json') return decodeJson(bytes);
  scanMessagePack(bytes);
  try {
    return packr.unpack(bytes);
  } catch (error) {
    throw invalid(`the MessagePack body cannot be decoded: ${(error as Error).message}`);
  }
}

function decodeJson(bytes: Uint8Array): unknown {
  // Each value takes at least a byte.
  if (bytes.length > valuesMax) boundJsonValues(bytes);
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch (error) {
    throw invalid(`the JSON body cannot be parsed: ${(error as Error).message}`);
  }
}

const quote = 0x22;
const backslash = 0x5c;
const opensValue = new Set([...'[{,:'].map((letter) => letter.charCodeAt(0)));

/** Counts what opens a value, outside strings: the text need not be JSON for that. */
function boundJsonValues(bytes: Uint8Array): void {
  let values = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (inString) {
      if (byte === backslash) at++;
      else inString = byte !== quote;
    } else if (byte === quote) inString = true;
    else if (opensValue.has(byte) && ++values > valuesMax) {
      throw invalid(`the JSON body holds more than ${valuesMax} values (at byte ${at})`);
    }
  }
}

function addressAsText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? formatAddress(value) : value;
}

// msgpackr writes integers beyond 32 bits as float64 unless they are bigint, and undefined as nil. Timestamps and sizes
// are such integers, so every message passes here; columns of small integers pass as they are.
function plain(value: unknown): unknown {
  if (typeof value === 'number') return isWide(value) ? BigInt(value) : value;
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.some(needsPlain) ? value.map(plain) : value;
  const out: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(value)) if (field !== undefined) out[key] = plain(field);
  return out;
}

function needsPlain(value: unknown): boolean {
  return typeof value === 'object' || (typeof value === 'number' && isWide(value));
}

function isWide(value: number): boolean {
  return Number.isSafeInteger(value) && (value > 0xffff_ffff || value < -0x8000_0000);
}
