/**
 * How each bundler is run: the commands of its own introduction, without a configuration,
 * but for what README asks for: Parcel's setting, and the headers of pages with threads.
 */

/**
 * A check looks at a `site` (a folder, opened in Chromium), a `program` (a file that
 * Node runs), or, of what `serve` started on a port, a `page` or an `answer`. A site
 * has the layer in its scripts or hasn't, as its program imports it or doesn't, and the kernel.
 *
 * @typedef {{
 *   check: string, site?: string, hasLayer?: boolean, hasKernel?: boolean, program?: string, page?: string, answer?: string,
 * }} Check
 * @typedef {{
 *   name: string, package: string, settings?: object, build?: string, serve?: string, checks: Check[],
 * }} Bundler
 *   with the settings that its user writes into package.json
 */

/** @type {Bundler[]} */
export const bundlers = [
  ...sites("esbuild", (entry, out) => `esbuild ${entry}/browser.js --bundle --outdir=${out}`),
  // Its folder is meant from the entry's.
  ...sites("Vite", (entry, out) => `vite build ${entry} --outDir ../${out}`),
  {
    name: "Vite",
    package: "vite",
    serve: "vite everything --host 127.0.0.1 --strictPort --port PORT",
    checks: [{ check: "dev server", page: "/" }],
  },
  {
    name: "Vite",
    package: "vite",
    serve: "vite threads --host 127.0.0.1 --strictPort --port PORT",
    checks: [{ check: "dev server, threads", page: "/" }],
  },
  {
    name: "Vite",
    package: "vite",
    serve:
      "vite threads --config threads/isolated.config.js --host 127.0.0.1 --strictPort --port PORT",
    checks: [{ check: "dev server, threads, isolated", page: "/?isolated=yes" }],
  },
  {
    name: "Vite",
    package: "vite",
    build: "vite build --ssr ssr.js --outDir out/vite-ssr",
    checks: [{ check: "SSR build, run by Node", program: "out/vite-ssr/ssr.js" }],
  },
  ...sites(
    "webpack",
    (entry, out) =>
      `webpack --mode production --entry ./${entry}/browser.js ` +
      `--output-path ${out} --output-filename browser.js`,
  ),
  // It resolves no package by itself.
  ...sites(
    "Rollup",
    (entry, out) => `rollup ${entry}/browser.js --plugin node-resolve --dir ${out}`,
  ),
  ...sites("Rolldown", (entry, out) => `rolldown ${entry}/browser.js --dir ${out}`),
  ...sites("Parcel", (entry, out) => `parcel build ${entry}/index.html --dist-dir ${out}`),
  {
    name: "Parcel",
    package: "parcel",
    settings: { "@parcel/resolver-default": { packageExports: true } },
    build: "parcel build slim/index.html --dist-dir out/parcel/slim",
    checks: [
      { check: "slim, packageExports", site: "out/parcel/slim", hasLayer: true, hasKernel: false },
    ],
  },
  {
    name: "Parcel",
    package: "parcel",
    settings: { "@parcel/resolver-default": { packageExports: true } },
    build: "parcel build threads/index.html --dist-dir out/parcel/threads",
    checks: [
      {
        check: "threads, packageExports",
        site: "out/parcel/threads",
        hasLayer: true,
      },
    ],
  },
  {
    name: "Next.js (Turbopack)",
    package: "next",
    build: "next build",
    serve: "next start --hostname 127.0.0.1 --port PORT",
    checks: [
      { check: "client component", page: "/" },
      { check: "client component, threads", page: "/threads" },
      { check: "client component, threads, isolated", page: "/threads?isolated=yes" },
      { check: "route in Node", answer: "/node" },
      { check: "route in Node, threads", answer: "/node-threads" },
      { check: "edge route, bytes refused", answer: "/edge" },
      { check: "edge route, threads, bytes refused", answer: "/edge-threads" },
    ],
  },
];

/**
 * The whole program, one that imports inference alone, one that reads weights alone, and one with
 * threads.
 *
 * @param {string} name @param {(entry: string, out: string) => string} build
 * @returns {Bundler[]}
 */
function sites(name, build) {
  const bundler = name.toLowerCase();
  // Parcel reads no `exports` without a setting.
  const reads = bundler !== "parcel";
  /**
   * @param {string} check @param {"everything" | "inference" | "weights" | "threads"} entry
   * @returns {Bundler}
   */
  const site = (check, entry) => {
    const out = `out/${bundler}/${entry}`;
    const hasLayer = entry === "everything" || entry === "threads";
    // The program with threads imports the ordinary entry, too.
    const has = { hasLayer, hasKernel: entry !== "weights" };
    const checks = [{ check, site: out, ...has }];
    return { name, package: bundler, build: build(entry, out), checks };
  };
  return [
    site("build", "everything"),
    site("inference alone, without the layer", "inference"),
    site("weights alone, without the kernel", "weights"),
    ...(reads ? [site("threads", "threads")] : []),
  ];
}
