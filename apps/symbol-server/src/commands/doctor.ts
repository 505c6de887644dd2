// `symkeep doctor`: is everything that a server needs as it should be? One line each, with what to do about it.
import { existsSync, mkdirSync, readFileSync, statfsSync } from 'node:fs';
import { type Clock, RedisStore, StoreUnavailable } from '@symkeep/cache';
import { defineCommand, type Values } from '@symkeep/options';
import { SymkeepError } from '@symkeep/protocol';
import { openBlobs } from '../blobs/open-blobs.ts';
import { createClient } from '../client.ts';
import { parseTokens } from '../http/tokens.ts';
import {
  allowEviction,
  blobs,
  data,
  json,
  listen,
  namespace,
  ownRedisUrl,
  server,
  token,
  tokensFile,
} from '../options.ts';
import { refusedConfig } from '../process.ts';
import { createRedis, redisReady, withoutPassword } from '../redis.ts';
import { storeHealth } from '../store-health.ts';
import { ownRedisUrlOf } from '../up/redis-child.ts';
import { urlOf } from './serve.ts';

const redisWaitMs = 2_000;
/** Below this much free space an append-only file that is being rewritten may not fit. */
const freeBytesMin = 2 * 2 ** 30;
/** A clock off by more than this confuses people who compare logs; nothing else depends on it. */
const clockSkewMsMax = 2_000;
const nodeMajorMin = 24;
/** Written and removed. */
const probeKey = 'doctor/probe';

const options = {
  server,
  token,
  redisUrl: ownRedisUrl,
  namespace,
  data,
  blobs,
  tokensFile,
  listen,
  allowEviction,
  json,
} as const;
type DoctorValues = Values<typeof options>;

interface Finding {
  readonly check: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly text: string;
}

export function doctor(clock: Clock) {
  return defineCommand({
    name: 'doctor',
    describe: 'checks Redis, disk, clock, tokens, format versions and reachability',
    options,
    run: async (values) => {
      const findings = [
        runtime(),
        ...(await redis(values, clock)),
        disk(values),
        await blobsFinding(values, clock),
        tokens(values, clock),
        await reachability(values),
      ];
      for (const finding of findings) {
        const { check, state, text } = finding;
        process.stdout.write(
          values.json ? `${JSON.stringify(finding)}\n` : `${state.padEnd(5)} ${check.padEnd(8)} ${text}\n`,
        );
      }
      return findings.some(({ state }) => state === 'fail') ? 1 : 0;
    },
  });
}

function runtime(): Finding {
  const old = Number.parseInt(process.versions.node, 10) < nodeMajorMin;
  return {
    check: 'node',
    state: old ? 'fail' : 'ok',
    text: `${process.version}${old ? `: ${nodeMajorMin} is needed` : ''}`,
  };
}

async function redis(values: DoctorValues, clock: Clock): Promise<Finding[]> {
  const url = values.redisUrl ?? ownRedisUrlOf(values.data) ?? 'redis://127.0.0.1:6379';
  const check = 'redis';
  const client = createRedis(url, () => undefined);
  try {
    const answers = await redisReady(client, redisWaitMs, clock);
    const { refusals, warnings, outage } = await storeHealth(client, values.allowEviction);
    if (!answers || outage !== undefined) {
      const why = outage ?? 'no connection';
      return [
        {
          check,
          state: 'fail',
          text: `${withoutPassword(url)} does not answer (${why}): start it, or set REDIS_URL`,
        },
      ];
    }
    const found: Finding[] = [
      ...refusals.map((text): Finding => ({ check, state: 'fail', text })),
      ...warnings.map((text): Finding => ({ check, state: 'warn', text })),
    ];
    const fit: Finding = { check, state: 'ok', text: `${withoutPassword(url)} is fit to keep facts` };
    return [
      ...(refusals.length === 0 ? [fit] : []),
      ...found,
      ...(await formatsAndClock(client, values, clock)),
    ];
  } finally {
    client.disconnect();
  }
}

