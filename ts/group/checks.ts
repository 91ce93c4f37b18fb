import { isCount } from "../core/checks.js";
import { mustBe } from "../core/errors.js";

/** @throws BatchNormError `invalid-option` unless there can be so many groups */
export function checkGroups(groups: unknown, name: string, or = ""): void {
  if (!(isCount(groups) && groups > 0)) {
    mustBe("invalid-option", name, `a whole number from 1 on${or}`, groups);
  }
}
