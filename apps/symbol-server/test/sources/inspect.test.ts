// What a file is, told from its bytes: against what is known of how each was made.
import { type ByteSource, bytesSource, ElfError, htlhashOf } from '@symkeep/elf';
import { describe, expect, it } from 'vitest';
import { inspectFile } from '../../src/sources/inspect.ts';
import { buildId, dwzId, elfFile } from './elf-files.ts';

const inspect = (name: string) => inspectFile(bytesSource(elfFile(name)));

describe('a file', () => {
  it.each([
    ['debug-plain', 'executable', 'dwarf'],
    ['debug-zstd', 'executable', 'dwarf'],
    ['debug-zdebug', 'executable', 'dwarf'],
    ['debug-stripped', 'executable', 'none'],
    ['debug-eu-stripped', 'executable', 'symtab'],
    ['debug-mini', 'executable', 'symtab'],
    ['debug-only', 'debug', 'dwarf'],
    ['debug-eu-only', 'debug', 'dwarf'],
    ['debug-dwz1', 'executable', 'dwarf'],
    ['shapes-x86_64', 'executable', 'symtab'],
    ['shapes-i386', 'executable', 'symtab'],
    ['shapes-powerpc64', 'executable', 'symtab'],
    ['shapes-no-sections', 'executable', 'none'],
    ['go-id', 'debug', 'none'],
  ])('%s is of kind %s with %s', (name, kind, quality) => {
    expect(inspect(name)).toMatchObject({ kind, quality });
  });

  it('has the IDs that are in it', () => {
    const bytes = elfFile('debug-only');
    const htlhash = `htlhash:${htlhashOf(bytesSource(bytes))}`;
    expect(inspectFile(bytesSource(bytes)).ids).toEqual({ gnu: `gnu:${buildId}`, htlhash });
    expect(inspect('go-id').ids.go).toMatch(/^go:/);
    expect(inspect('go-redacted').ids).toEqual({ htlhash: expect.stringMatching(/^htlhash:/) });
    expect(inspect('shapes-no-id').ids.gnu).toBeUndefined();
  });

  it('of an executable says where its code is mapped, of a debug file nothing', () => {
    expect(inspect('debug-stripped').load).toEqual(inspect('debug-plain').load);
    expect(inspect('debug-plain').load.length).toBe(1);
    expect(inspect('debug-only').load).toEqual([]);
  });

  it('refers to its dwz file, which covers nothing itself', () => {
    expect(inspect('debug-dwz1').alt).toBe(dwzId);
    expect(inspect('debug-dwz5').alt).toMatch(/^[0-9a-f]{40}$/);
    expect(inspect('debug-plain').alt).toBeUndefined();
    expect(inspect('debug-dwz')).toMatchObject({ kind: 'debug', quality: 'dwarf', covered: 0 });
  });

  it('covers as much as its symbols, and never more than its code', () => {
    const code = inspect('shapes-no-sections').load.reduce((sum, [, bytes]) => sum + Number(bytes), 0);
    const { covered } = inspect('shapes-x86_64');
    expect(covered).toBeGreaterThan(0);
    expect(covered).toBeLessThanOrEqual(code);
    expect(inspect('shapes-stripped').covered).toBe(0);
    expect(inspect('debug-only').covered).toBe(inspect('debug-plain').covered);
    expect(inspect('debug-zlib').covered).toBe(inspect('debug-plain').covered);
    expect(inspect('debug-plain').covered).toBeGreaterThan(0);
  });

  it('is read in a few kilobytes, however large it is', () => {
    const bytes = elfFile('debug-plain');
    const size = 2 ** 40;
    let read = 0;
    const source: ByteSource = {
      size,
      read: (offset, length) => {
        read += length;
        const part = bytes.subarray(offset, offset + length);
        return part.length === length ? part : Buffer.concat([part, Buffer.alloc(length - part.length)]);
      },
    };
    expect(inspectFile(source)).toMatchObject({ kind: 'executable', quality: 'dwarf', size });
    expect(read).toBeLessThan(64 * 1024);
  });
});

describe('what cannot be used', () => {
  it.each([
    ['text', Buffer.from('#!/bin/sh\n'), 'not_elf'],
    ['nothing', Buffer.alloc(0), 'not_elf'],
    ['zeros', Buffer.alloc(100_000), 'not_elf'],
    ['half a header', elfFile('debug-plain').subarray(0, 40), 'truncated'],
    ['a header alone', elfFile('debug-plain').subarray(0, 64), 'truncated'],
  ])('%s is refused', (_name, bytes, code) => {
    expect(codeOf(bytes)).toBe(code);
  });

  it('is a file that was cut short at any place', () => {
    for (const name of ['debug-plain', 'debug-only', 'debug-zstd', 'shapes-no-sections']) {
      const bytes = elfFile(name);
      for (let size = 0; size < bytes.length; size += 97) {
        expect(codeOf(bytes.subarray(0, size)), `${name} ${size}`).toMatch(/^(not_elf|truncated)$/);
      }
    }
  });

  it('is one with sections beyond number', () => {
    const bytes = elfFile('debug-plain');
    bytes.writeUInt16LE(0, 60);
    expect(codeOf(bytes)).toBe('limit');
  });

  it('throws nothing but its own error, whatever byte is wrong', () => {
    for (const name of ['debug-plain', 'debug-dwz1', 'debug-zlib-mips']) {
      const bytes = elfFile(name);
      for (let at = 0; at < bytes.length; at += 7) {
        const before = bytes[at]!;
        for (const value of [0x00, 0xff, before ^ 0x80]) {
          bytes[at] = value;
          codeOf(bytes);
        }
        bytes[at] = before;
      }
    }
  });
});

function codeOf(bytes: Uint8Array): string {
  try {
    inspectFile(bytesSource(bytes));
    return 'ok';
  } catch (error) {
    if (!(error instanceof ElfError)) throw error;
    return error.code;
  }
}
