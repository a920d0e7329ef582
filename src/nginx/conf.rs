//! nginx.conf text turned into a directive tree with places.
//!
//! The token rules are those of `ngx_conf_read_token` (nginx core/ngx_conf_file.c): quotes and `#` count only where a
//! token starts, `${` belongs to a token, `}` is a token of its own, and a backslash unescapes only `" ' \ t r n`. nginx
//! stops at its first error; this parser notes it and goes on, so that one slip does not hide the rest of a file.

use std::ops::Range;

/// Blocks may nest this deep; nginx itself needs about six.
pub const MAX_DEPTH: usize = 64;
/// nginx reads through a buffer of this many bytes and refuses a token that does not fit (NGX_CONF_BUFFER).
const MAX_TOKEN: usize = 4096;
/// Further errors of one file are not noted.
const MAX_ERRORS: usize = 100;
/// Words that are read of one file: a configuration of 20,000 lines has less than 100,000.
pub const MAX_WORDS: usize = 2_000_000;

/// A parsed file: its directives, and what nginx would refuse in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Top-level directives in file order.
    pub directives: Vec<Directive>,
    /// Errors in file order, at most a hundred.
    pub errors: Vec<SyntaxError>,
    /// Words that were read: at most as many as were allowed.
    pub words: usize,
}

/// Something that nginx's own parser would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// 1-based.
    pub line: u32,
    /// 1-based, in bytes.
    pub column: u32,
    /// What, in one sentence.
    pub said: String,
    /// It is a bound of this parser: nginx may go on.
    pub bound: bool,
}

/// One token of a directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// The text without quotes and escapes; bytes that are no UTF-8 became U+FFFD.
    pub text: String,
    /// It stood in quotes.
    pub quoted: bool,
    /// 1-based line of its first byte.
    pub line: u32,
    /// 1-based column of its first byte (the quote, if any), in bytes.
    pub column: u32,
    /// Its bytes in the file, quotes included.
    pub span: Range<usize>,
}

/// What follows a directive's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A semicolon.
    End,
    /// A block. Inside `map`, `geo`, `types` and `split_clients` the entries are data, not directives.
    Block(Vec<Directive>),
    /// The bytes between the braces of a `*_by_lua_block`, which no nginx token rule applies to.
    Raw(Range<usize>),
}

/// One directive, or one entry of a data block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The name and its arguments; empty only for a block that has no name, which is an error noted in the tree.
    pub words: Vec<Word>,
    /// What follows them.
    pub body: Body,
    /// 1-based line of the name.
    pub line: u32,
    /// 1-based column of the name, in bytes.
    pub column: u32,
    /// Its bytes in the file, from the name to `;` or `}`.
    pub span: Range<usize>,
}

impl Directive {
    /// The directive's name, or the key of a data entry.
    #[must_use]
    pub fn name(&self) -> &str {
        self.words.first().map_or("", |w| &w.text)
    }

    /// The words after the name.
    #[must_use]
    pub fn args(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The block's directives, when it has one.
    #[must_use]
    pub fn block(&self) -> Option<&[Directive]> {
        if let Body::Block(inner) = &self.body { Some(inner) } else { None }
    }
}

/// Parses one file. Total on any bytes, in time linear in their number.
#[must_use]
pub fn parse(text: &[u8]) -> Tree {
    parse_at_most(text, MAX_WORDS)
}

/// The same for at most so many words; what comes after them is not read, which is an error noted in the tree.
#[must_use]
pub fn parse_at_most(text: &[u8], words: usize) -> Tree {
    let mut parser = Parser { words_left: words, ..Parser::new(text) };
    while parser.step() {}
    Tree { directives: parser.done, errors: parser.lexer.errors, words: words - parser.words_left }
}

/// Where a file ends inside a text that holds several: at the first comment at the beginning of a line, between top-level
/// directives, that `is_next` takes for the head of the next one. It is shown the directives so far and the comment. In time
/// linear in what is read; the length of `text` when no such comment comes.
pub(super) fn end_of_file(text: &[u8], is_next: &mut dyn FnMut(&[Directive], &[u8]) -> bool) -> Part {
    let mut parser = Parser::new(text);
    loop {
        let rests = parser.open.is_empty() && parser.words.is_empty();
        let comment = parser.lexer.comment_ahead().filter(|_| rests);
        if let Some((at, comment)) = comment
            && is_next(&parser.done, comment)
        {
            return Part { end: at, is_whole: true };
        }
        let was_whole = parser.lexer.errors.is_empty() && rests;
        if !parser.step() {
            return Part { end: text.len(), is_whole: was_whole && parser.lexer.errors.is_empty() };
        }
    }
}

/// One file of several in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Behind its last byte.
    pub(super) end: usize,
    /// Nothing in it is refused.
    pub(super) is_whole: bool,
}

