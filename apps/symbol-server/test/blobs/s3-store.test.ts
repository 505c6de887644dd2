// The blob contract on a bucket of a local S3 server, and the option that names one.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock } from '@symkeep/cache';
import { startFauxqs } from 'fauxqs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBlobs, parseS3Place } from '../../src/blobs/open-blobs.ts';
import { describeBlobStore } from './blob-contract.ts';

let server: Awaited<ReturnType<typeof startFauxqs>>;
let buckets = 0;

beforeAll(async () => {
  process.env.AWS_ACCESS_KEY_ID = 'test';
  process.env.AWS_SECRET_ACCESS_KEY = 'test';
  server = await startFauxqs({ port: 0, logger: false });
});
afterAll(() => server.stop());

const data = (): string => mkdtempSync(join(tmpdir(), 's3-staging-'));

function openBucket(clock: ManualClock, text: string) {
  const blobs = parseS3Place(
    `${text}?endpoint=${encodeURIComponent(`http://127.0.0.1:${server.port}`)}&region=eu-west-1`,
  )!;
  return openBlobs({ blobs, data: data() }, clock);
}

describeBlobStore('a bucket', async (clock) => {
  const bucket = `bucket-${buckets++}`;
  server.createBucket(bucket);
  return openBucket(clock, `s3://${bucket}/some/prefix`);
});

describe('a bucket', () => {
  test('keeps to its prefix', async () => {
    server.createBucket('shared');
    const clock = new ManualClock();
    const one = await openBucket(clock, 's3://shared/one/');
    const all = await openBucket(clock, 's3://shared');
    await one.keepBytes('files/aa/x', Buffer.from('x'));
    expect(await all.read('one/files/aa/x')).toEqual(Buffer.from('x'));
    expect(await all.read('files/aa/x')).toBeNull();
    expect([one.place, all.place]).toEqual(['s3://shared/one/', 's3://shared/']);
  });

  test('that is not there, or cannot be reached, is away and not empty', async () => {
    const missing = await openBucket(new ManualClock(), 's3://no-such-bucket');
    const away = await openBlobs(
      { blobs: parseS3Place('s3://bucket?endpoint=http://127.0.0.1:1&region=x')!, data: data() },
      new ManualClock(),
    );
    const unavailable = { code: 'unavailable', details: { reason: 'blobs' } };
    await expect(missing.read('files/aa/x')).rejects.toMatchObject(unavailable);
    await expect(missing.keepBytes('files/aa/x', Buffer.from('x'))).rejects.toMatchObject(unavailable);
    await expect(away.info('files/aa/x')).rejects.toMatchObject(unavailable);
  });
});

test('a place is a bucket, a prefix and two options', () => {
  expect(parseS3Place('s3://bucket')).toEqual({ bucket: 'bucket', prefix: '' });
  expect(parseS3Place('s3://my.bucket/a/b/?region=eu-north-1')).toEqual({
    bucket: 'my.bucket',
    prefix: 'a/b/',
    region: 'eu-north-1',
  });
  expect(parseS3Place('s3://bucket/a?endpoint=http://127.0.0.1:9000')).toEqual({
    bucket: 'bucket',
    prefix: 'a/',
    endpoint: 'http://127.0.0.1:9000',
  });
  for (const wrong of [
    's3://',
    's3://B_!/x',
    'http://x/y',
    's3://bucket?key=secret',
    's3://bucket?endpoint=x',
  ]) {
    expect(parseS3Place(wrong), wrong).toBeUndefined();
  }
});
