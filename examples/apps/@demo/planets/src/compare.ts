// A view of its own file: the build makes it a chunk that is fetched on first use.
import { html } from "./dom.ts";
import { type Planet, planets } from "./planets.ts";

const measures: [string, (planet: Planet) => number, string][] = [
  ["Diameter", (planet) => planet.diameter, "km"],
  ["Year", (planet) => planet.year, "days"],
  ["Moons", (planet) => planet.moons, ""],
];

export function compare(): Node {
  return html("section", { class: "compare" }, ...measures.map(([name, of, unit]) => chart(name, of, unit)));
}

function chart(name: string, of: (planet: Planet) => number, unit: string): HTMLElement {
  const most = Math.max(...planets.map(of));
  const rows = [...planets]
    .sort((a, b) => of(b) - of(a))
    .map((planet) =>
      html(
        "tr",
        {},
        html("th", { scope: "row" }, planet.name),
        html("td", {}, html("i", { style: `width:${((100 * of(planet)) / most).toFixed(1)}%;background:${planet.colour}` })),
        html("td", {}, `${of(planet).toLocaleString("en")} ${unit}`),
      ),
    );
  return html("table", {}, html("caption", {}, name), html("tbody", {}, ...rows));
}
