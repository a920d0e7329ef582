//! nginx -v and -V text turned into a version and build defaults; the defaults that changed by version.

use memchr::memmem;

pub use crate::event::process::{BuildDefaults, Product};
use crate::event::site::Version;

/// The first release whose `proxy_http_version` is 1.1 unless it is set (CHANGES of 1.29.7, 2026-03-24).
pub const HTTP_1_1_BY_DEFAULT: Version = Version { major: 1, minor: 29, patch: 7 };

/// Products that number their releases as nginx does. Tengine and Angie print a line of nginx beside their own.
const PRODUCTS: [&[u8]; 2] = [b"nginx/", b"openresty/"];

/// The release in the output of `nginx -v` or `-V`, or in the bytes of the binary itself, which hold the same text:
/// `nginx version: nginx/1.22.1 (Ubuntu)`. A fork that does not say which nginx it follows has none.
#[must_use]
pub fn parse_version(text: &[u8]) -> Option<Version> {
    let said = b"nginx version: ";
    memmem::find_iter(text, said).find_map(|at| {
        let rest = text.get(at + said.len()..)?;
        PRODUCTS.iter().find_map(|p| numbers(rest.strip_prefix(*p)?))
    })
}

/// Who made the binary, by the words with which it names its release (`NGINX_VER` of each).
#[must_use]
pub fn parse_product(text: &[u8]) -> Product {
    const WORDS: [(&[u8], Product); 5] = [
        (b"Tengine version: ", Product::Tengine),
        (b"Angie version: ", Product::Angie),
        (b"nginx version: freenginx/", Product::Freenginx),
        (b"nginx version: openresty/", Product::OpenResty),
        (b"(nginx-plus-", Product::Plus),
    ];
    let found = WORDS.iter().find(|(words, _)| memmem::find(text, words).is_some());
    found.map_or(Product::Nginx, |(_, product)| *product)
}

fn numbers(text: &[u8]) -> Option<Version> {
    let end = text.iter().position(|b| !b.is_ascii_digit() && *b != b'.').unwrap_or(text.len());
    let text = std::str::from_utf8(text.get(..end)?).ok()?;
    let mut parts = text.split('.');
    let mut part = || parts.next()?.parse().ok();
    Some(Version { major: part()?, minor: part()?, patch: part()? })
}

/// The build's paths from the `configure arguments:` line of `nginx -V`; `None` when there is no such line.
#[must_use]
pub fn parse_build(text: &[u8]) -> Option<BuildDefaults> {
    let said = b"configure arguments:";
    let rest = text.get(memmem::find(text, said)? + said.len()..)?;
    let line = rest.split(|b| matches!(b, b'\n' | b'\r' | 0)).next()?;
    let mut build = BuildDefaults { product: parse_product(text), ..BuildDefaults::default() };
    for argument in arguments(&String::from_utf8_lossy(line)) {
        let Some((name, value)) = argument.split_once('=') else { continue };
        let slot = match name {
            "--prefix" => &mut build.prefix,
            "--conf-path" => &mut build.conf_path,
            "--error-log-path" => &mut build.error_log_path,
            "--http-log-path" => &mut build.http_log_path,
            "--sbin-path" => &mut build.sbin,
            _ => continue,
        };
        value.clone_into(slot);
    }
    Some(build)
}

/// Splits as a shell would, quotes removed: `--with-cc-opt='-g -O2' --prefix=/x`.
fn arguments(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut current = String::new();
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (None, c) if c.is_ascii_whitespace() => all.push(std::mem::take(&mut current)),
            (_, c) => current.push(c),
        }
    }
    all.push(current);
    all.retain(|a| !a.is_empty());
    all
}

