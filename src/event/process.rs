//! The nginx processes of a host: masters, their workers and what they may still open.

use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::site::Version;
use crate::time::Timestamp;

/// All nginx masters found, and whether anything was hidden from us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    /// By pid.
    pub masters: Vec<Master>,
    /// Processes of others are hidden from us (the `hidepid` option of /proc): there may be more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Only the nginx was looked for to which this process belongs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<u32>,
}

/// One master process (or a single process with `master_process off`) and its workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Master {
    /// Process id in our namespace.
    pub pid: u32,
    /// When it started.
    pub started: Option<Timestamp>,
    /// The executable, `None` when /proc/PID/exe may not be read.
    pub binary: Option<String>,
    /// What `nginx -v` of that executable says; `None` when unknown.
    pub version: Option<Version>,
    /// `-c`, made absolute; the build's default when the command line has none and `nginx -V` told it.
    pub conf: Option<String>,
    /// `-p`, or the build's prefix.
    pub prefix: Option<String>,
    /// `-e`, or the build's error log.
    pub error_log: Option<String>,
    /// What its `configure` was told; `None` when `nginx -V` could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildDefaults>,
    /// Where its file system is seen from here, `/proc/PID/root`, when it has another one than we do (a container): every
    /// path above and in its configuration is to be looked up under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Whether it lives in another network namespace than we do.
    pub other_net: bool,
    /// The first and the last local port that the kernel gives to connections to backends: `net.ipv4.ip_local_port_range` of
    /// our own network namespace (man 7 ip); `None` when it lives in another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_ports: Option<(u16, u16)>,
    /// How many of them the kernel keeps back (`net.ipv4.ip_local_reserved_ports`); `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_ports: Option<u16>,
    /// The addresses that it listens on; looked for only where several masters run, to tell them apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listens: Vec<SocketAddr>,
    /// Its workers, by pid.
    pub workers: Vec<Worker>,
}

/// Who made the nginx that runs, as its binary says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    /// nginx itself, also where a distribution or ingress-nginx packs it.
    #[default]
    Nginx,
    /// NGINX Plus, which has directives that nginx gets later or never.
    Plus,
    /// OpenResty: nginx with Lua.
    OpenResty,
    /// Angie.
    Angie,
    /// freenginx, whose releases are counted on their own since 1.25.4.
    Freenginx,
    /// Tengine.
    Tengine,
}

impl Product {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Plus => "NGINX Plus",
            Self::OpenResty => "OpenResty",
            Self::Angie => "Angie",
            Self::Freenginx => "freenginx",
            Self::Tengine => "Tengine",
        }
    }

    /// What nginx of the same release refuses, it refuses too.
    #[must_use]
    pub const fn follows_nginx(self) -> bool {
        matches!(self, Self::Nginx | Self::OpenResty)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_nginx(&self) -> bool {
        *self == Self::Nginx
    }
}

impl Master {
    /// `nginx 1.22.1`, `Tengine (nginx 1.24.0)`, `Angie (which nginx release it follows is unknown)`.
    #[must_use]
    pub fn release(&self) -> String {
        let product = self.build.as_ref().map_or(Product::Nginx, |b| b.product);
        match (product, self.version) {
            (Product::Nginx, None) => "nginx".to_owned(),
            (Product::Nginx, Some(version)) => format!("nginx {version}"),
            (fork, None) => format!("{} (which nginx release it follows is unknown)", fork.name()),
            (fork, Some(version)) => format!("{} (nginx {version})", fork.name()),
        }
    }
}

/// The paths that an nginx binary was built with. A relative one counts from the prefix in force (core/nginx.c,
/// `ngx_process_options`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildDefaults {
    /// `--prefix=`.
    pub prefix: String,
    /// `--conf-path=`.
    pub conf_path: String,
    /// `--error-log-path=`; may be `stderr`.
    pub error_log_path: String,
    /// `--http-log-path=`.
    pub http_log_path: String,
    /// `--sbin-path=`.
    pub sbin: String,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Product::is_nginx")]
    pub product: Product,
}

impl Default for BuildDefaults {
    /// What nginx's own `configure` chooses when it is told nothing (auto/options).
    fn default() -> Self {
        Self {
            prefix: "/usr/local/nginx".into(),
            conf_path: "conf/nginx.conf".into(),
            error_log_path: "logs/error.log".into(),
            http_log_path: "logs/access.log".into(),
            sbin: "sbin/nginx".into(),
            product: Product::Nginx,
        }
    }
}

impl BuildDefaults {
    /// `path` as seen from the prefix.
    #[must_use]
    pub fn absolute(&self, path: &str) -> String {
        Path::new(&self.prefix).join(path).to_string_lossy().into_owned()
    }
}

/// One worker process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Process id in our namespace.
    pub pid: u32,
    /// When it started: workers of one generation start together.
    pub started: Option<Timestamp>,
    /// Its title says `worker process is shutting down`: it serves its last tunnels.
    pub shutting_down: bool,
    /// Open descriptors.
    pub fds: Option<u64>,
    /// The soft limit of open descriptors.
    pub fd_limit: Option<u64>,
    /// Resident memory in bytes.
    pub rss: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_says_which_nginx_it_follows_or_that_nobody_knows() {
        let of = |product, version| {
            let build = Some(BuildDefaults { product, ..BuildDefaults::default() });
            Master { version, build, ..Master::default() }.release()
        };
        let version = Some(Version { major: 1, minor: 24, patch: 0 });
        assert_eq!(of(Product::Nginx, version), "nginx 1.24.0");
        assert_eq!(of(Product::Nginx, None), "nginx");
        assert_eq!(of(Product::Tengine, version), "Tengine (nginx 1.24.0)");
        assert_eq!(of(Product::Freenginx, None), "freenginx (which nginx release it follows is unknown)");
        assert_eq!(Master { version, ..Master::default() }.release(), "nginx 1.24.0");
    }
}
