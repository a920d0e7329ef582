//! Files read and put together: every `include` replaced by what it names, every directive with its place.

use std::collections::HashMap;
use std::rc::Rc;

use crate::event::site::{Place, Problem, ProblemKind, Site};
use crate::human::visible;
use crate::nginx::conf::{self, Body, Directive, Tree, Word};
use crate::nginx::glob;

/// Includes and blocks together may nest this deep.
const MAX_DEPTH: usize = 96;
/// An `include` that names many files which again name many files must end somewhere.
const MAX_DIRECTIVES: usize = 1_000_000;
/// Words of all files together.
const MAX_WORDS: usize = 4_000_000;
/// Further problems are not noted: the first ones are the ones to mend.
const MAX_PROBLEMS: usize = 200;

/// Why a [`Reader`] cannot give what nginx would miss, too.
pub const NO_SUCH_FILE: &str = "no such file";

/// How the configuration's files are reached: the caller's, because this room opens none.
pub trait Reader {
    /// The bytes of one file.
    ///
    /// # Errors
    /// The reason in a few words, as in "permission denied".
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String>;

    /// The paths that match a pattern of glob(7), in byte order; none is no error.
    ///
    /// # Errors
    /// The reason in a few words when a directory cannot be listed.
    fn glob(&mut self, pattern: &str) -> Result<Vec<String>, String>;

    /// What is read is a copy, which may lack what nginx itself has.
    fn is_copy(&self) -> bool {
        false
    }

    /// What is read was printed by nginx, which had understood all of it.
    fn is_dump(&self) -> bool {
        false
    }
}

/// An included path as nginx completes it: from the directory of the main file (`ngx_conf_full_name` with `conf_prefix`).
pub(in crate::nginx) fn absolute(base: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") }
}

/// A directive where it stands after all includes.
pub(super) struct Node {
    pub(super) words: Vec<Word>,
    /// `None` when it ended with a semicolon or holds raw bytes.
    pub(super) block: Option<Vec<Node>>,
    /// It did not end with a semicolon.
    pub(super) is_block: bool,
    pub(super) place: Place,
    pub(super) column: u32,
}

impl Node {
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", |w| &w.text)
    }

    pub(super) fn args(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The argument with this index, counted from 0.
    pub(super) fn arg(&self, index: usize) -> Option<&str> {
        self.args().get(index).map(|w| w.text.as_str())
    }

    pub(super) fn nodes(&self) -> &[Node] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// What could not be read or understood, so far.
#[derive(Default)]
pub(super) struct Notes(pub(super) Vec<Problem>);

impl Notes {
    /// Notes a problem with a directive.
    pub(super) fn on(&mut self, node: &Node, said: impl Into<String>) {
        self.at(&node.place, node.column, said);
    }

    /// Notes what could not be understood here, although nginx may.
    pub(super) fn unclear(&mut self, node: &Node, said: impl Into<String>) {
        self.note(&node.place, node.column, ProblemKind::Unread, said);
    }

    /// Notes that no `events` block was found, unless it may stand in what could not be read.
    pub(super) fn without_events(&mut self, site: &Site) {
        let is_whole = self.0.iter().all(|p| p.kind == ProblemKind::Refused && !p.said.starts_with("cannot read"));
        if is_whole && !site.files.is_empty() {
            let place = Place { file: site.conf.clone(), line: 1 };
            self.note(&place, 0, ProblemKind::Refused, "no \"events\" section in configuration");
        }
    }

    fn at(&mut self, place: &Place, column: u32, said: impl Into<String>) {
        self.note(place, column, ProblemKind::Refused, said);
    }

    fn note(&mut self, place: &Place, column: u32, kind: ProblemKind, said: impl Into<String>) {
        if self.0.len() < MAX_PROBLEMS {
            let said = visible(said.into().as_bytes());
            self.0.push(Problem { place: place.clone(), column, said, kind });
        }
    }
}

/// What reading gave: the directives of all files in one tree.
pub(super) struct Loaded {
    pub(super) nodes: Vec<Node>,
    pub(super) files: Vec<String>,
    pub(super) notes: Notes,
}

/// Reads `main` and all that it includes.
pub(super) fn load(main: &str, reader: &mut dyn Reader) -> Loaded {
    let base = main.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned();
    let mut loader = Loader {
        reader,
        base,
        trees: HashMap::new(),
        open: Vec::new(),
        left: MAX_DIRECTIVES,
        words_left: MAX_WORDS,
        out: Loaded { nodes: Vec::new(), files: Vec::new(), notes: Notes::default() },
    };
    let whole = Place { file: main.to_owned(), line: 1 };
    let nodes = loader.file(main, &whole, 0, 0);
    Loaded { nodes, ..loader.out }
}

struct Loader<'a> {
    reader: &'a mut dyn Reader,
    /// The main file's directory: nested includes, too, count from there.
    base: String,
    trees: HashMap<String, Option<Rc<Tree>>>,
    /// The files whose directives are being put in right now, outermost first.
    open: Vec<String>,
    left: usize,
    words_left: usize,
    out: Loaded,
}

