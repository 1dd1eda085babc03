// Requests have one listener each, and this is the shorter way to say so.
/* oxlint-disable unicorn/prefer-add-event-listener */
import { safe } from './safe';

/** Events that were dropped, by reason. */
export type Drops = Record<string, number>;
/** When it was made, its id, its bytes, its events: what must be known of a batch without reading it. */
export type Key = [made: number, id: string, bytes: number, events: number];

/**
 * A batch as it waits. `body` is JSON without `dropped`, `lost` goes out as its `dropped`; `unsure` is set when an
 * attempt got no answer, so that it may have arrived.
 */
export interface Row {
  key: Key;
  body: string;
  lost?: Drops;
  unsure?: boolean;
}

export const MOST_BATCHES = 500;
export const MOST_BYTES = 4_000_000;
export const MOST_AGE_MS = 23 * 3_600_000;
const OPEN_MS = 2000;
const NAMES = ['batches', 'losses'];

/** What is used of an object store; in memory it answers at once. */
interface Store {
  getAllKeys(): unknown;
  get(key: Key): unknown;
  getAll(): unknown;
  put(value: object): unknown;
  add(value: object): unknown;
  delete(key: Key): unknown;
  clear(): unknown;
}
type Work<T> = (batches: Store, losses: Store) => Promise<T>;

export type Queue = ReturnType<typeof createQueue>;

/** The result of a request, or the value itself where no request was needed. */
const ask = async <T>(asked: unknown): Promise<T> => {
  const request = asked as IDBRequest<T> | undefined;
  return request?.readyState
    ? new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      })
    : (asked as T);
};

function inMemory(): Store {
  const values = new Map<unknown, object>();
  const put = (value: object): unknown => values.set((value as Partial<Row>).key ?? value, value);
  return {
    getAllKeys: () => [...values.keys()],
    get: (key) => values.get(key),
    getAll: () => [...values.values()],
    put,
    add: put,
    delete: (key) => values.delete(key),
    clear: () => values.clear(),
  };
}

/** Adds up two records of drops, into the first. */
export function merge(into: Drops, more: Drops | undefined): Drops {
  for (const reason in more) into[reason] = (into[reason] ?? 0) + more[reason]!;
  return into;
}

/** The database; undefined where there is none to be had (blocked, private, broken, or mute for two seconds). */
async function open(name: string): Promise<IDBDatabase | undefined> {
  try {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('batches', { keyPath: 'key' });
      request.result.createObjectStore('losses', { autoIncrement: true });
    };
    return await Promise.race([
      ask<IDBDatabase>(request),
      new Promise<undefined>((resolve) => {
        setTimeout(() => {
          // Too late from now on: left open, it would keep others from deleting it.
          request.onsuccess = () => request.result.close();
          resolve(undefined);
        }, OPEN_MS);
      }),
    ]);
  } catch {
    return undefined;
  }
}

/** Take a batch out: its events under the reason, and what it had to tell itself; nothing when another tab did. */
async function drop(batches: Store, key: Key, reason: string): Promise<Drops> {
  const row = await ask<Row | undefined>(batches.get(key));
  if (!row) return {};
  batches.delete(key);
  return merge({ [row.unsure ? 'unsure' : reason]: key[3] }, row.lost);
}

/** Delete the database with all that waits in it. */
export const forgetQueue = safe((name: string) => indexedDB.deleteDatabase(name));

/**
 * The batches that wait to be acknowledged, in IndexedDB, or in memory where that cannot be had. Bounded: what is
 * dropped is counted in the transaction that drops it, and travels with one later batch, moved there in one
 * transaction too; so it is neither lost nor told twice, whatever tab or page dies when.
 */
