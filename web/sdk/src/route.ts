import type { Listen } from './listen';

type Change = (this: History, ...given: Parameters<History['pushState']>) => void;

/** Calls back after every change of the address within the page. */
export function onRoute(changed: () => void, listen: Listen, signal: AbortSignal): void {
  const { navigation } = window as { navigation?: EventTarget };
  if (navigation) {
    listen(navigation, 'currententrychange', changed);
    return;
  }
  for (const name of ['pushState', 'replaceState'] as const) {
    const before: Change = history[name];
    const wrapped: Change = function (...given) {
      before.apply(this, given);
      if (!signal.aborted) changed();
    };
    history[name] = wrapped;
    signal.addEventListener('abort', () => {
      // Who wrapped it after us keeps what it has; ours is silent then.
      if (history[name] === wrapped) history[name] = before;
    });
  }
  for (const type of ['popstate', 'hashchange']) listen(window, type, changed);
}
