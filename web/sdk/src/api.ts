import type { Options } from '../isotherm';
import { forgetQueue } from './queue';
import { refused, remember } from './privacy';
import { forgetSession, queueName, run, type Running } from './run';
import { safe } from './safe';

let options: Options | undefined;
/** Between `init` and `stop`; a page that is still prepared does not run yet. */
let wanted = false;
let running: Running | undefined;

function end(): void {
  running?.stop(true);
  running = undefined;
  forgetSession();
  if (options) forgetQueue(queueName(options.client));
}

const start = safe(() => {
  if (running || !wanted || !options?.client || !options.endpoint) return;
  if (refused()) end();
  else running = run(options, end);
});

export const init = safe((given: Options): void => {
  if (running) return;
  options = given;
  wanted = true;
  // A page that is prepared in the background has no visitor yet.
  if ((document as { prerendering?: boolean }).prerendering) {
    document.addEventListener('prerenderingchange', start, { once: true });
  } else start();
});

export const track = safe((name: string, attrs?: object): void => running?.track(name, attrs));

export const flush = async (): Promise<void> => running?.flush();

export const optOut = safe((out: boolean | void = true): void => {
  remember(!!out);
  if (out) end();
  else start();
});

export const stop = safe((): void => {
  wanted = false;
  running?.stop();
  running = undefined;
});
