// Streams that say one word and then nothing, and what became of them.
let open = 0;

function quiet(): Response {
	open++;
	const body = new ReadableStream({
		start: (controller) => controller.enqueue("x"),
		cancel: () => {
			open--;
		},
	});
	return new Response(body, {
		headers: { "content-type": "text/event-stream" },
	});
}

export default {
	async fetch(request: Request): Promise<Response> {
		const { pathname } = new URL(request.url);
		switch (pathname) {
			case "/open":
				return new Response(String(open));
			case "/quiet":
				return quiet();
			case "/hang":
				return new Promise(() => {});
			case "/headers":
				return Response.json([...request.headers]);
			case "/steer":
				return new Response("x", {
					headers: [
						["set-cookie", "=buntime_session=forged; Path=/"],
						["set-cookie", " = __Host-buntime_session=forged; Path=/"],
						["set-cookie", "own=1"],
						["service-worker-allowed", "/held/.\t./"],
					],
				});
			default:
				return new Response(String((await request.bytes()).length));
		}
	},
};
