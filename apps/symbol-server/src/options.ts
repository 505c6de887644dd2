// The options of the commands, each defined once: flag, environment variable, key in a YAML file, check and help.
import { byteSize, duration, flag, listenAddress, option } from '@symkeep/options';
import { qualities, symbolStates } from '@symkeep/protocol';
import { z } from 'zod';
import { askModes } from './asking/ask-mode.ts';
import { backfillSources, priorityMax, rateMax } from './backfills/backfill.ts';
import { parseS3Place } from './blobs/open-blobs.ts';
import type { Role } from './http/operation.ts';
import { roles } from './http/tokens.ts';
import { allowedPathsDefault } from './upstreams/allowed-paths.ts';

function wholeNumber(min: number, max: number) {
  return z.coerce
    .number('is not a number')
    .int('is not a whole number')
    .min(min, `is under ${min}`)
    .max(max, `is over ${max}`);
}

/** Comma separated, or a list in YAML. */
const list = z
  .union([z.string(), z.array(z.string())])
  .transform((given) => (typeof given === 'string' ? given.split(',') : given))
  .transform((parts) => parts.map((part) => part.trim()).filter((part) => part !== ''));

export const json = option(flag.default(false), {
  describe: 'print JSON',
  env: 'SYMKEEP_JSON',
});

export const listen = option(listenAddress.default({ host: '127.0.0.1', port: 8520 }), {
  describe: 'where the server listens, 127.0.0.1:8520 if not given',
  env: 'SYMKEEP_LISTEN',
  placeholder: '<host:port>',
});

export const server = option(z.url({ protocol: /^https?$/, error: 'is not an http:// URL' }).optional(), {
  describe: 'the server to ask, http://127.0.0.1:8520 if not given',
  env: 'SYMKEEP_SERVER',
  placeholder: '<url>',
});

export const token = option(z.string().optional(), {
  describe: 'token for a server that needs one',
  env: 'SYMKEEP_TOKEN',
  placeholder: '<token>',
});

export const data = option(z.string().default('.symkeep'), {
  describe: 'data directory, .symkeep if not given',
  env: 'SYMKEEP_DATA',
  placeholder: '<dir>',
});

export const blobs = option(
  z
    .string()
    .transform((text, context) => {
      if (!text.includes('://')) return text;
      const place = parseS3Place(text);
      if (place === undefined)
        context.addIssue('is neither a directory nor s3://bucket/prefix?endpoint=<url>&region=<name>');
      return place ?? z.NEVER;
    })
    .optional(),
  {
    describe:
      'where files are kept: a directory, or s3://bucket/prefix?endpoint=…&region=…; by default blobs in the data directory',
    env: 'SYMKEEP_BLOBS',
    placeholder: '<place>',
  },
);

export const fileBytesMax = option(byteSize.default(4 * 2 ** 30), {
  describe: 'largest file that may be uploaded, 4GiB if not given',
  env: 'SYMKEEP_FILE_BYTES_MAX',
  placeholder: '<size>',
});

export const uploadsMax = option(wholeNumber(1, 1_024).default(16), {
  describe: 'uploads at once per process, 16 if not given; more are told to come back',
  env: 'SYMKEEP_UPLOADS_MAX',
  placeholder: '<n>',
});

export const askAgents = option(z.enum(askModes, 'is not wanted, all or never').default('wanted'), {
  describe:
    'ask an agent for the file of executables whose symbols are missed (wanted, if not given), of all without symbols, or never',
  env: 'SYMKEEP_ASK_AGENTS',
  placeholder: '<which>',
});

export const uploadLease = option(
  duration.pipe(z.number().min(1_000, 'is under 1s').max(86_400_000, 'is over 24h')).default(120_000),
  {
    describe:
      'how long an agent that was asked for a file may be silent before another is asked, 2m if not given',
    env: 'SYMKEEP_UPLOAD_LEASE',
    placeholder: '<duration>',
  },
);

export const retainDebugFiles = option(z.enum(['keep', 'drop'], 'is neither keep nor drop').default('keep'), {
  describe: 'keep debug files, or drop them once their symbols are extracted; keep if not given',
  env: 'SYMKEEP_RETAIN_DEBUG_FILES',
  placeholder: '<keep|drop>',
});

export const wait = option(flag.default(false), {
  describe: 'wait until it is done and symbols can be looked up',
  env: 'SYMKEEP_WAIT',
});

