/** Nodes for types: declarators, packs and the references to template parameters that appear before their arguments. */
import { arrayShape, functionShape, Name } from './name-nodes.ts';
import {
  array,
  callable,
  has,
  Node,
  noPack,
  type Output,
  print,
  printLeft,
  printList,
  printRight,
  rhs,
  rhsUnknown,
  unknown,
} from './node.ts';

/** `<CV-qualifiers>` in the order they print. */
export const cvConst = 1;
export const cvVolatile = 2;
export const cvRestrict = 4;

function printQualifiers(qualifiers: number, out: Output): void {
  if ((qualifiers & cvConst) !== 0) out.append(' const');
  if ((qualifiers & cvVolatile) !== 0) out.append(' volatile');
  if ((qualifiers & cvRestrict) !== 0) out.append(' restrict');
}

export class Qualified extends Node {
  declare readonly child: Node;
  declare readonly qualifiers: number;

  constructor(child: Node, qualifiers: number) {
    super(child.shape);
    this.child = child;
    this.qualifiers = qualifiers;
  }

  left(out: Output): void {
    printLeft(this.child, out);
    printQualifiers(this.qualifiers, out);
  }

  override right(out: Output): void {
    printRight(this.child, out);
  }

  override resolve(bit: number, out: Output): boolean {
    return has(this.child, bit, out);
  }
}

/** `T complex`, `Concept auto`: only the left half of the type is printed. */
export class Postfixed extends Node {
  declare readonly child: Node;
  declare readonly postfix: string;

  constructor(child: Node, postfix: string) {
    super();
    this.child = child;
    this.postfix = postfix;
  }

  left(out: Output): void {
    printLeft(this.child, out);
    out.append(this.postfix);
  }
}

/** `T<Protocol>`; a pointer to `objc_object<Protocol>` is `id<Protocol>`. */
export class ObjCProtocol extends Node {
  declare readonly type: Node;
  declare readonly protocol: string;

  constructor(type: Node, protocol: string) {
    super();
    this.type = type;
    this.protocol = protocol;
  }

  left(out: Output): void {
    print(this.type, out);
    out.append(`<${this.protocol}>`);
  }

  isObject(): boolean {
    return this.type instanceof Name && this.type.text === 'objc_object';
  }
}

/** Pointers to functions and arrays need parentheses: the declarator binds the other way round. */
function isWrapped(pointee: Node, out: Output): boolean {
  return has(pointee, array, out) || has(pointee, callable, out);
}

export class Pointer extends Node {
  declare readonly pointee: Node;

  constructor(pointee: Node) {
    super(pointee.shape & (rhs | rhsUnknown));
    this.pointee = pointee;
  }

  left(out: Output): void {
    const { pointee } = this;
    if (pointee instanceof ObjCProtocol && pointee.isObject()) {
      out.append(`id<${pointee.protocol}>`);
      return;
    }
    printLeft(pointee, out);
    if (has(pointee, array, out)) out.append(' (*');
    else out.append(has(pointee, callable, out) ? '(*' : '*');
  }

  override right(out: Output): void {
    const { pointee } = this;
    if (pointee instanceof ObjCProtocol && pointee.isObject()) return;
    if (isWrapped(pointee, out)) out.append(')');
    printRight(pointee, out);
  }

  override resolve(bit: number, out: Output): boolean {
    return bit === rhs && has(this.pointee, rhs, out);
  }
}

/** `T&` or `T&&`, collapsed through what template parameters stand for. */
export class Reference extends Node {
  declare readonly pointee: Node;
  declare readonly isRvalue: boolean;
  /** A forward reference can make a type contain itself: the inner one prints nothing. */
  declare isPrinting: boolean;
  declare isRvalueCollapsed: boolean;

  constructor(pointee: Node, isRvalue: boolean) {
    super(pointee.shape & (rhs | rhsUnknown));
    this.pointee = pointee;
    this.isRvalue = isRvalue;
    this.isPrinting = false;
    this.isRvalueCollapsed = isRvalue;
  }

