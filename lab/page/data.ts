/** The data of a state; digits are fetched once, from beside the page. */
import { readDigits } from "../data/digits.js";
import { makeToy } from "../data/toys.js";
import type { Dataset } from "../engine/dataset.js";
import type { LabState } from "./state.js";

let digits: Promise<string> | null = null;

/** @throws Error where digits can't be fetched; the next call tries again */
export async function dataOf({ data, seed }: LabState): Promise<Dataset> {
  switch (data) {
    case "digits":
    case "images":
      digits ??= fetchText("digits.csv");
      try {
        return readDigits(await digits, data === "images");
      } catch (error) {
        digits = null;
        throw error;
      }
    default:
      return makeToy(data, seed);
  }
}

async function fetchText(address: string): Promise<string> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: ${response.status} ${response.statusText}`);
  return response.text();
}
