/**
 * Rust's v0 mangling (RFC 2603), printed as `llvm-cxxfilt` 19 prints it: crate hashes are dropped, integers carry no
 * type, and what came later than that version (structural constants) isn't demangled.
 */
import { fail, outputCharsMax, parseDepthMax } from './bounds.ts';
import { decodePunycode } from './punycode.ts';

const basicTypes = new Map(
  Object.entries({
    a: 'i8',
    b: 'bool',
    c: 'char',
    d: 'f64',
    e: 'str',
    f: 'f32',
    h: 'u8',
    i: 'isize',
    j: 'usize',
    l: 'i32',
    m: 'u32',
    n: 'i128',
    o: 'u128',
    p: '_',
    s: 'i16',
    t: 'u16',
    u: '()',
    v: '...',
    x: 'i64',
    y: 'u64',
    z: '!',
  }),
);

const integerTypes = 'ahijlmnostxy';

const characterEscapes = new Map([
  [0x09, '\\t'],
  [0x0a, '\\n'],
  [0x0d, '\\r'],
  [0x27, "\\'"],
  [0x5c, '\\\\'],
]);

const base62 = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
/** Values of base 62 digits, by character code. */
const base62Digits: number[] = [];
for (const [value, char] of [...base62].entries()) base62Digits[char.charCodeAt(0)] = value;

const u64Max = 2 ** 64;

/** In a type the `::` before generic arguments is left out; `open` leaves their `>` to the caller. */
interface PathPlace {
  isInType: boolean;
  open: boolean;
}

const inValue: PathPlace = { isInType: false, open: false };
const inType: PathPlace = { isInType: true, open: false };
const inBounds: PathPlace = { isInType: true, open: true };

export function demangleRustV0(name: string): string {
  if (!name.startsWith('_R')) fail();
  const dot = name.indexOf('.');
  const symbol = new V0Symbol(dot < 0 ? name.slice(2) : name.slice(2, dot));
  const path = symbol.demangle();
  return dot < 0 ? path : `${path} (${name.slice(dot)})`;
}

const notInIdentifier = /\W/;

function isLetter(char: string): boolean {
  return (char >= 'a' && char <= 'z') || (char >= 'A' && char <= 'Z');
}

class V0Symbol {
  readonly text: string;
  position = 0;
  depth = 0;
  boundLifetimes = 0;
  isPrinting = true;
  out = '';

  constructor(text: string) {
    this.text = text;
  }

  /** <symbol-name>: the crate that instantiated it may follow, and isn't printed. */
  demangle(): string {
    this.path(inValue);
    if (this.position < this.text.length) this.silently(() => this.path(inValue));
    if (this.position < this.text.length) fail();
    return this.out;
  }

  /** <path>; whether the generic arguments were left open. */
  path(place: PathPlace): boolean {
    this.descend();
    const isOpen = this.pathForm(place);
    this.depth -= 1;
    return isOpen;
  }

  private pathForm(place: PathPlace): boolean {
    switch (this.next()) {
      case 'C':
        this.disambiguator();
        this.print(this.identifier());
        return false;
      case 'M':
        this.implPath(place);
        this.qualifiedSelf(false);
        return false;
      case 'X':
        this.implPath(place);
        this.qualifiedSelf(true);
        return false;
      case 'Y':
        this.qualifiedSelf(true);
        return false;
      case 'N':
        this.nestedPath(place);
        return false;
      case 'I':
        return this.genericPath(place);
      case 'B': {
        let isOpen = false;
        this.backReference(() => {
          isOpen = this.path(place);
        });
        return isOpen;
      }
      default:
        return fail();
    }
  }

  /** Where an impl stands isn't printed. */
  private implPath(place: PathPlace): void {
    this.silently(() => {
      this.disambiguator();
      this.path({ ...place, open: false });
    });
  }

  private qualifiedSelf(isTrait: boolean): void {
    this.print('<');
    this.type();
    if (isTrait) {
      this.print(' as ');
      this.path(inType);
    }
    this.print('>');
  }

  private nestedPath(place: PathPlace): void {
    const namespace = this.next();
    if (!isLetter(namespace)) fail();
    this.path({ ...place, open: false });
    const disambiguator = this.disambiguator();
    const identifier = this.identifier();
    if (namespace >= 'a') {
      if (identifier !== '') this.print(`::${identifier}`);
      return;
    }
    const kind = namespace === 'C' ? 'closure' : namespace === 'S' ? 'shim' : namespace;
    this.print(`::{${kind}${identifier === '' ? '' : `:${identifier}`}#${disambiguator}}`);
  }