  left(out: Output): void {
    if (this.isPrinting) return;
    this.isPrinting = true;
    const pointee = this.collapse(out);
    if (pointee !== undefined) {
      printLeft(pointee, out);
      if (has(pointee, array, out)) out.append(' (');
      else if (has(pointee, callable, out)) out.append('(');
      out.append(this.isRvalueCollapsed ? '&&' : '&');
    }
    this.isPrinting = false;
  }

  override right(out: Output): void {
    if (this.isPrinting) return;
    this.isPrinting = true;
    const pointee = this.collapse(out);
    if (pointee !== undefined) {
      if (isWrapped(pointee, out)) out.append(')');
      printRight(pointee, out);
    }
    this.isPrinting = false;
  }

  override resolve(bit: number, out: Output): boolean {
    return bit === rhs && has(this.pointee, rhs, out);
  }

  /** The referent of the collapsed reference; undefined when the references form a cycle. */
  private collapse(out: Output): Node | undefined {
    this.isRvalueCollapsed = this.isRvalue;
    let pointee = this.pointee;
    const seen: Node[] = [];
    for (;;) {
      const next = pointee.syntaxNode(out);
      if (!(next instanceof Reference)) return pointee;
      out.steps += 1;
      pointee = next.pointee;
      this.isRvalueCollapsed = this.isRvalueCollapsed && next.isRvalue;
      seen.push(pointee);
      // Tortoise and hare over the references walked so far.
      if (seen.length > 1 && pointee === seen[(seen.length - 1) >> 1]) return undefined;
    }
  }
}

export class PointerToMember extends Node {
  declare readonly owner: Node;
  declare readonly member: Node;

  constructor(owner: Node, member: Node) {
    super(member.shape & (rhs | rhsUnknown));
    this.owner = owner;
    this.member = member;
  }

  left(out: Output): void {
    printLeft(this.member, out);
    out.append(isWrapped(this.member, out) ? '(' : ' ');
    print(this.owner, out);
    out.append('::*');
  }

  override right(out: Output): void {
    if (isWrapped(this.member, out)) out.append(')');
    printRight(this.member, out);
  }

  override resolve(bit: number, out: Output): boolean {
    return bit === rhs && has(this.member, rhs, out);
  }
}

export class ArrayType extends Node {
  declare readonly element: Node;
  declare readonly dimension: Node | undefined;

  constructor(element: Node, dimension: Node | undefined) {
    super(arrayShape);
    this.element = element;
    this.dimension = dimension;
  }

  left(out: Output): void {
    printLeft(this.element, out);
  }

  override right(out: Output): void {
    out.append(out.text.endsWith(']') ? '[' : ' [');
    if (this.dimension !== undefined) print(this.dimension, out);
    out.append(']');
    printRight(this.element, out);
  }
}

/** What a function's type and a function's encoding share. */
export interface Signature {
  params: readonly Node[];
  qualifiers: number;
  /** `''`, `' &'` or `' &&'` */
  refQualifier: string;
}

function printSignature(signature: Signature, result: Node | undefined, out: Output): void {
  out.open('(');
  printList(signature.params, out);
  out.close(')');
  if (result !== undefined) printRight(result, out);
  printQualifiers(signature.qualifiers, out);
  out.append(signature.refQualifier);
}

export class FunctionType extends Node {
  declare readonly result: Node;
  declare readonly signature: Signature;
  declare readonly exceptions: Node | undefined;

  constructor(result: Node, signature: Signature, exceptions: Node | undefined) {
    super(functionShape);
    this.result = result;
    this.signature = signature;
    this.exceptions = exceptions;
  }

  left(out: Output): void {
    printLeft(this.result, out);
    out.append(' ');
  }

  override right(out: Output): void {
    printSignature(this.signature, this.result, out);
    if (this.exceptions === undefined) return;
    out.append(' ');
    print(this.exceptions, out);
  }
}

/** A whole function: name, parameters, what its template says of its result, and its constraints. */
export class FunctionEncoding extends Node {
  declare readonly name: Node;
  declare readonly result: Node | undefined;
  declare readonly signature: Signature;
  declare readonly attributes: Node | undefined;
  declare readonly requirement: Node | undefined;

