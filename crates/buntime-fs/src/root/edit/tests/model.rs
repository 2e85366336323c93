//! Random paths and operations against a model of what should come of them.

use super::*;

/// How many; `BUNTIME_TEST_PATHS` sets another number, such as a million.
fn rounds() -> usize {
    let set = std::env::var("BUNTIME_TEST_PATHS");
    set.map_or(20_000, |number| number.parse().unwrap())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File,
    Folder,
    Link,
}

/// What lies in the tree, by path.
#[derive(Debug, Default, PartialEq, Eq)]
struct Model(BTreeMap<String, Node>);

impl Model {
    fn node(&self, path: &str) -> Option<Node> {
        self.0.get(path).copied()
    }

    /// Whether an entry of this path could be made, as far as the way is concerned.
    fn has_way(&self, path: &str) -> bool {
        path.rsplit_once('/')
            .is_none_or(|(parent, _)| self.node(parent) == Some(Node::Folder))
    }

    fn free(&self, path: &str) -> bool {
        self.has_way(path) && self.node(path).is_none()
    }

    fn remove(&mut self, path: &str) -> Vec<(String, Node)> {
        let below = format!("{path}/");
        let goes = |known: &String| known == path || known.starts_with(&below);
        let gone = self.0.extract_if(.., |known, _| goes(known));
        gone.map(|(known, node)| (known[path.len()..].to_owned(), node))
            .collect()
    }

    fn insert(&mut self, path: &str, node: Node) -> bool {
        let free = self.free(path);
        if free {
            self.0.insert(path.to_owned(), node);
        }
        free
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        let fits =
            self.node(from).is_some() && self.free(to) && !to.starts_with(&format!("{from}/"));
        if fits {
            for (below, node) in self.remove(from) {
                self.0.insert(format!("{to}{below}"), node);
            }
        }
        fits
    }
}

/// Pieces of paths: names that are there, links, and all that tries to climb.
fn random_path(rng: &mut fastrand::Rng) -> String {
    const PLAIN: &[&str] = &["a", "b", "c"];
    const LINKS: &[&str] = &["leaving", "within", "secret", "dangling", "x"];
    const ODD: &[&str] = &[
        "..",
        ".",
        "",
        "/",
        "\\",
        "a\\..\\..",
        "%2e%2e",
        "\0",
        "...",
        " ",
        "~",
    ];
    let mut text = String::new();
    for index in 0..rng.usize(1..5) {
        if index > 0 {
            text.push('/');
        }
        let pieces = match rng.u8(..) {
            0..160 => PLAIN,
            160..220 => LINKS,
            _ => ODD,
        };
        text.push_str(pieces[rng.usize(..pieces.len())]);
    }
    text
}

fn on_disk(folder: &Path) -> Model {
    let node = |what: String| match what.as_str() {
        "/" => Node::Folder,
        what if what.starts_with("-> ") => Node::Link,
        _ => Node::File,
    };
    Model(
        contents(folder)
            .into_iter()
            .map(|(path, what)| (path, node(what)))
            .collect(),
    )
}

/// T3: whatever the path, what happens is what the model says, and nothing outside
/// is read or written.
#[test]
fn random_paths_do_what_the_model_says_and_nothing_outside() {
    let (temp, tree) = folder();
    let (inside, outside) = (temp.path().join("inside"), temp.path().join("outside"));
    let canaries = contents(&outside);
    let beside: Vec<_> = fs::read_dir(temp.path())
        .unwrap()
        .count()
        .to_string()
        .into_bytes();
    let mut model = on_disk(&inside);
    let mut rng = fastrand::Rng::with_seed(0x5EED);
    let mut done = 0;
    for round in 0..rounds() {
        let (first, second) = (random_path(&mut rng), random_path(&mut rng));
        let (Ok(one), Ok(two)) = (first.parse::<RelPath>(), second.parse::<RelPath>()) else {
            continue;
        };
        let what = rng.usize(..7);
        let (really, expected) = match what {
            0 => (
                tree.create_dir(&one).is_ok(),
                model.insert(&first, Node::Folder),
            ),
            1 => (
                tree.create_file(&one, FileMode::Plain).is_ok(),
                model.insert(&first, Node::File),
            ),
            2 => (
                tree.rename(&one, &tree, &two).is_ok(),
                model.rename(&first, &second),
            ),
            3 if rng.u8(..) < 64 => {
                let there = model.has_way(&first) && model.node(&first).is_some();
                if there {
                    model.remove(&first);
                }
                (tree.remove_tree(&one).is_ok(), there)
            }
            4 => {
                let fits = model.has_way(&first)
                    && matches!(model.node(&first), Some(Node::File | Node::Link));
                if fits {
                    model.remove(&first);
                }
                (tree.remove_file(&one).is_ok(), fits)
            }
            5 => {
                let fits = model.has_way(&first) && model.node(&first) != Some(Node::Folder);
                if fits {
                    model.0.insert(first.clone(), Node::File);
                }
                let new = path("new");
                let _ = tree.create_file(&new, FileMode::Plain);
                let replaced = tree.replace(&new, &tree, &one);
                let _ = tree.remove_file(&new);
                (replaced.is_ok(), fits)
            }
            _ => {
                let read = tree.root().read(&one, 100);
                if let Ok((content, _)) = &read {
                    assert_ne!(content, b"canary", "{first}");
                }
                (read.is_ok(), model.node(&first) == Some(Node::File))
            }
        };
        assert_eq!(
            really, expected,
            "round {round}: {what} {first:?} {second:?} {model:?}"
        );
        done += usize::from(really);
        // Links are put back, or soon there would be none.
        if round % 100 == 0 {
            assert_eq!(on_disk(&inside), model, "round {round}");
            assert_eq!(contents(&outside), canaries);
            for (name, target) in [("leaving", "../outside"), ("within", "a")] {
                if model.insert(name, Node::Link) {
                    symlink(target, inside.join(name)).unwrap();
                }
            }
        }
    }
    assert!(done > rounds() / 20, "only {done} did anything");
    assert_eq!(on_disk(&inside), model);
    assert_eq!(contents(&outside), canaries);
    let now = fs::read_dir(temp.path())
        .unwrap()
        .count()
        .to_string()
        .into_bytes();
    assert_eq!(now, beside);
}
