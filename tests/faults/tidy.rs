//! nginx configurations from one line into many, as people write them.

/// One directive a line, four spaces a level.
pub fn tidy(text: &str) -> String {
    let (mut out, mut line, mut depth) = (String::new(), String::new(), 0_usize);
    let mut quote = None;
    let mut end = |line: &mut String, depth: usize| {
        let trimmed = line.trim();
        if !trimmed.is_empty() {
            out.push_str(&"    ".repeat(depth));
            out.push_str(trimmed);
            out.push('\n');
        }
        line.clear();
    };
    for c in text.chars() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => {
                line.push('{');
                end(&mut line, depth);
                depth += 1;
                continue;
            }
            (None, '}') => {
                end(&mut line, depth);
                depth -= 1;
                line.push('}');
                end(&mut line, depth);
                continue;
            }
            (None, ';') => {
                line.push(';');
                end(&mut line, depth);
                continue;
            }
            (None, '\n') => {
                end(&mut line, depth);
                continue;
            }
            _ => {}
        }
        line.push(c);
    }
    end(&mut line, depth);
    out
}
