// Sizes: how much is read of files of any size, and where counts do not fit their fields.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  bytesSource,
  ElfError,
  fileSource,
  htlhashOf,
  identify,
  noteBytesMax,
  noteRegionBytesMax,
  noteRegionsMax,
  readHeader,
  readSections,
  readSegments,
  sectionsMax,
  segmentsMax,
} from '../src/index.ts';
import { factsOf, fixture, fixtureBytes, fixtureText } from './fixture.ts';
import {
  countingSource,
  elf64,
  header64,
  note,
  SparseSource,
  section64,
  segment64,
  viewOf,
} from './image.ts';
import { parseReadelf } from './readelf.ts';

const gigabyte = 2 ** 30;
const id = Buffer.from('00112233445566778899aabbccddeeff00112233', 'hex');
const idNote = note('GNU', 3, id);

/** A file of `size` bytes whose section headers stand at the very end and whose build ID stands at `noteAt`. */
function sparseFile(size: number, noteAt: number): SparseSource {
  const shoff = size - 2 * section64.bytes;
  const sections = new Uint8Array(2 * section64.bytes);
  const view = viewOf(sections);
  view.setUint32(section64.bytes + section64.type, 7, true);
  view.setBigUint64(section64.bytes + section64.offset, BigInt(noteAt), true);
  view.setBigUint64(section64.bytes + section64.size, BigInt(idNote.length), true);
  const pieces = [
    [0, elf64({ shoff, shnum: 2 })],
    [noteAt, idNote],
    [shoff, sections],
  ] as const;
  return new SparseSource(size, new Map(pieces));
}

describe('case 15: files of any size', () => {
  it.each([3 * gigabyte, 5 * gigabyte, 2 ** 45])('of %i bytes costs three small reads', (size) => {
    const source = sparseFile(size, size - gigabyte);
    const identity = identify(source);
    expect(identity).toMatchObject({ gnu: id.toString('hex'), size, damage: [] });
    expect(identity.htlhash).toBe(htlhashOf(source));
    expect(source.largestRead).toBeLessThanOrEqual(4_096);
    const again = sparseFile(size, size - gigabyte);
    identify(again);
    expect([again.reads, again.bytesRead]).toEqual([3, 2 * 4_096 + idNote.length]);
  });

  it('most files cost two reads', () => {
    const source = sparseFile(5 * gigabyte, 1_024);
    expect(identify(source).gnu).toBe(id.toString('hex'));
    expect([source.reads, source.bytesRead]).toEqual([2, 8_192]);
  });
});

describe('case 15: counts that do not fit the header', () => {
  const counts = parseReadelf(fixtureText('sections.o.readelf'));

  it('e_shnum = 0 and SHN_XINDEX: 65,306 sections by gas', () => {
    const source = fixture('sections.o.zst');
    expect(readHeader(source).sectionTable).toMatchObject({ count: 0, namesIndex: 0xffff });
    const sections = readSections(source, readHeader(source));
    expect(sections).toHaveLength(counts.sectionCount);
    expect(sections[0]!.link).toBe(counts.namesIndex);
    expect(identify(source)).toMatchObject({ type: 'rel', damage: [] });
  });

  it('PN_XNUM: the count of program headers stands in section 0', () => {
    const bytes = fixtureBytes('shapes-x86_64');
    const view = viewOf(bytes);
    const shoff = Number(view.getBigUint64(header64.shoff, true));
    view.setUint32(shoff + section64.info, view.getUint16(header64.phnum, true), true);
    view.setUint16(header64.phnum, 0xffff, true);
    const source = bytesSource(bytes);
    expect(readSegments(source, readHeader(source))).toHaveLength(factsOf('shapes-x86_64').segments.length);
  });

  it('PN_XNUM without a section 0 is an error', () => {
    expect(() => identify(bytesSource(elf64({ phoff: 64, phnum: 0xffff })))).toThrow(
      expect.objectContaining({ code: 'malformed', what: 'program headers' }),
    );
  });
});

