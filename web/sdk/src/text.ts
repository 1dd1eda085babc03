const encoder = new TextEncoder();

/** Bytes of the text in UTF-8. */
export function bytesOf(text: string): number {
  return encoder.encode(text).length;
}

/** The longest start of the text that takes at most `most` bytes of UTF-8, whole characters only. */
export function shorten(text: string, most: number): string {
  return new TextDecoder().decode(encoder.encode(text).subarray(0, most)).replace(/\ufffd$/, '');
}