export function createQueue(name: string) {
  const memory = [inMemory(), inMemory()] as const;
  let db: IDBDatabase | undefined;
  const hurried = new WeakSet<Row>();
  let pageLosses: Drops = {};
  /** Whether losses may be stored that nobody told yet: those of former pages, and our own. Other tabs tell theirs. */
  let untold = true;

  const begin = (): IDBTransaction => db!.transaction(NAMES, 'readwrite');

  async function attempt<T>(work: Work<T>): Promise<T> {
    if (db) {
      let tx: IDBTransaction | undefined;
      try {
        tx = begin();
        const ended = tx;
        const done = new Promise((resolve, reject) => {
          ended.oncomplete = resolve;
          ended.onabort = reject;
        });
        // A failing request rejects the work too; here it must not count as unhandled.
        done.catch(() => {});
        const result = await work(tx.objectStore('batches'), tx.objectStore('losses'));
        await done;
        return result;
      } catch {
        // Full, or taken away by the user: this page goes on from memory, what is stored waits for the next.
        safe(() => tx?.abort())();
        db?.close();
        db = undefined;
      }
    }
    return work(...memory);
  }

  // The first work waits for the database; one at a time: in memory nothing else keeps two transactions apart.
  let last: Promise<unknown> = open(name).then((opened): unknown => {
    db = opened;
    if (opened) opened.onversionchange = () => opened.close();
    // What came before it was open (the page was hidden early).
    memory.forEach((store, which) => {
      for (const value of store.getAll() as object[]) add(which, value);
      if (opened) store.clear();
    });
    return opened;
  });
  const run = <T>(work: Work<T>): Promise<T> => {
    const result = last.then(() => attempt(work));
    last = result.catch(() => {});
    return result;
  };

  /** Hand a value over before returning. Never over one that is there: it may carry losses that this one does not. */
  function add(which: number, value: object): void {
    untold = true;
    try {
      const tx = begin();
      tx.objectStore(NAMES[which]!).add(value);
      tx.commit();
    } catch {
      memory[which]!.add(value);
    }
  }

  function keepLoss(losses: Store, lost: Drops): void {
    untold = true;
    losses.add(lost);
  }

  function takeLosses(): Drops {
    const taken = pageLosses;
    pageLosses = {};
    return taken;
  }

  return {
    /** Count an event that never came into a batch; told with the next one. */
    lose(reason: string): void {
      merge(pageLosses, { [reason]: 1 });
    },

    /** Store a batch, with everything that was dropped so far; drop the oldest where it does not fit. */
    put(row: Row): Promise<void> {
      const own = takeLosses();
      return run(async (batches, losses) => {
        if (hurried.has(row)) {
          // `putNow` was faster, and it may have been sent since: what it would tell now could get lost.
          keepLoss(losses, own);
          return;
        }
        const lost = { ...own };
        const keys = await ask<Key[]>(batches.getAllKeys());
        if (untold) {
          for (const told of await ask<Drops[]>(losses.getAll())) merge(lost, told);
          losses.clear();
          untold = false;
        }
        let bytes = keys.reduce((sum, key) => sum + key[2], row.key[2]);
        // The very oldest is spared: it may be on its way, and would be counted twice.
        while (keys.length > 1 && (keys.length >= MOST_BATCHES || bytes > MOST_BYTES)) {
          const [key] = keys.splice(1, 1);
          merge(lost, await drop(batches, key!, 'queue_full'));
          bytes -= key![2];
        }
        batches.put(Object.keys(lost).length ? { ...row, lost } : row);
      });
    },

    /** Store batches while the page goes away: everything is handed over before this returns. */
    putNow(rows: Row[]): void {
      for (const row of rows) {
        hurried.add(row);
        add(0, row);
      }
      const own = takeLosses();
      if (Object.keys(own).length) add(1, own);
    },

    /** Take `done` out; the oldest batch that is not in `busy`. Those that are too old are dropped on the way. */
    next: (busy: Set<string>, done?: Key): Promise<Row | undefined> =>
      run(async (batches, losses) => {
        if (done) batches.delete(done);
        for (const key of await ask<Key[]>(batches.getAllKeys())) {
          if (busy.has(key[1])) continue;
          if (Math.abs(Date.now() - key[0]) <= MOST_AGE_MS) return ask(batches.get(key));
          keepLoss(losses, await drop(batches, key, 'too_old'));
        }
        return undefined;
      }),

    /** Take out what was acknowledged. */
    remove: (key: Key) => run(async (batches) => void batches.delete(key)),

    /** Remember that an attempt got no answer. */
    doubt: (row: Row) =>
      run(async (batches) => {
        if (!row.unsure && (await ask(batches.get(row.key)))) batches.put({ ...row, unsure: true });
      }),

    /** Drop one and count its events under the reason; nothing when another tab did. */
    drop: (key: Key, reason: string) =>
      run(async (batches, losses) => keepLoss(losses, await drop(batches, key, reason))),

    close: () => run(async () => db?.close()),
  };
}
