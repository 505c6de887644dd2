// Checks untrusted MessagePack before a decoder allocates for it: five bytes can declare an array of four billion. One
// pass, no recursion, no allocation. Extension types are refused, since this protocol's MessagePack is plain.
import { invalid } from './errors.ts';

/** Nesting of any message of the protocol is under 8; the decoder recurses once per level. */
export const depthMax = 16;

/**
 * Values in one message: more than any request of the protocol has. Each costs the decoder some fifty bytes, so a few
 * megabytes of empty arrays would take a gigabyte.
 */
export const valuesMax = 500_000;

/** Throws `invalid_argument` with the offset unless `bytes` is exactly one plain, complete MessagePack value. */
export function scanMessagePack(bytes: Uint8Array): void {
  const end = skipValues(bytes);
  if (end !== bytes.length) throw broken('has bytes after its end', end);
}

function skipValues(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Values still to come at each open level; level 0 is the message itself.
  const pending = new Float64Array(depthMax + 1);
  pending[0] = 1;
  let depth = 0;
  let at = 0;
  let values = 0;
  while (depth >= 0) {
    if (pending[depth] === 0) {
      depth--;
      continue;
    }
    pending[depth]!--;
    if (++values > valuesMax) throw broken(`holds more than ${valuesMax} values`, at);
    if (at >= bytes.length) throw broken('ends early', at);
    const head = headOf(view, at);
    at += head.size;
    if (at > bytes.length) throw broken('ends early', bytes.length);
    if (head.children === 0) continue;
    // Every child takes at least one byte.
    if (head.children > bytes.length - at) throw broken('declares more elements than it has bytes', at);
    if (++depth > depthMax) throw broken(`nests deeper than ${depthMax}`, at);
    pending[depth] = head.children;
  }
  return at;
}

/** Size of a value without its children (with the content of a string), and how many values its children are. */
function headOf(view: DataView, at: number): { size: number; children: number } {
  const type = view.getUint8(at);
  if (type <= 0x7f || type >= 0xe0) return { size: 1, children: 0 };
  if (type <= 0x8f) return { size: 1, children: 2 * (type & 0x0f) };
  if (type <= 0x9f) return { size: 1, children: type & 0x0f };
  if (type <= 0xbf) return { size: 1 + (type & 0x1f), children: 0 };
  const fixed = fixedSizes[type];
  if (fixed !== undefined) return { size: fixed, children: 0 };
  const width = lengthWidths[type];
  if (width === undefined) throw broken('has an extension or unused type', at);
  if (at + 1 + width > view.byteLength) throw broken('ends early', at);
  const length =
    width === 1 ? view.getUint8(at + 1) : width === 2 ? view.getUint16(at + 1) : view.getUint32(at + 1);
  if (type >= 0xde) return { size: 1 + width, children: 2 * length };
  if (type >= 0xdc) return { size: 1 + width, children: length };
  return { size: 1 + width + length, children: 0 };
}

// nil, booleans, floats, integers: whole size in bytes.
const fixedSizes: Record<number, number> = {
  192: 1,
  194: 1,
  195: 1,
  202: 5,
  203: 9,
  204: 2,
  205: 3,
  206: 5,
  207: 9,
  208: 2,
  209: 3,
  210: 5,
  211: 9,
};
// bin, str, array, map: bytes of the length field.
const lengthWidths: Record<number, number> = {
  196: 1,
  197: 2,
  198: 4,
  217: 1,
  218: 2,
  219: 4,
  220: 2,
  221: 4,
  222: 2,
  223: 4,
};

function broken(why: string, at: number) {
  return invalid(`the MessagePack body ${why} (at byte ${at})`);
}
