/** <operator-name>: its code, its spelling and how an expression with it is put together. */
import { prec } from './node.ts';

/** How an expression with the operator is parsed and printed. */
export type OperatorForm =
  | 'prefix'
  | 'postfix'
  | 'binary'
  | 'subscript'
  | 'member'
  | 'new'
  | 'delete'
  | 'call'
  | 'cast'
  | 'conditional'
  | 'name-only'
  | 'named-cast'
  | 'of-type'
  | 'of-expression';

export interface Operator {
  form: OperatorForm;
  /** As an operator in an expression. */
  symbol: string;
  /** As a function's name; empty when it can't be overloaded. */
  name: string;
  precedence: number;
}

type Row = readonly [code: string, symbol: string, precedence: number];

const binary: readonly Row[] = [
  ['aN', '&=', prec.assign],
  ['aS', '=', prec.assign],
  ['aa', '&&', prec.andIf],
  ['an', '&', prec.and],
  ['cm', ',', prec.comma],
  ['dV', '/=', prec.assign],
  // LLVM ranks division with the assignments; what it prints is the yardstick.
  ['dv', '/', prec.assign],
  ['eO', '^=', prec.assign],
  ['eo', '^', prec.xor],
  ['eq', '==', prec.equality],
  ['ge', '>=', prec.relational],
  ['gt', '>', prec.relational],
  ['lS', '<<=', prec.assign],
  ['le', '<=', prec.relational],
  ['ls', '<<', prec.shift],
  ['lt', '<', prec.relational],
  ['mI', '-=', prec.assign],
  ['mL', '*=', prec.assign],
  ['mi', '-', prec.additive],
  ['ml', '*', prec.multiplicative],
  ['ne', '!=', prec.equality],
  ['oR', '|=', prec.assign],
  ['oo', '||', prec.orIf],
  ['or', '|', prec.or],
  ['pL', '+=', prec.assign],
  ['pl', '+', prec.additive],
  ['rM', '%=', prec.assign],
  ['rS', '>>=', prec.assign],
  ['rm', '%', prec.multiplicative],
  ['rs', '>>', prec.shift],
  ['ss', '<=>', prec.spaceship],
];

const prefix: readonly Row[] = [
  ['ad', '&', prec.unary],
  ['co', '~', prec.unary],
  ['de', '*', prec.unary],
  ['ng', '-', prec.unary],
  ['nt', '!', prec.unary],
  ['ps', '+', prec.unary],
];

const postfix: readonly Row[] = [
  ['mm', '--', prec.postfix],
  ['pp', '++', prec.postfix],
];

const namedCasts: readonly Row[] = [
  ['cc', 'const_cast', prec.postfix],
  ['dc', 'dynamic_cast', prec.postfix],
  ['rc', 'reinterpret_cast', prec.postfix],
  ['sc', 'static_cast', prec.postfix],
];

/** By code. */
const operators = new Map<string, Operator>();

function add(form: OperatorForm, [code, symbol, precedence]: Row, name = `operator${symbol}`): void {
  operators.set(code, { form, symbol, name, precedence });
}

for (const row of binary) add('binary', row);
for (const row of prefix) add('prefix', row);
for (const row of postfix) add('postfix', row);
for (const row of namedCasts) add('named-cast', row, '');
add('subscript', ['ix', '[]', prec.postfix]);
add('call', ['cl', '()', prec.postfix]);
add('cast', ['cv', '', prec.cast]);
add('conditional', ['qu', '?', prec.conditional]);
add('name-only', ['aw', 'co_await', prec.primary], 'operator co_await');
add('member', ['ds', '.*', prec.pointerToMember], '');
add('member', ['dt', '.', prec.postfix], '');
add('member', ['pm', '->*', prec.pointerToMember], '');
add('member', ['pt', '->', prec.postfix]);
add('new', ['nw', 'new', prec.unary], 'operator new');
add('new', ['na', 'new[]', prec.unary], 'operator new[]');
add('delete', ['dl', 'delete', prec.unary], 'operator delete');
add('delete', ['da', 'delete[]', prec.unary], 'operator delete[]');
add('of-type', ['at', 'alignof ', prec.unary], '');
add('of-expression', ['az', 'alignof ', prec.unary], '');
add('of-type', ['st', 'sizeof ', prec.unary], '');
add('of-expression', ['sz', 'sizeof ', prec.unary], '');
add('of-type', ['ti', 'typeid ', prec.postfix], '');
add('of-expression', ['te', 'typeid ', prec.postfix], '');

/** The operator whose two-letter code starts at `position`. */
export function operatorAt(text: string, position: number): Operator | undefined {
  return operators.get(text.slice(position, position + 2));
}
