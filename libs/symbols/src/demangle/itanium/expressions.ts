/** <expression> of the Itanium C++ ABI (5.1.6), for what template arguments, decltype and constraints contain. */
import { fail } from '../bounds.ts';
import { parsePrimary } from './literals.ts';
import { Name, Nested, TemplateName, UnresolvedDestructor } from './name-nodes.ts';
import { parseName, parseOperatorName } from './names.ts';
import {
  Angled,
  Enclosed,
  List,
  Node,
  type Output,
  prec,
  printLeft,
  printOperand,
  Sequence,
  Text,
} from './node.ts';
import { type Operator, operatorAt } from './operators.ts';
import { type State, sequence } from './state.ts';
import { parseSubstitution, parseTemplateArg, parseTemplateArgs, parseTemplateParam } from './templates.ts';
import { PackExpansion } from './type-nodes.ts';
import { parseDecltype, parseType } from './types.ts';

/** An operand, in parentheses where its operator binds at least (or, if `strictly`, more) tightly. */
class Operand extends Node {
  declare readonly child: Node;
  declare readonly limit: number;

  constructor(child: Node, limit: number, strictly = false) {
    super();
    this.child = child;
    this.limit = limit + (strictly ? 1 : 0);
  }

  left(out: Output): void {
    printOperand(this.child, out, this.limit);
  }
}

/** `a > b` and `a >> b`: directly inside template arguments they would end them. */
class Greater extends Sequence {
  override left(out: Output): void {
    const isInArgs = out.greaterIsOperator === 0;
    if (isInArgs) out.open('(');
    super.left(out);
    if (isInArgs) out.close(')');
  }
}

/** `static_cast<T>`: only the left half of the type is printed. */
class CastTarget extends Node {
  declare readonly type: Node;

  constructor(type: Node) {
    super();
    this.type = type;
  }

  left(out: Output): void {
    printLeft(this.type, out);
  }
}

/** `.field`, `[index]` or `[first ... last]` of an initializer list, with what it is set to. */
class Designated extends Sequence {
  constructor(designator: (string | Node)[], init: Node) {
    super(init instanceof Designated ? [...designator, init] : [...designator, ' = ', init]);
  }
}

/** `(a, b)` */
function parenthesized(nodes: readonly Node[]): Node {
  return new Enclosed('', new List(nodes));
}

export function parseConstraint(state: State): Node {
  const outer = state.isInConstraint;
  state.isInConstraint = true;
  const constraint = parseExpression(state);
  state.isInConstraint = outer;
  return constraint;
}

/** <expression> */
export function parseExpression(state: State): Node {
  state.descend();
  const isGlobal = state.take('gs');
  const operator = operatorAt(state.text, state.position);
  if (operator !== undefined) state.position += 2;
  const expression =
    operator === undefined ? parseOther(state, isGlobal) : parseOperation(state, operator, isGlobal);
  state.depth -= 1;
  return expression;
}

function parseOperation(state: State, operator: Operator, isGlobal: boolean): Node {
  const { symbol, precedence } = operator;
  switch (operator.form) {
    case 'binary':
      return binaryOf(operator, parseExpression(state), parseExpression(state));
    case 'prefix':
      return prefixOf(operator, parseExpression(state));
    case 'postfix':
      if (state.take('_')) return prefixOf(operator, parseExpression(state));
      return new Sequence([new Operand(parseExpression(state), precedence, true), symbol], precedence);
    case 'subscript': {
      const base = new Operand(parseExpression(state), precedence);
      return new Sequence([base, new Enclosed('', parseExpression(state), undefined, '[]')], precedence);
    }
    case 'member': {
      const object = new Operand(parseExpression(state), precedence, true);
      return new Sequence([object, symbol, new Operand(parseExpression(state), precedence)], precedence);
    }
    case 'call': {
      const callee = parseExpression(state);
      return new Sequence([callee, parenthesized(state.listUntil('E', parseExpression))], precedence);
    }
    case 'conditional':
      return parseConditional(state, precedence);
    case 'cast':
      return parseCast(state, precedence);
    case 'named-cast': {
      const target = new Angled([new CastTarget(parseType(state))]);
      return new Sequence([symbol, target, new Enclosed('', parseExpression(state))], precedence);
    }
    case 'new':
      return parseNew(state, operator, isGlobal);
    case 'delete': {
      const parts = [`${symbol} `, parseExpression(state)];
      return new Sequence(isGlobal ? ['::', ...parts] : parts, precedence);
    }
    case 'of-type':
      return new Enclosed(symbol, parseType(state), precedence);
    case 'of-expression':
      return new Enclosed(symbol, parseExpression(state), precedence);
    case 'name-only':
      return fail();
  }
}

