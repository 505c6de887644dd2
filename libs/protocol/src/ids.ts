// Executable IDs: GNU build ID, Go build ID, and htlhash (the file ID of OpenTelemetry profiles). They are parsed
// strictly and once, at the edge; everything behind takes the branded text `ExecutableId` or its fixed-size key.
//
// Text form: `gnu:<hex>`, `htlhash:<32 hex>`, `go:<base64url of the Go build ID>`; bare hex means gnu. Hex is
// normalised to lower case, since senders differ. What many unrelated files share (constant and placeholder IDs) is
// refused: it would give one file the names of another.
import { createHash } from 'node:crypto';
import { invalid } from './errors.ts';

export type ExecutableId = string & { readonly brand: 'ExecutableId' };
export type IdKind = 'gnu' | 'htlhash' | 'go';

/** Under 8 bytes a build ID is a counter or a test value (`--build-id=0x1234`), not a digest. */
export const gnuBytesMin = 8;
/** The longest digest in use (SHA-512); anything longer is no build ID. */
export const gnuBytesMax = 64;
const htlhashBytes = 16;
/** Real Go build IDs are 83 bytes; the linker itself has no bound. */
export const goBytesMax = 256;
/** The longest text form: `go:` and the base64url of the longest Go build ID. */
export const idTextMax = 4 + Math.ceil((goBytesMax * 4) / 3);

/** Bytes of an ID key: kind, length, two zero bytes, 20 bytes of the ID. */
export const idKeyBytes = 24;
const keyDigestBytes = 20;

const kindCode: Record<IdKind, number> = { gnu: 1, htlhash: 2, go: 3 };

/** Marks what is no hex digit in `hexValues`. */
const notHex = 0xff;
/** The value of a hex digit in either case, by its character code. */
export const hexValues = new Uint8Array(256).fill(notHex);
for (let value = 0; value < 16; value++) {
  hexValues[value.toString(16).charCodeAt(0)] = value;
  hexValues[value.toString(16).toUpperCase().charCodeAt(0)] = value;
}

// Binaries linked with `-buildid=redacted` (Bazel's rules_go) all carry the GNU ID that the Go linker derives from that
// text: the first 20 bytes of its SHA-256, bit-inverted before Go 1.24 and with the first byte's low bit flipped since.
export const sharedGnuIds: ReadonlySet<string> = new Set(
  ['', 'redacted'].flatMap((goId) => {
    const digest = createHash('sha256').update(goId).digest().subarray(0, 20);
    const flipped = Buffer.from(digest);
    flipped[0]! ^= 1;
    return [digest, flipped, digest.map((byte) => byte ^ 0xff)].map((bytes) =>
      Buffer.from(bytes).toString('hex'),
    );
  }),
);
const unknownKernel = `${'f'.repeat(31)}d`;
const unknownKernelHalves = `${'f'.repeat(15)}d`.repeat(2);

/**
 * Parses an executable ID in text form. Throws `invalid_argument` that names the text (cut) and what is wrong with it.
 */
export function parseExecutableId(text: string): ExecutableId {
  if (text.length > idTextMax) throw refused(text, `is longer than ${idTextMax} characters`);
  const colon = text.indexOf(':');
  if (colon < 0) return gnuId(text);
  const value = text.slice(colon + 1);
  switch (text.slice(0, colon)) {
    case 'gnu':
      return gnuId(value);
    case 'htlhash':
      return htlhashId(value);
    case 'go':
      return goIdOfText(value);
    default:
      throw refused(text, 'has an unknown kind; known are gnu:, htlhash: and go:');
  }
}

/** `gnu:<hex>` of a GNU build ID given as hex of 8 to 64 bytes in either case. */
export function gnuId(hex: string): ExecutableId {
  const lower = hexOf(hex, gnuBytesMin, gnuBytesMax);
  if (isSharedGnuId(lower)) throw refused(hex, 'is a placeholder that many files share');
  return `gnu:${lower}` as ExecutableId;
}

/** `htlhash:<hex>` of an OpenTelemetry file ID given as 32 hex digits in either case. */
export function htlhashId(hex: string): ExecutableId {
  const lower = hexOf(hex, htlhashBytes, htlhashBytes);
  if (isPlaceholder(lower)) throw refused(hex, 'is a placeholder that many files share');
  return `htlhash:${lower}` as ExecutableId;
}

/** `go:<base64url>` of a Go build ID given as it stands in the note: four parts between slashes. */
export function goId(raw: string): ExecutableId {
  if (!isGoBuildId(raw))
    throw refused(raw, `is not a Go build ID of the form a/b/c/d, at most ${goBytesMax} bytes`);
  return `go:${Buffer.from(raw, 'latin1').toString('base64url')}` as ExecutableId;
}

