import { safe } from './safe';
import { shorten } from './text';

export type Screen = string | ((location: Location) => string) | undefined;

/** Of the 256 that the contract allows: the suffix of a layout must fit too. */
const MOST_BYTES = 236;
// Numbers, e-mail addresses; and with a digit: hex and UUIDs, long words without a hyphen, long tokens of mixed case.
const IDENTIFIER = /^\d+$|@|^(?=.*\d)(?:[\da-fA-F-]{8,}|\w{16,}|(?=.*[a-z])(?=.*[A-Z])[\w~.-]{20,})$/;

/** A path with what looks like an identifier (number, UUID, hex, long mixed token, e-mail address) as `:id`. */
export function template(path: string): string {
  return path
    .split('/')
    .map((part) => {
      // What is not valid UTF-8 is taken as it stands.
      const text = safe(decodeURIComponent)(part) ?? part;
      return IDENTIFIER.test(text) ? ':id' : text;
    })
    .join('/');
}

/** The path in a fragment that is a route (`#/users/7?tab=1` -> `#/users/7`); empty when it is none. */
export function hashRoute(hash: string): string {
  return /^#!?\//.test(hash) ? hash.replace(/\?.*/s, '') : '';
}

/** Name of the screen as the contract wants it: at most 236 bytes, no control characters, no `|`, never empty. */
export function screenId(screen: Screen, location: Location): string {
  const named: unknown = typeof screen === 'function' ? safe(screen)(location) : screen;
  const name = String(named || template(location.pathname + hashRoute(location.hash)) || '/');
  // oxlint-disable-next-line no-control-regex
  return shorten(name.replace(/[\u0000-\u001f\u007f-\u009f|\ud800-\udfff]/gu, '_'), MOST_BYTES);
}
