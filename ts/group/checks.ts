import { isCount } from "../core/checks.js";
import { type BatchNormErrorCode, fail, mustBe } from "../core/errors.js";

/** No tensor has more channels. */
const MOST = 0x4000_0000;

/** @throws BatchNormError `invalid-option` unless there can be so many groups */
export function checkGroups(groups: unknown, name: string, or = ""): void {
  if (!(isCount(groups) && groups > 0 && groups <= MOST)) {
    mustBe("invalid-option", name, `a whole number from 1 on${or}`, groups);
  }
}

/** @throws BatchNormError `code` unless channels can be in so many groups */
export function checkDivides(
  groups: number,
  channels: number,
  name: string,
  code: BatchNormErrorCode,
): void {
  if (channels % groups !== 0) fail(code, `${name} ${groups} does not divide ${channels} channels`);
}
