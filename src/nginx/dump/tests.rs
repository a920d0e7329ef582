//! Dumps whole, mixed with other output, imitated and damaged.

use super::*;
use proptest::prelude::*;

const DUMP: &[u8] = include_bytes!("../../../tests/data/conf/dump.txt");
const MAIN: &str = "/etc/nginx/nginx.conf";

fn read(text: &[u8]) -> Dump {
    Dump::read(text).expect("a dump")
}

fn text(dump: &mut Dump, path: &str) -> String {
    String::from_utf8(dump.read(path).expect(path)).expect("UTF-8")
}

fn names(dump: &Dump) -> Vec<&str> {
    dump.files().map(|(path, _)| path).collect()
}

const NAMES: [&str; 5] = [
    "/etc/nginx/conf.d/chat.conf",
    "/etc/nginx/conf.d/other.conf",
    "/etc/nginx/mime.types",
    MAIN,
    "/etc/nginx/snippets/upgrade.conf",
];

#[test]
fn files_come_out_as_they_went_in_and_imitated_heads_stay_comments() {
    let mut dump = read(DUMP);
    assert_eq!(names(&dump), NAMES);
    assert_eq!((dump.main(), dump.last()), (MAIN, "/etc/nginx/conf.d/other.conf"));
    let main = text(&mut dump, MAIN);
    assert!(main.starts_with("worker_processes auto;\n# configuration file /etc/nginx/evil.conf:\nevents {"), "{main}");
    assert!(
        main.ends_with("include /etc/nginx/conf.d/*.conf;\n}\n"),
        "nginx's own newline is not the file's: {main:?}"
    );
    let chat = text(&mut dump, "/etc/nginx/conf.d/chat.conf");
    assert!(chat.starts_with("# configuration file /etc/nginx/conf.d/chat.conf:\nupstream"), "{chat}");
    let found = dump.glob("/etc/nginx/conf.d/*.conf").expect("lists");
    assert_eq!(found, ["/etc/nginx/conf.d/chat.conf", "/etc/nginx/conf.d/other.conf"]);
    assert!(dump.read("/etc/nginx/evil.conf").expect_err("none").contains("not in the dump"));
}

#[test]
fn a_terminal_and_standard_error_in_the_midst_change_nothing() {
    let plain = read(DUMP);
    let crlf = String::from_utf8_lossy(DUMP).replace('\n', "\r\n");
    let kubectl = format!("Defaulted container \"nginx\" out of: nginx, app\r\n{crlf}");
    assert_eq!(read(kubectl.as_bytes()), plain);
    let noise = "2026/11/21 02:02:31 [warn] 7#7: conflicting server name \"a\" on 0.0.0.0:80, ignored\n\
                 nginx: [warn] conflicting server name \"a\" on 0.0.0.0:80, ignored\n";
    let mixed = String::from_utf8_lossy(DUMP).replace("    location /ws {\n", &format!("    location /ws {{\n{noise}"));
    assert_eq!(read(mixed.as_bytes()), plain);
    // A file with CRLF of its own keeps them: nginx's heads have none.
    let own = "# configuration file /n.conf:\nevents {}\r\nhttp {}\r\n\n";
    assert_eq!(text(&mut read(own.as_bytes()), "/n.conf"), "events {}\r\nhttp {}\r\n");
}

#[test]
fn a_configuration_is_no_dump_and_a_refusal_is_told() {
    for no in ["", "events {}\n# configuration file /etc/nginx/nginx.conf:\n", "# configuration file without an end\n"]
    {
        assert!(!is_dump(no.as_bytes()), "{no}");
        assert_eq!(Dump::read(no.as_bytes()), None, "{no}");
        assert_eq!(refusal(no.as_bytes()), None, "{no}");
    }
    let refused = "nginx: [emerg] unknown directive \"bogus\" in /etc/nginx/nginx.conf:3\n\
                   nginx: configuration file /etc/nginx/nginx.conf test failed\n";
    assert_eq!(refusal(refused.as_bytes()).as_deref(), Some("unknown directive \"bogus\" in /etc/nginx/nginx.conf:3"));
}

#[test]
fn a_head_is_believed_only_where_an_include_leads() {
    let text = "# configuration file /n.conf:\n\
                # configuration file /a.conf:\ninclude b.conf; events {\n# configuration file /b.conf:\n}\n\n\
                # configuration file /b.conf:\n# configuration file /n.conf:\n# configuration file /b.conf:\nhttp {}\n\n";
    let mut dump = read(text.as_bytes());
    assert_eq!(names(&dump), ["/b.conf", "/n.conf"]);
    assert!(dump.read("/b.conf").expect("there").ends_with(b"# configuration file /b.conf:\nhttp {}\n"));
    let quoted = "# configuration file /n.conf:\ninclude b.conf; env \"\n# configuration file /b.conf:\n\";\n\n";
    assert_eq!(names(&read(quoted.as_bytes())), ["/n.conf"]);
}

#[test]
fn a_file_that_lost_its_end_hides_no_other() {
    let cut = String::from_utf8_lossy(DUMP)
        .replace("    include /etc/nginx/conf.d/*.conf;\n}\n", "    include /etc/nginx/conf.d/*.conf;\n");
    let dump = read(cut.as_bytes());
    assert_eq!(names(&dump), NAMES);
    let middle = memchr::memmem::find(DUMP, b"proxy_read_timeout").expect("there");
    let half = read(&DUMP[..middle]);
    assert_eq!(half.last(), "/etc/nginx/conf.d/chat.conf");
    assert_eq!(names(&half).len(), 3);
}

#[test]
fn imitations_without_number_cost_no_more_than_reading() {
    let mut text = b"# configuration file /n.conf:\ninclude d/*.conf; http {\n".to_vec();
    for n in 0..60_000 {
        text.extend_from_slice(format!("# configuration file /d/{n}.conf:\n{{\n").as_bytes());
    }
    let started = std::time::Instant::now();
    let dump = read(&text);
    assert!(names(&dump).len() > 1);
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

proptest! {
    #[test]
    fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut whole = b"# configuration file /n.conf:\n".to_vec();
        whole.extend_from_slice(&text);
        prop_assert!(Dump::read(&whole).is_some());
        let _ = Dump::read(&text);
    }

    #[test]
    fn whatever_is_dumped_is_read(a in "[a-z]{1,8} [a-z]{1,8};\n{0,2}", b in "(#[a-z ]{0,9}\n|[a-z]{1,5} \\{ [a-z]{1,5}; \\}\n){0,5}") {
        let text = format!("# configuration file /n.conf:\ninclude b; {a}\n# configuration file /b:\n{b}\n");
        let mut dump = read(text.as_bytes());
        prop_assert_eq!(dump.read("/b").expect("there"), b.into_bytes());
        prop_assert_eq!(dump.read("/n.conf").expect("there"), format!("include b; {a}").into_bytes());
    }
}
