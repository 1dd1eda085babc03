/** The page that the address names is asked for before the frame is drawn, not after: it is the longest way. */

const PAGES: readonly (readonly [RegExp, () => Promise<unknown>])[] = [
  [/^\/c\/[^/]+\/map\/?$/, () => import("./pages/map")],
  [/^\/c\/[^/]+\/ledger\/?$/, () => import("./pages/ledger")],
  [/^\/c\/[^/]+\/?$/, () => import("./pages/screens")],
  [/^\/setup\/?$/, () => import("./pages/setup")],
  [/^\/system\/?$/, () => import("./pages/system")],
];

// Whoever shows the page asks again, and tells when it cannot be had.
PAGES.find(([address]) => address.test(location.pathname))?.[1]().catch(() => undefined);