/// A position in the text.
#[derive(Clone, Copy)]
struct Spot {
    at: usize,
    line: u32,
    column: u32,
}

enum Token {
    Word(Word),
    Semicolon,
    Open,
    Close,
    Comment,
    End,
}

/// A directive whose block is still open, and its elder siblings.
struct Open {
    words: Vec<Word>,
    spot: Spot,
    siblings: Vec<Directive>,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    words: Vec<Word>,
    words_left: usize,
    open: Vec<Open>,
    done: Vec<Directive>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { lexer: Lexer::new(text), words: Vec::new(), words_left: MAX_WORDS, open: Vec::new(), done: Vec::new() }
    }

    /// Takes one token, or one comment; false at the end.
    fn step(&mut self) -> bool {
        let (token, spot) = self.lexer.next();
        match token {
            Token::Word(_) if self.words_left == 0 => return self.stop(spot, "too many words"),
            Token::Word(word) => {
                self.words_left -= 1;
                self.words.push(word);
            }
            Token::Semicolon if self.words.is_empty() => self.lexer.error(spot, "unexpected \";\""),
            Token::Semicolon => self.finish(Body::End),
            Token::Open => return self.open(spot),
            Token::Close => self.close(spot),
            Token::Comment => {}
            Token::End => {
                self.end(spot);
                return false;
            }
        }
        true
    }

    fn finish(&mut self, body: Body) {
        let words = std::mem::take(&mut self.words);
        let Some(first) = words.first() else { return };
        let (line, column, start) = (first.line, first.column, first.span.start);
        self.done.push(Directive { words, body, line, column, span: start..self.lexer.pos });
    }

    fn open(&mut self, spot: Spot) -> bool {
        if self.words.is_empty() {
            self.lexer.error(spot, "unexpected \"{\"");
        }
        if self.words.first().is_some_and(|w| w.text.ends_with("_by_lua_block")) {
            let raw = self.lexer.lua(spot);
            self.finish(Body::Raw(raw));
            return true;
        }
        if self.open.len() >= MAX_DEPTH {
            return self.stop(spot, "blocks are nested too deep");
        }
        let words = std::mem::take(&mut self.words);
        let spot = words.first().map_or(spot, |w| Spot { at: w.span.start, line: w.line, column: w.column });
        self.open.push(Open { words, spot, siblings: std::mem::take(&mut self.done) });
        true
    }

    /// Ends the reading at one of this parser's bounds.
    fn stop(&mut self, spot: Spot, why: &str) -> bool {
        self.lexer.error(spot, &format!("{why}; the rest of the file is not read"));
        if let Some(last) = self.lexer.errors.last_mut() {
            last.bound = true;
        }
        self.words.clear();
        self.unwind();
        false
    }

    fn close(&mut self, spot: Spot) {
        if !self.words.is_empty() {
            self.lexer.error(spot, "unexpected \"}\": the directive before it does not end with \";\"");
            self.finish(Body::End);
        }
        if !self.pop() {
            self.lexer.error(spot, "unexpected \"}\"");
        }
    }

    fn end(&mut self, spot: Spot) {
        if !self.words.is_empty() {
            self.lexer.error(spot, "unexpected end of file, expecting \";\" or \"}\"");
            self.finish(Body::End);
        } else if let Some(open) = self.open.last() {
            let said =
                format!("unexpected end of file, expecting \"}}\" for the block opened in line {}", open.spot.line);
            self.lexer.error(spot, &said);
        }
        self.unwind();
    }

    fn unwind(&mut self) {
        while self.pop() {}
    }

    /// Closes the innermost block; false when none is open.
    fn pop(&mut self) -> bool {
        let Some(open) = self.open.pop() else { return false };
        let inner = std::mem::replace(&mut self.done, open.siblings);
        self.done.push(Directive {
            words: open.words,
            body: Body::Block(inner),
            line: open.spot.line,
            column: open.spot.column,
            span: open.spot.at..self.lexer.pos,
        });
        true
    }
}

