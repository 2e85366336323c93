// Client-side routes below the base that the app was built for. The server answers every
// path that is no file with index.html, so an address can be reloaded and shared.

declare const BASE: string;

export type View = (param: string) => Node | Promise<Node>;

const routes: [RegExp, View][] = [];

export function route(pattern: RegExp, view: View): void {
  routes.push([pattern, view]);
}

/** The address in the browser of a path within the app. */
export function href(path: string): string {
  return BASE + path.slice(1);
}

export function start(outlet: HTMLElement): void {
  const show = async () => {
    const path = `/${decodeURI(location.pathname).slice(BASE.length)}`;
    const [view, param] = find(path);
    outlet.replaceChildren(await view(param));
    for (const link of document.querySelectorAll<HTMLAnchorElement>("nav a")) {
      link.toggleAttribute("aria-current", link.dataset.path === path);
    }
    scrollTo(0, 0);
  };
  for (const link of document.querySelectorAll<HTMLAnchorElement>("a[data-route]")) {
    link.dataset.path = link.getAttribute("href") ?? "/";
    link.href = href(link.dataset.path);
  }
  document.addEventListener("click", (event) => {
    const link = (event.target as Element).closest<HTMLAnchorElement>("a[data-route]");
    if (link && !event.metaKey && !event.ctrlKey && !event.shiftKey && event.button === 0) {
      event.preventDefault();
      history.pushState(null, "", link.href);
      void show();
    }
  });
  addEventListener("popstate", () => void show());
  void show();
}

function find(path: string): [View, string] {
  for (const [pattern, view] of routes) {
    const match = pattern.exec(path);
    if (match) {
      return [view, match[1] ?? ""];
    }
  }
  return [() => document.createTextNode("There is nothing here."), ""];
}