  constructor(
    name: Node,
    result: Node | undefined,
    signature: Signature,
    attributes: Node | undefined,
    requirement: Node | undefined,
  ) {
    super(functionShape);
    this.name = name;
    this.result = result;
    this.signature = signature;
    this.attributes = attributes;
    this.requirement = requirement;
  }

  left(out: Output): void {
    if (this.result !== undefined) {
      printLeft(this.result, out);
      if (!has(this.result, rhs, out)) out.append(' ');
    }
    print(this.name, out);
  }

  override right(out: Output): void {
    printSignature(this.signature, this.result, out);
    if (this.attributes !== undefined) print(this.attributes, out);
    if (this.requirement === undefined) return;
    out.append(' requires ');
    print(this.requirement, out);
  }
}

/** A template argument that is a pack, seen through a parameter: it stands for the element being printed. */
export class ParameterPack extends Node {
  declare readonly elements: readonly Node[];

  constructor(elements: readonly Node[]) {
    // A half that no element has needs no asking.
    let shape = 0;
    for (const { shape: bits } of elements) shape |= ((bits & (unknown >> 3)) << 3) | (bits & unknown);
    super(shape);
    this.elements = elements;
  }

  left(out: Output): void {
    const element = this.element(out);
    if (element !== undefined) printLeft(element, out);
  }

  override right(out: Output): void {
    const element = this.element(out);
    if (element !== undefined) printRight(element, out);
  }

  override resolve(bit: number, out: Output): boolean {
    const element = this.element(out);
    return element !== undefined && has(element, bit, out);
  }

  override syntaxNode(out: Output): Node {
    return this.element(out)?.syntaxNode(out) ?? this;
  }

  /** The first pack met inside an expansion says how often it repeats. */
  private element(out: Output): Node | undefined {
    if (out.packMax === noPack) {
      out.packMax = this.elements.length;
      out.packIndex = 0;
    }
    return this.elements[out.packIndex];
  }
}

/** `J…E` where it stands as an argument: all elements. */
export class ArgumentPack extends Node {
  declare readonly elements: readonly Node[];

  constructor(elements: readonly Node[]) {
    super();
    this.elements = elements;
  }

  left(out: Output): void {
    printList(this.elements, out);
  }
}

/** `child...`, printed once for each element of the packs in it. */
export class PackExpansion extends Node {
  declare readonly child: Node;

  constructor(child: Node) {
    super();
    this.child = child;
  }

  left(out: Output): void {
    const { packIndex, packMax, text } = out;
    out.packIndex = noPack;
    out.packMax = noPack;
    print(this.child, out);
    const count = out.packMax;
    if (count === noPack) out.append('...');
    else if (count === 0) out.text = text;
    for (let index = 1; index < count; index += 1) {
      out.append(', ');
      out.packIndex = index;
      print(this.child, out);
    }
    out.packIndex = packIndex;
    out.packMax = packMax;
  }
}

/** A template parameter in the type of a conversion operator, whose arguments come only after it. */
export class ForwardReference extends Node {
  declare readonly index: number;
  declare target: Node;
  /** The argument may contain the operator's own type. */
  declare isPrinting: boolean;

  constructor(index: number) {
    super(unknown);
    this.index = index;
    this.target = this;
    this.isPrinting = false;
  }

  left(out: Output): void {
    this.once(() => printLeft(this.target, out), undefined);
  }

  override right(out: Output): void {
    this.once(() => printRight(this.target, out), undefined);
  }

  override resolve(bit: number, out: Output): boolean {
    return this.once(() => has(this.target, bit, out), false);
  }

  override syntaxNode(out: Output): Node {
    return this.once(() => this.target.syntaxNode(out), this);
  }

  private once<T>(visit: () => T, otherwise: T): T {
    if (this.isPrinting) return otherwise;
    this.isPrinting = true;
    const result = visit();
    this.isPrinting = false;
    return result;
  }
}
