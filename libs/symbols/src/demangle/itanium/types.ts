/** <type> of the Itanium C++ ABI (5.1.5). */
import { fail } from '../bounds.ts';
import { parseExpression } from './expressions.ts';
import { ModuleName, Name, TemplateName } from './name-nodes.ts';
import { isSubstitutedName, parseName, parseUnqualifiedName } from './names.ts';
import { Enclosed, List, type Node, Text } from './node.ts';
import { type State, sequence } from './state.ts';
import { parseSubstitution, parseTemplateArgs, parseTemplateParam } from './templates.ts';
import {
  ArrayType,
  FunctionType,
  ObjCProtocol,
  PackExpansion,
  Pointer,
  PointerToMember,
  Postfixed,
  Qualified,
  Reference,
} from './type-nodes.ts';

/** <builtin-type>, by code: stateless, so one node each. */
const builtins = new Map<string, Node>(
  Object.entries({
    v: 'void',
    w: 'wchar_t',
    b: 'bool',
    c: 'char',
    a: 'signed char',
    h: 'unsigned char',
    s: 'short',
    t: 'unsigned short',
    i: 'int',
    j: 'unsigned int',
    l: 'long',
    m: 'unsigned long',
    x: 'long long',
    y: 'unsigned long long',
    n: '__int128',
    o: 'unsigned __int128',
    f: 'float',
    d: 'double',
    e: 'long double',
    g: '__float128',
    z: '...',
  }).map(([code, text]) => [code, new Name(text)]),
);

/** The builtin types that start with `D`, by their second letter. */
const extendedBuiltins = new Map<string, Node>(
  Object.entries({
    d: 'decimal64',
    e: 'decimal128',
    f: 'decimal32',
    h: 'half',
    i: 'char32_t',
    s: 'char16_t',
    u: 'char8_t',
    a: 'auto',
    c: 'decltype(auto)',
    n: 'std::nullptr_t',
  }).map(([code, text]) => [code, new Name(text)]),
);

/** <type>: all but builtin types and substitutions themselves become substitution candidates. */
export function parseType(state: State): Node {
  const next = state.peek();
  const builtin = builtins.get(next);
  if (builtin !== undefined) {
    state.position += 1;
    return builtin;
  }
  state.descend();
  const type = parseLargerType(state, next);
  state.depth -= 1;
  return type;
}

function parseLargerType(state: State, next: string): Node {
  const builtin = next === 'D' ? parseExtendedBuiltin(state) : undefined;
  if (builtin !== undefined) return builtin;
  if (next === 'S' && isSubstitutedName(state)) return parseSubstitutedType(state);
  return asCandidate(state, parseCompound(state, next));
}

function asCandidate(state: State, type: Node): Node {
  state.substitutions.push(type);
  return type;
}

/** A substitution is a whole type, a template whose arguments follow, or the module of a name. */
function parseSubstitutedType(state: State): Node {
  const prefix = parseSubstitution(state);
  if (prefix instanceof ModuleName) {
    const name = parseUnqualifiedName(state, undefined, undefined, prefix);
    return asCandidate(state, state.peek() === 'I' ? parseArgsOf(state, asCandidate(state, name)) : name);
  }
  const hasArgs = state.peek() === 'I' && state.parseTemplateArgsOfType;
  return hasArgs ? asCandidate(state, parseArgsOf(state, prefix)) : prefix;
}

function parseArgsOf(state: State, name: Node): Node {
  return new TemplateName(name, parseTemplateArgs(state));
}

/** Builtin types that start with `D`; undefined for what isn't one of them. */
function parseExtendedBuiltin(state: State): Node | undefined {
  const code = state.peek(1);
  const builtin = extendedBuiltins.get(code);
  if (builtin !== undefined) {
    state.position += 2;
    return builtin;
  }
  if (!state.isAtOneOf('FBUkK', 1)) return undefined;
  state.position += 2;
  if (code === 'k') return new Postfixed(parseName(state), ' auto');
  if (code === 'K') return new Postfixed(parseName(state), ' decltype(auto)');
  if (code === 'F') {
    const bits = state.number();
    state.expect('_');
    return new Text(`_Float${bits}`);
  }
  const bits = state.isAtDigit() ? new Name(state.number()) : parseExpression(state);
  state.expect('_');
  return new Enclosed(code === 'B' ? '_BitInt' : 'unsigned _BitInt', bits);
}

/** Every type that is a substitution candidate, by its first letter. */
function parseCompound(state: State, next: string): Node {
  switch (next) {
    case 'P':
      state.position += 1;
      return new Pointer(parseType(state));
    case 'R':
    case 'O':
      state.position += 1;
      return new Reference(parseType(state), next === 'O');
    case 'r':
    case 'V':
    case 'K':
      return isQualifiedFunction(state) ? parseFunctionType(state) : parseQualified(state);
    case 'U':
      return parseQualified(state);
    case 'T':
      return parseParamType(state);
    case 'C':
    case 'G':
      state.position += 1;
      return new Postfixed(parseType(state), next === 'C' ? ' complex' : ' imaginary');
    case 'F':
      return parseFunctionType(state);
    case 'A':
      return parseArray(state);
    case 'M': {
      state.position += 1;
      const owner = parseType(state);
      return new PointerToMember(owner, parseType(state));
    }
    case 'D':
      return parseExtendedCompound(state);
    case 'u':
      return parseVendorType(state);
    default:
      return parseName(state);
  }
}

