/** The data of a state; digits are fetched once, from beside the page. */
import { readDigits } from "../data/digits.js";
import { makeGaps } from "../data/gaps.js";
import { makeSets } from "../data/sets.js";
import { makeToy } from "../data/toys.js";
import { changed, type Dataset } from "../engine/dataset.js";
import { datasetOf, type OwnTable } from "./own-table.js";
import type { LabState } from "./state.js";
import { texts } from "./texts.js";

let digits: Promise<string> | null = null;

/** @throws Error where digits can't be fetched (the next call tries again), or no table is there */
export async function dataOf(state: LabState, own: OwnTable | null): Promise<Dataset> {
  return changed(await asTheyWere(state, own), state);
}

async function asTheyWere({ data, seed }: LabState, own: OwnTable | null): Promise<Dataset> {
  switch (data) {
    case "table":
      if (own === null) throw new Error(texts.table.none);
      return datasetOf(own, seed);
    case "sets":
      return makeSets(seed);
    case "gaps":
      return makeGaps(seed);
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
