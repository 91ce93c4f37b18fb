/** What a WebAssembly module's bytes are read by. */

/** A place in a module, which goes on with what is read. */
export class Reader {
  /** @param {Uint8Array} wasm */
  constructor(wasm) {
    this.wasm = wasm;
    this.at = 8; // after magic and version
  }

  byte() {
    return this.wasm[this.at++] ?? 0;
  }

  /** An unsigned LEB128. */
  number() {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  /** Goes to what is in a section; `false` where there is none of this number. @param {number} wanted */
  enter(wanted) {
    while (this.at < this.wasm.length) {
      const section = this.byte();
      const size = this.number();
      if (section === wanted) return true;
      this.at += size;
    }
    return false;
  }
}