function binaryOf({ symbol, precedence }: Operator, a: Node, b: Node): Node {
  const isAssign = precedence === prec.assign;
  const parts = [
    isAssign ? new Operand(a, prec.orIf) : new Operand(a, precedence, true),
    symbol === ',' ? ', ' : ` ${symbol} `,
    new Operand(b, precedence, isAssign),
  ];
  return symbol === '>' || symbol === '>>' ? new Greater(parts, precedence) : new Sequence(parts, precedence);
}

function prefixOf({ symbol, precedence }: Operator, operand: Node): Node {
  return new Sequence([symbol, new Operand(operand, precedence)], precedence);
}

function parseConditional(state: State, precedence: number): Node {
  const condition = new Operand(parseExpression(state), precedence);
  const yes = parseExpression(state);
  const no = new Operand(parseExpression(state), prec.assign, true);
  return new Sequence([condition, ' ? ', yes, ' : ', no], precedence);
}

/** `cv <type> <expression>` or `cv <type> _ <expression>* E` */
function parseCast(state: State, precedence: number): Node {
  const type = parseCastType(state);
  const values = state.take('_') ? state.listUntil('E', parseExpression) : [parseExpression(state)];
  return new Sequence([new Enclosed('', type), parenthesized(values)], precedence);
}

function parseCastType(state: State): Node {
  const outer = state.parseTemplateArgsOfType;
  state.parseTemplateArgsOfType = false;
  const type = parseType(state);
  state.parseTemplateArgsOfType = outer;
  return type;
}

/** `nw <placement>* _ <type> (E | pi <init>* E)` */
function parseNew(state: State, { symbol, precedence }: Operator, isGlobal: boolean): Node {
  const parts: (string | Node)[] = [isGlobal ? `::${symbol}` : symbol];
  const placement = state.listUntil('_', parseExpression);
  if (placement.length > 0) parts.push(parenthesized(placement));
  parts.push(' ', parseType(state));
  if (!state.take('pi')) state.expect('E');
  else {
    const inits = state.listUntil('E', parseExpression);
    if (inits.length > 0) parts.push(parenthesized(inits));
  }
  return new Sequence(parts, precedence);
}

/** Expressions that are no operator's. */
function parseOther(state: State, isGlobal: boolean): Node {
  if (state.peek(1) === '') fail();
  switch (state.peek()) {
    case 'L':
      return parsePrimary(state);
    case 'T':
      return parseTemplateParam(state);
    case 'f':
      return state.peek(1) === 'p' || (state.peek(1) === 'L' && state.isAtDigit(2))
        ? parseFunctionParam(state)
        : parseFold(state);
    case 'i':
      return state.take('il') ? sequence('{', parseInits(state), '}') : parseUnresolvedName(state, isGlobal);
    case 'm':
    case 'n':
    case 'r':
    case 's':
    case 't':
      return parseWordy(state) ?? parseUnresolvedName(state, isGlobal);
    case 'u':
      state.position += 1;
      return parseVendorExpression(state);
    default:
      return parseUnresolvedName(state, isGlobal);
  }
}

