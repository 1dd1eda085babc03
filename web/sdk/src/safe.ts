/** The function, with nothing thrown into the page whatever happens in it. */
export function safe<A extends unknown[], R>(work: (...given: A) => R): (...given: A) => R | undefined {
  return (...given) => {
    try {
      return work(...given);
    } catch {
      return undefined;
    }
  };
}
