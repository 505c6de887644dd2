import { beforeEach, describe, expect, it } from 'vitest';
import { type AppUnderTest, bash, bashId, messageOf, reportOf, startApp } from './app-under-test.ts';

let server: AppUnderTest;

interface Events {
  readonly cursor: string;
  readonly events?: { id: string; kind: string }[];
  readonly reset?: true;
}

beforeEach(async () => {
  server = await startApp();
});

async function events(query = ''): Promise<Events> {
  return messageOf<Events>(await server.get(`/v1/events${query}`));
}

describe('a poll for events', () => {
  it('without a cursor starts at the end', async () => {
    await server.post('/v1/executables', reportOf(bash));
    const { cursor, events: seen } = await events();
    expect(seen).toEqual([]);
    await server.post('/v1/executables', reportOf({ ...bash, name: '/bin/bash' }));
    await server.clock.advance(0);
    const next = await events(`?cursor=${cursor}`);
    expect(next.events).toContainEqual(expect.objectContaining({ id: bashId, kind: 'record' }));
    expect((await events(`?cursor=${next.cursor}`)).events).toEqual([]);
  });

  it('waits for what comes, and no longer than it was told', async () => {
    const { cursor } = await events();
    const waiting = events(`?cursor=${cursor}&wait=20`);
    await server.clock.advance(1_000);
    expect(server.deps.waiters.size).toBe(1);
    await server.post('/v1/executables', reportOf(bash));
    await server.clock.advance(0);
    expect((await waiting).events?.length).toBeGreaterThan(0);
    const { cursor: end } = await events();
    const quiet = events(`?cursor=${end}&wait=9999`);
    await server.clock.advance(26_000);
    expect((await quiet).events).toEqual([]);
    expect(server.deps.waiters.size).toBe(0);
  });

  it('ends when the client does, or the server', async () => {
    const { cursor } = await events();
    const client = new AbortController();
    const gone = server.app.request(`/v1/events?cursor=${cursor}&wait=20`, { signal: client.signal });
    const ended = server.app.request(`/v1/events?cursor=${cursor}&wait=20`);
    await server.clock.advance(1);
    expect(server.deps.waiters.size).toBe(2);
    client.abort();
    await gone;
    expect(server.deps.waiters.size).toBe(1);
    server.deps.waiters.end();
    expect((await ended).status).toBe(200);
    expect((await server.get(`/v1/events?cursor=${cursor}&wait=20`)).status).toBe(503);
  });

  it('with a cursor of another epoch is reset', async () => {
    const { cursor } = await events();
    server.store.flush();
    await server.deps.catalog.epoch.check();
    expect(await events(`?cursor=${cursor}`)).toMatchObject({ reset: true });
  });

  it.each(['cursor=zz', 'wait=x', 'wait=-1'])('refuses %s', async (query) => {
    expect((await server.get(`/v1/events?${query}`)).status).toBe(400);
  });
});

describe('a stream of events', () => {
  it('gives each change with its cursor, comments while nothing comes, and ends with the client', async () => {
    const client = new AbortController();
    const reply = await server.app.request('/v1/events', {
      headers: { accept: 'text/event-stream' },
      signal: client.signal,
    });
    expect(reply.headers.get('content-type')).toBe('text/event-stream');
    const reader = reply.body!.getReader();
    const next = async () => Buffer.from((await reader.read()).value ?? []).toString();
    expect(await next()).toMatch(/^id: \S+\ndata: \{"events":\[\]/);
    const heartbeat = next();
    await server.clock.advance(15_001);
    expect(await heartbeat).toBe(': still here\n\n');
    const change = next();
    await server.clock.advance(1);
    await server.post('/v1/executables', reportOf(bash));
    await server.clock.advance(0);
    expect(await change).toContain(bashId);
    client.abort();
    await server.clock.advance(1);
    expect(server.deps.waiters.size).toBe(0);
  });
});
