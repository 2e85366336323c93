// The entry: names the views and starts the router. The comparison is loaded when asked for.
import { html, svg } from "./dom.ts";
import { type Planet, planets } from "./planets.ts";
import { href, route, start } from "./router.ts";

route(/^\/$/, orbits);
route(/^\/planet\/([a-z]+)$/, (id) => {
  const planet = planets.find((candidate) => candidate.id === id);
  return planet ? details(planet) : html("p", {}, "No such planet.");
});
route(/^\/compare$/, async () => (await import("./compare.ts")).compare());

start(document.querySelector("main") as HTMLElement);

function orbits(): Node {
  const picture = svg("svg", { viewBox: "-105 -105 210 210", class: "orbits", role: "img", "aria-label": "The planets on their orbits" });
  picture.append(svg("circle", { r: 4, fill: "#ffd166" }));
  planets.forEach((planet, i) => {
    const radius = 14 + i * 12.5;
    const seconds = 4 + 8 * Math.log(1 + planet.year / 60);
    picture.append(
      svg("circle", { r: radius, class: "orbit" }),
      svg(
        "g",
        { class: "turning", style: `animation-duration:${seconds.toFixed(1)}s;animation-delay:-${(i * 7) % 30}s` },
        svg("circle", { cx: radius, r: 1.6 + Math.log10(planet.diameter / 4_000) * 1.8, fill: planet.colour }),
      ),
    );
  });
  const list = html("ul", { class: "cards" }, ...planets.map(card));
  return html("section", {}, picture, list);
}

function card(planet: Planet): HTMLElement {
  const link = html(
    "a",
    { href: href(`/planet/${planet.id}`), "data-route": "" },
    html("i", { style: `background:${planet.colour}` }),
    planet.name,
    html("small", {}, `${planet.distance} au`),
  );
  return html("li", {}, link);
}

function details(planet: Planet): Node {
  const at = planets.indexOf(planet);
  const facts: [string, string][] = [
    ["Distance from the Sun", `${planet.distance} au`],
    ["Diameter", `${planet.diameter.toLocaleString("en")} km`],
    ["Day", `${planet.day.toLocaleString("en")} hours`],
    ["Year", `${planet.year.toLocaleString("en")} days`],
    ["Known moons", String(planet.moons)],
  ];
  const step = (to: Planet | undefined, text: string) =>
    to ? html("a", { href: href(`/planet/${to.id}`), "data-route": "" }, text.replace("%", to.name)) : html("span");
  return html(
    "article",
    {},
    html("div", { class: "globe", style: `--colour:${planet.colour}` }),
    html("h1", {}, planet.name),
    html("p", {}, planet.note),
    html("dl", {}, ...facts.flatMap(([name, value]) => [html("dt", {}, name), html("dd", {}, value)])),
    html("footer", {}, step(planets[at - 1], "← %"), step(planets[at + 1], "% →")),
  );
}
