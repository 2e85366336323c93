// A QR encoder for bytes: versions 1 to 10, error correction level M (a code stays readable
// with 15 % of it lost). Follows ISO/IEC 18004; section names are those of the standard.

/** What version 10 at level M holds. */
export const MAX_BYTES = 213;

// By version from 1: error correction codewords of each block, and how many blocks.
const CHECK_LENGTH = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5];
// By version from 1: where the centres of the alignment patterns lie.
const ALIGNMENT = [[], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50]];

const MASKS: ((x: number, y: number) => boolean)[] = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/** The modules of the smallest code that holds `bytes`, true for dark. */
export function encode(bytes: Uint8Array): boolean[][] {
  const version = smallestVersion(bytes.length);
  const codewords = interleave(dataCodewords(bytes, version), version);
  let best: QrSymbol | undefined;
  for (let mask = 0; mask < MASKS.length; mask++) {
    const symbol = new QrSymbol(version);
    symbol.drawFormat(mask);
    symbol.drawCodewords(codewords, MASKS[mask]!);
    if (!best || symbol.penalty() < best.penalty()) {
      best = symbol;
    }
  }
  return best!.modules;
}

// === Data: a header, the bytes, padding ===

function smallestVersion(length: number): number {
  for (let version = 1; version <= 10; version++) {
    if (headerBits(version) + 8 * length <= 8 * dataLength(version)) {
      return version;
    }
  }
  throw new RangeError(`more than ${MAX_BYTES} bytes`);
}

/** Four bits of mode and the character count. */
function headerBits(version: number): number {
  return 4 + (version < 10 ? 8 : 16);
}

function dataLength(version: number): number {
  return totalLength(version) - CHECK_LENGTH[version - 1]! * BLOCKS[version - 1]!;
}

/** All codewords of a version: its area less the function patterns, in whole bytes. */
function totalLength(version: number): number {
  const size = 17 + 4 * version;
  const centres = ALIGNMENT[version - 1]!.length;
  const finders = 3 * 64;
  const timing = 2 * (size - 16);
  // Three corners have no alignment pattern. Those on the timing lines share five modules with them.
  const alignment = centres === 0 ? 0 : 25 * (centres ** 2 - 3) - 10 * (centres - 2);
  const formats = 31 + (version >= 7 ? 36 : 0);
  return Math.floor((size * size - finders - timing - alignment - formats) / 8);
}

function dataCodewords(bytes: Uint8Array, version: number): Uint8Array {
  const bits: number[] = [];
  const push = (value: number, count: number) => {
    for (let i = count - 1; i >= 0; i--) {
      bits.push((value >> i) & 1);
    }
  };
  push(0b0100, 4);
  push(bytes.length, headerBits(version) - 4);
  for (const byte of bytes) {
    push(byte, 8);
  }
  const data = new Uint8Array(dataLength(version));
  push(0, Math.min(4, 8 * data.length - bits.length));
  push(0, -bits.length & 7);
  bits.forEach((bit, i) => {
    data[i >> 3]! |= bit << (7 - (i & 7));
  });
  for (let i = bits.length / 8, pad = 0xec; i < data.length; i++, pad ^= 0xec ^ 0x11) {
    data[i] = pad;
  }
  return data;
}

// === Error correction: Reed-Solomon over GF(256) ===

const EXP = new Uint8Array(255);
const LOG = new Uint8Array(256);
for (let i = 0, x = 1; i < 255; i++) {
  EXP[i] = x;
  LOG[x] = i;
  x = (x << 1) ^ (x & 0x80 ? 0x11d : 0);
}

function multiply(a: number, b: number): number {
  return a && b ? EXP[(LOG[a]! + LOG[b]!) % 255]! : 0;
}

/** The coefficients of (x - 2^0)(x - 2^1)…, the highest left out, as it is always 1. */
function generator(degree: number): Uint8Array {
  const result = new Uint8Array(degree);
  result[degree - 1] = 1;
  for (let i = 0; i < degree; i++) {
    for (let j = 0; j < degree; j++) {
      result[j] = multiply(result[j]!, EXP[i]!) ^ (result[j + 1] ?? 0);
    }
  }
  return result;
}

function checkCodewords(block: Uint8Array, divisor: Uint8Array): Uint8Array {
  const rest = new Uint8Array(divisor.length);
  for (const byte of block) {
    const factor = byte ^ rest[0]!;
    rest.copyWithin(0, 1);
    rest[rest.length - 1] = 0;
    divisor.forEach((coefficient, i) => {
      rest[i]! ^= multiply(coefficient, factor);
    });
  }
  return rest;
}

/** Cuts the data into blocks and takes a codeword of each in turn, so that a stain hits many a little. */
function interleave(data: Uint8Array, version: number): Uint8Array {
  const count = BLOCKS[version - 1]!;
  const short = Math.floor(data.length / count);
  const shortBlocks = count - (data.length % count);
  const divisor = generator(CHECK_LENGTH[version - 1]!);
  const blocks: Uint8Array[] = [];
  for (let i = 0, at = 0; i < count; i++) {
    const length = short + (i < shortBlocks ? 0 : 1);
    blocks.push(data.subarray(at, at + length));
    at += length;
  }
  const checks = blocks.map((block) => checkCodewords(block, divisor));
  const result: number[] = [];
  for (const group of [blocks, checks]) {
    const longest = Math.max(...group.map((block) => block.length));
    for (let i = 0; i < longest; i++) {
      for (const block of group) {
        if (i < block.length) {
          result.push(block[i]!);
        }
      }
    }
  }
  return Uint8Array.from(result);
}

