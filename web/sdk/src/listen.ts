import { safe } from './safe';

/** Adds a listener for events of the browser's own (not those that scripts make up). */
export type Listen = <T extends Event>(target: EventTarget, type: string, listener: (event: T) => unknown) => void;

/** Listeners that are passive, come before the page's, throw nothing, and go with the signal. */
export const listenUntil =
  (signal: AbortSignal): Listen =>
  (target, type, listener) =>
    target.addEventListener(type, safe((event: Event) => event.isTrusted && listener(event as never)), {
      capture: true,
      passive: true,
      signal,
    });