  private genericPath(place: PathPlace): boolean {
    this.path({ ...place, open: false });
    this.print(place.isInType ? '<' : '::<');
    this.listUntilE(', ', () => this.genericArg());
    if (!place.open) this.print('>');
    return place.open;
  }

  /** <generic-arg> */
  private genericArg(): void {
    if (this.take('L')) this.lifetime(this.base62Number());
    else if (this.take('K')) this.constant();
    else this.type();
  }

  /** <type> */
  private type(): void {
    this.descend();
    const code = this.peek();
    const basic = basicTypes.get(code);
    if (basic === undefined) this.typeForm(code);
    else {
      this.position += 1;
      this.print(basic);
    }
    this.depth -= 1;
  }

  private typeForm(code: string): void {
    if (!'ASTRQPOFDB'.includes(code) || code === '') {
      this.path(inType);
      return;
    }
    this.position += 1;
    switch (code) {
      case 'A':
        this.print('[');
        this.type();
        this.print('; ');
        this.constant();
        this.print(']');
        break;
      case 'S':
        this.print('[');
        this.type();
        this.print(']');
        break;
      case 'T':
        this.tuple();
        break;
      case 'R':
      case 'Q':
        this.reference(code === 'Q' ? 'mut ' : '');
        break;
      case 'P':
      case 'O':
        this.print(code === 'P' ? '*const ' : '*mut ');
        this.type();
        break;
      case 'F':
        this.bound(() => this.functionSignature());
        break;
      case 'D':
        this.dynamicType();
        break;
      default:
        this.backReference(() => this.type());
    }
  }

  private tuple(): void {
    this.print('(');
    const count = this.listUntilE(', ', () => this.type());
    this.print(count === 1 ? ',)' : ')');
  }

  private reference(mutability: string): void {
    this.print('&');
    if (this.take('L')) {
      const lifetime = this.base62Number();
      if (lifetime !== 0) {
        this.lifetime(lifetime);
        this.print(' ');
      }
    }
    this.print(mutability);
    this.type();
  }

  private dynamicType(): void {
    this.print('dyn ');
    this.bound(() => this.listUntilE(' + ', () => this.dynamicTrait()));
    if (!this.take('L')) fail();
    const lifetime = this.base62Number();
    if (lifetime === 0) return;
    this.print(' + ');
    this.lifetime(lifetime);
  }

  /** <dyn-trait>: bindings of associated types join the generic arguments. */
  private dynamicTrait(): void {
    let isOpen = this.path(inBounds);
    while (this.take('p')) {
      this.print(isOpen ? ', ' : '<');
      isOpen = true;
      // The yardstick prints the identifier as it is encoded.
      this.print(`${this.encodedIdentifier().text} = `);
      this.type();
    }
    if (isOpen) this.print('>');
  }

  /** <fn-sig> after its binder */
  private functionSignature(): void {
    if (this.take('U')) this.print('unsafe ');
    if (this.take('K')) this.print(`extern "${this.take('C') ? 'C' : this.abi()}" `);
    this.print('fn(');
    this.listUntilE(', ', () => this.type());
    this.print(')');
    if (this.take('u')) return;
    this.print(' -> ');
    this.type();
  }

  private abi(): string {
    const { text, isPunycode } = this.encodedIdentifier();
    return isPunycode ? fail() : text.replaceAll('_', '-');
  }

  /** An optional <binder> and what its lifetimes are bound in. */
  private bound(inner: () => void): void {
    const outer = this.boundLifetimes;
    const count = this.take('G') ? this.base62Number() + 1 : 0;
    // Every bound lifetime is referred to, which takes a character.
    if (count > 0 && count >= this.text.length - outer) fail();
    for (let index = 0; index < count; index += 1) {
      this.boundLifetimes += 1;
      this.print(index === 0 ? 'for<' : ', ');
      this.lifetime(1);
    }
    if (count > 0) this.print('> ');
    inner();
    this.boundLifetimes = outer;
  }

  /** De Bruijn index of a lifetime; 0 is an erased one. */
  private lifetime(index: number): void {
    const depth = this.boundLifetimes - index;
    if (depth < 0) fail();
    if (index === 0) this.print("'_");
    else this.print(depth < 26 ? `'${String.fromCharCode(97 + depth)}` : `'z${depth - 26 + 1}`);
  }