// === The symbol ===

class QrSymbol {
  readonly size: number;
  readonly modules: boolean[][];
  /** Function patterns: neither data nor mask touch them. */
  readonly #fixed: boolean[][];

  constructor(readonly version: number) {
    this.size = 17 + 4 * version;
    const grid = () => Array.from({ length: this.size }, () => new Array<boolean>(this.size).fill(false));
    this.modules = grid();
    this.#fixed = grid();
    this.#drawPatterns();
  }

  #set(x: number, y: number, dark: boolean): void {
    this.modules[y]![x] = dark;
    this.#fixed[y]![x] = true;
  }

  #drawPatterns(): void {
    for (let i = 0; i < this.size; i++) {
      this.#set(6, i, i % 2 === 0);
      this.#set(i, 6, i % 2 === 0);
    }
    for (const [x, y] of [[3, 3], [this.size - 4, 3], [3, this.size - 4]] as const) {
      this.#drawRings(x, y, 4, (ring) => ring !== 2 && ring !== 4);
    }
    const centres = ALIGNMENT[this.version - 1]!;
    const last = centres.at(-1);
    for (const x of centres) {
      for (const y of centres) {
        const finder = (x === 6 && y === 6) || (x === 6 && y === last) || (x === last && y === 6);
        if (!finder) {
          this.#drawRings(x, y, 2, (ring) => ring !== 1);
        }
      }
    }
    if (this.version >= 7) {
      const bits = (this.version << 12) | remainder(this.version, 12, 0x1f25);
      for (let i = 0; i < 18; i++) {
        const far = this.size - 11 + (i % 3);
        const near = Math.floor(i / 3);
        this.#set(far, near, bit(bits, i));
        this.#set(near, far, bit(bits, i));
      }
    }
  }

  #drawRings(x: number, y: number, radius: number, dark: (ring: number) => boolean): void {
    for (let dy = -radius; dy <= radius; dy++) {
      for (let dx = -radius; dx <= radius; dx++) {
        if (this.#inside(x + dx) && this.#inside(y + dy)) {
          this.#set(x + dx, y + dy, dark(Math.max(Math.abs(dx), Math.abs(dy))));
        }
      }
    }
  }

  #inside(at: number): boolean {
    return at >= 0 && at < this.size;
  }

  /** Format information, twice: level M is 00, then the mask. */
  drawFormat(mask: number): void {
    const bits = ((mask << 10) | remainder(mask, 10, 0x537)) ^ 0x5412;
    for (let i = 0; i < 15; i++) {
      const dark = bit(bits, i);
      const row = i < 6 ? i : i < 8 ? i + 1 : this.size - 15 + i;
      const column = i < 8 ? this.size - 1 - i : i === 8 ? 7 : 14 - i;
      this.#set(8, row, dark);
      this.#set(column, 8, dark);
    }
    this.#set(8, this.size - 8, true);
  }

  /** Two columns at a time from the right, up and down in turn, past the timing column. */
  drawCodewords(codewords: Uint8Array, mask: (x: number, y: number) => boolean): void {
    let i = 0;
    for (let right = this.size - 1, up = true; right > 0; right -= 2, up = !up) {
      if (right === 6) {
        right = 5;
      }
      for (let step = 0; step < this.size; step++) {
        const y = up ? this.size - 1 - step : step;
        for (const x of [right, right - 1]) {
          if (!this.#fixed[y]![x]) {
            // Past the last codeword a few modules remain: they are light before the mask.
            const dark = i < 8 * codewords.length && bit(codewords[i >> 3]!, 7 - (i & 7));
            this.modules[y]![x] = dark !== mask(x, y);
            i++;
          }
        }
      }
    }
  }

  /** How hard the symbol is to read: runs, blocks, patterns like finders, imbalance. */
  penalty(): number {
    const rows = this.modules;
    const columns = rows.map((_, x) => rows.map((row) => row[x]!));
    let penalty = 0;
    let dark = 0;
    for (const line of [...rows, ...columns]) {
      const text = line.map(Number).join("");
      for (const run of text.match(/0{5,}|1{5,}/g) ?? []) {
        penalty += run.length - 2;
      }
      penalty += 40 * (text.match(/(?=10111010000|00001011101)/g)?.length ?? 0);
    }
    for (let y = 0; y < this.size; y++) {
      for (let x = 0; x < this.size; x++) {
        const module = rows[y]![x];
        dark += Number(module);
        if (module === rows[y]![x + 1] && module === rows[y + 1]?.[x] && module === rows[y + 1]?.[x + 1]) {
          penalty += 3;
        }
      }
    }
    return penalty + 10 * Math.floor(Math.abs((20 * dark) / this.size ** 2 - 10));
  }
}

function bit(value: number, index: number): boolean {
  return ((value >> index) & 1) === 1;
}

/** The remainder of `value * 2^degree` by a polynomial over GF(2). */
function remainder(value: number, degree: number, polynomial: number): number {
  let rest = value << degree;
  for (let i = 31 - Math.clz32(rest); i >= degree; i--) {
    if (bit(rest, i)) {
      rest ^= polynomial << (i - degree);
    }
  }
  return rest;
}
