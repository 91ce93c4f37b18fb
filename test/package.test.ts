import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, posix, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { kernelText } from "../scripts/kernel-text.mjs";

// What a user gets: a copy of the sources is built and packed, and the tarball installed.
// A copy, because others may be building in the folder itself at the same time.

vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const root = fileURLToPath(new URL("..", import.meta.url));
let temporary: string;
let project: string;
let consumer: string;
let packed: string[];

beforeAll(() => {
  temporary = realpathSync(mkdtempSync(join(tmpdir(), "batchnorm-wasm-")));
  project = join(temporary, "project");
  consumer = join(temporary, "consumer");
  const left = /(^|\/)(node_modules|target|dist|\.git)$/;
  cpSync(root, project, {
    recursive: true,
    filter: (path) => !left.test(relative(root, path).replaceAll("\\", "/")),
  });
  symlinkSync(join(root, "node_modules"), join(project, "node_modules"), "junction");
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd: project, encoding: "utf8", stdio: "pipe" });
  run(process.execPath, "scripts/build-js.mjs");
  run(process.execPath, "node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json");
  const [pack] = JSON.parse(
    run("npm", "pack", "--ignore-scripts", "--json", "--pack-destination", temporary),
  );
  packed = pack.files.map(({ path }: { path: string }) => path);
  consumer = install("consumer", join(temporary, pack.filename));
});

afterAll(() => {
  rmSync(temporary, { recursive: true, force: true });
});

/** A folder of its own with the packed package in it. */
function install(name: string, tarball: string): string {
  const folder = join(temporary, name);
  const modules = join(folder, "node_modules");
  mkdirSync(modules, { recursive: true });
  execFileSync("tar", ["-xzf", tarball, "-C", modules]);
  cpSync(join(modules, "package"), join(modules, "batchnorm-wasm"), { recursive: true });
  rmSync(join(modules, "package"), { recursive: true });
  return folder;
}

/** Runs a file of the consumer's and gives what it printed, line by line. */
function runFile(name: string, code: string): string[] {
  writeFileSync(join(consumer, name), code);
  const { status, stdout, stderr } = spawnSync(process.execPath, [name], {
    cwd: consumer,
    encoding: "utf8",
    timeout: 30_000,
  });
  expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: "" });
  return stdout.trim().split("\n");
}

const step = `
  const bn = new BatchNorm(2);
  const y = bn.forward(Tensor.from([1, 2, 3, 6], [2, 2]));
  bn.backward(y);
  console.log(Array.from(y.data, Math.round).join(), bn.numBatchesTracked);`;
const stepped = ["-1,-1,1,1 1"];

