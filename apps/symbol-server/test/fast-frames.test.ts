// The fast path of frame lookups answers byte for byte what the general path answers, or leaves the request to it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode, messagePackType, parseExecutableId } from '@symkeep/protocol';
import { mergeRanges, openSymbolTable, writeSymbolTable } from '@symkeep/symbols';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tableOf } from '../../../libs/symbols/test/tables.ts';
import { publishIn } from '../src/commands/publish-table.ts';
import { CachedFrames } from '../src/http/fast-frames.ts';
import { type AppUnderTest, bash, bashId, reportOf, startApp } from './app-under-test.ts';

const imageBase = 0xffff_ffff_8000_0000n;
const other = {
  ids: { gnu: 'ab'.repeat(20), htlhash: '12'.repeat(16) },
  ...{ name: '/bin/other', arch: 'x86_64', type: 'dyn', size: 1, load: [['0x1000', '0x1000']] },
};
const reported = { ...other, ids: { gnu: 'cd'.repeat(20), htlhash: '34'.repeat(16) } };
const unknown = 'ef'.repeat(20);

let directory: string;
let server: AppUnderTest;
let frames: CachedFrames;

/** Names of all lengths of a MessagePack string, C++ and none, repeated and not. */
function nameOf(n: number): string {
  if (n % 7 === 0) return '_ZN5outer5innerEv';
  if (n % 11 === 0) return `größe_${n}`;
  if (n % 13 === 0) return `_ZN3foo${n % 3 === 0 ? '3bar' : '3baz'}Ei`;
  return n === 333 ? 'long'.repeat(20_000) : `f${n}`.padEnd(n % 300, 'x');
}

beforeAll(async () => {
  server = await startApp();
  frames = new CachedFrames(server.deps.catalog);
  await server.post('/v1/executables', reportOf(bash, other, reported));
  const reports = [{ id: `gnu:${reported.ids.gnu}`, address: 0x1000, function: 'told' }];
  await server.post('/v1/frames', { frames: reports });
  const frame = (n: number) => {
    return { name: nameOf(n), startLine: n, file: `/src/${n % 5}.cc`, line: 37 * n, column: n % 400 };
  };
  const ranges = Array.from({ length: 2_000 }, (_, n) => ({
    start: 16 * n,
    frames: n % 9 === 0 ? [] : Array.from({ length: 1 + (n % 4) }, (_, depth) => frame(n + depth)),
  }));
  directory = mkdtempSync(join(tmpdir(), 'symkeep-frames-'));
  const { header, pages, digest } = writeSymbolTable(mergeRanges([tableOf('dwarf', imageBase, ranges)]));
  const path = join(directory, 'table');
  const bytes = Buffer.concat([header, ...pages]);
  writeFileSync(path, bytes);
  const table = { ...openSymbolTable(header), digest, bytes: bytes.length };
  await publishIn(server.deps.catalog, parseExecutableId(bashId), { path, table });
  // All of it into the process.
  const addresses = Array.from({ length: 2_000 }, (_, n) => imageBase + BigInt(16 * n));
  for (const { ids } of [bash, other, reported]) {
    for (const id of [ids.gnu, `htlhash:${ids.htlhash}`]) await general(bodyOf([{ id, addresses }]));
  }
});

afterAll(() => rmSync(directory, { recursive: true }));

function bodyOf(requests: unknown): Uint8Array {
  return encode({ requests }, 'msgpack');
}

/** The reply, and the samples that were counted as asked for in vain. */
async function general(body: Uint8Array): Promise<{ status: number; bytes: Buffer; missed: number }> {
  const { counts } = server.deps.catalog.demand;
  const before = counts.asked;
  const headers = { 'content-type': messagePackType };
  const init = { method: 'POST', body: Buffer.from(body), headers };
  const reply = await server.app.request('/v1/frames/lookup', init);
  const bytes = Buffer.from(await reply.arrayBuffer());
  return { status: reply.status, bytes, missed: counts.asked - before };
}

function fast(body: Uint8Array): { bytes: Buffer; missed: number } | undefined {
  const { counts } = server.deps.catalog.demand;
  const before = counts.asked;
  const bytes = frames.answer(body, (size) => Buffer.alloc(size));
  if (bytes === undefined) expect(counts.asked).toBe(before);
  return bytes === undefined ? undefined : { bytes, missed: counts.asked - before };
}

