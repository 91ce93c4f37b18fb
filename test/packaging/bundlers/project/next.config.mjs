/** The two headers that README asks for, where the address says so. */
const headers = [
  { key: "Cross-Origin-Opener-Policy", value: "same-origin" },
  { key: "Cross-Origin-Embedder-Policy", value: "require-corp" },
];

export default {
  headers: async () => [
    { source: "/threads", has: [{ type: "query", key: "isolated", value: "yes" }], headers },
  ],
};