describe("the packed tarball", () => {
  test("has the entries, the kernel, types and sources of each module, and nothing else", () => {
    const own = [
      ...["entry/node.ts", "entry/threads-node.ts", "entry/tfjs-core.d.ts"],
      "runtime.d.ts",
    ];
    const sources = readdirSync(join(project, "ts"), { recursive: true, encoding: "utf8" })
      .map((path) => path.replaceAll("\\", "/"))
      .filter((path) => path.endsWith(".ts") && !own.includes(path));
    // slim-node has the types of slim.
    const modules = sources
      .filter((path) => !path.endsWith(".d.ts") && path !== "entry/slim-node.ts")
      .map((path) => path.slice(0, -3));
    expect(modules.length).toBeGreaterThan(10);
    const scripts = [
      ...["inline", "workerd", "edge-light", "slim", "slim-node", "weights"],
      ...["threads", "threads-workerd", "threads-edge-light", "tfjs", "tfjs-install"],
    ].map((name) => `entry/${name}`);
    const expected = [
      ...["package.json", "README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md"],
      ...["dist/generated/kernel.wasm", "dist/entry/module.d.ts"],
      // For bundlers that read no `exports`.
      ...["weights", "tfjs", "tfjs/install"].map((folder) => `${folder}/package.json`),
      ...[...scripts, "shared"].flatMap((name) => [`dist/${name}.js`, `dist/${name}.js.map`]),
      ...modules.flatMap((name) => [`dist/${name}.d.ts`, `dist/${name}.d.ts.map`]),
      ...sources.map((path) => `ts/${path}`),
    ];
    expect(packed.toSorted()).toEqual(expected.toSorted());
  });

  test("has the source that each source map points to", () => {
    for (const path of packed.filter((path) => path.endsWith(".map"))) {
      const { sources } = JSON.parse(readFileSync(join(project, path), "utf8"));
      for (const source of sources) {
        const target = posix.join(posix.dirname(path), source);
        // The text of the kernel has no source to step through.
        if (!target.endsWith(".wasm")) expect(packed, `of ${path}`).toContain(target);
      }
    }
  });

  test("has docstrings in its declarations, not in its JavaScript", () => {
    const having = packed.filter((path) =>
      readFileSync(join(project, path), "utf8").includes("@throws BatchNormError"),
    );
    expect(having).toContain("dist/core/tensor.d.ts");
    expect(having.filter((path) => path.endsWith(".js"))).toEqual([]);
  });

  test("names no folder of the machine that built it", () => {
    for (const path of packed) {
      const content = readFileSync(join(project, path), "latin1");
      for (const folder of [root, temporary, "/root/", "/home/", "/usr/src", ".cargo"]) {
        expect(content.includes(folder), `${path} contains ${folder}`).toBe(false);
      }
    }
  });

  test("has no dependencies and runs nothing when it is installed", () => {
    const manifest = JSON.parse(
      readFileSync(join(consumer, "node_modules/batchnorm-wasm/package.json"), "utf8"),
    );
    for (const field of ["dependencies", "optionalDependencies"]) {
      expect(manifest).not.toHaveProperty(field);
    }
    // For `batchnorm-wasm/tfjs` alone, and not installed with it.
    const peer = "@tensorflow/tfjs-core";
    expect(manifest.peerDependencies).toEqual({ [peer]: "^4.0.0" });
    expect(manifest.peerDependenciesMeta).toEqual({ [peer]: { optional: true } });
    for (const script of ["preinstall", "install", "postinstall"]) {
      expect(manifest.scripts).not.toHaveProperty(script);
    }
  });
});

