/* One stream for all runs on the page. A hidden page holds no connection; a broken one comes back by itself. */

export class LiveRuns {
  #runs = [];
  #source = null;
  #timer = 0;

  /** `onRun(view)` for every newer view; `onTrouble({run, says, over})` while the gateway is silent. */
  constructor(onRun, onTrouble, limit = 12) {
    this.onRun = onRun;
    this.onTrouble = onTrouble;
    this.limit = limit;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.#open()));
    addEventListener("pagehide", () => this.#close());
  }

  /** Follow one more run; the oldest goes when there are too many. */
  follow(run) {
    if (this.#runs.includes(run)) return;
    this.#runs = [...this.#runs, run].slice(-this.limit);
    this.#restart();
  }

  /** Follow nothing. */
  clear() {
    this.#runs = [];
    this.#close();
  }

  #restart() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#close();
      this.#open();
    }, 0);
  }

  #open() {
    if (this.#source || document.hidden || !this.#runs.length) return;
    const query = this.#runs.map((run) => `run=${run}`).join("&");
    const source = new EventSource(`/events?${query}`);
    source.addEventListener("run", (event) => this.onRun(JSON.parse(event.data)));
    source.addEventListener("trouble", (event) => this.onTrouble(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      this.onTrouble({ run: null, says: "The panel does not answer. Trying again", over: false });
      if (source.readyState === EventSource.CLOSED && this.#source === source) {
        this.#source = null;
        this.#timer = setTimeout(() => this.#open(), 4_000);
      }
    });
    this.#source = source;
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }
}
