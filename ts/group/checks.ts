import { type BatchNormErrorCode, fail } from "../core/errors.js";

/** @throws BatchNormError `code` unless channels can be in so many groups */
export function checkDivides(
  groups: number,
  channels: number,
  name: string,
  code: BatchNormErrorCode,
): void {
  if (channels % groups !== 0) fail(code, `${name} ${groups} does not divide ${channels} channels`);
}
