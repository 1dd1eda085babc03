import { flush, init, optOut, stop, track } from './api';

/** The script tag: its data attributes start it; the page gets one global, `isotherm`. */
const page = window as { isotherm?: Record<string, unknown> };
const script = document.currentScript as HTMLScriptElement | null;

// A second tag on the same page must not count everything twice.
if (!page.isotherm?.['init']) {
  page.isotherm = { init, track, flush, optOut, stop };
  if (script?.dataset['client']) {
    const { client, endpoint, screen, region, breakpoints } = script.dataset;
    init({
      client: client!,
      endpoint: endpoint || new URL(script.src).origin,
      screen,
      region,
      breakpoints: breakpoints?.split(',').map(Number).filter((width) => width > 0),
    });
  }
}
