/** A child process that answers requests, one JSON line each, one at a time. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** Lines of stderr that are kept to tell why a child ended. */
const LINES = 6;

export class Child {
  #process;
  #answers;
  #closed;
  /** @type {string[]} */
  #stderr = [];
  #ended = false;

  /** @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} env */
  constructor(command, args, env) {
    this.#process = spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] });
    this.#answers = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
    createInterface({ input: this.#process.stderr }).on("line", (line) => {
      if (line.trim()) this.#stderr = [...this.#stderr, line].slice(-LINES);
    });
    this.#closed = new Promise((resolve) => this.#process.on("close", resolve));
    this.#process.on("error", (error) => this.#stderr.push(error.message));
    // A child that ended is told by the answer that doesn't come.
    this.#process.stdin.on("error", () => {});
  }

  get ended() {
    return this.#ended;
  }

  /**
   * @param {object} request
   * @param {number} limit ms; a child that takes longer is ended
   * @returns {Promise<any>} the answer
   * @throws with what the child gave as an error, or its last words
   */
  request(request, limit) {
    this.#process.stdin.write(`${JSON.stringify(request)}\n`);
    return this.answer(limit);
  }

  /** The next line, as `request`. @param {number} limit @returns {Promise<any>} */
  async answer(limit) {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#process.kill("SIGKILL");
    }, limit);
    const { value, done } = await this.#answers.next();
    clearTimeout(timer);
    if (done) {
      await this.close();
      throw new Error(late ? `no answer in ${limit / 1000} s` : this.#lastWords());
    }
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(answer.error);
    return answer;
  }

  /** Ends with all that the child wrote read. */
  async close() {
    this.#ended = true;
    this.#process.stdin.end();
    // One that hangs doesn't read the end of its input.
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), 5000);
    await this.#closed;
    clearTimeout(timer);
  }

  #lastWords() {
    const { exitCode, signalCode } = this.#process;
    return this.#stderr.join("\n") || `ended with ${signalCode ?? `status ${exitCode}`}`;
  }
}