describe("in Node", () => {
  test("import takes a training step, without a warning", () => {
    const code = `import { BatchNorm, Tensor } from "batchnorm-wasm";${step}`;
    expect(runFile("import.mjs", code)).toEqual(stepped);
  });

  test("require from CommonJS takes a training step, without a warning", () => {
    const code = `const { BatchNorm, Tensor } = require("batchnorm-wasm");${step}`;
    expect(runFile("require.cjs", code)).toEqual(stepped);
  });

  test("import and require in one program give the same package", () => {
    const code = `
      const required = require("batchnorm-wasm");
      import("batchnorm-wasm").then((imported) => {
        console.log(imported.Tensor === required.Tensor);
      });`;
    expect(runFile("both.cjs", code)).toEqual(["true"]);
  });

  test("the default entry and slim in one program are one package with one kernel", () => {
    const code = `
      import { defaultKernel, Tensor } from "batchnorm-wasm";
      import * as slim from "batchnorm-wasm/slim";
      slim.initSync(Uint8Array.of());
      console.log(slim.Tensor === Tensor, slim.defaultKernel() === defaultKernel());`;
    expect(runFile("slim.mjs", code)).toEqual(["true true"]);
  });

  test("weights come without a kernel, and with the errors of the default entry", () => {
    const code = `
      import { fromSafetensors, toSafetensors, BatchNormError } from "batchnorm-wasm/weights";
      delete globalThis.WebAssembly;
      console.log(fromSafetensors(toSafetensors({ a: Float32Array.of(1, 2) })).a.data.join());
      const library = await import("batchnorm-wasm");
      try { fromSafetensors(new Uint8Array(3)); } catch (error) {
        console.log(error instanceof library.BatchNormError, error.code);
      }
      console.log(library.BatchNormError === BatchNormError);`;
    expect(runFile("weights.mjs", code)).toEqual(["1,2", "true invalid-file", "true"]);
  });

  test("tfjs/install needs no tfjs to be imported, and has the errors of the default entry", () => {
    const code = `
      WebAssembly.Module = class { constructor() { throw Error("compiled"); } };
      const { BatchNormError, install } = await import("batchnorm-wasm/tfjs/install");
      const library = await import("batchnorm-wasm");
      console.log(library.BatchNormError === BatchNormError);
      try { install({}); } catch (error) { console.log(error.code); }
      await import("batchnorm-wasm/tfjs").catch(({ code, message }) => {
        console.log(code, message.includes("@tensorflow/tfjs-core"));
      });`;
    const missing = "ERR_MODULE_NOT_FOUND true";
    expect(runFile("tfjs.mjs", code)).toEqual(["true", "invalid-option", missing]);
  });

  test("importing compiles nothing, adds no global and leaves nothing running", () => {
    const code = `
      WebAssembly.Module = class { constructor() { throw Error("compiled"); } };
      const look = async () => {
        // Reading the files of both is no effect of the package.
        await new Promise((resolve) => setTimeout(resolve, 20));
        const running = process.getActiveResourcesInfo();
        return [Object.getOwnPropertyNames(globalThis), process.eventNames(), running].join(";");
      };
      const before = await look();
      const { Tensor } = await import("batchnorm-wasm");
      console.log((await look()) === before);
      try { Tensor.zeros([1]); } catch (error) { console.log(error.cause.message); }`;
    expect(runFile("effects.mjs", code)).toEqual(["true", "compiled"]);
  });

  test("source maps lead a stack trace to the line that throws", () => {
    const code = `
      process.setSourceMapsEnabled(true);
      const { Tensor } = await import("batchnorm-wasm");
      try { Tensor.zeros([-1]); } catch ({ stack }) {
        for (const [, place] of stack.matchAll(/\\((.+\\.ts:\\d+):\\d+\\)/g)) console.log(place);
      }`;
    const lines = runFile("trace.mjs", code).map((place) => {
      const [, file = "", line] = /^(.+):(\d+)$/.exec(place) ?? [];
      return readFileSync(file, "utf8").split("\n")[Number(line) - 1]?.trim();
    });
    expect(lines.length).toBeGreaterThan(2);
    expect(lines[0]).toMatch(/^throw /);
    for (const line of lines.slice(1)) expect(line).toMatch(/\w\(/);
  });

  test("a program that has used it ends by itself", () => {
    const code = `
      import { BatchNorm, Tensor } from "batchnorm-wasm";${step}
      process.on("exit", (status) => console.log("ends", status));`;
    expect(runFile("exit.mjs", code)).toEqual([...stepped, "ends 0"]);
  });

  test("two kernels beside the default one have nothing in common", () => {
    const code = `
      import { readFileSync } from "node:fs";
      import { BatchNorm, createKernel, defaultKernel, memoryUsage, Tensor } from "batchnorm-wasm";
      const path = "node_modules/batchnorm-wasm/dist/generated/kernel.wasm";
      const module = new WebAssembly.Module(readFileSync(path));
      const kernels = [createKernel(module), createKernel(readFileSync(path)), defaultKernel()];
      const layers = kernels.map((kernel) => new BatchNorm(2, { kernel, momentum: 1 }));
      const tensors = kernels.map((kernel, i) => Tensor.from([i, 1, i + 2, 3], [2, 2], { kernel }));
      console.log(new Set(tensors.map((tensor) => tensor.address)).size);
      layers.forEach((bn, i) => bn.forward(tensors[i], { out: tensors[i] }));
      Tensor.zeros([1000], { kernel: kernels[0] });
      console.log(layers.map((bn) => Array.from(bn.runningMean.data, Math.round)).join(" "));
      console.log(kernels.map((kernel) => memoryUsage({ kernel }).liveBytes).join(" "));
      tensors[1].dispose();
      console.log(tensors.map((tensor) => tensor.disposed).join(" "));`;
    const lines = runFile("kernels.mjs", code);
    // Each has taken the same address of its own memory.
    expect(lines[0]).toBe("1");
    expect(lines[1]).toBe("1,2 2,2 3,2");
    const [first, second, third] = (lines[2] as string).split(" ").map(Number) as [
      number,
      number,
      number,
    ];
    expect([first - 4000, second]).toEqual([third, third]);
    expect(lines[3]).toBe("false true false");
  });

  test("a tensor of a second copy of the package is refused with a typed error", () => {
    cpSync(
      join(consumer, "node_modules/batchnorm-wasm"),
      join(consumer, "nested/node_modules/batchnorm-wasm"),
      { recursive: true },
    );
    writeFileSync(join(consumer, "nested/copy.mjs"), `export * from "batchnorm-wasm";`);
    const code = `
      import { BatchNorm, Tensor } from "batchnorm-wasm";
      import * as copy from "./nested/copy.mjs";
      console.log(copy.Tensor === Tensor);
      const x = Tensor.zeros([4, 3]);
      try { new copy.BatchNorm(3).forward(x); } catch (error) {
        console.log(error instanceof copy.BatchNormError, error.code);
      }`;
    expect(runFile("copies.mjs", code)).toEqual(["false", "true dtype"]);
  });

  test("classes have the names that they are exported by", () => {
    const code = `
      import * as library from "batchnorm-wasm";
      for (const [name, { prototype, name: own }] of Object.entries(library)) {
        if (prototype && own !== name) console.log(name, own);
      }
      console.log(new library.BatchNorm(1).constructor.name);`;
    expect(runFile("names.mjs", code)).toEqual(["BatchNorm"]);
  });

  test("what package.json doesn't export can't be imported", () => {
    const code = `
      for (const path of ["dist/shared.js", "dist/entry/inline.js", "ts/index.ts"]) {
        await import("batchnorm-wasm/" + path).catch(({ code }) => console.log(code));
      }
      console.log(JSON.parse((await import("node:fs")).readFileSync(
        new URL(import.meta.resolve("batchnorm-wasm/package.json")))).name);`;
    const refused = "ERR_PACKAGE_PATH_NOT_EXPORTED";
    expect(runFile("deep.mjs", code)).toEqual([refused, refused, refused, "batchnorm-wasm"]);
  });
});

describe("in TypeScript", () => {
  const program = `
    import { BatchNorm, BatchNormalization, BatchNormError, scope, Tensor } from "batchnorm-wasm";
    import type { BatchNormErrorCode, PlainResult } from "batchnorm-wasm";
    import { fromLayersModel, fromSafetensors, toSafetensors } from "batchnorm-wasm/weights";
    import type { WeightDict } from "batchnorm-wasm/weights";
    import { install, normalizations, type InstallOptions } from "batchnorm-wasm/tfjs";
    const bn: BatchNorm = new BatchNorm(3, { preset: "keras", momentum: 0.9 });
    const y: Tensor = scope(() => bn.train().forward(Tensor.zeros([4, 3])));
    const data: Float32Array = y.data;
    const plain: PlainResult = bn.forward({ data: [1, 2, 3], shape: [1, 3] });
    const grad: Tensor | null | undefined = bn.weight?.grad;
    const keras = new BatchNormalization({ axis: -1, epsilon: 1e-3 });
    export const code = (error: unknown): BatchNormErrorCode | null =>
      error instanceof BatchNormError ? error.code : null;
    const file: Uint8Array = toSafetensors(bn.stateDict(), { metadata: { format: "pt" } });
    const dict: WeightDict = fromSafetensors(file.buffer, { prefix: "bn." });
    bn.loadStateDict(dict);
    const manifest = [{ paths: ["a.bin"], weights: [{ name: "a", shape: [1], dtype: "float32" }] }];
    export const model = (json: string) => [fromLayersModel(json, [file]), fromLayersModel(manifest, file)];
    export default [data, plain.data.length, grad, keras.gamma];
    // @ts-expect-error text is no file
    fromSafetensors("weights.safetensors");
    const options: InstallOptions = { backends: ["cpu"] };
    // Without tfjs: anything that has its layers will do, and gives them their type.
    const layers = { batchNormalization: (_?: { name: string }) => ({ built: true }) };
    export const tfjs = () => normalizations({ layers }).groupNormalization({ groups: 2 }).built;
    // @ts-expect-error no tfjs
    export const none = () => install({}, options);
    // @ts-expect-error a wrong preset
    new BatchNorm(3, { preset: "pytorch" });
    // @ts-expect-error plain in, plain out
    const wrong: Tensor = bn.forward({ data: [1, 2, 3], shape: [1, 3] });
    void wrong;
  `;

  for (const [name, module, moduleResolution] of [
    ["Node's resolution", "nodenext", "nodenext"],
    ["a bundler's resolution", "esnext", "bundler"],
  ] as const) {
    test(`a strict program compiles against the types alone, with ${name}`, () => {
      writeFileSync(join(consumer, "program.mts"), program);
      const compilerOptions = {
        ...{ strict: true, noEmit: true, skipLibCheck: false, types: [] },
        ...{ target: "es2022", lib: ["es2023", "dom", "esnext.disposable"] },
        ...{ module, moduleResolution },
      };
      const config = JSON.stringify({ compilerOptions, include: ["program.mts"] });
      writeFileSync(join(consumer, "tsconfig.json"), config);
      const compiler = join(root, "node_modules/typescript/bin/tsc");
      const options = { cwd: consumer, encoding: "utf8" } as const;
      const { status, stdout } = spawnSync(process.execPath, [compiler], options);
      expect(stdout).toBe("");
      expect(status).toBe(0);
    });
  }

  test("views may be shared in a program that imports the entry with threads, and in no other", () => {
    const errorsOf = (entry: string) => {
      const code = `import { Tensor } from "batchnorm-wasm${entry}";
        export const any: ArrayBufferLike = Tensor.zeros([1]).data.buffer;
        export const copy: ArrayBuffer = Tensor.zeros([1]).toFloat32Array().buffer;
        export const own: ArrayBuffer = Tensor.zeros([1]).data.buffer;`;
      writeFileSync(join(consumer, "views.mts"), code);
      const compiler = join(root, "node_modules/typescript/bin/tsc");
      const flags =
        "--noEmit --strict --module nodenext --target es2022 --lib es2023,esnext.disposable";
      const args = [compiler, ...flags.split(" "), "--ignoreConfig", "views.mts"];
      const { stdout } = spawnSync(process.execPath, args, { cwd: consumer, encoding: "utf8" });
      return [...stdout.matchAll(/views\.mts\((\d+),.*error (TS\d+)/g)].map(([, ...one]) => one);
    };
    expect(errorsOf("")).toEqual([]);
    expect(errorsOf("/threads")).toEqual([["4", "TS2322"]]);
  });
});

test("what the oldest engines lack, or only a page or Node has, doesn't compile in ts/", () => {
  const folder = mkdtempSync(join(project, "ts", "floor-"));
  const young = [
    "[1].at(0);",
    "[1].with(0, 2);",
    "[1].findLast(Boolean);",
    "Object.hasOwn({}, 'a');",
    "new Error('a', { cause: 1 });",
    "structuredClone(1);",
    "document;",
    "process;",
    "let a: Response;",
    "let b: WebAssembly.Imports;",
  ];
  writeFileSync(join(folder, "young.ts"), `${young.join("\n")}\nexport type { a, b };\n`);
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  const { stdout } = spawnSync(process.execPath, [compiler, "-p", "tsconfig.build.json"], {
    ...{ cwd: project, encoding: "utf8" },
  });
  rmSync(folder, { recursive: true });
  const lines = Array.from(stdout.matchAll(/young\.ts\((\d+),/g), ([, line]) => Number(line));
  expect(lines.slice(0, young.length)).toEqual(young.map((_, i) => i + 1));
});

describe("in a bundle", () => {
  async function bundle(code: string): Promise<string> {
    const { outputFiles } = await build({
      stdin: { contents: code, resolveDir: consumer, loader: "js" },
      bundle: true,
      write: false,
      format: "esm",
      platform: "node",
      logLevel: "silent",
    });
    return outputFiles[0]?.text ?? "";
  }

  test("a program that only infers carries nothing of training, layers and state dicts", async () => {
    const code = `import { batchNormInference } from "batchnorm-wasm"; batchNormInference({}, {});`;
    const text = await bundle(code);
    expect(text).toContain("runCall");
    const whole = await bundle(`export * from "batchnorm-wasm";`);
    for (const absent of [
      ...["runByBatch", "runByRunning", "runBackward", "runStatistics", "Traces"],
      ...["BatchNormalization", "BatchNormSaved", "loadStateDict", "moving_variance", "zeroGrad"],
    ]) {
      expect(whole, "else its absence says nothing").toContain(absent);
      expect(text.includes(absent), `${absent} is in the bundle`).toBe(false);
    }
  });

  const forward = "{ numGroups: 1, saved: true }";
  const byBatch = "{ mean: [2, 4], variance: [1, 4], saved: true }";
  test.each([
    ["batchNormTraining", "batchNormTraining(x).saved.mean[1]", 4],
    ["batchNormStatistics", "batchNormStatistics(x).mean[1]", 4],
    ["batchNormInference", `batchNormInference(x, ${byBatch})`, "unsupported"],
    [
      "batchNormInference, batchNormBackward",
      `batchNormBackward(x, { saved: batchNormInference(x, ${byBatch}).saved }).dx.size`,
      4,
    ],
    ["groupNorm", "groupNorm(x, { numGroups: 1 }).size", 4],
    ["groupNorm", `groupNorm(x, ${forward})`, "unsupported"],
    [
      "groupNorm, groupNormBackward",
      `groupNormBackward(x, { saved: groupNorm(x, ${forward}).saved }).dx.size`,
      4,
    ],
    ["instanceNorm", "instanceNorm(x).size", 4],
    ["BatchNorm", "(bn => bn.forward(x) && bn.backward(x).size)(new BatchNorm(2))", 4],
    ["GroupNorm", "(gn => gn.forward(x) && gn.backward(x).size)(new GroupNorm(1, 2))", 4],
    ["InstanceNorm", "new InstanceNorm(2, { axis: 0 }).forward(x).size", 4],
  ])("a program that uses %s alone has all that it needs: %s", async (names, code, result) => {
    const text = await bundle(`import { Tensor, ${names} } from "batchnorm-wasm";
      const x = Tensor.from([1, 2, 3, 6], [2, 2]);
      const run = () => { try { return ${code} } catch (error) { return error.code ?? error } };
      export default run();`);
    const file = join(temporary, `${names}-${String(result)}.mjs`);
    writeFileSync(file, text);
    expect((await import(pathToFileURL(file).href)).default).toBe(result);
  });

  test.each(["BatchNorm", "fromSafetensors"])(
    "a program that uses nothing of slim or weights is empty: %s",
    async (name) => {
      const from = name === "BatchNorm" ? "slim" : "weights";
      const text = await bundle(`import { ${name} } from "batchnorm-wasm/${from}";`);
      expect(text.replace(/^\/\/.*$/gm, "").trim()).toBe("");
    },
  );

  test("a program that reads weights alone carries no kernel, no tensors, and nothing of other formats", async () => {
    const text = await bundle(`import { fromSafetensors } from "batchnorm-wasm/weights";
      console.log(fromSafetensors(new Uint8Array(0)));`);
    const whole = await bundle(
      `export * from "batchnorm-wasm"; export * from "batchnorm-wasm/weights";`,
    );
    const bytes = kernelText(join(root, "ts/generated/kernel.wasm")).slice(0, 80);
    const absent = [
      ...[JSON.stringify(bytes).slice(1, -1), "provideDefaultKernel", "WebAssembly", "runCall"],
      ...["Traces", "loadStateDict", "weightsManifest", "toSafetensors"],
    ];
    for (const one of absent) {
      expect(whole, "else its absence says nothing").toContain(one);
      expect(text.includes(one), `${one} is in the bundle`).toBe(false);
    }
    expect(text.length).toBeLessThan(40_000);
  });

  test("a program that uses the layer keeps the entry that finds the kernel", async () => {
    const text = await bundle(`import { BatchNorm } from "batchnorm-wasm"; new BatchNorm(3);`);
    const literal = JSON.stringify(kernelText(join(root, "ts/generated/kernel.wasm")));
    expect(text).toContain(literal.slice(0, 80));
    expect(text).toContain("provideDefaultKernel");
  });
});