async function formatsAndClock(
  client: ReturnType<typeof createRedis>,
  { namespace }: DoctorValues,
  clock: Clock,
): Promise<Finding[]> {
  const store = new RedisStore(client, { clock, namespace });
  const [now, epochs] = await Promise.all([store.now(), store.epochs()]);
  if (now instanceof StoreUnavailable || epochs instanceof StoreUnavailable) return [];
  const skewMs = Math.round(Math.abs(now - clock.wall()));
  const present = epochs.filter((epoch) => epoch !== null).length;
  const filled = `namespace ${namespace}: ${present} of ${epochs.length} shards are in use, in the format of this version`;
  const empty = `namespace ${namespace} is empty: nothing was ever kept there, or it was lost`;
  return [
    skewMs > clockSkewMsMax
      ? {
          check: 'clock',
          state: 'warn',
          text: `this host and Redis differ by ${skewMs} ms: check NTP on both`,
        }
      : { check: 'clock', state: 'ok', text: `this host and Redis differ by ${skewMs} ms` },
    { check: 'formats', state: present === 0 ? 'warn' : 'ok', text: present === 0 ? empty : filled },
  ];
}

function disk({ data }: DoctorValues): Finding {
  try {
    mkdirSync(data, { recursive: true });
    const { bavail, bsize } = statfsSync(data);
    const free = bavail * bsize;
    const text = `${(free / 2 ** 30).toFixed(1)} GiB free for ${data}`;
    return free < freeBytesMin
      ? {
          check: 'disk',
          state: 'warn',
          text: `${text}: make room, rewriting the append-only file needs as much again`,
        }
      : { check: 'disk', state: 'ok', text };
  } catch (error) {
    return { check: 'disk', state: 'fail', text: `${data}: ${(error as Error).message}` };
  }
}

async function blobsFinding(values: DoctorValues, clock: Clock): Promise<Finding> {
  const check = 'blobs';
  try {
    const store = await openBlobs(values, clock);
    await store.keepBytes(probeKey, Buffer.from('symkeep doctor\n'));
    await store.remove(probeKey);
    return { check, state: 'ok', text: `${store.place} can be written` };
  } catch (error) {
    return { check, state: 'fail', text: `${(error as Error).message}: see --blobs` };
  }
}

function tokens(values: DoctorValues, clock: Clock): Finding {
  const check = 'tokens';
  const { tokensFile } = values;
  if (tokensFile === undefined) {
    const refused = refusedConfig(values);
    if (refused !== undefined) return { check, state: 'fail', text: refused };
    return { check, state: 'ok', text: 'none: the server is open to this host only' };
  }
  try {
    const all = existsSync(tokensFile) ? parseTokens(readFileSync(tokensFile, 'utf8')) : [];
    const valid = all.filter(({ expires }) => expires > clock.wall()).length;
    const text = `${valid} of ${all.length} tokens in ${tokensFile} are valid`;
    return valid === 0
      ? { check, state: 'fail', text: `${text}: make one with symkeep token create` }
      : { check, state: 'ok', text };
  } catch (error) {
    return { check, state: 'fail', text: `${tokensFile}: ${(error as Error).message}` };
  }
}

async function reachability(values: DoctorValues): Promise<Finding> {
  const client = createClient(values.server ?? urlOf(values.listen.host, values.listen.port), values.token);
  const check = 'server';
  try {
    const { version } = (await client.get('/v1/info')) as { version: string };
    return { check, state: 'ok', text: `${client.url} answers, version ${version}` };
  } catch (error) {
    const { code, message } = SymkeepError.from(error);
    const hint = code === 'unauthenticated' || code === 'permission_denied' ? ': set SYMKEEP_TOKEN' : '';
    return { check, state: 'fail', text: `${client.url}: ${message}${hint}` };
  }
}
