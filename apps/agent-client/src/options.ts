// What the agent can be told, by flag, environment variable or YAML file.
import { lstatSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { byteSize, duration, flag, listenAddress, option } from '@symkeep/options';
import { z } from 'zod';
import { uploadMaxDefault, uploadRateDefault } from './uploading/defaults.ts';

const count = z.coerce
  .number('is not a number')
  .int('is not a whole number')
  .min(1, 'is not at least 1')
  .max(2 ** 22, 'is over 4194304');
const path = z.string('is no text').min(1, 'is empty');
const serverAddress = z
  .string()
  .refine(isServerAddress, 'is neither http://…, https://… nor unix:<path of a socket>')
  .default('http://127.0.0.1:8520');

// The link itself: in another PID namespace than the agent's it leads nowhere.
function isProc(directory: string): boolean {
  return lstatSync(join(directory, 'self'), { throwIfNoEntry: false }) !== undefined;
}

function isServerAddress(text: string): boolean {
  if (text.startsWith('unix:')) return text.length > 'unix:'.length;
  return URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol);
}

export const outputOptions = {
  json: option(flag.default(false), { describe: 'print JSON, one object a line', env: 'SYMKEEP_JSON' }),
};

export const hostOptions = {
  proc: option(path.refine(isProc, 'is no /proc').default('/proc'), {
    describe: "the host's /proc, for an agent in a container",
    env: 'SYMKEEP_AGENT_PROC',
    placeholder: '<directory>',
  }),
  sys: option(path.default('/sys'), {
    describe: "the host's /sys",
    env: 'SYMKEEP_AGENT_SYS',
    placeholder: '<directory>',
  }),
};

export const runOptions = {
  ...hostOptions,
  server: option(serverAddress, {
    describe: 'the symbol server: a URL, or unix:<socket>; http://127.0.0.1:8520 by default',
    env: 'SYMKEEP_SERVER',
    placeholder: '<url>',
  }),
  token: option(z.string().optional(), {
    describe: 'token for the symbol server, of the role agent',
    env: 'SYMKEEP_TOKEN',
    placeholder: '<token>',
  }),
  data: option(path.default('.symkeep'), {
    describe: 'data directory; the agent keeps its snapshot and its socket in agent/ of it',
    env: 'SYMKEEP_DATA',
    placeholder: '<directory>',
  }),
  listen: option(listenAddress.optional(), {
    describe: 'answer reads on this loopback address as well',
    env: 'SYMKEEP_AGENT_LISTEN',
    placeholder: '<host:port>',
  }),
  host: option(
    z.string('is no text').min(1, 'is empty').max(255, 'is over 255 characters').default(hostname()),
    {
      describe: 'name of this host in reports; what the system calls it by default',
      env: 'SYMKEEP_AGENT_HOST',
      placeholder: '<name>',
    },
  ),
  scanInterval: option(duration.pipe(z.number().min(1_000, 'is under 1s')).default(30_000), {
    describe: 'time between two passes over the processes; more if a pass takes long; 30s by default',
    env: 'SYMKEEP_AGENT_SCAN_INTERVAL',
    placeholder: '<duration>',
  }),
  cycle: option(duration.pipe(z.number().min(100, 'is under 100ms')).default(60_000), {
    describe: 'a request to the server at least this often (±20 %); 60s by default',
    env: 'SYMKEEP_AGENT_CYCLE',
    placeholder: '<duration>',
  }),
  events: option(z.enum(['poll', 'follow'], 'is neither poll nor follow').default('poll'), {
    describe: 'hear of changes once per cycle (poll, the default) or as they happen (follow)',
    env: 'SYMKEEP_AGENT_EVENTS',
    placeholder: '<how>',
  }),
  upload: option(z.enum(['asked', 'never'], 'is neither asked nor never').default('asked'), {
    describe: 'send files of live executables when the server asks for them (asked, the default), or never',
    env: 'SYMKEEP_AGENT_UPLOAD',
    placeholder: '<when>',
  }),
  uploadRate: option(byteSize.pipe(z.number().min(32_768, 'is under 32KiB')).default(uploadRateDefault), {
    describe: 'bytes of such a file per second; 4MiB by default',
    env: 'SYMKEEP_AGENT_UPLOAD_RATE',
    placeholder: '<size>',
  }),
  uploadMax: option(byteSize.default(uploadMaxDefault), {
    describe: 'largest such file; 1GiB by default',
    env: 'SYMKEEP_AGENT_UPLOAD_MAX',
    placeholder: '<size>',
  }),
  cacheExecutables: option(count.default(4_096), {
    describe: 'executables in the cache; 4096 by default',
    env: 'SYMKEEP_AGENT_CACHE_EXECUTABLES',
    placeholder: '<count>',
  }),
  cacheFrames: option(count.default(32_768), {
    describe: 'addresses whose frames are in the cache; 32768 by default',
    env: 'SYMKEEP_AGENT_CACHE_FRAMES',
    placeholder: '<count>',
  }),
  cacheIdle: option(duration.pipe(z.number().min(1_000, 'is under 1s')).optional(), {
    describe:
      'forget what nobody has asked for in this time, to give memory back; by default nothing is forgotten',
    env: 'SYMKEEP_AGENT_CACHE_IDLE',
    placeholder: '<duration>',
  }),
};
