// The description of the API is made from the schemas that validate; here real replies are held against it, and the
// document against the rules of OpenAPI 3.1 that no schema of ours can break by itself.
import { beforeAll, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { routes } from '../src/app.ts';
import { openApiOf } from '../src/openapi.ts';
import { errorReply } from '../src/schemas.ts';
import { type AppUnderTest, bash, bashId, messageOf, reportOf, startApp } from './app-under-test.ts';

let server: AppUnderTest;
const document = openApiOf(routes, '1.2.3');

beforeAll(async () => {
  server = await startApp();
  await server.post('/v1/executables', reportOf(bash));
  const frames = [{ id: bashId, address: 1, function: 'main' }];
  await server.post('/v1/frames', { frames });
});

/** Every object in the document, with the path to it. */
function* objectsIn(value: unknown, path: string): Generator<[string, Record<string, unknown>]> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield [path, value as Record<string, unknown>];
  for (const [key, inner] of Object.entries(value)) yield* objectsIn(inner, `${path}/${key}`);
}

describe('openapi.json', () => {
  it('is served as it is made', async () => {
    const served = await messageOf<{ openapi: string; paths: object }>(await server.get('/openapi.json'));
    expect(served.openapi).toBe('3.1.0');
    expect(Object.keys(served.paths)).toEqual(Object.keys(document.paths));
  });

  it('describes each route once, with an ID of its own', () => {
    const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));
    expect(operations).toHaveLength(routes.length);
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(routes.length);
  });

  it('declares each parameter of a path, and none else', () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      for (const { parameters } of Object.values(methods)) {
        const declared = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name);
        expect(declared, path).toEqual(named);
      }
    }
  });

  it('refers only to what it holds, and says the type of every field', () => {
    for (const [path, object] of objectsIn(document, '#')) {
      if (typeof object.$ref === 'string') {
        const target = object.$ref.slice(2).split('/');
        const found = target.reduce<unknown>((at, key) => (at as Record<string, unknown>)?.[key], document);
        expect(found, `${path} → ${object.$ref}`).toBeDefined();
      }
      expect(Object.keys(object), path).not.toContain('$defs');
      if (object.type === 'array') expect(object.items ?? object.prefixItems, path).toBeDefined();
      if (Array.isArray(object.required)) {
        expect(Object.keys(object.properties as object), path).toEqual(
          expect.arrayContaining(object.required),
        );
      }
    }
  });

  it('shows what items of a batch are', () => {
    const body = document.paths['/v1/executables']!.post!.requestBody as {
      content: Record<string, { schema: { properties: Record<string, { items: { properties: object } }> } }>;
    };
    const { executables } = body.content['application/json']!.schema.properties;
    expect(Object.keys(executables!.items.properties)).toEqual(
      expect.arrayContaining(['ids', 'name', 'load']),
    );
  });
});

describe('real replies', () => {
  const unknownId = 'ab'.repeat(20);
  const replyOf = (method: string, path: string): z.ZodType =>
    routes.find((route) => route.method === method && route.path === path)!.operation.reply;

  it.each([
    ['get', '/v1/info', '/v1/info', undefined],
    ['get', '/v1/executables', '/v1/executables?name=bash', undefined],
    ['get', '/v1/executables/{id}', `/v1/executables/${bashId}`, undefined],
    ['get', '/v1/executables/{id}/explain', `/v1/executables/${bashId}/explain?address=0x1`, undefined],
    ['get', '/v1/executables/{id}/frames/{address}', `/v1/executables/${bashId}/frames/0x1`, undefined],
    ['get', '/v1/events', '/v1/events', undefined],
    ['post', '/v1/executables', '/v1/executables', reportOf(bash, null)],
    ['post', '/v1/executables/lookup', '/v1/executables/lookup', { ids: [bashId, unknownId, 'zz'] }],
    [
      'post',
      '/v1/executables/check',
      '/v1/executables/check',
      { executables: [{ id: bashId, generation: 1 }, 1] },
    ],
    ['post', '/v1/frames', '/v1/frames', { frames: [{ id: bashId, address: '0x2', function: 'f' }, 1] }],
    ['post', '/v1/frames/lookup', '/v1/frames/lookup', { requests: [{ id: bashId, addresses: [1, 2] }, 1] }],
  ])('of %s %s are as described', async (method, path, target, body) => {
    const reply = body === undefined ? await server.get(target) : await server.post(target, body);
    expect(reply.status).toBe(200);
    expect(replyOf(method, path).safeParse(await messageOf(reply)).error?.message).toBeUndefined();
  });

  it('of errors are as described', async () => {
    for (const path of ['/v1/executables/zz', `/v1/executables/${unknownId}`, '/v1/none']) {
      expect(errorReply.safeParse(await messageOf(await server.get(path))).success).toBe(true);
    }
  });
});
