//! The way of a request through nginx: what `walk` foresees, held against what a real nginx does with the same requests.

mod support;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::Value;
use support::nginx::{Nginx, installed, newest};
use support::{free_port, run};
use wspulse::diagnose::route::on_route;
use wspulse::event::route::{End, Request, walk, written};
use wspulse::event::site::Site;
use wspulse::nginx::resolve::{Reader, resolve};
use wspulse::nginx::version::BuildDefaults;
use wspulse::report::{Asked, RouteReport, route_markdown, route_text};
use wspulse::source::config::{ConfigTarget, read_site};

/// Requests to one configuration: the lines of `http` with `PORT` for its port and `BACKEND` for the backend's, then
/// the targets, each perhaps with `HOST|` in front, and what becomes of them: `LOCATION => GET TARGET` or `LOCATION => STATUS`.
type Group = (&'static str, &'static [(&'static str, &'static str)]);

#[rustfmt::skip]
const GROUPS: &[Group] = &[
    // Exact, prefixes by length, patterns in file order, ^~.
    ("server { listen 127.0.0.1:PORT;
        location / { proxy_pass http://127.0.0.1:BACKEND; }
        location = /exact { proxy_pass http://127.0.0.1:BACKEND; }
        location /exact { proxy_pass http://127.0.0.1:BACKEND; }
        location /long { proxy_pass http://127.0.0.1:BACKEND; }
        location /long/er { proxy_pass http://127.0.0.1:BACKEND; }
        location ^~ /static { proxy_pass http://127.0.0.1:BACKEND; }
        location ~ \\.js$ { proxy_pass http://127.0.0.1:BACKEND; }
        location ~* \\.PNG$ { proxy_pass http://127.0.0.1:BACKEND; }
        location ~ /pat/(a|b) { proxy_pass http://127.0.0.1:BACKEND; }
        location ~ /pat/ { proxy_pass http://127.0.0.1:BACKEND; }
        location '/with space' { proxy_pass http://127.0.0.1:BACKEND; }
        location /kä { proxy_pass http://127.0.0.1:BACKEND; }
    }", &[
        ("/", "/ => GET /"),
        ("/exact", "= /exact => GET /exact"),
        ("/exact?a=1&b", "= /exact => GET /exact?a=1&b"),
        ("/exact/", "/exact => GET /exact/"),
        ("/exactly", "/exact => GET /exactly"),
        ("/Exact", "/ => GET /Exact"),
        ("/long", "/long => GET /long"),
        ("/long/er", "/long/er => GET /long/er"),
        ("/long/e", "/long => GET /long/e"),
        ("/static/a.js", "^~ /static => GET /static/a.js"),
        ("/exact/a.js", "~ \\.js$ => GET /exact/a.js"),
        ("/long/er/a.js", "~ \\.js$ => GET /long/er/a.js"),
        ("/a.js?x", "~ \\.js$ => GET /a.js?x"),
        ("/a.JS", "/ => GET /a.JS"),
        ("/a.png", "~* \\.PNG$ => GET /a.png"),
        ("/pat/b", "~ /pat/(a|b) => GET /pat/b"),
        ("/pat/c", "~ /pat/ => GET /pat/c"),
        ("/pat/c.js", "~ \\.js$ => GET /pat/c.js"),
        ("//exact", "= /exact => GET //exact"),
        ("/long//er", "/long/er => GET /long//er"),
        ("/./exact", "= /exact => GET /./exact"),
        ("/a/../exact", "= /exact => GET /a/../exact"),
        ("/a/..%2fexact", "= /exact => GET /a/..%2fexact"),
        ("/%65xact", "= /exact => GET /%65xact"),
        ("/exact%3Fa", "/exact => GET /exact%3Fa"),
        ("/exact%23a", "/exact => GET /exact%23a"),
        ("/exact%2f", "/exact => GET /exact%2f"),
        ("/static%2e/a.js", "^~ /static => GET /static%2e/a.js"),
        ("/with%20space/x", "/with space => GET /with%20space/x"),
        ("/k%C3%A4se", "/kä => GET /k%C3%A4se"),
        ("/..", " => 400"),
        ("/a/../../b", " => 400"),
        ("/%", " => 400"),
        ("/%zz", " => 400"),
        ("/%00", " => 400"),
        ("/a+b?c+d", "/ => GET /a+b?c+d"),
    ]),
    // The URI of proxy_pass, the missing slash, query and escapes.
    ("server { listen 127.0.0.1:PORT;
        location /slash/ { proxy_pass http://127.0.0.1:BACKEND/; }
        location /noslash { proxy_pass http://127.0.0.1:BACKEND/; }
        location /sub/ { proxy_pass http://127.0.0.1:BACKEND/v1/chat/; }
        location /glue/ { proxy_pass http://127.0.0.1:BACKEND/x; }
        location /plain/ { proxy_pass http://127.0.0.1:BACKEND; }
        location = /one/ { proxy_pass http://127.0.0.1:BACKEND/ONE; }
        location = /two { proxy_pass http://127.0.0.1:BACKEND/TWO; }
        location /both { proxy_pass http://127.0.0.1:BACKEND; }
        location /both/ { proxy_pass http://127.0.0.1:BACKEND/slashed/; }
        location /query/ { proxy_pass http://127.0.0.1:BACKEND/q?a=; }
        location /files/ { }
        location /fcgi/ { fastcgi_pass 127.0.0.1:1; }
        location ~ ^/plai { proxy_pass http://127.0.0.1:BACKEND; }
    }", &[
        ("/slash/ws", "/slash/ => GET /ws"),
        ("/slash/", "/slash/ => GET /"),
        ("/slash", "/slash/ => 301 /slash/"),
        ("/slash?a=b&c", "/slash/ => 301 /slash/?a=b&c"),
        ("/slash/a?b=c", "/slash/ => GET /a?b=c"),
        ("/slash//a", "/slash/ => GET /a"),
        ("/slash/a%20b%2fc", "/slash/ => GET /a%20b/c"),
        ("/slash/a%3Fb", "/slash/ => GET /a%3Fb"),
        ("/slash/%22%7B%7D", "/slash/ => GET /%22%7B%7D"),
        ("/slash/%C3%A4", "/slash/ => GET /%C3%A4"),
        ("/slash/a%2Bb", "/slash/ => GET /a+b"),
        ("/slash/a;b=c:d@e", "/slash/ => GET /a;b=c:d@e"),
        ("/slash/?", "/slash/ => GET /"),
        ("/noslash", "/noslash => GET /"),
        ("/noslash/ws", "/noslash => GET //ws"),
        ("/noslashed", "/noslash => GET /ed"),
        ("/sub/a/../b", "/sub/ => GET /v1/chat/b"),
        ("/glue/b", "/glue/ => GET /xb"),
        ("/plain/a?b", "~ ^/plai => GET /plain/a?b"),
        ("/plain", "/plain/ => 301 /plain/"),
        ("/one/", "= /one/ => GET /ONE"),
        ("/one", "= /one/ => 301 /one/"),
        ("/two?x=1", "= /two => GET /TWO?x=1"),
        ("/both", "/both => GET /both"),
        ("/both/x", "/both/ => GET /slashed/x"),
        ("/query/b", "/query/ => GET /q?a=b"),
        ("/query/b?c", "/query/ => GET /q?a=b?c"),
        ("/files", " => files"),
        ("/files/", "/files/ => files"),
        ("/fcgi", "/fcgi/ => 301 /fcgi/"),
        ("/nothing", " => files"),
    ]),
    // Nested locations.
    ("server { listen 127.0.0.1:PORT;
        location /a/ { proxy_pass http://127.0.0.1:BACKEND;
            location /a/b/ { proxy_pass http://127.0.0.1:BACKEND/in/;
                location ~ \\.x$ { proxy_pass http://127.0.0.1:BACKEND; } }
            location = /a/c { proxy_pass http://127.0.0.1:BACKEND; }
            location ~ \\.y$ { proxy_pass http://127.0.0.1:BACKEND; } }
        location ^~ /n/ { proxy_pass http://127.0.0.1:BACKEND;
            location ~ \\.y$ { proxy_pass http://127.0.0.1:BACKEND; }
            location /n/m/ { proxy_pass http://127.0.0.1:BACKEND; } }
        location /o/ { proxy_pass http://127.0.0.1:BACKEND;
            location ^~ /o/p/ { proxy_pass http://127.0.0.1:BACKEND; } }
        location ~ ^/(.*)\\.z$ { proxy_pass http://127.0.0.1:BACKEND;
            location ~ q { proxy_pass http://127.0.0.1:BACKEND; } }
    }", &[
        ("/a/k", "/a/ => GET /a/k"),
        ("/a/b/k", "/a/b/ => GET /in/k"),
        ("/a/b", "/a/b/ => 301 /a/b/"),
        ("/a/b/k.x", "~ \\.x$ => GET /a/b/k.x"),
        ("/a/b/k.y", "~ \\.y$ => GET /a/b/k.y"),
        ("/a/c", "= /a/c => GET /a/c"),
        ("/a/b/k.z", "~ ^/(.*)\\.z$ => GET /a/b/k.z"),
        ("/n/k.y", "~ \\.y$ => GET /n/k.y"),
        ("/n/k.z", "^~ /n/ => GET /n/k.z"),
        ("/n/m", "/n/m/ => 301 /n/m/"),
        ("/n/m/k.z", "/n/m/ => GET /n/m/k.z"),
        ("/o/p/k.z", "~ ^/(.*)\\.z$ => GET /o/p/k.z"),
        ("/o/p/q.z", "~ q => GET /o/p/q.z"),
    ]),
    // Variables in proxy_pass.
    ("map $http_upgrade $backend { default 127.0.0.1:BACKEND; '' 127.0.0.1:1; }
      map $uri $new { ~^/map/(?<rest>.*)$ /mapped/$rest; default /other; }
      upstream pool { server 127.0.0.1:BACKEND weight=3; server 127.0.0.1:1 backup; keepalive 4; }
      server { listen 127.0.0.1:PORT;
        location /v1 { proxy_pass http://$backend; }
        location /v2 { proxy_pass http://$backend/fix; }
        location /v3 { proxy_pass http://$backend$request_uri; }
        location /v4 { proxy_pass http://$backend/x$is_args$args; }
        location /v5 { set $b pool; proxy_pass http://$b; }
        location ~ ^/v6/(.*)$ { proxy_pass http://$backend/six/$1; }
        location ~ ^/v7/(?<who>[a-z]+)/(\\d+) { proxy_pass http://pool/$who?n=$2; }
        location /v8 { proxy_pass http://pool/eight; }
        location /map { proxy_pass http://pool$new; }
        location /arg { proxy_pass http://pool/$arg_room; }
        location /v9/ { proxy_pass http://$backend?x; }
        location /v10/ { set $x $1$2; rewrite ^/v10/(..)(.) /w/$2$1 break; proxy_pass http://pool; }
    }", &[
        ("/v1/a%20b?c", "/v1 => GET /v1/a%20b?c"),
        ("/v2/a?c", "/v2 => GET /fix"),
        ("/v3//a?c", "/v3 => GET /v3//a?c"),
        ("/v4?c=d", "/v4 => GET /x?c=d"),
        ("/v4", "/v4 => GET /x"),
        ("/v5/a", "/v5 => GET /v5/a"),
        ("/v6/a/b?c", "~ ^/v6/(.*)$ => GET /six/a/b"),
        ("/v7/bob/42/x", "~ ^/v7/(?<who>[a-z]+)/(\\d+) => GET /bob?n=42"),
        ("/v8/z", "/v8 => GET /eight/z"),
        ("/map/a/b?q", "/map => GET /mapped/a/b"),
        ("/mapless", "/map => GET /other"),
        ("/arg?room=7&x=1", "/arg => GET /7"),
        ("/v9/a", "/v9/ => GET /?x"),
        ("/v10/abc?q", "/v10/ => GET /w/cab?q"),
    ]),
    // rewrite, return, break, if, set.
    ("server { listen 127.0.0.1:PORT;
        rewrite ^/srv/(.*)$ /moved/$1 last;
        rewrite ^/chain1$ /chain2;
        rewrite ^/chain2$ /moved/chain;
        if ($arg_down) { return 503; }
        location / { proxy_pass http://127.0.0.1:BACKEND; }
        location /moved/ { proxy_pass http://127.0.0.1:BACKEND/m/; }
        location /last/ { rewrite ^/last/(.*)$ /moved/$1?new=1 last; proxy_pass http://127.0.0.1:BACKEND/never; }
        location /drop/ { rewrite ^/drop/(.*)$ /moved/$1? last; }
        location /keep/ { rewrite ^/keep/(.*)$ /kept/$1 break; proxy_pass http://127.0.0.1:BACKEND/ignored/; }
        location /kesc/ { rewrite ^/kesc/(.*)$ /k/$1 break; proxy_pass http://127.0.0.1:BACKEND; }
        location /noflag/ { rewrite ^/noflag/(.*)$ /moved/$1; rewrite ^/moved/(.*)$ /moved/again/$1; }
        location /broken/ { rewrite ^/broken/(.*)$ /b/$1; break; proxy_pass http://127.0.0.1:BACKEND; }
        location /redir { rewrite ^ /slash/ redirect; }
        location /perm { rewrite ^/perm(.*)$ /new$1?x=1 permanent; }
        location /abs { rewrite ^ http://127.0.0.1:PORT/elsewhere; }
        location /ret { return 301 /new$request_uri; }
        location /url { return http://127.0.0.1:PORT/u; }
        location /gone { return 410; }
        location /ok { return 200 fine; }
        location /cycle { rewrite ^ /cycle/a last; }
        location /ifws { if ($http_upgrade = websocket) { proxy_pass http://127.0.0.1:BACKEND; } return 204; }
        location /ifpass { if ($http_upgrade = websocket) { proxy_pass http://127.0.0.1:BACKEND; } proxy_pass http://127.0.0.1:1; }
        location /iftwo { if ($http_upgrade) { proxy_pass http://127.0.0.1:1; } if ($request_method = GET) { set $a 1; } proxy_pass http://127.0.0.1:BACKEND; }
        location /ifnot { if ($http_upgrade != websocket) { return 426; } proxy_pass http://127.0.0.1:BACKEND; }
        location /ifre { if ($request_uri ~ ^/ifre/(.*)) { set $r $1; } proxy_pass http://127.0.0.1:BACKEND/r/$r; }
        location /ifslash/ { if ($arg_x = 1) { proxy_pass http://127.0.0.1:BACKEND; } }
        location /inner { internal; proxy_pass http://127.0.0.1:BACKEND; }
        location /toinner { rewrite ^ /inner last; }
        location /esc { rewrite ^/esc/(.*)$ /moved/x?p=$1 last; }
    }", &[
        ("/srv/a?b", "/moved/ => GET /m/a?b"),
        ("/chain1", "/moved/ => GET /m/chain"),
        ("/x?down=1", " => 503"),
        ("/last/a", "/moved/ => GET /m/a?new=1"),
        ("/last/a?b=2", "/moved/ => GET /m/a?new=1&b=2"),
        ("/drop/a?b=2", "/moved/ => GET /m/a"),
        ("/keep/a?b", "/keep/ => GET /kept/a?b"),
        ("/kesc/a%20b", "/kesc/ => GET /k/a%20b"),
        ("/noflag/a", "/moved/ => GET /m/again/a"),
        ("/broken/a", "/broken/ => GET /b/a"),
        ("/redir?a", "/redir => 302 /slash/?a"),
        ("/permanent?a=b", "/perm => 301 /newanent?x=1&a=b"),
        ("/abs", "/abs => 302 /elsewhere"),
        ("/ret?x", "/ret => 301 /new/ret?x"),
        ("/url", "/url => 302 /u"),
        ("/gone", "/gone => 410"),
        ("/ok", "/ok => 200"),
        ("/cycle", "/cycle => 500"),
        ("/ifws", "/ifws => 204"),
        ("/ifpass", "/ifpass => GET /ifpass"),
        ("/iftwo", "/iftwo => GET /iftwo"),
        ("/ifnot", "/ifnot => GET /ifnot"),
        ("/ifre/z", "/ifre => GET /r/z"),
        ("/ifslash", "/ => GET /ifslash"),
        ("/ifslash/?x=1", "/ifslash/ => GET /ifslash/?x=1"),
        ("/inner", "/inner => 404"),
        ("/toinner", "/inner => GET /inner"),
        ("/esc/a%26b", "/moved/ => GET /m/x?p=a%26b"),
    ]),
    // try_files, named locations, error pages.
    ("server { listen 127.0.0.1:PORT;
        error_page 404 /lost;
        location / { try_files $uri @ws; }
        location @ws { proxy_pass http://127.0.0.1:BACKEND; }
        location /app { try_files $uri $uri/ /index?$args; }
        location /noargs { try_files $uri /index; }
        location /index { proxy_pass http://127.0.0.1:BACKEND/i; }
        location /miss { try_files $uri =404; }
        location /lost { proxy_pass http://127.0.0.1:BACKEND; }
        location /code { try_files $uri =410; }
        location /teapot { error_page 418 = @ws; return 418; }
        location /teapage { error_page 418 =200 /index/t; return 418; }
        location /away { error_page 403 http://127.0.0.1:PORT/login; return 403; }
        location /named { rewrite ^ /changed?; try_files $uri @ws; }
        location /escaped/ { error_page 418 = @moved; return 418; }
        location @moved { rewrite ^/escaped/(.*)$ /e/$1 break; proxy_pass http://127.0.0.1:BACKEND; }
    }", &[
        ("/socket?token=1", "@ws => GET /socket?token=1"),
        ("/app/x?a=1", "/index => GET /i?a=1"),
        ("/noargs?a=1", "/index => GET /i"),
        ("/miss", "/lost => GET /lost"),
        ("/code", "/code => 410"),
        ("/teapot/%20?a", "@ws => GET /teapot/%20?a"),
        ("/teapage", "/index => GET /i/t"),
        ("/away", "/away => 302 /login"),
        ("/named?x", "@ws => GET /changed"),
        ("/escaped/a%20b", "@moved => GET /e/a%20b"),
    ]),
    // Servers by name.
    ("server { listen 127.0.0.1:PORT; server_name first.test; location / { return 201; } }
      server { listen 127.0.0.1:PORT default_server; server_name _; location / { return 202; } }
      server { listen 127.0.0.1:PORT; server_name chat.example.com; location / { return 203; } }
      server { listen 127.0.0.1:PORT; server_name *.example.com; location / { return 205; } }
      server { listen 127.0.0.1:PORT; server_name .b.example.com; location / { return 206; } }
      server { listen 127.0.0.1:PORT; server_name www.example.*; location / { return 207; } }
      server { listen 127.0.0.1:PORT; server_name ~^(?<room>.+)\\.re\\.test$; location / { proxy_pass http://127.0.0.1:BACKEND/$room; } }
      server { listen 127.0.0.1:PORT; server_name ~\\.re\\.test$; location / { return 208; } }
      server { listen 127.0.0.1:PORT; server_name ''; location / { return 209; } }
      server { listen 127.0.0.1:PORT; server_name www.example.com.*; location / { return 210; } }", &[
        ("first.test|/", "/ => 201"),
        ("FIRST.test:80|/", "/ => 201"),
        ("first.test.|/", "/ => 201"),
        ("nobody.test|/", "/ => 202"),
        ("chat.example.com|/", "/ => 203"),
        ("Chat.Example.COM:99|/", "/ => 203"),
        ("x.example.com|/", "/ => 205"),
        ("x.y.example.com|/", "/ => 205"),
        ("example.com|/", "/ => 202"),
        ("b.example.com|/", "/ => 206"),
        ("a.b.example.com|/", "/ => 206"),
        ("www.example.org|/", "/ => 207"),
        ("www.example.com|/", "/ => 205"),
        ("www.example.com.au|/", "/ => 210"),
        ("lobby.re.test|/", "/ => GET /lobby"),
        ("10.0.0.1|/", "/ => 202"),
    ]),
    // Without default_server the first one is it; slashes kept.
    ("server { listen 127.0.0.1:PORT; merge_slashes off;
        location /a/b { return 201; } location /a//b { return 202; } location // { return 203; } location / { return 205; } }
      server { listen 127.0.0.1:PORT; server_name merged.test; location /a/b { return 206; } location /a//b { return 207; } location / { return 208; } }", &[
        ("any.test|/a/b", "/a/b => 201"),
        ("any.test|/a//b", "/a//b => 202"),
        ("any.test|//x", "// => 203"),
        ("any.test|/a//../b", "/a/b => 201"),
        ("merged.test|/a//b", "/a//b => 207"),
    ]),
    // fixed oddities of prefixes that share letters
    ("server { listen 127.0.0.1:PORT;
        location = /w { return 201; }
        location /ws/ { proxy_pass http://127.0.0.1:BACKEND; }
        location = /ws/x/ { proxy_pass http://127.0.0.1:BACKEND; }
        location /wsx { return 202; }
        location ~ ^/ws$ { return 203; }
        location ~ ^/w { return 205; }
        location ^~ /wt { return 206; }
    }", &[
        ("/w", "= /w => 201"),
        ("/ws", "/ws/ => 301 /ws/"),
        ("/ws/x", "= /ws/x/ => 301 /ws/x/"),
        ("/ws/x/", "= /ws/x/ => GET /ws/x/"),
        ("/ws/x/y", "~ ^/w => 205"),
        ("/wsx", "~ ^/w => 205"),
        ("/wt/ws", "^~ /wt => 206"),
        ("/v", " => files"),
    ]),
];

/// A backend that answers every request with the request line that it got.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    port
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let head = head(&mut BufReader::new(stream.try_clone()?))?;
    let body = head.join("\n");
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn head(reader: &mut impl std::io::BufRead) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.take(65_536).read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(lines);
        }
        lines.push(line.trim_end().to_owned());
    }
}

/// What nginx does: the line of the location that answered, and what became of the request.
fn asked(port: u16, host: &str, target: &str) -> (Option<u32>, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("nginx listens");
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .expect("asked");
    let mut reader = BufReader::new(stream);
    let head = head(&mut reader).expect("an answer");
    let mut body = String::new();
    let _ = reader.read_to_string(&mut body);
    let status = head[0].split(' ').nth(1).expect("a status").to_owned();
    let header = |name: &str| {
        let mut lines = head.iter().rev().filter_map(|l| l.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_owned())
    };
    let line = header("X-Line").map(|l| l.parse().expect("a number"));
    let what = match (body.lines().next(), header("Location")) {
        (Some(request), _) if request.starts_with("GET ") => request.rsplit_once(' ').expect("a version").0.to_owned(),
        (_, Some(to)) => format!("{status} {}", path_of(&to)),
        _ => status,
    };
    (line, what)
}

/// `http://host:port/path` without what stands before the path.
fn path_of(url: &str) -> &str {
    match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => url,
    }
}

/// What is foreseen, in the same form, with the location's text.
fn foreseen(site: &Site, port: u16, host: &str, target: &str) -> (Option<u32>, String, String) {
    let local: SocketAddr = ([127, 0, 0, 1], port).into();
    let request = Request {
        host: host.to_owned(),
        target: target.to_owned(),
        local: Some(local),
        websocket: true,
        ..Request::default()
    };
    let walk = walk(site, &request);
    let what = match &walk.end {
        End::Upstream(passed) => format!("GET {}", passed.target.as_deref().unwrap_or("?")),
        End::Redirect { status, to, .. } => format!("{status} {}", path_of(to.as_deref().unwrap_or("?"))),
        End::Answer { status, .. } => status.map_or_else(|| "none".to_owned(), |s| s.to_string()),
        End::Files { .. } => "files".to_owned(),
        End::Cycle => "500".to_owned(),
        other => format!("{other:?}"),
    };
    let location = walk.spot.1;
    // `route` is the first choice of the same walk.
    if !walk.steps.iter().any(|s| matches!(s, wspulse::event::route::Happened::Did { .. })) {
        let chosen = site.route(Some(local), host, target).map(|(_, l)| l);
        assert_eq!(chosen.map(|l| &l.place), location.map(|l| &l.place), "{host}{target}");
    }
    (location.map(|l| l.place.line), location.map(written).unwrap_or_default(), what)
}

/// Every location says its line in a header, without changing the lines.
fn marked(http: &str, first_line: usize) -> String {
    let mut out = String::new();
    for (n, line) in http.lines().enumerate() {
        let mark = format!("{{ add_header X-Line {} always;", first_line + n);
        match line
            .split_once("location ")
            .and_then(|(before, rest)| Some((before, rest.rsplit_once(" { ").or(rest.split_once(" {"))?)))
        {
            // Several locations on one line: each is marked with the same line.
            Some(_) => {
                let mut rest = line;
                while let Some((before, after)) = rest.split_once("location ") {
                    let (head, tail) = after.split_once(" {").expect("a block");
                    let _ = write!(out, "{before}location {head} {mark}");
                    rest = tail;
                }
                out.push_str(rest);
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// Lines of the configuration before those of the test (tests/support/nginx.rs).
const BEFORE: usize = 13;

fn cross_check(binary: &Path) {
    let backend = echo();
    let mut http = String::new();
    let mut ports = Vec::new();
    for (text, _) in GROUPS {
        let port = free_port();
        let text = text.replace("PORT", &port.to_string()).replace("BACKEND", &backend.to_string());
        http.push_str(&marked(&text, BEFORE + http.lines().count()));
        ports.push(port);
    }
    let nginx = Nginx::start(binary, "error", &http, "");
    let conf = nginx.path("nginx.conf").to_string_lossy().into_owned();
    let site = read_site(&ConfigTarget::new(&conf, None, None, None));
    assert_eq!(site.problems, [], "every line is understood");
    let mut wrong = Vec::new();
    let mut cases = 0;
    for ((_, requests), port) in GROUPS.iter().zip(&ports) {
        for (request, want) in *requests {
            cases += 1;
            let (host, target) = request.split_once('|').unwrap_or(("lab.test", request));
            let (line, location, said) = foreseen(&site, *port, host, target);
            if format!("{location} => {said}") != *want {
                wrong.push(format!("{request}: wanted {want}, foreseen {location} => {said}"));
            }
            let (real_line, real) = asked(*port, host, target);
            let files = said == "files" && matches!(real.as_str(), "403" | "404" | "405");
            if real != said && !files {
                wrong.push(format!("{request}: foreseen {said}, nginx did {real}"));
            }
            if real_line != line && real != "400" {
                wrong.push(format!("{request}: foreseen location in line {line:?}, nginx chose {real_line:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases}:\n{}\n{}", wrong.len(), wrong.join("\n"), nginx.log("error.log"));
    assert!(cases >= 80, "only {cases}");
}

#[test]
fn the_walk_is_nginx_s_own() {
    if let Some(binary) = installed() {
        cross_check(&binary);
    }
}

#[test]
fn the_walk_is_that_of_the_newest_nginx_too() {
    if let Some(binary) = newest() {
        cross_check(&binary);
    }
}

const HEADERS: &str =
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $up;";

/// A configuration in a folder of its own.
fn configured(http: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let conf = dir.path().join("nginx.conf");
    let text = format!("events {{}}\nhttp {{\nmap $http_upgrade $up {{ default upgrade; '' close; }}\n{http}\n}}\n");
    std::fs::write(&conf, text).expect("written");
    (dir, conf)
}

/// `wspulse route URL --nginx-conf CONF --format json` and its exit code; the schema holds.
fn routed(conf: &Path, url: &str, more: &[&str]) -> (Value, i32) {
    let conf = conf.to_string_lossy();
    let mut args = vec!["route", url, "--nginx-conf", &conf, "--no-exec", "--format", "json"];
    args.extend(more);
    let out = run(&args);
    let report: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|e| panic!("no report ({e}): {}", String::from_utf8_lossy(&out.stderr)));
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/schema/route-1.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).expect("the schema")).expect("JSON");
    let valid = jsonschema::draft202012::new(&schema).expect("a schema");
    let errors: Vec<String> = valid.iter_errors(&report).map(|e| format!("{e} at {}", e.instance_path)).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{report:#}");
    (report, out.status.code().expect("an exit code"))
}

fn ids(report: &Value) -> Vec<&str> {
    report["findings"].as_array().expect("findings").iter().map(|f| f["id"].as_str().expect("an id")).collect()
}

fn said(report: &Value) -> &str {
    report["said"].as_str().expect("a sentence")
}

#[test]
fn a_handshake_that_arrives_is_told_in_one_sentence() {
    let (_dir, conf) = configured(&format!(
        "upstream chat {{ server 10.0.0.7:8080 weight=3; server 10.0.0.8:8080 backup; keepalive 8; }}
         proxy_read_timeout 1h;
         server {{ listen 80; server_name chat.test; {HEADERS} location /ws/ {{ proxy_pass http://chat/v1/; }} }}"
    ));
    let (r, code) = routed(&conf, "ws://chat.test/ws/room?token=s3cret&a=b", &["--nginx-version", "1.22.1"]);
    assert_eq!(code, 0, "{r:#}");
    assert_eq!(
        said(&r),
        "A WebSocket handshake for ws://chat.test/ws/room?token=***&a=b arrives at 10.0.0.7:8080 as \
         GET /v1/room?token=***&a=b HTTP/1.1 with Upgrade and Connection: upgrade"
    );
    assert!(!r.to_string().contains("s3cret"));
    assert_eq!((&r["nginx"], &r["doubts"]), (&"1.22.1".into(), &Value::Array(Vec::new())));
    let header = |name: &str| {
        let all = r["headers"].as_array().expect("headers");
        all.iter().find(|h| h["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    assert_eq!(
        (&header("Connection")["websocket"], &header("Connection")["plain"]),
        (&"upgrade".into(), &"close".into())
    );
    assert_eq!((&header("Upgrade")["plain"], &header("Upgrade")["scope"]), (&"".into(), &"server".into()));
    assert_eq!((&header("Host")["websocket"], &header("Host")["scope"]), (&"chat".into(), &"built-in".into()));
    let timeouts = &r["end"]["timeouts"];
    assert_eq!(
        (&timeouts["proxy_read_timeout"]["value"], &timeouts["proxy_read_timeout"]["scope"]),
        (&3600.0.into(), &"http".into())
    );
    assert_eq!(timeouts["proxy_send_timeout"]["place"], Value::Null);
    assert_eq!((&r["end"]["peers"][0]["weight"], &r["end"]["peers"][1]["backup"]), (&3.into(), &true.into()));
    assert_eq!(r["end"]["upstream"]["settings"][0][0], "keepalive 8");
}

type Case = (&'static str, &'static [&'static str], &'static [&'static str], &'static str, i32);

#[test]
fn where_a_handshake_gets_lost_is_named() {
    let (_dir, conf) = configured(&format!(
        "server {{ listen 80; listen 443 ssl; server_name a.test; {HEADERS}
            location /lost {{ proxy_set_header X-A b; proxy_pass http://127.0.0.1:1; }}
            location /zero {{ proxy_read_timeout 0; proxy_pass http://127.0.0.1:1; }}
            location /dir/ {{ proxy_pass http://127.0.0.1:1; }}
            location /drop {{ set $b 127.0.0.1:1; proxy_pass http://$b/x; }}
            location /unknown {{ proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $cookie_c; proxy_pass http://127.0.0.1:1; }}
            location /teapot {{ error_page 418 @ws; return 418; }}
            location /f {{ fastcgi_pass 127.0.0.1:2; }}
            location @ws {{ proxy_pass http://127.0.0.1:1; }} }}
         server {{ listen 8080; server_name b.test; }}"
    ));
    // URL, further options, findings, a part of the sentence, the exit code.
    let cases: &[Case] = &[
        (
            "ws://a.test/lost",
            &[],
            &["headers-lost-by-inheritance", "upgrade-header-missing", "connection-header-missing"],
            "arrives at 127.0.0.1:1 as GET /lost HTTP/1.1, but no longer as a handshake",
            1,
        ),
        ("ws://a.test/zero", &[], &["timeout-zero", "upgrade-any-protocol"], "with Upgrade and Connection: upgrade", 0),
        ("ws://a.test/dir", &[], &["redirected"], "answers 301 to /dir/", 1),
        ("ws://a.test/drop?x=1", &[], &["query-dropped", "upgrade-any-protocol"], "GET /x HTTP/1.1 with", 0),
        ("ws://a.test/unknown", &[], &[], "cannot be told from the files", 1),
        (
            "ws://a.test/unknown",
            &["--header", "Cookie: b=1; c=upgrade"],
            &[],
            "with Upgrade and Connection: upgrade",
            0,
        ),
        ("ws://a.test/teapot", &[], &["upgrade-any-protocol"], "turns the answer's status into 418", 1),
        ("ws://a.test/f", &[], &["location-mismatch"], "fastcgi_pass 127.0.0.1:2 carries no WebSocket", 1),
        ("ws://a.test/none", &[], &["location-mismatch"], "looks for a file", 1),
        ("ws://b.test/none", &[], &["wrong-server-block", "location-mismatch"], "looks for a file", 1),
        ("ws://a.test:443/zero", &[], &["plain-to-tls-port"], "a plain request came to a TLS port", 1),
        ("wss://a.test:80/zero", &[], &["tls-to-plain-port"], "TLS came to a port that speaks plain HTTP", 1),
        ("wss://a.test/zero", &["--from", ":80"], &["timeout-zero", "upgrade-any-protocol"], "with Upgrade", 0),
        ("ws://10.1.1.1:99/", &[], &[], "does not listen there, only on 0.0.0.0:443, 0.0.0.0:80, 0.0.0.0:8080", 1),
        (
            "ws://10.1.1.1/zero",
            &["--header", "Host: a.test"],
            &["timeout-zero", "upgrade-any-protocol"],
            "with Upgrade",
            0,
        ),
    ];
    for (url, more, want, part, code) in cases {
        let (r, exit) = routed(&conf, url, more);
        let mut want: Vec<&str> = want.to_vec();
        want.sort_unstable();
        let mut found = ids(&r);
        found.sort_unstable();
        assert_eq!(found, want, "{url}: {r:#}");
        assert!(said(&r).contains(part), "{url}: {}", said(&r));
        assert_eq!(exit, *code, "{url}");
    }
}

#[test]
fn a_request_that_cannot_be_followed_is_refused() {
    let (_dir, conf) = configured("server { listen 80; }");
    let conf = conf.to_string_lossy();
    for (args, part) in [
        (vec!["route", "http://a.test/", "--nginx-conf", &conf], "use ws://"),
        (vec!["route", "ws://a.test/", "--nginx-conf", "/no/such.conf"], "cannot read /no/such.conf"),
        (vec!["route", "ws://a.test/", "--nginx-conf", &conf, "--from", "there"], "--from: 'there' is no address"),
        (vec!["route", "ws://a.test/", "--nginx-conf", &conf, "--nginx-version", "new"], "--nginx-version"),
        (vec!["route", "ws://a.test/", "--nginx-conf", &conf, "--header", "x"], "header"),
    ] {
        let out = run(&args);
        let err = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{args:?}: {err}");
        assert!(err.contains(part) && out.stdout.is_empty(), "{args:?}: {err}");
    }
}

/// One file in memory, so that paths have the same length everywhere.
struct File(String);

impl Reader for File {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.clone().into_bytes())
    }

    fn glob(&mut self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

#[test]
fn a_person_reads_the_whole_way() {
    let text = format!(
        "events {{}}
         http {{ map $http_upgrade $up {{ default upgrade; '' close; }}
         server {{ listen 80 default_server; server_name a.test; {HEADERS}
            location /ws/ {{ rewrite ^/ws/(.*)$ /app/$1 last; }}
            location /app/ {{ proxy_pass http://10.0.0.7:8080; location ~ [.]x$ {{ return 404; }} }}
            location ~ ^/(?!look) {{ return 403; }} }} }}"
    );
    let site = resolve("/etc/nginx/nginx.conf", &mut File(text), &BuildDefaults::default(), None);
    let local = Some(SocketAddr::from(([0, 0, 0, 0], 80)));
    let request = Request {
        host: "x.test".into(),
        target: "/ws/a?token=s3cret".into(),
        local,
        websocket: true,
        ..Request::default()
    };
    let plain = Request { websocket: false, ..request.clone() };
    let (way, plain) = (walk(&site, &request), walk(&site, &plain));
    let asked = Asked { url: "ws://x.test/ws/a?token=***".into(), host: "x.test".into(), from: None };
    let report = RouteReport::of(&site, asked, &way, &plain, on_route(&site, &way));
    let page = route_text(&report, false);
    assert!(!page.contains("s3cret"), "{page}");
    assert!(route_text(&report, true).contains("\x1b["));
    insta::assert_snapshot!("route-text", page);
    insta::assert_snapshot!("route-markdown", route_markdown(&report));
}
