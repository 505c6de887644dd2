/** Nodes for names: what knows its last identifier, because constructors and destructors repeat it. */
import {
  array,
  callable,
  has,
  Node,
  type Output,
  print,
  printLeft,
  printRight,
  rhs,
  Sequence,
} from './node.ts';

export class Name extends Node {
  declare readonly text: string;

  constructor(text: string) {
    super();
    this.text = text;
  }

  left(out: Output): void {
    out.append(this.text);
  }

  override baseName(): string {
    return this.text;
  }
}

/** `scope::name`, or `scope::friend name` for a friend that is mangled as a member. */
export class Nested extends Node {
  declare readonly scope: Node;
  declare readonly separator: string;
  declare readonly name: Node;

  constructor(scope: Node, name: Node, separator = '::') {
    super();
    this.scope = scope;
    this.separator = separator;
    this.name = name;
  }

  left(out: Output): void {
    print(this.scope, out);
    out.append(this.separator);
    print(this.name, out);
  }

  override baseName(): string {
    return this.name.baseName();
  }
}

/** `a.b:part`, the module an entity is attached to; it is a substitution candidate that no type is. */
export class ModuleName extends Sequence {}

/** `name@module` */
export class ModuleEntity extends Node {
  declare readonly module: ModuleName;
  declare readonly name: Node;

  constructor(module: ModuleName, name: Node) {
    super();
    this.module = module;
    this.name = name;
  }

  left(out: Output): void {
    print(this.name, out);
    out.append('@');
    print(this.module, out);
  }

  override baseName(): string {
    return this.name.baseName();
  }
}

/** `name[abi:tag]` */
export class AbiTagged extends Node {
  declare readonly base: Node;
  declare readonly tag: string;

  constructor(base: Node, tag: string) {
    super(base.shape);
    this.base = base;
    this.tag = tag;
  }

  left(out: Output): void {
    printLeft(this.base, out);
    out.append(`[abi:${this.tag}]`);
  }

  override baseName(): string {
    return this.base.baseName();
  }
}

/** `name<args>` */
export class TemplateName extends Node {
  declare readonly name: Node;
  declare readonly args: Node;

  constructor(name: Node, args: Node) {
    super();
    this.name = name;
    this.args = args;
  }

  left(out: Output): void {
    print(this.name, out);
    print(this.args, out);
  }

  override baseName(): string {
    return this.name.baseName();
  }
}

/** `St`-like abbreviations of the standard library: short where they are used, spelt out before a constructor. */
export class StandardAbbreviation extends Node {
  declare readonly short: string;
  declare readonly template: string;
  declare readonly args: string;

  constructor(short: string, template: string, args: string) {
    super();
    this.short = short;
    this.template = template;
    this.args = args;
  }

  left(out: Output): void {
    out.append(`std::${this.short}`);
  }

  override baseName(): string {
    return this.short;
  }

  spellOut(): Node {
    return new SpeltOutAbbreviation(this.template, this.args);
  }
}

class SpeltOutAbbreviation extends Node {
  declare readonly template: string;
  declare readonly args: string;

  constructor(template: string, args: string) {
    super();
    this.template = template;
    this.args = args;
  }

  left(out: Output): void {
    out.append(`std::${this.template}${this.args}`);
  }

  override baseName(): string {
    return this.template;
  }
}

/** A constructor (`prefix` empty) or destructor (`~`) of the scope before it. */
export class StructorName extends Node {
  declare readonly prefix: string;
  declare readonly scope: Node;

  constructor(prefix: string, scope: Node) {
    super();
    this.prefix = prefix;
    this.scope = scope;
  }

  left(out: Output): void {
    out.append(this.prefix);
    out.append(this.scope.baseName());
  }
}

/** `~T` in an unresolved name; only the left half of the type is printed. */
export class UnresolvedDestructor extends Node {
  declare readonly base: Node;

  constructor(base: Node) {
    super();
    this.base = base;
  }

  left(out: Output): void {
    out.append('~');
    printLeft(this.base, out);
  }
}

/** `'lambda0'(int)`; a lambda expression prints the declarator alone. */
export class Closure extends Node {
  declare readonly count: string;
  declare readonly declarator: Node;

  constructor(count: string, declarator: Node) {
    super();
    this.count = count;
    this.declarator = declarator;
  }

  left(out: Output): void {
    out.append(`'lambda${this.count}'`);
    print(this.declarator, out);
  }
}

/** The shape of everything that prints a parameter list on its right. */
export const functionShape = rhs | callable;

/** The shape of everything that prints a dimension on its right. */
export const arrayShape = rhs | array;

/** A template parameter of a generic lambda or template template parameter: `typename $T`, `Concept $T`. */
export class ParameterDeclaration extends Node {
  declare readonly kind: Node;
  declare readonly name: Node;

  constructor(kind: Node, name: Node) {
    super(rhs);
    this.kind = kind;
    this.name = name;
  }

  left(out: Output): void {
    print(this.kind, out);
  }

  override right(out: Output): void {
    print(this.name, out);
  }
}

/** `int $N`: the type wraps around the invented name. */
export class ValueParameterDeclaration extends Node {
  declare readonly name: Node;
  declare readonly type: Node;

  constructor(name: Node, type: Node) {
    super(rhs);
    this.name = name;
    this.type = type;
  }

  left(out: Output): void {
    printLeft(this.type, out);
    if (!has(this.type, rhs, out)) out.append(' ');
  }

  override right(out: Output): void {
    print(this.name, out);
    printRight(this.type, out);
  }
}

/** `typename ...$T` */
export class PackDeclaration extends Node {
  declare readonly parameter: Node;

  constructor(parameter: Node) {
    super(rhs);
    this.parameter = parameter;
  }

  left(out: Output): void {
    printLeft(this.parameter, out);
    out.append('...');
  }

  override right(out: Output): void {
    printRight(this.parameter, out);
  }
}
