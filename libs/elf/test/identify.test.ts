import { describe, expect, it } from 'vitest';
import { identify, readHeader, readSections, readSegments, segmentFlags } from '../src/index.ts';
import { factsOf, fixture, shapes } from './fixture.ts';

const archByMachine: Record<string, string[]> = {
  'Advanced Micro Devices X86-64': ['x86_64'],
  'Intel 80386': ['i386'],
  AArch64: ['aarch64'],
  ARM: ['arm'],
  'MIPS R3000': ['mips', 'mips64el'],
  PowerPC: ['ppc'],
  PowerPC64: ['ppc64', 'ppc64le'],
  'RISC-V': ['riscv64'],
  'IBM S/390': ['s390x'],
};

describe.each(shapes)('%s, as readelf has it', (name) => {
  const facts = factsOf(name);
  const source = fixture(name);

  it('header', () => {
    const identity = identify(source);
    expect(identity).toMatchObject({
      class: facts.class,
      byteOrder: facts.byteOrder,
      type: facts.type,
      size: source.size,
      damage: [],
    });
    expect(archByMachine[facts.machine]).toContain(identity.arch);
    expect(readHeader(source).entry).toBe(facts.entry);
  });

  it('program headers, and the executable ones among them', () => {
    const segments = readSegments(source, readHeader(source));
    expect(
      segments.map(({ offset, address, fileSize, memorySize }) => [offset, address, fileSize, memorySize]),
    ).toEqual(
      facts.segments.map(({ offset, address, fileSize, memorySize }) => [
        offset,
        address,
        fileSize,
        memorySize,
      ]),
    );
    expect(segments.map(({ flags }) => flagsText(flags))).toEqual(facts.segments.map(({ flags }) => flags));
    const executable = facts.segments.filter(({ type, flags }) => type === 'LOAD' && flags.includes('E'));
    expect(identify(source).load).toEqual(executable.map(({ address, memorySize }) => [address, memorySize]));
  });

  it('section headers', () => {
    const sections = readSections(source, readHeader(source));
    expect(facts.sections).toHaveLength(facts.sectionCount);
    expect(sections.map(({ address, offset, size }) => [address, offset, size])).toEqual(
      facts.sections.map(({ address, offset, size }) => [address, offset, size]),
    );
  });

  it('build IDs', () => {
    const { gnu, go, rejected } = identify(source);
    const dropped = rejected.map(({ value }) => value);
    expect(gnu).toBe(facts.gnu.find((id) => !dropped.includes(id)));
    expect(go).toBe(facts.go.find((id) => !dropped.includes(id)));
  });
});

describe('which IDs a file has', () => {
  it.each([
    ['shapes-x86_64', 40],
    ['shapes-id8', 16],
    ['shapes-id16', 32],
    ['shapes-s390x', 40],
    ['shapes-mips', 40],
  ])('case 20: %s has a GNU build ID of %i digits', (name, digits) => {
    expect(identify(fixture(name)).gnu).toHaveLength(digits);
  });

  it('case 20: a build ID in PT_NOTE only, of a file without section headers', () => {
    const whole = identify(fixture('shapes-x86_64'));
    const bare = identify(fixture('shapes-no-sections'));
    expect(bare.gnu).toBe(whole.gnu);
    expect(bare.load).toEqual(whole.load);
    expect(bare.htlhash).not.toBe(whole.htlhash);
  });

  it('case 20: no build ID at all leaves htlhash', () => {
    const identity = identify(fixture('shapes-no-id'));
    expect(identity).not.toHaveProperty('gnu');
    expect(identity).not.toHaveProperty('go');
    expect(identity.rejected).toEqual([]);
    expect(identity.htlhash).toMatch(/^[0-9a-f]{32}$/);
  });

  it('stripping keeps the build ID and changes the file', () => {
    const [whole, stripped] = [identify(fixture('shapes-x86_64')), identify(fixture('shapes-stripped'))];
    expect(stripped.gnu).toBe(whole.gnu);
    expect(stripped.htlhash).not.toBe(whole.htlhash);
  });

  it.each(['debug-stripped', 'debug-only', 'debug-eu-stripped', 'debug-eu-only'])(
    '%s, a part of one build, has its build ID',
    (name) => {
      // elfutils copies the program headers into the debug file, where their offsets point at other things.
      expect(identify(fixture(name)).gnu).toBe(identify(fixture('debug-plain')).gnu);
    },
  );

  it('a Go build ID has four parts', () => {
    const { go, rejected } = identify(fixture('go-id'));
    expect(go?.split('/')).toHaveLength(4);
    expect(rejected).toEqual([]);
  });

  it('a redacted Go build ID is dropped, and the GNU build ID derived from it', () => {
    const { gnu, go, rejected } = identify(fixture('go-redacted'));
    expect([gnu, go]).toEqual([undefined, undefined]);
    expect(rejected).toEqual([
      { kind: 'go', value: 'redacted', reason: 'not_go_form' },
      { kind: 'gnu', value: 'b78919aff001d8366249403a2544fba2d833084f', reason: 'shared_go_origin' },
    ]);
  });
});

function flagsText(flags: number): string {
  const letters: [number, string][] = [
    [segmentFlags.read, 'R'],
    [segmentFlags.write, 'W'],
    [segmentFlags.execute, 'E'],
  ];
  return letters.map(([bit, letter]) => (flags & bit ? letter : '')).join('');
}
