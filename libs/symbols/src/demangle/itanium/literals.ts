/** <expr-primary> of the Itanium C++ ABI (5.1.6.1): literals of every type, and names as arguments. */
import { fail } from '../bounds.ts';
import { Closure, Name } from './name-nodes.ts';
import { parseEncoding, parseUnnamedType } from './names.ts';
import { Enclosed, type Node, Text } from './node.ts';
import { type State, sequence } from './state.ts';
import { parseType } from './types.ts';

/** How a literal of an integer type says its type: as a cast before it or as a suffix. */
const integerForms = new Map<string, readonly [cast: string, suffix: string]>([
  ['w', ['(wchar_t)', '']],
  ['c', ['(char)', '']],
  ['a', ['(signed char)', '']],
  ['h', ['(unsigned char)', '']],
  ['s', ['(short)', '']],
  ['t', ['(unsigned short)', '']],
  ['i', ['', '']],
  ['j', ['', 'u']],
  ['l', ['', 'l']],
  ['m', ['', 'ul']],
  ['x', ['', 'll']],
  ['y', ['', 'ull']],
  ['n', ['(__int128)', '']],
  ['o', ['(unsigned __int128)', '']],
]);

/** <expr-primary> */
export function parsePrimary(state: State): Node {
  state.expect('L');
  const next = state.peek();
  const form = integerForms.get(next);
  if (form !== undefined) {
    state.position += 1;
    return new Text(`${form[0]}${parseInteger(state)}${form[1]}`);
  }
  switch (next) {
    case 'b':
      if (state.take('b0E')) return new Text('false');
      state.expect('b1E');
      return new Text('true');
    case 'f':
    case 'd':
    case 'e':
      return parseFloating(state, next);
    case '_':
      state.expect('_Z');
      return ended(state, parseEncoding(state));
    case 'A':
      return ended(state, sequence('"<', parseType(state), '>"'));
    case 'D':
      state.expect('Dn');
      state.take('0');
      return ended(state, new Name('nullptr'));
    case 'T':
      return fail();
    case 'U':
      return parseLambda(state);
    default: {
      const type = new Enclosed('', parseType(state));
      return sequence(type, parseInteger(state));
    }
  }
}

function ended(state: State, node: Node): Node {
  state.expect('E');
  return node;
}

function parseInteger(state: State): string {
  const digits = state.number(true);
  if (digits === '') fail();
  state.expect('E');
  return digits.replace('n', '-');
}

/** A lambda expression prints as `[](int){...}`. */
function parseLambda(state: State): Node {
  if (state.peek(1) !== 'l') fail();
  const closure = parseUnnamedType(state, undefined);
  state.expect('E');
  return closure instanceof Closure ? sequence('[]', closure.declarator, '{...}') : fail();
}

/** Hexadecimal digits of each type, most significant first. `long double` is x87's 80 bits, as llvm on x86-64 reads it. */
const floatDigits = { f: 8, d: 16, e: 20 } as const;

function parseFloating(state: State, type: 'f' | 'd' | 'e'): Node {
  const start = state.position + 1;
  const digits = state.text.slice(start, start + floatDigits[type]);
  if (digits.length !== floatDigits[type] || !/^[0-9a-f]+$/.test(digits)) fail();
  state.position = start + digits.length;
  state.expect('E');
  if (type === 'e') return new Text(`${printExtended(BigInt(`0x${digits}`))}L`);
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(`0x${digits}`) << (type === 'f' ? 32n : 0n));
  if (type === 'd') return new Text(printDouble(view.getBigUint64(0)));
  view.setFloat64(0, view.getFloat32(0));
  return new Text(`${printDouble(view.getBigUint64(0))}f`);
}

/** What C's `%a` says of the bits of an IEEE double. */
function printDouble(bits: bigint): string {
  const sign = bits >> 63n === 0n ? '' : '-';
  const exponent = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & 0xfffffffffffffn;
  if (exponent === 0x7ff) return sign + (fraction === 0n ? 'inf' : 'nan');
  const lead = exponent === 0 ? '0' : '1';
  if (exponent === 0 && fraction === 0n) return `${sign}0x0p+0`;
  return `${sign}0x${lead}${hexFraction(fraction, 13)}p${signed(exponent === 0 ? -1022 : exponent - 1023)}`;
}

/** What glibc's `%La` says of the 80 bits of an x87 extended: its first digit is the four leading bits. */
function printExtended(bits: bigint): string {
  const sign = bits >> 79n === 0n ? '' : '-';
  const exponent = Number((bits >> 64n) & 0x7fffn);
  const mantissa = bits & 0xffffffffffffffffn;
  if (exponent === 0x7fff) return sign + (mantissa << 1n === 1n << 64n ? 'inf' : 'nan');
  if (mantissa === 0n) return `${sign}0x0p+0`;
  const lead = (mantissa >> 60n).toString(16);
  const power = (exponent === 0 ? 1 : exponent) - 16383 - 3;
  return `${sign}0x${lead}${hexFraction(mantissa & 0xfffffffffffffffn, 15)}p${signed(power)}`;
}

function hexFraction(fraction: bigint, digits: number): string {
  if (fraction === 0n) return '';
  return `.${fraction.toString(16).padStart(digits, '0').replace(/0+$/, '')}`;
}

function signed(exponent: number): string {
  return exponent < 0 ? String(exponent) : `+${exponent}`;
}
