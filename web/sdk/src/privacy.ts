import { safe } from './safe';

export const OPT_OUT = 'isotherm.optout';

let outHere: boolean | undefined;

/** Whether nothing may be sent or stored: Do Not Track, Global Privacy Control, or the visitor's own word. */
export function refused(): boolean {
  const asked = navigator as Navigator & { globalPrivacyControl?: boolean };
  const stored = safe(() => localStorage.getItem(OPT_OUT))();
  return !!(asked.doNotTrack === '1' || asked.globalPrivacyControl || stored || outHere);
}

/** Remember the visitor's word; where storage is blocked, for this page only. */
export function remember(out: boolean): void {
  outHere = out;
  safe(() => (out ? localStorage.setItem(OPT_OUT, '1') : localStorage.removeItem(OPT_OUT)))();
}