/// The `proxy_http_version` that holds where none is set. Of an unknown release the old default is assumed, because most
/// installed ones have it; whoever draws a conclusion from it must look whether the release is known.
#[must_use]
pub fn proxy_http_version_default(version: Option<Version>) -> &'static str {
    if version.is_some_and(|v| v >= HTTP_1_1_BY_DEFAULT) { "1.1" } else { "1.0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &[u8] = include_bytes!("../../tests/data/conf/debian-12-V.txt");

    const fn v(major: u16, minor: u16, patch: u16) -> Version {
        Version { major, minor, patch }
    }

    #[test]
    fn versions_of_nginx_and_of_forks_that_follow_it() {
        let cases: &[(&[u8], Option<Version>)] = &[
            (b"nginx version: nginx/1.22.1\n", Some(v(1, 22, 1))),
            (b"nginx version: nginx/1.18.0 (Ubuntu)\n", Some(v(1, 18, 0))),
            (b"nginx version: nginx/1.25.3 (nginx-plus-r31)", Some(v(1, 25, 3))),
            (b"nginx version: openresty/1.21.4.1\n", Some(v(1, 21, 4))),
            (b"Tengine version: Tengine/2.3.2\nnginx version: nginx/1.17.3\n", Some(v(1, 17, 3))),
            (b"Angie version: Angie/1.5.0\n", None),
            (b"nginx version: freenginx/1.25.4\n", None),
            (b"nginx version: nginx/1.22", None),
            (b"nginx version: nginx/99999999.1.1", None),
            (b"\x7fELF\0nginx version: nginx/1.27.3\n\0usage", Some(v(1, 27, 3))),
            (b"", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse_version(text), *want, "for {}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn products_are_told_by_their_own_words() {
        let cases: &[(&[u8], Product)] = &[
            (b"nginx version: nginx/1.22.1\n", Product::Nginx),
            (b"nginx version: nginx/1.25.3 (nginx-plus-r31)\n", Product::Plus),
            (b"nginx version: openresty/1.21.4.1\n", Product::OpenResty),
            (b"Tengine version: Tengine/2.3.2\nnginx version: nginx/1.17.3\n", Product::Tengine),
            (b"Angie version: Angie/1.5.0\nnginx version: nginx/1.25.3\n", Product::Angie),
            (b"nginx version: freenginx/1.27.5\n", Product::Freenginx),
        ];
        for (text, want) in cases {
            assert_eq!(parse_product(text), *want, "for {}", String::from_utf8_lossy(text));
        }
        assert!(
            Product::OpenResty.follows_nginx() && !Product::Angie.follows_nginx() && !Product::Plus.follows_nginx()
        );
    }

    #[test]
    fn debian_paths_are_found_behind_quoted_compiler_flags() {
        let build = parse_build(DEBIAN).expect("has the line");
        assert_eq!(build.prefix, "/usr/share/nginx");
        assert_eq!(build.conf_path, "/etc/nginx/nginx.conf");
        assert_eq!(build.error_log_path, "stderr");
        assert_eq!(build.http_log_path, "/var/log/nginx/access.log");
        assert_eq!(build.sbin, "sbin/nginx");
        assert_eq!(parse_version(DEBIAN), Some(v(1, 22, 1)));
    }

    #[test]
    fn a_prefix_inside_a_quoted_flag_is_not_the_prefix() {
        let build = parse_build(b"configure arguments: --with-cc-opt='-I --prefix=/no' --prefix=/yes").expect("a line");
        assert_eq!(build.prefix, "/yes");
        assert_eq!(build.absolute(&build.conf_path), "/yes/conf/nginx.conf");
        assert_eq!(parse_build(b"nginx version: nginx/1.22.1"), None);
    }

    #[test]
    fn the_default_http_version_changed_in_1_29_7() {
        assert_eq!(proxy_http_version_default(Some(v(1, 22, 1))), "1.0");
        assert_eq!(proxy_http_version_default(Some(v(1, 29, 6))), "1.0");
        assert_eq!(proxy_http_version_default(Some(v(1, 29, 7))), "1.1");
        assert_eq!(proxy_http_version_default(Some(v(1, 31, 0))), "1.1");
        assert_eq!(proxy_http_version_default(None), "1.0");
    }
}
