// `symkeep token create|list|revoke`: the lines of a tokens file.
import {
  appendFileSync,
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { defineCommand, UsageError, type Values } from '@symkeep/options';
import { createToken, parseTokens } from '../http/tokens.ts';
import { json, tokenExpires, tokenRole, tokensFile } from '../options.ts';

/** Only its owner reads the file: it holds digests, but also names and roles. */
const fileMode = 0o600;

const options = { tokensFile, role: tokenRole, expires: tokenExpires, json } as const;
type TokenValues = Values<typeof options>;

export const token = defineCommand({
  name: 'token',
  describe: 'tokens of a server: create <name>, list, revoke <name>',
  args: '<action> [name]',
  options,
  more: 'A token is printed once; the file keeps its SHA-256. A running server sees a change of the file by itself.',
  run: async (values, [action, name]) => {
    const { tokensFile: path } = values;
    if (path === undefined) throw new UsageError(['--tokens-file: is needed']);
    if (action === 'list') return list(path, values.json);
    if (action !== 'create' && action !== 'revoke') {
      throw new UsageError([
        `token: unknown action ${JSON.stringify(action)}; known are create, list, revoke`,
      ]);
    }
    if (name === undefined || !/^[\w.@-]{1,64}$/.test(name)) {
      throw new UsageError([`token ${action}: a name is needed, of letters, digits and _.@-`]);
    }
    return action === 'create' ? create(path, name, values) : revoke(path, name);
  },
});

function create(path: string, name: string, { role, expires, json }: TokenValues): number {
  const { token, line } = createToken(name, [role], expires);
  const file = openSync(path, 'a', fileMode);
  appendFileSync(file, `${line}\n`);
  closeSync(file);
  process.stdout.write(json ? `${JSON.stringify({ name, role, expires, token })}\n` : `${token}\n`);
  return 0;
}

function list(path: string, json: boolean): number {
  const tokens = existsSync(path) ? parseTokens(readFileSync(path, 'utf8')) : [];
  for (const { name, roles, expires } of tokens) {
    const until = Number.isFinite(expires) ? new Date(expires).toISOString() : 'never';
    const line = json
      ? JSON.stringify({ name, roles, expires: until })
      : `${name}\t${roles.join(',')}\t${until}`;
    process.stdout.write(`${line}\n`);
  }
  return 0;
}

// Written beside and renamed, so that a server never reads half a file.
function revoke(path: string, name: string): number {
  const lines = readFileSync(path, 'utf8').split('\n');
  const kept = lines.filter((line) => line.trim().split(/\s+/)[0] !== name);
  if (kept.length === lines.length) throw new Error(`no token is named ${name} in ${path}`);
  const written = `${path}.new`;
  writeFileSync(written, kept.join('\n'), { mode: fileMode });
  renameSync(written, path);
  return 0;
}
