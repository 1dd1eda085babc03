import { retryAfterMs } from './backoff';
import { MOST_BODY_BYTES } from './batch';
import type { Row } from './queue';

/** What became of an attempt: HTTP status, or 0 without an answer; what Retry-After asked for. */
export type Outcome = [status: number, retryMs: number];

export type Post = (row: Row, leaving?: boolean) => Promise<Outcome>;

const PATIENCE_MS = 20_000;

async function gzip(text: string): Promise<ArrayBuffer | string> {
  try {
    return await new Response(new Response(text).body!.pipeThrough(new CompressionStream('gzip'))).arrayBuffer();
  } catch {
    return text;
  }
}

/** By XMLHttpRequest: for pages whose `fetch` is not the browser's. */
function byXhr(url: string, body: ArrayBuffer | string): Promise<Outcome> {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open('POST', url);
    request.timeout = PATIENCE_MS;
    request.onloadend = () =>
      resolve([request.status, retryAfterMs(request.getResponseHeader('retry-after'))]);
    request.send(body);
  });
}

/**
 * Sends batches. No header of ours: gzip is recognised by its first bytes, so that no browser asks for permission
 * first (each address with its own `sent_at` would be asked for anew). The browser's `fetch` is kept from the start,
 * whatever the page does to it later; where the page was first, XMLHttpRequest and beacons do.
 */
export function createPost(endpoint: string): Post {
  const url = `${endpoint.replace(/\/+$/, '')}/events/batch?sent_at=`;
  const native = /native code/.test(`${fetch}`) ? fetch.bind(window) : undefined;

  return async (row, leaving) => {
    const text = row.lost ? `${row.body.slice(0, -1)},"dropped":${JSON.stringify(row.lost)}}` : row.body;
    const body = leaving ? text : await gzip(text);
    const to = url + Date.now();
    try {
      if (!native) {
        if (!leaving) return await byXhr(to, body);
        navigator.sendBeacon(to, body);
        return [0, 0];
      }
      const answer = await native(to, {
        method: 'POST',
        body,
        credentials: 'omit',
        referrerPolicy: 'origin',
        redirect: 'error',
        // It outlives the page then. A page has 64 kB at a time for all of these: what failed once goes without.
        keepalive: row.key[2] <= MOST_BODY_BYTES && (leaving || !row.unsure),
        // Browsers that cannot set a limit have their own.
        signal: AbortSignal.timeout?.(PATIENCE_MS) ?? null,
      });
      return [answer.status, retryAfterMs(answer.headers.get('retry-after'))];
    } catch {
      return [0, 0];
    }
  };
}
