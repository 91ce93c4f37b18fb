/**
 * How each bundler is run: the commands of its own introduction, without a configuration.
 *
 * A check looks at a `site` (a folder, opened in Chromium), a `program` (a file that
 * Node runs), or, of what `serve` started on a port, a `page` or an `answer`.
 *
 * @typedef {{ check: string, site?: string, program?: string, page?: string, answer?: string }} Check
 * @typedef {{ name: string, package: string, build?: string, serve?: string, checks: Check[] }} Bundler
 */

/** @type {Bundler[]} */
export const bundlers = [
  {
    name: "esbuild",
    package: "esbuild",
    build: "esbuild browser.js --bundle --outdir=out/esbuild",
    checks: [{ check: "build", site: "out/esbuild" }],
  },
  {
    name: "Vite",
    package: "vite",
    build: "vite build --outDir out/vite",
    checks: [{ check: "build", site: "out/vite" }],
  },
  {
    name: "Vite",
    package: "vite",
    serve: "vite --host 127.0.0.1 --strictPort --port PORT",
    checks: [{ check: "dev server", page: "/" }],
  },
  {
    name: "Vite",
    package: "vite",
    build: "vite build --ssr ssr.js --outDir out/vite-ssr",
    checks: [{ check: "SSR build, run by Node", program: "out/vite-ssr/ssr.js" }],
  },
  {
    name: "webpack",
    package: "webpack",
    build:
      "webpack --mode production --entry ./browser.js " +
      "--output-path out/webpack --output-filename browser.js",
    checks: [{ check: "build", site: "out/webpack" }],
  },
  {
    name: "Rollup",
    package: "rollup",
    // It resolves no package by itself.
    build: "rollup browser.js --plugin node-resolve --dir out/rollup",
    checks: [{ check: "build", site: "out/rollup" }],
  },
  {
    name: "Rolldown",
    package: "rolldown",
    build: "rolldown browser.js --dir out/rolldown",
    checks: [{ check: "build", site: "out/rolldown" }],
  },
  {
    name: "Parcel",
    package: "parcel",
    build: "parcel build index.html --dist-dir out/parcel",
    checks: [{ check: "build", site: "out/parcel" }],
  },
  {
    name: "Next.js (Turbopack)",
    package: "next",
    build: "next build",
    serve: "next start --hostname 127.0.0.1 --port PORT",
    checks: [
      { check: "client component", page: "/" },
      { check: "route in Node", answer: "/node" },
      { check: "edge route, bytes refused", answer: "/edge" },
    ],
  },
];
