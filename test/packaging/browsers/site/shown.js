import { report } from "./report.js";

const text = ({ textContent }) => textContent;

// What takes its time says when it is done.
report(async () => {
  const { dataset } = document.body;
  while ("running" in dataset) await new Promise((resolve) => setTimeout(resolve, 50));
  return {
    rows: Array.from(document.querySelectorAll("tbody tr"), ({ cells }) => Array.from(cells, text)),
    output: text(document.querySelector("output")),
  };
});
