/**
 * The tree a C++ name parses to, and how it prints. A C++ declarator wraps around its name, `int (*)[3]`, so every node
 * prints in two halves: `left` of where a name would stand and `right` of it.
 */
import { fail, outputCharsMax, printDepthMax, printStepsMax } from '../bounds.ts';

/** What stands to the right of a declarator. The bit `<< 3` says "ask the node": it depends on the pack element. */
export const rhs = 1;
export const array = 2;
export const callable = 4;
export const rhsUnknown = rhs << 3;
export const unknown = (rhs | array | callable) << 3;

/** Operator precedence, tightest first (C++ [expr]); an operand at or above its operator's gets parentheses. */
export const prec = {
  primary: 0,
  postfix: 1,
  unary: 2,
  cast: 3,
  pointerToMember: 4,
  multiplicative: 5,
  additive: 6,
  shift: 7,
  spaceship: 8,
  relational: 9,
  equality: 10,
  and: 11,
  xor: 12,
  or: 13,
  andIf: 14,
  orIf: 15,
  conditional: 16,
  assign: 17,
  comma: 18,
} as const;

/** `Output.packIndex` and `packMax` outside every pack expansion. */
export const noPack = -1;

/** The text printed so far, and where in a pack expansion we are. */
export class Output {
  text = '';
  packIndex = noPack;
  packMax = noPack;
  /** Zero directly inside `<…>`, where a `>` operator needs parentheses; each bracket adds one. */
  greaterIsOperator = 1;
  depth = 0;
  steps = 0;

  append(piece: string): void {
    this.text += piece;
    if (this.text.length > outputCharsMax) fail();
  }

  open(bracket: string): void {
    this.greaterIsOperator += 1;
    this.append(bracket);
  }

  close(bracket: string): void {
    this.greaterIsOperator -= 1;
    this.append(bracket);
  }

  descend(): void {
    this.depth += 1;
    this.steps += 1;
    if (this.depth > printDepthMax || this.steps > printStepsMax) fail();
  }
}

export abstract class Node {
  /** Bits of `rhs`, `array`, `callable` and their unknowns. */
  declare readonly shape: number;
  declare readonly precedence: number;

  constructor(shape = 0, precedence: number = prec.primary) {
    this.shape = shape;
    this.precedence = precedence;
  }

  abstract left(out: Output): void;

  right(_out: Output): void {}

  /** Whether `bit` holds for the pack element being printed; asked only when the bit's unknown is set. */
  resolve(_bit: number, _out: Output): boolean {
    return false;
  }

  /** The node that stands here for the pack element being printed: references collapse through it. */
  syntaxNode(_out: Output): Node {
    return this;
  }

  /** The last identifier, which constructors and destructors repeat; empty where there is none. */
  baseName(): string {
    return '';
  }
}

export function printLeft(node: Node, out: Output): void {
  out.descend();
  node.left(out);
  out.depth -= 1;
}

export function printRight(node: Node, out: Output): void {
  out.descend();
  node.right(out);
  out.depth -= 1;
}

export function print(node: Node, out: Output): void {
  out.descend();
  node.left(out);
  if ((node.shape & (rhs | rhsUnknown)) !== 0) node.right(out);
  out.depth -= 1;
}

export function printOperand(node: Node, out: Output, precedence: number, strictlyWorse = false): void {
  if (node.precedence < precedence + (strictlyWorse ? 1 : 0)) {
    print(node, out);
    return;
  }
  out.open('(');
  print(node, out);
  out.close(')');
}

/** Prints with `, ` between; an element that prints nothing (an empty pack) takes its comma with it. */
export function printList(nodes: readonly Node[], out: Output): void {
  let isFirst = true;
  for (const node of nodes) {
    const before = out.text;
    if (!isFirst) out.append(', ');
    const length = out.text.length;
    printOperand(node, out, prec.comma);
    if (out.text.length === length) out.text = before;
    else isFirst = false;
  }
}

export function has(node: Node, bit: number, out: Output): boolean {
  if ((node.shape & bit) !== 0) return true;
  if ((node.shape & (bit << 3)) === 0) return false;
  out.descend();
  const answer = node.resolve(bit, out);
  out.depth -= 1;
  return answer;
}

/** Literal text that no constructor is named after. */
export class Text extends Node {
  declare readonly text: string;

  constructor(text: string) {
    super();
    this.text = text;
  }

  left(out: Output): void {
    out.append(this.text);
  }
}

/** Nodes with commas between. */
export class List extends Node {
  declare readonly nodes: readonly Node[];

  constructor(nodes: readonly Node[]) {
    super();
    this.nodes = nodes;
  }

  left(out: Output): void {
    printList(this.nodes, out);
  }
}

/** Text and nodes one after the other: most of the grammar needs no more. */
export class Sequence extends Node {
  declare readonly parts: readonly (string | Node)[];

  constructor(parts: readonly (string | Node)[], precedence: number = prec.primary) {
    super(0, precedence);
    this.parts = parts;
  }

  left(out: Output): void {
    for (const part of this.parts) {
      if (typeof part === 'string') out.append(part);
      else print(part, out);
    }
  }
}

/** `prefix(child)`: inside brackets `>` is an operator again. */
export class Enclosed extends Node {
  declare readonly prefix: string;
  declare readonly child: Node;
  declare readonly brackets: string;

  constructor(prefix: string, child: Node, precedence: number = prec.primary, brackets = '()') {
    super(0, precedence);
    this.prefix = prefix;
    this.child = child;
    this.brackets = brackets;
  }

  left(out: Output): void {
    out.append(this.prefix);
    out.open(this.brackets.charAt(0));
    print(this.child, out);
    out.close(this.brackets.charAt(1));
  }
}

/** `<a, b>`: template arguments and template parameter lists. */
export class Angled extends Node {
  declare readonly nodes: readonly Node[];

  constructor(nodes: readonly Node[]) {
    super();
    this.nodes = nodes;
  }

  left(out: Output): void {
    const saved = out.greaterIsOperator;
    out.greaterIsOperator = 0;
    out.append('<');
    printList(this.nodes, out);
    out.append('>');
    out.greaterIsOperator = saved;
  }
}
