// `symkeep lookup <id> [address…]`: an executable's record, or the frames at its addresses.
import { defineCommand, UsageError } from '@symkeep/options';
import {
  type ExecutableId,
  type ExecutableRecord,
  FRAME_STATUS,
  type FramesAt,
  type FramesReply,
  formatAddress,
  parseAddress,
  parseExecutableId,
  readFrameColumns,
  SymkeepError,
} from '@symkeep/protocol';
import { type Client, createClient } from '../client.ts';
import { json, server, token } from '../options.ts';
import { frameText, recordText } from '../text.ts';

export const serverUrlDefault = 'http://127.0.0.1:8520';

export const lookup = defineCommand({
  name: 'lookup',
  describe: 'the record of an executable, or the frames at its addresses',
  args: '<id> [address...]',
  options: { server, token, json },
  more: `Examples:
  symkeep lookup 5e2f1b…            a GNU build ID, as file and readelf -n print it
  symkeep lookup htlhash:91b2…      the file ID of OpenTelemetry profiles
  symkeep lookup 5e2f1b… 0x31a40    what stands at an address of it`,
  run: async (values, [idText = '', ...addressTexts]) => {
    const id = orUsage(() => parseExecutableId(idText));
    const addresses = addressTexts.map((text) => orUsage(() => parseAddress(text)));
    const client = createClient(values.server ?? serverUrlDefault, values.token);
    return addresses.length === 0
      ? printRecord(client, id, values.json)
      : printFrames(client, id, addresses, values.json);
  },
});

async function printRecord(client: Client, id: ExecutableId, asJson: boolean): Promise<number> {
  const record = (await client.get(`/v1/executables/${encodeURIComponent(id)}`)) as ExecutableRecord;
  print(asJson ? JSON.stringify(record) : recordText(record));
  return 0;
}

async function printFrames(
  client: Client,
  id: ExecutableId,
  addresses: readonly bigint[],
  asJson: boolean,
): Promise<number> {
  const body = { requests: [{ id, addresses: addresses.map(formatAddress) }] };
  const reply = (await client.post('/v1/frames/lookup', body)) as FramesReply;
  const columns = reply.results[0]!;
  if (columns.error !== undefined) throw new SymkeepError('invalid_argument', columns.error.message);
  const found = readFrameColumns(reply.strings, columns);
  for (const [index, at] of found.entries()) {
    const address = formatAddress(addresses[index]!);
    print(asJson ? JSON.stringify({ address, ...at }) : framesText(address, at));
  }
  return found.every(({ status }) => status === FRAME_STATUS.resolved) ? 0 : 1;
}

const absentTexts = [
  '',
  'nothing is known there',
  'symbols are not ready',
  'unknown executable',
  'not available now',
];

function framesText(address: string, { status, frames }: FramesAt): string {
  if (frames.length === 0) return `${address}  (${absentTexts[status] ?? 'unknown'})`;
  const indent = ' '.repeat(address.length + 2);
  return `${address}  ${frames.map(frameText).join(`\n${indent}`)}`;
}

export function orUsage<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new UsageError([(error as Error).message]);
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