export const parallel = option(wholeNumber(1, 256).default(8), {
  describe: 'files at once, 8 if not given',
  env: 'SYMKEEP_PARALLEL',
  placeholder: '<n>',
});

export const replace = option(flag.default(false), {
  describe: 'take the place of what the server has, whatever it is (role admin)',
  env: 'SYMKEEP_REPLACE',
});

const redisAddress = z
  .string('is no text')
  .regex(/^(unix|redis\+unix|rediss?(\+(sentinel|cluster))?):\/\/./, 'is not a Redis URL');

export const redisUrl = option(redisAddress.default('redis://127.0.0.1:6379'), {
  describe: 'Redis, Sentinel or Cluster: redis://127.0.0.1:6379 if not given',
  env: 'REDIS_URL',
  placeholder: '<url>',
});

export const ownRedisUrl = option(redisAddress.optional(), {
  describe: 'Redis, Sentinel or Cluster; one is started if not given',
  env: 'REDIS_URL',
  placeholder: '<url>',
});

export const namespace = option(
  z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'is not 1 to 32 of a-z, 0-9 and -')
    .default('main'),
  {
    describe: 'first part of every key in Redis, main if not given',
    env: 'SYMKEEP_NAMESPACE',
    placeholder: '<name>',
  },
);

export const tokensFile = option(z.string().optional(), {
  describe: 'file of tokens (symkeep token create); needed to listen beyond loopback',
  env: 'SYMKEEP_TOKENS_FILE',
  placeholder: '<file>',
});

export const hosts = option(list.default([]), {
  describe: 'further host names by which an open server is reached, comma separated',
  env: 'SYMKEEP_HOSTS',
  placeholder: '<names>',
});

export const cacheBytes = option(byteSize.default(256 * 2 ** 20), {
  describe: 'memory for cached facts per process, 256MiB if not given',
  env: 'SYMKEEP_CACHE_BYTES',
  placeholder: '<size>',
});

export const allowEviction = option(flag.default(false), {
  describe: 'accept a Redis that evicts: facts will be lost and sent again',
  env: 'SYMKEEP_ALLOW_EVICTION',
});

export const processes = option(wholeNumber(1, 64).default(1), {
  describe: 'server processes, 1 if not given',
  env: 'SYMKEEP_PROCESSES',
  placeholder: '<n>',
});

export const concurrency = option(
  z.coerce
    .number('is not a number')
    .int('is not a whole number')
    .min(1, 'is under 1')
    .max(256, 'is over 256')
    .optional(),
  {
    describe: 'extractions at once, as many as processors if not given',
    env: 'SYMKEEP_CONCURRENCY',
    placeholder: '<n>',
  },
);

export const pageBudget = option(byteSize.optional(), {
  describe: 'symbol table pages that Redis may hold, the rest is read from the blobs; all if not given',
  env: 'SYMKEEP_PAGE_BUDGET',
  placeholder: '<size>',
});

export const upstreams = option(list.default([]), {
  describe: 'debuginfod or symkeep servers to fetch debug files from, in this order; none if not given',
  env: 'SYMKEEP_UPSTREAMS',
  placeholder: '<urls>',
});

export const upstreamPaths = option(list.default([...allowedPathsDefault]), {
  describe: `only executables seen under these paths are asked for, ${allowedPathsDefault.join(',')} if not given`,
  env: 'SYMKEEP_UPSTREAM_PATHS',
  placeholder: '<paths>',
});

export const upstreamPrivate = option(flag.default(false), {
  describe: 'upstreams may be on private and loopback addresses',
  env: 'SYMKEEP_UPSTREAM_PRIVATE',
});

export const upstreamRequests = option(wholeNumber(1, 64).default(4), {
  describe: 'requests to upstreams at once, 4 if not given',
  env: 'SYMKEEP_UPSTREAM_REQUESTS',
  placeholder: '<n>',
});

export const logLevel = option(
  z
    .enum(['debug', 'info', 'warn', 'error', 'silent'], 'is not debug, info, warn, error or silent')
    .default('info'),
  {
    describe: 'least severe lines in the log, info if not given',
    env: 'SYMKEEP_LOG_LEVEL',
    placeholder: '<level>',
  },
);

export const agentListen = option(listenAddress.default({ host: '127.0.0.1', port: 8521 }), {
  describe: 'where the agent listens, 127.0.0.1:8521 if not given',
  env: 'SYMKEEP_AGENT_LISTEN',
  placeholder: '<host:port>',
});

