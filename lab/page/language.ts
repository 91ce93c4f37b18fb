/**
 * uPlot makes a number format of the browser's language as it is loaded. WebKit gives there what the system
 * calls it, and a system without a language says "C", which is none: the page would not start.
 */
try {
  new Intl.NumberFormat(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en" });
}
