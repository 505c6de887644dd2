import { describe, expect, it } from 'vitest';
import { parseRedisUrl, withoutPassword } from '../src/redis.ts';

const local = { host: '127.0.0.1', port: 6379 };

describe('a Redis URL', () => {
  it.each([
    ['redis://127.0.0.1', { kind: 'single', hosts: [local], tls: false }],
    ['redis://127.0.0.1:6379/3', { kind: 'single', path: '3' }],
    [
      'rediss://u:p%40ss@redis.example:7000',
      { kind: 'single', tls: true, auth: { username: 'u', password: 'p@ss' } },
    ],
    ['redis://:secret@127.0.0.1', { auth: { password: 'secret' } }],
    ['redis://[::1]:6380', { hosts: [{ host: '::1', port: 6380 }] }],
    ['unix:///run/redis.sock', { kind: 'unix', path: '/run/redis.sock' }],
    ['redis+unix:///run/redis.sock', { kind: 'unix', path: '/run/redis.sock' }],
    ['redis+cluster://127.0.0.1', { kind: 'cluster', hosts: [local] }],
    [
      'redis://a:1,b',
      {
        kind: 'cluster',
        hosts: [
          { host: 'a', port: 1 },
          { host: 'b', port: 6379 },
        ],
      },
    ],
    [
      'rediss+sentinel://a,b:1/facts',
      {
        kind: 'sentinel',
        tls: true,
        path: 'facts',
        hosts: [
          { host: 'a', port: 26_379 },
          { host: 'b', port: 1 },
        ],
      },
    ],
  ])('%s', (url, expected) => {
    expect(parseRedisUrl(url)).toMatchObject(expected);
  });

  it.each(['', 'redis', 'http://127.0.0.1', 'redis://', 'redis://a:b:c', 'redis+other://a'])(
    '%s is none',
    (url) => {
      expect(() => parseRedisUrl(url)).toThrow('REDIS_URL');
    },
  );

  it('is shown without its password', () => {
    expect(withoutPassword('redis://u:p@ss@h:1/0')).toBe('redis://***@h:1/0');
    expect(() => parseRedisUrl('redis://u:secret@a:b:c')).toThrow(/^(?!.*secret)/);
  });
});