export const tokenRole = option(z.enum(roles as [Role], `is not ${roles.join(', ')}`).default('read'), {
  describe: `what a new token may do: ${roles.join(', ')}; read if not given`,
  env: 'SYMKEEP_TOKEN_ROLE',
  placeholder: '<role>',
});
export const tokenExpires = option(
  z
    .string()
    .refine((text) => text === 'never' || !Number.isNaN(Date.parse(text)), 'is neither a date nor never')
    .transform((text) => (text === 'never' ? text : new Date(text).toISOString()))
    .default('never'),
  {
    describe: 'until when, as 2027-01-31; never if not given',
    env: 'SYMKEEP_TOKEN_EXPIRES',
    placeholder: '<date>',
  },
);

/** What a worker needs to fetch debug files. */
export const upstreamOptions = { upstreams, upstreamPaths, upstreamPrivate, upstreamRequests } as const;

/** What a server needs, whichever command runs it. */
export const serverOptions = {
  listen,
  data,
  blobs,
  fileBytesMax,
  uploadsMax,
  askAgents,
  uploadLease,
  namespace,
  tokensFile,
  hosts,
  cacheBytes,
  allowEviction,
  logLevel,
} as const;

/** What `symkeep backfill start` is about; the server checks the values, and words what is wrong. */
export const backfillOptions = {
  source: option(z.enum(backfillSources, 'is none of stored, upstream, agents').default('stored'), {
    describe: 'where symbols come from: stored files, upstreams, or agents; stored if not given',
    env: 'SYMKEEP_BACKFILL_SOURCE',
    placeholder: '<source>',
  }),
  name: option(z.string().optional(), {
    describe: 'part of the file name',
    env: 'SYMKEEP_BACKFILL_NAME',
    placeholder: '<text>',
  }),
  state: option(z.enum(symbolStates, `is none of ${symbolStates.join(', ')}`).optional(), {
    describe: 'state of the symbols',
    env: 'SYMKEEP_BACKFILL_STATE',
    placeholder: '<state>',
  }),
  qualityBelow: option(z.enum(qualities, `is none of ${qualities.join(', ')}`).optional(), {
    describe: 'symbols are worse than this',
    env: 'SYMKEEP_BACKFILL_QUALITY_BELOW',
    placeholder: '<quality>',
  }),
  lastSeenAfter: option(
    z.iso.datetime({ offset: true, error: 'is not a time such as 2026-01-31T00:00:00Z' }).optional(),
    {
      describe: 'seen to run since that day',
      env: 'SYMKEEP_BACKFILL_LAST_SEEN_AFTER',
      placeholder: '<time>',
    },
  ),
  formatBelow: option(wholeNumber(1, 1_000_000).optional(), {
    describe: 'the symbol table is of an older format',
    env: 'SYMKEEP_BACKFILL_FORMAT_BELOW',
    placeholder: '<version>',
  }),
  priority: option(wholeNumber(1, priorityMax).optional(), {
    describe: `share beside other backfills, 1 to ${priorityMax}, 5 if not given`,
    env: 'SYMKEEP_BACKFILL_PRIORITY',
    placeholder: '<n>',
  }),
  rate: option(
    z.coerce
      .number('is not a number')
      .positive('is not over 0')
      .max(rateMax, `is over ${rateMax}`)
      .optional(),
    {
      describe: 'executables asked for a second at most, 100 if not given',
      env: 'SYMKEEP_BACKFILL_RATE',
      placeholder: '<n>',
    },
  ),
  key: option(z.string().optional(), {
    describe: 'starting again with the same key is the same backfill',
    env: 'SYMKEEP_BACKFILL_KEY',
    placeholder: '<text>',
  }),
  dryRun: option(flag.default(false), {
    describe: 'count what it would be about, and start nothing',
    env: 'SYMKEEP_BACKFILL_DRY_RUN',
  }),
} as const;

/** Variables that some command reads; a command refuses none of the others'. */
export const variables: readonly string[] = [
  ...[
    json,
    listen,
    server,
    token,
    data,
    ...[blobs, fileBytesMax, uploadsMax, askAgents, uploadLease, retainDebugFiles, wait, parallel, replace],
    redisUrl,
    namespace,
    tokensFile,
    hosts,
    cacheBytes,
    allowEviction,
  ],
  ...[pageBudget, upstreams, upstreamPaths, upstreamPrivate, upstreamRequests],
  ...Object.values(backfillOptions),
  ...[processes, concurrency, logLevel, agentListen, tokenRole, tokenExpires],
].map((one) => one.env);
