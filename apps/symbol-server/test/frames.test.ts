import { type FramesReply, readFrameColumns } from '@symkeep/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { type AppUnderTest, bash, bashId, messageOf, reportOf, startApp } from './app-under-test.ts';

let server: AppUnderTest;
const main = { id: bashId, address: '0x2f010', function: 'main', file: 'shell.c', line: 365 };
const unknownId = `htlhash:${'ab'.repeat(16)}`;

beforeEach(async () => {
  server = await startApp();
  await server.post('/v1/executables', reportOf(bash));
});

async function reportFrames(...frames: unknown[]) {
  return messageOf<{ results: { status: string }[] }>(await server.post('/v1/frames', { frames }));
}

describe('frames that agents know', () => {
  it('are answered at their address, and flip the generation', async () => {
    const before = await messageOf<{ generation: number }>(await server.get(`/v1/executables/${bashId}`));
    expect((await reportFrames(main)).results).toMatchObject([{ status: 'created' }]);
    const found = await messageOf<{ generation: number }>(
      await server.get(`/v1/executables/${bashId}/frames/0x2f010`),
    );
    expect(found).toMatchObject({
      status: 0,
      source: 'agent',
      frames: [{ function: 'main', file: 'shell.c', line: 365 }],
    });
    expect(found.generation).not.toBe(before.generation);
    expect((await reportFrames(main)).results).toMatchObject([{ status: 'unchanged' }]);
  });

  it('less never overwrites more', async () => {
    await reportFrames(main);
    await reportFrames({ ...main, file: undefined, line: undefined });
    const found = await messageOf(await server.get(`/v1/executables/${bashId}/frames/0x2f010`));
    expect(found).toMatchObject({ frames: [{ function: 'main', file: 'shell.c', line: 365 }] });
  });

  it('each stand for themselves', async () => {
    const { results } = await reportFrames(
      { id: 'zz' },
      main,
      { ...main, address: -1 },
      { ...main, id: unknownId },
    );
    expect(results.map(({ status }) => status)).toEqual(['error', 'created', 'error', 'error']);
  });
});

describe('a lookup of frames', () => {
  it.each(['json', 'msgpack'])('is columnar, in request order, duplicates kept (%s)', async (encoding) => {
    await reportFrames(main);
    const high = 0xffff_ffff_8123_4567n;
    const requests = [
      {
        id: bash.ids.gnu,
        addresses:
          encoding === 'json' ? ['0x2f010', 0x2f010, '0xffffffff81234567'] : [0x2f010, 0x2f010, high],
      },
      { id: 'zz', addresses: [1] },
      { id: unknownId, addresses: [1, 2] },
      { id: bashId, addresses: [] },
    ];
    const send = encoding === 'json' ? server.post : server.postMessagePack;
    const reply = await messageOf<FramesReply>(await send('/v1/frames/lookup', { requests }));
    expect(reply.strings[0]).toBe('');
    expect(reply.results.map(({ id }) => id)).toEqual([bash.ids.gnu, 'zz', unknownId, bashId]);
    expect(reply.results[0]).toMatchObject({
      canonical: bashId,
      status: [0, 0, expect.any(Number)],
      frameCounts: [1, 1, 0],
    });
    expect(reply.results[0]!.status[2]).not.toBe(0);
    const [first] = readFrameColumns(reply.strings, reply.results[0]!);
    expect(first!.frames).toMatchObject([{ function: 'main', file: 'shell.c', line: 365, column: 0 }]);
    expect(reply.results[1]).toMatchObject({ status: [], error: { code: 'invalid_argument' } });
    expect(reply.results[2]).toMatchObject({ status: [3, 3] });
    expect(reply.results[3]).toMatchObject({ status: [] });
  });

  it('takes so many addresses in all and no more', async () => {
    const addresses = Array.from({ length: 32_768 }, (_, index) => index);
    const requests = [1, 2].map(() => ({ id: unknownId, addresses }));
    expect((await server.postMessagePack('/v1/frames/lookup', { requests })).status).toBe(200);
    requests.push({ id: unknownId, addresses: [1] });
    expect((await server.postMessagePack('/v1/frames/lookup', { requests })).status).toBe(413);
  });

  it.each([
    ['zz/frames/0x1', 400],
    [`${bashId}/frames/17`, 400],
    [`${bashId}/frames/0x10000000000000000`, 400],
    [`${unknownId}/frames/0x1`, 404],
  ])('at %s answers %i', async (path, status) => {
    expect((await server.get(`/v1/executables/${path}`)).status).toBe(status);
  });

  it('tells what cannot be asked now from what is not known', async () => {
    server.store.down(0);
    const requests = [{ id: unknownId, addresses: [1] }];
    const reply = await messageOf(await server.post('/v1/frames/lookup', { requests }));
    expect(reply).toMatchObject({ results: [{ status: [4] }] });
    expect((await server.get(`/v1/executables/${unknownId}/frames/0x1`)).status).toBe(503);
  });
});
