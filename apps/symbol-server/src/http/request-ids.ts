// The ID of a request, in its reply and in the log: the client's own if it is a plain word, else one of ours.
import { randomBytes } from 'node:crypto';

const plainWord = /^[\w.:-]{1,64}$/;

export class RequestIds {
  readonly #prefix = randomBytes(6).toString('base64url');
  #count = 0;

  of(given: string | undefined): string {
    return given !== undefined && plainWord.test(given)
      ? given
      : `${this.#prefix}-${(this.#count++).toString(36)}`;
  }
}