struct Lexer<'a> {
    text: &'a [u8],
    pos: usize,
    line: u32,
    line_start: usize,
    errors: Vec<SyntaxError>,
}

impl<'a> Lexer<'a> {
    fn new(text: &'a [u8]) -> Self {
        let mut lexer = Self { text, pos: 0, line: 1, line_start: 0, errors: Vec::new() };
        if text.starts_with(b"\xef\xbb\xbf") {
            lexer.error(
                lexer.spot(),
                "the file starts with a byte-order mark, which nginx takes for a part of the first name",
            );
            lexer.pos = 3;
        }
        lexer
    }

    fn spot(&self) -> Spot {
        let column = u32::try_from(self.pos - self.line_start).unwrap_or(u32::MAX).saturating_add(1);
        Spot { at: self.pos, line: self.line, column }
    }

    fn error(&mut self, spot: Spot, said: &str) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(SyntaxError { line: spot.line, column: spot.column, said: said.to_owned(), bound: false });
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.pos).copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.pos += 1;
        if byte == b'\n' {
            self.line = self.line.saturating_add(1);
            self.line_start = self.pos;
        }
        Some(byte)
    }

    fn next(&mut self) -> (Token, Spot) {
        loop {
            let spot = self.spot();
            let Some(byte) = self.peek() else { return (Token::End, spot) };
            let token = match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {
                    self.bump();
                    continue;
                }
                b'#' => {
                    self.pos += self.line_ahead().len();
                    return (Token::Comment, spot);
                }
                b';' => Token::Semicolon,
                b'{' => Token::Open,
                b'}' => Token::Close,
                b'"' | b'\'' => return (Token::Word(self.quoted(spot, byte)), spot),
                _ => return (Token::Word(self.bare(spot)), spot),
            };
            self.bump();
            return (token, spot);
        }
    }

    /// The rest of this line, without its end.
    fn line_ahead(&self) -> &'a [u8] {
        let rest = self.text.get(self.pos..).unwrap_or_default();
        rest.get(..memchr::memchr(b'\n', rest).unwrap_or(rest.len())).unwrap_or_default()
    }

    /// The comment that comes next and begins its line, with its offset. Blanks before it are passed over.
    fn comment_ahead(&mut self) -> Option<(usize, &'a [u8])> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.bump();
        }
        (self.peek() == Some(b'#') && self.pos == self.line_start).then(|| (self.pos, self.line_ahead()))
    }

    fn bare(&mut self, spot: Spot) -> Word {
        let mut variable = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'{' if variable => {
                    self.bump();
                    continue;
                }
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' => break,
                b'\\' => {
                    self.bump();
                }
                _ => {}
            }
            variable = byte == b'$';
            self.bump();
        }
        self.word(spot, spot.at..self.pos, false)
    }

    fn quoted(&mut self, spot: Spot, quote: u8) -> Word {
        self.bump();
        let start = self.pos;
        loop {
            match self.bump() {
                None => {
                    self.error(spot, "the quote opened here is never closed");
                    return self.word(spot, start..self.pos, true);
                }
                Some(b'\\') => {
                    self.bump();
                }
                Some(byte) if byte == quote => break,
                Some(_) => {}
            }
        }
        let word = self.word(spot, start..self.pos - 1, true);
        // A "}" here is reported by the parser as the missing semicolon that it is.
        if let Some(byte) = self.peek()
            && !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' | b')' | b'}')
        {
            let said = format!("unexpected \"{}\" after a closing quote", crate::human::visible(&[byte]));
            self.error(self.spot(), &said);
        }
        word
    }

    fn word(&mut self, spot: Spot, bytes: Range<usize>, quoted: bool) -> Word {
        let raw = self.text.get(bytes).unwrap_or_default();
        if raw.len() >= MAX_TOKEN {
            self.error(spot, "a parameter is longer than the 4095 bytes that nginx can read");
        }
        Word { text: unescape(raw), quoted, line: spot.line, column: spot.column, span: spot.at..self.pos }
    }

    /// Skips a Lua block after its `{`, as the token rules of Lua count braces, and gives the bytes between the braces.
    fn lua(&mut self, opened: Spot) -> Range<usize> {
        let start = self.pos;
        let mut depth = 1_usize;
        while let Some(byte) = self.bump() {
            match byte {
                b'{' => depth += 1,
                b'}' => {
                    depth -= 1;
                    if depth == 0 {
                        return start..self.pos - 1;
                    }
                }
                b'"' | b'\'' => self.lua_string(byte),
                b'[' => self.lua_long_bracket(),
                b'-' if self.peek() == Some(b'-') => self.lua_comment(),
                _ => {}
            }
        }
        self.error(opened, "the Lua block opened here is never closed");
        start..self.pos
    }

    fn lua_string(&mut self, quote: u8) {
        while let Some(byte) = self.bump() {
            match byte {
                b'\\' => {
                    self.bump();
                }
                b'\n' => return,
                _ if byte == quote => return,
                _ => {}
            }
        }
    }

    fn lua_comment(&mut self) {
        self.bump();
        if self.peek() == Some(b'[') {
            self.bump();
            if self.lua_long_bracket_opens() {
                return;
            }
        }
        while self.peek().is_some_and(|b| b != b'\n') {
            self.pos += 1;
        }
    }

    fn lua_long_bracket(&mut self) {
        self.lua_long_bracket_opens();
    }

    /// After a `[`: when `=*[` follows, skips to the closing bracket of the same level.
    fn lua_long_bracket_opens(&mut self) -> bool {
        let level = self.skip_equals();
        if self.peek() != Some(b'[') {
            return false;
        }
        self.bump();
        while let Some(byte) = self.bump() {
            // The "]" that ends a run of the wrong length may begin the right one, so it is left for the next round.
            if byte == b']' && self.skip_equals() == level && self.peek() == Some(b']') {
                self.bump();
                return true;
            }
        }
        true
    }

    fn skip_equals(&mut self) -> usize {
        let start = self.pos;
        while self.peek() == Some(b'=') {
            self.pos += 1;
        }
        self.pos - start
    }
}

