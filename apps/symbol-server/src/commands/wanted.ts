// `symkeep wanted`: which executables are asked for without symbols, most wanted first.
import { defineCommand, option } from '@symkeep/options';
import type { ExecutableRecord } from '@symkeep/protocol';
import { z } from 'zod';
import { createClient } from '../client.ts';
import { json, server, token } from '../options.ts';
import { serverUrlDefault } from './lookup.ts';

interface WantedReply {
  readonly items: readonly {
    readonly id: string;
    readonly samples: number;
    readonly record?: ExecutableRecord;
  }[];
}

export const wanted = defineCommand({
  name: 'wanted',
  describe: 'the most wanted executables without symbols',
  options: {
    server,
    token,
    json,
    limit: option(z.coerce.number('is not a number').int().min(1).max(1_000).default(20), {
      describe: 'how many, 20 if not given',
      env: 'SYMKEEP_WANTED_LIMIT',
      placeholder: '<n>',
    }),
  },
  more: 'Samples count what was asked for in vain: addresses, or the weights that came with them.',
  run: async (values) => {
    const client = createClient(values.server ?? serverUrlDefault, values.token);
    const { items } = (await client.get(`/v1/admin/wanted?limit=${values.limit}`)) as WantedReply;
    for (const item of items) {
      const { id, samples, record } = item;
      const state = record === undefined ? 'unknown' : record.symbols.state;
      const name = record?.fileName ?? '';
      const line = `${String(Math.round(samples)).padStart(10)}  ${state.padEnd(8)} ${id}  ${name}`;
      process.stdout.write(`${values.json ? JSON.stringify(item) : line.trimEnd()}\n`);
    }
    if (items.length === 0 && !values.json) process.stderr.write('nothing is asked for without symbols\n');
    return 0;
  },
});