impl Loader<'_> {
    fn file(&mut self, path: &str, from: &Place, column: u32, depth: usize) -> Vec<Node> {
        if self.open.iter().any(|p| p == path) {
            self.out.notes.at(from, column, format!("{path} includes itself"));
            return Vec::new();
        }
        let Some(tree) = self.tree(path, from, column) else { return Vec::new() };
        self.open.push(path.to_owned());
        let nodes = self.expand(path, &tree.directives, depth);
        self.open.pop();
        nodes
    }

    fn tree(&mut self, path: &str, from: &Place, column: u32) -> Option<Rc<Tree>> {
        if let Some(known) = self.trees.get(path) {
            return known.clone();
        }
        let tree = match self.reader.read(path) {
            Ok(text) => {
                let tree = conf::parse_at_most(&text, self.words_left.min(conf::MAX_WORDS));
                self.words_left -= tree.words;
                Some(Rc::new(tree))
            }
            Err(why) => {
                let kind = match why.as_str() {
                    _ if self.reader.is_copy() => ProblemKind::Missing,
                    NO_SUCH_FILE => ProblemKind::Refused,
                    _ => ProblemKind::Unread,
                };
                self.out.notes.note(from, column, kind, format!("cannot read {path}: {why}"));
                None
            }
        };
        if let Some(tree) = &tree {
            self.out.files.push(path.to_owned());
            // What nginx -T prints, nginx has read without an error.
            let usual = if self.reader.is_dump() { ProblemKind::Missing } else { ProblemKind::Refused };
            for e in &tree.errors {
                let kind = if e.bound { ProblemKind::Unread } else { usual };
                self.out.notes.note(&Place { file: path.to_owned(), line: e.line }, e.column, kind, e.said.clone());
            }
        }
        self.trees.insert(path.to_owned(), tree.clone());
        tree
    }

    fn expand(&mut self, file: &str, directives: &[Directive], depth: usize) -> Vec<Node> {
        let mut nodes = Vec::with_capacity(directives.len());
        for d in directives {
            let place = Place { file: file.to_owned(), line: d.line };
            if self.left == 0 || depth > MAX_DEPTH {
                let bound = if self.left == 0 { "many" } else { "deeply nested" };
                let said = format!("too {bound} directives; the rest is not read");
                self.out.notes.note(&place, d.column, ProblemKind::Unread, said);
                break;
            }
            self.left -= 1;
            match &d.body {
                Body::End if d.name() == "include" => nodes.extend(self.include(d, &place, depth)),
                Body::End | Body::Raw(_) => {
                    let is_block = d.body != Body::End;
                    nodes.push(Node { words: d.words.clone(), block: None, is_block, place, column: d.column });
                }
                Body::Block(inner) => {
                    let block = Some(self.expand(file, inner, depth + 1));
                    nodes.push(Node { words: d.words.clone(), block, is_block: true, place, column: d.column });
                }
            }
        }
        nodes
    }

    fn include(&mut self, d: &Directive, place: &Place, depth: usize) -> Vec<Node> {
        let [word] = d.args() else {
            self.out.notes.at(place, d.column, "invalid number of arguments in \"include\" directive");
            return Vec::new();
        };
        let path = absolute(&self.base, &word.text);
        if !glob::is_pattern(&path) {
            return self.file(&path, place, d.column, depth + 1);
        }
        match self.reader.glob(&path) {
            Ok(paths) => paths.iter().flat_map(|p| self.file(p, place, d.column, depth + 1)).collect(),
            Err(why) => {
                let said = format!("cannot list {path}: {why}");
                self.out.notes.note(place, d.column, ProblemKind::Unread, said);
                Vec::new()
            }
        }
    }
}
