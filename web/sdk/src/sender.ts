import { delayAfter } from './backoff';
import { MOST_BODY_BYTES } from './batch';
import type { Key, Queue, Row } from './queue';
import type { Post } from './transport';

/**
 * Empties the queue into the collector, oldest first, one request at a time, waiting as long as it must. `name` is that
 * of a lock: one tab of a site sends at a time, where the browser can say so.
 */
export function createSender(queue: Queue, post: Post, name: string) {
  const busy = new Set<string>();
  let failures = 0;
  let waitUntil = 0;
  let asked = false;
  let stopped = false;
  let again = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let running: Promise<void> | undefined;

  const ready = (): boolean => !stopped && performance.now() >= waitUntil;

  /** Send it and do what the answer asks for; its key when it was acknowledged. */
  async function settle(row: Row, leaving?: boolean): Promise<Key | undefined> {
    const [status, retryMs] = await post(row, leaving);
    if (status === 202) {
      failures = 0;
      return row.key;
    }
    if (status >= 400 && status < 500 && status !== 429 && status !== 408) {
      await queue.drop(row.key, 'refused');
    } else {
      if (!status) await queue.doubt(row);
      const wait = delayAfter(++failures, retryMs);
      asked = retryMs > 0;
      waitUntil = performance.now() + wait;
      clearTimeout(timer);
      if (!stopped) timer = setTimeout(kick, wait + 1);
    }
    return undefined;
  }

  async function settleLeaving(row: Row): Promise<void> {
    busy.add(row.key[1]);
    try {
      const done = await settle(row, true);
      if (done) await queue.remove(done);
    } catch {
      // Nothing of ours may reach the page.
    }
    busy.delete(row.key[1]);
  }

  async function drain(): Promise<void> {
    try {
      again = false;
      let done: Key | undefined;
      while (ready() || done) {
        const row = await queue.next(busy, done);
        done = undefined;
        if (row && ready()) done = await settle(row);
        else break;
      }
    } catch {
      // Nothing of ours may reach the page.
    }
  }

  async function sendAll(): Promise<void> {
    try {
      await navigator.locks.request(name, drain);
    } catch {
      // No locks here. Then two tabs may send the same batch, and its id decides.
      await drain();
    }
    running = undefined;
    if (again) await kick();
  }

  /** Send what there is, if it is time; resolves when that was tried. */
  async function kick(): Promise<void> {
    again = true;
    if (ready()) await (running ??= sendAll());
  }

  return {
    kick,
    /** The network is back: what waits for it needs not wait longer; what the server asked for stands. */
    wake(): void {
      if (!asked) waitUntil = 0;
      void kick();
    },
    /** Send at once, without a lock, what outlives the page; the rest stays in the queue. */
    leave(rows: Row[]): void {
      let bytes = 0;
      for (const row of rows) {
        bytes += row.key[2];
        if (bytes > MOST_BODY_BYTES || !ready()) return;
        row.unsure = true;
        void settleLeaving(row);
      }
    },
    stop(): void {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
