/**
 * Rust's legacy mangling: `_ZN`, path elements with their lengths, `17h` and a hash of 16 hexadecimal digits, `E`.
 * Printed as rustc-demangle's `{:#}` does: escapes decoded, the hash dropped.
 */

/** At least this many different digits tell a hash from a C++ member that happens to be called `h0000…`. */
const hashDigitsMin = 5;

const hashed = /^_ZN([!-~]*)17h([0-9a-f]{16})E(\.[!-~]*)?$/;

/** A copy that LLVM made while importing: rustc drops the mark. */
const imported = /\.llvm\.[0-9A-F@]*$/;

const elementLength = /\d{1,9}/y;

const escapeCode = /\.\.|\$([^$]*)\$|\$/g;

const escapes = new Map([
  ['SP', '@'],
  ['BP', '*'],
  ['RF', '&'],
  ['LT', '<'],
  ['GT', '>'],
  ['LP', '('],
  ['RP', ')'],
  ['C', ','],
]);

/** The path; undefined when the name isn't one of legacy Rust. */
export function demangleRustLegacy(name: string): string | undefined {
  // Cheap for the C++ names that most names are.
  const match = name.includes('17h') ? hashed.exec(name) : null;
  if (match === null) return undefined;
  const [, path = '', hash = '', suffix = ''] = match;
  if (countDistinct(hash) < hashDigitsMin) return undefined;
  const elements = parseElements(path);
  return elements && elements.map(unescapeElement).join('::') + suffix.replace(imported, '');
}

function countDistinct(text: string): number {
  let count = 0;
  for (let index = 0; index < text.length; index += 1) {
    if (text.indexOf(text.charAt(index)) === index) count += 1;
  }
  return count;
}

/** `<length> <text>` each; undefined when they don't fill the path exactly. */
function parseElements(path: string): string[] | undefined {
  const elements: string[] = [];
  for (let position = 0; position < path.length; ) {
    elementLength.lastIndex = position;
    const digits = elementLength.exec(path)?.[0];
    if (digits === undefined) return undefined;
    const start = position + digits.length;
    position = start + Number(digits);
    if (position > path.length) return undefined;
    elements.push(path.slice(start, position));
  }
  return elements;
}

/** `$LT$` and the like; from the first unknown escape on, the text stays as it is. */
function unescapeElement(element: string): string {
  if (!element.includes('$') && !element.includes('..')) return element;
  // An element can't start with `$` in every assembler, so rustc puts an underscore before it.
  const text = element.startsWith('_$') ? element.slice(1) : element;
  let plain = '';
  let end = 0;
  escapeCode.lastIndex = 0;
  for (let match = escapeCode.exec(text); match !== null; match = escapeCode.exec(text)) {
    const replacement = match[0] === '..' ? '::' : unescapeCode(match[1] ?? '');
    if (replacement === undefined) break;
    plain += text.slice(end, match.index) + replacement;
    end = match.index + match[0].length;
  }
  return plain + text.slice(end);
}

/** A name of the table, or `u` and the hexadecimal code point of a character that isn't a control. */
function unescapeCode(code: string): string | undefined {
  const known = escapes.get(code);
  if (known !== undefined) return known;
  const digits = /^u([0-9a-f]{1,6})$/.exec(code)?.[1];
  if (digits === undefined) return undefined;
  const codePoint = Number.parseInt(digits, 16);
  const isControl = codePoint < 0x20 || (codePoint >= 0x7f && codePoint < 0xa0);
  const isSurrogate = codePoint >= 0xd800 && codePoint <= 0xdfff;
  if (isControl || isSurrogate || codePoint > 0x10ffff) return undefined;
  return String.fromCodePoint(codePoint);
}
