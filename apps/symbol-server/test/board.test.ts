// Bull Board on a real Redis, asked as a browser asks.
import { SystemClock } from '@symkeep/cache';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisAvailable, TestRedis } from '../../../tools/test-redis.ts';
import { boardPath, offline, QueueBoard } from '../src/board/queue-board.ts';
import { JobQueue } from '../src/jobs/queue.ts';
import { createRedis, redisReady } from '../src/redis.ts';
import { type AppUnderTest, messageOf, startApp } from './app-under-test.ts';

const clock = new SystemClock();
let redis: TestRedis;
let queue: JobQueue;
let server: AppUnderTest;

beforeAll(async () => {
  if (!redisAvailable) return;
  redis = await TestRedis.start();
  const client = createRedis(`unix://${redis.socket}`, () => undefined);
  await redisReady(client, 5_000, clock);
  queue = new JobQueue({ client, namespace: 'main', clock });
  await queue.add('job-1', { id: 'gnu:ab' }, async () => undefined);
  server = await startApp({ queueBoard: new QueueBoard(queue) });
});

afterAll(async () => {
  await queue?.close();
  await redis?.remove();
});

/** What a page or stylesheet has a browser load from other hosts. */
function loadedFromElsewhere(text: string): string[] {
  const pattern = /(?:\b(?:src|href)=["']?|url\(["']?|@import\s+["'])((?:https?:)?\/\/[^"'\s)>]+)/g;
  return [...text.matchAll(pattern)].map(([, url]) => url!);
}

describe.skipIf(!redisAvailable)('the board of the queue', () => {
  it('is a page whose every part is here: nothing is loaded from elsewhere', async () => {
    const reply = await server.get(boardPath);
    expect([reply.status, reply.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    expect(reply.headers.get('content-security-policy')).toContain("default-src 'self'");
    const page = await reply.text();
    expect(page).toContain(`<base href="${boardPath}/" />`);
    expect(page).toContain('<title>symkeep</title>');
    expect(page).not.toContain('<%');
    expect(loadedFromElsewhere(page)).toEqual([]);
    const parts = [...page.matchAll(/\b(?:src|href)="(static\/[^"]+)"/g)].map(([, path]) => path!);
    expect(parts.length).toBeGreaterThan(3);
    for (const part of parts) {
      const file = await server.get(`${boardPath}/${part}`);
      expect([part, file.status]).toEqual([part, 200]);
      const text = await file.text();
      if (part.endsWith('.css')) expect(loadedFromElsewhere(text)).toEqual([]);
    }
  });

  it('takes out what a page would load from elsewhere', () => {
    const link = '<link href="https://fonts.example/css" rel="stylesheet">';
    expect(loadedFromElsewhere(link)).toHaveLength(1);
    expect(offline(`<a>${link}<link href="static/a.css">`)).toBe('<a><link href="static/a.css">');
  });

  it('shows the jobs', async () => {
    const reply = await server.get(`${boardPath}/api/queues?activeQueue=symbolize&status=waiting&page=1`);
    expect(reply.status).toBe(200);
    const { queues } = await messageOf<{
      queues: { name: string; counts: object; jobs: { id: string }[] }[];
    }>(reply);
    expect(queues).toMatchObject([{ name: 'symbolize', counts: { waiting: 1 }, jobs: [{ id: 'job-1' }] }]);
  });

  it('does what is asked of a queue', async () => {
    const path = `${boardPath}/api/queues/symbolize`;
    const put = (action: string) => server.app.request(`${path}/${action}`, { method: 'PUT' });
    expect((await put('pause')).status).toBe(200);
    const paused = async () => {
      const reply = await server.get(`${boardPath}/api/queues`);
      return (await messageOf<{ queues: { isPaused: boolean }[] }>(reply)).queues[0]!.isPaused;
    };
    expect(await paused()).toBe(true);
    expect((await put('resume')).status).toBe(200);
    expect(await paused()).toBe(false);
  });

  it.each(['/static/../package.json', '/static/%2e%2e/%2e%2e/package.json', '/static/none.js'])(
    'gives out no file but its own: %s',
    async (path) => {
      expect((await server.get(`${boardPath}${path}`)).status).toBe(404);
    },
  );

  it('is for admins alone, and other sites may not use it', async () => {
    const roles: string[] = [];
    const guarded = await startApp({
      queueBoard: new QueueBoard(queue),
      access: (_, role) => {
        roles.push(role);
        return { token: 't', roles: [role] };
      },
    });
    await guarded.get(boardPath);
    await guarded.get(`${boardPath}/static/favicon.ico`);
    await guarded.get(`${boardPath}/api/queues`);
    expect(roles).toEqual(['admin', 'admin', 'admin']);
    const headers = { origin: 'http://elsewhere.example' };
    const reply = await server.app.request(`${boardPath}/api/queues/symbolize/pause`, {
      method: 'PUT',
      headers,
    });
    expect(reply.status).toBe(403);
  });

  it('says so while Redis is away', async () => {
    const client = createRedis('unix:///nowhere/redis.sock', () => undefined);
    const away = new JobQueue({ client, namespace: 'main', clock });
    const without = await startApp({ queueBoard: new QueueBoard(away) });
    expect((await without.get(`${boardPath}/api/queues`)).status).toBe(503);
    await away.close();
  });
});
