/** What `init` takes. The script tag's data attributes say the same. */
export interface Options {
  /** Address of the collector, without the path. */
  endpoint: string;
  /** Whose data this is: the client id. */
  client: string;
  /** Name of the screen, or a function of the location; default: the path with identifiers templated. */
  screen?: string | ((location: Location) => string) | undefined;
  /** Selector of the element that coordinates are fractions of; default: the whole document. */
  region?: string | undefined;
  /** Viewport widths (CSS px) below which the page has another layout, and its own maps. */
  breakpoints?: readonly number[] | undefined;
}

/** Start. Does nothing when it runs already, or when the visitor does not want to be tracked. */
export function init(options: Options): void;
/** Record an event of your own: `[a-z][a-z0-9_.$-]{0,63}`, with anything that JSON can say. */
export function track(name: string, attrs?: object): void;
/** Write what was recorded to the queue and try to send the queue now; resolves when that was tried. */
export function flush(): Promise<void>;
/** Stop for good on this browser and forget what is queued; `optOut(false)` takes it back. */
export function optOut(out?: boolean): void;
/** Remove all listeners and timers; what is queued stays for the next `init`. */
export function stop(): void;
