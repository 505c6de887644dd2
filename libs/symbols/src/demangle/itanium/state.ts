/**
 * What the parts of the Itanium parser share: the text and the position in it, what substitutions and template
 * parameters refer to, and the lexical rules. References are to sections of the Itanium C++ ABI, "5.1 Name Mangling".
 */
import { fail, parseDepthMax } from '../bounds.ts';
import { Name } from './name-nodes.ts';
import { type Node, Sequence } from './node.ts';
import { cvConst, cvRestrict, cvVolatile, type ForwardReference } from './type-nodes.ts';

/** What `parseName` finds out about the function that it names (<encoding> needs it for what follows). */
export class NameFacts {
  /** Constructors, destructors and conversions have no return type. */
  hasNoResult = false;
  endsWithTemplateArgs = false;
  qualifiers = 0;
  refQualifier = '';
  hasExplicitObject = false;
  readonly forwardReferencesStart: number;

  constructor(forwardReferencesStart: number) {
    this.forwardReferencesStart = forwardReferencesStart;
  }
}

const anonymousNamespace = new Name('(anonymous namespace)');

/** Numbers over this can't be lengths or indexes of anything in a name. */
const numberMax = 0x7fffffff;

const zero = 0x30;
const nine = 0x39;
const upperA = 0x41;
const upperZ = 0x5a;

const discriminator = /_\d|__\d*_|\d+$/y;

export class State {
  readonly text: string;
  position: number;
  depth = 0;

  /** 5.1.10 Compression: what `S_`, `S0_`, … stand for. */
  readonly substitutions: Node[] = [];

  /** What `T_`, `T0_`, … stand for, by level; undefined while a generic lambda's parameters are parsed. */
  templateParams: (Node[] | undefined)[] = [];
  outerTemplateParams: Node[] = [];
  forwardReferences: ForwardReference[] = [];
  permitForwardReferences = false;

  /** False in a conversion operator's type, where `I` starts the operator's own arguments. */
  parseTemplateArgsOfType = true;

  /** In constraints, parameters are printed as they are mangled: nothing there was substituted. */
  isInConstraint = false;

  /** The level at which unknown parameters are `auto` of a generic lambda. */
  lambdaParamsLevel = -1;

  /** How many names were invented for type, value and template parameters. */
  readonly inventedNames = { $T: 0, $N: 0, $TT: 0 };

  constructor(text: string, position: number) {
    this.text = text;
    this.position = position;
  }

  /** One character, empty past the end. */
  peek(ahead = 0): string {
    return this.text.charAt(this.position + ahead);
  }

  isAtDigit(ahead = 0): boolean {
    const code = this.text.charCodeAt(this.position + ahead);
    return code >= zero && code <= nine;
  }

  /** Whether one of `chars` stands here. */
  isAtOneOf(chars: string, ahead = 0): boolean {
    const char = this.peek(ahead);
    return char !== '' && chars.includes(char);
  }

  isAtEnd(): boolean {
    return this.position >= this.text.length;
  }

  take(token: string): boolean {
    // Tokens are one or two characters: comparing here is several times faster than `startsWith`.
    for (let index = 0; index < token.length; index += 1) {
      if (this.text.charCodeAt(this.position + index) !== token.charCodeAt(index)) return false;
    }
    this.position += token.length;
    return true;
  }

  expect(token: string): void {
    if (!this.take(token)) fail();
  }

  descend(): void {
    this.depth += 1;
    if (this.depth > parseDepthMax) fail();
  }

  /** `[n] <digits>` as it stands; empty when there are no digits. */
  number(allowNegative = false): string {
    const start = this.position;
    if (allowNegative) this.take('n');
    const digits = this.position;
    while (this.isAtDigit()) this.position += 1;
    return this.position === digits ? '' : this.text.slice(start, this.position);
  }

  nonNegative(): number {
    if (!this.isAtDigit()) fail();
    let value = 0;
    for (; this.isAtDigit() && value <= numberMax; this.position += 1) {
      value = value * 10 + this.text.charCodeAt(this.position) - zero;
    }
    return value > numberMax ? fail() : value;
  }

  /** `<length> <identifier>`, which may be empty. */
  identifier(): string {
    const length = this.nonNegative();
    const end = this.position + length;
    if (end > this.text.length) fail();
    const identifier = this.text.slice(this.position, end);
    this.position = end;
    return identifier;
  }

  /** <source-name> */
  sourceName(): Name {
    const identifier = this.identifier();
    if (identifier === '') fail();
    return identifier.startsWith('_GLOBAL__N') ? anonymousNamespace : new Name(identifier);
  }

  /** <seq-id> in base 36; undefined when there is none. */
  sequenceId(): number | undefined {
    const start = this.position;
    let id = 0;
    for (; ; this.position += 1) {
      const code = this.text.charCodeAt(this.position);
      if (code >= zero && code <= nine) id = id * 36 + code - zero;
      else if (code >= upperA && code <= upperZ) id = id * 36 + code - upperA + 10;
      else break;
    }
    return this.position === start ? undefined : id;
  }

  /** <CV-qualifiers> */
  qualifiers(): number {
    let qualifiers = 0;
    if (this.take('r')) qualifiers |= cvRestrict;
    if (this.take('V')) qualifiers |= cvVolatile;
    if (this.take('K')) qualifiers |= cvConst;
    return qualifiers;
  }

  /** <discriminator>, which isn't printed: `_<digit>`, `__<number>_`, or digits to the end as old compilers had it. */
  skipDiscriminator(): void {
    discriminator.lastIndex = this.position;
    if (discriminator.test(this.text)) this.position = discriminator.lastIndex;
  }

  /** Nodes up to `end`. */
  listUntil(end: string, parse: (state: State) => Node): Node[] {
    const nodes: Node[] = [];
    while (!this.take(end)) nodes.push(parse(this));
    return nodes;
  }

  /** A scope with its own template parameters. */
  scoped(parse: (state: State) => Node): Node {
    const { templateParams, outerTemplateParams } = this;
    this.templateParams = [];
    this.outerTemplateParams = [];
    const node = parse(this);
    this.templateParams = templateParams;
    this.outerTemplateParams = outerTemplateParams;
    return node;
  }

  /** Gives the references made since `start` the arguments that have been parsed by now. */
  resolveForwardReferences(start: number): void {
    if (this.forwardReferences.length === start) return;
    for (const reference of this.forwardReferences.splice(start)) {
      reference.target = this.templateParams[0]?.[reference.index] ?? fail();
    }
  }
}

/** Parts one after the other. */
export function sequence(...parts: (string | Node)[]): Sequence {
  return new Sequence(parts);
}
