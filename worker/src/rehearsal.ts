// The app that a blank is given before anybody waits for it, and forgets.

export default {
  fetch(): Response {
    return new Response("rehearsed");
  },
};