describe('limits', () => {
  const sparse = (fields: Parameters<typeof elf64>[0], pieces: [number, Uint8Array][] = []) =>
    new SparseSource(2 ** 40, new Map([[0, elf64(fields)], ...pieces]));

  it('section count', () => {
    const source = (count: number) => {
      const first = new Uint8Array(section64.bytes);
      viewOf(first).setBigUint64(section64.size, BigInt(count), true);
      return sparse({ shoff: 8_192, shnum: 0 }, [[8_192, first]]);
    };
    const within = source(sectionsMax);
    expect(readSections(within, readHeader(within))).toHaveLength(sectionsMax);
    const over = source(sectionsMax + 1);
    expect(identify(over).damage).toEqual([
      expect.objectContaining({ code: 'limit', what: 'section headers' }),
    ]);
    expect(over.bytesRead).toBeLessThan(10_000);
  });

  it('program header count', () => {
    const source = (count: number) => {
      const first = new Uint8Array(section64.bytes);
      viewOf(first).setUint32(section64.info, count, true);
      return sparse({ shoff: 8_192, shnum: 1, phoff: 65_536, phnum: 0xffff }, [[8_192, first]]);
    };
    const within = source(segmentsMax);
    expect(readSegments(within, readHeader(within))).toHaveLength(segmentsMax);
    expect(within.largestRead).toBeLessThanOrEqual(65_536);
    const over = source(segmentsMax + 1);
    expect(() => identify(over)).toThrow(expect.objectContaining({ code: 'limit', what: 'program headers' }));
  });

  const segmentOfNotes = (size: number) => {
    const segment = new Uint8Array(segment64.bytes);
    const view = viewOf(segment);
    view.setUint32(segment64.type, 4, true);
    view.setBigUint64(segment64.offset, 4_096n, true);
    view.setBigUint64(segment64.fileSize, BigInt(size), true);
    return sparse({ phoff: 64, phnum: 1 }, [
      [64, segment],
      [4_096, idNote],
    ]);
  };

  it('bytes of a note segment', () => {
    expect(identify(segmentOfNotes(noteRegionBytesMax)).gnu).toBe(id.toString('hex'));
    const over = identify(segmentOfNotes(noteRegionBytesMax + 1));
    expect(over).not.toHaveProperty('gnu');
    expect(over.damage).toEqual([expect.objectContaining({ code: 'limit', what: 'note segment 0' })]);
  });

  it('note segments', () => {
    const count = noteRegionsMax + 2;
    const segments = new Uint8Array(count * segment64.bytes);
    for (let index = 0; index < count; index++) {
      const view = viewOf(segments.subarray(index * segment64.bytes));
      view.setUint32(segment64.type, 4, true);
      view.setBigUint64(segment64.offset, 4_096n, true);
      view.setBigUint64(segment64.fileSize, BigInt(idNote.length), true);
      // Regions that are one and the same count once.
      view.setBigUint64(segment64.align, BigInt(Math.max(1, index)), true);
    }
    const source = sparse({ phoff: 65_536, phnum: count }, [
      [4_096, idNote],
      [65_536, segments],
    ]);
    const { gnu, damage } = identify(source);
    expect(gnu).toBe(id.toString('hex'));
    expect(damage).toEqual([expect.objectContaining({ code: 'limit', what: `note segment ${count - 1}` })]);
  });

  it('bytes of all note segments together', () => {
    const count = 5_000;
    const segments = new Uint8Array(count * segment64.bytes);
    for (let index = 0; index < count; index++) {
      const view = viewOf(segments.subarray(index * segment64.bytes));
      view.setUint32(segment64.type, 4, true);
      view.setBigUint64(segment64.offset, BigInt(1_000_000 + index), true);
      view.setBigUint64(segment64.fileSize, 60_000n, true);
    }
    const source = sparse({ phoff: 8_192, phnum: count }, [[8_192, segments]]);
    expect(identify(source).damage.map(({ code }) => code)).toEqual(
      Array.from({ length: 16 }, () => 'limit'),
    );
    expect(source.bytesRead).toBeLessThan(noteBytesMax + segments.length + 3 * 65_536);
  });
});

describe('sources', () => {
  it('a file descriptor through its positioned read', () => {
    const fd = openSync(fileURLToPath(new URL('../fixtures/shapes-x86_64', import.meta.url)), 'r');
    try {
      const source = fileSource(fstatSync(fd).size, (buffer, offset) =>
        readSync(fd, buffer, 0, buffer.length, offset),
      );
      expect(identify(source)).toEqual(identify(fixture('shapes-x86_64')));
    } finally {
      closeSync(fd);
    }
  });

  it('reads that come in pieces are put together', () => {
    const bytes = fixtureBytes('shapes-x86_64');
    const source = fileSource(bytes.length, (buffer, offset) => {
      const piece = bytes.subarray(offset, offset + Math.min(buffer.length, 1_000));
      buffer.set(piece);
      return piece.length;
    });
    expect(identify(source)).toEqual(identify(bytesSource(bytes)));
  });

  it('a file that shrank since its size was taken is truncated', () => {
    const source = fileSource(100_000, (buffer, offset) =>
      offset < 50 ? Math.min(50 - offset, buffer.length) : 0,
    );
    expect(() => identify(source)).toThrow(
      expect.objectContaining({ code: 'truncated', what: 'start of the file' }),
    );
  });

  it('an error of the source passes through', () => {
    const broken = { size: 10_000, read: () => expect.unreachable('EIO') };
    expect(() => identify(broken)).toThrow('EIO');
    expect(() => identify(broken)).not.toThrow(ElfError);
  });

  it('what is read is never written to', () => {
    const bytes = fixtureBytes('shapes-x86_64');
    const before = Uint8Array.from(bytes);
    identify(countingSource(bytes));
    expect(bytes).toEqual(before);
  });
});
