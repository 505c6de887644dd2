// Who may ask. Open or closed is decided at start from configuration alone: with a tokens file every request needs a
// token; without one the server listens on loopback only, where the `Host` header is checked, because a web page can
// point a name of its own at 127.0.0.1 (DNS rebinding), and pages of other sites may not write.
import { isIPv4 } from 'node:net';
import { SymkeepError } from '@symkeep/protocol';
import type { Role } from './operation.ts';
import type { TokenFile } from './tokens.ts';

/** What a request shows of itself. */
export interface Credentials {
  /** `Host`, with or without port. */
  readonly host: string;
  readonly authorization: string | undefined;
  /** As it was asked for, with the token that may stand at its start. */
  readonly path: string;
  readonly origin: string | undefined;
  readonly writes: boolean;
}

/** Who was let in. */
export interface Caller {
  /** Name of the token; undefined on an open server. */
  readonly token: string | undefined;
  /** All of them on an open server. */
  readonly roles: readonly Role[];
}

/** Returns if the request may do what the role may; throws `unauthenticated` or `permission_denied`. */
export type Access = (credentials: Credentials, role: Role) => Caller;

const anyone: Caller = { token: undefined, roles: ['read', 'agent', 'upload', 'admin'] };

/** Roles that may do what a role may. */
const granting: Record<Role, readonly Role[]> = {
  read: ['read', 'agent', 'upload', 'admin'],
  agent: ['agent', 'admin'],
  upload: ['upload', 'agent', 'admin'],
  admin: ['admin'],
};

export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  if (name === 'localhost' || name.endsWith('.localhost') || name === '::1' || name === '[::1]') return true;
  return isIPv4(name) && name.startsWith('127.');
}

/** For a server on loopback without tokens. `hosts` are further names under which it is reached, as by a proxy. */
export function openAccess(hosts: readonly string[]): Access {
  const known = new Set(hosts.map((host) => host.toLowerCase()));
  // Nearly all requests name the same host.
  let admitted: string | undefined;
  return ({ host, origin, writes }) => {
    if (host === admitted && origin === undefined) return anyone;
    const name = host.replace(/:\d*$/, '').toLowerCase();
    if (!isLoopback(name) && !known.has(name)) {
      throw new SymkeepError(
        'permission_denied',
        `the host ${JSON.stringify(name.slice(0, 80))} is not this server's`,
      );
    }
    if (writes && origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
      throw new SymkeepError('permission_denied', 'pages of other sites may not write here');
    }
    admitted = host;
    return anyone;
  };
}

/**
 * For a server with a tokens file. Basic credentials and paths that begin with `/t/<token>` are for clients that can
 * send nothing else, such as debuginfod's; URLs end up in logs and histories, so with these one may only read.
 */
export function tokenAccess(tokens: TokenFile): Access {
  return ({ authorization, path }, role) => {
    const given = tokenIn(authorization) ?? tokenInPath(path);
    if (given === undefined)
      throw new SymkeepError('unauthenticated', 'a token is needed: authorization: Bearer <token>');
    const token = tokens.find(given.token);
    if (token === undefined) throw new SymkeepError('unauthenticated', 'the token is unknown or has expired');
    const granted = token.roles.some((one) => granting[role].includes(one));
    if (!granted || (!given.bearer && role !== 'read')) {
      throw new SymkeepError('permission_denied', `the token ${token.name} has not the role ${role}`);
    }
    return { token: token.name, roles: token.roles };
  };
}

interface GivenToken {
  readonly token: string;
  readonly bearer: boolean;
}

function tokenIn(authorization: string | undefined): GivenToken | undefined {
  const [, scheme, value] = /^(bearer|basic) +([\w.~+/=-]+)$/i.exec(authorization ?? '') ?? [];
  if (scheme === undefined || value === undefined) return undefined;
  if (scheme.toLowerCase() === 'bearer') return { token: value, bearer: true };
  const pair = Buffer.from(value, 'base64').toString();
  return { token: pair.slice(pair.indexOf(':') + 1), bearer: false };
}

const tokenPrefix = /^\/t\/([\w-]+)(?=\/)/;

function tokenInPath(path: string): GivenToken | undefined {
  const token = tokenPrefix.exec(path)?.[1];
  return token === undefined ? undefined : { token, bearer: false };
}

/** The path behind a token; an open server has the same paths, so that a client's URL works with both. */
export function withoutToken(path: string): string {
  return path.replace(tokenPrefix, '');
}