/** Whether the fast path answered. */
async function expectEqual(body: Uint8Array): Promise<boolean> {
  const found = fast(body);
  if (found === undefined) return false;
  expect({ status: 200, ...found }).toEqual(await general(body));
  return true;
}

const address = fc.oneof(
  { weight: 8, arbitrary: fc.nat(33_000).map((offset) => imageBase + BigInt(offset)) },
  fc.bigInt(0n, 0xffff_ffff_ffff_ffffn),
  fc.nat(0x1_0000).map(BigInt),
);
const known = fc.constantFrom(
  ...[bash.ids.gnu, bashId, bash.ids.gnu.toUpperCase(), `htlhash:${bash.ids.htlhash}`],
  ...[other.ids.gnu, `htlhash:${other.ids.htlhash}`],
);
const request = (id: fc.Arbitrary<unknown>) =>
  fc.oneof(
    fc.record({ id, addresses: fc.array(address, { maxLength: 40 }) }),
    fc.array(fc.tuple(address, fc.nat(1_000)), { maxLength: 20 }).chain((pairs) => {
      const [addresses, weights] = [pairs.map(([one]) => one), pairs.map(([, weight]) => weight)];
      return fc.record({ weights: fc.constant(weights), id, addresses: fc.constant(addresses) });
    }),
  );

describe('the fast path of frame lookups', () => {
  it('answers what this process holds as the general path does, byte for byte, and counts what is wanted', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(request(known), { maxLength: 6 }), async (requests) => {
        expect(await expectEqual(bodyOf(requests))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('leaves to the general path what is not known here, and where agents have a say', async () => {
    const asked = (id: string) => [{ id, addresses: [0x1000] }];
    expect(fast(bodyOf(asked(unknown)))).toBeUndefined();
    expect(fast(bodyOf(asked(reported.ids.gnu)))).toBeUndefined();
    expect(fast(bodyOf([...asked(other.ids.gnu), ...asked(unknown)]))).toBeUndefined();
    expect(await expectEqual(bodyOf(asked(other.ids.gnu)))).toBe(true);
  });

  it.each([
    ['a text as address', [{ id: bashId, addresses: ['0x1000'] }]],
    ['a negative address', [{ id: bashId, addresses: [-1] }]],
    ['no addresses', [{ id: bashId }]],
    ['no ID', [{ addresses: [1] }]],
    ['too few weights', [{ id: bashId, addresses: [1, 2], weights: [1] }]],
    ['a weight that no double holds', [{ id: bashId, addresses: [1], weights: [2n ** 53n] }]],
    ['a field that is not known', [{ id: bashId, addresses: [1], more: 1 }]],
    ['another ID', [{ id: 'zz', addresses: [1] }]],
    ['no object', [1]],
    ['too many addresses', [{ id: bashId, addresses: Array.from({ length: 65_537 }, () => 1) }]],
  ])('leaves to the general path %s', (_what, requests) => {
    expect(fast(bodyOf(requests))).toBeUndefined();
  });

  it('takes a batch of as many addresses as there may be', async () => {
    const addresses = Array.from({ length: 65_536 }, (_, n) => n % 0x8000);
    expect(await expectEqual(bodyOf([{ id: other.ids.gnu, addresses }]))).toBe(true);
  });

  it('never answers otherwise than the general path, whatever the bytes', async () => {
    const anyRequest = fc.oneof(
      { weight: 4, arbitrary: request(known) },
      request(fc.oneof(fc.string({ maxLength: 50 }), fc.constant(unknown), fc.nat())),
      fc.object({ maxDepth: 2 }),
    );
    const damage = fc.record({ cut: fc.nat(600), at: fc.nat(600), byte: fc.nat(255) });
    let answered = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyRequest, { maxLength: 4 }),
        damage,
        async (requests, { cut, at, byte }) => {
          const body = Buffer.from(bodyOf(requests));
          const changed = Buffer.from(body);
          changed[at % changed.length] = byte;
          for (const one of [body, changed, body.subarray(0, cut), Buffer.concat([body, Buffer.of(byte)])]) {
            if (await expectEqual(one)) answered++;
          }
        },
      ),
      { numRuns: 500 },
    );
    expect(answered).toBeGreaterThan(0);
  });
});
