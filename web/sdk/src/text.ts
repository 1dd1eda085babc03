const encoder = new TextEncoder();

/** Bytes of the text in UTF-8. */
export function bytesOf(text: string): number {
  return encoder.encode(text).length;
}

/** The longest start of the text that takes at most `most` bytes of UTF-8, whole characters only. */
export function shorten(text: string, most: number): string {
  let kept = '';
  let left = most;
  for (const character of text) {
    left -= bytesOf(character);
    if (left < 0) break;
    kept += character;
  }
  return kept;
}