fn unescape(raw: &[u8]) -> String {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let replaced = match (byte, bytes.peek()) {
            (b'\\', Some(&c @ (b'"' | b'\'' | b'\\'))) => Some(c),
            (b'\\', Some(b't')) => Some(b'\t'),
            (b'\\', Some(b'r')) => Some(b'\r'),
            (b'\\', Some(b'n')) => Some(b'\n'),
            _ => None,
        };
        if replaced.is_some() {
            bytes.next();
        }
        out.push(replaced.unwrap_or(byte));
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `[name arg arg]` with blocks in braces: the shape without the places.
    fn shape(directives: &[Directive]) -> String {
        let one = |d: &Directive| {
            let words: Vec<String> = d.words.iter().map(|w| format!("{:?}", w.text)).collect();
            match &d.body {
                Body::End => format!("{};", words.join(" ")),
                Body::Block(inner) => format!("{} {{{}}}", words.join(" "), shape(inner)),
                Body::Raw(span) => format!("{} raw {}", words.join(" "), span.len()),
            }
        };
        directives.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tokens_follow_nginx() {
        let cases: &[(&str, &str)] = &[
            ("a b;", r#""a" "b";"#),
            ("a#b c#d;", r#""a#b" "c#d";"#),
            ("a b # c;\n;", r#""a" "b";"#),
            ("a b\"c\"d;", r#""a" "b\"c\"d";"#),
            ("a \"b c\" 'd \"e';", r#""a" "b c" "d \"e";"#),
            ("a '';", r#""a" "";"#),
            (r#"a "\"\'\\\t\n\d\$";"#, r#""a" "\"'\\\t\n\\d\\$";"#),
            (r"a \;\ b;", r#""a" "\\;\\ b";"#),
            ("a ${b}c;", r#""a" "${b}c";"#),
            ("a b{c;}", r#""a" "b" {"c";}"#),
            ("a \"x{2}\";", r#""a" "x{2}";"#),
            ("if ($a = \"b\") {c d;}", r#""if" "($a" "=" "b" ")" {"c" "d";}"#),
            ("a {b {c;} d;}\ne;", r#""a" {"b" {"c";} "d";} "e";"#),
            ("a\r\n  b\r\n;", r#""a" "b";"#),
            ("map $a $b {default x; '' y; ~^z 1;}", r#""map" "$a" "$b" {"default" "x"; "" "y"; "~^z" "1";}"#),
            ("a \"x\ny\";", r#""a" "x\ny";"#),
            ("a }b;", r#""a"; "b";"#),
            ("", ""),
        ];
        for (text, want) in cases {
            assert_eq!(shape(&parse(text.as_bytes()).directives), *want, "for {text:?}");
        }
    }

    #[test]
    fn lua_blocks_are_skipped_by_the_rules_of_lua() {
        let lua = r#"
            -- a brace in a comment: }
            --[[ and } in a
                 long one ]] local s = "}" .. '\'}' .. [==[ } ]] ]=] ]==]
            local t = { a = { 1 } }
        "#;
        let text = format!("location / {{ content_by_lua_block {{{lua}}} proxy_pass x; }}");
        let tree = parse(text.as_bytes());
        assert_eq!(tree.errors, []);
        let inner = tree.directives[0].block().expect("a block");
        let Body::Raw(span) = &inner[0].body else { panic!("not raw") };
        assert_eq!(&text[span.clone()], lua);
        assert_eq!(inner[1].name(), "proxy_pass");
    }

    #[test]
    fn words_know_where_they_stand() {
        let text = b"http {\n  server_name \"a b\" c;\n}";
        let tree = parse(text);
        let d = &tree.directives[0].block().expect("a block")[0];
        assert_eq!((d.line, d.column), (2, 3));
        assert_eq!((d.words[1].line, d.words[1].column, d.words[1].quoted), (2, 15, true));
        assert_eq!(&text[d.words[1].span.clone()], b"\"a b\"");
        assert_eq!(&text[d.span.clone()], b"server_name \"a b\" c;");
        assert!(!d.words[2].quoted);
    }

    #[test]
    fn what_nginx_refuses_is_said_with_its_place_and_the_rest_is_still_read() {
        let cases: &[(&str, u32, u32, &str)] = &[
            ("a b", 1, 4, "end of file"),
            ("a {\n b;\n", 3, 1, "opened in line 1"),
            ("a;\n}", 2, 1, "unexpected \"}\""),
            ("a {\n b }", 2, 4, "does not end with \";\""),
            (";", 1, 1, "unexpected \";\""),
            ("{}", 1, 1, "unexpected \"{\""),
            ("a \"b\"c;", 1, 6, "after a closing quote"),
            ("a \"b;", 1, 3, "never closed"),
            ("a_by_lua_block { x = '}' ", 1, 16, "never closed"),
            ("\u{feff}a;", 1, 1, "byte-order mark"),
        ];
        for (text, line, column, said) in cases {
            let tree = parse(text.as_bytes());
            let first = tree.errors.first().unwrap_or_else(|| panic!("no error for {text:?}"));
            assert_eq!((first.line, first.column), (*line, *column), "for {text:?}: {}", first.said);
            assert!(first.said.contains(said), "for {text:?}: {}", first.said);
        }
        assert_eq!(shape(&parse(b"a \"b\"c; } d;").directives), r#""a" "b" "c"; "d";"#);
    }

    #[test]
    fn a_token_longer_than_the_buffer_of_nginx_is_an_error() {
        let fits = format!("a {};", "x".repeat(MAX_TOKEN - 1));
        assert_eq!(parse(fits.as_bytes()).errors, []);
        let long = format!("a {};", "x".repeat(MAX_TOKEN));
        assert_eq!(parse(long.as_bytes()).errors.len(), 1);
    }

    #[test]
    fn depth_is_bounded() {
        let tree = parse("a{".repeat(100_000).as_bytes());
        assert!(tree.errors[0].said.contains("too deep"));
        assert_eq!(tree.errors.len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = parse(&text);
        }

        #[test]
        fn no_likely_text_panics(text in "([a-z_$]{1,4}|[ \n\\\\\"'#;{}=\\[\\]-]|_by_lua_block|\\$\\{){0,80}") {
            let tree = parse(text.as_bytes());
            for d in &tree.directives {
                prop_assert!(text.get(d.span.clone()).is_some());
            }
        }
    }
}
