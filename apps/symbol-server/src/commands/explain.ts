// `symkeep explain <id> [address]`: why a frame is not symbolized.
import { defineCommand } from '@symkeep/options';
import { parseAddress, parseExecutableId } from '@symkeep/protocol';
import { createClient } from '../client.ts';
import type { Step } from '../explain/timeline.ts';
import { json, server, token } from '../options.ts';
import { orUsage, serverUrlDefault } from './lookup.ts';

export const explain = defineCommand({
  name: 'explain',
  describe: 'why a frame is, or is not, symbolized',
  args: '<id> [address]',
  options: { server, token, json },
  more: `Examples:
  symkeep explain 5e2f1b…            what is known of it, and since when
  symkeep explain 5e2f1b… 0x31a40    and what stands at an address of it`,
  run: async (values, [idText = '', addressText]) => {
    const id = orUsage(() => parseExecutableId(idText));
    if (addressText !== undefined) orUsage(() => parseAddress(addressText));
    const client = createClient(values.server ?? serverUrlDefault, values.token);
    const query = addressText === undefined ? '' : `?address=${encodeURIComponent(addressText)}`;
    const path = `/v1/executables/${encodeURIComponent(id)}/explain${query}`;
    const { steps } = (await client.get(path)) as { steps: Step[] };
    for (const step of steps) {
      process.stdout.write(`${values.json ? JSON.stringify(step) : `${step.at}  ${step.text}`}\n`);
    }
    return 0;
  },
});
