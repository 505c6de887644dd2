// Where else the symbols of a file are: in a separate `.debug` file, in a file shared by several (dwz), or compressed in
// a section of the file itself.
import { crc32 } from 'node:zlib';
import { type ByteSource, bytesSource, readExact } from './byte-source.ts';
import { ElfError } from './elf-error.ts';
import { type ElfImage, type ElfLimits, openElf } from './elf-image.ts';
import { Fields } from './fields.ts';

/** `.gnu_debuglink`: the name of the debug file and the CRC-32 of all of its bytes. */
export interface DebugLink {
  readonly fileName: string;
  readonly crc32: number;
}

/** `.gnu_debugaltlink`, or `.debug_sup` of DWARF 5: the path of the shared file and its build ID in hex. */
export interface AltLink {
  readonly path: string;
  readonly buildId: string;
}

/** A path and a build ID; no real one comes near. */
const linkBytesMax = 65_536;
/** Mini debuginfo is a symbol table of a few hundred kilobytes. */
export const miniDebugInfoBytesMax = 256 * 1024 * 1024;
const crcReadBytes = 1_048_576;

/** Undefined if the image has no such section. Throws `ElfError`. */
export function debugLinkOf(image: ElfImage): DebugLink | undefined {
  const link = nameAndRest(image, '.gnu_debuglink');
  if (link === undefined) return undefined;
  const crcAt = 4 * Math.ceil(link.end / 4);
  if (crcAt + 4 > link.bytes.length) throw new ElfError('truncated', 'section .gnu_debuglink', 'has no CRC');
  return { fileName: link.name, crc32: new Fields(link.bytes, image.header).u32(crcAt) };
}

/** Undefined if the image has no such section, or is such a shared file itself. Throws `ElfError`. */
export function altLinkOf(image: ElfImage): AltLink | undefined {
  const link = nameAndRest(image, '.gnu_debugaltlink') ?? supplementaryLink(image);
  return link && { path: link.name, buildId: Buffer.from(link.bytes.subarray(link.end)).toString('hex') };
}

/** CRC-32 of a whole file, to be compared with a debug link. */
export function crc32Of(source: ByteSource): number {
  let crc = 0;
  for (let offset = 0; offset < source.size; offset += crcReadBytes) {
    crc = crc32(readExact(source, offset, Math.min(crcReadBytes, source.size - offset), 'debug file'), crc);
  }
  return crc;
}

/** Decompresses xz. Must throw, or give up, beyond `outputBytesMax` bytes. */
export type XzDecompress = (bytes: Uint8Array, outputBytesMax: number) => Uint8Array | Promise<Uint8Array>;

/**
 * `.gnu_debugdata`, the mini debuginfo of Fedora: an ELF file of `.symtab` alone, compressed with xz. Undefined if the
 * image has none. Throws `ElfError`; what `decompress` throws becomes `malformed`.
 */
export async function openMiniDebugInfo(
  image: ElfImage,
  decompress: XzDecompress,
  limits?: ElfLimits,
): Promise<ElfImage | undefined> {
  const section = image.section('.gnu_debugdata');
  if (section === undefined) return undefined;
  const bytes = await inflateXz(section.contents(), decompress, section.what);
  if (bytes.length > miniDebugInfoBytesMax)
    throw new ElfError('limit', section.what, `${bytes.length} bytes`);
  return openElf(bytesSource(bytes), limits);
}

async function inflateXz(bytes: Uint8Array, decompress: XzDecompress, what: string): Promise<Uint8Array> {
  try {
    return await decompress(bytes, miniDebugInfoBytesMax);
  } catch (error) {
    throw new ElfError('malformed', what, 'its xz stream is broken or too long', error);
  }
}

interface Link {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Behind the terminator of the name. */
  readonly end: number;
}

function nameAndRest(image: ElfImage, sectionName: string): Link | undefined {
  const bytes = linkBytes(image, sectionName);
  return bytes && linkAt(bytes, 0, sectionName);
}

function linkAt(bytes: Uint8Array, start: number, sectionName: string): Link {
  const terminator = bytes.indexOf(0, start);
  if (terminator <= start) throw new ElfError('malformed', `section ${sectionName}`, 'holds no file name');
  return {
    name: Buffer.from(bytes.subarray(start, terminator)).toString('utf8'),
    bytes,
    end: terminator + 1,
  };
}

/** DWARF 5, section 7.3.6: version, is_supplementary, file name, and a checksum behind its length (ULEB128). */
function supplementaryLink(image: ElfImage): Link | undefined {
  const bytes = linkBytes(image, '.debug_sup');
  if (bytes === undefined || bytes.length < 4 || bytes[2] !== 0) return undefined;
  const link = linkAt(bytes, 3, '.debug_sup');
  const length = bytes[link.end];
  if (length === undefined || length >= 0x80 || link.end + 1 + length > bytes.length) {
    throw new ElfError('truncated', 'section .debug_sup', 'has no checksum');
  }
  return { name: link.name, bytes: bytes.subarray(0, link.end + 1 + length), end: link.end + 1 };
}

function linkBytes(image: ElfImage, sectionName: string): Uint8Array | undefined {
  const section = image.section(sectionName);
  if (section === undefined) return undefined;
  const size = section.contentBytes();
  if (size > linkBytesMax)
    throw new ElfError('limit', section.what, `${size} bytes, at most ${linkBytesMax}`);
  return section.contents();
}
