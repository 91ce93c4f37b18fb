/** TypeScript's own parser and checker, over the sources and over files that nobody else sees. */
import { fileURLToPath } from "node:url";
import { API, type Project } from "typescript/unstable/sync";

/** With a slash at its end. */
export const root = fileURLToPath(new URL("../../", import.meta.url)).replaceAll("\\", "/");

export class Compiler {
  readonly #files = new Map<string, string>();
  readonly #api = new API({ cwd: root, fs: { readFile: (path) => this.#files.get(path) } });
  #projects = 0;

  /** A project of some files of this folder, and of modules that stand in it as if they did. */
  open(files: readonly string[], modules: ReadonlyMap<string, string> = new Map()): Project {
    for (const [file, text] of modules) this.#files.set(root + file, text);
    const path = `${root}tsconfig.examples-${this.#projects++}.json`;
    const compilerOptions = {
      paths: {
        "batchnorm-wasm": ["./ts/entry/node.ts"],
        "batchnorm-wasm/slim": ["./ts/entry/slim.ts"],
        "batchnorm-wasm/weights": ["./ts/entry/weights.ts"],
        "batchnorm-wasm/threads": ["./ts/entry/threads-node.ts"],
        "batchnorm-wasm/kernel.wasm": ["./ts/entry/module.d.ts"],
      },
      // An example need not use what it makes; and who copies one may have `strict` alone.
      ...{ noUnusedLocals: false, noUncheckedIndexedAccess: false },
    };
    const all = [...files, ...modules.keys()];
    const config = { extends: "./tsconfig.json", compilerOptions, include: [], files: all };
    this.#files.set(path, JSON.stringify(config));
    const projects = this.#api.updateSnapshot({ openProjects: [path] }).getProjects();
    const project = projects.find(({ configFileName }) => configFileName === path);
    if (!project) throw new Error(`${path} is no project`);
    return project;
  }

  close(): void {
    this.#api.close();
  }
}