/** Expressions by their two-letter code; undefined when it is none of them. */
function parseWordy(state: State): Node | undefined {
  if (state.take('mc')) return parseMemberConversion(state);
  if (state.take('nx')) return new Enclosed('noexcept ', parseExpression(state), prec.unary);
  if (state.take('rQ')) return parseRequires(state, state.listUntil('_', parseType));
  if (state.take('rq')) return parseRequires(state, []);
  if (state.take('so')) return parseSubobject(state);
  if (state.take('sp')) return new PackExpansion(parseExpression(state));
  if (state.take('sZ')) {
    if (state.peek() !== 'T') return new Enclosed('sizeof... ', parseFunctionParam(state));
    return new Enclosed('sizeof...', new PackExpansion(parseTemplateParam(state)));
  }
  if (state.take('sP')) return new Enclosed('sizeof... ', new List(state.listUntil('E', parseTemplateArg)));
  if (state.take('tl')) {
    const type = parseType(state);
    return sequence(type, '{', parseInits(state), '}');
  }
  if (state.take('tr')) return new Name('throw');
  return state.take('tw') ? sequence('throw ', parseExpression(state)) : undefined;
}

/** <function-param> */
function parseFunctionParam(state: State): Node {
  if (state.take('fpT')) return new Name('this');
  if (!state.take('fp')) {
    state.expect('fL');
    if (state.number() === '') fail();
    state.expect('p');
  }
  state.qualifiers();
  const index = state.number();
  state.expect('_');
  return new Text(`fp${index}`);
}

/** <fold-expression> */
function parseFold(state: State): Node {
  state.expect('f');
  const kind = state.peek();
  if (!state.isAtOneOf('LRlr')) fail();
  state.position += 1;
  const operator = operatorAt(state.text, state.position) ?? fail();
  if (operator.form !== 'binary' && !(operator.form === 'member' && operator.symbol.endsWith('*'))) fail();
  state.position += 2;
  const first = parseExpression(state);
  const symbol = ` ${operator.symbol} `;
  const packOf = (node: Node): Node => new Enclosed('', new PackExpansion(node));
  const initOf = (node: Node): Node => new Operand(node, prec.cast, true);
  if (kind === 'l') return new Enclosed('', sequence('...', symbol, packOf(first)));
  if (kind === 'r') return new Enclosed('', sequence(packOf(first), symbol, '...'));
  const second = parseExpression(state);
  const ends = kind === 'L' ? [initOf(first), packOf(second)] : [packOf(first), initOf(second)];
  return new Enclosed('', sequence(ends[0]!, symbol, '...', symbol, ends[1]!));
}

function parseInits(state: State): Node {
  return new List(state.listUntil('E', parseBraced));
}

/** <braced-expression> */
function parseBraced(state: State): Node {
  state.descend();
  const braced = parseDesignated(state);
  state.depth -= 1;
  return braced;
}

function parseDesignated(state: State): Node {
  if (state.take('di')) return new Designated(['.', state.sourceName()], parseBraced(state));
  if (state.take('dx')) return new Designated(['[', parseExpression(state), ']'], parseBraced(state));
  if (!state.take('dX')) return parseExpression(state);
  const first = parseExpression(state);
  const last = parseExpression(state);
  return new Designated(['[', first, ' ... ', last, ']'], parseBraced(state));
}

/** `mc <type> <expression> [<offset>] E`: the offset isn't printed. */
function parseMemberConversion(state: State): Node {
  const type = new Enclosed('', parseType(state));
  const value = new Enclosed('', parseExpression(state));
  state.number(true);
  state.expect('E');
  return new Sequence([type, value], prec.unary);
}

/** `so <type> <expression> [<offset>] <union selector>* [p] E` */
function parseSubobject(state: State): Node {
  const type = parseType(state);
  const object = parseExpression(state);
  const offset = state.number(true) || '0';
  while (state.take('_')) state.number();
  state.take('p');
  state.expect('E');
  return sequence(object, '.<', type, ` at offset ${offset.replace('n', '-')}>`);
}

