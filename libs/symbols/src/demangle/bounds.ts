/**
 * What bounds the work a hostile name can cause, and the one way in which a demangler gives up: it throws `notMangled`,
 * which `demangleName` turns into the raw name.
 */

/** Longer names are passed through: the longest of 270,000 real names is 10 kB. */
export const nameCharsMax = 64 * 1024;

/**
 * Back references make output exponential in the input. The longest of 270,000 real names is 8 kB; over this nobody
 * reads it, and a hostile name costs some ten milliseconds.
 */
export const outputCharsMax = 64 * 1024;

/** Nested types, expressions and encodings while parsing: four stack frames each, far below the default stack. */
export const parseDepthMax = 384;

/** Nested nodes while printing, which substitutions make deeper than the text is nested: two to three frames each. */
export const printDepthMax = 1024;

/** Nodes visited while printing: packs that turn out to be empty print nothing and yet cost time. */
export const printStepsMax = 128 * 1024;

/** The name isn't in the grammar, or it passes a bound. */
export class NotMangled extends Error {
  override readonly name = 'NotMangled';
}

// One instance: it never leaves this folder, and taking a stack trace would cost more than parsing the name.
const notMangled = new NotMangled('not a mangled name');

export function fail(): never {
  throw notMangled;
}
