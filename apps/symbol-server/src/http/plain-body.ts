// The bodies of the requests that are answered without the general path.
import type { IncomingMessage } from 'node:http';
import type { Clock } from '@symkeep/cache';
import { messagePackType } from '@symkeep/protocol';
import { bodyGraceMs } from './body.ts';
import { type Next, typeAccepted } from './fast-path.ts';

/** A thousand of the longest usual IDs, or seven thousand addresses; a larger body takes the general path, which counts what bodies hold. */
const bodyBytesMax = 64 * 1024;

/** Whether a body is small and in MessagePack, as the reply is to be, both without compression. */
export function hasPlainBody({ headers }: IncomingMessage): boolean {
  return (
    Number(headers['content-length']) > 0 &&
    Number(headers['content-length']) <= bodyBytesMax &&
    headers['content-type'] === messagePackType &&
    headers['content-encoding'] === undefined &&
    headers['accept-encoding'] === undefined &&
    typeAccepted(headers.accept, messagePackType) === messagePackType
  );
}

/** Collects a small body. One that is not there in time goes on to the general path with what came, to be paced there. */
export function collectBody(
  clock: Clock,
  request: IncomingMessage,
  next: Next,
  done: (body: Uint8Array) => void,
): void {
  const expected = Number(request.headers['content-length']);
  const parts: Uint8Array[] = [];
  let received = 0;
  const onData = (part: Uint8Array) => {
    parts.push(part);
    received += part.length;
    if (received < expected) return;
    end();
    done(parts.length === 1 ? part : Buffer.concat(parts));
  };
  const end = () => {
    cancel();
    request.off('data', onData).off('close', end);
  };
  const cancel = clock.setTimer(bodyGraceMs, () => {
    end();
    request.pause();
    next(parts);
  });
  request.on('data', onData).on('close', end);
}
