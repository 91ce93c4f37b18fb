/** What is public, and the `@example`s in its docstrings. */
import type { Node } from "typescript/unstable/ast";
import {
  isClassDeclaration,
  isExportSpecifier,
  isFunctionDeclaration,
  isVariableDeclaration,
} from "typescript/unstable/ast/is";
import {
  ModifierFlags,
  type Project,
  SymbolFlags,
  type Symbol as TsSymbol,
} from "typescript/unstable/sync";
import { root } from "./compiler.js";

/** Something public. */
export interface Entry {
  /** `scope`, `Tensor.zeros`, `Tensor.[Symbol.dispose]`. */
  readonly name: string;
  /** How a program imports it, or what it is a member of. */
  readonly library: Library;
  /** Whether it is more than a member or a type. */
  readonly isValue: boolean;
  readonly examples: readonly string[];
}

export type Library =
  | "batchnorm-wasm"
  | "batchnorm-wasm/slim"
  | "batchnorm-wasm/threads"
  | "batchnorm-wasm/weights";

type Member = Node & { readonly name?: Node; readonly modifierFlags?: ModifierFlags };
type Docs = Node & { readonly tags?: Iterable<Node> };

/** The modules whose exports are public. */
export const MODULES: ReadonlyMap<string, Library> = new Map([
  ["ts/index.ts", "batchnorm-wasm"],
  ["ts/entry/slim.ts", "batchnorm-wasm/slim"],
  ["ts/entry/weights.ts", "batchnorm-wasm/weights"],
  ["ts/entry/threads-node.ts", "batchnorm-wasm/threads"],
]);

/** All that a program can call, read or set. Types are no part of it, but classes are. */
export function readPublic({ program, checker }: Project): Entry[] {
  const found = new Map<string, Entry>();
  for (const [file, library] of MODULES) {
    const source = program.getSourceFile(root + file);
    const module = source && checker.getSymbolAtLocation(source);
    if (!module) throw new Error(`${file} exports nothing`);
    for (const one of checker.getExportsOfModule(module)) {
      const symbol = one.flags & SymbolFlags.Alias ? checker.getAliasedSymbol(one) : one;
      const nodes = nodesOf(symbol);
      const isType = nodesOf(one).some((node) => isExportSpecifier(node) && node.isTypeOnly);
      for (const [name, examples] of examplesByName(one.name, nodes)) {
        // What the others have of the index is there already.
        if (found.has(name)) continue;
        const isValue = name === one.name && !isType;
        found.set(name, { name, library, isValue, examples });
      }
    }
  }
  return [...found.values()];
}

function nodesOf(symbol: TsSymbol): Node[] {
  return symbol.declarations.flatMap((declaration) => declaration.resolve() ?? []);
}

/** Of a function, a constant, or a class and its members; none of types. */
function examplesByName(name: string, nodes: readonly Node[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const node of nodes) {
    // The docstring of a constant stands before `const`.
    if (isVariableDeclaration(node)) found.set(name, examplesOf(node.parent.parent));
    else if (isFunctionDeclaration(node) || isClassDeclaration(node)) {
      found.set(name, [...(found.get(name) ?? []), ...examplesOf(node)]);
    }
    if (!isClassDeclaration(node)) continue;
    for (const member of node.members as readonly Member[]) {
      const own = member.name?.getText();
      if (own === undefined || own.startsWith("#")) continue;
      const { modifierFlags = ModifierFlags.None } = member;
      if (modifierFlags & (ModifierFlags.Private | ModifierFlags.Protected)) continue;
      const full = `${name}.${own}`;
      found.set(full, [...(found.get(full) ?? []), ...examplesOf(member)]);
    }
  }
  return found;
}

/** The texts of the `@example`s of a docstring, without its stars. */
function examplesOf(node: Node): string[] {
  return (node.jsDoc ?? [])
    .flatMap((doc) => [...((doc as Docs).tags ?? [])].map((tag) => tag.getText()))
    .filter((text) => /^@example\b/.test(text))
    .map((text) => text.replace(/^@example|^[ \t]*\*(?: |$)/gm, "").trim());
}
