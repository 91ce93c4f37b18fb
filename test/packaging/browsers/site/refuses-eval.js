/** Whether a policy is in force here. */
export function refusesEval() {
  try {
    new Function("");
    return false;
  } catch {
    return true;
  }
}