/** The requirements of a requires-expression */
function parseRequires(state: State, params: Node[]): Node {
  const requirements: (string | Node)[] = [];
  do requirements.push(parseRequirement(state));
  while (!state.take('E'));
  const body = new Enclosed('', new Sequence([...requirements, ' ']), undefined, '{}');
  return params.length === 0
    ? sequence('requires ', body)
    : sequence('requires ', parenthesized(params), ' ', body);
}

/** <requirement> */
function parseRequirement(state: State): Node {
  if (state.take('T')) return sequence(' typename ', parseType(state), ';');
  if (state.take('Q')) return sequence(' requires ', parseExpression(state), ';');
  state.expect('X');
  const expression = parseExpression(state);
  const isNoexcept = state.take('N');
  const constraint = state.take('R') ? parseName(state) : undefined;
  if (!isNoexcept && constraint === undefined) return sequence(' ', expression, ';');
  const parts = [' ', new Enclosed('', expression, undefined, '{}'), isNoexcept ? ' noexcept' : ''];
  return constraint === undefined ? sequence(...parts, ';') : sequence(...parts, ' -> ', constraint, ';');
}

/** `u <source-name> <template-arg>* E`, with `__uuidof` as Microsoft's front end writes it. */
function parseVendorExpression(state: State): Node {
  const name = state.sourceName();
  let args: Node[];
  if (name.text === '__uuidof' && state.take('t')) args = [parseType(state)];
  else if (name.text === '__uuidof' && state.take('z')) args = [parseExpression(state)];
  else args = state.listUntil('E', parseTemplateArg);
  return new Sequence([name, parenthesized(args)], prec.postfix);
}

/** <unresolved-name> */
function parseUnresolvedName(state: State, isGlobal: boolean): Node {
  if (state.take('srN')) {
    let scope = parseArgsAfter(state, parseUnresolvedType(state));
    while (!state.take('E')) scope = new Nested(scope, parseSimpleId(state));
    return new Nested(scope, parseBaseUnresolvedName(state));
  }
  if (!state.take('sr')) {
    const name = parseBaseUnresolvedName(state);
    return isGlobal ? globalName(name) : name;
  }
  if (!state.isAtDigit()) {
    const scope = parseArgsAfter(state, parseUnresolvedType(state));
    return new Nested(scope, parseBaseUnresolvedName(state));
  }
  const first = parseSimpleId(state);
  let scope: Node = isGlobal ? globalName(first) : first;
  while (!state.take('E')) scope = new Nested(scope, parseSimpleId(state));
  return new Nested(scope, parseBaseUnresolvedName(state));
}

/** `::name` */
function globalName(name: Node): Node {
  return new Nested(new Text(''), name);
}

function parseArgsAfter(state: State, name: Node): Node {
  return state.peek() === 'I' ? new TemplateName(name, parseTemplateArgs(state)) : name;
}

/** <simple-id> */
function parseSimpleId(state: State): Node {
  return parseArgsAfter(state, state.sourceName());
}

/** <unresolved-type> */
function parseUnresolvedType(state: State): Node {
  const next = state.peek();
  if (next !== 'T' && next !== 'D') return parseSubstitution(state);
  const type = next === 'T' ? parseTemplateParam(state) : parseDecltype(state);
  state.substitutions.push(type);
  return type;
}

/** <base-unresolved-name> */
function parseBaseUnresolvedName(state: State): Node {
  if (state.isAtDigit()) return parseSimpleId(state);
  if (state.take('dn')) {
    return new UnresolvedDestructor(state.isAtDigit() ? parseSimpleId(state) : parseUnresolvedType(state));
  }
  state.take('on');
  return parseArgsAfter(state, parseOperatorName(state));
}
