/** What is made when it is first needed, and then kept. @template T @param {() => T} make @returns {() => T} */
export function once(make) {
  /** @type {{ value: T } | undefined} */
  let made;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
