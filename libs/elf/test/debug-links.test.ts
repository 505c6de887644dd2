import { execFileSync, spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import {
  altLinkOf,
  bytesSource,
  crc32Of,
  debugLinkOf,
  type ElfImage,
  identify,
  miniDebugInfoBytesMax,
  openElf,
  openMiniDebugInfo,
  readSymbols,
} from '../src/index.ts';
import { factsOf, fixture, fixtureBytes } from './fixture.ts';

const open = (name: string) => openElf(fixture(name));
const hasXz = spawnSync('xz', ['--version']).status === 0;

/** `bytes` with the start of a section's contents replaced. */
function patched(name: string, section: string, content: Uint8Array): ElfImage {
  const bytes = fixtureBytes(name);
  bytes.set(content, openElf(bytesSource(bytes)).section(section)!.offset);
  return openElf(bytesSource(bytes));
}

describe('.gnu_debuglink', () => {
  it('names the debug file and its CRC-32', () => {
    expect(debugLinkOf(open('debug-stripped'))).toEqual({
      fileName: 'debug-only',
      crc32: crc32Of(fixture('debug-only')),
    });
    expect(debugLinkOf(open('debug-plain'))).toBeUndefined();
  });

  it('without a name, or without the CRC', () => {
    expect(() => debugLinkOf(patched('debug-stripped', '.gnu_debuglink', new Uint8Array(16)))).toThrow(
      expect.objectContaining({ code: 'malformed', what: 'section .gnu_debuglink' }),
    );
    expect(() =>
      debugLinkOf(patched('debug-stripped', '.gnu_debuglink', Buffer.from('debug-only-12\0'))),
    ).toThrow(expect.objectContaining({ code: 'truncated', what: 'section .gnu_debuglink' }));
    expect(() => debugLinkOf(patched('debug-stripped', '.gnu_debuglink', Buffer.alloc(16, 0x61)))).toThrow(
      expect.objectContaining({ code: 'malformed' }),
    );
  });
});

describe('alt links of dwz', () => {
  it('.gnu_debugaltlink names the shared file and its build ID', () => {
    const link = altLinkOf(open('debug-dwz1'));
    expect(link).toEqual({ path: 'debug-dwz', buildId: factsOf('debug-dwz').gnu[0] });
    expect(identify(fixture('debug-dwz')).gnu).toBe(link?.buildId);
  });

  it('.debug_sup of DWARF 5', () => {
    expect(altLinkOf(open('debug-dwz5'))).toEqual({
      path: 'debug-dwz7',
      buildId: expect.stringMatching(/^[0-9a-f]{40}$/),
    });
  });

  it('a supplementary file is no link, and neither is its absence', () => {
    expect(altLinkOf(patched('debug-dwz5', '.debug_sup', Uint8Array.of(5, 0, 1)))).toBeUndefined();
    expect(altLinkOf(open('debug-plain'))).toBeUndefined();
  });

  it('.debug_sup that ends early', () => {
    expect(() =>
      altLinkOf(patched('debug-dwz5', '.debug_sup', Buffer.from('\x05\0\0debug-dwz7\0\x7f', 'latin1'))),
    ).toThrow(expect.objectContaining({ code: 'truncated', what: 'section .debug_sup' }));
  });
});

describe('case 23: .gnu_debugdata', () => {
  // As readelf has them, of the file before xz.
  const kept = factsOf('debug-mini.symtab')
    .symbols['.symtab']!.map(({ name }) => name)
    .filter(Boolean);
  const namesOf = (image: ElfImage | undefined) => {
    const table = image && readSymbols(image);
    return Array.from({ length: table?.count ?? 0 }, (_, index) => table?.name(index)).filter(
      (name) => name !== '',
    );
  };

  it('is an ELF file of symbols, behind the given decompressor', async () => {
    const image = await openMiniDebugInfo(open('debug-mini'), (bytes, outputBytesMax) => {
      expect(Buffer.from(bytes.subarray(0, 6)).toString('latin1')).toBe('\xfd7zXZ\0');
      expect(outputBytesMax).toBe(miniDebugInfoBytesMax);
      return fixtureBytes('debug-mini.symtab');
    });
    expect(namesOf(image)).toEqual(kept);
    expect(kept).toContain('area');
  });

  it.skipIf(!hasXz)('decompressed by xz itself', async () => {
    const image = await openMiniDebugInfo(open('debug-mini'), (bytes) =>
      execFileSync('xz', ['-dc'], { input: bytes }),
    );
    expect(namesOf(image)).toEqual(kept);
    expect(kept).toContain('area');
  });

  it('a file without it', async () => {
    const unused = () => expect.unreachable('nothing to decompress');
    expect(await openMiniDebugInfo(open('debug-plain'), unused)).toBeUndefined();
  });

  it('a stream that does not decompress, or to something else', async () => {
    const broken = openMiniDebugInfo(open('debug-mini'), () => Promise.reject(new Error('bad data')));
    await expect(broken).rejects.toMatchObject({ code: 'malformed', what: 'section .gnu_debugdata' });
    const text = openMiniDebugInfo(open('debug-mini'), () => Buffer.from('not an ELF file'));
    await expect(text).rejects.toMatchObject({ code: 'not_elf' });
  });
});
