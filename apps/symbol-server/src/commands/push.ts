// `symkeep push <file|dir…>`: sends executables and debug files to the server, as CI and package builds do.
import type { Clock } from '@symkeep/cache';
import { defineCommand, UsageError, type Values } from '@symkeep/options';
import { type Client, createClient } from '../client.ts';
import { json, parallel, replace, server, token, wait } from '../options.ts';
import { ProgressBar } from '../progress-bar.ts';
import { type FoundFile, findElfFiles, missingPath } from '../push/elf-walk.ts';
import { type Pushed, type PushStatus, pushFiles, waitForJobs } from '../push/push.ts';
import { bytesText } from '../text.ts';
import { serverUrlDefault } from './lookup.ts';

const options = { server, token, wait, parallel, replace, json } as const;
type PushValues = Values<typeof options>;

export function push(clock: Clock) {
  return defineCommand({
    name: 'push',
    describe: 'sends executables and debug files to the server',
    args: '<path...>',
    options,
    more: `Directories are walked for ELF files, without following links. What the server has as good or better is not sent.

Examples:
  symkeep push build/              everything that a build made
  symkeep push --wait app.debug    returns once its symbols can be looked up`,
    run: async (values, paths) => {
      const missing = paths.map(missingPath).filter((mistake) => mistake !== undefined);
      if (missing.length > 0) throw new UsageError(missing);
      const { files, unreadable } = await findElfFiles(paths);
      for (const line of unreadable) process.stderr.write(`cannot be read: ${line}\n`);
      const client = createClient(values.server ?? serverUrlDefault, values.token);
      const pushed = await pushAll(files, client, values, clock);
      report(pushed, unreadable.length, values);
      if (files.length === 0) process.stderr.write('no ELF files were found\n');
      const failed = pushed.some(({ status }) => status === 'failed') || unreadable.length > 0;
      return failed || files.length === 0 ? 1 : 0;
    },
  });
}

async function pushAll(
  files: readonly FoundFile[],
  client: Client,
  values: PushValues,
  clock: Clock,
): Promise<Pushed[]> {
  const bar = new ProgressBar(process.stderr, clock);
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let bytes = 0;
  let done = 0;
  const pushed = await pushFiles(files, {
    ...{ client, token: values.token, parallel: values.parallel, replace: values.replace, clock },
    onProgress: (step) => {
      bytes += step.bytes ?? 0;
      if (step.done !== undefined) done++;
      bar.show(bytes / Math.max(1, total), `${done} of ${files.length} files, ${bytesText(total)}`);
    },
  });
  const jobs = new Set(pushed.flatMap(({ job }) => job ?? [])).size;
  const waited = values.wait
    ? await waitForJobs(pushed, { client, clock }, (ready) =>
        bar.show(ready / Math.max(1, jobs), `symbols of ${ready} files are ready`),
      )
    : pushed;
  bar.end();
  return waited;
}

function report(pushed: readonly Pushed[], unreadable: number, { json }: PushValues): void {
  const count = (status: PushStatus) => pushed.filter((one) => one.status === status).length;
  const counts = {
    pushed: count('pushed'),
    kept: count('kept'),
    skipped: count('skipped'),
    failed: count('failed') + unreadable,
  };
  if (json) {
    process.stdout.write(`${JSON.stringify({ ...counts, files: pushed })}\n`);
    return;
  }
  for (const { path, status, reason } of pushed) {
    if (status === 'failed') process.stderr.write(`${path}: ${reason ?? 'failed'}\n`);
  }
  const parts = Object.entries(counts).map(([name, value]) => `${value} ${name}`);
  process.stdout.write(`${parts.join(', ')}\n`);
}