/** <type> that starts with `D` and is a substitution candidate */
function parseExtendedCompound(state: State): Node {
  switch (state.peek(1)) {
    case 't':
    case 'T':
      return parseDecltype(state);
    case 'v':
      return parseVector(state);
    case 'p':
      state.position += 2;
      return new PackExpansion(parseType(state));
    case 'o':
    case 'O':
    case 'w':
    case 'x':
      return parseFunctionType(state);
    default:
      return fail();
  }
}

/** Whether the qualifiers here belong to a function type, not to a type of their own. */
function isQualifiedFunction(state: State): boolean {
  qualifiedFunction.lastIndex = state.position;
  return qualifiedFunction.test(state.text);
}

const qualifiedFunction = /r?V?K?(?:F|D[oOwx])/y;

/** A template parameter, maybe a template with arguments; or an elaborated type. */
function parseParamType(state: State): Node {
  const elaborated = elaborations.get(state.peek(1));
  if (elaborated !== undefined) {
    state.position += 2;
    return sequence(elaborated, parseName(state));
  }
  const param = parseTemplateParam(state);
  if (!state.parseTemplateArgsOfType || state.peek() !== 'I') return param;
  // The ABI makes the template template parameter a candidate by itself; LLVM 19, the yardstick, doesn't.
  return parseArgsOf(state, param);
}

const elaborations = new Map([
  ['s', 'struct '],
  ['u', 'union '],
  ['e', 'enum '],
]);

/** <qualified-type>: vendor qualifiers, then cv-qualifiers, then the type. */
function parseQualified(state: State): Node {
  state.descend();
  const type = state.take('U') ? parseVendorQualified(state) : parseCvQualified(state);
  state.depth -= 1;
  return type;
}

function parseCvQualified(state: State): Node {
  const qualifiers = state.qualifiers();
  const type = parseType(state);
  return qualifiers === 0 ? type : new Qualified(type, qualifiers);
}

function parseVendorQualified(state: State): Node {
  const qualifier = state.identifier();
  if (qualifier === '') fail();
  const protocol = /^objcproto(\d+)/.exec(qualifier);
  if (protocol !== null) {
    const name = qualifier.slice(protocol[0].length).slice(0, Number(protocol[1]));
    if (name.length !== Number(protocol[1]) || name === '') fail();
    return new ObjCProtocol(parseQualified(state), name);
  }
  if (qualifier.startsWith('objcproto')) fail();
  const args = state.peek() === 'I' ? parseTemplateArgs(state) : undefined;
  const type = parseQualified(state);
  return args === undefined ? sequence(type, ` ${qualifier}`) : sequence(type, ` ${qualifier}`, args);
}

/** `u <source-name> [I <type> E]`: a vendor's type or type transformation. */
function parseVendorType(state: State): Node {
  state.expect('u');
  const name = state.identifier();
  if (name === '') fail();
  if (!state.take('I')) return new Name(name);
  const type = parseType(state);
  state.expect('E');
  return sequence(`${name}(`, type, ')');
}

/** <function-type> */
function parseFunctionType(state: State): Node {
  const qualifiers = state.qualifiers();
  const exceptions = parseExceptions(state);
  // Transaction safety and extern "C" aren't printed.
  state.take('Dx');
  state.expect('F');
  state.take('Y');
  const result = parseType(state);
  const params: Node[] = [];
  let refQualifier = '';
  while (!state.take('E')) {
    if (state.take('v')) continue;
    if (state.take('RE')) refQualifier = ' &';
    else if (state.take('OE')) refQualifier = ' &&';
    else {
      params.push(parseType(state));
      continue;
    }
    break;
  }
  return new FunctionType(result, { params, qualifiers, refQualifier }, exceptions);
}

/** <exception-spec> */
function parseExceptions(state: State): Node | undefined {
  if (state.take('Do')) return new Name('noexcept');
  if (state.take('DO')) {
    const condition = parseExpression(state);
    state.expect('E');
    return new Enclosed('noexcept', condition);
  }
  return state.take('Dw') ? new Enclosed('throw', new List(state.listUntil('E', parseType))) : undefined;
}

/** <array-type> */
function parseArray(state: State): Node {
  state.expect('A');
  const dimension = parseDimension(state);
  return new ArrayType(parseType(state), dimension);
}

/** A number, an expression or nothing, up to `_`. */
function parseDimension(state: State): Node | undefined {
  if (state.take('_')) return undefined;
  const dimension = state.isAtDigit() ? new Name(state.number()) : parseExpression(state);
  state.expect('_');
  return dimension;
}

/** <vector-type> */
function parseVector(state: State): Node {
  state.expect('Dv');
  if (state.peek() === '0') fail();
  const hasNumber = state.isAtDigit();
  const dimension = parseDimension(state);
  if (hasNumber && dimension !== undefined && state.take('p'))
    return sequence('pixel vector[', dimension, ']');
  const element = parseType(state);
  return dimension === undefined
    ? sequence(element, ' vector[]')
    : sequence(element, ' vector[', dimension, ']');
}

/** <decltype> */
export function parseDecltype(state: State): Node {
  if (!state.take('Dt')) state.expect('DT');
  const expression = parseExpression(state);
  state.expect('E');
  return new Enclosed('decltype', expression);
}
