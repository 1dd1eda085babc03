import type { Options } from '../isotherm';
import { batches, type View } from './batch';
import { capture, type Note } from './capture';
import { uuid } from './ids';
import { OPT_OUT, refused } from './privacy';
import { createQueue, type Row } from './queue';
import { createRecorder, whenIdle } from './recorder';
import { listenUntil } from './listen';
import { onRoute } from './route';
import { safe } from './safe';
import { hashRoute, screenId, template } from './screen';
import { createSender } from './sender';
import { createPost } from './transport';

declare const SDK_VERSION: string;

/** A little less than the second that events may wait for the queue. */
const FLUSH_MS = 900;
const MOST_WAITING = 200;
const MOST_ATTRS = 32_768;
const SESSION = 'isotherm.session';
/** What a page may name its events: as the contract says, but not like those that have a position. */
const EVENT_TYPE = /^(?!(?:mousemove|click|touch)$)[a-z][a-z0-9_.$-]{0,63}$/;

export const queueName = (client: string): string => `isotherm.${client}`;

export type Running = ReturnType<typeof run>;

function sessionId(): string {
  const fresh = uuid();
  return (
    safe(() => {
      // A tab that was duplicated goes on with the session of the first.
      const known = sessionStorage.getItem(SESSION) ?? fresh;
      sessionStorage.setItem(SESSION, known);
      return known;
    })() ?? fresh
  );
}

export function forgetSession(): void {
  safe(() => sessionStorage.removeItem(SESSION))();
}

/** Everything of one `init`, until it is stopped; calls `end` when the visitor refuses. */
export function run(options: Options, end: () => void) {
  const controller = new AbortController();
  const { signal } = controller;
  const listen = listenUntil(signal);
  const queue = createQueue(queueName(options.client));
  const sender = createSender(queue, createPost(options.endpoint), queueName(options.client));
  const recorder = createRecorder(options.region, queue.lose, signal);
  const common = { client_id: options.client, session_id: sessionId(), sdk: `isotherm-web/${SDK_VERSION}` };
  const underWay = new Set<Row>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let view: View;
  let route = '';

  const layouts = [...(options.breakpoints ?? [])]
    // oxlint-disable-next-line unicorn/no-array-sort -- toSorted is younger than the browsers this runs in
    .sort((a, b) => a - b)
    .map((width) => ({ width, wide: matchMedia(`(min-width:${width}px)`) }));
  const suffix = (): string => {
    const under = layouts.find((layout) => !layout.wide.matches);
    return under ? `@under-${under.width}` : '';
  };

  function record(note: Note): void {
    // Not at once: this runs in the page's listeners.
    if (recorder.add(note, view) === MOST_WAITING) whenIdle(flush);
    else later();
  }
  const later = (): void => {
    timer ??= setTimeout(() => whenIdle(flush), FLUSH_MS);
  };
  const { rested, settle } = capture(record, later, listen);

  /** All that was recorded, for the queue. */
  function gather(leaving?: boolean): Row[] {
    clearTimeout(timer);
    timer = undefined;
    if (leaving) settle();
    else rested();
    if (!refused()) return batches(recorder.take(leaving), common);
    end();
    return [];
  }

  /** Begin a page view where the route changed (or must count as changed), and new numbers where the layout did. */
  function arrive(again?: boolean): void {
    if (signal.aborted) return;
    const name = screenId(options.screen, location);
    const here = location.pathname + hashRoute(location.hash) + name;
    const screen = name + suffix();
    const fresh = again || here !== route;
    if (!fresh && screen === view.screen) return;
    settle();
    route = here;
    view = { screen, url: (location.origin + template(location.pathname)).slice(0, 2048) };
    if (fresh) record({ type: 'pageview', time: Date.now() });
  }

  async function flush(): Promise<void> {
    try {
      const rows = gather();
      for (const row of rows) underWay.add(row);
      await Promise.all(rows.map((row) => queue.put(row).finally(() => underWay.delete(row))));
      await sender.kick();
    } catch {
      // Nothing of ours may reach the page.
    }
  }

  /** The page may be gone in a moment: everything is handed over before this returns. */
  function leave(): void {
    const rows = gather(true);
    sender.leave(rows);
    queue.putNow([...underWay, ...rows]);
  }

  listen(document, 'visibilitychange', () => document.visibilityState === 'hidden' && leave());
  listen(window, 'pagehide', leave);
  listen(window, 'pageshow', (event: PageTransitionEvent) => event.persisted && arrive(true));
  listen(window, 'online', sender.wake);
  listen(window, 'storage', (event: StorageEvent) => event.key === OPT_OUT && refused() && end());
  for (const { wide } of layouts) listen(wide, 'change', () => arrive());
  onRoute(
    safe(() => arrive()),
    listen,
  );
  arrive(true);
  void sender.kick();

  return {
    flush,
    track(name: string, attrs?: object): void {
      if (!name || !EVENT_TYPE.test(name)) return queue.lose('bad_event_type');
      const text = safe(JSON.stringify)(attrs ?? {});
      if (!text || text.length > MOST_ATTRS) return queue.lose('bad_attrs');
      record({ type: name, time: Date.now(), attrs: attrs && (JSON.parse(text) as object) });
    },
    /** End it; what was recorded goes to the queue, or nowhere. */
    stop(forget?: boolean): void {
      settle();
      const rows = forget ? [] : gather();
      controller.abort();
      sender.stop();
      if (!forget) queue.putNow([...underWay, ...rows]);
      void queue.close();
    },
  };
}
