import { expectTypeOf, test } from 'vitest';
import type * as published from '../isotherm';
import * as api from '../src/api';

test('the published types are those of the code', () => {
  expectTypeOf(api.init).parameters.toEqualTypeOf<Parameters<typeof published.init>>();
  expectTypeOf(api.track).parameters.toEqualTypeOf<Parameters<typeof published.track>>();
  expectTypeOf(api.flush).toEqualTypeOf<typeof published.flush>();
  expectTypeOf(api.stop).parameters.toEqualTypeOf<Parameters<typeof published.stop>>();
  expectTypeOf<Parameters<typeof published.optOut>>().toExtend<Parameters<typeof api.optOut>>();
});
