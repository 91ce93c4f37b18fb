/**
 * An example as a module: checked by TypeScript, and made ready to run.
 *
 * What a line results in stands behind it, in one of two forms and checked to the letter:
 *
 *     x.shape;                   // → [2, 3]
 *     const y = bn.forward(x);   // → Tensor([2, 3]) { -1, -1, -1, 1, 1, 1 }
 *     x.slice(1, 0, 1).data;     // throws not-contiguous
 *
 * The first is the value of the expression, or of the one variable that is declared, as
 * `shown` writes it (`run.ts`); the second is the `code` of the `BatchNormError`. Any other
 * comment is prose, and must not look like a value.
 */
import type { Node } from "typescript/unstable/ast";
import {
  isBlock,
  isExpressionStatement,
  isIdentifier,
  isPropertyAccessExpression,
  isVariableStatement,
} from "typescript/unstable/ast/is";
import type { Project } from "typescript/unstable/sync";
import { type Compiler, root } from "./compiler.js";
import type { preambles } from "./preamble.js";
import type { Library } from "./public.js";

/** An example as a program. */
export interface Example {
  readonly title: string;
  readonly library: Library;
  /** What it imports, `{ a, b }` or a name, and where from. */
  readonly imports: readonly (readonly [names: string, from: string])[];
  /** Which names it is given, and the names of these that it uses. */
  readonly preamble: keyof typeof preambles;
  readonly given: readonly string[];
  readonly body: string;
}

/** An example that TypeScript has read. */
export interface Checked {
  /** What is wrong with it before it runs. */
  readonly faults: readonly string[];
  /** The body, where result i goes to `$shown(i, value)` or `$threw(i, error)`. */
  readonly code: string;
  readonly results: readonly Result[];
  /** The members that it uses, as `Tensor.shape`. */
  readonly uses: ReadonlySet<string>;
}

interface Result {
  readonly statement: string;
  /** `→ [2, 3]` or `throws stale`. */
  readonly comment: string;
}

const RESULT = /^(→|throws) (.+)$/;
/** Comments that a reader would take for a result. */
const LIKE_A_RESULT = new RegExp(
  [
    ...["→", "^throws\\b", "^[\"'`]", "^[[{] *[-\\d\"'[\\]{}]", "^-?\\d[\\d.e+-]*$"],
    ...[
      "^(true|false|null|undefined|NaN)$",
      "^\\w+Array\\b",
      "^(Tensor|Parameter|BatchNorm)\\w*\\(",
    ],
  ].join("|"),
);

/** Reads the examples, each as a module of its own. */
export function check(compiler: Compiler, examples: readonly Example[]): Map<Example, Checked> {
  const modules = examples.map((one, i) => [`example-${i}.ts`, moduleOf(one)] as const);
  const project = compiler.open([], new Map(modules));
  const { program } = project;
  const wrong = [...program.getSyntacticDiagnostics(), ...program.getSemanticDiagnostics()];
  return new Map(
    examples.map((one, i) => {
      const path = `${root}example-${i}.ts`;
      const faults = wrong.filter(({ fileName }) => fileName === path).map(({ text }) => text);
      return [one, read(project, path, faults)];
    }),
  );
}

/** In a block, where it may declare anew what its preamble has. */
function moduleOf({ imports, preamble, given, body }: Example): string {
  return [
    ...imports.map(([names, from]) => `import ${names} from "${from}";`),
    `import type { preambles } from "./test/examples/preamble.js";`,
    `type Given = ReturnType<(typeof preambles)["${preamble}"]>;`,
    ...given.map((name) => `declare const ${name}: Given["${name}"];`),
    `{\n${body}\n}`,
  ].join("\n");
}

function read({ program, checker }: Project, path: string, faults: string[]): Checked {
  const source = program.getSourceFile(path);
  const block = source && [...source.statements].find(isBlock);
  if (!block) throw new Error(`${path} has no block`);
  const { text } = source;
  const [first, last] = [block.getStart() + 1, block.end - 1];
  const comments = [...text.slice(first, last).matchAll(/(?:^|\s)\/\/ ?(.*)/gm)];
  const prose = new Set(comments.map(({ index }) => text.indexOf("//", first + index)));
  const results: Result[] = [];
  const inserts: { at: number; code: string }[] = [];
  const members: Node[] = [];
  const visit = (node: Node): void => {
    if (isPropertyAccessExpression(node)) members.push(node.name);
    const isPlain = isExpressionStatement(node) || isVariableStatement(node);
    const [, space = "", comment = ""] =
      (isPlain && /^([ \t]*)\/\/ ?(.*)/.exec(text.slice(node.end))) || [];
    const kind = RESULT.exec(comment)?.[1];
    if (isPlain && kind) {
      prose.delete(node.end + space.length);
      const i = results.push({ statement: node.getText(), comment }) - 1;
      const where = node.parent === block ? "outermost" : "within";
      inserts.push(...(kind === "throws" ? watchThrown(node, i, where) : watchShown(node, i)));
    }
    node.forEachChild(visit);
  };
  visit(block);
  for (const at of prose) {
    const [, comment = ""] = /^\/\/ ?(.*)/.exec(text.slice(at)) ?? [];
    if (LIKE_A_RESULT.test(comment)) faults.push(`nothing has the result "${comment}"`);
  }
  let code = "";
  let from = first;
  for (const insert of inserts.sort((a, b) => a.at - b.at)) {
    code += text.slice(from, insert.at) + insert.code;
    from = insert.at;
  }
  const symbols = members.length === 0 ? [] : checker.getSymbolAtLocation(members);
  const uses = symbols.map((symbol) => `${symbol?.getParent()?.name}.${symbol?.name}`);
  return { faults, code: code + text.slice(from, last), results, uses: new Set(uses) };
}

/** What tells the error of a statement. Within `try` it goes on to its `catch`. */
function watchThrown(statement: Node, i: number, where: "outermost" | "within") {
  const then = where === "within" ? "throw error; " : "";
  return [
    { at: statement.getStart(), code: "try { " },
    { at: statement.end, code: ` } catch (error) { $threw(${i}, error); ${then}}` },
  ];
}

/** What tells the result of a statement. */
function watchShown(statement: Node, i: number) {
  const [start, end] = [statement.getStart(), statement.end];
  if (isExpressionStatement(statement)) {
    return [
      { at: start, code: `$shown(${i}, (` },
      { at: statement.expression.end, code: "))" },
    ];
  }
  const name = declaredBy(statement);
  return name === undefined ? [] : [{ at: end, code: ` $shown(${i}, ${name});` }];
}

/** The name of the one variable that a statement declares. */
function declaredBy(statement: Node): string | undefined {
  if (!isVariableStatement(statement)) return undefined;
  const [first, second] = statement.declarationList.declarations;
  return first && !second && isIdentifier(first.name) ? first.name.text : undefined;
}
