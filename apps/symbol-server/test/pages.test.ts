import { beforeEach, describe, expect, it } from 'vitest';
import { addSnapshots, addStoreFaults, createMetrics } from '../src/metrics.ts';
import { type AppUnderTest, bash, bashId, reportOf, startApp } from './app-under-test.ts';

let server: AppUnderTest;

beforeEach(async () => {
  server = await startApp();
});

async function page(path: string) {
  const reply = await server.get(path);
  return { reply, html: await reply.text() };
}

describe('the console page', () => {
  it('shows what is known, found by name or by ID', async () => {
    await server.post('/v1/executables', reportOf(bash));
    for (const query of ['', '?q=BAS', `?q=${bash.ids.gnu}`, `?q=htlhash:${bash.ids.htlhash}`]) {
      const { reply, html } = await page(`/${query}`);
      expect(reply.headers.get('content-type')).toContain('text/html');
      expect(html, query).toContain(bashId);
    }
    expect((await page('/?q=nothing')).html).toContain('Nothing is known as <b>nothing</b>');
  });

  it('loads nothing from anywhere and runs no script', async () => {
    for (const path of ['/', '/docs']) {
      const { reply, html } = await page(path);
      expect(reply.headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(html).not.toMatch(/<script|<link|src=|url\(|@import/);
    }
  });

  it('shows names as text, whatever they hold', async () => {
    const name = '/tmp/<script>alert("1")</script>&\'x';
    await server.post('/v1/executables', reportOf({ ...bash, name }));
    const { html } = await page('/?q=%3Cscript%3E');
    expect(html).not.toContain('<script');
    expect(html).toContain('&lt;');
  });

  it('stands when the store does not', async () => {
    server.store.down(0);
    const { reply, html } = await page('/');
    expect(reply.status).toBe(200);
    expect(html).toContain('away');
  });

  it('says loudly what is wrong with Redis', async () => {
    const loud = await startApp({ storeWarnings: () => ['Redis has AOF off'] });
    expect(await (await loud.get('/')).text()).toContain('<p class="bad" role="alert">Redis has AOF off</p>');
  });
});

describe('the API page', () => {
  it('shows every route', async () => {
    const { html } = await page('/docs');
    for (const path of ['/v1/executables/{id}', '/v1/frames/lookup', '/v1/events'])
      expect(html).toContain(path);
  });
});

describe('health', () => {
  it('is alive whatever the store does, and ready only with it', async () => {
    const away = await startApp({ unready: async () => 'Redis is away' });
    expect((await away.get('/healthz')).status).toBe(200);
    const reply = await away.get('/readyz');
    expect(reply.status).toBe(503);
    expect(reply.headers.get('retry-after')).toBe('1');
    expect(await reply.text()).toContain('Redis is away');
    expect((await server.get('/readyz')).status).toBe(200);
  });
});

describe('metrics', () => {
  it('count requests by route, method and status', async () => {
    await server.get('/v1/info');
    await server.get('/v1/executables/zz');
    await server.get(`/v1/executables/${bashId}`);
    const { html: text } = await page('/metrics');
    expect(text).toContain('symkeep_http_requests_total{route="/v1/info",method="GET",status="200"} 1');
    expect(text).toContain(
      'symkeep_http_requests_total{route="/v1/executables/{id}",method="GET",status="400"} 1',
    );
    expect(text).toContain(
      'symkeep_http_requests_total{route="/v1/executables/{id}",method="GET",status="404"} 1',
    );
    expect(text).toContain('symkeep_http_request_duration_seconds_count{route="/v1/info"} 1');
  });

  it('show how Redis is set', async () => {
    const { registry } = createMetrics();
    const faults = new Set(['append_only_off']);
    addStoreFaults(registry, () => faults);
    expect(await registry.metrics()).toContain('symkeep_store_fault{fault="append_only_off"} 1');
    faults.clear();
    const text = await registry.metrics();
    expect(text).toContain('symkeep_store_fault{fault="append_only_off"} 0');
    expect(text).toContain('symkeep_store_fault{fault="evicts"} 0');
  });

  it('show the snapshots as they are when asked', async () => {
    const { registry } = createMetrics();
    const counts = { size: 3, hits: 10 };
    addSnapshots(registry, () => ({ recordCache: counts }));
    expect(await registry.metrics()).toContain('symkeep_record_cache_size 3');
    counts.hits = 12;
    expect(await registry.metrics()).toContain('symkeep_record_cache_hits_total 12');
  });
});
