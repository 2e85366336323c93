// The two looks of a code. `modules[row][column]` is true where it is dark.

/** The standard asks for four light modules around the code. */
const QUIET = 4;

export function toSvg(modules: boolean[][]): string {
  const size = modules.length + 2 * QUIET;
  // One path for all dark modules, a run of them at a time, keeps the file small.
  let path = "";
  modules.forEach((row, y) => {
    for (let x = 0; x < row.length; x++) {
      const start = x;
      while (row[x]) {
        x++;
      }
      if (x > start) {
        path += `M${start + QUIET} ${y + QUIET}h${x - start}v1h-${x - start}z`;
      }
    }
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges">
<path fill="#fff" d="M0 0h${size}v${size}H0z"/><path d="${path}"/>
</svg>
`;
}

/** Two modules, one above the other, fit one character of a terminal. Light is drawn, dark is not. */
export function toText(modules: boolean[][]): string {
  const light = (x: number, y: number) => !modules[y]?.[x];
  let text = "";
  for (let y = -QUIET; y < modules.length + QUIET; y += 2) {
    for (let x = -QUIET; x < modules.length + QUIET; x++) {
      text += light(x, y) ? (light(x, y + 1) ? "█" : "▀") : light(x, y + 1) ? "▄" : " ";
    }
    text += "\n";
  }
  return text;
}
