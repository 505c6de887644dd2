// Bearer tokens in a file, hashed, reloaded when the file changes. One line per token:
//
//   <name> <SHA-256 of the token in hex> <role,role…> <expiry in RFC 3339, or never>
//
// Tokens are 256 random bits, so a plain digest is as good as a slow one. The file is not in Redis: a wiped store locks
// nobody out.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Role } from './operation.ts';

/** How often the file is looked at. */
const lookEveryMs = 1_000;
export const roles: readonly Role[] = ['read', 'agent', 'upload', 'admin'];

export interface Token {
  readonly name: string;
  readonly digest: Buffer;
  readonly roles: readonly Role[];
  /** Unix milliseconds. */
  readonly expires: number;
}

/** A new token and the line that admits it. The token itself is shown once and kept nowhere. */
export function createToken(
  name: string,
  granted: readonly Role[],
  expires: string,
): { token: string; line: string } {
  const token = `sk_${randomBytes(32).toString('base64url')}`;
  return { token, line: `${name} ${digestOf(token).toString('hex')} ${granted.join(',')} ${expires}` };
}

/** Throws an Error that names the first wrong line. */
export function parseTokens(text: string): Token[] {
  const lines = text.split('\n').map((line, index) => ({ line: line.trim(), number: index + 1 }));
  return lines.filter(({ line }) => line !== '' && !line.startsWith('#')).map(parseLine);
}

function parseLine({ line, number }: { line: string; number: number }): Token {
  const [name = '', digest = '', granted = '', expires = '', ...rest] = line.split(/\s+/);
  const wrong = (why: string) => new Error(`line ${number}: ${why}`);
  if (rest.length > 0 || expires === '') throw wrong('is not <name> <sha256> <roles> <expiry>');
  if (!/^[0-9a-f]{64}$/.test(digest)) throw wrong('the digest is not 64 lower-case hex digits');
  const names = granted.split(',');
  const unknown = names.find((role) => !roles.includes(role as Role));
  if (unknown !== undefined)
    throw wrong(`unknown role ${JSON.stringify(unknown)}; roles are ${roles.join(', ')}`);
  const until = expires === 'never' ? Number.POSITIVE_INFINITY : Date.parse(expires);
  if (Number.isNaN(until)) throw wrong(`the expiry ${JSON.stringify(expires)} is neither RFC 3339 nor never`);
  return { name, digest: Buffer.from(digest, 'hex'), roles: names as Role[], expires: until };
}

/** The tokens of a file, as it is now. A change that cannot be read leaves the tokens as they were, and is reported. */
export class TokenFile {
  readonly #path: string;
  readonly #now: () => number;
  readonly #onTrouble: (error: Error) => void;
  #tokens: Token[];
  #stamp: string;
  #lookedAt: number;

  /** Throws if the file cannot be read now. `now` is the wall clock in Unix milliseconds. */
  constructor(path: string, now: () => number, onTrouble: (error: Error) => void) {
    this.#path = path;
    this.#now = now;
    this.#onTrouble = onTrouble;
    this.#tokens = parseTokens(readFileSync(path, 'utf8'));
    this.#stamp = this.#stampOf();
    this.#lookedAt = now();
  }

  /** The token's entry; undefined if it is unknown or expired. */
  find(token: string): Token | undefined {
    this.#reload();
    const digest = digestOf(token);
    const now = this.#now();
    let found: Token | undefined;
    // Every entry is compared, so that the time taken does not tell which one matched.
    for (const entry of this.#tokens) if (timingSafeEqual(entry.digest, digest)) found = entry;
    return found !== undefined && found.expires > now ? found : undefined;
  }

  #reload(): void {
    const now = this.#now();
    if (Math.abs(now - this.#lookedAt) < lookEveryMs) return;
    this.#lookedAt = now;
    try {
      const stamp = this.#stampOf();
      if (stamp === this.#stamp) return;
      this.#tokens = parseTokens(readFileSync(this.#path, 'utf8'));
      this.#stamp = stamp;
    } catch (error) {
      this.#onTrouble(error as Error);
    }
  }

  #stampOf(): string {
    const { mtimeMs, size, ino } = statSync(this.#path);
    return `${mtimeMs} ${size} ${ino}`;
  }
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
