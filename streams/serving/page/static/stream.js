// The page's one connection: server-sent events, by band, and what is said of the connection itself.

// Calls `onState` with "live" or "lost", and each of `bands` with the latest object, at most once a frame. A frame never
// comes in a background tab: there the latest waits, and nothing piles up.
export function follow(address, bands, onState) {
  const latest = new Map();
  let isAsked = false;
  const show = () => {
    isAsked = false;
    for (const [band, data] of [...latest]) {
      latest.delete(band);
      bands[band](JSON.parse(data));
    }
  };
  let source;
  const open = () => {
    source = new EventSource(address);
    source.onopen = () => onState("live");
    source.onerror = () => {
      onState("lost");
      // After an answer that is no stream, such as that of a proxy without its door, the browser gives up; the page does not.
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 2000);
    };
    for (const band of Object.keys(bands)) {
      source.addEventListener(band, (event) => {
        latest.set(band, event.data);
        if (!isAsked) requestAnimationFrame(show);
        isAsked = true;
      });
    }
  };
  open();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && open());
}

export async function ask(path) {
  const response = await fetch(path);
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail || body.title || response.statusText);
  return body;
}
