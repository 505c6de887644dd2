// A compressed section inflated piece by piece, off this thread, so that others can read its start.

import { Readable } from 'node:stream';
import { constants, createInflate, createZstdDecompress } from 'node:zlib';
import type { ElfSection } from '@symkeep/elf';
import { isOutOfMemory, sectionFlags } from '@symkeep/elf';
import { SymbolsError } from '../symbols-error.ts';
import type { SectionStream } from './debug-sections.ts';

const readBytes = 4 * 1024 * 1024;
const pieceBytes = 1024 * 1024;
/** As `ElfSection.contents` has it. */
const zstdWindowLogMax = 23;

/** Undefined if the section is not compressed, or has relocations to apply. */
export function streamOf(section: ElfSection): SectionStream | undefined {
  const isFlagged = (section.flags & sectionFlags.compressed) !== 0;
  if (!isFlagged || section.header.type === 'rel') return undefined;
  const size = section.contentBytes();
  return { size, pieces: pieces(section, size) };
}

async function* pieces(section: ElfSection, size: number): AsyncGenerator<Uint8Array> {
  const { littleEndian, class: wordBits } = section.header;
  const headerBytes = wordBits === 64 ? 24 : 12;
  const isZlib = section.raw(littleEndian ? 0 : 3, 1)[0] === 1;
  const inflater = isZlib
    ? createInflate({ chunkSize: pieceBytes })
    : createZstdDecompress({
        chunkSize: pieceBytes,
        params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax },
      });
  const source = Readable.from(rawPieces(section, headerBytes));
  source.once('error', (error) => inflater.destroy(error));
  let given = 0;
  try {
    for await (const piece of source.pipe(inflater) as AsyncIterable<Uint8Array>) {
      given += piece.length;
      if (given > size) break;
      yield piece;
    }
  } catch (error) {
    if (isOutOfMemory(error)) throw error;
    throw new SymbolsError('malformed', section.name, 'its compressed stream is broken', error);
  }
  if (given !== size) {
    throw new SymbolsError('malformed', section.name, `inflates to ${given} bytes, not ${size}`);
  }
}

function* rawPieces(section: ElfSection, from: number): Generator<Uint8Array> {
  for (let at = from; at < section.size; at += readBytes) {
    yield section.raw(at, Math.min(readBytes, section.size - at));
  }
}
