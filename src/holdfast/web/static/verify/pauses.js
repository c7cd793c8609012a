/* Long work as generators that pause: whoever runs one decides whether to breathe in between. */

/** Run something that pauses to its end at once. */
export function atOnce(steps) {
  for (;;) {
    const { value, done } = steps.next();
    if (done) return value;
  }
}

/* How long a page may be busy in one go, in milliseconds, before it looks at what its reader does. */
const SLICE = 30;

/** Run it in slices, giving way to everything else between them; `moved()` hears of each. */
export async function inSlices(steps, moved = () => {}) {
  for (;;) {
    const until = performance.now() + SLICE;
    while (performance.now() < until) {
      const { value, done } = steps.next();
      if (done) return value;
    }
    moved();
    await new Promise((resolve) => setTimeout(resolve));
  }
}
