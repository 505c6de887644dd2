// Every reply in MessagePack, read by Python's msgpack: it must hold what the same reply in JSON holds, in plain types.
// And requests as Python packs them are understood.
import { decode, encode, messagePackType } from '@symkeep/protocol';
import { beforeAll, describe, expect, it } from 'vitest';
import { pythonMsgpackAvailable, readByPython, writeByPython } from '../../../tools/python-msgpack.ts';
import { type AppUnderTest, bash, bashId, messageOf, reportOf, startApp } from './app-under-test.ts';

const unknownId = 'ab'.repeat(20);
const goId = 'a1/b2/c3/d4';
const frames = [
  {
    id: bashId,
    address: '0x2f010',
    function: 'main',
    file: 'shell.c',
    line: 70_000,
    column: 3,
    startLine: 9,
  },
  { id: bashId, address: '0x2f020', function: 'größe<λ>' },
];
const requests: [method: 'GET' | 'POST', path: string, body?: unknown][] = [
  ['GET', '/v1/info'],
  ['GET', '/v1/executables'],
  ['GET', '/v1/executables?name=nothing'],
  ['GET', `/v1/executables/${bashId}`],
  ['GET', `/v1/executables/${bashId}/explain?address=0x1`],
  ['GET', `/v1/executables/${bashId}/frames/0x2f010`],
  ['GET', '/v1/events'],
  ['GET', '/v1/executables/zz'],
  ['GET', '/v1/none'],
  ['POST', '/v1/executables', reportOf(bash, null)],
  ['POST', '/v1/executables/lookup', { ids: [bashId, unknownId, 'zz', ...Array(20).fill(bashId)] }],
  ['POST', '/v1/executables/check', { executables: [{ id: bashId, generation: 1 }, 1] }],
  ['POST', '/v1/frames', { frames: [...frames, 1] }],
  [
    'POST',
    '/v1/frames/lookup',
    { requests: [{ id: bashId, addresses: ['0x2f010', '0x2f020', '0x0', '0x2f010'] }, { id: 'zz' }] },
  ],
];

describe.skipIf(!pythonMsgpackAvailable)('MessagePack read and written by Python', () => {
  let server: AppUnderTest;
  beforeAll(async () => {
    server = await startApp();
    const ids = { ...bash.ids, go: goId };
    await server.post('/v1/executables', reportOf({ ...bash, ids, name: '/opt/Größe/bash', size: 2 ** 40 }));
    // What is sent below changes nothing any more, so that both replies say the same.
    await server.post('/v1/executables', reportOf(bash));
    await server.post('/v1/frames', { frames });
  });

  it('says what JSON says, in every reply', async () => {
    const packed: Uint8Array[] = [];
    const expected: unknown[] = [];
    for (const [method, path, body] of requests) {
      const init = { method, ...(body === undefined ? {} : { body: encode(body, 'json') }) };
      const json = await server.app.request(path, init);
      const reply = await server.app.request(path, { ...init, headers: { accept: messagePackType } });
      expect(reply.headers.get('content-type')).toBe(messagePackType);
      packed.push(new Uint8Array(await reply.arrayBuffer()));
      expected.push(await messageOf(json));
    }
    expect(readByPython(packed)).toEqual(expected);
  });

  it('keeps integers integers, to 64 bits, and floats floats', () => {
    const integers = [0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER];
    const negative = [-1, -32, -33, -128, -129, -32_769, -(2 ** 31) - 1, Number.MIN_SAFE_INTEGER];
    const addresses = [
      2n ** 53n + 1n,
      0x7fff_ffff_ffff_ffffn,
      0x8000_0000_0000_0000n,
      0xffff_ffff_ffff_ffffn,
    ];
    const value = { integers, negative, addresses, float: 1.5, text: '\0 λ 𝄞', list: Array(70_000).fill(1) };
    expect(readByPython([encode(value, 'msgpack')])).toEqual([value]);
    const [written] = writeByPython([value]);
    expect(decode(written!, 'msgpack')).toEqual(value);
  });

  it('is understood in every request', async () => {
    for (const [method, path, body] of requests) {
      if (method === 'GET') continue;
      const [packed] = writeByPython([body]);
      const headers = { 'content-type': messagePackType, accept: 'application/json' };
      const reply = await server.app.request(path, { method, headers, body: new Uint8Array(packed!) });
      const json = await server.app.request(path, { method, body: encode(body, 'json') });
      expect(reply.status).toBe(200);
      expect(await messageOf(reply)).toEqual(await messageOf(json));
    }
  });
});
