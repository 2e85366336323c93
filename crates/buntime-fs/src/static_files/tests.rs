use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;

const PAGE: &str = "<!doctype html><title>page</title>";

struct Fixture {
    temp: TempDir,
    site: StaticSite,
    cache: Arc<FileCache>,
}

impl Fixture {
    fn new() -> Self {
        let temp = TempDir::new().unwrap();
        let cache = Arc::new(FileCache::new(8 << 20));
        write(temp.path(), "index.html", PAGE);
        let site = StaticSite::new(
            Root::open(temp.path()).unwrap(),
            StaticOptions {
                entry: "index.html".parse().unwrap(),
                source_maps: SourceMaps::Hidden,
                cache: Arc::clone(&cache),
            },
        );
        Self { temp, site, cache }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        write(self.temp.path(), name, content);
    }

    fn touch(&self, name: &str, modified: SystemTime) {
        let file = fs::File::options()
            .write(true)
            .open(self.temp.path().join(name))
            .unwrap();
        file.set_modified(modified).unwrap();
    }

    async fn get(&self, path: &str) -> StaticResponse {
        self.ask(StaticRequest {
            path: path.as_bytes(),
            ..Default::default()
        })
        .await
    }

    async fn ask(&self, request: StaticRequest<'_>) -> StaticResponse {
        self.site.respond(&request).await
    }
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

async fn body(response: StaticResponse) -> Vec<u8> {
    let content = match response.body {
        StaticBody::Empty => Vec::new(),
        StaticBody::Bytes(bytes) => bytes.to_vec(),
        StaticBody::File(mut file) => {
            let mut content = Vec::new();
            while let Some(block) = file.next().await {
                content.extend_from_slice(&block.unwrap());
            }
            content
        }
    };
    if let Some(length) = response.length {
        assert_eq!(content.len() as u64, length);
    }
    content
}

/// What a client saw: outcome and body.
async fn seen(response: StaticResponse) -> (Outcome, Vec<u8>) {
    let outcome = response.outcome;
    (outcome, body(response).await)
}

fn page() -> (Outcome, Vec<u8>) {
    (Outcome::Full, PAGE.into())
}

#[tokio::test]
async fn serves_files_by_decoded_names() {
    let site = Fixture::new();
    site.write("a b.txt", "space");
    site.write("café.js", "accent");
    site.write("deep/er/x.css", "css");
    assert_eq!(
        seen(site.get("/a%20b.txt").await).await,
        (Outcome::Full, b"space".to_vec())
    );
    assert_eq!(seen(site.get("caf%C3%A9.js").await).await.1, b"accent");
    let css = site.get("/deep/er/x.css").await;
    assert_eq!(
        css.headers.get("content-type"),
        Some("text/css; charset=utf-8")
    );
    assert_eq!(css.headers.get("x-content-type-options"), Some("nosniff"));
    assert_eq!(css.headers.get("accept-ranges"), Some("bytes"));
    assert_eq!(css.headers.get("cache-control"), Some("no-cache"));
    assert_eq!(css.headers.get("vary"), None);
    assert_eq!(
        site.get("/deep%2fer%2fx.css").await.outcome,
        Outcome::NotFound
    );
}

#[tokio::test]
async fn missing_paths_are_the_entry_page_for_navigations_only() {
    let site = Fixture::new();
    for navigation in ["", "/", "/users/7", "/users/", "/%zz", "/a/../../b"] {
        assert_eq!(
            seen(site.get(navigation).await).await,
            page(),
            "{navigation}"
        );
    }
    for file in [
        "/missing.js",
        "/a/b.png",
        "/index.html/x.js",
        "/..%2f..%2fetc/x.js",
        "/%00.js",
    ] {
        assert_eq!(site.get(file).await.outcome, Outcome::NotFound, "{file}");
    }
    let browser = StaticRequest {
        path: b"/missing.js",
        accept: Some(b"text/html,*/*;q=0.8"),
        ..Default::default()
    };
    assert_eq!(seen(site.ask(browser).await).await, page());
    fs::remove_file(site.temp.path().join("index.html")).unwrap();
    let empty = TempDir::new().unwrap();
    let options = site.site.shared.options.clone();
    let without_page = StaticSite::new(Root::open(empty.path()).unwrap(), options);
    let request = StaticRequest::default();
    assert_eq!(
        without_page.respond(&request).await.outcome,
        Outcome::NotFound
    );
}

#[tokio::test]
async fn an_app_is_served_from_the_folder_of_its_page() {
    let temp = TempDir::new().unwrap();
    write(temp.path(), "dist/main.html", PAGE);
    write(temp.path(), "source.txt", "above");
    let app = || Root::open(temp.path()).unwrap();
    let open = |entry: &str| {
        let entry = entry.parse().unwrap();
        StaticSite::of_app(
            app(),
            &entry,
            SourceMaps::Hidden,
            Arc::new(FileCache::new(1 << 20)),
        )
    };
    let site = open("dist/main.html").unwrap();
    for (path, expected) in [("/", Outcome::Full), ("/source.txt", Outcome::NotFound)] {
        let request = StaticRequest {
            path: path.as_bytes(),
            ..Default::default()
        };
        assert_eq!(site.respond(&request).await.outcome, expected, "{path}");
    }
    assert!(open("none/index.html").is_err());
    assert!(open("index.html").is_ok());
}

#[tokio::test]
async fn private_files_and_links_are_never_sent() {
    let site = Fixture::new();
    let outside = TempDir::new().unwrap();
    write(outside.path(), "secret.txt", "secret");
    for private in [
        ".env",
        ".git/config",
        "manifest.yaml",
        "package.json",
        "package.json.gz",
        "node_modules/x/i.js",
        "app.js.map",
    ] {
        site.write(private, "secret");
        let response = site.get(&format!("/{private}")).await;
        let (outcome, content) = seen(response).await;
        assert!(
            outcome == Outcome::NotFound || content == PAGE.as_bytes(),
            "{private}"
        );
    }
    symlink("/etc/passwd", site.temp.path().join("link.txt")).unwrap();
    symlink(outside.path(), site.temp.path().join("folder")).unwrap();
    symlink("index.html", site.temp.path().join("inside.txt")).unwrap();
    for link in ["/link.txt", "/folder/secret.txt", "/inside.txt"] {
        assert_eq!(site.get(link).await.outcome, Outcome::NotFound, "{link}");
    }
    assert_eq!(seen(site.get("/folder").await).await, page());
}

#[tokio::test]
async fn folders_answer_with_their_page_after_a_relative_redirect() {
    let site = Fixture::new();
    site.write("docs/index.html", "docs");
    site.write("javascript:x/index.html", "colon");
    fs::create_dir(site.temp.path().join("bare")).unwrap();
    let redirect = site.get("/docs").await;
    assert_eq!(redirect.outcome, Outcome::Redirect);
    assert_eq!(redirect.headers.get("location"), Some("./docs/"));
    assert_eq!(
        seen(site.get("/docs/").await).await,
        (Outcome::Full, b"docs".to_vec())
    );
    let asked = StaticRequest {
        path: b"/javascript:x",
        query: Some(b"a=b&c=<d>"),
        ..Default::default()
    };
    let redirect = site.ask(asked).await;
    assert_eq!(
        redirect.headers.get("location"),
        Some("./javascript:x/?a=b&c=%3Cd%3E")
    );
    assert_eq!(seen(site.get("/bare").await).await, page());
    assert_eq!(seen(site.get("/bare/").await).await, page());
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    let site = Fixture::new();
    let head = StaticRequest {
        method: StaticMethod::Head,
        range: Some(b"bytes=0-1"),
        ..Default::default()
    };
    let head = site.ask(head).await;
    assert_eq!(
        (head.outcome, head.length),
        (Outcome::Full, Some(PAGE.len() as u64))
    );
    assert!(matches!(head.body, StaticBody::Empty));
    let post = StaticRequest {
        method: StaticMethod::Other,
        ..Default::default()
    };
    let post = site.ask(post).await;
    assert_eq!(post.outcome, Outcome::MethodNotAllowed);
    assert_eq!(post.headers.get("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn ranges_of_small_and_large_files() {
    let site = Fixture::new();
    let large: Vec<u8> = (0..400_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    site.write("small.bin", &large[..1000]);
    site.write("large.bin", &large);
    site.write("empty.bin", "");
    for (name, size) in [("small.bin", 1000), ("large.bin", large.len())] {
        assert_eq!(body(site.get(name).await).await, &large[..size]);
        let ranges = [
            ("bytes=10-19", 10..20),
            ("bytes=-5", size - 5..size),
            ("bytes=990-", 990..size),
        ];
        for (range, expected) in ranges {
            let request = StaticRequest {
                path: name.as_bytes(),
                range: Some(range.as_bytes()),
                ..Default::default()
            };
            let response = site.ask(request).await;
            assert_eq!(response.outcome, Outcome::Partial);
            let content_range = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
            assert_eq!(response.headers.get("content-range"), Some(&*content_range));
            assert_eq!(body(response).await, &large[expected], "{name} {range}");
        }
        let outside = StaticRequest {
            path: name.as_bytes(),
            range: Some(b"bytes=400000-"),
            ..Default::default()
        };
        let response = site.ask(outside).await;
        assert_eq!(response.outcome, Outcome::RangeNotSatisfiable);
        assert_eq!(
            response.headers.get("content-range"),
            Some(&*format!("bytes */{size}"))
        );
        let several = StaticRequest {
            range: Some(b"bytes=0-1,5-6"),
            ..outside
        };
        assert_eq!(site.ask(several).await.outcome, Outcome::Full);
    }
    assert_eq!(
        seen(site.get("empty.bin").await).await,
        (Outcome::Full, Vec::new())
    );
}

#[tokio::test]
async fn conditions_are_judged() {
    let site = Fixture::new();
    let first = site.get("/").await;
    let etag = first.headers.get("etag").unwrap().to_owned();
    let modified = first.headers.get("last-modified").unwrap().to_owned();
    let not_modified = StaticRequest {
        if_none_match: Some(etag.as_bytes()),
        ..Default::default()
    };
    let response = site.ask(not_modified).await;
    assert_eq!(
        (response.outcome, response.length),
        (Outcome::NotModified, None)
    );
    assert_eq!(response.headers.get("etag"), Some(&*etag));
    assert_eq!(response.headers.get("cache-control"), Some("no-cache"));
    assert!(matches!(response.body, StaticBody::Empty));
    let since = StaticRequest {
        if_modified_since: Some(modified.as_bytes()),
        ..Default::default()
    };
    assert_eq!(site.ask(since).await.outcome, Outcome::NotModified);
    let failing = StaticRequest {
        if_match: Some(b"\"other\""),
        ..Default::default()
    };
    assert_eq!(site.ask(failing).await.outcome, Outcome::PreconditionFailed);
    let other_version = StaticRequest {
        range: Some(b"bytes=0-3"),
        if_range: Some(b"\"other\""),
        ..Default::default()
    };
    assert_eq!(seen(site.ask(other_version).await).await, page());
    let this_version = StaticRequest {
        if_range: Some(etag.as_bytes()),
        ..other_version
    };
    assert_eq!(site.ask(this_version).await.outcome, Outcome::Partial);
}

#[tokio::test]
async fn precompressed_siblings_are_chosen_by_weight_and_age() {
    let site = Fixture::new();
    site.write("app.js", "plain content");
    site.write("app.js.br", "br");
    site.write("app.js.gz", "gzip");
    let ask = |accepted| StaticRequest {
        path: b"app.js",
        accept_encoding: Some(accepted),
        ..Default::default()
    };
    for (accepted, coding, content) in [
        (&b"gzip, br"[..], Some("br"), &b"br"[..]),
        (b"gzip;q=0.9, br;q=0.1", Some("gzip"), b"gzip"),
        (b"br;q=0, gzip", Some("gzip"), b"gzip"),
        (b"zstd", None, b"plain content"),
        (b"identity, br;q=0", None, b"plain content"),
        (b"*", Some("br"), b"br"),
    ] {
        let response = site.ask(ask(accepted)).await;
        assert_eq!(response.headers.get("content-encoding"), coding);
        assert_eq!(
            response.headers.get("content-type"),
            Some("text/javascript; charset=utf-8")
        );
        assert_eq!(response.headers.get("vary"), Some("accept-encoding"));
        assert_eq!(body(response).await, content);
    }
    let plain = site.get("app.js").await;
    let coded = site.ask(ask(b"br")).await;
    assert_eq!(plain.headers.get("vary"), Some("accept-encoding"));
    assert_ne!(plain.headers.get("etag"), coded.headers.get("etag"));
    // Made before the file was last changed.
    site.write("old.css", "new content");
    site.write("old.css.gz", "old");
    site.touch("old.css.gz", SystemTime::now() - Duration::from_secs(60));
    let stale = StaticRequest {
        path: b"old.css",
        ..ask(b"gzip")
    };
    assert_eq!(body(site.ask(stale).await).await, b"new content");
}

#[tokio::test]
async fn hashed_names_are_kept_for_a_year() {
    let site = Fixture::new();
    site.write("assets/index-BX2k3jd8.js", "");
    let response = site.get("assets/index-BX2k3jd8.js").await;
    let expected = Some("public, max-age=31536000, immutable");
    assert_eq!(response.headers.get("cache-control"), expected);
    assert_eq!(
        site.get("/").await.headers.get("cache-control"),
        Some("no-cache")
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_within_a_second() {
    let site = Fixture::new();
    site.write("a.txt", "one");
    assert_eq!(body(site.get("a.txt").await).await, b"one");
    assert_eq!(site.get("new.txt").await.outcome, Outcome::NotFound);
    site.write("a.txt", "two and longer");
    site.write("new.txt", "new");
    // Fresh enough not to look.
    assert_eq!(body(site.get("a.txt").await).await, b"one");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(body(site.get("a.txt").await).await, b"two and longer");
    assert_eq!(body(site.get("new.txt").await).await, b"new");
    fs::remove_file(site.temp.path().join("a.txt")).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(site.get("a.txt").await.outcome, Outcome::NotFound);
}

#[tokio::test(start_paused = true)]
async fn an_ageing_file_is_sent_while_it_is_looked_at_again() {
    let site = Fixture::new();
    site.write("a.txt", "one");
    assert_eq!(body(site.get("a.txt").await).await, b"one");
    site.write("a.txt", "two and longer");
    tokio::time::advance(Duration::from_millis(600)).await;
    // Never waits: the first answer is the known one.
    assert_eq!(body(site.get("a.txt").await).await, b"one");
    // The look in the background holds a permit until its finding is kept.
    let reads = Arc::clone(&site.site.shared.reads);
    let all = u32::try_from(PARALLEL_READS).unwrap();
    drop(reads.acquire_many(all).await.unwrap());
    assert_eq!(body(site.get("a.txt").await).await, b"two and longer");
}

#[tokio::test(start_paused = true)]
async fn unchanged_content_is_not_read_again() {
    let site = Fixture::new();
    site.write("a.txt", "content");
    let pointer = |response: StaticResponse| match response.body {
        StaticBody::Bytes(bytes) => bytes.as_ptr(),
        body => panic!("{body:?}"),
    };
    let first = pointer(site.get("a.txt").await);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(pointer(site.get("a.txt").await), first);
}

#[tokio::test]
async fn a_file_that_shrinks_while_sent_ends_with_an_error() {
    let site = Fixture::new();
    site.write("large.bin", vec![7; 300_000]);
    let response = site.get("large.bin").await;
    let StaticBody::File(mut file) = response.body else {
        panic!("not streamed")
    };
    assert!(file.next().await.unwrap().is_ok());
    fs::File::options()
        .write(true)
        .open(site.temp.path().join("large.bin"))
        .unwrap()
        .set_len(10)
        .unwrap();
    assert!(file.next().await.unwrap().is_err());
    assert!(file.next().await.is_none());
}

#[tokio::test]
async fn a_file_of_which_nothing_can_be_read_is_not_promised() {
    let site = Fixture::new();
    site.write("large.bin", vec![7; 300_000]);
    assert_eq!(site.get("large.bin").await.outcome, Outcome::Full);
    // It was found a moment ago, and is not looked at again so soon.
    fs::File::options()
        .write(true)
        .open(site.temp.path().join("large.bin"))
        .unwrap()
        .set_len(0)
        .unwrap();
    assert_eq!(site.get("large.bin").await.outcome, Outcome::Unreadable);
}

#[tokio::test]
async fn a_dropped_site_leaves_the_cache() {
    let site = Fixture::new();
    drop(site.get("/").await);
    assert!(site.cache.bytes() > 0);
    let Fixture {
        site,
        cache,
        temp: _temp,
    } = site;
    drop(site);
    assert_eq!(cache.bytes(), 0);
}

#[tokio::test]
async fn a_cancelled_request_leaves_what_it_found() {
    let site = Fixture::new();
    {
        let request = StaticRequest::default();
        let mut answer = std::pin::pin!(site.site.respond(&request));
        // One poll starts the look, which may even be over by then; then the client
        // is gone.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = answer.as_mut().poll(&mut context);
    }
    let all = u32::try_from(PARALLEL_READS).unwrap();
    drop(site.site.shared.reads.acquire_many(all).await.unwrap());
    assert!(site.cache.bytes() > 0);
}

/// Paths put together from what attacks are made of, against files that hold a
/// secret: it is never sent, and nothing panics.
#[test]
fn no_spelling_reaches_a_secret() {
    use proptest::prelude::*;

    const SECRET: &[u8] = b"canary";
    const PARTS: &[&str] = &[
        "..",
        "%2e%2e",
        ".%2E",
        ".",
        "%2e",
        "/",
        "%2f",
        "%2F",
        "//",
        "\\",
        "%5c",
        "%00",
        "%",
        "%zz",
        "secret.txt",
        "..secret",
        "link",
        "link.txt",
        ".env",
        "%2eenv",
        ".ENV",
        "manifest.yaml",
        "Manifest.YAML",
        "manifest.yaml.gz",
        ".gz",
        "package.json",
        "node_modules",
        "app.js.map",
        "sub",
        "index.html",
        "é",
        "\u{202e}",
        "?",
        "#",
        ";",
        "%c0%ae%c0%ae",
        "%252e%252e",
    ];
    let site = Fixture::new();
    let outside = TempDir::new().unwrap();
    write(outside.path(), "secret.txt", SECRET);
    symlink(outside.path(), site.temp.path().join("link")).unwrap();
    symlink(
        outside.path().join("secret.txt"),
        site.temp.path().join("link.txt"),
    )
    .unwrap();
    symlink("../.env", site.temp.path().join("link.txt.gz")).unwrap();
    for private in [
        ".env",
        "manifest.yaml",
        "manifest.yaml.gz",
        "package.json",
        "app.js.map",
        "sub/.env",
        "sub/manifest.yaml",
        "node_modules/index.html",
        "sub/node_modules/index.html",
    ] {
        site.write(private, SECRET);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let config = ProptestConfig {
        cases: 2_000,
        ..ProptestConfig::default()
    };
    let parts = proptest::collection::vec(proptest::sample::select(PARTS), 0..10);
    proptest!(config, |(parts in parts, browser in any::<bool>())| {
        let path = parts.concat();
        let request = StaticRequest {
            path: path.as_bytes(),
            accept: browser.then_some(b"text/html"),
            accept_encoding: Some(b"gzip"),
            ..Default::default()
        };
        let content = runtime.block_on(async { body(site.ask(request).await).await });
        prop_assert!(content.is_empty() || content == PAGE.as_bytes(), "{path}");
    });
}
