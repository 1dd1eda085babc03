import type { Listen } from './listen';

type Change = (this: History, ...given: Parameters<History['pushState']>) => void;

/** Calls back after every change of the address within the page. */
export function onRoute(changed: () => void, listen: Listen): void {
  const { navigation } = window as { navigation?: EventTarget };
  if (navigation) {
    listen(navigation, 'currententrychange', changed);
    return;
  }
  for (const name of ['pushState', 'replaceState'] as const) {
    const before: Change = history[name];
    // Not taken back in the end, as the page may have wrapped it since: `changed` is silent then.
    history[name] = function (...given) {
      before.apply(this, given);
      changed();
    };
  }
  for (const type of ['popstate', 'hashchange']) listen(window, type, changed);
}