/** Whether a Go build ID identifies a build: four non-empty parts of printable ASCII, which `redacted` is not. */
export function isGoBuildId(raw: string): boolean {
  const part = '[!-.0-~]+';
  return raw.length <= goBytesMax && new RegExp(`^${part}/${part}/${part}/${part}$`).test(raw);
}

/** Whether hex is a value that many unrelated files carry as their GNU build ID. */
export function isSharedGnuId(hex: string): boolean {
  const lower = hex.toLowerCase();
  return isPlaceholder(lower) || sharedGnuIds.has(lower);
}

export function kindOf(id: ExecutableId): IdKind {
  return id.startsWith('gnu:') ? 'gnu' : id.startsWith('go:') ? 'go' : 'htlhash';
}

/** The ID without its kind, as notes and OTel attributes have it: hex, or the Go build ID's own text. */
export function rawIdOf(id: ExecutableId): string {
  const value = id.slice(id.indexOf(':') + 1);
  return kindOf(id) === 'go' ? Buffer.from(value, 'base64url').toString('latin1') : value;
}

/**
 * The ID as a key of fixed size for caches and shards: kind, length, and 20 bytes; of longer IDs (Go) the first 20 bytes
 * of their SHA-256. Kind and length are part of it, so that no two texts become one key by padding.
 */
export function idKeyOf(
  id: ExecutableId,
  into: Uint8Array = new Uint8Array(idKeyBytes),
  offset = 0,
): Uint8Array {
  const kind = kindOf(id);
  const from = kind.length + 1;
  const length = kind === 'go' ? Number.POSITIVE_INFINITY : (id.length - from) >> 1;
  if (length > keyDigestBytes) return hashedKeyOf(id, kind, into, offset);
  const to = offset + 4;
  into[offset] = kindCode[kind];
  into[offset + 1] = length;
  into[offset + 2] = 0;
  into[offset + 3] = 0;
  // An ID was parsed: its hex is hex. A loop here is several times faster than Buffer's own, which makes a buffer.
  for (let byte = 0; byte < keyDigestBytes; byte++) {
    const at = from + 2 * byte;
    const isIn = byte < length;
    into[to + byte] = isIn ? (hexValues[id.charCodeAt(at)]! << 4) | hexValues[id.charCodeAt(at + 1)]! : 0;
  }
  return into;
}

function hashedKeyOf(id: ExecutableId, kind: IdKind, into: Uint8Array, offset: number): Uint8Array {
  const bytes = Buffer.from(id.slice(kind.length + 1), kind === 'go' ? 'base64url' : 'hex');
  const digest = bytes.length <= keyDigestBytes ? bytes : createHash('sha256').update(bytes).digest();
  into.fill(0, offset, offset + idKeyBytes);
  into[offset] = kindCode[kind];
  into[offset + 1] = Math.min(bytes.length, 255);
  into.set(digest.subarray(0, keyDigestBytes), offset + 4);
  return into;
}

/** All the IDs of one file, as an agent read them from its bytes. */
export interface FileIds {
  readonly gnu?: ExecutableId;
  readonly htlhash: ExecutableId;
  readonly go?: ExecutableId;
}

/** The one ID a file is kept under: a function of the file alone, so it never changes. */
export function canonicalIdOf(ids: FileIds): ExecutableId {
  return ids.gnu ?? ids.htlhash;
}

function goIdOfText(value: string): ExecutableId {
  const raw = Buffer.from(value, 'base64url');
  // Node's decoder skips what is not base64url: two texts would become one key.
  if (raw.toString('base64url') !== value) throw refused(value, 'is not base64url without padding');
  return goId(raw.toString('latin1'));
}

function hexOf(text: string, bytesMin: number, bytesMax: number): string {
  if (!/^[0-9a-fA-F]+$/.test(text)) throw refused(text, 'is not hex');
  if (text.length % 2 !== 0) throw refused(text, 'has an odd number of hex digits');
  const bytes = text.length / 2;
  if (bytes < bytesMin || bytes > bytesMax) {
    const range = bytesMin === bytesMax ? `${bytesMin}` : `${bytesMin} to ${bytesMax}`;
    throw refused(text, `has ${bytes} bytes instead of ${range}`);
  }
  return text.toLowerCase();
}

function isPlaceholder(hex: string): boolean {
  return /^0+$/.test(hex) || /^f+$/.test(hex) || hex === unknownKernel || hex === unknownKernelHalves;
}

function refused(text: string, why: string) {
  const shown = text.length > 80 ? `${text.slice(0, 77)}…` : text;
  return invalid(`executable ID ${JSON.stringify(shown)} ${why}`);
}
