import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressesOf,
  forEachCodeMapping,
  isVdso,
  parseMappedFile,
  pathBytes,
  rangeOf,
} from '../../src/discovery/memory-map.ts';

/** One line, as `show_map_vma` of the kernel prints it: the path from column 73 on, at least one blank before it. */
function line(
  start: bigint,
  end: bigint,
  permissions: string,
  device: string,
  inode: number,
  path: string,
): Buffer {
  const hex = (value: bigint) => value.toString(16).padStart(8, '0');
  const head = `${hex(start)}-${hex(end)} ${permissions} 00001000 ${device} ${inode} `;
  return Buffer.from(path === '' ? `${head}\n` : `${head.padEnd(73)}${path}\n`, 'latin1');
}

function parse(bytes: Buffer) {
  const found: { text: string; range: string }[] = [];
  forEachCodeMapping(bytes, bytes.length, (text, lineAt) =>
    found.push({ text, range: rangeOf(bytes, lineAt) }),
  );
  return found;
}

describe('lines of maps', () => {
  it('reads those of the manual page', () => {
    const maps = Buffer.from(
      [
        '00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon',
        '00651000-00652000 r--p 00051000 08:02 173521      /usr/bin/dbus-daemon',
        '00e03000-00e24000 rw-p 00000000 00:00 0           [heap]',
        '35b1800000-35b1820000 r-xp 00000000 08:02 135522  /usr/lib64/ld-2.15.so',
        'f2c6ff8c000-7f2c7078c000 rw-p 00000000 00:00 0    [stack:986]',
        '7fffb2d48000-7fffb2d49000 r-xp 00000000 00:00 0   [vdso]',
        'ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]',
        '',
      ].join('\n'),
    );
    expect(parse(maps)).toEqual([
      { text: '08:02 173521 /usr/bin/dbus-daemon', range: '400000-452000' },
      { text: '08:02 135522 /usr/lib64/ld-2.15.so', range: '35b1800000-35b1820000' },
      { text: '00:00 0 [vdso]', range: '7fffb2d48000-7fffb2d49000' },
    ]);
  });

  it('gives one text for a file whatever the width of its addresses', () => {
    const low = parse(line(0x400000n, 0x401000n, 'r-xp', 'fe:00', 7, '/bin/a'))[0];
    const high = parse(line(0x7f0000000000n, 0x7f0000001000n, 'r-xp', 'fe:00', 7, '/bin/a'))[0];
    expect(low?.text).toBe(high?.text);
  });

  it('tells a deleted file from one that is called so by its mark alone, and keeps both findable', () => {
    const [mapping] = parse(line(0x1000n, 0x2000n, 'r-xp', '00:01', 12, '/memfd:jit (deleted)'));
    const file = parseMappedFile(mapping!.text);
    expect(file).toEqual({ device: '00:01', inode: '12', path: '/memfd:jit', deleted: true });
    expect(pathBytes(file).toString()).toBe('/memfd:jit (deleted)');
  });

  it('unescapes the newline that the kernel escapes, and keeps bytes that are no text', () => {
    const [mapping] = parse(line(0x1000n, 0x2000n, 'r-xp', '00:01', 12, '/a\\012b\xff c'));
    expect([...pathBytes(parseMappedFile(mapping!.text))]).toEqual([...Buffer.from('/a\nb\xff c', 'latin1')]);
  });

  it('takes a file named like the vDSO for a file', () => {
    expect(isVdso('fe:00 12 /tmp/x [vdso]')).toBe(false);
    expect(isVdso('00:00 0 [vdso]')).toBe(true);
  });

  it('gives start and size of a mapping', () => {
    const bytes = line(0x7fff_b2d4_8000n, 0x7fff_b2d4_a000n, 'r-xp', '00:00', 0, '[vdso]');
    expect(addressesOf(bytes, 0)).toEqual({ start: 0x7fff_b2d4_8000n, size: 0x2000 });
  });

  it('finds every executable file mapping of this process that the system shows', () => {
    const maps = readFileSync('/proc/self/maps');
    const expected = maps
      .toString('latin1')
      .split('\n')
      .map((text) => /^\S+ ..x. \S+ (\S+) ([1-9]\d*) +(\/.*)$/.exec(text))
      .flatMap((match) => (match === null ? [] : [`${match[1]} ${match[2]} ${match[3]}`]));
    const found = parse(maps).map(({ text }) => text);
    expect(found.filter((text) => !isVdso(text))).toEqual(expected);
    expect(expected.length).toBeGreaterThan(1);
  });
});

describe('any maps', () => {
  const path = fc.oneof(
    fc.constantFrom('', '[heap]', '[stack]', '[vdso]', '//anon', 'anon_inode:[perf_event]'),
    fc
      .string({ unit: fc.constantFrom(...'ab/ .-\\012[]é'), maxLength: 40 })
      .map((rest) => `/${rest.trimEnd()}`),
  );
  const mapping = fc.record({
    start: fc.bigInt(0n, 2n ** 48n),
    size: fc.bigInt(1n, 2n ** 30n),
    permissions: fc.constantFrom('r-xp', 'r--p', 'rw-p', '--xp', 'rwxs', '---p'),
    device: fc.constantFrom('fe:00', '00:2a', '103:05'),
    inode: fc.nat(),
    path,
  });

  it('round-trips', () => {
    fc.assert(
      fc.property(fc.array(mapping, { maxLength: 30 }), (mappings) => {
        const bytes = Buffer.concat(
          mappings.map((m) => line(m.start, m.start + m.size, m.permissions, m.device, m.inode, m.path)),
        );
        const expected = mappings
          .filter(({ permissions }) => permissions[2] === 'x')
          .filter((m) => m.path === '[vdso]' || (m.inode !== 0 && m.path.startsWith('/')))
          .map((m) => ({
            text: `${m.device} ${m.inode} ${Buffer.from(m.path, 'latin1').toString('latin1')}`,
            range: `${m.start.toString(16)}-${(m.start + m.size).toString(16)}`,
          }));
        expect(parse(bytes)).toEqual(expected);
      }),
    );
  });

  it('survives any bytes, and reads nothing past the length it is given', () => {
    const alphabet = fc.constantFrom(...Buffer.from(' -x\n0f:/[]vdso r'));
    fc.assert(
      fc.property(
        fc.array(fc.oneof(alphabet, fc.nat(255)), { maxLength: 300 }),
        fc.nat(300),
        (bytes, length) => {
          const within = Math.min(length, bytes.length);
          const collect = (buffer: Buffer) => {
            const found: string[] = [];
            forEachCodeMapping(buffer, within, (text, lineAt) => {
              expect(lineAt).toBeLessThan(within);
              found.push(text);
            });
            return found;
          };
          const whole = collect(Buffer.from(bytes));
          expect(whole).toEqual(collect(Buffer.from(bytes.slice(0, within))));
        },
      ),
      { numRuns: 20_000 },
    );
  });
});
