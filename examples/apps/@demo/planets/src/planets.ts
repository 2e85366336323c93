// Figures rounded from public fact sheets. Distance in astronomical units, diameter in km,
// day in hours, year in days.

export type Planet = {
  id: string;
  name: string;
  colour: string;
  distance: number;
  diameter: number;
  day: number;
  year: number;
  moons: number;
  note: string;
};

export const planets: Planet[] = [
  { id: "mercury", name: "Mercury", colour: "#a9a29a", distance: 0.39, diameter: 4_879, day: 4_222.6, year: 88, moons: 0, note: "From one sunrise to the next take two of its years." },
  { id: "venus", name: "Venus", colour: "#e6c27a", distance: 0.72, diameter: 12_104, day: 2_802, year: 224.7, moons: 0, note: "Hotter than Mercury, under clouds of sulphuric acid." },
  { id: "earth", name: "Earth", colour: "#5fa8e8", distance: 1, diameter: 12_756, day: 24, year: 365.2, moons: 1, note: "The only one known to have web servers." },
  { id: "mars", name: "Mars", colour: "#d9694a", distance: 1.52, diameter: 6_792, day: 24.7, year: 687, moons: 2, note: "Its highest volcano is two and a half times Everest." },
  { id: "jupiter", name: "Jupiter", colour: "#d8a878", distance: 5.2, diameter: 142_984, day: 9.9, year: 4_331, moons: 95, note: "Heavier than all the other planets together, twice over." },
  { id: "saturn", name: "Saturn", colour: "#e8d3a0", distance: 9.57, diameter: 120_536, day: 10.7, year: 10_747, moons: 146, note: "Less dense than water." },
  { id: "uranus", name: "Uranus", colour: "#9ad8dd", distance: 19.17, diameter: 51_118, day: 17.2, year: 30_589, moons: 28, note: "Rolls along its orbit on its side." },
  { id: "neptune", name: "Neptune", colour: "#5b7fe0", distance: 30.18, diameter: 49_528, day: 16.1, year: 59_800, moons: 16, note: "Found with a pencil before it was seen." },
];
