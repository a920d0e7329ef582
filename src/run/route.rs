//! `wspulse route`: a URL followed through the configuration, without traffic and without looking names up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::{inputs, out};
use crate::cli::{ColorMode, Format, RouteArgs};
use crate::diagnose::route::on_route;
use crate::event::process::Master;
use crate::event::route::{Request, walk};
use crate::event::site::{Site, Version};
use crate::nginx::version::parse_version;
use crate::report::{self, Asked, RouteReport};
use crate::source::config::{ConfigTarget, read_site};
use crate::source::probe::{Host, WsUrl, parse_header};
use crate::source::process::read_processes;

/// Where distributions put the configuration.
const USUAL_CONF: &str = "/etc/nginx/nginx.conf";
/// The exit code of a handshake that gets lost on its way.
const LOST: u8 = 1;

/// Follows the URL and prints the way.
///
/// # Errors
/// When what was typed cannot be meant, the configuration cannot be read, or stdout cannot be written.
pub fn run(args: &RouteArgs) -> anyhow::Result<ExitCode> {
    let url = WsUrl::parse(&args.url)?;
    let mut request = request(&url, args)?;
    let site = site(args)?;
    let ends_before = args.from.is_some() && request.tls && walk(&site, &request).listen.is_some_and(|l| !l.tls);
    request.tls_ends_before = ends_before;
    let plain = Request { websocket: false, ..request.clone() };
    let mut ways = (walk(&site, &request), walk(&site, &plain));
    if ends_before {
        ways.0.doubts.push("TLS is taken to end before nginx, because --from names a plain socket".to_owned());
    }
    if site.version.is_none() {
        let said = "the release of nginx is not known: the defaults of releases before 1.29.7 are taken; --nginx-version \
                    says otherwise";
        ways.0.doubts.push(said.to_owned());
    }
    if let Some(first) = site.problems.first() {
        ways.0.doubts.push(format!("the configuration is not understood in full: {}: {}", first.place, first.said));
    }
    let findings = on_route(&site, &ways.0);
    let asked = Asked { url: url.to_string(), host: request.host.clone(), from: args.from.clone() };
    let report = RouteReport::of(&site, asked, &ways.0, &ways.1, findings);
    let text = match args.format {
        Format::Text => report::route_text(&report, colored(args.color)),
        Format::Json => report::route_json(&report),
        Format::Markdown => report::route_markdown(&report),
    };
    out::print_as(args.format, &text)?;
    Ok(if report.upgraded == Some(true) { ExitCode::SUCCESS } else { ExitCode::from(LOST) })
}

/// A flag wins over NO_COLOR (no-color.org: any non-empty value).
pub(super) fn colored(flag: Option<ColorMode>) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    out::colored(flag.unwrap_or(if refused { ColorMode::Never } else { ColorMode::Auto }))
}

fn request(url: &WsUrl, args: &RouteArgs) -> anyhow::Result<Request> {
    let mut headers = args.headers.iter().map(|h| parse_header(h)).collect::<Result<Vec<_>, _>>()?;
    let own_host = headers.iter().position(|(n, _)| n.eq_ignore_ascii_case("host")).map(|at| headers.remove(at).1);
    let mut request = Request {
        tls: url.is_secure(),
        host: own_host.unwrap_or_else(|| url.authority()),
        target: url.target().to_owned(),
        local: None,
        websocket: true,
        headers,
        ..Request::default()
    };
    let ip = match url.host() {
        Host::Ip(ip) => *ip,
        Host::Name(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    match args.from.as_deref() {
        None => request.local = Some(SocketAddr::new(ip, url.port())),
        Some(text) => match text.strip_prefix("unix:") {
            Some(path) => request.unix = Some(path.to_owned()),
            None => request.local = Some(address(text, url.port())?),
        },
    }
    Ok(request)
}

/// `10.0.0.5`, `10.0.0.5:8443`, `:8443`, `::1`, `[::1]:8443`.
fn address(text: &str, port: u16) -> anyhow::Result<SocketAddr> {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if let Some(port) = text.strip_prefix(':').and_then(|p| p.parse().ok()) {
        return Ok(SocketAddr::new(any, port));
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse() {
        return Ok(SocketAddr::new(ip, port));
    }
    text.parse().with_context(|| format!("--from: '{text}' is no address; write IP, IP:PORT, :PORT or unix:PATH"))
}

/// The configuration that was named, else that of the running nginx, else the usual one.
fn site(args: &RouteArgs) -> anyhow::Result<Site> {
    let version = args.nginx_version.as_deref().map(version).transpose()?;
    if let Some(conf) = &args.nginx_conf {
        inputs::readable(conf)?;
    }
    let masters = read_processes(args.no_exec, args.pid).map(|p| p.masters).unwrap_or_default();
    let mut target = target(args.nginx_conf.as_deref(), &masters);
    if version.is_some() {
        target.version = version;
    }
    let site = read_site(&target);
    if site.files.is_empty() {
        let why = site.problems.first().map_or("it cannot be read", |p| p.said.as_str());
        bail!("no configuration to follow the URL in: {why}; name the main file with --nginx-conf");
    }
    Ok(site)
}

fn target(conf: Option<&Path>, masters: &[Master]) -> ConfigTarget {
    let mut running = masters.iter().filter_map(ConfigTarget::of_master);
    let Some(conf) = conf else {
        return running.next().unwrap_or_else(|| ConfigTarget::new(USUAL_CONF, None, None, None));
    };
    let named = ConfigTarget::new(&conf.to_string_lossy(), None, None, None);
    // The nginx that runs with this very file tells its release and its paths.
    running.find(|t| t.conf == named.conf && t.root.is_none()).unwrap_or(named)
}

fn version(text: &str) -> anyhow::Result<Version> {
    let read = parse_version(format!("nginx version: nginx/{text}").as_bytes());
    read.with_context(|| format!("--nginx-version: '{text}' is no release; write it as 1.29.7"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_all_forms() {
        let cases = [
            ("10.0.0.5", "10.0.0.5:80"),
            ("10.0.0.5:8443", "10.0.0.5:8443"),
            (":8443", "0.0.0.0:8443"),
            ("::1", "[::1]:80"),
            ("[::1]", "[::1]:80"),
            ("[::1]:90", "[::1]:90"),
        ];
        for (text, want) in cases {
            assert_eq!(address(text, 80).expect(text).to_string(), want);
        }
        assert!(address("host:80", 80).expect_err("a name").to_string().contains("--from"));
        assert_eq!(version("1.29.7").expect("a release").to_string(), "1.29.7");
        assert!(version("new").is_err());
    }
}