  /** <const> */
  private constant(): void {
    this.descend();
    const code = this.next();
    if (code === 'p') this.print('_');
    else if (code === 'b') this.booleanConstant();
    else if (code === 'c') this.characterConstant();
    else if (code === 'B') this.backReference(() => this.constant());
    else if (integerTypes.includes(code)) this.integerConstant();
    else fail();
    this.depth -= 1;
  }

  private integerConstant(): void {
    if (this.take('n')) this.print('-');
    const digits = this.hexDigits();
    this.print(digits.length <= 16 ? BigInt(`0x${digits}`).toString() : `0x${digits}`);
  }

  private booleanConstant(): void {
    const digits = this.hexDigits();
    if (digits !== '0' && digits !== '1') fail();
    this.print(digits === '1' ? 'true' : 'false');
  }

  private characterConstant(): void {
    const digits = this.hexDigits();
    if (digits.length > 6) fail();
    const codePoint = Number.parseInt(digits, 16);
    const isPrintable = codePoint >= 0x20 && codePoint <= 0x7e;
    const plain = isPrintable ? String.fromCharCode(codePoint) : `\\u{${digits}}`;
    this.print(`'${characterEscapes.get(codePoint) ?? plain}'`);
  }

  /** <hex-number> without leading zeros, up to `_` */
  private hexDigits(): string {
    const end = this.text.indexOf('_', this.position);
    const digits = end < 0 ? '' : this.text.slice(this.position, end);
    if (!/^(?:0|[1-9a-f][0-9a-f]*)$/.test(digits)) fail();
    this.position = end + 1;
    return digits;
  }

  /** <undisambiguated-identifier>, decoded */
  private identifier(): string {
    const { text, isPunycode } = this.encodedIdentifier();
    return isPunycode && this.isPrinting ? decodePunycode(text) : text;
  }

  private encodedIdentifier(): { text: string; isPunycode: boolean } {
    const isPunycode = this.take('u');
    const length = this.decimal();
    this.take('_');
    const end = this.position + length;
    if (end > this.text.length) fail();
    const text = this.text.slice(this.position, end);
    if (notInIdentifier.test(text)) fail();
    this.position = end;
    return { text, isPunycode };
  }

  /** <decimal-number>: a leading zero is the whole number. */
  private decimal(): number {
    if (this.take('0')) return 0;
    const start = this.position;
    while (this.peek() >= '0' && this.peek() <= '9') this.position += 1;
    return this.position === start ? fail() : Number(this.text.slice(start, this.position));
  }

  /** <disambiguator>; a path without one has 0. */
  private disambiguator(): number {
    return this.take('s') ? this.base62Number() + 1 : 0;
  }

  /** <base-62-number>: `_` is 0, `0_` is 1. Crate hashes fill 64 bits; nobody looks at their last digits. */
  private base62Number(): number {
    const start = this.position;
    let value = 0;
    for (; this.peek() !== '_'; this.position += 1) {
      const digit = base62Digits[this.text.charCodeAt(this.position)] ?? fail();
      value = value * 62 + digit;
      if (value > u64Max) fail();
    }
    this.position += 1;
    return this.position - start === 1 ? 0 : value + 1;
  }

  /** <backref>: what stood at an earlier position; nothing to do while nothing is printed. */
  private backReference(parse: () => void): void {
    const target = this.base62Number();
    if (target >= this.position) fail();
    if (!this.isPrinting) return;
    const after = this.position;
    this.position = target;
    parse();
    this.position = after;
  }

  private listUntilE(separator: string, parse: () => void): number {
    let count = 0;
    for (; !this.take('E'); count += 1) {
      if (count > 0) this.print(separator);
      parse();
    }
    return count;
  }

  private silently(parse: () => void): void {
    const outer = this.isPrinting;
    this.isPrinting = false;
    parse();
    this.isPrinting = outer;
  }

  private print(text: string): void {
    if (!this.isPrinting) return;
    this.out += text;
    if (this.out.length > outputCharsMax) fail();
  }

  private descend(): void {
    this.depth += 1;
    if (this.depth > parseDepthMax) fail();
  }

  private peek(): string {
    return this.text.charAt(this.position);
  }

  private next(): string {
    const char = this.peek();
    this.position += 1;
    return char;
  }

  private take(char: string): boolean {
    if (this.peek() !== char) return false;
    this.position += 1;
    return true;
  }
}
