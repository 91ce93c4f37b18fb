import { report } from "./report.js";

const text = ({ textContent }) => textContent;

report(() => ({
  rows: Array.from(document.querySelectorAll("tbody tr"), ({ cells }) => Array.from(cells, text)),
  output: text(document.querySelector("output")),
}));
